"""Compare the documents that a training record describes with those of today."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import Enum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from plansguard.core import disk
from plansguard.core.digest import digest_of, sha256
from plansguard.core.errors import UnreadableDocument, UnreadableFolder, UsageError
from plansguard.core.text import brief, counted
from plansguard.documents import size_limits
from plansguard.documents.file_names import CANONICAL_NAMES, MODEL_PLANS, TRAINING_RECORD_NAME
from plansguard.documents.recognise import recognise
from plansguard.nnunet import printed_commands
from plansguard.nnunet.workspace import Workspace, checked_fold, is_folder_name
from plansguard.records.recorded_documents import (
    DATA,
    DATASET_JSON,
    DOCUMENTS,
    PLANS,
    WEIGHTS,
    Digest,
    RecordedDocument,
    is_layout_of,
)
from plansguard.records.training import Start, accepted_in, first_start, read_record

if TYPE_CHECKING:
    from plansguard.artefacts.data.audit import Audit
    from plansguard.artefacts.data.workers import Pool

_PREPROCESSED, _RESULTS = "nnUNet_preprocessed", "nnUNet_results"
#: Dataset, model, fold and file: where nnU-Net writes checkpoints.
_PARTS_BELOW_RESULTS = 4
#: A fold is in the folder of a model, of a dataset, of all results.
_FOLDERS_ABOVE_FOLDS = 3


class DocumentState(str, Enum):
    """How a document compares with its record."""

    SAME = "unchanged"
    ALIKE = "unchanged for this training"
    CHANGED = "changed"
    GONE = "gone"
    UNREADABLE = "cannot be read"
    UNRECORDED = "not recorded"
    OUTSIDE = "not compared"

    @property
    def holds(self) -> bool:
        """Whether nothing that the training depends on is known to have changed."""
        return self not in (DocumentState.CHANGED, DocumentState.GONE, DocumentState.UNREADABLE)


class Row(NamedTuple):
    """One document, its differences as one clause each, and the time of the start that it is compared with."""

    document: str
    state: DocumentState
    details: tuple[str, ...]
    started: str

    @property
    def text(self) -> str:
        """The document and its state, without the differences."""
        return f"{self.document} {self.state.value}"


@dataclass(frozen=True)
class Verification:
    """The comparison of one training record.

    ``compared`` is the dataset's folder in nnUNet_preprocessed, ``starts`` those of the latest training, ``accepted``
    the findings that were accepted at any of them, with their reasons.
    """

    receipt: Path
    compared: Path
    starts: tuple[Start, ...]
    rows: tuple[Row, ...]
    accepted: tuple[tuple[str, str], ...]

    @property
    def changed(self) -> tuple[Row, ...]:
        """The documents that have changed, are gone, or cannot be read."""
        return tuple(row for row in self.rows if not row.state.holds)

    @property
    def holds(self) -> bool:
        """Whether no document has changed."""
        return not self.changed


class Records(NamedTuple):
    """The training records in a folder, the folders that cannot be listed, and whether it contains several models."""

    paths: list[Path]
    closed: list[UnreadableFolder]
    of_several_models: bool = False


def records_in(folder: Path) -> Records:
    """The training records of a fold's folder, of a model's folds, of a dataset's models, or of all results.

    UsageError if there is no such folder.
    """
    if disk.is_file(folder):
        return Records([folder], [])
    if not disk.is_folder(folder):
        raise UsageError(
            disk.absence(folder), hint=f"name the folder of a fold or of a model: {_RESULTS}/DATASET/MODEL/fold_0"
        )
    own = folder / TRAINING_RECORD_NAME
    if disk.is_there(own) or disk.is_link(own):
        return Records([own], [])
    level, closed = [folder], list[UnreadableFolder]()
    for above in range(_FOLDERS_ABOVE_FOLDS):
        records = _below(level, f"fold_*/{TRAINING_RECORD_NAME}", closed)
        if records:
            return Records(records, closed, of_several_models=above > 0)
        level = _below(level, "*", closed)
    return Records([], closed)


def _below(folders: Iterable[Path], pattern: str, closed: list[UnreadableFolder]) -> list[Path]:
    """The paths below any of these folders that match; folders that cannot be listed are added to ``closed``."""
    found: list[Path] = []
    for folder in folders:
        try:
            found += disk.matching(folder, pattern)
        except UnreadableFolder as error:
            if error.path not in {one.path for one in closed}:
                closed.append(error)
    return found


def verify(path: Path, pool: Pool, weights: Path | None = None) -> Verification:
    """Compare one training record with the files of today; nothing is written. ``pool`` reads the headers of all cases.

    ``weights`` is compared in place of the file that the record names.
    UnreadableDocument for a file that is no training record, UsageError where nnUNet_preprocessed is not known.
    """
    record = read_record(path)
    starts = record["starts"][first_start(record["starts"]) :]
    for start in starts:
        _check_names(path, start)
    fold = path.absolute().parent
    workspace = _workspace_of(fold)
    folder = workspace.preprocessed_folder(starts[-1]["training"]["dataset"])
    rows = tuple(_rows(_PresentFiles(path, workspace, record["cases"], pool, weights), starts))
    return Verification(path, folder, tuple(starts), rows, tuple(accepted_in(starts)))


def _workspace_of(fold: Path) -> Workspace:
    """The workspace of a fold's folder.

    The environment's, unless the folder is in another nnUNet_results, beside a nnUNet_preprocessed of its own.
    """
    named = Workspace.from_environment()
    root = fold.parents[min(2, len(fold.parents) - 1)]
    if named.results is not None and disk.real(named.results) == disk.real(root):
        return named
    sibling = root.with_name(_PREPROCESSED)
    if root.name == _RESULTS and disk.is_folder(sibling):
        return Workspace(preprocessed=sibling, results=root)
    return named


def _check_names(path: Path, start: Start) -> None:
    """UnreadableDocument where a name would lead outside the workspace."""
    training, data = start["training"], start["data"]

    def refuse(name: Any, what: str) -> UnreadableDocument:
        return UnreadableDocument(str(path), f"it names {brief(name)}, which is no {what}", hint="it was edited")

    try:
        checked_fold(training["fold"])
    except UsageError as error:
        raise refuse(training["fold"], "fold") from error
    for name in (training["dataset"], training["plans"], *([data["folder"]] if data else [])):
        if not is_folder_name(name):
            raise refuse(name, "dataset, plans or folder")


Outcome = tuple[DocumentState, tuple[str, ...]]


def _rows(present: _PresentFiles, starts: list[Start]) -> Iterator[Row]:
    """Every document compared with the last start, and with earlier ones whose digests differ and do not match."""
    for name, document, path_of in present.documents():
        rows: list[Row] = []
        digests: list[Digest | None] = [None]
        for start in reversed(starts):
            recorded = start[document.key]
            if recorded in digests:
                continue
            digests.append(recorded)
            path = path_of(start)
            outcome = None if path is None else present.compare(document, path, start)
            if outcome is not None and (not rows or not outcome[0].holds):
                rows.append(Row(name, *outcome, start["started"]))
        if not rows and name == document.name and document.unrecorded:
            reason = document.unused(starts[-1]["training"]) or document.unrecorded
            rows = [Row(name, DocumentState.UNRECORDED, (reason,), starts[-1]["started"])]
        yield from rows


@dataclass
class _PresentFiles:
    """The files of today: a workspace, and nnU-Net's own copies in the model's folder.

    ``cases`` are the recorded digests of the cases, those of the last start whose data were read. ``weights`` is the
    file that the user names, ``copied`` are the weights that were found beside the record, in a copy of the results.
    """

    receipt: Path
    workspace: Workspace
    cases: dict[str, str]
    pool: Pool
    weights: Path | None = None
    audits: dict[Path, Audit] = field(default_factory=dict)
    copied: set[Path] = field(default_factory=set)

    def documents(self) -> Iterator[tuple[str, RecordedDocument, Callable[[Start], Path | None]]]:
        """The name in the output, the kind, and where the document of a start is; None where there need not be one."""
        for document in DOCUMENTS:
            yield document.name, document, partial(self._path, document)
        for document, name in ((PLANS, MODEL_PLANS), (DATASET_JSON, CANONICAL_NAMES["dataset.json"])):
            yield f"{name} of the model", document, partial(self._copy, name)

    def _copy(self, name: str, _: Start) -> Path | None:
        copy = self.receipt.absolute().parents[1] / name
        return copy if disk.is_there(copy) else None

    def _path(self, document: RecordedDocument, start: Start) -> Path:
        if document is WEIGHTS:
            return self._weights_of(start) if self.weights is None else self.weights
        folder = self.workspace.preprocessed_folder(start["training"]["dataset"])
        if document is DATA:
            return folder / str(start["data"]["folder"])
        return folder / CANONICAL_NAMES.get(document.name, f"{start['training']['plans']}.json")

    def _weights_of(self, start: Start) -> Path:
        """The weights that a start names, in this workspace if they are not there, or else in a copy of the results.

        The path is as it was typed: relative to another folder, or in a workspace that was moved or copied. In a copy,
        the file at the old path may not be read.
        """
        path, results = Path(start["weights"]["path"]), self.workspace.results
        is_there = disk.is_there(path)
        if is_there and self._may_be_read(path):
            return path
        here = None if results is None else results.joinpath(*path.parts[-_PARTS_BELOW_RESULTS:])
        if not is_there and here is not None and disk.is_there(here):
            return here
        copy = next((copy for copy in self._copies(path.parts, start) if self._is_recorded(copy, start)), None)
        if copy is None:
            return path
        self.copied.add(copy)
        return copy

    def _copies(self, parts: Sequence[str], start: Start) -> Iterator[Path]:
        """Files at the same place as the weights in the folders around the record, which may be a copy."""
        below = parts[-_PARTS_BELOW_RESULTS:]
        folders, trained = self.receipt.absolute().parents, start["training"]["dataset"]
        if (
            len(below) < _PARTS_BELOW_RESULTS
            or len(folders) < _PARTS_BELOW_RESULTS
            or not all(map(is_folder_name, below))
        ):
            return
        of_dataset, of_results = folders[2], folders[3]
        if of_dataset.name == trained:
            yield of_results.joinpath(*below)
        if below[0] == trained:
            yield of_dataset.joinpath(*below[1:])

    def _is_recorded(self, copy: Path, start: Start) -> bool:
        """Whether a file in the folder of the record's dataset, or beside it, has the digest of the weights."""
        around = self.receipt.absolute().parents[3]
        if not disk.is_file(copy) or not disk.real(copy).is_relative_to(disk.real(around)):
            return False
        try:
            present = WEIGHTS.digest(copy, start["training"])
        except UnreadableDocument:
            return False
        return present is not None and all(start["weights"][key] == present[key] for key in WEIGHTS.identity)

    def compare(self, document: RecordedDocument, path: Path, start: Start) -> Outcome:
        """The state of one document, and its differences."""
        recorded, training = start[document.key], start["training"]
        if not disk.is_there(path):
            if reason := document.unused(training):
                return DocumentState.ALIKE, (f"{path} is not there: {reason}",)
            where = "" if path.is_absolute() else f" in {Path.cwd()}"
            return DocumentState.GONE, (f"{path} is not there{where}",)
        if document is WEIGHTS and not self._may_be_read(path):
            command = printed_commands.verify_receipt(self.receipt.parent, path)
            return DocumentState.OUTSIDE, (f"{path} is outside of nnU-Net's folders; to compare it: {command}",)
        try:
            present = self._digest(document, path, start)
        except UnreadableDocument as error:
            return DocumentState.UNREADABLE, (f"{path}: {error.reason}",)
        if present is None:
            return DocumentState.CHANGED, (f"{path} contains something else now",)
        if all(recorded[key] == present[key] for key in document.identity):
            details = (counted(present["cases"], "case"),) if document is DATA else ()
            return DocumentState.SAME, (f"the copy {path}",) if path in self.copied else details
        if document is DATA:  # the listed cases may be those of another start
            known = self.cases if digest_of(self.cases) == recorded["headers"] else {}
            recorded, present = {**recorded, "by_case": known}, {**present, "by_case": self._audit(path).headers}
        differences = tuple(document.differences(recorded, present, training))
        if differences:
            return DocumentState.CHANGED, differences
        if document not in (DATA, WEIGHTS) and self._is_same_content(document, path, start):
            return DocumentState.SAME, ()
        return DocumentState.ALIKE, (document.alike,) if document.alike else ()

    def _may_be_read(self, weights: Path) -> bool:
        """Whether the user named the weights, or they are in a folder that belongs to this work.

        A record may come from elsewhere, and a path in it lead to any file of this machine.
        """
        if weights == self.weights or weights in self.copied:
            return True
        named, model = Workspace.from_environment(), self.receipt.absolute().parents[1]
        roots = [named.raw, named.preprocessed, named.results, self.workspace.results, model, Path.cwd()]
        return any(disk.real(weights).is_relative_to(disk.real(root)) for root in roots if root is not None)

    def _is_same_content(self, document: RecordedDocument, path: Path, start: Start) -> bool:
        """Whether a file of other bytes provably has the recorded content: indentation is no difference.

        Proofs are the layouts in which programs write JSON, and for nnU-Net's copies an original that is unchanged.
        """
        recorded, content, original = start[document.key]["sha256"], size_limits.read(path), self._path(document, start)
        if is_layout_of(content, recorded):
            return True
        try:
            other = size_limits.read(original)
        except UnreadableDocument:
            return False
        # Order counts: channels and regions are numbered by their position.
        return sha256(other.raw) == recorded and json.dumps(other.value) == json.dumps(content.value)

    def _digest(self, document: RecordedDocument, path: Path, start: Start) -> Digest | None:
        """The digest of the present document; None where it is of another kind, or lacks what the training uses."""
        if document is WEIGHTS:
            return document.digest(path, start["training"])
        if document is DATA:
            return document.digest(self._audit(path), start["training"])
        content = size_limits.read(path)
        return document.digest(content, start["training"]) if recognise(content.value) == document.name else None

    def _audit(self, folder: Path) -> Audit:
        """The headers of the cases in a data folder, which is compared with no plans."""
        from plansguard.artefacts.data.audit import audit
        from plansguard.artefacts.data.expectation import Expectation

        if folder not in self.audits:
            nothing = Expectation(channels=None, spacing=None, transpose_forward=(), class_keys=None)
            self.audits[folder] = audit(folder, nothing, pool=self.pool)
            if self.audits[folder].interrupted:
                raise UsageError("reading the data was stopped", hint="run the same command again")
        return self.audits[folder]
