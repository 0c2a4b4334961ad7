"""Options, output formats and error messages that several commands share."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from functools import partial
from pathlib import Path
from typing import Annotated, Any, TextIO

import typer
from typer import Option

from plansguard.core import disk
from plansguard.core.atomic_files import append, assert_writable, write_atomically
from plansguard.core.errors import PlansguardError, UnreadableDocument, UsageError, WriteRefused
from plansguard.core.report import Report, Severity
from plansguard.core.text import listed
from plansguard.documents.file_names import SETTINGS_NAME
from plansguard.render import FORMATS, Screen, is_report, printable, render
from plansguard.render.columns import wrapped
from plansguard.rules.engine.settings import ActiveSettings, read_settings

#: The format with figures.
HTML = "html"
#: The path that names the screen.
SCREEN = "-"
_STREAMS = ("/dev/stdout", "/dev/stderr")
#: Columns between which lines of text are wrapped.
_NARROWEST, _WIDEST = 40, 100
_STANDARD_OUTPUT = ("/dev/stdout", "/dev/fd/1", "/proc/self/fd/1")
_DESCRIPTORS = ("/dev/fd", "/proc/self/fd")

Datasets = Annotated[
    list[str] | None,
    Option("-d", "--dataset", metavar="ID_OR_NAME", help="A dataset below $nnUNet_preprocessed. Repeatable."),
]
Outputs = Annotated[
    list[str],
    Option(
        "--output",
        metavar="FORMAT[=PATH]",
        help="text, concise, json, markdown, github, gitlab, sarif, junit or html; with =PATH into a file (- is the "
        "screen). Repeatable: one format on the screen, others in files.",
    ),
]
TextOrJson = Annotated[
    list[str], Option("--output", metavar="FORMAT[=PATH]", help="text or json; with =PATH into a file. Repeatable.")
]
TextJsonOrHtml = Annotated[
    list[str],
    Option("--output", metavar="FORMAT[=PATH]", help="text, json or html; with =PATH into a file. Repeatable."),
]
AsJson = Annotated[bool, Option("--json", help="The same as --output json.")]
Verbose = Annotated[bool, Option("--verbose", help="List each check that was not possible, and where.")]
Quiet = Annotated[bool, Option("--quiet", "-q", help="Print the findings only.")]
FailOn = Annotated[
    Severity | None,
    Option("--fail-on", help="The lowest severity that makes the exit code 1 (default: error, or the settings')."),
]
SettingsFile = Annotated[
    Path | None,
    Option("--settings", metavar="FILE", help="Settings other than the nearest plansguard.json or pyproject.toml."),
]


class Resume(str, Enum):
    """The values of --resume."""

    AUTO = "auto"


@dataclass(frozen=True)
class OutputTargets:
    """Formats and paths, as ``--output`` names them (a path of None is the screen), and how much text is printed."""

    files: Sequence[tuple[str, Path | None]]
    verbose: bool = False
    quiet: bool = False

    @property
    def text_on_screen(self) -> bool:
        """Whether the report is printed as text, so that more text may be printed beside it."""
        return ("text", None) in self.files and not self.quiet

    @property
    def text_in_file(self) -> bool:
        """Whether the text goes into a file."""
        return any(name == "text" and path is not None for name, path in self.files)


def at_least(least: float) -> Callable[[typer.Context, typer.CallbackParam, float | None], float | None]:
    """Return the callback of an option that refuses smaller numbers; help has no text for typer's own ranges."""

    def checked(context: typer.Context, option: typer.CallbackParam, value: float | None) -> float | None:
        if context.resilient_parsing or value is None or value >= least:
            return value
        raise UsageError(f"{option.opts[-1]} {value:g} is too small", hint=f"at least {least:g}")

    return checked


def weights_option(help_text: str) -> Any:
    """Return the option that names a checkpoint, spelt as nnU-Net does; each command does something else with it."""
    return Option("-pretrained_weights", "--weights", metavar="CHECKPOINT", help=help_text)


