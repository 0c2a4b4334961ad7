"""The stamp: what preprocessed data were made with, as ``plansguard preprocess`` leaves it beside the plans.

It lies at ``<data_identifier>.stamp.json`` and never inside the data folder, where nnU-Net asserts a single file
ending. Its fields are described in models/stamp.py. This is apart from the model so that a check needs no pydantic for
a stamp that is as it should be.

It is written twice: unfinished before nnU-Net starts, which begins by deleting the old data, and whole when nnU-Net has
ended and every case is there. Which state holds is decided by the files in the data folder, their names and sizes:
times of change do not outlive a copy, and the bytes of a .b2nd are not the same twice. So a process killed at any
moment leaves a stamp that tells the truth.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from functools import cached_property
from math import isclose
from pathlib import Path
from typing import Any, NamedTuple

from plansguard import facts
from plansguard.record import sha256
from plansguard.report import Severity

SCHEMA = "plansguard/stamp/1"
STAMP_ENDING = ".stamp.json"

#: Spacings this near each other give the same arrays; nnU-Net itself writes 0.800000011920929 for a float32 of 0.8.
_SAME_NUMBER = 1e-6
#: What CTNormalization takes from the intensity properties; other schemes take nothing.
_USED_STATISTICS = ("mean", "std", "percentile_00_5", "percentile_99_5")
_INTENSITIES = {facts.INTENSITY_KEY, facts.OLD_INTENSITY_KEY}
_OF_CHANNEL = " of channel "
#: What of dataset.json shows in the data: values of the labels, number of channels; and what is told with them.
_DATASET_KEYS = ("labels", "channel_names", "modality", "file_ending")
#: Members of a case: arrays as nnU-Net writes them since 2.6, or in one file as before.
_BLOSC2, _NUMPY = (".b2nd", "_seg.b2nd"), (".npz",)
_PROPERTIES = ".pkl"
_MEMBER_ENDINGS = (".b2nd", ".npz", _PROPERTIES)


# ---------------------------------------------------------------------------------------------------------------------
# What preprocessing writes with
# ---------------------------------------------------------------------------------------------------------------------


class Difference(NamedTuple):
    """A field, its value there or then, and its value here or now."""

    field: str
    then: Any
    now: Any


class Doubt(NamedTuple):
    """A difference of dataset.json, and what it means for data that were made with the other value."""

    difference: Difference
    severity: Severity


def input_fields(plans: Mapping[str, Any], configuration: Mapping[str, Any]) -> dict[str, Any]:
    """What decides the arrays that preprocessing writes, by field: of a resolved configuration and of the whole plans.

    Of the intensity properties only what is used counts, as ``mean of channel 0``. Source:
    preprocessing/preprocessors/default_preprocessor.py and normalization/default_normalization_schemes.py.
    """
    fields = {**plans, **configuration}
    decisive = {key: fields[key] for key in sorted(facts.PRE_FIELDS - _INTENSITIES) if fields.get(key) is not None}
    statistics = plans.get(facts.intensity_key(plans)) or {}
    for channel, scheme in enumerate(configuration.get("normalization_schemes") or ()):
        own = statistics.get(str(channel), {}) if scheme == facts.CT else {}
        decisive.update({f"{key}{_OF_CHANNEL}{channel}": own[key] for key in _USED_STATISTICS if key in own})
    return decisive


def place_in_plans(plans: Mapping[str, Any], field: str) -> tuple[str, ...] | None:
    """Where a field of ``input_fields`` stands at the top level of the plans; None if it is the configuration's."""
    key, _, channel = field.partition(_OF_CHANNEL)
    if channel:
        return facts.intensity_key(plans), channel, key
    return (key,) if key in plans else None


def differing(then: Mapping[str, Any], now: Mapping[str, Any]) -> list[Difference]:
    """Fields that both have and that differ; what one lacks, nnU-Net cannot preprocess with (PG006)."""
    return [
        Difference(key, then[key], now[key])
        for key in now
        if key in then and then[key] != now[key] and not _same(then[key], now[key])
    ]


