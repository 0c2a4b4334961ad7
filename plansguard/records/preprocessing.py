"""The preprocessing record: what preprocessed data were made with. ``plansguard preprocess`` writes it.

The file is ``<data_identifier>.stamp.json`` beside the plans, never inside the data folder, where nnU-Net asserts a
single file ending. documents/models/preprocessing_record.py describes its fields; this module needs no pydantic.

The record is written twice: unfinished before nnU-Net starts, which first deletes the old data, and complete when
nnU-Net has ended and every case is present. The names and sizes of the files in the data folder decide which state
applies: modification times do not survive a copy, and two .b2nd files of the same array differ in their bytes. So the
record stays correct when a process is killed at any moment.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Any

import plansguard
from plansguard.artefacts.data.listing import Listing
from plansguard.core.digest import digest_of

SCHEMA = "plansguard/stamp/1"


class DataState(Enum):
    """How the files in a data folder compare with its preprocessing record."""

    UNCHANGED = "the files are those that the record describes"
    CHANGED = "the files differ from those that the record describes"
    UNFINISHED = "a run that did not end left the files"
    UNRECORDED = "no record describes the files, and an unfinished run has not touched them"


class PreprocessingRecord:
    """A preprocessing record whose fields have the right types."""

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

    def state_of(self, files: Listing) -> tuple[DataState, PreprocessingRecord]:
        """The state of the files, and the record that describes them: this one, or the one before it."""
        if self.files is not None:
            return (DataState.UNCHANGED if self.files["sha256"] == files.sha256 else DataState.CHANGED), self
        if self.before is None or self.before["files"]["sha256"] != files.sha256:
            return DataState.UNFINISHED, self
        earlier = self.before["stamp"]
        return (DataState.UNRECORDED, self) if earlier is None else PreprocessingRecord(earlier).state_of(files)


def unfinished_record(
    *,
    nnunet_version: str | None,
    now: str,
    plans: str,
    configuration: str,
    data_identifier: str,
    fields: Mapping[str, Any],
    dataset: Mapping[str, Any],
    cases: int,
    present: Listing | None,
    before: PreprocessingRecord | None,
) -> dict[str, Any]:
    """The record of a run that is about to start.

    ``fields`` and ``dataset`` are ``input_fields`` and ``dataset_fields``; ``cases`` is the expected number of cases.
    ``present`` and ``before`` are the files in the folder now and their record, if any.
    """
    return {
        "schema": SCHEMA,
        "tool": {"name": "plansguard", "version": plansguard.__version__},
        "nnunetv2": nnunet_version,
        "began": now,
        "finished": None,
        "plans": plans,
        "configuration": configuration,
        "data_identifier": data_identifier,
        "input": dict(fields),
        "input_sha256": digest_of(fields),
        "dataset_json": dict(dataset),
        "dataset_json_sha256": digest_of(dataset),
        "cases": cases,
        "files": None,
        "before": None if present is None or _is_unfinished(before, present) else _earlier(before, present),
    }


def finished_record(unfinished: Mapping[str, Any], *, now: str, files: Listing) -> dict[str, Any]:
    """The record of a run that ended well."""
    return {**unfinished, "finished": now, "files": files.document, "before": None}


def _is_unfinished(record: PreprocessingRecord | None, present: Listing) -> bool:
    """Whether the files are what an earlier run left that did not end: so they stay, whatever happens to this one."""
    return record is not None and record.state_of(present)[0] is DataState.UNFINISHED


def _earlier(record: PreprocessingRecord | None, present: Listing) -> dict[str, Any]:
    return {"files": present.document, "stamp": _still_valid(record, present)}


def _still_valid(record: PreprocessingRecord | None, present: Listing) -> dict[str, Any] | None:
    if record is None:
        return None
    state, described_by = record.state_of(present)
    return described_by.value if state is DataState.UNCHANGED else None
