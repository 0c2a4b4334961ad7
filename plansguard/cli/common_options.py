"""What the commands share: options, output formats, error messages."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from plansguard.core.atomic_files import write_atomically
from plansguard.core.errors import PlansguardError, UnreadableDocument, UsageError
from plansguard.core.report import Report, Severity
from plansguard.documents import json_document
from plansguard.documents.file_names import SETTINGS_NAME
from plansguard.documents.recognise import recognise
from plansguard.render import FORMATS, printable, render
from plansguard.rules.engine.settings import ActiveSettings, read_settings

Outputs = Annotated[
    list[str],
    typer.Option(
        "--output",
        metavar="FORMAT[=PATH]",
        help="text, json or github; with =PATH into a file. Repeatable: one format on the screen, others in files.",
    ),
]
FailOn = Annotated[
    Severity | None,
    typer.Option(
        "--fail-on", help="The lowest severity that makes the exit code 1 (default: error, or the settings')."
    ),
]
SettingsFile = Annotated[
    Path | None,
    typer.Option("--settings", metavar="FILE", help="Settings other than the nearest plansguard.json."),
]


def parse_outputs(outputs: Sequence[str]) -> list[tuple[str, Path | None]]:
    """``["json=report.json"]`` as formats and paths; UsageError for an unknown format or two on the screen."""
    parsed: list[tuple[str, Path | None]] = []
    for output in outputs or ["text"]:
        name, equals, path = output.partition("=")
        if name not in FORMATS or (equals and not path):
            raise UsageError(f"--output {output} is not known", hint=f"formats: {', '.join(FORMATS)}, or FORMAT=PATH")
        if path and (kept := _kept(Path(path))):
            raise UsageError(f"--output {output} would replace {kept}", hint="give the report another name")
        parsed.append((name, Path(path) if path else None))
    if sum(path is None for _, path in parsed) > 1:
        raise UsageError(
            "only one --output can go to the screen", hint="give the others a file: --output json=report.json"
        )
    return parsed


def _kept(path: Path) -> str | None:
    """What a report at ``path`` would replace, if that is the settings or one of nnU-Net's documents."""
    if path.name == SETTINGS_NAME:
        return "the settings"
    try:
        kind = recognise(json_document.read(path).value)
    except UnreadableDocument:
        return None
    return f"a document ({kind})" if kind else None


def emit(report: Report, outputs: Sequence[tuple[str, Path | None]]) -> None:
    """Write the report in every format asked for."""
    for name, path in outputs:
        if path is None:
            typer.echo(render(report, name, color=use_color()), nl=False)
        elif path.exists() and not (path.is_file() or path.is_dir()):
            path.write_text(render(report, name), encoding="utf-8")  # a pipe or a device, such as /dev/null: not ours
        else:
            write_atomically(path, render(report, name).encode())


def use_color() -> bool:
    """Whether the screen wants colour: a terminal, and neither NO_COLOR nor a dumb one."""
    return (
        sys.stdout is not None
        and sys.stdout.isatty()
        and not os.environ.get("NO_COLOR")
        and os.environ.get("TERM") != "dumb"
    )


def load_settings(path: Path | None, places: Sequence[Path]) -> ActiveSettings:
    """The settings file that was named, else the nearest one."""
    from plansguard.commands.check import nearest_settings
    from plansguard.rules import RULES

    return nearest_settings(places) if path is None else read_settings(path, tuple(rule.info for rule in RULES))


def show_error(error: PlansguardError) -> None:
    """One message on standard error: where, what, and what to do next."""
    where = ""
    if isinstance(error, UnreadableDocument):
        place = f":{error.line}:{error.column}" if error.line is not None else ""
        where = f"{error.path}{place}: "
    typer.echo(f"plansguard: {printable(where + error.reason)}", err=True)
    if error.hint:
        typer.echo(f"  {printable(error.hint)}", err=True)
