"""The help of the program and of its commands, and the errors of words that they do not know."""

from __future__ import annotations

import gc
import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import typer.core

#: Heading of the last part of a command's docstring, one example a line.
_EXAMPLES = "\n\nExamples:\n"

#: Options of the commands that write or start something; the others read a file in their place.
_ACCEPTING = ("--accept", "--because")

#: Heading -> the commands below it, in this order.
GROUPS = {
    "The whole road": ("finetune", "status"),
    "Judge": ("check", "baseline", "fit", "gate", "doctor"),
    "Move": ("migrate", "derive", "extract", "adapt", "preprocess"),
    "Train": ("train", "steps", "env", "verify-receipt"),
    "Look up": ("report", "show", "diff", "rules", "explain", "schema"),
}


class HelpText(NamedTuple):
    """A docstring, divided."""

    text: str
    examples: tuple[str, ...]

    @property
    def epilog(self) -> str | None:
        """The examples as the last part of a help page, in which no line is wrapped."""
        if not self.examples:
            return None
        lines = ("Examples:", *(f"  {example}" for example in self.examples))
        return "\b\n" + "\n".join(lines)


def help_of(function: Callable[..., Any]) -> HelpText:
    """Divide the docstring of a command into its text and its examples."""
    text, _, examples = inspect.cleandoc(function.__doc__ or "").partition(_EXAMPLES)
    return HelpText(text, tuple(line.strip() for line in examples.splitlines()))


@contextmanager
def _harmless_errors() -> Iterator[None]:
    """Spell out control characters of typed words in the messages of typer, which repeat them."""
    try:
        yield
    except Exception as error:
        message, is_help = getattr(error, "message", None), type(error).__name__ == "NoArgsIsHelpError"
        if isinstance(message, str) and hasattr(error, "format_message") and not is_help:
            from plansguard.render import printable

            vars(error)["message"] = printable(message)
        raise


class Program(typer.core.TyperGroup):
    """The program, whose help lists the commands in groups, each with the whole first line of its text."""

    def make_context(self, *arguments: Any, **options: Any) -> Any:
        """Parse the words before the command."""
        with _harmless_errors():
            return super().make_context(*arguments, **options)

    def invoke(self, ctx: Any) -> Any:
        """Parse the words of the command, and run it. Garbage is collected from here on."""
        if not gc.isenabled():  # plansguard.__main__ disabled it
            gc.freeze()
            gc.enable()
        try:
            with _harmless_errors():
                return super().invoke(ctx)
        except Exception as error:
            name = ctx.invoked_subcommand
            if getattr(error, "option_name", None) in _ACCEPTING and name in self.commands:
                self._advise_settings(error, self.commands[name])
            if name in self.commands and getattr(error, "ctx", ctx) is None:
                # An option without its value: typer would not say how the command is used.
                vars(error)["ctx"] = type(ctx)(self.commands[name], info_name=name, parent=ctx)
            raise

    @staticmethod
    def _advise_settings(error: Exception, command: Any) -> None:
        """Say where a command without --accept reads what is accepted, if it is unknown and settings are read."""
        reads_settings = any("--settings" in parameter.opts for parameter in command.params)
        if hasattr(error, "possibilities") and reads_settings:
            advice = "this command reads accepted findings from plansguard.json (README, Accepting a finding)"
            vars(error).update(message=f"{vars(error)['message']}; {advice}", possibilities=None)

    def format_commands(self, ctx: Any, formatter: Any) -> None:  # noqa: ARG002 - typer calls it so
        """Write the groups of commands, in the same columns."""
        width = max(len(name) for name in self.commands)
        for heading, names in GROUPS.items():
            texts = {name: (self.commands[name].help or "").partition("\n")[0] for name in names}
            with formatter.section(heading):
                formatter.write_dl([(name.ljust(width), text) for name, text in texts.items()])
