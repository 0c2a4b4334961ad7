"""The files that a migration may write, and the copies that it keeps."""

from __future__ import annotations

from pathlib import Path

from plansguard.core import disk
from plansguard.core.atomic_files import assert_writable, holding, kept, write_atomically
from plansguard.core.digest import sha256
from plansguard.core.errors import Absent, UnreadableDocument, UsageError, WriteRefused
from plansguard.documents import json_document, size_limits
from plansguard.documents.file_names import MIGRATION_RECORD_ENDING
from plansguard.nnunet.workspace import DATASET_NAME
from plansguard.records.migration import MigrationRecord
from plansguard.subjects.dataset import Dataset
from plansguard.subjects.documents import MigrationRecordFile

#: The ending of a copy of what an undo removed.
UNDONE = ".undone"
_BACKUP = ".bak"
#: Lengths of the digest in the name of a copy: the shortest that is free.
_DIGITS = (8, 64)


def writable(path: Path) -> Path:
    """``path``; WriteRefused unless nothing is there, or a regular file, whose content is then kept."""
    try:
        assert_writable(path, kept)
    except WriteRefused as refused:
        raise WriteRefused(refused.reason, hint="move it away, or choose another name with -tp") from refused
    return path


def assert_own_folder(dataset: Dataset) -> None:
    """Raise UsageError where the dataset's folder is a link to the folder of another dataset."""
    real = disk.real(dataset.folder)
    if disk.is_link(dataset.folder) and real.name != dataset.name and DATASET_NAME.fullmatch(real.name):
        raise UsageError(
            f"{dataset.folder} is a link to {real}, so the files of another dataset would be changed",
            hint=f"name {real.name} itself, or give {dataset.name} a folder of its own",
        )


def dataset_name(dataset: Dataset) -> str | None:
    """The name of a dataset; None for a folder of plans that is no dataset's, as in a repository."""
    is_folder_of_plans = dataset.role == "loose" and not DATASET_NAME.fullmatch(dataset.name)
    return None if is_folder_of_plans else dataset.name


def backup_name(path: Path, content: bytes, ending: str = _BACKUP) -> Path:
    """The path of a copy of ``content``, whose name contains a digest: the same content has one copy.

    Raises WriteRefused if other files have the names.
    """
    for digits in _DIGITS:
        copy = path.with_name(f"{path.name}.{sha256(content)[:digits]}{ending}")
        if not disk.is_link(copy) and (not disk.is_there(copy) or is_content(copy, content)):
            return copy
    raise WriteRefused(
        f"the names of a copy of {path} are those of other files", hint=f"move away {path.name}.*{ending}"
    )


def keep_copy(path: Path, content: bytes) -> str:
    """Keep the content of a file that is to be replaced in a copy beside it; return a line about it."""
    copy = backup_name(path, content)
    write_atomically(copy, content, holding(content))
    return f"kept the previous content as {copy}"


def is_content(path: Path, content: bytes) -> bool:
    """Whether a file has this content."""
    return disk.is_file(path) and disk.size(path) == len(content) and disk.content(path) == content


def is_explained(record: MigrationRecord) -> bool:
    """Whether the bytes that a record says were written are those of the plans in it."""
    return sha256(json_document.dumps(record.migrated)) == record.written


def is_own_record(path: Path, content: bytes, identifier: str) -> bool:
    """Whether the content of a file is a consistent migration record of plans with this identifier."""
    try:
        record = MigrationRecordFile(size_limits.parse(content, str(path))).record
    except (Absent, UnreadableDocument):
        return False
    return record.identifier == identifier and is_explained(record)


def outdated_copies(folder: Path, identifier: str, plans: bytes | None) -> list[Path]:
    """Copies of an earlier undo that are no longer needed at the next use of the name.

    These are copies of migration records, and a copy of ``plans``, the present content. Other plans stay: an undo may
    have removed them by a forged record.
    """
    plans_name, record_name = f"{identifier}.json.", f"{identifier}{MIGRATION_RECORD_ENDING}."
    copies = [folder / name for name in sorted(disk.file_names(folder)) if name.endswith(UNDONE)]
    return [
        copy
        for copy in copies
        if not disk.is_link(copy)
        and (
            (copy.name.startswith(record_name) and is_own_record(copy, disk.content(copy), identifier))
            or (copy.name.startswith(plans_name) and plans is not None and is_content(copy, plans))
        )
    ]
