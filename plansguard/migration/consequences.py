"""What follows in plans from fields that were set: network, patch, arguments of resampling, masks, folders of data.

Each configuration is compared with what it was before, with all that it inherits; a value is written only where it
differs from the inherited one. Sources: experiment_planning/experiment_planners/ of nnU-Net 2.8.1.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from math import ceil, isfinite, prod
from operator import le
from typing import Any, Final

from plansguard.core.errors import Absent, UsageError, known
from plansguard.core.text import brief
from plansguard.migration.assignments import ARGUMENTS
from plansguard.nnunet import constants
from plansguard.nnunet.fields import RESAMPLING_ARGUMENTS
from plansguard.nnunet.inheritance import modern_architecture, origins, resolve_configuration
from plansguard.nnunet.network.unet import UnknownNetwork, network_of, stock_name
from plansguard.nnunet.runtime import Topology
from plansguard.records.preprocessing_inputs import differing, input_fields
from plansguard.subjects.documents import Fingerprint, median_of

#: Network -> its argument for the convolutions or blocks of the encoder, and the planners' numbers for both sides.
_BLOCKS: Final[Mapping[str, tuple[str, tuple[int, ...], int]]] = {
    "PlainConvUNet": ("n_conv_per_stage", (2,), 2),
    "ResidualEncoderUNet": ("n_blocks_per_stage", (1, 3, 4, 6), 1),
}
#: The arguments that a patch decides: where one was set, the network is made by hand.
_TOPOLOGY: Final = ("n_stages", "strides", "kernel_sizes")
#: Axes -> most features of a stage.
_MOST_FEATURES: Final = {2: 512, 3: 320}
_RESAMPLED: Final = ("resampling_fn_data", "resampling_fn_seg", "resampling_fn_probabilities")
#: Share of the median image that cropping leaves, below which the planner masks.
_MASKED_BELOW: Final = 0.75


@dataclass(frozen=True)
class DerivedState:
    """The configurations before and after fields were set, and what was set.

    ``before`` are the plans with new configurations as copies of what they inherit from. ``typed`` has the paths that
    were set, as ``(configuration, first key)``, and of an argument of a network as ``(configuration, argument)``.
    """

    before: dict[str, Any]
    after: dict[str, Any]
    identifier: str
    typed: Collection[tuple[str | None, str]]
    new: Collection[str]
    fitted: Collection[str]
    keep_network: bool
    fingerprint: Fingerprint | None
    topology: Callable[[Sequence[float], Sequence[int]], Topology]

    def sets(self, name: str, *keys: str) -> bool:
        """Whether any of these fields of a configuration was set."""
        return any((name, key) in self.typed for key in keys)

    def written(self, name: str) -> dict[str, Any]:
        """A configuration as it is written."""
        entry: dict[str, Any] = self.after["configurations"][name]
        return entry

    def resolved(self, name: str) -> tuple[dict[str, Any], dict[str, Any]]:
        """A configuration with what it inherits, before and after."""
        sides = (resolve_configuration(plans["configurations"], name) for plans in (self.before, self.after))
        before, after = sides
        return before, after

    def write(self, name: str, key: str, value: Any) -> None:
        """Write a value into a configuration that does not have or inherit it, unless it was set."""
        if not self.sets(name, key) and self.resolved(name)[1].get(key) != value:
            self.written(name)[key] = deepcopy(value)


def follow(change: DerivedState) -> None:
    """Write into ``change.after`` all that follows from what was set, parents before their children."""
    configurations = change.after["configurations"]
    ordered = sorted(configurations, key=lambda name: _depth(configurations, name))
    for name in ordered:
        if name in change.new and change.resolved(name)[1].get("next_stage") is not None:
            change.write(name, "next_stage", None)  # its predictions are those of the configuration that it is like
        _geometry(change, name)
        _resampling(change, name)
        _masks(change, name)
    for name in ordered:
        _data_identifier(change, name)


def _depth(configurations: Mapping[str, Any], name: str) -> int:
    depth = 0
    while (parent := configurations[name].get("inherits_from")) is not None:
        name, depth = parent, depth + 1
    return depth


# --- Network and patch


def _geometry(change: DerivedState, name: str) -> None:
    """Median image, network and patch of another spacing or patch."""
    before, after = change.resolved(name)
    moved = before.get("spacing") != after.get("spacing")
    if not moved and before.get("patch_size") == after.get("patch_size"):
        return
    spacing, patch = _assert_axes(name, before, after)
    if moved and "median_image_size_in_voxels" in after:
        change.write(name, "median_image_size_in_voxels", _median_image(change, before, spacing))
    if name in change.fitted:
        return  # the planner made network and patch together
    network = _network(after) or _network(before)  # an argument that was set may be for the stages to come
    if network is None or change.sets(name, ARGUMENTS[0], *_TOPOLOGY):
        return
    if change.keep_network:
        _assert_divides(name, patch, _multiple(network))
        return
    _assert_in_images(change, name, spacing, patch)
    topology = change.topology(spacing, patch)
    if topology.patch_size != patch and change.sets(name, "patch_size"):
        raise _impossible(name, patch, topology)
    change.write(name, "patch_size", topology.patch_size)
    followed = _with_topology(network, topology)
    arguments = (after.get(ARGUMENTS[0]) or {}).get(ARGUMENTS[1]) or {}
    typed = {key: value for key, value in arguments.items() if change.sets(name, key)}
    followed[ARGUMENTS[1]] = {**followed[ARGUMENTS[1]], **typed}
    if followed != network:
        change.write(name, ARGUMENTS[0], followed)
        for key in constants.OLD_CONFIGURATION_KEYS:
            change.written(name).pop(key, None)


def _assert_axes(name: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> tuple[list[float], list[int]]:
    """Spacing and patch; UsageError unless they have one positive number for each axis of before."""
    axes = len(before.get("patch_size") or before.get("spacing") or ())
    for field in ("spacing", "patch_size"):
        values = after.get(field)
        if not isinstance(values, list) or len(values) != axes:
            raise UsageError(f"{name}.{field} is {brief(values)}, and needs {axes} numbers", hint="one for each axis")
        wrong = [value for value in values if value is None or not value > 0 or not isfinite(value)]
        if wrong:
            raise UsageError(f"{name}.{field} is {brief(values)}: {brief(wrong[0])} is not above 0", hint="correct it")
    return after["spacing"], after["patch_size"]


def _network(resolved: Mapping[str, Any]) -> dict[str, Any] | None:
    """The network, if it is one that nnU-Net's planners make."""
    try:
        network = modern_architecture(resolved)
        network_of(network)
        return network if stock_name(network) in _BLOCKS else None
    except (UnknownNetwork, KeyError, ValueError, TypeError, ArithmeticError):
        return None


