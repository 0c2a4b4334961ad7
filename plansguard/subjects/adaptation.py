"""Adaptation of weights to the channels and classes of a dataset, by their names (``plansguard adapt``)."""

from __future__ import annotations

import copy
from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple, NoReturn

from plansguard.core.errors import Absent, UsageError, known
from plansguard.core.text import counted, listed, nearest, quoted
from plansguard.nnunet import constants, printed_commands
from plansguard.nnunet.network.adaptation import (
    Filling,
    ParameterMisfit,
    ParameterSource,
    PartSource,
    first_convolution,
    has_decoder,
    matched,
    rows,
)
from plansguard.nnunet.network.parameters import (
    has_regions,
    head_names,
    previous_stage_names,
)
from plansguard.nnunet.network.renaming import is_v1, sources, stems
from plansguard.nnunet.network.unet import UnknownNetwork
from plansguard.records.adaptation import initial_values
from plansguard.subjects.dataset import Dataset
from plansguard.subjects.weights import Weights

_PER_CHANNEL = ("normalization_schemes", "use_mask_for_norm")
_INTENSITIES = "foreground_intensity_properties_per_channel"
#: The keys of dataset.json that name channels and classes.
_NAMES = ("channel_names", "modality", "labels", "regions_class_order")


class AdaptationChoices(NamedTuple):
    """What a user decides: ``channels`` and ``labels`` have the name in the weights for a name of the dataset.

    ``old_channels`` and ``old_labels`` are the names in the weights, for a file without them. ``stem`` is one of a
    MultiTalent checkpoint.
    """

    new_channels: Filling = "zero"
    channels: Mapping[str, str] = {}
    labels: Mapping[str, str] = {}
    old_channels: Sequence[str] = ()
    old_labels: Sequence[str] = ()
    stem: str | None = None
    encoder_only: bool = False


class Adaptation(NamedTuple):
    """Where each parameter of the network comes from; with ``misfits`` there is no such network.

    ``old_channels`` and ``old_labels`` are the names in the weights, None where they are not known. ``decoder`` is
    whether that of the weights is used.
    """

    rows: Sequence[ParameterSource]
    misfits: Sequence[ParameterMisfit]
    channels: Sequence[PartSource]
    classes: Sequence[PartSource]
    old_channels: Sequence[str] | None
    old_labels: Sequence[str] | None
    stem: str | None
    decoder: bool

    @property
    def keeps_classes(self) -> bool:
        """Whether a class has the segmentation layers of the weights."""
        heads = [row for row in self.rows if ".seg_layers." in row.name]
        return self.decoder and any(row.action in ("kept", "classes") for row in heads)


def adaptation_of(weights: Weights, choices: AdaptationChoices) -> Adaptation:
    """Plan the adaptation of weights to a configuration.

    UsageError where a choice is missing or impossible; Absent where the network of the configuration is not known.
    """
    stored, checkpoint = weights.checkpoint.shapes, weights.checkpoint
    stem = _chosen_stem(stems(stored), choices.stem)
    names = sources(stored, checkpoint.adaptation_plan, stem)
    try:
        first = first_convolution(weights.expected)
        here = [*weights.dataset_json.channels]
        here += previous_stage_names(weights.configuration.resolved, weights.dataset_json.value)
        labels = head_names(weights.dataset_json.value)
    except UnknownNetwork as error:
        raise Absent(error.reason) from error
    there = stored[names[first]][1] if first in names and len(stored[names[first]]) > 1 else None
    old_channels = _old_channels(weights, choices, there, stem)
    # without a counterpart of the first layer the networks differ, whatever the channels are called
    channels = () if there is None else _channels(here, old_channels, there, choices)
    old_labels = _old_labels(weights, choices, names)
    initial = initial_values(checkpoint.adaptation)
    same_kind = _are_same_kind(weights, choices)
    if choices.labels and old_labels is not None and not same_kind:
        _refuse_other_kind(weights, choices)
    classes = _classes(labels, old_labels if same_kind else None, choices, initial.classes)
    decoder = not choices.encoder_only and has_decoder(names)
    v1 = is_v1(stored)
    parts, untrained = (channels, classes), initial.parameters
    found, misfits = rows(weights.expected, stored, names, *parts, decoder=decoder, initial=untrained, before_v2=v1)
    if checkpoint.adaptation_plan is not None and all(one.name.startswith("decoder.") for one in misfits) and misfits:
        decoder = False  # nnssl pretrains an encoder: its decoder is often another one
        found, misfits = rows(weights.expected, stored, names, *parts, decoder=False)
    if choices.labels and not decoder:
        hint = "leave --label out, or --encoder-only" if choices.encoder_only else "leave --label out"
        raise UsageError("--label names a class, and no segmentation layers of the weights are taken", hint=hint)
    return Adaptation(found, misfits, channels, classes, old_channels, old_labels, stem, decoder)


