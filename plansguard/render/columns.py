"""Lines of a terminal: their width in columns, and text wrapped at words."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

#: A command in a text, up to the next clause.
COMMAND = r"(?:[A-Za-z_]+=\S+ ){0,3}(?:plansguard|nnUNetv2_\w+|pip3?|export|git) [^;,()]*[^;,()\s.]"
#: What is never divided: a command, so that it can be copied; a short list; any other word. With the blanks before it.
_WORD = re.compile(rf"( *)({COMMAND}[;,]?|(?:\[[^\[\]]{{1,40}}\]|\S)+)")

_LEFT_OUT = "... "
#: Categories of characters that are drawn over the one before.
_NO_WIDTH = ("Mn", "Me")


def display_width(text: str) -> int:
    """The number of columns of a text: two for a wide character of East Asia, none for a combining one."""
    if text.isascii():
        return len(text)
    from unicodedata import category, east_asian_width

    return sum(0 if category(char) in _NO_WIDTH else 2 if east_asian_width(char) in "WF" else 1 for char in text)


def padded(text: str, width: int) -> str:
    """The text with blanks behind it, so that it takes so many columns."""
    return text + " " * (width - display_width(text))


def cropped(before: str, value: str, after: str, width: int) -> tuple[str, str, str]:
    """The parts of a line around a value, in at most ``width`` columns; ``...`` stands for what is left out."""
    if display_width(before + value + after) <= width:
        return before, value, after
    value = _first(value, max(1, width - 2 * len(_LEFT_OUT)))
    room = width - display_width(value)
    after_room = max(room // 2, room - display_width(before))
    if display_width(after) > after_room:
        after = _first(after, after_room - len(_LEFT_OUT)) + _LEFT_OUT[::-1]
    before_room = room - display_width(after)
    if display_width(before) > before_room:
        before = _LEFT_OUT + _first(before[::-1], before_room - len(_LEFT_OUT))[::-1]
    return before, value, after


def _first(text: str, width: int) -> str:
    """The first characters of a text, in at most so many columns."""
    used = 0
    for index, char in enumerate(text):
        used += display_width(char)
        if used > width:
            return text[:index]
    return text


def wrapped(text: str, width: int | None, indent: str = "", *, hanging: str | None = None) -> list[str]:
    """The text in lines of at most ``width`` columns, wrapped between words; one line where the width is None.

    The first line has the indent, the others have ``hanging``. A word or a command that is longer than the width has a
    line of its own, so that it can be copied.
    """
    if width is None or display_width(indent + text) <= width:
        return [indent + text]
    return [*_lines(text.rstrip(" "), width, indent, indent if hanging is None else hanging)]


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """The rows as lines, with each cell but the last padded to the widest of its column."""
    widths = [max(map(display_width, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(padded(cell, width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def _lines(text: str, width: int, indent: str, hanging: str) -> Iterator[str]:
    line = ""
    for blanks, word in _WORD.findall(text):
        if not line:
            line = indent + blanks + word
        elif display_width(line + blanks + word) <= width:
            line += blanks + word
        else:
            yield line
            line = hanging + word
    yield line
