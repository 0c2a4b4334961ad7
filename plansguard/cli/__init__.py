"""The command line: one module per command. Only this room reads arguments, prints and exits."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Annotated, TextIO

import typer
from typer import Option

from plansguard import __version__
from plansguard.cli.help_text import Program, help_of
from plansguard.core.errors import AT_A_LIMIT, PlansguardError, UsageError, is_limit

# Looking for plugins costs pydantic a tenth of a second at its first model; a check needs none.
_NO_PLUGINS = "PYDANTIC_DISABLE_PLUGINS"
#: Variables that are added here; a command that replaces this process does not get them.
ADDED_VARIABLES = () if _NO_PLUGINS in os.environ else (_NO_PLUGINS,)
os.environ.setdefault(_NO_PLUGINS, "__all__")

#: Exit codes of a program that SIGINT or SIGPIPE ends, as a shell reports them.
_INTERRUPTED, _BROKEN_PIPE = 128 + 2, 128 + 13

#: What could not be done where an error has no name: a write to a stream that is open, the start of a process.
_WITHOUT_NAME = {
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO), "cannot write the output"),
    errno.EAGAIN: "cannot start a process",
}
_AT_THIS_PLACE = "check this place, its permissions and its space; then try again"

#: A shell that completes words sets it to ``complete_`` and its own name.
COMPLETE_VARIABLE = "_PLANSGUARD_COMPLETE"

#: command -> the module in this package with the function of that name, with _ for -
COMMANDS = {
    "finetune": "finetune",
    "status": "status",
    "check": "check",
    "baseline": "baseline",
    "migrate": "migrate",
    "derive": "derive",
    "preprocess": "preprocess",
    "diff": "diff",
    "show": "show",
    "extract": "extract",
    "fit": "fit",
    "adapt": "adapt",
    "train": "train",
    "gate": "gate",
    "verify-receipt": "verify_receipt",
    "steps": "steps",
    "env": "env",
    "doctor": "doctor",
    "report": "report",
    "rules": "rules",
    "explain": "rules",
    "schema": "schema",
}


def build_app(arguments: Sequence[str] = ()) -> typer.Typer:
    """Return the application with the command named in ``arguments`` alone, or with all: each costs milliseconds."""
    app = typer.Typer(
        name="plansguard",
        cls=Program,
        help="Guard nnU-Net v2's plans: migrate them between datasets, check that they fit the data.",
        epilog="plansguard COMMAND --help explains a command and ends with examples.",
        no_args_is_help=True,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_options)
    for name in arguments[:1] if arguments[:1] and arguments[0] in COMMANDS else COMMANDS:
        module = import_module(f"plansguard.cli.{COMMANDS[name]}")
        function = getattr(module, name.replace("-", "_"))
        page = help_of(function)
        context = getattr(module, "CONTEXT", None)
        app.command(name, help=page.text, epilog=page.epilog, context_settings=context)(function)
    return app


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"plansguard {__version__}")
        raise typer.Exit


def _options(
    version: Annotated[
        bool, Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Options before the command."""


def _assert_current_folder() -> None:
    """Raise UsageError unless the current folder exists: relative paths start there."""
    try:
        Path.cwd()
    except FileNotFoundError:
        raise UsageError("the current folder does not exist any more", hint="cd to a folder that exists") from None


def _open_closed_streams() -> None:
    """Open what was closed (``>&-``), to nowhere: a file that is opened later must not become standard output."""
    for descriptor, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(descriptor)
        except OSError:
            opened = os.open(os.devnull, os.O_RDWR)
            if getattr(sys, name) is None:
                setattr(sys, name, os.fdopen(opened, "w" if descriptor else "r", encoding="utf-8"))


def main() -> None:
    """Run the console script. Every error that a user can cause ends in one message and exit code 2."""
    _open_closed_streams()
    streams = sys.stdout, sys.stderr
    for stream in streams:
        # A name that the terminal cannot encode must not end the program.
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    try:
        _run()
        code: str | int | None = 0
    except SystemExit as end:
        code = end.code
    except KeyboardInterrupt:
        code = _INTERRUPTED
    except OSError as error:  # the message of an error could not be written
        discard(sys.stderr)
        code = _BROKEN_PIPE if isinstance(error, BrokenPipeError) else 2
    if sys.stdout is not streams[0]:  # typer replaces both streams after EPIPE
        sys.stdout, sys.stderr = streams
        code = _BROKEN_PIPE
    sys.exit(_flushed(code))


def _run() -> None:
    if os.environ.get(COMPLETE_VARIABLE, "").startswith("complete_"):
        from plansguard.cli.completion import answer

        sys.exit(answer())
    try:
        _assert_current_folder()
        _run_command()
    except (PlansguardError, OSError, ImportError) as error:
        if isinstance(error, BrokenPipeError):
            sys.exit(_BROKEN_PIPE)
        from plansguard.cli.common_options import show_error

        if isinstance(error, ImportError):
            from plansguard.core.unusable_packages import unusable_package

            error = unusable_package(error)

        if not isinstance(error, PlansguardError):
            # A folder without permission, a name that is too long, a network drive that went away, a full disk.
            what = error.filename or _WITHOUT_NAME.get(error.errno or 0, "")
            reason = f"{what}: {error.strerror}" if what else error.strerror or str(error)
            hint = AT_A_LIMIT if is_limit(error) else _AT_THIS_PLACE if error.filename else ""
            error = PlansguardError(reason, hint=hint)
        show_error(error)
        sys.exit(2)


def _run_command() -> None:
    """Run the command; OSError or PlansguardError where Python has no memory or thread for it."""
    try:
        build_app(sys.argv[1:])(prog_name="plansguard")
    except MemoryError:
        raise OSError(errno.ENOMEM, os.strerror(errno.ENOMEM)) from None
    except RuntimeError as error:
        if not is_limit(error):
            raise
        raise PlansguardError("cannot start a thread", hint=AT_A_LIMIT) from None


def _flushed(code: str | int | None) -> str | int | None:
    """The exit code after the output was written: Python reports what fails later with a traceback."""
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream is not None:
                stream.flush()
        except BrokenPipeError:
            discard(stream)
            code = _BROKEN_PIPE
        except OSError as error:
            discard(stream)
            with suppress(OSError):
                print(f"plansguard: cannot write the output: {error.strerror}", file=sys.stderr, flush=True)
            code = 2
    return code


def discard(stream: TextIO) -> None:
    """Let what a stream still has to write go nowhere."""
    with suppress(OSError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
