"""Changes of files as a unified diff, which ``git apply -p0`` and ``patch`` read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from difflib import unified_diff
from pathlib import Path

from plansguard.render import printable

_NO_LINE_END = "\n\\ No newline at end of file\n"


def unified(changes: Iterable[tuple[Path, bytes, bytes]]) -> str:
    """Return the changes of files, given by path and content before and after."""
    return "".join(part for path, before, after in changes for part in _of_file(path, before, after))


def _of_file(path: Path, before: bytes, after: bytes) -> Iterator[str]:
    name = printable(path.as_posix())
    old, new = (_lines(content) for content in (before, after))
    for line in unified_diff(old, new, name, name):
        if line.endswith("\n"):
            yield line
        else:
            yield f"{line}{_NO_LINE_END}"


def _lines(content: bytes) -> list[str]:
    """Lines with their ends; control characters are spelled out, except tabs and the ends of lines."""
    lines = content.decode("utf-8").split("\n")
    shown = [
        "\t".join(map(printable, line.removesuffix("\r").split("\t"))) + "\r" * line.endswith("\r") for line in lines
    ]
    return [f"{line}\n" for line in shown[:-1]] + [line for line in shown[-1:] if line]
