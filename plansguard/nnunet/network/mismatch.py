"""Why parameters do not fit a network, in terms of plans: stages, axes and settings in place of names and shapes.

nnU-Net stops at the first parameter that does not fit and prints its values. Here both networks are inferred from names
and shapes, and each difference between them is reported once.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from plansguard.core.text import counted, times
from plansguard.nnunet.network.inference import InferredNetwork, Stored, inferred_network, unmet
from plansguard.nnunet.network.parameters import shapes_of
from plansguard.nnunet.network.unet import AFFINE, PER_STAGE, TRACKED, Network

Kind = Literal["dimensions", "network", "channels", "topology", "features", "blocks", "layers", "parameters"]

#: Limits for differing arguments in a message, where it is unknown which of them matter.
_ARGUMENTS_SHOWN, _LONGEST_VALUES = 3, 80


@dataclass(frozen=True)
class Obstacle:
    """One reason why nnU-Net cannot load the weights.

    ``kind``: "dimensions" and "network" mean a different network, "channels" another input, "topology" other stages,
    strides or kernels; "features", "blocks" and "layers" (normalization, bias, dropout) other settings of the same
    network; "parameters" a difference that no setting explains. ``what`` is a clause that names both sides;
    ``settings`` are the arguments in ``arch_kwargs`` to copy from the weights' plans to remove the obstacle, empty
    where that is not enough; ``key`` is the first parameter at which nnU-Net would stop because of it; ``stage`` is the
    place in the list of a setting.
    """

    kind: Kind
    what: str
    settings: tuple[str, ...] = ()
    key: str | None = None
    stage: int | None = None

    @property
    def clause(self) -> str:
        """``what`` in short: without the settings in brackets and what differs besides."""
        if self.kind == "channels":
            return self.what
        return re.sub(r" \([^()]*\)$", "", self.what).partition("; ")[0]


def obstacles(
    expected: Stored,
    stored: Stored,
    *,
    here: Mapping[str, Any] | None = None,
    theirs: Mapping[str, Any] | None = None,
    cascade: bool = False,
) -> list[Obstacle]:
    """Why nnU-Net cannot load ``stored`` with -pretrained_weights, in the order in which a user should fix it.

    Empty exactly when it can: every expected parameter except the segmentation layers is stored under the same name and
    in the same shape. ``here`` and ``theirs`` are the ``architecture`` of the run and that of the weights, where known;
    they name networks that cannot be inferred from parameters. ``cascade`` states that the configuration has a
    previous stage, whose labels are further input channels.
    """
    missing = unmet(expected, stored)
    if not missing:
        return []
    prefix = _common_prefix(expected, stored)
    if prefix:
        bare = {name.removeprefix(prefix): shape for name, shape in stored.items()}
        what = f"all names in the weights begin with {prefix}, which nnU-Net does not take off"
        first = Obstacle("parameters", what, key=missing[0])
        return [first, *obstacles(expected, bare, here=here, theirs=theirs, cascade=cascade)]
    ours, other = inferred_network(expected), inferred_network(stored)
    if ours is None or other is None:
        mine, its = _name(ours, here), _name(other, theirs)
        if mine and its and mine != its:
            return [Obstacle("network", _networks(mine, its), key=missing[0])]
        return [_unexplained(missing, expected, stored, _other_arguments(here, theirs))]
    causes = list(_causes(ours, other, cascade))
    known = shapes_of(ours.network, ours.channels, 1)
    rest = [name for name in missing if not causes or name not in known]
    explained = [
        replace(obstacle, key=next((name for name in missing if name.startswith(start)), missing[0]))
        for obstacle, start in causes
    ]
    return [*_with_counting(explained), *([_unexplained(rest, expected, stored)] if rest else [])]


def obstacles_by_plans(here: Mapping[str, Any], theirs: Mapping[str, Any]) -> list[Obstacle]:
    """The same for networks with unknown parameters, by the ``architecture`` of both plans alone.

    Another number of input channels does not appear there.
    """
    mine, its = _name(None, here), _name(None, theirs)
    if mine != its:
        return [Obstacle("network", _networks(str(mine), str(its)))]
    differing = _other_arguments(_deciding(here), _deciding(theirs))
    return [Obstacle("parameters", differing.removesuffix("; "))] if differing else []


def _deciding(architecture: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments on which parameters may depend, with classes by the last part of their path."""
    kwargs = architecture.get("arch_kwargs")
    kept = {key: value for key, value in (kwargs or {}).items() if key != "nonlin" and not key.endswith("_kwargs")}
    return {
        "arch_kwargs": {
            key: value.rpartition(".")[2] if isinstance(value, str) else value for key, value in kept.items()
        }
    }


