"""Output formats: pure functions from a Report to text, each imported only when needed."""

from __future__ import annotations

import io
from dataclasses import dataclass
from importlib import import_module
from json import dumps  # not `import json`: that is the module beside this one
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any

from plansguard.core import disk
from plansguard.core.report import Report
from plansguard.core.text import shortened

if TYPE_CHECKING:
    from pydantic import BaseModel

#: format name -> module; each module has ``render(report, screen) -> str``
FORMATS = {name: name for name in ("text", "concise", "json", "markdown", "github", "gitlab", "sarif", "junit", "html")}
#: Bytes in which the first and the last line of a report are recognised.
_LINE = 4096


@dataclass(frozen=True)
class Screen:
    """What text for people is written to, and how much of it: formats for programs ignore it.

    ``width`` is in columns; None where it is no terminal, so that lines are not wrapped.
    """

    color: bool = False
    width: int | None = None
    verbose: bool = False
    quiet: bool = False


def render(report: Report, output_format: str, screen: Screen | None = None) -> str:
    """Render the report in one of FORMATS. Every line ends in a newline; no findings may be no text at all."""
    module = import_module(f"plansguard.render.{FORMATS[output_format]}")
    return str(module.render(report, screen or Screen()))


def is_report(path: Path) -> bool:
    """Whether a file is a report or another text of plansguard by its first and its last line, or is empty.

    Each format has the two lines as patterns, ``BEGINS`` and ``ENDS``. OSError if the file cannot be read.
    """
    with disk.open_file(path) as file:
        begin = file.read(_LINE)
        file.seek(max(0, file.seek(0, io.SEEK_END) - _LINE))
        end = file.read(_LINE)
    modules = [import_module(f"plansguard.render.{name}") for name in (*FORMATS.values(), "texts")]
    return not begin or any(module.BEGINS.match(begin) and module.ENDS.search(end) for module in modules)


def printable(text: str) -> str:
    """Return ``text`` on one line with control characters spelled out: content of files must not control the terminal.

    Nor may it begin a line, where GitHub Actions takes ``::`` for a command. Words that are longer than any path are
    shortened.
    """
    text = shortened(text)
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode("ascii") for char in text)


def json_text(document: BaseModel) -> str:
    """Return the document as indented JSON, in ASCII: every terminal shows it, and file names may have any byte."""
    return plain_json(document.model_dump(by_alias=True))


def plain_json(value: Any) -> str:
    """Return a value that no model describes as indented JSON."""
    return dumps(_finite(value), indent=2, default=str) + "\n"


def _finite(value: Any) -> Any:
    """``value`` with NaN and infinities, which JSON lacks, as text."""
    if isinstance(value, float):
        return value if isfinite(value) else dumps(value)
    if isinstance(value, dict):
        return {key: _finite(member) for key, member in value.items()}
    return [_finite(item) for item in value] if isinstance(value, (list, tuple)) else value
