"""PG101, PG102, PG103, PG115: patch and stages of the network."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from functools import lru_cache
from itertools import chain
from math import prod
from typing import Any, NamedTuple

from plansguard.core.by_content import by_content
from plansguard.core.errors import Absent, known
from plansguard.core.report import Severity
from plansguard.core.text import brief, listed
from plansguard.nnunet import constants
from plansguard.rules.engine.declare import Found, found, rule
from plansguard.rules.engine.helpers import reported_before
from plansguard.rules.pg1_plans import network
from plansguard.subjects.dataset import Dataset
from plansguard.subjects.plans import Configuration, per_stage

#: PL-02. nnU-Net's planners stop halving an axis before fewer voxels than this are left.
_SMALLEST_MAP = 4
#: An entry that no U-Net accepts: argument, stage and axis, value, what is wrong, and the remedy.
_BadEntry = tuple[str, tuple[int, ...], Any, str, str]


@rule(
    "PG101",
    Severity.ERROR,
    message="patch_size {patch_size} is not divisible by the strides' product {factors} on axis {axis}",
    fix="use {sizes} on axis {axis} of patch_size",
)
def patch_not_divisible(configuration: Configuration, dataset: Dataset) -> Iterator[Found]:
    """The patch size is not divisible by the product of the strides.

    What it checks: on every axis, `patch_size` is divisible by the product of the `strides` of all stages. This need
    not be 2 to the power of the number of stages: an anisotropic axis is pooled less often. PG102 reports a patch that
    is smaller than the product.

    Why it matters: the first forward pass fails: the decoder cannot join its upsampled maps with the encoder's. nnU-Net
    stops after the data loaders have started, with `RuntimeError: Sizes of tensors must match except in dimension 1.
    Expected size 14 but got size 13`.

    How to fix: change that axis of `patch_size` to a size named, or reduce the strides. The patch size is no part of
    preprocessing: the preprocessed data stay valid.

    Example: `"patch_size": [40, 100, 96]` with four stages that halve axis 1: 100 / 16 leaves a rest; 96 and 112 fit.

    Evidence: PL-01; nnU-Net issues 362, 2719, 2878.
    """
    patch, factors = _pooling(configuration)
    for axis, (size, factor) in enumerate(zip(patch, factors, strict=True)):
        if size > factor and size % factor and not _pooling_reported_before(dataset, configuration):
            # PG102 would report a size that leaves too small a map.
            lower, least = size // factor * factor, _SMALLEST_MAP * factor
            fitting = [multiple for multiple in (lower, max(lower + factor, least)) if multiple >= least]
            places = configuration.at("patch_size", axis), configuration.at_kwarg("strides")
            yield found(
                network.own_place(configuration, *places),
                axis=axis,
                patch_size=patch,
                factors=factors,
                sizes=" or ".join(map(str, fitting)),
            )


@rule(
    "PG102",
    Severity.WARNING,
    message="the network shrinks patch_size {patch_size} to {map} voxels: {consequence}",
    fix="use a patch_size of at least {least}, or take out the last stage",
)
def bottleneck_too_small(configuration: Configuration, dataset: Dataset) -> Iterator[Found]:
    """The smallest feature map is too small.

    What it checks: on every axis that is pooled, `patch_size` divided by the product of the strides is at least 4
    voxels. Less is a warning. Less than one voxel is an error, and so is a map of a single voxel where instance
    normalization follows. An axis that is never pooled may be thin: the planner does not pool a stack of three slices.

    Why it matters: below 4 voxels the deepest layers see mostly padding; below one, or at a single one, the first step
    stops. nnU-Net's planners stop pooling at 4 voxels. Below one voxel the decoder's maps do not fit the encoder's
    (`Sizes of tensors must match`), and a map of one voxel lacks variance: `ValueError: Expected more than 1 spatial
    element when training`.

    How to fix: enlarge `patch_size` where memory allows, or take the last stage out of all lists of the architecture.
    With pretrained weights the architecture cannot change: enlarge the patch.

    Example: `"patch_size": [32, 32, 32]` for a network of six stages, whose strides multiply to 32: a map of 1 x 1 x 1.

    Evidence: PL-02; nnU-Net issue 2075; 30000 random topologies of nnU-Net's planner stay at 4 or more.
    """
    patch, factors = _pooling(configuration)
    sizes = list(zip(patch, factors, strict=True))
    # PG101 reports a size above the product that is not divisible.
    small = [
        axis
        for axis, (size, factor) in enumerate(sizes)
        if 1 < factor > size / _SMALLEST_MAP and (size < factor or size % factor == 0)
    ]
    if (small or patch == factors) and not _pooling_reported_before(dataset, configuration):
        places = [configuration.at("patch_size", *small[: len(small) == 1]), configuration.at_kwarg("strides")]
        severity, consequence = _consequence_of_map(configuration, patch, factors)
        yield found(
            network.own_place(configuration, *places),
            severity=severity,
            patch_size=patch,
            factors=factors,
            map=" x ".join(f"{size / factor:g}" for size, factor in sizes),
            least=[max(size, _SMALLEST_MAP * factor) if factor > 1 else size for size, factor in sizes],
            consequence=consequence,
        )


@rule("PG103", Severity.ERROR, message="{one}, but {other}", fix="{remedy}")
def stage_lists_disagree(configuration: Configuration, dataset: Dataset) -> Iterator[Found]:
    """The lists over the network's stages do not fit each other.

    What it checks: for nnU-Net's own U-Nets, `strides`, `kernel_sizes`, `features_per_stage` and `n_conv_per_stage`
    (PlainConvUNet) or `n_blocks_per_stage` (residual networks) have `n_stages` entries, `n_conv_per_stage_decoder` one
    less; every entry is a positive integer or, for strides and kernels, a list with one per axis, and kernels are odd.
    One number in place of a list applies to all stages or axes, but not in `strides`, from which the trainer computes
    the sizes of the targets of deep supervision. The length that most fields have is taken for the right one.
    Plans of the old format are checked in the same way.

    Why it matters: the network's constructor stops: `strides must have as many entries as we have resolution stages`,
    or the like. Another error is a `TypeError` about an unexpected argument; an even kernel stops the first forward
    pass. A new number of stages must be applied to all lists.

    How to fix: give the field named as many entries as the others have, or take `architecture` from plans that work.

    Example: `network_class_name` was edited from PlainConvUNet to ResidualEncoderUNet, and `n_conv_per_stage` stayed.

    Evidence: PL-03; nnU-Net issues 2010, 2830; measured with dynamic_network_architectures 0.4.4.
    """
    class_name, axes = _stock_network(configuration), len(configuration.get("patch_size") or ())
    faults = _stage_faults(configuration.network, axes, configuration.has_old_format)
    for key, stages, agreeing, usual in faults.counts:
        if not reported_before(dataset, configuration, *network.written_fields(configuration, key, agreeing[0])):
            field, *others = [network.written_name(configuration, name) for name in (key, *agreeing)]
            one, other = f"{field} is for {stages} stages", f"{listed(others)} for {usual}"
            yield found(configuration.at_kwarg(key), one=one, other=other, remedy=_resize(field, usual))
    for key, tokens, value, other, remedy in faults.entries:
        if not reported_before(dataset, configuration, *network.written_fields(configuration, key)):
            stage = "".join(f" for stage {index}" for index in tokens[:1])
            one = f"{network.written_name(configuration, key)} has {brief(value)}{stage}"
            yield found(configuration.at_kwarg(key, *tokens), one=one, other=other, remedy=remedy)
    if faults.foreign and not reported_before(dataset, configuration, "architecture"):
        (key,), (right,) = faults.foreign, network.ENCODER_LISTS - faults.foreign
        one, other = f"arch_kwargs has {key}", f"{class_name} takes {right}"
        given = configuration.architecture["arch_kwargs"]
        remedy = f"delete {key}" if right in given else f"rename it to {right}, with that network's numbers"
        yield found(configuration.at_kwarg(key), one=one, other=other, remedy=remedy)


@rule(
    "PG115",
    Severity.ERROR,
    message="the first stage has stride {stride}: the network's output is smaller than its input",
    fix="set the first entry of strides to {ones}",
)
def first_stage_downsamples(configuration: Configuration, dataset: Dataset) -> Iterator[Found]:
    """The network's first stage downsamples.

    What it checks: for nnU-Net's own U-Nets, the strides of the first stage are 1 on every axis.

    Why it matters: every prediction fails; training does not, because deep supervision shrinks the targets alike. The
    decoder upsamples only to the size of the first stage, so segmentations have a fraction of the patch's size. The
    final validation and every prediction end with `RuntimeError: The size of tensor a (8) must match the size of tensor
    b (16)`.

    How to fix: set the first entry to 1 on every axis, and take one halving out of the network or enlarge the patch.

    Example: a planner's `strides` without its first entry `[1, 1]`, to get a network of fewer stages.

    Evidence: found in public plans with six stages; measured with nnU-Net 2.8.1.
    """
    _stock_network(configuration)
    first = _strides(configuration).first
    if first is None or not network.are_counts(first) or max(first) == 1:
        return
    if not reported_before(dataset, configuration, *network.written_fields(configuration, "strides")):
        ones = [1] * len(configuration.require("patch_size"))
        yield found(configuration.at_kwarg("strides", 0), stride=first, ones=ones)


@lru_cache(maxsize=1)  # two rules ask for it
def _pooling(configuration: Configuration) -> tuple[list[int], list[int]]:
    """Return the patch size, and the factor by which the network shrinks each axis.

    Raises Absent if the strides do not fit the patch.
    """
    patch, strides = configuration.require("patch_size"), _strides(configuration)
    if not network.are_counts(patch or [0]):
        raise Absent(f"the patch of configuration {configuration.name} is empty (see PG121)")
    if strides.product is None or len(strides.product) != len(patch):
        raise Absent(f"the strides of configuration {configuration.name} do not fit its patch (see PG103, PG108)")
    return patch, strides.product


class _Strides(NamedTuple):
    """The strides of the first stage, if there is one, the number of stages that have strides, and that of the network.

    ``product`` is that over all stages for each axis; None where a stride is not one positive integer per axis.
    """

    first: list[int] | None
    number: int
    stages: Any
    product: list[int] | None


@by_content
def _judged_strides(architecture: Mapping[str, Any], axes: int) -> _Strides:
    kwargs = architecture["arch_kwargs"]
    strides = per_stage(kwargs["strides"], axes)
    fit = len(set(map(len, strides))) == 1 and network.are_counts([*chain.from_iterable(strides)])
    product = [prod(axis) for axis in zip(*strides, strict=True)] if fit else None
    return _Strides(strides[0] if strides else None, len(strides), kwargs.get("n_stages"), product)


def _pooling_reported_before(dataset: Dataset, configuration: Configuration) -> bool:
    return reported_before(dataset, configuration, "patch_size", *network.written_fields(configuration, "strides"))


@lru_cache(maxsize=1)  # three rules ask for it
def _strides(configuration: Configuration) -> _Strides:
    """Return the strides. Raises Absent if their number is not that of the stages."""
    if not isinstance(configuration.kwarg("strides"), list):
        raise Absent(f"strides of configuration {configuration.name} is not a list over stages")
    strides = _judged_strides(configuration.network, len(configuration.require("patch_size")))
    if network.is_count(strides.stages) and strides.stages != strides.number:
        count = f"{strides.number} strides for {strides.stages} stages"
        raise Absent(f"configuration {configuration.name} has {count} (see PG103)")
    return strides


def _class_name(architecture: Mapping[str, Any]) -> str:
    return str(architecture.get("network_class_name")).rpartition(".")[2]


def _consequence_of_map(configuration: Configuration, patch: list[int], factors: list[int]) -> tuple[Severity, str]:
    if any(size < factor for size, factor in zip(patch, factors, strict=True)):
        return Severity.ERROR, "the decoder needs one at least"
    if patch == factors and "InstanceNorm" in str(known(lambda: configuration.kwarg("norm_op"))):
        return Severity.ERROR, "instance normalization needs more than one"
    return Severity.WARNING, f"nnU-Net's planners keep {_SMALLEST_MAP} per axis"


@lru_cache(maxsize=1)  # two rules ask for it
def _stock_network(configuration: Configuration) -> str:
    """Return the class name of nnU-Net's own network. Raises Absent for any other."""
    class_name = _class_name(configuration.architecture)
    if class_name not in constants.STOCK_ARCHITECTURES:
        raise Absent(f"what the network of configuration {configuration.name} needs is not known")
    return class_name


