"""PG108: the number of axes."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from plansguard.core.errors import known
from plansguard.core.report import Location, Severity
from plansguard.core.text import listed
from plansguard.rules.engine.declare import Found, found, rule
from plansguard.rules.engine.helpers import told_before
from plansguard.rules.pg1_plans.architecture_fields import (
    PER_STAGE_AND_AXIS,
    blamed,
    dissenters,
    is_count,
    is_old_format,
    spelt,
    written_fields,
)
from plansguard.subjects.dataset import Dataset
from plansguard.subjects.plans import Configuration


@rule(
    "PG108",
    "dimensions-disagree",
    Severity.ERROR,
    message="{one}, but {other}",
    fix="{remedy}",
    modes=("PL-10",),
)
def dimensions_disagree(configuration: Configuration, dataset: Dataset) -> Iterator[Found]:
    """Two-dimensional and three-dimensional fields are mixed.

    What it checks: `patch_size`, `spacing`, the entries of `strides` and `kernel_sizes`, the convolution (`Conv2d`,
    `Conv3d`) and the normalisation layer (`InstanceNorm2d`, ...) have the same number of axes. What most fields say is
    held to be meant. Kernels that reach along an axis on which the patch has one voxel are worth knowing: they run, but
    their outer weights meet nothing but padding and are never trained.

    Why it matters: a patch of another dimension ends in a bare `AssertionError`, a layer of another dimension in
    `RuntimeError: Expected 3D (unbatched) or 4D (batched) input to conv2d`, both when training starts. A spacing of two
    numbers is taken for that of slices: the first axis is not resampled, and nothing is printed.

    How to fix: bring the field named to the number of axes of the others. A 2d configuration leaves out the first axis
    everywhere.

    Example: `"patch_size": [512, 512]` in a `3d_fullres` configuration.

    Evidence: PL-10; nnU-Net issues 1587, 2809; measured with nnU-Net 2.8.1.
    """
    fields = _axes_claimed(configuration)
    for axes, odd, agreeing in _dissenting_fields(fields):
        if not told_before(dataset, configuration, "architecture", *odd, agreeing[0]):
            meant = fields[agreeing[0]].axes
            at = blamed(configuration, *(fields[name].at for name in (*odd, *agreeing)))
            remedy = ", ".join(_with_axes(name, meant) for name in odd)
            yield found(
                at,
                related=[(fields[name].at, f"{fields[name].axes} axes") for name in (odd[0], agreeing[0])],
                one=f"{' and '.join(odd)} {'has' if len(odd) == 1 else 'have'} {axes} axes",
                other=f"{listed(agreeing, shown=6)} {'has' if len(agreeing) == 1 else 'have'} {meant}",
                remedy=remedy if at in [fields[name].at for name in odd] else f"{remedy} here, or inherit from another",
            )
    axis = _idle_kernel_axis(configuration)
    if axis is not None and not told_before(
        dataset, configuration, "patch_size", *written_fields(configuration, "kernel_sizes")
    ):
        yield found(
            blamed(configuration, configuration.at_kwarg("kernel_sizes"), configuration.at("patch_size", axis)),
            severity=Severity.INFO,
            one=f"kernel_sizes reach along axis {axis}",
            other="patch_size has one voxel there: their outer weights are never trained",
            remedy=f"set all kernels to 1 on axis {axis}, unless the weights come from or go to data that have more",
        )


# --- Axes ------------------------------------------------------------


class _AxesClaim(NamedTuple):
    """A field that tells a number of axes, and its place."""

    axes: int
    at: Location


def _axes_claimed(configuration: Configuration) -> dict[str, _AxesClaim]:
    """For each field that tells it, the number of axes; lists whose entries disagree tell nothing (see PG103)."""
    claims = {}
    for key in ("patch_size", "spacing"):
        if configuration.get(key) is not None:
            claims[key] = _AxesClaim(len(configuration.get(key)), configuration.at(key))
    architecture = known(lambda: configuration.architecture)
    kwargs = architecture["arch_kwargs"] if architecture else {}
    for key in PER_STAGE_AND_AXIS:
        stages = kwargs.get(key)
        lengths = {len(stage) for stage in stages if isinstance(stage, list)} if isinstance(stages, list) else set()
        if len(lengths) == 1:
            claims[spelt(configuration, key)] = _AxesClaim(lengths.pop(), configuration.at_kwarg(key))
    for key in ("conv_op", "norm_op"):
        layer = re.search(r"(\d)d$", str(kwargs.get(key)))
        if layer and not is_old_format(configuration):  # there nnU-Net takes both from patch_size
            claims[key] = _AxesClaim(int(layer[1]), configuration.at_kwarg(key))
    return claims


def _dissenting_fields(fields: Mapping[str, _AxesClaim]) -> Iterator[tuple[int, list[str], list[str]]]:
    """Each number of axes that most fields do not have, who has it, and who agree on another."""
    odd: dict[int, list[str]] = {}
    for name, axes, _, _ in dissenters({name: claim.axes for name, claim in fields.items()}):
        odd.setdefault(axes, []).append(name)
    agreeing = [name for name, claim in fields.items() if claim.axes not in odd]
    for axes, names in odd.items():
        yield axes, names, agreeing


def _with_axes(name: str, axes: int) -> str:
    if name.endswith("_op"):
        return f"name the {axes}d class in {name}"
    return f"give {name} {axes} numbers{'' if name in ('patch_size', 'spacing') else ' per stage'}"


def _idle_kernel_axis(configuration: Configuration) -> int | None:
    """The first axis with one voxel in the patch and more in a kernel."""
    patch = configuration.get("patch_size") or []
    kernels = known(lambda: configuration.stage_lists("kernel_sizes")) or []
    if not all(len(kernel) == len(patch) and all(map(is_count, kernel)) for kernel in kernels):
        return None
    idle = (axis for axis, size in enumerate(patch) if size == 1 and any(kernel[axis] > 1 for kernel in kernels))
    return next(idle, None)