def _common_prefix(expected: Stored, stored: Stored) -> str:
    """The prefix of all stored names that names of this network do not have."""
    first = next(iter(stored), "")
    ends = (index + 1 for index, letter in enumerate(first) if letter == ".")
    for prefix in (first[:end] for end in ends):
        begins = first.removeprefix(prefix) in expected or first.startswith("encoder.", len(prefix))
        if begins and all(name.startswith(prefix) for name in stored):
            return prefix
    return ""


# --- Networks that are not both nnU-Net's own ------------------------


def _name(inferred: InferredNetwork | None, architecture: Mapping[str, Any] | None) -> str | None:
    if inferred is not None:
        return inferred.network.name
    path = architecture.get("network_class_name") if architecture else None
    return path.rpartition(".")[2] if isinstance(path, str) else None


def _other_arguments(here: Mapping[str, Any] | None, theirs: Mapping[str, Any] | None) -> str:
    """The arguments in which the plans of two networks differ, where their parameters do not show why."""
    mine, its = ((side or {}).get("arch_kwargs") for side in (here, theirs))
    if not isinstance(mine, Mapping) or not isinstance(its, Mapping):
        return ""
    differing = [key for key in {**mine, **its} if mine.get(key) != its.get(key)][:_ARGUMENTS_SHOWN]
    values = {key: f"is {mine.get(key)} here and {its.get(key)} in the weights" for key in differing}
    return "".join(f"{key} {text if len(text) < _LONGEST_VALUES else 'differs'}; " for key, text in values.items())


def _unexplained(missing: Sequence[str], expected: Stored, stored: Stored, lead: str = "") -> Obstacle:
    key = missing[0]
    ours = times(expected[key]) or "a number"
    theirs = f"{times(stored[key]) or 'a number'} in the weights" if key in stored else "missing in the weights"
    more = counted(len(missing) - 1, "more parameter")
    rest = {1: "", 2: f"; {more} does not fit either"}.get(len(missing), f"; {more} do not fit either")
    if {"encoder", "decoder"} & {name.partition(".")[0] for name in stored} == {"encoder"}:
        lead = "the weights have an encoder without a decoder; "
    return Obstacle("parameters", f"{lead}{key} is {ours} here and {theirs}{rest}", key=key)


# --- Two of nnU-Net's own U-Nets -------------------------------------

_Cause = tuple[Obstacle, str]
"""An obstacle, and the beginning of the names of its parameters."""


def _causes(ours: InferredNetwork, other: InferredNetwork, cascade: bool) -> Iterator[_Cause]:
    """The differences because of which parameters do not fit; additional ones in the weights are no obstacle."""
    mine, its = ours.network, other.network
    if mine.axes != its.axes:
        yield Obstacle("dimensions", f"{mine.axes}D here, {its.axes}D in the weights"), ""
    if mine.name != its.name:
        yield Obstacle("network", _networks(mine.name, its.name)), ""
    if ours.channels != other.channels:
        reason = f"channel_names{', and one more per foreground label' if cascade else ' of dataset.json'}"
        here = counted(ours.channels, "input channel")
        yield Obstacle("channels", f"{here} here, {other.channels} in the weights ({reason})"), ""
    if mine.axes == its.axes and mine.name == its.name:
        yield from _topology(mine, its)
        yield from _features(mine, its)
        yield from _blocks(mine, its)
        yield from _layers(mine, its)


def _networks(here: str, theirs: str) -> str:
    return f"the network is a {here} here, a {theirs} in the weights"