class _StageFaults(NamedTuple):
    """Unusual numbers of stages (`network.minority`), entries that no U-Net accepts, and lists of another network."""

    counts: tuple[tuple[str, int, list[str], int], ...]
    entries: tuple[_BadEntry, ...]
    foreign: frozenset[str]


@by_content
def _stage_faults(architecture: Mapping[str, Any], axes: int, has_old_format: bool) -> _StageFaults:
    kwargs, required = architecture["arch_kwargs"], constants.STOCK_ARCHITECTURES[_class_name(architecture)].required
    return _StageFaults(
        tuple(network.minority(_stage_counts(kwargs, has_old_format))),
        tuple(_bad_entries(kwargs, axes, has_old_format)),
        network.ENCODER_LISTS & kwargs.keys() - set(required),
    )


def _stage_counts(kwargs: Mapping[str, Any], has_old_format: bool) -> dict[str, int]:
    counts = {"n_stages": kwargs["n_stages"]} if network.is_count(kwargs.get("n_stages")) else {}
    # In the old format these are derived from n_stages.
    derived = {"features_per_stage", *network.ENCODER_LISTS} if has_old_format else set()
    for key in (*network.PER_STAGE_AND_AXIS, *network.PER_STAGE):
        if isinstance(kwargs.get(key), list) and key not in derived:
            counts[key] = len(kwargs[key]) + (key == "n_conv_per_stage_decoder")
    return counts


