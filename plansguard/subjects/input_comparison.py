"""Input comparison: the network input that weights were trained with, and the input that a run would give them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from math import isclose, prod
from typing import Any, NamedTuple

from plansguard.core.errors import Absent, known
from plansguard.core.report import Severity
from plansguard.nnunet import constants
from plansguard.nnunet.intensity import DOUBTFUL_OVERLAP, FOREIGN_OVERLAP, ClippedRange
from plansguard.subjects.documents import DatasetJson
from plansguard.subjects.plans import Configuration
from plansguard.subjects.weights import Weights

#: AR-06: ratios of spacings per axis within which objects have sizes that occurred in training.
NEAR_SPACING = 0.8, 1.25
#: AR-06: ratios of patch volumes within which a network gets about as much context.
NEAR_PATCH = 0.5, 2.0
#: Relative difference below which spacings give the same arrays; headers store 0.8 as a float32.
SAME_SPACING = 1e-3
_PLAIN_FIELDS = {
    "transpose_forward": Severity.WARNING,
    "image_reader_writer": Severity.WARNING,
    "preprocessor_name": Severity.WARNING,
    "resampling_fn_data": Severity.INFO,
    "resampling_fn_data_kwargs": Severity.INFO,
}


class InputDifference(NamedTuple):
    """One field: its value in the training of the weights, its value in this run, and how much that matters."""

    field: str
    saw: Any
    feeds: Any
    severity: Severity


def differences(weights: Weights, workflow: str | None) -> list[InputDifference]:
    """Every field in which the input of a run differs from what the network was trained with.

    ``workflow`` is that of the migration record: with ``finetune`` the input is meant to stay the same, so a warning
    becomes an error; with ``graft`` spacing, normalization and reader are meant to be those of the dataset. Weights of
    a first stage that were adapted to the second are meant for its spacing and patch, and files of another format need
    another reader. Absent when the checkpoint does not contain its plans. The severities: AR-06, NO-01, IO-01.
    """
    theirs, ours = weights.theirs, weights.configuration
    result: list[InputDifference] = []
    for compare in (_spacing, _normalization, _intensities, _plain, _layers, _patch):
        with suppress(Absent):  # a field that one side lacks does not hide others
            result += compare(theirs, ours)
    with suppress(Absent):
        result += _channels(weights)
    meant = ["spacing", "patch_size"] if _are_adapted_to_stage(weights) else []
    if _is_of_other_files(weights):
        meant.append("image_reader_writer")
    return [
        difference._replace(severity=Severity.INFO if difference.field in meant else _severity(difference, workflow))
        for difference in result
    ]


def _are_adapted_to_stage(weights: Weights) -> bool:
    """Whether these are weights of the first stage of a cascade, adapted to this second one."""
    name, following = weights.configuration.name, weights.theirs.get("next_stage")
    return weights.checkpoint.adapted_to == name and name in (following if isinstance(following, list) else [following])


def _is_of_other_files(weights: Weights) -> bool:
    """Whether the reader of the weights' plans is not one for the files of the dataset."""
    theirs = str(weights.theirs.plans.value.get("image_reader_writer"))
    return weights.dataset_json.value.get("file_ending") in constants.FOREIGN_ENDINGS.get(theirs, ())


def is_regained_by_migration(weights: Weights) -> bool:
    """Whether the weights' own plans, migrated to this dataset, have a configuration with the input of their training.

    They may have none for weights that were adapted to or from the second stage of a cascade. Absent as for
    differences.
    """
    stages = {side.previous_stage is None for side in (weights.theirs, weights.configuration)}
    if len(stages) == 1:
        return True
    name, plans = weights.configuration.name, weights.theirs.plans
    own = next((one for one in plans.configurations if one.name == name and one.is_usable), None)
    if own is None:
        return False
    migrated = Weights(weights.checkpoint, own, weights.dataset_json)
    return migrated.load and all(row.severity is Severity.INFO for row in differences(migrated, None))


def _severity(difference: InputDifference, workflow: str | None) -> Severity:
    if workflow == "graft" and difference.field not in ("patch_size", "channel_names", "transpose_forward"):
        return Severity.INFO
    # The reader has to open the dataset's files, and an edited patch size is valid: both may differ.
    promised = workflow == "finetune" and difference.field not in ("patch_size", "image_reader_writer")
    return Severity.ERROR if promised and difference.severity is Severity.WARNING else difference.severity


