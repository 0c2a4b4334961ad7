"""What ``plansguard train`` and ``plansguard gate`` share: options about the gate, and what it answers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from plansguard.cli.check import Depth as DataDepth
from plansguard.cli.common_options import emit
from plansguard.cli.progress_bar import Progress
from plansguard.core.errors import UsageError
from plansguard.core.report import Report, Severity
from plansguard.core.text import counted
from plansguard.render import printable

if TYPE_CHECKING:
    from plansguard.commands.train import Accepted
    from plansguard.subjects.request import Reading

Accept = Annotated[
    list[str],
    typer.Option("--accept", metavar="CODE", help="Let this finding through; needs --because. Repeatable, in pairs."),
]
Because = Annotated[
    list[str], typer.Option("--because", metavar="REASON", help="Why it is accepted; the receipt keeps the reason.")
]
Depth = Annotated[
    DataDepth | None,
    typer.Option(
        "--data",
        help="How much of the preprocessed arrays is read, as for plansguard check. Default: the headers of every case "
        "and the values of a few.",
    ),
]
GpuMemory = Annotated[
    float | None,
    typer.Option(
        "--gpu-memory", metavar="GB", min=0.1, help="The memory of one GPU. Default: what nvidia-smi tells here."
    ),
]


def accepted_findings(accept: Sequence[str], because: Sequence[str]) -> list[Accepted]:
    """Codes and their reasons, in pairs; UsageError where one is missing."""
    from plansguard.commands.train import Accepted

    if len(accept) != len(because):
        raise UsageError(
            f"{len(accept)} times --accept and {len(because)} times --because: each needs the other",
            hint='--accept PG701 --because "the reason that will be written down"',
        )
    return [Accepted(*pair) for pair in zip(accept, because, strict=True)]


def reading_of(depth: DataDepth | None, progress: Progress) -> Reading:
    """The reading that was asked for, or else the headers of every case and, where possible, the values of a few."""
    from plansguard.cli.check import pool_of
    from plansguard.commands.train import possible_depth
    from plansguard.subjects.request import Reading

    wanted = DataDepth(possible_depth()) if depth is None else depth
    return Reading(wanted.value, pool=pool_of(wanted, None, progress))


def pass_or_exit(
    report: Report,
    outputs: Sequence[tuple[str, Path | None]],
    accepted: Sequence[Accepted],
    fail_on: Severity,
    *,
    tells: bool = True,
) -> None:
    """Show the report and what follows from it; typer.Exit where it keeps the gate closed.

    Without ``tells`` nothing is shown: another process of the same training does it.
    """
    from plansguard.commands.train import idle

    code = report.exit_code(fail_on)
    if tells:
        emit(report, outputs)
        if code:
            _say_refusal()
        else:
            _say_verdict(report, idle(report, accepted))
    if code:
        raise typer.Exit(code)


def _say_refusal() -> None:
    """What can be done about findings that keep the gate closed."""
    typer.echo(
        "\nNothing was started. Mend what was found; what is meant can be let through with a reason: "
        '--accept CODE --because "...".',
        err=True,
    )


def _say_verdict(report: Report, idle: Sequence[Accepted]) -> None:
    """That the gate is open, and what was let through; on standard error, which job logs keep as well."""
    summary = report.summary()
    told = [counted(summary[name], name) for name in ("warning", "info") if summary[name]]
    told += [f"{summary['ignored']} accepted"] * bool(summary["ignored"])
    typer.echo(f"plansguard: fit to start ({', '.join(told) or 'no findings'})", err=True)
    for one in idle:
        typer.echo(printable(f"plansguard: {one.code} was accepted, but not found"), err=True)
