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
from collections.abc import Mapping
from enum import Enum
from typing import Any

from plansguard.artefacts.data.listing import Listing
from plansguard.core.digest import sha256

SCHEMA = "plansguard/stamp/1"


# ---------------------------------------------------------------------------------------------------------------------
# The stamp
# ---------------------------------------------------------------------------------------------------------------------


class DataState(Enum):
    """What a stamp says of the files that lie there."""

    HOLDS = "these are the data that it tells of"
    SILENT = "it tells nothing of them: an unfinished run has not touched them"
    CHANGED = "these are other files than those that it tells of"
    UNFINISHED = "a run that never ended left them"


class PreprocessingRecord:
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

    def holding(self, files: Listing) -> tuple[DataState, PreprocessingRecord]:
        """What is true of the files that lie there, and which stamp tells of them: this one, or the one before it."""
        if self.files is not None:
            return (DataState.HOLDS if self.files["sha256"] == files.sha256 else DataState.CHANGED), self
        if self.before is None or self.before["files"]["sha256"] != files.sha256:
            return DataState.UNFINISHED, self
        older = self.before["stamp"]
        return (DataState.SILENT, self) if older is None else PreprocessingRecord(older).holding(files)


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
    stamp: PreprocessingRecord | None,
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


def _still_true(stamp: PreprocessingRecord | None, present: Listing) -> dict[str, Any] | None:
    if stamp is None:
        return None
    state, holding = stamp.holding(present)
    return holding.value if state is DataState.HOLDS else None


def _digest(fields: Mapping[str, Any]) -> str:
    return sha256(json.dumps(fields, sort_keys=True, separators=(",", ":")).encode())