def _multiple(network: Mapping[str, Any]) -> list[int]:
    return [prod(factors) for factors in zip(*network_of(network).strides, strict=True)]


def _assert_divides(name: str, patch: Sequence[int], multiple: Sequence[int]) -> None:
    wrong = [axis for axis, voxels in enumerate(patch) if voxels % multiple[axis]]
    if wrong:
        sizes = _sizes(patch, multiple, wrong)
        raise UsageError(
            f"{name}.patch_size {brief(patch)} is not divisible by the strides {brief(multiple)} of the network, "
            f"which is kept: use {sizes}",
            hint="--network follow makes another network, into which weights of the present one do not load",
        )


def _sizes(patch: Sequence[int], multiple: Sequence[int], axes: Sequence[int]) -> str:
    """The sizes next to those that are not possible."""
    choices = []
    for axis in axes:
        below = patch[axis] // multiple[axis] * multiple[axis]
        sizes = [str(size) for size in (below, below + multiple[axis]) if size]
        choices.append(f"{' or '.join(sizes)} on axis {axis}")
    return ", ".join(choices)


def _impossible(name: str, patch: Sequence[int], topology: Topology) -> UsageError:
    wrong = [axis for axis, voxels in enumerate(topology.patch_size) if voxels != patch[axis]]
    needs = ", ".join(f"a multiple of {topology.multiple[axis]} on axis {axis}" for axis in wrong)
    return UsageError(
        f"{name}.patch_size {brief(list(patch))} is not possible: nnU-Net's network for it needs {needs}",
        hint=f"the next larger one is {name}.patch_size={_compact(topology.patch_size)}",
    )


def _compact(values: Sequence[int]) -> str:
    return f"[{','.join(map(str, values))}]"


def _with_topology(network: Mapping[str, Any], topology: Topology) -> dict[str, Any]:
    """The network with other strides and kernels, and with features and blocks for as many stages."""
    kwargs, count = dict(network[ARGUMENTS[1]]), len(topology.strides)
    present = network_of(network)
    strides, kernels = ([list(row) for row in rows] for rows in (present.strides, present.kernels))
    if (strides, kernels) == (topology.strides, topology.kernel_sizes):
        return dict(network)
    blocks, encoder, decoder = _BLOCKS[present.name]
    most = max(_MOST_FEATURES.get(present.axes, 0), *present.features)
    features = [*present.features]
    while len(features) < count:
        features.append(min(2 * features[-1], most))
    kwargs.update(
        n_stages=count,
        features_per_stage=features[:count],
        kernel_sizes=topology.kernel_sizes,
        strides=topology.strides,
        n_conv_per_stage_decoder=_extended(present.decoder, (decoder,), count - 1),
    )
    kwargs[blocks] = _extended(present.encoder, encoder, count)
    if isinstance(kwargs.get("bottleneck_channels"), list):
        kwargs["bottleneck_channels"] = _extended(kwargs["bottleneck_channels"], (), count)
    return {**network, ARGUMENTS[1]: kwargs}


def _extended(present: Sequence[int], planned: Sequence[int], count: int) -> list[int]:
    """Numbers for so many stages: the planners' where the present ones are theirs, else the last one repeated."""
    theirs = [planned[min(index, len(planned) - 1)] for index in range(max(count, len(present)))] if planned else []
    if list(present) == theirs[: len(present)]:
        return theirs[:count]
    return [*present, *[present[-1]] * count][:count]


