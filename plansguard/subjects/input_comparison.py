"""What the weights saw in their training beside what this run would feed them, field by field."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from math import isclose, prod
from typing import Any, NamedTuple

from plansguard.core.errors import Absent
from plansguard.core.report import Severity
from plansguard.nnunet import constants
from plansguard.nnunet.intensity import DOUBTFUL_OVERLAP, FOREIGN_OVERLAP, ClippedRange
from plansguard.subjects.documents import DatasetJson
from plansguard.subjects.plans import Configuration
from plansguard.subjects.weights import Weights

#: AR-06: ratios of spacings, per axis. Beyond the inner pair objects look smaller or larger than they ever did.
NEAR_SPACING = 0.8, 1.25
#: AR-06: ratios of patch volumes within which a network still sees about as much context.
NEAR_PATCH = 0.5, 2.0
#: Spacings this near each other give the same arrays; headers store 0.8 as a float32.
SAME_SPACING = 1e-3


class InputDifference(NamedTuple):
    """One field: what the weights saw, what this run feeds, and how much that matters."""

    field: str
    saw: Any
    feeds: Any
    severity: Severity


def differences(weights: Weights, workflow: str | None) -> list[InputDifference]:
    """Every field in which a run would feed the network something else than it was trained with.

    ``workflow`` is what the record of a migration says the plans are for: with ``finetune`` the weights are to see
    what they saw, and what would be a doubt is a fault; with ``graft`` spacing, normalisation and reader are meant to
    be the dataset's own. Absent when the checkpoint does not carry its plans. The grades: AR-06, NO-01, IO-01.
    """
    theirs, ours = weights.theirs, weights.configuration
    found: list[InputDifference] = []
    for compare in (_spacing, _normalization, _intensities, _plain, _layers, _patch):
        with suppress(Absent):  # a field that one side lacks hides no other
            found += compare(theirs, ours)
    with suppress(Absent):
        found += _channels(weights)
    return [one._replace(severity=_graded(one, workflow)) for one in found]


def _graded(difference: InputDifference, workflow: str | None) -> Severity:
    if workflow == "graft" and difference.field not in ("patch_size", "channel_names", "transpose_forward"):
        return Severity.INFO
    # The reader has to open the dataset's files, and the patch stays valid when it is edited: neither breaks a promise.
    promised = workflow == "finetune" and difference.field not in ("patch_size", "image_reader_writer")
    return Severity.ERROR if promised and difference.severity is Severity.WARNING else difference.severity


def _spacing(theirs: Configuration, ours: Configuration) -> Iterator[InputDifference]:
    saw, feeds = theirs.require("spacing"), ours.require("spacing")
    if len(saw) != len(feeds) or not all(isinstance(mm, (int, float)) and mm > 0 for mm in (*saw, *feeds)):
        return
    ratios = [there / here for there, here in zip(saw, feeds, strict=True)]
    if all(isclose(ratio, 1, rel_tol=SAME_SPACING) for ratio in ratios):
        return
    near = all(NEAR_SPACING[0] <= ratio <= NEAR_SPACING[1] for ratio in ratios)
    yield InputDifference("spacing", saw, feeds, Severity.INFO if near else Severity.WARNING)


def _normalization(theirs: Configuration, ours: Configuration) -> Iterator[InputDifference]:
    for key, severity in (("normalization_schemes", Severity.ERROR), ("use_mask_for_norm", Severity.WARNING)):
        for field, saw, feeds in _inside(key, theirs.get(key), ours.get(key)):
            yield InputDifference(field, saw, feeds, severity)


def _intensities(theirs: Configuration, ours: Configuration) -> Iterator[InputDifference]:
    """Clip bounds, mean and standard deviation of the channels that both normalise as CT."""
    schemes = zip(theirs.require("normalization_schemes"), ours.require("normalization_schemes"), strict=False)
    for channel, pair in enumerate(schemes):
        saw, feeds = (
            ClippedRange.of(side.plans.value.get(side.plans.intensity_key), channel) for side in (theirs, ours)
        )
        if pair != (constants.CT, constants.CT) or saw is None or feeds is None or saw == feeds:
            continue
        overlap = saw.overlap(feeds)
        severity = Severity.WARNING if overlap < DOUBTFUL_OVERLAP else Severity.INFO
        severity = Severity.ERROR if overlap < FOREIGN_OVERLAP else severity
        yield InputDifference(f"intensities of channel {channel}", str(saw), str(feeds), severity)


def _plain(theirs: Configuration, ours: Configuration) -> Iterator[InputDifference]:
    """Fields that are the same or are not."""
    of_plans, of_configuration = _value_in_plans, Configuration.get
    fields: tuple[tuple[str, Callable[..., Any], Severity], ...] = (
        ("transpose_forward", of_plans, Severity.WARNING),
        ("image_reader_writer", of_plans, Severity.WARNING),
        ("preprocessor_name", of_configuration, Severity.WARNING),
        ("resampling_fn_data", of_configuration, Severity.INFO),
        ("resampling_fn_data_kwargs", of_configuration, Severity.INFO),
    )
    for field, get, severity in fields:
        saw, feeds = get(theirs, field), get(ours, field)
        if saw is not None and feeds is not None:
            inside = _inside(field, saw, feeds) if isinstance(saw, dict) else [(field, saw, feeds)] * (saw != feeds)
            yield from (InputDifference(*one, severity) for one in inside)


def _layers(theirs: Configuration, ours: Configuration) -> Iterator[InputDifference]:
    """Settings of the network that differ although the weights load: nnU-Net drops what it has no place for."""
    saw, feeds = (_settings(side) for side in (theirs, ours))
    for key in saw:
        if key in feeds and saw[key] != feeds[key]:
            yield InputDifference(key, saw[key], feeds[key], Severity.WARNING)


def _settings(configuration: Configuration) -> dict[str, Any]:
    return {
        key: value.rpartition(".")[2] if isinstance(value, str) else value
        for key, value in configuration.architecture["arch_kwargs"].items()
        if constants.facet(f"architecture.arch_kwargs.{key}") == "weights"
    }


def _inside(field: str, saw: Any, feeds: Any) -> Iterator[tuple[str, Any, Any]]:
    """The entries in which two lists of several channels, or two objects, differ; one entry needs no number."""
    if isinstance(saw, dict) and isinstance(feeds, dict):
        for key in {**saw, **feeds}:
            if saw.get(key) != feeds.get(key):
                yield f"{field}.{key}", saw.get(key), feeds.get(key)
    elif isinstance(saw, list) and isinstance(feeds, list) and len(saw) == len(feeds) > 1:
        for index, (one, other) in enumerate(zip(saw, feeds, strict=True)):
            if one != other:
                yield f"{field}[{index}]", one, other
    elif saw != feeds:
        yield field, saw, feeds


def _value_in_plans(configuration: Configuration, key: str) -> Any:
    return configuration.plans.value.get(key)


def _patch(theirs: Configuration, ours: Configuration) -> Iterator[InputDifference]:
    saw, feeds = theirs.require("patch_size"), ours.require("patch_size")
    if saw == feeds:
        return
    ratio = prod(saw) / prod(feeds)
    near = NEAR_PATCH[0] <= ratio <= NEAR_PATCH[1]
    yield InputDifference("patch_size", saw, feeds, Severity.INFO if near else Severity.WARNING)


def _channels(weights: Weights) -> Iterator[InputDifference]:
    """The same channels in another order are a fault of their own; other names are told here."""
    saw, feeds = _names(weights.their_dataset_json), _names(weights.dataset_json)
    if saw != feeds and sorted(saw) != sorted(feeds):
        yield InputDifference("channel_names", saw, feeds, Severity.INFO)


def permuted_channels(weights: Weights) -> tuple[list[str], list[str]] | None:
    """The channel names that the weights saw and those of this run, if they are the same in another order."""
    saw, feeds = _names(weights.their_dataset_json), _names(weights.dataset_json)
    return (saw, feeds) if saw != feeds and sorted(saw) == sorted(feeds) else None


def _names(dataset_json: DatasetJson) -> list[str]:
    try:
        return [name.casefold() for name in dataset_json.channels]
    except Absent:
        return []