def dataset_fields(dataset_json: Mapping[str, Any]) -> dict[str, Any]:
    """What of a dataset.json the data depend on, as it is written there."""
    return {key: dataset_json[key] for key in _DATASET_KEYS if key in dataset_json}


def dataset_doubts(then: Mapping[str, Any], now: Mapping[str, Any]) -> list[Doubt]:
    """What differs between the ``dataset_fields`` that data were made with and those of today, with its weight.

    Other label values or another number of channels are an error: the .pkl files list the voxels of each label, the
    arrays have one channel per image. The same names in another order are a warning, since images or labels may have
    been swapped with them; new names and endings are for information: what is in the arrays may well have stayed.
    """
    return [*_labels(then, now), *_channels(then, now), *_ending(then, now)]


def _labels(then: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[Doubt]:
    old, new = then.get("labels"), now.get("labels")
    if isinstance(old, dict) and isinstance(new, dict) and old != new:
        values = _label_values(old) != _label_values(new)
        weight = Severity.ERROR if values else Severity.WARNING if {*old} == {*new} else Severity.INFO
        yield Doubt(Difference("labels", old, new), weight)


def _label_values(labels: Mapping[str, Any]) -> list[str]:
    """The labels without their names; only ``ignore`` means something to preprocessing."""
    return sorted(json.dumps([name == "ignore", value]) for name, value in labels.items())


def _channels(then: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[Doubt]:
    old, new = _channel_names(then), _channel_names(now)
    if old and new and old != new:
        weight = Severity.WARNING if sorted(old) == sorted(new) else Severity.INFO
        yield Doubt(Difference("channel_names", old, new), Severity.ERROR if len(old) != len(new) else weight)


def _channel_names(fields: Mapping[str, Any]) -> list[str]:
    """In file order: nnU-Net ignores the keys."""
    names = fields.get("channel_names", fields.get("modality"))
    return [str(name) for name in names.values()] if isinstance(names, dict) else []


def _ending(then: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[Doubt]:
    old, new = then.get("file_ending"), now.get("file_ending")
    if old != new:
        yield Doubt(Difference("file_ending", old, new), Severity.INFO)


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, dict) and isinstance(other, dict):
        # null and absent are the same to the functions that take these as keyword arguments
        return all(_same(one.get(key), other.get(key)) for key in {*one, *other})
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_same, one, other))
    if isinstance(one, float) and isinstance(other, float):
        return isclose(one, other, rel_tol=_SAME_NUMBER)
    return bool(one == other)


# ---------------------------------------------------------------------------------------------------------------------
# What lies in a data folder
# ---------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Listing:
    """The files of a data folder that belong to cases, by name, with their sizes in bytes.

    Strays do not count, nor .npy files: nnU-Net unpacks these from .npz when it trains.
    """

    sizes: Mapping[str, int]

    @cached_property
    def cases(self) -> frozenset[str]:
        """The cases of which every member is there and none is empty."""
        whole = {name for name, size in self.sizes.items() if size}
        names = (name[: -len(_PROPERTIES)] for name in whole if name.endswith(_PROPERTIES))
        return frozenset(
            name for name in names if any(whole.issuperset(name + end for end in ends) for ends in (_BLOSC2, _NUMPY))
        )

    @property
    def bytes(self) -> int:
        """The size of all of them."""
        return sum(self.sizes.values())

    @cached_property
    def sha256(self) -> str:
        """SHA-256 over the lines ``<name> <size>``, sorted by name."""
        lines = (f"{name} {size}\n" for name, size in sorted(self.sizes.items()))
        return sha256("".join(lines).encode("utf-8", "surrogateescape"))

    @property
    def document(self) -> dict[str, Any]:
        """What a stamp says of them."""
        return {"cases": len(self.cases), "bytes": self.bytes, "sha256": self.sha256}