def _assert_in_images(change: DerivedState, name: str, spacing: Sequence[float], patch: Sequence[int]) -> None:
    """Raise UsageError for a patch that is set, and larger than any image needs along an axis."""
    largest = known(lambda: _resampled(change, spacing, max)) if change.sets(name, "patch_size") else None
    if largest is None or all(map(le, patch, largest)):
        return
    covering = change.topology(spacing, [min(voxels, ceil(size)) for voxels, size in zip(patch, largest, strict=True)])
    for axis, (voxels, enough) in enumerate(zip(patch, covering.patch_size, strict=True)):
        if voxels > enough:
            raise UsageError(
                f"{name}.patch_size {brief(patch)} is larger than every image on axis {axis}: the largest has "
                f"{largest[axis]:g} voxels at this spacing",
                hint=f"{enough} on axis {axis} covers it",
            )


def _median_image(change: DerivedState, before: Mapping[str, Any], spacing: Sequence[float]) -> list[float]:
    """The median image after resampling: from the fingerprint, else from the one at the spacing before."""
    median = None if change.fingerprint is None else known(lambda: _resampled(change, spacing, None))
    if median is not None:
        return median
    pairs = zip(before["median_image_size_in_voxels"], before["spacing"], spacing, strict=True)
    return [float(round(voxels * old / new)) for voxels, old, new in pairs]


def _resampled(
    change: DerivedState, spacing: Sequence[float], choose: Callable[[Sequence[float]], float] | None
) -> list[float]:
    """The median image at a spacing, or what ``choose`` takes of all images, per axis."""
    if change.fingerprint is None:
        raise Absent("there is no fingerprint")
    sizes = change.fingerprint.valid.sizes_at(spacing, change.after["transpose_forward"])
    return [choose(values) if choose is not None else median_of(sorted(values)) for values in sizes]


# --- What preprocessing reads


def _resampling(change: DerivedState, name: str) -> None:
    """The arguments of another resampling function: those that nnU-Net's planners give it."""
    before, after = change.resolved(name)
    for field in _RESAMPLED:
        arguments = RESAMPLING_ARGUMENTS.get(str(after.get(field)))
        if before.get(field) != after.get(field) and arguments is not None:
            change.write(name, f"{field}_kwargs", arguments[field])


def _masks(change: DerivedState, name: str) -> None:
    """The masks of channels with another normalization, by the planner's rule."""
    before, after = change.resolved(name)
    old, new = before.get("normalization_schemes") or [], after.get("normalization_schemes")
    masks = after.get("use_mask_for_norm")
    if old == new or not isinstance(new, list) or not isinstance(masks, list) or len(masks) != len(new):
        return
    wanted = list(masks)
    for channel, scheme in enumerate(new):
        if channel >= len(old) or scheme != old[channel]:
            wanted[channel] = scheme == constants.DEFAULT_NORMALIZATION and _is_cropped(change.fingerprint)
    change.write(name, "use_mask_for_norm", wanted)


def _is_cropped(fingerprint: Fingerprint | None) -> bool:
    share = None if fingerprint is None else known(lambda: fingerprint.require("median_relative_size_after_cropping"))
    return isinstance(share, (int, float)) and share < _MASKED_BELOW


def _data_identifier(change: DerivedState, name: str) -> None:
    """A folder of its own for data that differ from those of before, or from those of the parent."""
    if change.sets(name, "data_identifier"):
        return
    before, after = change.resolved(name)
    owner = origins(change.after["configurations"], name).get("data_identifier")
    if owner is None:
        return
    sides = input_fields(change.before, before), input_fields(change.after, after)
    if owner != name:
        # the data of the owner, also where its folder is a new one
        if differing(input_fields(change.after, change.resolved(owner)[1]), sides[1]):
            change.write(name, "data_identifier", _free(change, name))
    elif differing(*sides):
        change.write(name, "data_identifier", _free(change, name))


def _free(change: DerivedState, name: str) -> str:
    """The identifier that nnU-Net's planners would give, or one with a number where a configuration has it already."""
    taken = {str(one.get("data_identifier")) for one in change.after["configurations"].values()}
    wanted = f"{change.identifier}_{name}"
    numbered = (f"{wanted}_{number}" for number in range(2, len(taken) + 3))
    return next(one for one in (wanted, *numbered) if one not in taken)


def touched(before: Mapping[str, Any], after: Mapping[str, Any], new: Collection[str]) -> list[str]:
    """The configurations that differ from before, with what they inherit; all where a field of the plans differs."""
    names = [*after["configurations"]]
    ignored = ("configurations", "plans_name")
    if any(before.get(key) != after.get(key) for key in {*before, *after} if key not in ignored):
        return names
    return [
        name
        for name in names
        if name in new
        or resolve_configuration(before["configurations"], name) != resolve_configuration(after["configurations"], name)
    ]