def _resize(field: str, stages: int) -> str:
    if field == "n_stages":
        return f"set it to {stages}"
    decoder = field == "n_conv_per_stage_decoder"
    return f"give it {stages - 1} entries, one less than stages" if decoder else f"give it {stages} entries"


def _bad_entries(kwargs: Mapping[str, Any], of_patch: int, has_old_format: bool) -> Iterator[_BadEntry]:
    positive = "only positive integers are valid", "write a positive integer"
    if "n_stages" in kwargs and not network.is_count(kwargs["n_stages"]):
        yield "n_stages", (), kwargs["n_stages"], *positive
    for key in (*network.PER_STAGE_AND_AXIS, *network.PER_STAGE):
        # The old format has no list of features.
        value = [] if key == "features_per_stage" and has_old_format else kwargs.get(key, [])
        stages = value if isinstance(value, list) else [value]
        if key == "strides":
            yield from _scalar_strides(stages, of_patch, isinstance(value, list))
        if _are_sound(key, stages):
            continue
        per_axis = key in network.PER_STAGE_AND_AXIS and isinstance(value, list)
        axes = _usual_length(stages)
        for index, stage in enumerate(stages):
            tokens = (index,) if isinstance(value, list) else ()
            numbers = stage if per_axis and isinstance(stage, list) else [stage]
            if not network.are_counts(numbers):
                axis = [place for place, number in enumerate(numbers) if not network.is_count(number)][:1]
                yield key, (*tokens, *(axis if numbers is stage else ())), stage, *positive
            elif isinstance(stage, list) and len(stage) != axes:
                yield key, tokens, stage, f"other stages have {axes} numbers", f"write {axes} numbers, one per axis"
            elif key == "kernel_sizes" and (even := [axis for axis, number in enumerate(numbers) if number % 2 == 0]):
                yield (
                    key,
                    (*tokens, *(even[:1] if numbers is stage else ())),
                    stage,
                    "the network can only pad odd kernels",
                    "write odd numbers, such as 3",
                )


