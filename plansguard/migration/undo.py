"""Undo a migration: restore the files of before, and keep what is removed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from plansguard.core import disk
from plansguard.core.atomic_files import after, assert_writable, holding, locked, remove, write_atomically
from plansguard.core.digest import sha256
from plansguard.core.errors import Absent, UnreadableDocument, UsageError, WriteRefused, known
from plansguard.documents import json_document, size_limits
from plansguard.documents.file_names import CANONICAL_NAMES, MIGRATION_RECORD_ENDING
from plansguard.migration.files import (
    UNDONE,
    assert_own_folder,
    backup_name,
    dataset_name,
    is_content,
    is_explained,
    is_own_record,
    outdated_copies,
    writable,
)
from plansguard.nnunet.workspace import Workspace
from plansguard.records.migration import DERIVE, MigrationRecord, ReplacedPlans
from plansguard.subjects.dataset import Dataset
from plansguard.subjects.discovery import dataset_in, dataset_of
from plansguard.subjects.documents import MigrationRecordFile
from plansguard.subjects.trained_models import trained_with


@dataclass(frozen=True)
class Undone:
    """What was undone, such as "migration of Moved into Dataset002_CT", and the steps, one clause each."""

    what: str
    steps: tuple[str, ...]


class _Change(NamedTuple):
    """One step: a file that has the content ``before`` (None: there is none) gets another one, or is removed (None)."""

    path: Path
    before: bytes | None
    content: bytes | None
    step: str


def undo(workspace: Workspace, target: str, identifier: str | None, *, force: bool) -> Undone:
    """Undo the last migration into a dataset: restore the files of before, and keep copies of those that are removed.

    ``identifier`` names the plans; without it, the last migration is undone. Raises UsageError when no migration is
    recorded, UnreadableDocument when the record does not explain the files, and WriteRefused when the plans were edited
    since or trained with, unless ``force``. Nothing is changed then.
    """
    return undo_in(dataset_of(workspace, target), identifier, force=force)


def undo_in(receiving: Dataset, identifier: str | None, *, force: bool) -> Undone:
    """Undo the last migration into a folder, or, of the plans that ``identifier`` names, migration or derivation."""
    assert_own_folder(receiving)
    _last_record(receiving, identifier)  # where there is none, the folder need not be one to write to
    with locked(receiving.folder):
        record = _last_record(receiving, identifier)
        path = writable(receiving.folder / f"{record.identifier}.json")
        record_path = writable(receiving.folder / (record.identifier + MIGRATION_RECORD_ENDING))
        trained = known(lambda: trained_with(receiving, record.identifier))
        if trained and not force:
            raise WriteRefused(
                f"{trained[0].folder} was trained with {record.identifier}",
                hint=f"--force undoes the {_act(record)} nevertheless; -tp names another one",
            )
        changes = [*_plans_changes(path, record, force), *_record_changes(record_path, record)]
        changed = {change.path for change in changes}
        outdated = [copy for copy in outdated_copies(receiving.folder, record.identifier, None) if copy not in changed]
        steps: list[str] = []
        with after(steps):
            for change in changes:
                steps += [_perform(change)]
            steps += _remove_placed(receiving, record)
            for copy in outdated:
                remove(copy)
    place = f"{'in' if record.workflow == DERIVE else 'into'} {dataset_name(receiving) or receiving.folder}"
    return Undone(f"{_act(record)} of {record.identifier} {place}", tuple(steps))


def _act(record: MigrationRecord) -> str:
    return "derivation" if record.workflow == DERIVE else "migration"


def _made(record: MigrationRecord) -> str:
    return "derived" if record.workflow == DERIVE else "migrated"


def _perform(change: _Change) -> str:
    replaces = holding(change.before)
    if change.content is None:
        assert_writable(change.path, replaces)
        remove(change.path)
    else:
        write_atomically(change.path, change.content, replaces)
    return change.step


def _last_record(receiving: Dataset, identifier: str | None) -> MigrationRecord:
    """The record of the last migration; one that was never carried out counts only if there is no other.

    Derivations count only where their plans are named.
    """
    records: list[tuple[bool, str, MigrationRecord]] = []
    for path in disk.matching(receiving.folder, "*" + MIGRATION_RECORD_ENDING):
        name = path.name[: -len(MIGRATION_RECORD_ENDING)]
        if identifier in (None, name):
            record = _read_record(path, receiving, name)
            if identifier is None and record.workflow == DERIVE:
                continue
            made = disk.is_file(receiving.folder / f"{name}.json")
            records.append((made, record.created, record))
    if not records:
        act = f"migration or derivation of {identifier}" if identifier else "migration"
        raise UsageError(
            f"no {act} is recorded in {receiving.name}",
            hint=f"migration records are the files *{MIGRATION_RECORD_ENDING} in {receiving.folder}",
        )
    return max(records, key=lambda entry: entry[:2])[2]


def _read_record(path: Path, receiving: Dataset, identifier: str) -> MigrationRecord:
    """The record in a file, which must describe the plans beside it and explain their bytes.

    An undo replaces or removes what the record names. A folder of plans that is no dataset's may have any name.
    """
    try:
        record = MigrationRecordFile(size_limits.read(path)).record
    except Absent as absent:
        raise UnreadableDocument(
            str(path), "this is no migration record", hint="restore it from a backup, or undo another with -tp"
        ) from absent
    dataset = receiving.name if receiving.role == "preprocessed" else record.receiving
    if (record.receiving, record.identifier) != (dataset, identifier):
        raise UnreadableDocument(
            str(path),
            f"this record describes {record.identifier} in {record.receiving or 'no dataset'}, not the plans beside it",
            hint="remove it if it was copied here, or undo another migration with -tp",
        )
    older = record.replaced.lineage if record.replaced is not None else None
    if not is_explained(record) or (
        older is not None and not is_own_record(path, json_document.dumps(older), identifier)
    ):
        raise UnreadableDocument(
            str(path),
            "this record was changed: the plans in it are not those that it says were written",
            hint="restore it from a backup, or restore the plans by hand",
        )
    return record


def _plans_changes(path: Path, record: MigrationRecord, force: bool) -> Iterator[_Change]:
    replaced = record.replaced
    current = disk.content(path) if disk.is_file(path) else None
    if (None if current is None else sha256(current)) == (None if replaced is None else replaced.sha256):
        return  # the plans are those of before: only the record has to be restored
    if current is not None:
        edited = sha256(current) != record.written
        if edited and not force:
            raise WriteRefused(
                f"{path} was edited after the {_act(record)}",
                hint="--force undoes it nevertheless and keeps a copy of the edited plans beside it",
            )
        copy = backup_name(path, current, UNDONE)
        yield _Change(copy, current, current, f"kept the {'edited' if edited else _made(record)} plans as {copy.name}")
    if replaced is None:
        if current is not None:
            yield _Change(path, current, None, f"removed {path}")
    else:
        source = f" from {replaced.backup}, which can be deleted now" if replaced.backup else ""
        yield _Change(path, current, _content_before(path, record, replaced), f"restored {path}{source}")


def _content_before(path: Path, record: MigrationRecord, replaced: ReplacedPlans) -> bytes:
    """The content before the migration: that of the backup, or the migrated plans where the file was the same."""
    if replaced.backup is None:
        content, source = json_document.dumps(record.migrated), "the record"
    else:
        backup = path.parent / replaced.backup
        if backup.parent != path.parent or disk.is_link(backup) or not disk.is_file(backup):
            raise WriteRefused(f"the backup {replaced.backup} is gone", hint="put it back, then undo again")
        content, source = disk.content(backup), f"the backup {replaced.backup}"
        if backup != backup_name(path, content):
            raise WriteRefused(f"{source} is no backup of {path.name}", hint="put the backup back, then undo again")
    if sha256(content) != replaced.sha256:
        raise WriteRefused(f"{source} does not contain the plans of before", hint="put it back, then undo again")
    return content


def _record_changes(path: Path, record: MigrationRecord) -> Iterator[_Change]:
    content = disk.content(path)
    copy = backup_name(path, content, UNDONE)
    yield _Change(copy, content, content, f"kept the record as {copy.name}")
    if record.replaced is not None and record.replaced.lineage is not None:
        older = json_document.dumps(record.replaced.lineage)
        yield _Change(path, content, older, "restored the record of the previous migration")
    else:
        yield _Change(path, content, None, f"removed the record {path.name}")


def _remove_placed(receiving: Dataset, record: MigrationRecord) -> Iterator[str]:
    """Remove the dataset.json that the migration copied, unless it was changed or other plans need it."""
    path = receiving.folder / CANONICAL_NAMES["dataset.json"]
    if record.placed_dataset_json is None or not disk.is_file(path):
        return
    raw = known(lambda: receiving.raw_dataset_json.document.raw)
    if disk.is_link(path) or raw is None or not is_content(path, raw) or dataset_in(receiving.folder).plans:
        yield f"left {path.name} in place: it is not that of the raw dataset, or other plans need it"
        return
    remove(path)
    yield f"removed {path}, which the migration had copied"
