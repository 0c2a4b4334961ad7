"""Carry out a migration.

The plans file is written last: its bytes decide whether the migration was made.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from plansguard.core import disk
from plansguard.core.atomic_files import after, kept, locked, remove, write_atomically
from plansguard.core.errors import WriteRefused
from plansguard.core.report import Severity
from plansguard.migration.files import outdated_copies
from plansguard.migration.plan import Migration, MigrationRequest, plan
from plansguard.nnunet.workspace import Workspace
from plansguard.rules.engine.settings import ActiveSettings


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
            done: list[str] = []
            with after(done):
                for write in migration.writes:
                    write_atomically(write.path, write.content, kept)
                    done.append(f"wrote {write.path} ({write.what})")
            result = migration.pair.result
            for copy in outdated_copies(folder, result.identifier, result.document.raw) if migration.writes else ():
                remove(copy)
        return migration


@contextmanager
def _locked_folder(folder: Path) -> Iterator[None]:
    """Lock a folder, which is created if it does not exist."""
    try:
        folder.mkdir(exist_ok=True)
    except OSError as error:
        raise WriteRefused(f"cannot make {folder}: {error.strerror}", hint="check the folder's permissions") from error
    with locked(folder):
        yield