def _spacing(theirs: Configuration, ours: Configuration) -> Iterator[InputDifference]:
    saw, feeds = theirs.require("spacing"), ours.require("spacing")
    if len(saw) != len(feeds) or not all(isinstance(mm, (int, float)) and mm > 0 for mm in (*saw, *feeds)):
        return
    ratios = [before / now for before, now in zip(saw, feeds, strict=True)]
    if all(isclose(ratio, 1, rel_tol=SAME_SPACING) for ratio in ratios):
        return
    near = all(NEAR_SPACING[0] <= ratio <= NEAR_SPACING[1] for ratio in ratios)
    yield InputDifference("spacing", saw, feeds, Severity.INFO if near else Severity.WARNING)


def _normalization(theirs: Configuration, ours: Configuration) -> Iterator[InputDifference]:
    for key, severity in (("normalization_schemes", Severity.ERROR), ("use_mask_for_norm", Severity.WARNING)):
        for field, saw, feeds in _inside(key, theirs.get(key), ours.get(key)):
            yield InputDifference(field, saw, feeds, severity)


def _intensities(theirs: Configuration, ours: Configuration) -> Iterator[InputDifference]:
    """Clip bounds, mean and standard deviation of the channels with CT normalization on both sides."""
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
    """Fields that are only compared for equality."""
    before, now = ({**side.plans.value, **side.resolved} for side in (theirs, ours))
    for field, severity in _PLAIN_FIELDS.items():
        saw, feeds = before.get(field), now.get(field)
        if saw is not None and feeds is not None:
            inside = _inside(field, saw, feeds) if isinstance(saw, dict) else [(field, saw, feeds)] * (saw != feeds)
            yield from (InputDifference(*entry, severity) for entry in inside)


def _layers(theirs: Configuration, ours: Configuration) -> Iterator[InputDifference]:
    """Network settings that differ although the weights load: nnU-Net ignores parameters that it does not need."""
    saw, feeds = (_settings(side) for side in (theirs, ours))
    for key in saw:
        if key in feeds and saw[key] != feeds[key]:
            yield InputDifference(key, saw[key], feeds[key], Severity.WARNING)


def _settings(configuration: Configuration) -> dict[str, Any]:
    """The arguments of the network that decide what it computes, also those that are false where they are left out."""
    absent = {
        path.rpartition(".")[2]: False for path in constants.FALSE_WHERE_ABSENT if constants.facet(path) == "weights"
    }
    return absent | {
        key: value.rpartition(".")[2] if isinstance(value, str) else value
        for key, value in configuration.architecture["arch_kwargs"].items()
        if constants.facet(f"architecture.arch_kwargs.{key}") == "weights"
    }


def _inside(field: str, saw: Any, feeds: Any) -> Iterator[tuple[str, Any, Any]]:
    """The entries in which two objects, or two lists of the same length, differ; a single item has no index."""
    if isinstance(saw, dict) and isinstance(feeds, dict):
        for key in {**saw, **feeds}:
            if saw.get(key) != feeds.get(key):
                yield f"{field}.{key}", saw.get(key), feeds.get(key)
    elif isinstance(saw, list) and isinstance(feeds, list) and len(saw) == len(feeds) > 1:
        for index, (before, now) in enumerate(zip(saw, feeds, strict=True)):
            if before != now:
                yield f"{field}[{index}]", before, now
    elif saw != feeds:
        yield field, saw, feeds


def _patch(theirs: Configuration, ours: Configuration) -> Iterator[InputDifference]:
    saw, feeds = theirs.require("patch_size"), ours.require("patch_size")
    if saw == feeds or 0 in feeds:  # PG121 reports an empty patch
        return
    ratio = prod(saw) / prod(feeds)
    near = NEAR_PATCH[0] <= ratio <= NEAR_PATCH[1]
    yield InputDifference("patch_size", saw, feeds, Severity.INFO if near else Severity.WARNING)


def _channels(weights: Weights) -> Iterator[InputDifference]:
    """Other names only: PG6 reports the same channels in another order as a finding of its own."""
    saw, feeds = _names(weights.their_dataset_json), _names(weights.dataset_json)
    if saw != feeds and sorted(saw) != sorted(feeds):
        yield InputDifference("channel_names", saw, feeds, Severity.INFO)


def permuted_channels(weights: Weights) -> tuple[list[str], list[str]] | None:
    """The channel names of the weights and those of this run, if they are the same in another order."""
    saw, feeds = _names(weights.their_dataset_json), _names(weights.dataset_json)
    return (saw, feeds) if saw != feeds and sorted(saw) == sorted(feeds) else None


def _names(dataset_json: DatasetJson) -> list[str]:
    return [name.casefold() for name in known(lambda: dataset_json.channels) or ()]
