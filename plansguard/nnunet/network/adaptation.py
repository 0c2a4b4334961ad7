"""Adaptation of weights to a network with other input channels or classes: where each parameter comes from.

Pure data: no tensor is read here. In a network, the weight of the first convolution depends on the input channels, and
the segmentation layers depend on the classes. All other parameters have to fit.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Literal, NamedTuple

from plansguard.core.text import times
from plansguard.nnunet.network.inference import Stored
from plansguard.nnunet.network.parameters import counted_once
from plansguard.nnunet.network.unet import UnknownNetwork

Filling = Literal["kept", "averaged", "zero", "initialised"]
"""What a channel or class gets: that of the weights, the mean of all their channels, zeros, or nnU-Net's own values."""
Action = Literal["kept", "channels", "classes", "zero", "initialised"]
"""What a parameter gets: all of the same one in the weights, or one channel or class at a time."""

#: The axis of a parameter along which its channels or classes are.
AXES: dict[str, int] = {"channels": 1, "classes": 0}
_FIRST = ("encoder.stem.convs.0.conv.weight", "encoder.stages.0.0.convs.0.conv.weight")
_HEAD = ".seg_layers."
#: Parameters that nnU-Net v1 does not have; it adds nothing there.
_BIASES_LATER = ("decoder.transpconvs.", "decoder.seg_layers.")


class PartSource(NamedTuple):
    """One channel or class of the network: ``source`` is its place in the weights, ``source_name`` its name there."""

    name: str
    filling: Filling
    source: int | None = None
    source_name: str | None = None


class ParameterSource(NamedTuple):
    """One parameter of the network, by its canonical name, and what it gets.

    ``source`` is its name in the file; None where nothing of the file is used. ``parts`` are its channels or classes.
    """

    name: str
    shape: tuple[int, ...]
    action: Action
    source: str | None = None
    source_shape: tuple[int, ...] | None = None
    parts: tuple[PartSource, ...] = ()


class ParameterMisfit(NamedTuple):
    """A parameter that neither channels nor classes explain: ``source_shape`` is None where the weights lack it."""

    name: str
    shape: tuple[int, ...]
    source_shape: tuple[int, ...] | None

    def __str__(self) -> str:
        there = "missing" if self.source_shape is None else times(self.source_shape) or "a number"
        return f"{self.name} is {times(self.shape) or 'a number'} here and {there} in the weights"


def matched(
    names: Sequence[str], source_names: Sequence[str], renamed: Mapping[str, str], otherwise: Filling
) -> tuple[PartSource, ...]:
    """For each name the place of the same name in the weights, without regard to case, or ``otherwise``.

    ``renamed`` has the name in the weights for a name here. The second of two same names is the second one there.
    """
    places: dict[str, list[int]] = {}
    for place, name in enumerate(source_names):
        places.setdefault(name.casefold(), []).append(place)
    aliases = {name.casefold(): old for name, old in renamed.items()}
    used: dict[str, int] = {}
    parts = []
    for name in names:
        key = name.casefold()
        there = places.get(aliases.get(key, name).casefold(), [])
        number = used.get(key, 0)
        used[key] = number + 1
        if number < len(there):
            parts.append(PartSource(name, "kept", there[number], source_names[there[number]]))
        else:
            parts.append(PartSource(name, otherwise))
    return tuple(parts)


def first_convolution(shapes: Stored) -> str:
    """The parameter whose shape contains the number of input channels; UnknownNetwork for no U-Net of nnU-Net's."""
    for name in _FIRST:
        if name in shapes:
            return name
    raise UnknownNetwork("only nnU-Net's own U-Nets are adapted: the first convolution of this network is unknown")


def has_decoder(sources: Mapping[str, str]) -> bool:
    """Whether weights have a decoder; ``sources`` is that of renaming."""
    return any(name.startswith("decoder.") and _HEAD not in name for name in sources)


def rows(
    expected: Stored,
    stored: Stored,
    sources: Mapping[str, str],
    channels: Sequence[PartSource],
    classes: Sequence[PartSource],
    *,
    decoder: bool = True,
    initial: Collection[str] = (),
    before_v2: bool = False,
) -> tuple[list[ParameterSource], list[ParameterMisfit]]:
    """A row for each parameter of the network, and the parameters that do not fit.

    ``sources`` is that of renaming. Without ``decoder``, that of the weights is not used. ``initial`` are
    parameters that have nnU-Net's initial values in the weights. ``before_v2`` is whether the weights are of v1, whose
    transposed convolutions and segmentation layers have no bias.
    """
    found: list[ParameterSource] = []
    misfits: list[ParameterMisfit] = []
    first = first_convolution(expected)
    for name, shape in counted_once(expected):
        source = sources.get(name)
        there = None if source is None else stored[source]
        if name in initial or (not decoder and name.startswith("decoder.")):
            found.append(ParameterSource(name, shape, "initialised"))
        elif name == first and there is not None and _differ_along(shape, there, AXES["channels"]):
            found.append(_in_parts(name, shape, "channels", source, there, channels))
        elif before_v2 and source is None and name.endswith(".bias") and name.startswith(_BIASES_LATER):
            found.append(_head_bias(name, shape, classes) if _HEAD in name else ParameterSource(name, shape, "zero"))
        elif _HEAD in name:
            fits = there is not None and _differ_along(shape, there, AXES["classes"])
            found.append(
                _in_parts(name, shape, "classes", source, there, classes)
                if fits
                else ParameterSource(name, shape, "initialised")
            )
        elif there == shape:
            found.append(ParameterSource(name, shape, "kept", source, there))
        else:
            misfits.append(ParameterMisfit(name, shape, there))
    return found, misfits


def _differ_along(shape: Sequence[int], other: Sequence[int], axis: int) -> bool:
    """Whether two shapes are the same, or differ along this axis only."""
    if len(shape) != len(other):
        return False
    return all(one == two for place, (one, two) in enumerate(zip(shape, other, strict=True)) if place != axis)


def _in_parts(
    name: str,
    shape: tuple[int, ...],
    action: Action,
    source: str | None,
    there: tuple[int, ...] | None,
    parts: Sequence[PartSource],
) -> ParameterSource:
    """The row of a parameter with channels or classes: as it is, where they are the same in the same order."""
    if there == shape and all(part.source == place for place, part in enumerate(parts)):
        return ParameterSource(name, shape, "kept", source, there)
    if not any(part.filling in ("kept", "averaged") for part in parts):
        return ParameterSource(name, shape, "initialised")
    return ParameterSource(name, shape, action, source, there, tuple(parts))


def _head_bias(name: str, shape: tuple[int, ...], classes: Sequence[PartSource]) -> ParameterSource:
    """The bias of a segmentation layer whose kept classes have none in the weights: zero for these."""
    if not any(part.filling == "kept" for part in classes):
        return ParameterSource(name, shape, "initialised")
    return ParameterSource(name, shape, "classes", parts=tuple(_without_source(classes)))


def _without_source(classes: Sequence[PartSource]) -> Iterator[PartSource]:
    for part in classes:
        yield PartSource(part.name, "zero") if part.filling == "kept" else part