def _chosen_stem(present: Sequence[str], chosen: str | None) -> str | None:
    """The stem to take; the only one needs no choice."""
    if chosen is None:
        if len(present) > 1:
            reason = f"the weights have {counted(len(present), 'stem')}: {listed(present, shown=20)}"
            raise UsageError(reason, hint=f"choose the one of similar images: --stem {quoted(present[0])}")
        return present[0] if present else None
    if chosen not in present:
        names = listed(present, shown=20) if present else "one without a name"
        raise UsageError(f"the weights have no stem {chosen}", hint=f"stems there: {names}")
    return chosen


def _old_channels(
    weights: Weights, choices: AdaptationChoices, there: int | None, stem: str | None
) -> Sequence[str] | None:
    if choices.old_channels:
        if there is not None and len(choices.old_channels) != there:
            reason = f"the weights have {counted(there, 'input channel')}, and {len(choices.old_channels)} are named"
            raise UsageError(reason, hint="give --old-channel once for each, in their order")
        return choices.old_channels
    theirs, resolved = known(lambda: weights.their_dataset_json), known(lambda: weights.theirs.resolved)
    channels = known(lambda: theirs.channels) if theirs is not None else None
    if theirs is None or channels is None or stem is not None:
        return None  # dataset.json names the channels of all datasets together, a stem has those of one
    try:
        names = [*channels, *previous_stage_names(resolved or {}, theirs.value)]
    except UnknownNetwork:
        return None
    return names if len(names) == there else None


def _channels(
    here: Sequence[str], old: Sequence[str] | None, there: int, choices: AdaptationChoices
) -> tuple[PartSource, ...]:
    _assert_names("--channel", choices.channels, here, old)
    if old is None and len(here) == there == 1:
        return (PartSource(here[0], "kept", 0),)
    if old is None and choices.new_channels != "averaged":
        raise UsageError(
            f"the file does not name the {counted(there, 'input channel')} of the weights",
            hint="name each, in their order: --old-channel NAME; or start from their mean: --new-channels averaged",
        )
    parts = matched(here, old or (), choices.channels, choices.new_channels)
    if choices.new_channels != "averaged" and not any(part.filling == "kept" for part in parts):
        names, same = listed(old or (), shown=8), f"{here[0]}={(old or ('OLD',))[0]}"
        raise UsageError(
            f"no channel here ({listed(here, shown=8)}) has the name of one of the weights ({names})",
            hint=f"if two are the same, --channel {quoted(same)}; or --new-channels averaged",
        )
    return parts


def _old_labels(weights: Weights, choices: AdaptationChoices, names: Mapping[str, str]) -> Sequence[str] | None:
    shapes = weights.checkpoint.shapes
    heads = next((shape for name in names if ".seg_layers." in name and (shape := shapes[names[name]])), None)
    if choices.old_labels:
        if heads is not None and len(choices.old_labels) != heads[0]:
            reason = f"the weights have {counted(heads[0], 'output map')}, and {len(choices.old_labels)} are named"
            raise UsageError(reason, hint="give --old-label once for each, in their order, background included")
        return choices.old_labels
    theirs = known(lambda: weights.their_dataset_json)
    if theirs is None or heads is None:
        return None
    try:
        old = head_names(theirs.value)
    except UnknownNetwork:
        return None
    return old if len(old) == heads[0] else None


def _are_same_kind(weights: Weights, choices: AdaptationChoices) -> bool:
    """Whether the old names are those of labels as here, or of regions as here: only these are taken from each other.

    Names that the user gives are.
    """
    theirs = known(lambda: weights.their_dataset_json)
    try:
        regions = [has_regions(side.value) for side in (theirs, weights.dataset_json) if side is not None]
    except UnknownNetwork:
        return False
    return bool(choices.old_labels) or len({*regions}) == 1


def _refuse_other_kind(weights: Weights, choices: AdaptationChoices) -> NoReturn:
    """Raise UsageError for a class that is chosen where one side has labels, and the other regions."""
    kinds = ("regions", "labels") if has_regions(weights.dataset_json.value) else ("labels", "regions")
    name, old_name = next(iter(choices.labels.items()))
    raise UsageError(
        f"--label {name}={old_name}: the dataset has {kinds[0]} and the weights have {kinds[1]}; "
        "their segmentation layers are not taken from each other",
        hint="leave --label out: the segmentation layers then begin with nnU-Net's initial values",
    )


def _classes(
    here: Sequence[str], old: Sequence[str] | None, choices: AdaptationChoices, initial: Collection[int]
) -> tuple[PartSource, ...]:
    """``initial`` are the places of classes that have nnU-Net's initial values in the weights: nothing is kept there.

    Raises UsageError where such a class is chosen.
    """
    _assert_names("--label", choices.labels, here, old)
    parts = matched(here, old or (), choices.labels, "initialised")
    chosen = {*map(str.casefold, choices.labels)}
    for part in parts:
        if part.source in initial and part.name.casefold() in chosen:
            raise UsageError(
                f"--label {part.name}={part.source_name}: the segmentation layers of {part.source_name} in the weights "
                "have nnU-Net's initial values, from an earlier adaptation",
                hint="leave --label out, or adapt the weights that the earlier adaptation began with",
            )
    return tuple(PartSource(part.name, "initialised") if part.source in initial else part for part in parts)


