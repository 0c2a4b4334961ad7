"""PG108: number of axes."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from plansguard.core.by_content import by_content
from plansguard.core.errors import known
from plansguard.core.report import Location, Severity
from plansguard.core.text import listed
from plansguard.rules.engine.declare import Found, found, rule
from plansguard.rules.engine.helpers import reported_before
from plansguard.rules.pg1_plans import network
from plansguard.subjects.dataset import Dataset
from plansguard.subjects.plans import Configuration

#: Fields with one number for each axis of a patch.
_OF_PATCHES = ("patch_size", "spacing")


@rule("PG108", Severity.ERROR, message="{one}, but {other}", fix="{remedy}")
def dimensions_disagree(configuration: Configuration, dataset: Dataset) -> Iterator[Found]:
    """Two-dimensional and three-dimensional fields are mixed.

    What it checks: `patch_size`, `spacing`, the entries of `strides` and `kernel_sizes`, the convolution (`Conv2d`,
    `Conv3d`) and the normalization layer (`InstanceNorm2d`, ...) have the same number of axes. The number that most
    fields have is taken for the right one. Kernels that extend along an axis on which the patch has one voxel are an
    information: they run, but their outer weights only meet padding and are never trained.

    Why it matters: training stops with an error that names no field, or a spacing of two numbers is silently that of
    slices. A patch of another dimension ends in a bare `AssertionError`, a layer of another dimension in `RuntimeError:
    Expected 3D (unbatched) or 4D (batched) input to conv2d`. With a spacing of slices the first axis is not resampled,
    and nothing is printed.

    How to fix: give the field the number of axes of the others. A 2d configuration omits the first axis everywhere.

    Example: `"patch_size": [512, 512]` in a `3d_fullres` configuration.

    Evidence: PL-10; nnU-Net issues 1587, 2809; measured with nnU-Net 2.8.1.
    """
    fields = _axes(configuration)
    for axes, odd, agreeing in _odd_fields(fields):
        if not reported_before(dataset, configuration, "architecture", *odd, agreeing[0]):
            usual, places = fields[agreeing[0]], {name: _place(configuration, name) for name in fields}
            at = network.own_place(configuration, *(places[name] for name in (*odd, *agreeing)))
            remedy = ", ".join(_with_axes(name, usual) for name in odd)
            yield found(
                at,
                related=[(places[agreeing[0]], f"{usual} axes")],
                one=f"{' and '.join(odd)} {'has' if len(odd) == 1 else 'have'} {axes} axes",
                other=f"{listed(agreeing)} {'has' if len(agreeing) == 1 else 'have'} {usual}",
                remedy=remedy if at in [places[name] for name in odd] else f"{remedy} here, or inherit from another",
            )
    axis = _idle_kernel_axis(configuration)
    if axis is not None and not reported_before(
        dataset, configuration, "patch_size", *network.written_fields(configuration, "kernel_sizes")
    ):
        kernels, patch = configuration.at_kwarg("kernel_sizes"), configuration.at("patch_size", axis)
        yield found(
            network.own_place(configuration, kernels, patch),
            severity=Severity.INFO,
            one=f"kernel_sizes extend along axis {axis}",
            other="patch_size has one voxel there",
            remedy=f"set all kernels to 1 on axis {axis}, unless the weights come from or go to data that have more",
        )


def _axes(configuration: Configuration) -> dict[str, int]:
    """Return the axes of each field that has a number of them; not of lists whose entries differ (see PG103)."""
    values = ((key, configuration.get(key)) for key in _OF_PATCHES)
    fields = {key: len(value) for key, value in values if value is not None}
    described = known(lambda: configuration.network)
    if described is None or not configuration.has_old_format:
        return fields | (_axes_of_network(described) if described else {})
    for key, axes in _axes_of_network(described).items():
        if key in network.PER_STAGE_AND_AXIS:
            fields[network.written_name(configuration, key)] = axes  # the layers follow from patch_size
    return fields


@by_content
def _axes_of_network(architecture: Mapping[str, Any]) -> dict[str, int]:
    """Return the axes of strides and kernels, and those of the layers."""
    kwargs, fields = architecture["arch_kwargs"], {}
    for key in network.PER_STAGE_AND_AXIS:
        stages = kwargs.get(key)
        lengths = {len(stage) for stage in stages if isinstance(stage, list)} if isinstance(stages, list) else set()
        if len(lengths) == 1:
            fields[key] = lengths.pop()
    for key in ("conv_op", "norm_op"):
        layer = re.search(r"(\d)d$", str(kwargs.get(key)))
        if layer:
            fields[key] = int(layer[1])
    return fields


def _place(configuration: Configuration, field: str) -> Location:
    if field in _OF_PATCHES or configuration.has_old_format:
        return configuration.at(field)
    return configuration.at_kwarg(field)


def _odd_fields(fields: Mapping[str, int]) -> Iterator[tuple[int, list[str], list[str]]]:
    """Yield each unusual number of axes, the fields that have it, and the fields of the usual number."""
    if len({*fields.values()}) < 2:
        return
    odd: dict[int, list[str]] = {}
    for name, axes, _, _ in network.minority(fields):
        odd.setdefault(axes, []).append(name)
    agreeing = [name for name, axes in fields.items() if axes not in odd]
    for axes, names in odd.items():
        yield axes, names, agreeing


def _with_axes(name: str, axes: int) -> str:
    if name.endswith("_op"):
        return f"name the {axes}d class in {name}"
    return f"give {name} {axes} numbers{'' if name in _OF_PATCHES else ' per stage'}"


def _idle_kernel_axis(configuration: Configuration) -> int | None:
    """Return the first axis with one voxel in the patch and more in a kernel."""
    patch = configuration.get("patch_size") or []
    if 1 not in patch:
        return None
    kernels = known(lambda: configuration.stage_lists("kernel_sizes")) or []
    if not all(len(kernel) == len(patch) and network.are_counts(kernel) for kernel in kernels):
        return None
    idle = (axis for axis, size in enumerate(patch) if size == 1 and any(kernel[axis] > 1 for kernel in kernels))
    return next(idle, None)
