"""What the commands share that write plans: ``migrate`` and ``derive``."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from plansguard.cli.common_options import OutputTargets, print_line
from plansguard.cli.gate_options import accepted_pairs, print_refused
from plansguard.core import disk
from plansguard.core.errors import UsageError, WriteRefused
from plansguard.core.report import Report, Severity
from plansguard.documents.file_names import MIGRATION_RECORD_ENDING
from plansguard.nnunet.workspace import displayed

if TYPE_CHECKING:
    from plansguard.migration.plan import Migration
    from plansguard.rules.engine.acceptance import Accepted

#: The rule that has an option of its own in place of --accept.
_OVERWRITES = "PG412"


def apart(outputs: OutputTargets, folder: Path, identifier: str) -> OutputTargets:
    """Return the outputs; UsageError for one in the place of a file that is written."""
    written = {f"{identifier}.json", f"{identifier}{MIGRATION_RECORD_ENDING}"}
    for _, path in outputs.files:
        if path is not None and path.name in written and disk.are_same(path.parent, folder):
            raise UsageError(f"--output: the migration itself writes {path}", hint="give the report another name")
    return outputs


def accepted_findings(accept: list[str], because: list[str]) -> list[Accepted]:
    """The findings to accept; UsageError for one that has an option of its own."""
    accepted = accepted_pairs(accept, because)
    if {entry.code for entry in accepted} & {_OVERWRITES, "would-overwrite"}:
        raise UsageError(f"{_OVERWRITES} cannot be accepted", hint="--force replaces the plans and keeps a backup")
    return accepted


def was_written(migration: Migration) -> bool:
    """Whether files were written."""
    return bool(migration.writes) and not migration.report.fails(Severity.ERROR)


@contextmanager
def output_after(done: str) -> Iterator[None]:
    """Report what was done where the output cannot be written. A closed pipe is left to the caller."""
    try:
        yield
    except BrokenPipeError:
        raise
    except (OSError, WriteRefused) as error:
        if not done:
            raise
        reason = error.reason if isinstance(error, WriteRefused) else f"cannot write the output: {error.strerror}"
        raise WriteRefused(reason, hint=done) from error


def print_not_written(report: Report) -> None:
    """Print that nothing was written, and how a finding is accepted, if one of the errors can be."""
    print_refused(report, "Nothing was written.", except_for=_OVERWRITES)


def print_writes(migration: Migration, *, dry_run: bool) -> None:
    """Print the files that were written, or would be."""
    for write in migration.writes:
        print_line(f"{'would write' if dry_run else 'wrote'} {displayed(str(write.path))} ({write.what})")
