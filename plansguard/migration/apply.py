"""Carry out a migration.

The plans file is written last: its bytes decide whether the migration was made.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar

from plansguard.core import disk
from plansguard.core.atomic_files import after, holding, locked, remove, write_atomically
from plansguard.core.errors import WriteRefused
from plansguard.core.report import Severity
from plansguard.documents.file_names import MIGRATION_RECORD_ENDING
from plansguard.migration.derive import Derivation, DerivationRequest, source_dataset
from plansguard.migration.derive import plan as plan_derivation
from plansguard.migration.files import outdated_copies
from plansguard.migration.plan import Migration, MigrationRequest, plan
from plansguard.nnunet.workspace import Workspace
from plansguard.rules.engine.settings import ActiveSettings

Planned = TypeVar("Planned", bound=Migration)


def migrate(workspace: Workspace, request: MigrationRequest, settings: ActiveSettings) -> Migration:
    """Plan and, unless the report has an error, write; both under the lock of the receiving folder.

    Raises UsageError, UnreadableDocument or WriteRefused; no file is left half written.
    """
    folder = workspace.preprocessed_folder(workspace.dataset_name(request.target))
    return _carried_out(folder, lambda: plan(workspace, request, settings))


def derive(workspace: Workspace, request: DerivationRequest, settings: ActiveSettings) -> Derivation:
    """Plan a derivation and, unless the report has an error, write it, as above."""
    folder = source_dataset(workspace, request.dataset, request.file).folder
    return _carried_out(folder, lambda: plan_derivation(workspace, request, settings))


def _carried_out(folder: Path, planned: Callable[[], Planned]) -> Planned:
    """Plan and write under the lock of a folder. What is refused creates no folder, and needs none to write to."""
    if not disk.is_accessible(folder, write=True):
        refused = planned()
        if refused.report.fails(Severity.ERROR):
            return refused
    with _locked_folder(folder):
        records = _records(folder)
        migration = planned()
        if not migration.report.fails(Severity.ERROR):
            done: list[str] = []
            with after(done):
                # A file that comes or changes meanwhile is not replaced: no copy of it was kept.
                before = {**records, migration.pair.result.path: migration.pair.existing}
                for write in migration.writes:
                    write_atomically(write.path, write.content, holding(before.get(write.path, write.content)))
                    done.append(f"wrote {write.path} ({write.what})")
            result = migration.pair.result
            for copy in outdated_copies(folder, result.identifier, result.document.raw) if migration.writes else ():
                remove(copy)
        return migration


def _records(folder: Path) -> dict[Path, bytes]:
    """The content of the migration records in a folder that can be read."""
    contents: dict[Path, bytes] = {}
    for path in disk.matching(folder, "*" + MIGRATION_RECORD_ENDING):
        with suppress(OSError):
            contents[path] = disk.content(path)
    return contents


@contextmanager
def _locked_folder(folder: Path) -> Iterator[None]:
    """Lock a folder, which is created if it does not exist."""
    try:
        folder.mkdir(exist_ok=True)
    except OSError as error:
        raise WriteRefused(f"cannot make {folder}: {error.strerror}", hint="check the folder's permissions") from error
    with locked(folder):
        yield