def _topology(mine: Network, its: Network) -> Iterator[_Cause]:
    here, theirs = len(mine.features), len(its.features)
    if here != theirs:
        inside = ("bottleneck_channels",) if mine.bottleneck else ()
        settings = ("n_stages", *PER_STAGE, mine.counted_by, "n_conv_per_stage_decoder", *inside)
        what = f"{counted(here, 'stage')} here, {theirs} in the weights (n_stages)"
        # The decoder counts from the lowest stage up: with more stages in the weights all its names are shifted.
        yield Obstacle("topology", what, settings), f"encoder.stages.{theirs}." if here > theirs else "decoder.stages."
    pools = "stage {stage} pools {mine} here and {its} in the weights"
    step = "decoder.transpconvs.{from_below}."
    yield from _per_stage("topology", "strides", pools, mine.strides, its.strides, at=step, start=1)
    pooling = _first_stage_pools(mine), _first_stage_pools(its)
    if None not in pooling and pooling[0] != pooling[1]:
        where = "here and not in the weights" if pooling[0] else "in the weights and not here"
        yield Obstacle("topology", f"stage 0 pools {where} (strides)", ("strides",)), "encoder.stages.0."
    kernels = "stage {stage} has kernels of {mine} here and {its} in the weights"
    yield from _per_stage("topology", "kernel_sizes", kernels, mine.kernels, its.kernels)


def _first_stage_pools(network: Network) -> bool | None:
    """Whether the first stage has a stride; None where its first block has no skip whose convolution shows that."""
    if network.plain or network.stem == network.features[0]:
        return None
    return any(factor != 1 for factor in network.strides[0])


def _features(mine: Network, its: Network) -> Iterator[_Cause]:
    features = "stage {stage} has {mine} features here and {its} in the weights"
    for obstacle, at in _per_stage("features", "features_per_stage", features, mine.features, its.features):
        # Without stem_channels, the stem has as many features as the first stage.
        stem = () if mine.plain or mine.features[0] == its.features[0] else ("stem_channels",)
        yield replace(obstacle, settings=(*obstacle.settings, *stem)), at
    if mine.stem != its.stem and (mine.stem, its.stem) != (mine.features[0], its.features[0]):
        what = f"the stem has {mine.stem} features here and {its.stem} in the weights (stem_channels)"
        yield Obstacle("features", what, ("stem_channels",)), "encoder.stem."
    if mine.bottleneck and its.bottleneck:
        inside = "the blocks of stage {stage} have {mine} features inside here and {its} in the weights"
        yield from _per_stage("features", "bottleneck_channels", inside, mine.bottleneck, its.bottleneck)


def _blocks(mine: Network, its: Network) -> Iterator[_Cause]:
    # With kernels of 1 and as many features inside, BottleneckD has all parameters of BasicBlockD.
    is_contained = its.bottleneck == its.features and not (mine.norm and its.gap)
    is_contained &= all(factor == 1 for kernel in its.kernels for factor in kernel)
    if bool(mine.bottleneck) != bool(its.bottleneck) and not is_contained:
        here, theirs = ("BottleneckD" if network.bottleneck else "BasicBlockD" for network in (mine, its))
        what = f"blocks are {here} here and {theirs} in the weights (block)"
        yield Obstacle("blocks", what, ("block", "bottleneck_channels")), "encoder.stages."
    if len(mine.features) != len(its.features):  # then all these lists differ
        return
    unit = "convolutions" if mine.plain else "blocks"
    count = f"stage {{stage}} has {{mine}} {unit} here and {{its}} in the weights"
    at = "encoder.stages.{stage}.0.convs.{its}." if mine.plain else "encoder.stages.{stage}.blocks.{its}."
    yield from _per_stage("blocks", mine.counted_by, count, mine.encoder, its.encoder, at=at, only_more=True)
    unit, name = ("blocks", "blocks") if mine.name == "ResidualUNet" else ("convolutions", "convs")
    count = f"the decoder has {{mine}} {unit} at stage {{stage}} here and {{its}} in the weights"
    at = f"decoder.stages.{{from_below}}.{name}.{{its}}."
    upwards = mine.decoder[::-1], its.decoder[::-1]
    yield from _per_stage("blocks", "n_conv_per_stage_decoder", count, *upwards, at=at, only_more=True)


