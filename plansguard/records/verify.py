"""Does what a receipt tells still hold? Every document of then beside that of now."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from plansguard.core.digest import digest_of
from plansguard.core.errors import UnreadableDocument, UsageError
from plansguard.core.text import brief, counted, listed
from plansguard.documents import size_limits
from plansguard.documents.file_names import MODEL_PLANS, TRAINING_RECORD_NAME
from plansguard.documents.recognise import recognise
from plansguard.nnunet.plans_diff import edited
from plansguard.nnunet.workspace import Workspace, checked_fold, is_folder_name, is_there
from plansguard.records.training import (
    Start,
    accepted_in,
    beginning,
    of_data,
    of_dataset_json,
    of_fingerprint,
    of_plans,
    of_splits,
    of_weights,
    read,
    used_of,
)

if TYPE_CHECKING:
    from plansguard.artefacts.data.audit import Audit
    from plansguard.artefacts.data.workers import Pool
    from plansguard.documents.json_document import JsonDocument

_PREPROCESSED, _RESULTS = "nnUNet_preprocessed", "nnUNet_results"
#: Cases that are named.
_NAMED = 5


class DocumentState(str, Enum):
    """What is true of one document."""

    SAME = "as it was"
    ALIKE = "as it was for this training"
    CHANGED = "changed"
    GONE = "gone"
    UNREADABLE = "cannot be read"
    UNRECORDED = "not recorded"

    @property
    def holds(self) -> bool:
        """Whether nothing speaks against it."""
        return self in (DocumentState.SAME, DocumentState.ALIKE, DocumentState.UNRECORDED)


class Row(NamedTuple):
    """One document, and what of it has changed, one clause each; ``started`` is the start that it is compared with."""

    document: str
    state: DocumentState
    details: tuple[str, ...]
    started: str


@dataclass(frozen=True)
class Verification:
    """One receipt.

    ``compared`` is the dataset's folder in nnUNet_preprocessed. ``starts`` are those of the training that went on last,
    ``accepted`` the findings that were accepted at any of them, with their reasons.
    """

    receipt: Path
    compared: Path
    starts: tuple[Start, ...]
    rows: tuple[Row, ...]
    accepted: tuple[tuple[str, str], ...]

    @property
    def holds(self) -> bool:
        """Whether all of it does."""
        return all(row.state.holds for row in self.rows)


def records_in(folder: Path) -> list[Path]:
    """The receipts of a fold's folder, or of all folds of a model's folder; UsageError if there is no such folder."""
    if folder.is_file():
        return [folder]
    if not folder.is_dir():
        raise UsageError(
            f"there is no {folder}", hint=f"name the folder of a fold or of a model: {_RESULTS}/DATASET/MODEL/fold_0"
        )
    own = folder / TRAINING_RECORD_NAME
    return [own] if os.path.lexists(own) else sorted(folder.glob(f"fold_*/{TRAINING_RECORD_NAME}"))


def verify(path: Path, pool: Pool) -> Verification:
    """Hold one receipt against what is there now; nothing is written, and ``pool`` reads the headers of all cases.

    UnreadableDocument for what is no receipt, UsageError where nobody knows where nnUNet_preprocessed is.
    """
    receipt = read(path)
    starts = receipt["starts"][beginning(receipt["starts"]) :]
    for start in starts:
        _check_names(path, start)
    workspace = _workspace_of(path.absolute().parent)
    folder = workspace.preprocessed_folder(starts[-1]["training"]["dataset"])
    rows = tuple(_rows(_Now(path.absolute().parent.parent, workspace, receipt["cases"], pool), starts))
    return Verification(path, folder, tuple(starts), rows, tuple(accepted_in(starts)))


def _workspace_of(fold: Path) -> Workspace:
    """The workspace that a fold's folder stands in.

    The environment's, unless the folder stands in another nnUNet_results, beside a nnUNet_preprocessed of its own.
    """
    named = Workspace.from_environment()
    root = fold.parents[min(2, len(fold.parents) - 1)]
    if named.results is not None and os.path.realpath(named.results) == os.path.realpath(root):
        return named
    sibling = root.with_name(_PREPROCESSED)
    return Workspace(preprocessed=sibling) if root.name == _RESULTS and sibling.is_dir() else named


def _check_names(path: Path, start: Start) -> None:
    """That nothing outside the workspace would be read."""
    training, data = start["training"], start["data"]
    names = [training["dataset"], training["plans"], *([data["folder"]] if data else [])]
    try:
        checked_fold(training["fold"])
    except UsageError as error:
        raise UnreadableDocument(
            str(path), f"it names {brief(training['fold'], exact=True)}, which is no fold", hint="it was edited"
        ) from error
    for name in names:
        if not is_folder_name(name):
            raise UnreadableDocument(
                str(path),
                f"it names {brief(name, exact=True)}, which is no dataset, plans or folder",
                hint="it was edited",
            )


def _rows(now: _Now, starts: list[Start]) -> Iterator[Row]:
    """Every document as the last start tells of it; and as earlier ones do, where they differ and do not hold."""
    for name, key, compare in now.documents():
        rows: list[Row] = []
        told: list[Any] = [None]
        for start in reversed(starts):
            then = start[key]
            if then in told:
                continue
            told.append(then)
            found = compare(start, then)
            if found is not None and (not rows or not found[0].holds):
                rows.append(Row(name, *found, start["started"]))
        if not rows and name in _ABSENT:
            rows = [Row(name, DocumentState.UNRECORDED, (_ABSENT[name],), starts[-1]["started"])]
        yield from rows


#: What to say of documents that no start tells of.
_ABSENT = {
    "dataset.json": "not there when the training started",
    "fingerprint": "not there when the training started",
    "splits": "not there when the training started: nnU-Net writes it then",
    "data": "not read when the training started",
}


Found = tuple[DocumentState, tuple[str, ...]]


class _Now:
    """What is there now: the documents of a workspace, and nnU-Net's own copies in the model's folder."""

    def __init__(self, model: Path, workspace: Workspace, cases: Mapping[str, str], pool: Pool) -> None:
        self.model = model
        self.workspace = workspace
        self.cases = cases
        self.pool = pool
        self.audits: dict[Path, Audit] = {}

    def documents(self) -> Iterator[tuple[str, str, Callable[[Start, Any], Found | None]]]:
        """What each is called, under which key of a start it stands, and how it is compared."""
        yield "plans", "plans", lambda start, then: self._plans(self._folder(start), start, then)
        yield "dataset.json", "dataset_json", lambda start, then: self._dataset_json(self._folder(start), then)
        yield "fingerprint", "fingerprint", self._fingerprint
        yield "splits", "splits", self._splits
        yield "weights", "weights", lambda _, then: _weights(then)
        yield "data", "data", self._data
        yield f"{MODEL_PLANS} of the model", "plans", self._model_plans
        yield "dataset.json of the model", "dataset_json", self._model_dataset_json

    def _folder(self, start: Start) -> Path:
        return self.workspace.preprocessed_folder(start["training"]["dataset"])

    def _plans(self, folder: Path, start: Start, then: dict[str, Any]) -> Found:
        return _compared_plans(folder / f"{start['training']['plans']}.json", start, then)

    def _dataset_json(self, folder: Path, then: dict[str, Any]) -> Found:
        return _compared(folder / "dataset.json", "dataset.json", then, of_dataset_json, _fields_changed)

    def _fingerprint(self, start: Start, then: dict[str, Any]) -> Found:
        path = self._folder(start) / "dataset_fingerprint.json"
        return _compared(path, "fingerprint", then, of_fingerprint, _names_changed)

    def _splits(self, start: Start, then: dict[str, Any]) -> Found:
        fold = start["training"]["fold"]
        path = self._folder(start) / "splits_final.json"
        return _compared(path, "splits", then, lambda document: of_splits(document, fold), _fold_changed)

    def _model_plans(self, start: Start, then: dict[str, Any]) -> Found | None:
        """None as long as nnU-Net has not written it."""
        path = self.model / MODEL_PLANS
        return _compared_plans(path, start, then) if is_there(path) else None

    def _model_dataset_json(self, _: Start, then: dict[str, Any]) -> Found | None:
        return self._dataset_json(self.model, then) if is_there(self.model / "dataset.json") else None

    def _data(self, start: Start, then: dict[str, Any]) -> Found:
        folder = self._folder(start) / then["folder"]
        if not is_there(folder):
            return DocumentState.GONE, (f"{folder} is not there",)
        try:
            read = self._read(folder)
        except UnreadableDocument as error:
            return DocumentState.UNREADABLE, (error.reason,)
        now = of_data(read)
        if now["headers"] != then["headers"]:
            cases = self.cases if digest_of(self.cases) == then["headers"] else {}  # they are those of another start
            return DocumentState.CHANGED, tuple(_cases_changed(cases, read.headers, then["cases"]))
        if now["files"] != then["files"]:
            return DocumentState.ALIKE, ("the files were written anew, with the same cases, shapes and properties",)
        return DocumentState.SAME, (counted(now["cases"], "case"),)

    def _read(self, folder: Path) -> Audit:
        """The headers in a data folder; nothing is expected of them."""
        from plansguard.artefacts.data.audit import audit
        from plansguard.artefacts.data.expectation import Expectation

        if folder not in self.audits:
            nothing = Expectation(channels=None, spacing=None, transpose_forward=(), class_keys=None)
            self.audits[folder] = audit(folder, nothing, pool=self.pool)
            if self.audits[folder].interrupted:
                raise UsageError("reading the data was stopped", hint="run the same command again")
        return self.audits[folder]


# ---------------------------------------------------------------------------------------------------------------------
# Then and now
# ---------------------------------------------------------------------------------------------------------------------


def _compared(
    path: Path,
    kind: str,
    then: dict[str, Any],
    of: Callable[[JsonDocument], dict[str, Any] | None],
    differing: Callable[[dict[str, Any], dict[str, Any]], Iterator[str]],
) -> Found:
    """A document whose digest is kept, with what else ``of`` takes from it."""
    if not is_there(path):
        return DocumentState.GONE, (f"{path} is not there",)
    try:
        document = size_limits.read(path)
    except UnreadableDocument as error:
        return DocumentState.UNREADABLE, (f"{path}: {error.reason}",)
    actual = recognise(document.value)
    now = of(document) if actual == kind else None
    if now is None:
        return DocumentState.CHANGED, (f"{path} holds something else now",)
    if now["sha256"] == then["sha256"]:
        return DocumentState.SAME, ()
    changed = tuple(differing(then, now))
    return (DocumentState.CHANGED, changed) if changed else (DocumentState.ALIKE, ("the file differs elsewhere",))


def _compared_plans(path: Path, start: Start, then: dict[str, Any]) -> Found:
    configuration = start["training"]["configuration"]
    used = used_of(then["used"], configuration)

    def differing(_: dict[str, Any], now: dict[str, Any]) -> Iterator[str]:
        for change in edited(used or {}, now["used"]):
            sides = (_MISSING if one is None else one for one in (change.before, change.after))
            for clause in _clauses(str(change.field), *sides):
                yield f"{clause} ({change.field.facet})"

    state, details = _compared(path, "plans", then, lambda document: of_plans(document, configuration), differing)
    if state is DocumentState.CHANGED and used is None:
        return state, (f"the receipt itself holds no {configuration}",)
    return state, details


def _clauses(place: str, then: Any, now: Any) -> Iterator[str]:
    """Where two values differ: in objects by key, lists as a whole."""
    if isinstance(then, dict) and isinstance(now, dict):
        for key in dict.fromkeys([*then, *now]):
            one, other = then.get(key, _MISSING), now.get(key, _MISSING)
            if one != other:
                yield from _clauses(f"{place}.{key}", one, other)
    else:
        yield f"{place} was {_said(then)} and is {_said(now)}"


_MISSING = object()


def _said(value: Any) -> str:
    return "not there" if value is _MISSING else brief(value, exact=True)


def _fields_changed(then: dict[str, Any], now: dict[str, Any]) -> Iterator[str]:
    """Of dataset.json, where order counts too: channels by their place, regions by that of their labels."""
    before, after = then["fields"], now["fields"]
    for key in dict.fromkeys([*before, *after]):
        if before.get(key) != after.get(key):
            yield from _clauses(key, before.get(key, _MISSING), after.get(key, _MISSING))
        elif list(_members(before.get(key))) != list(_members(after.get(key))):
            old, new = (brief([*side[key]], exact=True) for side in (before, after))
            yield f"{key} were in the order {old} and are in the order {new}"


def _members(value: Any) -> Iterator[str]:
    return iter(value if isinstance(value, dict) else ())


def _names_changed(then: dict[str, Any], now: dict[str, Any]) -> Iterator[str]:
    """Of the fingerprint, of which only digests are kept."""
    before, after = then["fields"], now["fields"]
    for key in dict.fromkeys([*before, *after]):
        if before.get(key) != after.get(key):
            yield f"{key} {'has changed' if key in before and key in after else 'came' if key in after else 'went'}"


def _fold_changed(then: dict[str, Any], now: dict[str, Any]) -> Iterator[str]:
    before, after = then["fold"], now["fold"]
    if before == after:
        return
    counts = [
        f"{one['training']} training and {one['validation']} validation cases" if one else "no cases of this fold"
        for one in (before, after)
    ]
    yield f"{counts[0]}, but other ones" if counts[0] == counts[1] else f"it had {counts[0]}, and has {counts[1]}"


def _weights(then: dict[str, Any]) -> Found:
    path = Path(then["path"])
    if not is_there(path):
        where = "" if path.is_absolute() else f", seen from {Path.cwd()}"
        return DocumentState.GONE, (f"{path} is not there{where}",)
    try:
        now = of_weights(path)
    except UnreadableDocument as error:
        return DocumentState.UNREADABLE, (f"{path}: {error.reason}",)
    if now["bytes"] != then["bytes"]:
        return DocumentState.CHANGED, (f"{path} had {then['bytes']:,} bytes and has {now['bytes']:,}",)
    if (now["of"], now["sha256"]) != (then["of"], then["sha256"]):
        return DocumentState.CHANGED, (f"{path} is another file of the same size",)
    return DocumentState.SAME, ()


def _cases_changed(then: Mapping[str, str], now: Mapping[str, str], number: int) -> Iterator[str]:
    if number != len(now):
        yield f"there were {counted(number, 'case')}, and there are {len(now)}"
    groups = {
        "went": [name for name in then if name not in now],
        "came": [name for name in now if name not in then] if then else [],
        "of other shapes or properties": [name for name in now if name in then and then[name] != now[name]],
    }
    told = [(what, names) for what, names in groups.items() if names]
    for what, names in told:
        yield f"{what}: {listed(names, _NAMED)}"
    if not told and number == len(now):
        yield "other cases, shapes or properties"
