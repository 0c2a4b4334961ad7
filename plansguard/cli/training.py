"""What ``plansguard train`` and ``plansguard gate`` share: options about the gate, and what it answers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from plansguard.cli.check import Depth as DataDepth
from plansguard.cli.progress import Progress
from plansguard.errors import UsageError
from plansguard.render import printable
from plansguard.report import Report
from plansguard.words import counted

if TYPE_CHECKING:
    from plansguard.gate import Accepted
    from plansguard.subject import Reading

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
    from plansguard.gate import Accepted

    if len(accept) != len(because):
        raise UsageError(
            f"{len(accept)} times --accept and {len(because)} times --because: each needs the other",
            hint='--accept PG701 --because "the reason that will be written down"',
        )
    return [Accepted(*pair) for pair in zip(accept, because, strict=True)]


def reading_of(depth: DataDepth | None, progress: Progress) -> Reading:
    """The reading that was asked for, or else the headers of every case and, where possible, the values of a few."""
    from plansguard.cli.check import pool_of
    from plansguard.gate import possible_depth
    from plansguard.subject import Reading

    wanted = DataDepth(possible_depth()) if depth is None else depth
    return Reading(wanted.value, pool=pool_of(wanted, None, progress))


def say_refusal() -> None:
    """After findings that keep the gate closed: what can be done about them."""
    typer.echo(
        "\nNothing was started. Mend what was found; what is meant can be let through with a reason: "
        '--accept CODE --because "...".',
        err=True,
    )


def say_verdict(report: Report, idle: Sequence[Accepted]) -> None:
    """That the gate is open, and what was let through; on standard error, which job logs keep as well."""
    summary = report.summary()
    told = [counted(summary[name], name) for name in ("warning", "info") if summary[name]]
    told += [f"{summary['ignored']} accepted"] * bool(summary["ignored"])
    typer.echo(f"plansguard: fit to start ({', '.join(told) or 'no findings'})", err=True)
    for one in idle:
        typer.echo(printable(f"plansguard: {one.code} was accepted, but not found"), err=True)
