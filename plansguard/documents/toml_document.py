"""A TOML document with the lines of its keys, which Python's parser does not keep."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from plansguard.core.errors import UnreadableDocument
from plansguard.core.lazy import cached_property
from plansguard.core.report import Excerpt
from plansguard.documents import excerpts
from plansguard.documents.json_document import MAX_BYTES, decode, read_bytes, tokens, too_large
from plansguard.documents.json_scanner import Position, line_starts, position_at

#: One token of a valid document; strings over several lines come before those of one line.
_TOKEN = re.compile(
    r"(?P<blank>[ \t]+|#[^\n]*)"
    r"|(?P<line_end>\r?\n)"
    r'|(?P<string>"""(?:\\.|[^\\])*?"{3,5}|\'\'\'.*?\'{3,5}|"(?:\\.|[^"\\\n])*"|\'[^\'\n]*\')'
    r"|(?P<bare>[A-Za-z0-9_-]+)"
    r"|(?P<other>.)",
    re.DOTALL,
)
#: The place at the end of the message of Python's parser.
_PLACE = re.compile(r" \(at (?:line (?P<line>\d+), column (?P<column>\d+)|end of document)\)$")

_Key = tuple[str, ...]


class TomlDocument:
    """A TOML text with its value."""

    def __init__(self, path: str, raw: bytes, text: str, value: dict[str, Any]) -> None:
        self.path = path
        self.raw = raw
        self.value = value
        self._text = text

    def position(self, pointer: str) -> Position | None:
        """The position of the key at a JSON pointer, or of the nearest table above it; None at the top."""
        path = tokens(pointer)
        places = (self._places.get(path[:length]) for length in range(len(path), 0, -1))
        return next((place for place in places if place is not None), None)

    def excerpt(self, pointer: str) -> Excerpt | None:
        """The line of that key, with the mark under its first word; None at the top."""
        position = self.position(pointer)
        if position is None:
            return None
        start = self._lines[position.line - 1] + position.column - 1
        token = _TOKEN.match(self._text, start)
        return excerpts.of_line(self._text, self._lines, start, len(token[0]) if token else 1)

    @cached_property
    def _lines(self) -> list[int]:
        """The offsets at which lines start."""
        return line_starts(self._text)

    @cached_property
    def _places(self) -> Mapping[_Key, Position]:
        """The first position of every table, key, and item of a list that stands behind a key."""
        places = dict[_Key, Position]()
        for key, offset in _keys(self._text):
            places.setdefault(key, position_at(self._lines, offset))
        return places


def read(path: Path) -> TomlDocument:
    """The document in this file; UnreadableDocument, with the place, where it cannot be read."""
    return parse(read_bytes(path), str(path))


def parse(raw: bytes, path: str) -> TomlDocument:
    """The document in these bytes; ``path`` only names it. UnreadableDocument where it is no TOML."""
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib

    if len(raw) > MAX_BYTES:
        raise too_large(path, MAX_BYTES)
    text = decode(raw, path)
    try:
        return TomlDocument(path, raw, text, tomllib.loads(text))
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        place = _PLACE.search(str(error))
        line, column = position_at(line_starts(text), len(text))
        if place and place["line"]:
            line, column = int(place["line"]), int(place["column"])
        reason = f"this is no TOML: {_PLACE.sub('', str(error))}"
        raise UnreadableDocument(path, reason, hint="correct the syntax", line=line, column=column) from error


def _keys(text: str) -> Iterator[tuple[_Key, int]]:
    """Yield the keys of a valid document with their offsets: headers of tables, keys, and items of their lists."""
    table: _Key = ()
    counts: dict[_Key, int] = {}
    for statement in _statements(text):
        first = statement[0]
        if first[1] == "[":
            is_list = statement[1][1] == "["
            name = _name(token for token in statement if token[1] not in "[]")
            table = _current(name[:-1], counts) + name[-1:]
            if is_list:
                counts[table] = counts.get(table, -1) + 1
                yield table, first[0]
                table = (*table, str(counts[table]))
            yield table, first[0]
            continue
        equals = next(index for index, token in enumerate(statement) if token[1] == "=")
        parts = _name(statement[:equals])
        for length in range(1, len(parts) + 1):
            yield table + parts[:length], first[0]
        yield from _items(table + parts, statement[equals + 1 :])


def _current(name: _Key, counts: Mapping[_Key, int]) -> _Key:
    """The key of a table, with the number of the present item after the name of each list of tables."""
    result: _Key = ()
    for part in name:
        result = (*result, part)
        if result in counts:
            result = (*result, str(counts[result]))
    return result


def _statements(text: str) -> Iterator[list[tuple[int, str]]]:
    """Yield the tokens of every statement, with their offsets and without blanks."""
    statement: list[tuple[int, str]] = []
    depth = 0
    for match in _TOKEN.finditer(text):
        if match.lastgroup == "blank":
            continue
        if match.lastgroup != "line_end":
            statement.append((match.start(), match[0]))
            if match.lastgroup == "other":
                depth += (match[0] in "[{") - (match[0] in "]}")
        elif statement and not depth:
            yield statement
            statement = []
    if statement:
        yield statement


def _items(key: _Key, value: list[tuple[int, str]]) -> Iterator[tuple[_Key, int]]:
    """Yield the items of a list that is written in brackets."""
    depth, count, is_next = 0, 0, False
    for offset, token in value if value[0][1] == "[" else ():
        if is_next and token != "]":
            yield (*key, str(count)), offset
            count += 1
        depth += (token in "[{") - (token in "]}")
        is_next = depth == 1 and token in "[,"


def _name(parts: Any) -> _Key:
    """The keys of a dotted name."""
    words = [token for _, token in parts if token != "."]
    return tuple(word[1:-1] if word[0] in "\"'" else word for word in words)