def _layers(mine: Network, its: Network) -> Iterator[_Cause]:
    if mine.bias and not its.bias:
        what = "convolutions have a bias here and none in the weights (conv_bias)"
        yield Obstacle("layers", what, ("conv_bias",)), ""
    if set(mine.norm) - set(its.norm):
        what = f"normalization layers have {_norm(mine)} here and {_norm(its)} in the weights (norm_op, norm_op_kwargs)"
        yield Obstacle("layers", what, ("norm_op", "norm_op_kwargs")), ""
    if mine.norm and its.norm and mine.gap != its.gap:
        settings = ("dropout_op", "nonlin_first", "nonlin") if mine.plain else ("dropout_op",)
        what = (
            f"{counted(mine.gap, 'layer')} between convolution and normalization here and {its.gap} in the weights "
            f"({', '.join(settings)})"
        )
        yield Obstacle("layers", what, settings), ""


def _norm(network: Network) -> str:
    """The parameters of normalization layers, and the layer that has them by default in torch or in nnU-Net's plans."""
    parameters = {
        (): "nothing",
        AFFINE: "affine parameters (InstanceNorm)",
        TRACKED: "running statistics",
        (*AFFINE, *TRACKED): "affine parameters and running statistics (BatchNorm)",
    }
    return parameters[network.norm]


def _per_stage(
    kind: Kind,
    setting: str,
    clause: str,
    mine: Sequence[Any],
    its: Sequence[Any],
    *,
    at: str = "encoder.stages.{stage}.",
    start: int = 0,
    only_more: bool = False,
) -> Iterator[_Cause]:
    """One obstacle for all stages at which a setting differs; with ``only_more``, is larger here."""
    both = list(enumerate(zip(mine, its, strict=False)))[start:]
    differing = [stage for stage, (one, other) in both if (one > other if only_more else one != other)]
    if not differing:
        return
    stage, *others = differing
    values = {"stage": stage, "mine": _value(mine[stage]), "its": _value(its[stage])}
    from_below = len(mine) - 1 - stage
    more = f"; {_listed('stage', others)} {'differs' if len(others) == 1 else 'differ'} too" if others else ""
    where = f"{setting}{_axes(mine[stage], its[stage])}"
    place = from_below if setting == "n_conv_per_stage_decoder" else stage  # its list begins at the lowest stage
    obstacle = Obstacle(kind, f"{clause.format(**values)}{more} ({where})", (setting,), stage=place)
    yield obstacle, at.format(**values, from_below=from_below)


def _value(value: Any) -> str:
    return str(list(value)) if isinstance(value, tuple) else str(value)


def _axes(mine: Any, its: Any) -> str:
    if not isinstance(mine, tuple):
        return ""
    differing = [axis for axis, (one, other) in enumerate(zip(mine, its, strict=True)) if one != other]
    return f", {_listed('axis', differing)}"


def _listed(noun: str, numbers: Sequence[int]) -> str:
    """``stage 5``, ``stages 3, 4 and 5``, ``axes 0 and 1``."""
    words = [str(number) for number in numbers]
    if len(words) == 1:
        return f"{noun} {words[0]}"
    plural = "axes" if noun == "axis" else f"{noun}s"
    return f"{plural} {', '.join(words[:-1])} and {words[-1]}"


def _with_counting(obstacles: list[Obstacle]) -> list[Obstacle]:
    """The same obstacles; the first with the number of a stage also states how stages are counted."""
    for index, obstacle in enumerate(obstacles):
        if re.search(r"stages? \d", obstacle.what):
            counted_too = " and axes" if re.search(r", ax[ei]s \d", obstacle.what) else ""
            what = f"{obstacle.what.removesuffix(')')}; stages{counted_too} count from 0)"
            obstacles[index] = replace(obstacle, what=what)
            break
    return obstacles
