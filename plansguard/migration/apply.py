"""Carry out a migration, or undo one.

The plans file is written last: its bytes decide whether the migration was made.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from plansguard.core import disk
from plansguard.core.atomic_files import locked, remove, write_atomically
from plansguard.core.digest import sha256
from plansguard.core.errors import Absent, UnreadableDocument, UsageError, WriteRefused, known
from plansguard.core.report import Severity
from plansguard.documents import json_document, size_limits
from plansguard.documents.file_names import CANONICAL_NAMES, MIGRATION_RECORD_ENDING
from plansguard.migration.plan import Migration, MigrationRequest, backup_name, plan
from plansguard.nnunet.workspace import Workspace
from plansguard.records.migration import MigrationRecord, ReplacedPlans
from plansguard.rules.engine.settings import ActiveSettings
from plansguard.subjects.dataset import Dataset
from plansguard.subjects.discovery import dataset_in, dataset_of
from plansguard.subjects.documents import MigrationRecordFile
from plansguard.subjects.trained_models import trained_with


@dataclass(frozen=True)
class Undone:
    """The steps of an undo, one clause each."""

    plans: str
    dataset: str
    steps: tuple[str, ...]


def migrate(workspace: Workspace, request: MigrationRequest, settings: ActiveSettings) -> Migration:
    """Plan and, unless the report has an error, write; both under the lock of the receiving folder.

    Raises UsageError, UnreadableDocument or WriteRefused; no file is left half written.
    """
    folder = workspace.preprocessed_folder(workspace.dataset_name(request.target))
    if not disk.is_folder(folder):
        refused = plan(workspace, request, settings)  # a refused migration must not create the folder
        if refused.report.fails(Severity.ERROR):
            return refused
    with _locked_folder(folder):
        migration = plan(workspace, request, settings)
        if not migration.report.fails(Severity.ERROR):
            for write in migration.writes:
                write_atomically(write.path, write.content)
        return migration


def undo(workspace: Workspace, target: str, identifier: str | None, *, force: bool) -> Undone:
    """Undo the last migration into a dataset: restore the files of before.

    ``identifier`` names the plans; without it, the last migration is undone. Raises UsageError when no migration is
    recorded, and WriteRefused when the plans were edited since or trained with, unless ``force``, which keeps a copy of
    edited plans.
    """
    receiving = dataset_of(workspace, target)
    with locked(receiving.folder):
        record = _last_record(receiving, identifier)
        path = receiving.folder / f"{record.identifier}.json"
        record_path = receiving.folder / (record.identifier + MIGRATION_RECORD_ENDING)
        trained = known(lambda: trained_with(receiving, record.identifier))
        if trained and not force:
            raise WriteRefused(
                f"{trained[0].folder} was trained with {record.identifier}",
                hint="--force undoes the migration nevertheless; -tp names another one",
            )
        steps = [
            *_restore_plans(path, record, force),
            *_restore_record(record_path, record),
            *_remove_placed(receiving, record),
        ]
    return Undone(record.identifier, receiving.name, tuple(steps))


def _last_record(receiving: Dataset, identifier: str | None) -> MigrationRecord:
    """The record of the last migration; one that was never carried out counts only if there is no other."""
    records: list[tuple[bool, str, MigrationRecord]] = []
    for path in disk.matching(receiving.folder, "*" + MIGRATION_RECORD_ENDING):
        name = path.name[: -len(MIGRATION_RECORD_ENDING)]
        if identifier in (None, name):
            record = _read_record(path, receiving.name, name)
            made = disk.is_file(receiving.folder / f"{name}.json")
            records.append((made, record.created, record))
    if not records:
        named = f" as {identifier}" if identifier else ""
        raise UsageError(
            f"no migration into {receiving.name}{named} is recorded",
            hint=f"migration records are the files *{MIGRATION_RECORD_ENDING} in {receiving.folder}",
        )
    return max(records, key=lambda entry: entry[:2])[2]


def _read_record(path: Path, dataset: str, identifier: str) -> MigrationRecord:
    """The record in a file, which must describe the plans beside it: an undo replaces or removes what it names."""
    try:
        record = MigrationRecordFile(size_limits.read(path)).record
    except Absent as absent:
        raise UnreadableDocument(
            str(path), "this is no migration record", hint="restore it from a backup, or undo another with -tp"
        ) from absent
    if (record.receiving, record.identifier) != (dataset, identifier):
        raise UnreadableDocument(
            str(path),
            f"this record describes {record.identifier} in {record.receiving}, not the plans beside it",
            hint="remove it if it was copied here, or undo another migration with -tp",
        )
    return record


def _restore_plans(path: Path, record: MigrationRecord, force: bool) -> Iterator[str]:
    replaced = record.replaced
    current = disk.content(path) if disk.is_file(path) else None
    if (None if current is None else sha256(current)) == (None if replaced is None else replaced.sha256):
        return  # the plans are those of before: only the record has to be restored
    if current is not None and sha256(current) != record.written:
        if not force:
            raise WriteRefused(
                f"{path} was edited after the migration",
                hint="--force undoes it nevertheless and keeps a copy of the edited plans beside it",
            )
        copy = backup_name(path, current)
        write_atomically(copy, current)
        yield f"kept the edited plans as {copy.name}"
    if replaced is None:
        remove(path)
        yield f"removed {path}"
    else:
        write_atomically(path, _content_before(path, record, replaced))
        yield f"restored {path}" + (f" from {replaced.backup}, which can be deleted now" if replaced.backup else "")


def _content_before(path: Path, record: MigrationRecord, replaced: ReplacedPlans) -> bytes:
    """The content before the migration: that of the backup, or the migrated plans where the file was the same."""
    if replaced.backup is None:
        content, source = json_document.dumps(record.migrated), "the record"
    else:
        backup = path.parent / replaced.backup
        if backup.parent != path.parent or not disk.is_file(backup):
            raise WriteRefused(f"the backup {replaced.backup} is gone", hint="put it back, then undo again")
        content, source = disk.content(backup), f"the backup {replaced.backup}"
    if sha256(content) != replaced.sha256:
        raise WriteRefused(f"{source} does not contain the plans of before", hint="put it back, then undo again")
    return content


def _restore_record(path: Path, record: MigrationRecord) -> Iterator[str]:
    if record.replaced is not None and record.replaced.lineage is not None:
        write_atomically(path, json_document.dumps(record.replaced.lineage))
        yield "restored the record of the previous migration"
    else:
        remove(path)
        yield f"removed the record {path.name}"


def _remove_placed(receiving: Dataset, record: MigrationRecord) -> Iterator[str]:
    """Remove the dataset.json that the migration copied, unless it was changed or other plans need it."""
    path = receiving.folder / CANONICAL_NAMES["dataset.json"]
    if record.placed_dataset_json is None or not disk.is_file(path):
        return
    if sha256(disk.content(path)) != record.placed_dataset_json or dataset_in(receiving.folder).plans:
        yield f"left {path.name} in place: it was changed, or other plans need it"
        return
    remove(path)
    yield f"removed {path}, which the migration had copied"


@contextmanager
def _locked_folder(folder: Path) -> Iterator[None]:
    """Lock a folder, which is created if it does not exist."""
    try:
        folder.mkdir(exist_ok=True)
    except OSError as error:
        raise WriteRefused(f"cannot make {folder}: {error.strerror}", hint="check the folder's permissions") from error
    with locked(folder):
        yield