def _scalar_strides(stages: list[Any], axes: int, are_listed: bool) -> Iterator[_BadEntry]:
    """Yield the first stride that is one number for all axes: the scales of deep supervision need one per axis."""
    for index, stage in enumerate(stages):
        if network.is_count(stage):
            other = "the trainer's deep supervision needs one number per axis"
            remedy = f"write {[stage] * axes}" + ("" if are_listed else " for each stage")
            yield "strides", (index,) if are_listed else (), stage, other, remedy
            return


def _are_sound(key: str, stages: list[Any]) -> bool:
    """Return whether these are positive integers, or lists of them of one length as strides or odd kernels."""
    per_axis = key in network.PER_STAGE_AND_AXIS and set(map(type, stages)) == {list}
    if per_axis and len(set(map(len, stages))) > 1:
        return False
    numbers = list(chain.from_iterable(stages)) if per_axis else stages
    return network.are_counts(numbers) and (key != "kernel_sizes" or all(number % 2 for number in numbers))


def _usual_length(stages: list[Any]) -> int:
    """Return the length that most of the lists among ``stages`` have."""
    lengths = [len(stage) for stage in stages if isinstance(stage, list)]
    return Counter(lengths).most_common(1)[0][0] if len(set(lengths)) > 1 else next(iter(lengths), 0)
