"""Output formats: pure functions from a Report to text. Each is imported only when it is asked for."""

from __future__ import annotations

from importlib import import_module

from plansguard.report import Report

#: format name -> module; each module has ``render(report, *, color) -> str``
FORMATS = {"text": "text", "json": "json", "github": "github"}


def render(report: Report, output_format: str, *, color: bool = False) -> str:
    """The report in one of FORMATS, ending in a newline. Only ``text`` knows colour."""
    module = import_module(f"plansguard.render.{FORMATS[output_format]}")
    return str(module.render(report, color=color))


def printable(text: str) -> str:
    """``text`` with control characters spelled out: a file's content must not steer the terminal."""
    return "".join(char if char.isprintable() or char == "\n" else _escaped(char) for char in text)


def _escaped(char: str) -> str:
    return char.encode("unicode_escape").decode("ascii")


def counted(number: int, word: str) -> str:
    """``1 error``, ``2 errors``."""
    return f"{number} {word}" if number == 1 else f"{number} {word}s"
