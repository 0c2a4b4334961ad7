"""``plansguard baseline``."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated

import typer
from typer import Argument, Option

from plansguard.cli.check import Data, Depth, places_of, pool_of
from plansguard.cli.common_options import Datasets, SettingsFile, load_settings, print_line, print_next, print_wrapped
from plansguard.cli.progress_bar import progress_bar
from plansguard.core.errors import UsageError
from plansguard.core.report import Report
from plansguard.core.text import counted
from plansguard.documents.file_names import BASELINE_NAME
from plansguard.nnunet import printed_commands
from plansguard.rules.engine.settings import ActiveSettings
from plansguard.subjects.request import Reading


class Action(str, Enum):
    """What is done with the baseline."""

    WRITE = "write"
    PRUNE = "prune"
    SHOW = "show"


Actions = Annotated[
    Action,
    Argument(help="write: take all findings of now; prune: remove those that no longer occur; show: list them."),
]
Paths = Annotated[
    list[Path] | None,
    Argument(help="What is checked, as for plansguard check. Default: the current folder.", show_default=False),
]
File = Annotated[
    Path | None,
    Option("--baseline", metavar="FILE", help=f"The baseline. Default: that of the settings, or {BASELINE_NAME}."),
]


def baseline(
    action: Actions,
    paths: Paths = None,
    dataset: Datasets = None,
    file: File = None,
    data: Data = Depth.HEADERS,
    settings: SettingsFile = None,
) -> None:
    """Write, prune or show the baseline: findings that are known.

    With it, only new findings fail a check; the file belongs into the repository. What means that something was not
    judged is in no baseline: then the exit code is 2. Entries of datasets that are not checked now stay.

    Examples:
        plansguard baseline write
        plansguard check --baseline plansguard-baseline.json
        plansguard baseline prune
    """
    active = load_settings(settings, places_of(paths, dataset))
    path = file or active.baseline or Path(BASELINE_NAME)
    if action is Action.SHOW:
        if paths or dataset:
            raise UsageError("show lists the whole baseline", hint="leave the paths and datasets out")
        _show(path)
        return
    report = _judged(action, path, paths or [], dataset or [], data, active)
    if action is Action.WRITE:
        _write(report, path, data)
        if path != active.baseline:
            print_next([printed_commands.check_with_baseline(path, paths or [], dataset or [])])
    else:
        _prune(report, path, data)
    left_out = [finding for finding in report.findings if finding.incomplete]
    for finding in left_out:
        print_wrapped(f"not in the baseline: {finding.code} {finding.location.path}: {finding.message}", err=True)
        print_wrapped(f"  fix: {finding.fix}", hanging=7, err=True)
    if left_out:
        raise typer.Exit(2)


def _judged(
    action: Action, path: Path, paths: list[Path], datasets: list[str], data: Depth, settings: ActiveSettings
) -> Report:
    """Check what a baseline is about; typer.Exit where there is nothing. Faults of the file come first."""
    from plansguard.commands.baseline import read
    from plansguard.commands.check import check
    from plansguard.records.baseline import assert_free

    if action is Action.PRUNE:
        read(path)
    assert_free(path)
    with progress_bar("looking for documents") as progress:
        report = check(
            paths,
            datasets=datasets,
            reading=Reading(data.value, pool=pool_of(data, None, progress)),
            settings=settings,
            progress=progress.report,
        )
    if not report.documents:
        print_line("nothing to check: no plans, dataset.json, fingerprint or splits were found", err=True)
        raise typer.Exit(3)
    return report


def _write(report: Report, path: Path, data: Depth) -> None:
    """Write the baseline, and say what changed."""
    from plansguard.commands.baseline import write

    change = write(report, path, data.value)
    details = [f"{change.added} new", f"{change.removed} removed"]
    details += [f"{change.kept} of what was not checked now"] if change.kept else []
    print_line(f"wrote {path}: {counted(change.total, 'known finding')} ({', '.join(details)})")


def _prune(report: Report, path: Path, data: Depth) -> None:
    from plansguard.commands.baseline import prune

    change = prune(report, path, data.value)
    removed = f"{counted(change.removed, 'finding')} removed" if change.removed else "nothing to remove"
    print_line(f"{path}: {removed}, {change.total} left")


def _show(path: Path) -> None:
    """List the findings of a baseline by rule."""
    from plansguard.commands.baseline import read

    content = read(path)
    for entry in content.entries:
        number = f" ({entry.count} times)" if entry.count > 1 else ""
        where = f"{entry.path} ({entry.configuration})" if entry.configuration else entry.path
        print_line(f"{entry.code} {entry.name} at {where}{number}: {entry.message}")
    print_line(f"{counted(sum(entry.count for entry in content.entries), 'known finding')} in {path}")