def parse_outputs(
    outputs: Sequence[str], formats: Collection[str] = FORMATS, *, verbose: bool = False, quiet: bool = False
) -> OutputTargets:
    """Return ``["json=report.json"]`` as formats and paths.

    Raises UsageError for an unknown format, for two formats on the screen or in one file, for a file that no report may
    replace, and for ``--verbose`` together with ``--quiet``.
    """
    if verbose and quiet:
        raise UsageError("--verbose and --quiet exclude each other", hint="leave one of the two out")
    parsed: list[tuple[str, Path | None]] = []
    for output in outputs or ["text"]:
        name, equals, path = output.partition("=")
        if name not in formats or (equals and not path):
            raise UsageError(f"--output {output} is not known", hint=f"formats: {', '.join(formats)}, or FORMAT=PATH")
        target = Path(path) if path not in ("", SCREEN) and not _is_screen(Path(path)) else None
        if target is not None:
            _assert_free(target, output, [other for _, other in parsed if other is not None])
        if name == HTML:
            from plansguard.render.html.page import assert_possible

            assert_possible()
        parsed.append((name, target))
    on_screen = [path for _, path in parsed if path is None or disk.is_standard_output(path)]
    if len(on_screen) > 1:
        raise UsageError(
            "only one --output can go to the screen", hint="give the others a file: --output json=report.json"
        )
    return OutputTargets(parsed, verbose, quiet)


def text_or_json(
    outputs: Sequence[str], *, as_json: bool = False, html: bool = False, verbose: bool = False
) -> OutputTargets:
    """Return the outputs of a command that makes no report, as `parse_outputs` does.

    ``as_json`` is ``--json``; ``html`` is whether the command has a page.
    """
    formats = ("text", "json", HTML) if html else ("text", "json")
    return parse_outputs([*outputs, *(["json"] if as_json else [])], formats, verbose=verbose)


def assert_not_mixed(outputs: OutputTargets) -> None:
    """Raise UsageError for a report for programs on the screen, where a command that is started prints as well."""
    if any(name != "text" and path is None for name, path in outputs.files):
        raise UsageError(
            "on the screen, a report for programs would be mixed with what the command prints",
            hint="give it a file, such as --output json=report.json, or add --dry-run",
        )


def _assert_free(path: Path, output: str, others: Sequence[Path]) -> None:
    """Raise UsageError unless a report may be written to ``path``."""
    if path.name == SETTINGS_NAME:  # the next check would take the report for settings
        raise UsageError(f"--output {output} would replace the settings", hint="give the report another name")
    if any(disk.are_same(path, other) for other in others):
        raise UsageError(
            f"--output {output}: another report goes to {path} as well", hint="give each a name of its own"
        )
    if _is_stream(path):
        return
    try:
        assert_writable(path, is_report)
    except WriteRefused as refused:
        raise UsageError(f"--output {output}: {refused.reason}", hint=refused.hint) from refused


def _is_stream(path: Path) -> bool:
    """Whether a path is a pipe, a device, or an open file by its number: it is written to, not replaced."""
    return disk.is_special(path) or str(path) in _STREAMS or str(path.parent) in _DESCRIPTORS


def _is_screen(path: Path) -> bool:
    """Whether a path is another name of standard output, which is not a file of its own."""
    return str(path) in _STANDARD_OUTPUT or (disk.is_special(path) and disk.is_standard_output(path))


def page(kind: str, *subjects: Any, **options: Any) -> Callable[[], str]:
    """Return what makes the page ``of_<kind>`` of html_page, a module that is slow to import and rarely needed."""

    def made() -> str:
        from plansguard.cli import html_page

        text: str = getattr(html_page, f"of_{kind}")(*subjects, **options)
        return text

    return made


def emit(report: Report, outputs: OutputTargets, as_page: Callable[[], str] | None = None) -> None:
    """Write the report in every format asked for, as `emit_rendered` does; ``as_page`` returns that of the command."""
    emit_rendered(outputs, partial(render, report), as_page or page("report", report))


def emit_text_or_json(
    outputs: OutputTargets,
    text: Callable[[Screen], str],
    as_json: Callable[[], str],
    as_page: Callable[[], str] | None = None,
) -> None:
    """Write what is no report as text, as JSON or as a page, as `emit_rendered` does."""
    emit_rendered(outputs, lambda name, screen: as_json() if name == "json" else text(screen), as_page)


