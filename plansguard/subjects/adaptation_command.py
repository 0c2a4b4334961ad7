"""The command that adapts weights, where it makes them load, and the file that it names."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from functools import cache
from itertools import chain, count
from pathlib import Path
from typing import Any

import plansguard
from plansguard.artefacts.checkpoint.checkpoint import read_checkpoint
from plansguard.core import disk
from plansguard.core.atomic_files import assert_writable
from plansguard.core.digest import sha256
from plansguard.core.errors import Absent, UnreadableDocument, UsageError, WriteRefused, known
from plansguard.documents.recognise import is_adaptation_record
from plansguard.nnunet import printed_commands
from plansguard.nnunet.network.adaptation import Filling, ParameterSource
from plansguard.nnunet.printed_commands import ADAPTED, Word
from plansguard.records.adaptation import SCHEMA, record_path
from plansguard.records.recorded_documents import WEIGHTS
from plansguard.subjects.adaptation import Adaptation, AdaptationChoices, adaptation_of, assert_suitable, documents_of
from plansguard.subjects.dataset import Dataset
from plansguard.subjects.weights import Weights

#: What to do where `lacks_common_channel`.
UNNAMED_CHANNELS = (
    "no channel has the name of one of the weights: --channel NEW=OLD of plansguard adapt tells which are the same"
)


def adapting_command(weights: Weights, dataset: Dataset, path: Word) -> str:
    """The command that adapts the weights at ``path`` to their configuration, or to the dataset with their own plans.

    Empty if none makes them load without a choice that only the user knows. Their own plans are used only for other
    channels: for another network a migration is enough.
    """
    if command := same_network_command(weights, dataset, path):
        return command
    has_other_channels = any(obstacle.kind == "channels" for obstacle in weights.obstacles)
    return own_network_command(weights, dataset, path) if has_other_channels else ""


def same_network_command(weights: Weights, dataset: Dataset, path: Word) -> str:
    """The command that adapts the weights at ``path`` to their configuration; or empty, as for adapting_command."""
    adaptation = _adaptation(weights, dataset)
    if adaptation is None:
        return ""
    place = {"plans": weights.configuration.plans.identifier, "configuration": weights.configuration.name}
    output = _output(path, lambda: record_of(weights, adaptation, dataset, place["plans"]))
    return printed_commands.adapt(path, dataset.name, to=output, **place)


def own_network_command(weights: Weights, dataset: Dataset, path: Word) -> str:
    """The command that gives the network of the weights' own plans the dataset's channels and classes; or empty.

    Empty also where one of the two networks is that of a cascade's second stage: the result would be of the other one.
    """
    theirs = known(lambda: Weights(weights.checkpoint, weights.theirs, weights.dataset_json))
    if theirs is None:
        return ""
    stages = theirs.configuration.previous_stage, weights.configuration.previous_stage
    if stages.count(None) == 1:
        return ""
    adaptation = _adaptation(theirs, dataset)
    if adaptation is None:
        return ""
    output = _output(path, lambda: record_of(theirs, adaptation, dataset, None))
    return printed_commands.adapt(path, dataset.name, to=output)


def lacks_common_channel(weights: Weights, dataset: Dataset) -> bool:
    """Whether the weights could be adapted, by their own plans, if a channel had the name of one of theirs."""
    theirs = known(lambda: Weights(weights.checkpoint, weights.theirs, weights.dataset_json))
    if theirs is None or _adaptation(theirs, dataset) is not None:
        return False
    return _adaptation(theirs, dataset, "averaged") is not None


def _adaptation(weights: Weights, dataset: Dataset, new_channels: Filling = "zero") -> Adaptation | None:
    """The adaptation of the weights; None where a choice is missing, or the networks differ in more."""
    try:
        assert_suitable(weights, dataset)
        adaptation = adaptation_of(weights, AdaptationChoices(new_channels))
        documents_of(weights, adaptation, dataset)  # raises without the intensities of a new channel
    except (UsageError, Absent):
        return None
    return None if adaptation.misfits else adaptation


# --- What is written, and where


def record_of(weights: Weights, adaptation: Adaptation, dataset: Dataset, plans: str | None) -> dict[str, Any]:
    """The adaptation record, as documents/models/adaptation_record.py describes it.

    ``plans`` is the identifier of the dataset's plans; None where the network is that of the weights' own plans.
    """
    checkpoint, configuration = weights.checkpoint, weights.configuration
    return {
        "schema": SCHEMA,
        "tool": {"name": "plansguard", "version": plansguard.__version__},
        "created": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "from": {
            **(WEIGHTS.digest(Path(checkpoint.path), {}) or {}),
            "kind": checkpoint.kind,
            "trainer": checkpoint.trainer,
            "configuration": checkpoint.configuration,
            "channels": None if adaptation.old_channels is None else [*adaptation.old_channels],
            "labels": None if adaptation.old_labels is None else [*adaptation.old_labels],
            "stem": adaptation.stem,
        },
        "to": {
            "dataset": dataset.name,
            "plans": plans,
            "configuration": configuration.name,
            "plans_sha256": sha256(configuration.plans.document.raw),
            "dataset_json_sha256": sha256(weights.dataset_json.document.raw),
            "channels": [part.name for part in adaptation.channels],
            "labels": [part.name for part in adaptation.classes],
        },
        "rows": [_plain_row(row) for row in adaptation.rows],
    }


def _plain_row(row: ParameterSource) -> dict[str, Any]:
    there = None if row.source_shape is None else [*row.source_shape]
    parts = [part._asdict() for part in row.parts]
    return {**row._asdict(), "shape": [*row.shape], "source_shape": there, "parts": parts}


def _output(path: Word, record: Callable[[], dict[str, Any]]) -> str:
    """A file in the current folder that is free, or contains the adaptation of this record already.

    Weights that were adapted before keep their file.
    """
    stem = f"re{ADAPTED}" if Path(path).name == ADAPTED else ADAPTED
    names = (f"{stem.removesuffix('.pth')}{number}.pth" for number in chain(("",), count(2)))
    compared = cache(record)
    return next(name for name in names if _may_be_written(Path(name), compared))


def _may_be_written(output: Path, record: Callable[[], dict[str, Any]]) -> bool:
    """Whether ``plansguard adapt`` would write this file without --force."""
    try:
        assert_writable(output, lambda file: contains(file, record()))
        assert_writable(record_path(output), is_record)
    except WriteRefused:
        return False
    return True


def contains(file: Path, record: dict[str, Any]) -> bool:
    """Whether a file contains weights that were adapted as a record says."""
    adaptation = _record_in(file)
    return adaptation is not None and _what(adaptation) == _what(record)


def is_adapted(file: Path) -> bool:
    """Whether a file contains weights that plansguard adapted."""
    return _record_in(file) is not None


def is_record(path: Path) -> bool:
    """Whether a file is an adaptation record."""
    return is_adaptation_record(disk.content(path))


def _record_in(file: Path) -> dict[str, Any] | None:
    try:
        return read_checkpoint(file).adaptation
    except UnreadableDocument:
        return None


def _what(record: dict[str, Any]) -> dict[str, Any]:
    """What a record says of the weights: all but when, by which version and from which path they were made."""
    source = record.get("from")
    same = {"tool": None, "created": None, "from": {**source, "path": None} if isinstance(source, dict) else source}
    return {**record, **same}
