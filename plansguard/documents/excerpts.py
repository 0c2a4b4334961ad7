"""The line of a document around a value, for reports. ``json_document`` imports it only where there is a finding."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any, NamedTuple

from plansguard.core.report import Excerpt
from plansguard.documents.json_scanner import Node, position_at

#: Characters of a list that is joined to one line.
_LONGEST_LIST = 72
#: Characters of a line; of longer ones, the part around the value.
_LONGEST_LINE = 400
#: Characters that are read of a value, with the blanks of a list of lists that is written over many lines.
_LONGEST_VALUE = 4000
_BLANKS = " \t\r\n"
_READER = json.JSONDecoder()
_LINE_END = re.compile(r"[\r\n]")


class _Span(NamedTuple):
    """A value in a text, as offsets."""

    start: int
    end: int


def of_json(text: str, root: Node, value: Any, path: Sequence[str], lines: list[int]) -> Excerpt | None:
    """The excerpt around the value at a path; None where there is none, and for a value of many lines."""
    node, start, parent = root, root.place, None
    for token in path:
        if token not in node.children:
            return None
        in_object = isinstance(value, dict)
        value = value[token] if in_object else value[int(token)]
        parent, node = (None if in_object else start), node.children[token]
        start = _value_of_key(text, node.place) if in_object else node.place
    span = _span(text, start)
    around = None if parent is None else _span(text, parent)
    whole = around if around is not None and _fits_a_line(text, around) else span
    if _is_on_one_line(text, whole):
        return _line(text, lines, span)
    return _joined(text, lines, whole, span) if text[whole.start] == "[" and _fits_a_line(text, whole) else None


def of_line(text: str, lines: list[int], start: int, length: int) -> Excerpt:
    """The excerpt of the line at an offset, with the mark under these characters."""
    return _line(text, lines, _Span(start, start + length))


def _end(text: str, start: int) -> int:
    return _READER.raw_decode(text, start)[1]


def _span(text: str, start: int) -> _Span:
    """The span of a value, or of its beginning: a long one is read no further, because thousands may be asked for."""
    part = text[start : start + _LONGEST_VALUE]
    try:
        return _Span(start, start + _end(part, 0))
    except ValueError:
        return _Span(start, start + len(part))


def _value_of_key(text: str, place: int) -> int:
    """The offset of the value of the key at ``place``."""
    return _skip(text, _skip(text, _end(text, place)) + 1)


def _skip(text: str, at: int) -> int:
    """The offset of what comes after blanks."""
    while text[at] in _BLANKS:
        at += 1
    return at


def _is_on_one_line(text: str, span: _Span) -> bool:
    return not _LINE_END.search(text, span.start, span.end)


def _fits_a_line(text: str, span: _Span) -> bool:
    """Whether a list is short without its line ends."""
    return len(" ".join(text[span.start : span.end].split())) <= _LONGEST_LIST


def _joined(text: str, lines: list[int], whole: _Span, marked: _Span) -> Excerpt:
    """The line that a list would have without line ends, with the mark under it or an item of it."""
    at = position_at(lines, whole.start)
    before = text[lines[at.line - 1] : whole.start]
    parts = (text[whole.start : marked.start], text[marked.start : marked.end], text[marked.end : whole.end])
    head, middle, tail = (_without_line_ends(part) for part in parts)
    ends = text.find("\n", whole.end)
    rest = text[whole.end : ends if ends >= 0 else None].rstrip()
    return _cut(
        Excerpt(
            position_at(lines, marked.start).line, before + head + middle + tail + rest, len(before + head), len(middle)
        )
    )


def _without_line_ends(part: str) -> str:
    """A part of a list on one line: blanks only between the items."""
    lines = [line.strip() for line in _LINE_END.split(part)]
    joined = " ".join(lines) if len(lines) > 1 else part
    return joined.replace("[ ", "[").replace(" ]", "]")


def _line(text: str, lines: list[int], span: _Span) -> Excerpt:
    """The line of a value as it is, or the part of a long line around the value."""
    at = position_at(lines, span.start)
    start, end = lines[at.line - 1], lines[at.line] if at.line < len(lines) else len(text)
    first, last = max(start, span.start - _LONGEST_LINE), min(end, span.end + _LONGEST_LINE)
    line = text[first:last].rstrip("\r\n")
    return _cut(Excerpt(at.line, line, span.start - first, min(span.end - first, len(line)) - (span.start - first)))


def _cut(excerpt: Excerpt) -> Excerpt:
    """The part of a long line around the value."""
    line, text, start, length = excerpt
    if len(text) <= _LONGEST_LINE:
        return excerpt
    first = max(0, start - _LONGEST_LINE // 2)
    cut = text[first : first + _LONGEST_LINE]
    return Excerpt(line, cut, start - first, min(length, len(cut) - (start - first)))