def emit_rendered(
    outputs: OutputTargets, rendered: Callable[[str, Screen], str], as_page: Callable[[], str] | None = None
) -> None:
    """Write every format asked for; where one file cannot be written, the others still are.

    ``as_page`` returns the page, ``rendered`` the text of any other format.

    WriteRefused names the files that were not written, and those that were.
    """
    written: list[str] = []
    refusals: list[WriteRefused] = []
    on_file = Screen(verbose=outputs.verbose, quiet=outputs.quiet)

    def content_for(name: str, screen: Screen) -> str:
        return as_page() if name == HTML and as_page is not None else rendered(name, screen)

    for name, path in outputs.files:
        if path is None:
            on_screen = replace(on_file, color=use_color(), width=screen_width())
            typer.echo(content_for(name, on_screen), nl=False)
            continue
        content = content_for(name, on_file).encode()
        try:
            append(path, content) if _is_stream(path) else write_atomically(path, content, is_report)
            written.append(str(path))
        except WriteRefused as refused:
            refusals.append(refused)
    if refusals:
        reason = "; ".join(refused.reason for refused in refusals)
        if written:
            reason += f"; written: {listed(written)}"
        raise WriteRefused(reason, hint=refusals[0].hint)


def use_color() -> bool:
    """Whether the screen shows colour: it is a terminal, NO_COLOR is not set, TERM is not dumb."""
    return (
        sys.stdout is not None
        and sys.stdout.isatty()
        and not os.environ.get("NO_COLOR")
        and os.environ.get("TERM") != "dumb"
    )


def screen_width(stream: TextIO | None = None) -> int | None:
    """The columns of the terminal, 100 at most; None where the output is no terminal and lines are not wrapped."""
    stream = stream or sys.stdout
    if stream is None or not stream.isatty():
        return None
    return max(_NARROWEST, min(shutil.get_terminal_size().columns, _WIDEST))


def load_settings(path: Path | None, places: Sequence[Path]) -> ActiveSettings:
    """Return the settings in the file ``path``, else the nearest ones."""
    if path is None:
        from plansguard.commands.check import nearest_settings

        return nearest_settings(places)
    from plansguard.rules import RULES

    return read_settings(path, tuple(rule.info for rule in RULES))


def print_line(line: str, *, err: bool = False) -> None:
    """Print one line; names in it come from files and must not control the terminal."""
    typer.echo(printable(line), err=err)


def print_next(commands: Iterable[str], title: str = "Next", *, err: bool = False) -> None:
    """Print what to type next, if anything; nothing within a road, which continues with its own next step."""
    from plansguard.subjects.road import IN_ROAD

    lines = [*commands]
    if lines and IN_ROAD not in os.environ:
        typer.echo(f"\n{title}:", err=err)
        for line in lines:
            print_line(f"  {line}", err=err)


def print_wrapped(text: str, *, hanging: int = 0, err: bool = False) -> None:
    """Print a text, on a terminal wrapped at words to its width; later lines have ``hanging`` blanks before them."""
    stream = sys.stderr if err else sys.stdout
    for line in wrapped(printable(text), screen_width(stream), hanging=" " * hanging):
        typer.echo(line, err=err)


def is_typed(context: typer.Context, name: str) -> bool:
    """Whether the parameter of this name was typed."""
    source = context.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"


def typed_words(context: typer.Context, names: Collection[str]) -> Iterator[str]:
    """The options of a command that were typed, by the names of their parameters, with their values."""
    for parameter in context.command.params:
        name = parameter.name or ""
        if name not in names or not is_typed(context, name):
            continue
        values = context.params[name]
        for value in values if isinstance(values, list | tuple) else [values]:
            yield parameter.opts[0]
            if not isinstance(value, bool):
                yield f"{value:.15g}" if isinstance(value, float) else str(getattr(value, "value", value))


def show_error(error: PlansguardError) -> None:
    """Print an error on standard error: place, reason and hint."""
    where = ""
    if isinstance(error, UnreadableDocument):
        place = f":{error.line}:{error.column}" if error.line is not None else ""
        where = f"{error.path}{place}: "
    print_wrapped(f"plansguard: {where}{error.reason}", hanging=2, err=True)
    if error.hint:
        print_wrapped(f"  {error.hint}", hanging=2, err=True)
