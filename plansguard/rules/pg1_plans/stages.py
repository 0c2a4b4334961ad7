"""PG101, PG102, PG103, PG115: patch and stages of the network."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from math import prod
from typing import Any

from plansguard.core.errors import Absent, known
from plansguard.core.report import Severity
from plansguard.core.text import brief, listed
from plansguard.nnunet import constants
from plansguard.rules.engine.declare import Found, found, rule
from plansguard.rules.engine.helpers import told_before
from plansguard.rules.pg1_plans.architecture_fields import (
    ENCODER_LISTS,
    PER_STAGE,
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

#: PL-02. nnU-Net's planners stop halving an axis before fewer voxels than this are left.
_SMALLEST_MAP = 4


@rule(
    "PG101",
    "patch-not-divisible",
    Severity.ERROR,
    message="patch_size {patch_size} is not divisible by the strides' product {factors} on axis {axis}",
    fix="use {sizes} on axis {axis} of patch_size",
    modes=("PL-01",),
)
def patch_not_divisible(configuration: Configuration, dataset: Dataset) -> Iterator[Found]:
    """The patch size is not divisible by the product of the strides.

    What it checks: on every axis, `patch_size` divided by the product of all stages' `strides` leaves no rest. The
    real strides count, not 2 to the power of the number of stages: an anisotropic axis is pooled less often. A patch
    smaller than the product is told by PG102.

    Why it matters: the decoder cannot join its upsampled maps with the encoder's. nnU-Net finds out at the first
    forward pass, after the data loaders have started: `RuntimeError: Sizes of tensors must match except in dimension
    1. Expected size 14 but got size 13`.

    How to fix: change that axis of `patch_size` to a size named, or reduce the strides. The patch size is no part of
    preprocessing: the preprocessed data stay valid.

    Example: `"patch_size": [40, 100, 96]` with four stages that halve axis 1: 100 / 16 leaves a rest; 96 and 112 fit.

    Evidence: PL-01; nnU-Net issues 362, 2719, 2878.
    """
    patch, factors = _pooling(configuration)
    if told_before(dataset, configuration, "patch_size", *written_fields(configuration, "strides")):
        return
    for axis, (size, factor) in enumerate(zip(patch, factors, strict=True)):
        if size > factor and size % factor:
            # A size that leaves too small a map would only lead to PG102.
            lower, least = size // factor * factor, _SMALLEST_MAP * factor
            fitting = [one for one in (lower, max(lower + factor, least)) if one >= least]
            yield found(
                blamed(configuration, configuration.at("patch_size", axis), configuration.at_kwarg("strides")),
                axis=axis,
                patch_size=patch,
                factors=factors,
                sizes=" or ".join(map(str, fitting)),
            )


@rule(
    "PG102",
    "bottleneck-too-small",
    Severity.WARNING,
    message="the network shrinks patch_size {patch_size} by {factors}, to {map} voxels: {consequence}",
    fix="use a patch_size of at least {least}, or take out the last stage",
    modes=("PL-02",),
)
def bottleneck_too_small(configuration: Configuration, dataset: Dataset) -> Iterator[Found]:
    """The smallest feature map is too small.

    What it checks: on every axis that is pooled, `patch_size` divided by the product of the strides is at least 4
    voxels. Less is a warning; less than one voxel is an error, and so is a map of a single voxel where instance
    normalisation follows. An axis that is thin and never pooled is normal: the planner leaves a stack of three slices
    as it is.

    Why it matters: nnU-Net's planners stop pooling at 4 voxels; below, most of what the deepest layers see is padding.
    Below one voxel the decoder's maps do not fit the encoder's (`Sizes of tensors must match`), and a map of one
    voxel has no variance to normalise by: `ValueError: Expected more than 1 spatial element when training`. Both end
    the training at its first step.

    How to fix: enlarge `patch_size` where memory allows, or take the last stage out of all lists of the architecture.
    With pretrained weights the architecture is given: then the patch has to grow.

    Example: `"patch_size": [32, 32, 32]` for a network of six stages, whose strides multiply to 32: a map of 1 x 1 x 1.

    Evidence: PL-02; nnU-Net issue 2075; 30000 random topologies of nnU-Net's planner stay at 4 or more.
    """
    patch, factors = _pooling(configuration)
    if told_before(dataset, configuration, "patch_size", *written_fields(configuration, "strides")):
        return
    sizes = list(zip(patch, factors, strict=True))
    # A size above the product that is not divisible is told by PG101.
    small = [
        axis
        for axis, (size, factor) in enumerate(sizes)
        if 1 < factor > size / _SMALLEST_MAP and (size < factor or size % factor == 0)
    ]
    if small or patch == factors:
        places = [configuration.at("patch_size", *small[: len(small) == 1]), configuration.at_kwarg("strides")]
        severity, consequence = _verdict_on_map(configuration, patch, factors)
        yield found(
            blamed(configuration, *places),
            severity=severity,
            patch_size=patch,
            factors=factors,
            map=" x ".join(f"{size / factor:g}" for size, factor in sizes),
            least=[max(size, _SMALLEST_MAP * factor) if factor > 1 else size for size, factor in sizes],
            consequence=consequence,
        )


@rule(
    "PG103",
    "stage-lists-disagree",
    Severity.ERROR,
    message="{one}, but {other}",
    fix="{remedy}",
    modes=("PL-03",),
)
def stage_lists_disagree(configuration: Configuration, dataset: Dataset) -> Iterator[Found]:
    """The lists over the network's stages do not fit each other.

    What it checks: for nnU-Net's own U-Nets, `strides`, `kernel_sizes`, `features_per_stage` and `n_conv_per_stage`
    (PlainConvUNet) or `n_blocks_per_stage` (residual networks) have `n_stages` entries, `n_conv_per_stage_decoder` one
    less; every entry is a positive integer or, for strides and kernels, a list with one per axis, and kernels are odd.
    One number instead of a list counts for all stages. What most fields say is held to be meant. Plans of the old
    format are judged the same way.

    Why it matters: the network's constructor stops with an assertion such as `strides must have as many entries as we
    have resolution stages`, with a `TypeError` about an unexpected argument, or, for an even kernel, the first forward
    pass does. A changed number of stages has to reach all lists.

    How to fix: give the field named as many entries as the others have, or take the whole `architecture` from plans
    that work.

    Example: `network_class_name` was edited from PlainConvUNet to ResidualEncoderUNet, and `n_conv_per_stage` stayed.

    Evidence: PL-03; nnU-Net issues 2010, 2830; measured with dynamic_network_architectures 0.4.4.
    """
    network, kwargs = _stock_network(configuration), configuration.architecture["arch_kwargs"]
    stages = _stages_claimed(configuration, kwargs)
    for key, claimed, agreeing, meant in dissenters(stages):
        if not told_before(dataset, configuration, *written_fields(configuration, key, agreeing[0])):
            field, others = spelt(configuration, key), [spelt(configuration, name) for name in agreeing]
            one, other = f"{field} is for {claimed} stages", f"{listed(others, shown=6)} for {meant}"
            yield found(configuration.at_kwarg(key), one=one, other=other, remedy=_resize(field, meant))
    for key, tokens, value, other, remedy in _bad_entries(configuration, kwargs):
        if not told_before(dataset, configuration, *written_fields(configuration, key)):
            stage = "".join(f" for stage {index}" for index in tokens)
            one = f"{spelt(configuration, key)} holds {brief(value)}{stage}"
            yield found(configuration.at_kwarg(key, *tokens), one=one, other=other, remedy=remedy)
    wrong = ENCODER_LISTS & set(kwargs) - set(constants.STOCK_ARCHITECTURES[network].required)
    if wrong and not told_before(dataset, configuration, "architecture"):
        (key,), (right,) = wrong, ENCODER_LISTS - wrong
        one, other = f"arch_kwargs holds {key}", f"{network} takes {right}"
        remedy = f"delete {key}" if right in kwargs else f"rename it to {right}, with that network's numbers"
        yield found(configuration.at_kwarg(key), one=one, other=other, remedy=remedy)


@rule(
    "PG115",
    "first-stage-downsamples",
    Severity.ERROR,
    message="the first stage has stride {stride}: the network's output is smaller than its input",
    fix="set the first entry of strides to {ones}",
)
def first_stage_downsamples(configuration: Configuration, dataset: Dataset) -> Iterator[Found]:
    """The network's first stage downsamples.

    What it checks: for nnU-Net's own U-Nets, the strides of the first stage are 1 on every axis.

    Why it matters: the decoder goes up again to the first stage and no further, so segmentations come out at a fraction
    of the patch's size. Training does not notice, because deep supervision shrinks the targets alike. The final
    validation, after the whole training, and every prediction end with `RuntimeError: The size of tensor a (8) must
    match the size of tensor b (16)`.

    How to fix: set the first entry to 1 on every axis, and take one halving out of the network or enlarge the patch.

    Example: a planner's `strides` without its first entry `[1, 1]`, to get a network of fewer stages.

    Evidence: found in public plans with six stages; measured with nnU-Net 2.8.1.
    """
    _stock_network(configuration)
    first, axes = _strides(configuration)[:1], len(configuration.require("patch_size"))
    if told_before(dataset, configuration, *written_fields(configuration, "strides")):
        return
    if first and all(map(is_count, first[0])) and max(first[0], default=1) > 1:
        yield found(configuration.at_kwarg("strides", 0), stride=first[0], ones=[1] * axes)


# --- The network ------------------------------------------------------------


def _pooling(configuration: Configuration) -> tuple[list[int], list[int]]:
    """The patch size, and by how much the network shrinks each of its axes; Absent when strides do not fit it."""
    patch, strides = configuration.require("patch_size"), _strides(configuration)
    if not strides or not all(len(stage) == len(patch) and all(map(is_count, stage)) for stage in strides):
        raise Absent(f"the strides of configuration {configuration.name} do not fit its patch (see PG103, PG108)")
    return patch, [prod(axis) for axis in zip(*strides, strict=True)]


def _strides(configuration: Configuration) -> list[list[int]]:
    """The strides of every stage; Absent when there are too many or too few: then nothing follows from them."""
    strides, stages = configuration.stage_lists("strides"), known(lambda: configuration.kwarg("n_stages"))
    if is_count(stages) and stages != len(strides):
        raise Absent(f"configuration {configuration.name} has {len(strides)} strides for {stages} stages (see PG103)")
    return strides


def _verdict_on_map(configuration: Configuration, patch: list[int], factors: list[int]) -> tuple[Severity, str]:
    """How bad a smallest map of these sizes is, and why."""
    if any(size < factor for size, factor in zip(patch, factors, strict=True)):
        return Severity.ERROR, "the decoder needs one at least"
    if patch == factors and "InstanceNorm" in str(known(lambda: configuration.kwarg("norm_op"))):
        return Severity.ERROR, "instance normalisation needs more than one in training"
    return Severity.WARNING, f"nnU-Net's planners keep {_SMALLEST_MAP} on every axis they pool"


def _stock_network(configuration: Configuration) -> str:
    """The class of nnU-Net's own that is built; Absent for any other."""
    network = str(configuration.architecture.get("network_class_name")).rpartition(".")[2]
    if network not in constants.STOCK_ARCHITECTURES:
        raise Absent(f"what the network of configuration {configuration.name} needs is not known")
    return network


def _stages_claimed(configuration: Configuration, kwargs: Mapping[str, Any]) -> dict[str, int]:
    """For each field that tells it, the number of stages."""
    claims = {"n_stages": kwargs["n_stages"]} if is_count(kwargs.get("n_stages")) else {}
    # In the old format these two follow from n_stages, and so prove nothing.
    derived = {"features_per_stage", *ENCODER_LISTS} if is_old_format(configuration) else set()
    for key in (*PER_STAGE_AND_AXIS, *PER_STAGE):
        if isinstance(kwargs.get(key), list) and key not in derived:
            claims[key] = len(kwargs[key]) + (key == "n_conv_per_stage_decoder")
    return claims


def _resize(field: str, stages: int) -> str:
    """How to bring a field to this number of stages."""
    if field == "n_stages":
        return f"set it to {stages}"
    decoder = field == "n_conv_per_stage_decoder"
    return f"give it {stages - 1} entries, one less than stages" if decoder else f"give it {stages} entries"


def _bad_entries(
    configuration: Configuration, kwargs: Mapping[str, Any]
) -> Iterator[tuple[str, tuple[int, ...], Any, str, str]]:
    """Entries that no U-Net takes: argument, stage, what stands there, what does not fit, and what to write."""
    positive = "nothing but positive integers can stand there", "write a positive integer"
    if "n_stages" in kwargs and not is_count(kwargs["n_stages"]):
        yield "n_stages", (), kwargs["n_stages"], *positive
    for key in (*PER_STAGE_AND_AXIS, *PER_STAGE):
        # The old format has no list of features to point into.
        value = [] if key == "features_per_stage" and is_old_format(configuration) else kwargs.get(key, [])
        stages = value if isinstance(value, list) else [value]
        per_axis = key in PER_STAGE_AND_AXIS and isinstance(value, list)
        axes = Counter(len(stage) for stage in stages if isinstance(stage, list)).most_common(1)
        for index, stage in enumerate(stages):
            tokens = (index,) if isinstance(value, list) else ()
            numbers = stage if per_axis and isinstance(stage, list) else [stage]
            if not numbers or not all(map(is_count, numbers)):
                yield key, tokens, stage, *positive
            elif isinstance(stage, list) and len(stage) != axes[0][0]:
                count = axes[0][0]
                yield key, tokens, stage, f"other stages have {count} numbers", f"write {count} numbers, one per axis"
            elif key == "kernel_sizes" and any(number % 2 == 0 for number in numbers):
                yield key, tokens, stage, "the network can only pad odd kernels", "write odd numbers, such as 3"