def listing(folder: Path) -> Listing:
    """What lies in a data folder; FileNotFoundError when there is none, another OSError when it cannot be listed."""
    with os.scandir(folder) as entries:
        return Listing({entry.name: _size(entry) for entry in entries if entry.name.endswith(_MEMBER_ENDINGS)})


def _size(entry: os.DirEntry[str]) -> int:
    """0 for what holds nothing to read: a link that leads nowhere or in a circle, a file that has just been deleted."""
    try:
        return entry.stat().st_size
    except FileNotFoundError:
        return 0
    except OSError:
        if entry.is_symlink():
            return 0
        raise


# ---------------------------------------------------------------------------------------------------------------------
# The stamp
# ---------------------------------------------------------------------------------------------------------------------


class State(Enum):
    """What a stamp says of the files that lie there."""

    HOLDS = "these are the data that it tells of"
    SILENT = "it tells nothing of them: an unfinished run has not touched them"
    CHANGED = "these are other files than those that it tells of"
    UNFINISHED = "a run that never ended left them"


class Stamp:
    """A stamp whose fields have the right types."""

    def __init__(self, value: dict[str, Any]) -> None:
        self.value = value
        self.began: str = value["began"]
        self.finished: str | None = value["finished"]
        self.plans: str = value["plans"]
        self.configuration: str = value["configuration"]
        self.input: dict[str, Any] = value["input"]
        self.dataset: dict[str, Any] = value["dataset_json"]
        self.cases: int = value["cases"]
        self.files: dict[str, Any] | None = value["files"]
        self.before: dict[str, Any] | None = value["before"]

    def holding(self, files: Listing) -> tuple[State, Stamp]:
        """What is true of the files that lie there, and which stamp tells of them: this one, or the one before it."""
        if self.files is not None:
            return (State.HOLDS if self.files["sha256"] == files.sha256 else State.CHANGED), self
        if self.before is None or self.before["files"]["sha256"] != files.sha256:
            return State.UNFINISHED, self
        older = self.before["stamp"]
        return (State.SILENT, self) if older is None else Stamp(older).holding(files)


def began(
    *,
    tool_version: str,
    nnunet_version: str | None,
    now: str,
    plans: str,
    configuration: str,
    data_identifier: str,
    fields: Mapping[str, Any],
    dataset: Mapping[str, Any],
    cases: int,
    present: Listing | None,
    stamp: Stamp | None,
) -> dict[str, Any]:
    """The unfinished stamp of a run that is about to start.

    ``fields`` and ``dataset`` are ``input_fields`` and ``dataset_fields``; ``cases`` is how many there are to be.
    ``present`` and ``stamp`` are what lies in the folder now and what is said of it, if anything.
    """
    return {
        "schema": SCHEMA,
        "tool": {"name": "plansguard", "version": tool_version},
        "nnunetv2": nnunet_version,
        "began": now,
        "finished": None,
        "plans": plans,
        "configuration": configuration,
        "data_identifier": data_identifier,
        "input": dict(fields),
        "input_sha256": _digest(fields),
        "dataset_json": dict(dataset),
        "dataset_json_sha256": _digest(dataset),
        "cases": cases,
        "files": None,
        "before": None if present is None else {"files": present.document, "stamp": _still_true(stamp, present)},
    }


def ended(unfinished: Mapping[str, Any], *, now: str, files: Listing) -> dict[str, Any]:
    """The stamp of a run that ended well."""
    return {**unfinished, "finished": now, "files": files.document, "before": None}


def _still_true(stamp: Stamp | None, present: Listing) -> dict[str, Any] | None:
    if stamp is None:
        return None
    state, holding = stamp.holding(present)
    return holding.value if state is State.HOLDS else None


def _digest(fields: Mapping[str, Any]) -> str:
    return sha256(json.dumps(fields, sort_keys=True, separators=(",", ":")).encode())