def _assert_names(option: str, renamed: Mapping[str, str], here: Sequence[str], old: Sequence[str] | None) -> None:
    """Raise UsageError for a name that the dataset, or the weights, do not have, or that cannot be told of these."""
    for name, old_name in renamed.items():
        if old is None:
            names = option.replace("--", "--old-")
            raise UsageError(
                f"{option} {name}={old_name}: the weights have no names of this kind",
                hint=f"leave {option} out; if the names are only missing, give them with {names}",
            )
        for word, present, whose in ((name, here, "the dataset"), (old_name, old, "the weights")):
            if word.casefold() not in map(str.casefold, present):
                near = nearest(word, present)
                hint = f"did you mean {near}? " if near else ""
                raise UsageError(
                    f"{option} {name}={old_name}: {whose} have no {word}".replace("dataset have", "dataset has"),
                    hint=f"{hint}names there: {listed(present, shown=20)}",
                )


def assert_suitable(weights: Weights, dataset: Dataset) -> None:
    """Raise UsageError for a 3D network and 2D images: no plans of the dataset have one, and none can come to it.

    A 2D network suits 3D images, slice by slice.
    """
    if not known(lambda: dataset.fingerprint.valid.is_flat):
        return
    axes = {len(one.get("patch_size", ())) for plans in dataset.plans for one in plans.usable_configurations}
    if len(weights.configuration.get("patch_size", ())) == 3 and 3 not in axes:
        raise UsageError(
            f"the network of {weights.configuration.name} is for 3D images, and {dataset.name} has 2D images",
            hint="nothing could be trained with the adapted weights; use weights of a 2d configuration",
        )


# --- The documents that the adapted weights are stored with


class AdaptedDocuments(NamedTuple):
    """The plans and the dataset.json that adapted weights are stored with; no plans where the file has none."""

    plans: dict[str, Any] | None
    dataset_json: dict[str, Any]


def documents_of(weights: Weights, adaptation: Adaptation, dataset: Dataset) -> AdaptedDocuments:
    """What the weights saw, in the channels of the dataset.

    Of a channel that is kept, the plans have what the weights saw; of a new one, which saw nothing, what the dataset
    has. The channels and labels of dataset.json are those of the dataset. UsageError where the dataset has no
    fingerprint, from which the intensities of a new channel are known.
    """
    theirs = weights.checkpoint.dataset_json or {}
    dataset_json = {key: value for key, value in theirs.items() if key not in _NAMES}
    dataset_json |= {key: value for key, value in weights.dataset_json.value.items() if key in _NAMES}
    if known(lambda: weights.theirs) is None:
        return AdaptedDocuments(None, dataset_json)
    parts = adaptation.channels[: len(weights.dataset_json.channels)]
    plans = copy.deepcopy(dict(weights.theirs.plans.value))
    own = {key: _own_values(key, weights, dataset) for key in (*_PER_CHANNEL, _INTENSITIES)}
    for written in plans["configurations"].values():
        for key in _PER_CHANNEL:
            if isinstance(written, dict) and isinstance(written.get(key), list):
                written[key] = _reordered(written[key], parts, own[key])
    key = constants.intensity_key(plans)
    if isinstance(plans.get(key), dict):
        new = [part.name for part in parts if part.source is None]
        if new and len(own[_INTENSITIES]) != len(parts):
            has_one = known(lambda: dataset.fingerprint) is not None
            command = printed_commands.extract_fingerprint(dataset.name, clean=has_one)
            reason = f"the dataset has no fingerprint with the intensities of {listed(new)}"
            raise UsageError(reason, hint=f"extract the fingerprint first: {command}")
        saw = _reordered([*plans[key].values()], parts, own[_INTENSITIES])
        plans[key] = {str(number): value for number, value in enumerate(saw)}
    return AdaptedDocuments(plans, dataset_json)


def _own_values(key: str, weights: Weights, dataset: Dataset) -> Sequence[Any]:
    """What the dataset has for each of its channels: by its own plans, else as nnU-Net would plan it."""
    channels = weights.dataset_json.channels
    if key == _INTENSITIES:
        properties = known(lambda: dataset.fingerprint.require(_INTENSITIES))
        return [*properties.values()] if isinstance(properties, dict) else []
    for plans in (weights.configuration.plans, *dataset.plans):
        for configuration in plans.usable_configurations:
            values = configuration.get(key) if configuration.name == weights.configuration.name else None
            if isinstance(values, list) and len(values) == len(channels):
                return values
    if key == "normalization_schemes":
        return [constants.normalization_of(name) for name in channels]
    return [False] * len(channels)


def _reordered(old: Sequence[Any], parts: Sequence[PartSource], own: Sequence[Any]) -> list[Any]:
    """A value for each channel: that of the weights where it is kept, else the dataset's own."""
    mixed = []
    for place, part in enumerate(parts):
        if part.source is not None and part.source < len(old):
            mixed.append(old[part.source])
        elif place < len(own):
            mixed.append(own[place])
    return mixed
