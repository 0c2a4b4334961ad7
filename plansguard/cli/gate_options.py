"""Options of ``plansguard train`` and ``plansguard gate``, and how both report the verdict."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer
from typer import Option

from plansguard.cli.check import Depth, pool_of
from plansguard.cli.common_options import (
    OutputTargets,
    at_least,
    emit,
    load_settings,
    page,
    print_line,
    print_wrapped,
    show_error,
    typed_words,
)
from plansguard.cli.progress_bar import ProgressLine, progress_bar
from plansguard.core.errors import UsageError
from plansguard.core.report import Report, Severity
from plansguard.core.text import counted, quoted

if TYPE_CHECKING:
    from plansguard.rules.engine.acceptance import Accepted
    from plansguard.rules.engine.settings import ActiveSettings
    from plansguard.subjects.request import Reading, TypedOptions
    from plansguard.subjects.training_run import TrainingRun

#: Parameters of both commands, or of ``plansguard train``, by the part of `TypedOptions` that they belong to.
_SHARED = ("data", "gpu_memory", "dry_run", "output", "fail_on", "settings", "verbose", "quiet")
_ACCEPTING = ("accept", "because", "from_scratch")
_STEPPING = ("save_every", "save_limit", "max_time", "portable", "resume")

Accept = Annotated[
    list[str],
    Option("--accept", metavar="CODE", help="Let this finding through; needs --because. Repeatable, in pairs."),
]
Because = Annotated[
    list[str], Option("--because", metavar="REASON", help="Why it is accepted; the training record keeps the reason.")
]
FromScratch = Annotated[
    bool, Option("--from-scratch", help="Random weights are intended, although the plans were migrated for others.")
]
Data = Annotated[
    Depth | None,
    Option(
        "--data",
        help="How much of the preprocessed arrays is read, as for plansguard check. Default: the headers of every case "
        "and the values of a few.",
    ),
]
GpuMemory = Annotated[
    float | None,
    Option(
        "--gpu-memory",
        metavar="GB",
        callback=at_least(0.1),
        help="The memory of one GPU. Default: what nvidia-smi reports here.",
    ),
]

DryRun = Annotated[bool, Option("--dry-run", help="Only judge: nothing is started or written.")]


@dataclass(frozen=True)
class GateOptions:
    """The values of the options that both commands have."""

    accepted: Sequence[Accepted]
    data: Depth | None
    gpu_memory: float | None
    dry_run: bool
    outputs: OutputTargets
    fail_on: Severity | None
    settings: Path | None
    typed: TypedOptions

    def reading(self, progress: ProgressLine) -> Reading:
        """How much of the arrays to read: as asked for, or by default what the installed packages allow."""
        from plansguard.commands.train import default_depth
        from plansguard.subjects.request import Reading

        depth = self.data or Depth(default_depth())
        return Reading(depth.value, pool=pool_of(depth, None, progress))

    def settings_for(self, folder: Path) -> ActiveSettings:
        """The settings that apply to a folder."""
        return load_settings(self.settings, [folder])

    def pass_or_exit(
        self,
        report: Report,
        fail_on: Severity,
        run: TrainingRun | None = None,
        *,
        prints: bool = True,
        would_run: str = "",
    ) -> None:
        """Print the report and the verdict; typer.Exit where the gate stays closed.

        ``fail_on`` is the default from the settings, ``run`` the training, if it is one. ``prints`` is False where
        another process of the same training prints. ``would_run`` is the line about what a dry run would start.
        """
        report = replace(report, fail_on=self.fail_on or fail_on)
        code = report.exit_code()
        if prints:
            emit(report, self.outputs, None if run is None else page("run", report, run, "" if code else would_run))
            if code:
                typer.echo("", err=True)
                print_wrapped(f"Not started. {advice_on(report)}", err=True)
            else:
                self._print_verdict(report)
        if code:
            raise typer.Exit(code)

    def end_without_start(self, report: Report, *, prints: bool) -> NoReturn:
        """Print the report of a training that is finished; typer.Exit with 0."""
        if prints:
            emit(report, self.outputs)
            typer.echo("plansguard: this training is finished; nothing was started", err=True)
        raise typer.Exit(0)

    def _print_verdict(self, report: Report) -> None:
        """Print that the gate is open, on standard error, which job logs keep as well."""
        from plansguard.rules.engine.acceptance import not_found

        summary = report.summary()
        counts = [counted(summary[name], name) for name in ("warning", "info") if summary[name]]
        counts += [f"{summary['ignored']} accepted"] * bool(summary["ignored"])
        typer.echo(f"plansguard: fit to start ({', '.join(counts) or 'no findings'})", err=True)
        for acceptance in not_found(report, self.accepted):
            print_line(f"plansguard: {acceptance.code} was accepted, but not found", err=True)


def typed_options(context: typer.Context) -> TypedOptions:
    """Return the options of a command that were typed and do not describe the training."""
    from plansguard.subjects.request import TypedOptions

    shared, accepting, stepping = (tuple(typed_words(context, names)) for names in (_SHARED, _ACCEPTING, _STEPPING))
    return TypedOptions(shared, accepting, stepping)


def accepted_pairs(accept: Sequence[str], because: Sequence[str]) -> list[Accepted]:
    """Return codes and their reasons, in pairs; UsageError where one is missing."""
    from plansguard.rules.engine.acceptance import Accepted

    if len(accept) != len(because):
        raise UsageError(
            f"{len(accept)} times --accept and {len(because)} times --because: each needs the other",
            hint=f'--accept {quoted(next(iter(accept), "CODE"))} --because "the reason that will be written down"',
        )
    return [Accepted(*pair) for pair in zip(accept, because, strict=True)]


def accepted_findings(
    accept: Sequence[str], because: Sequence[str], from_scratch: bool, weights: object
) -> list[Accepted]:
    """Return codes and their reasons, in pairs; UsageError where one is missing.

    ``from_scratch`` accepts that no weights are named; UsageError if some are.
    """
    from plansguard.commands.train import FROM_SCRATCH

    pairs = accepted_pairs(accept, because)
    if from_scratch and weights is not None:
        raise UsageError(
            f"--from-scratch and -pretrained_weights {weights} exclude each other", hint="leave one of the two out"
        )
    return pairs + [FROM_SCRATCH] * from_scratch


def leave_record(run: TrainingRun, report: Report, *, keeps_lock: bool) -> None:
    """Write the training record; typer.Exit where another process trains into the folder of results."""
    from plansguard.commands.train import build_record, write_record
    from plansguard.training.stop_reasons import Refused, TrainingObstacle

    try:
        with progress_bar("writing the training record"):
            write_record(run, build_record(run, report, ["plansguard", *sys.argv[1:]]), keeps_lock=keeps_lock)
    except Refused as refused:
        if refused.obstacle is not TrainingObstacle.FOLDER_IN_USE:
            raise
        show_error(refused)
        raise typer.Exit(1) from refused


def advice_on(report: Report) -> str:
    """What to do where the gate stays closed."""
    if not report.fails(report.fail_on):
        return "Not everything could be judged: see above."
    what = "errors" if report.fails(Severity.ERROR) else "findings"
    if can_be_accepted(report):
        return f'Fix the {what} above, or accept a finding with a reason: --accept CODE --because "...".'
    return f"Fix the {what} above."


def print_refused(report: Report, what: str, *, except_for: str = "") -> None:
    """Print what was not done, and how a finding is accepted where one can be (`can_be_accepted`)."""
    accept = ' A finding that is meant can be accepted with a reason: --accept CODE --because "...".'
    typer.echo("")
    print_wrapped(what + accept * can_be_accepted(report, except_for=except_for))


def can_be_accepted(report: Report, *, except_for: str = "") -> bool:
    """Whether a finding at or above ``fail_on`` can be accepted.

    One of the rule ``except_for`` cannot, nor one which means that something was not judged.
    """
    judged = (one for one in report.findings if not one.incomplete and one.code != except_for)
    return replace(report, findings=tuple(judged)).fails(report.fail_on)
