"""Options, output formats and error messages that several commands share."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from typer import Option

from plansguard.core import disk
from plansguard.core.atomic_files import write_atomically
from plansguard.core.errors import PlansguardError, UnreadableDocument, UsageError
from plansguard.core.report import Report, Severity
from plansguard.documents import json_document
from plansguard.documents.file_names import SETTINGS_NAME
from plansguard.documents.recognise import recognise
from plansguard.render import FORMATS, printable, render
from plansguard.rules.engine.settings import ActiveSettings, read_settings

#: Formats and paths, as ``--output`` names them; a path of None is the screen.
OutputTargets = Sequence[tuple[str, Path | None]]

Datasets = Annotated[
    list[str] | None,
    Option("-d", "--dataset", metavar="ID_OR_NAME", help="A dataset below $nnUNet_preprocessed. Repeatable."),
]
Outputs = Annotated[
    list[str],
    Option(
        "--output",
        metavar="FORMAT[=PATH]",
        help="text, json or github; with =PATH into a file. Repeatable: one format on the screen, others in files.",
    ),
]
TextOrJson = Annotated[str, Option("--output", metavar="FORMAT", help="text or json.")]
FailOn = Annotated[
    Severity | None,
    Option("--fail-on", help="The lowest severity that makes the exit code 1 (default: error, or the settings')."),
]
SettingsFile = Annotated[
    Path | None, Option("--settings", metavar="FILE", help="Settings other than the nearest plansguard.json.")
]


def parse_outputs(outputs: Sequence[str]) -> OutputTargets:
    """Return ``["json=report.json"]`` as formats and paths.

    Raises UsageError for an unknown format, for two formats on the screen and for a path that must not be replaced.
    """
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


def assert_text_or_json(output: str, command: str) -> None:
    """Raise UsageError for any other format."""
    if output not in ("text", "json"):
        raise UsageError(f"--output {output} is not known to {command}", hint="formats: text, json")


def text_on_screen(outputs: OutputTargets) -> bool:
    """Whether the report is printed as text, so that more text may be printed beside it."""
    return ("text", None) in outputs


def _kept(path: Path) -> str | None:
    """What a report at ``path`` would replace, if that is the settings or one of nnU-Net's documents."""
    if path.name == SETTINGS_NAME:
        return "the settings"
    try:
        kind = recognise(json_document.read(path).value)
    except UnreadableDocument:
        return None
    return f"a document ({kind})" if kind else None


def emit(report: Report, outputs: OutputTargets) -> None:
    """Write the report in every format asked for."""
    for name, path in outputs:
        if path is None:
            typer.echo(render(report, name, color=use_color()), nl=False)
        elif disk.is_special(path):
            path.write_text(render(report, name), encoding="utf-8")  # a pipe or a device, such as /dev/null
        else:
            write_atomically(path, render(report, name).encode())


def use_color() -> bool:
    """Whether the screen shows colour: it is a terminal, NO_COLOR is not set, TERM is not dumb."""
    return (
        sys.stdout is not None
        and sys.stdout.isatty()
        and not os.environ.get("NO_COLOR")
        and os.environ.get("TERM") != "dumb"
    )


def load_settings(path: Path | None, places: Sequence[Path]) -> ActiveSettings:
    """Return the settings in the file ``path``, else the nearest ones."""
    from plansguard.commands.check import nearest_settings
    from plansguard.rules import RULES

    return nearest_settings(places) if path is None else read_settings(path, tuple(rule.info for rule in RULES))


def print_line(line: str, *, err: bool = False) -> None:
    """Print one line; names in it come from files and must not control the terminal."""
    typer.echo(printable(line), err=err)


def show_error(error: PlansguardError) -> None:
    """Print an error on standard error: place, reason and hint."""
    where = ""
    if isinstance(error, UnreadableDocument):
        place = f":{error.line}:{error.column}" if error.line is not None else ""
        where = f"{error.path}{place}: "
    print_line(f"plansguard: {where}{error.reason}", err=True)
    if error.hint:
        print_line(f"  {error.hint}", err=True)
