"""Change one value in the text of a JSON document; every other byte stays as it is.

A replaced value keeps its indentation. A new member of an object is added at its end, written as the members before it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from copy import deepcopy
from json.encoder import encode_basestring, encode_basestring_ascii
from typing import Any, NamedTuple

from plansguard.documents.json_document import tokens

_BLANKS = re.compile(r"[ \t\r\n]*")
_INDENT = re.compile(r"[ \t]*")
_LINE_END = re.compile(r"\r\n|\n|\r")
_READER = json.JSONDecoder()
_OPENED_LIST = re.compile(r"\[[ \t\r\n]*[^\] \t\r\n]")


class _Member(NamedTuple):
    """A member of an object or an item of a list, as offsets: its key (of an item, itself), its value and its end."""

    token: str
    place: int
    start: int
    end: int


def with_value(raw: bytes, pointer: str, value: Any) -> bytes:
    """The document with ``value`` at ``pointer``; the last key of the pointer may be new.

    ``raw`` is valid JSON in UTF-8. Of duplicate keys the last is changed, since it is the one that counts. Raises
    KeyError where the pointer leads nowhere.
    """
    text = raw.decode("utf-8")
    old, path = json.loads(text), tokens(pointer)
    expected = _changed(old, path, value)
    changed = _Editor(text).edited(path, value).encode("utf-8")
    if json.dumps(json.loads(changed)) != json.dumps(expected):
        raise KeyError(pointer)
    return changed


def _changed(document: Any, path: Sequence[str], value: Any) -> Any:
    """A copy of the document with the value at the path; KeyError where it leads nowhere."""
    if not path:
        return value
    result = deepcopy(document)
    *parents, last = path
    part = result
    for token in parents:
        part = _child(part, token)
    if isinstance(part, dict):
        part[last] = value
    else:
        _child(part, last)
        part[int(last)] = value
    return result


def _child(part: Any, token: str) -> Any:
    if isinstance(part, dict) and token in part:
        return part[token]
    if isinstance(part, list) and token.isdecimal() and int(token) < len(part):
        return part[int(token)]
    raise KeyError(token)


class _Editor:
    """Edits of one text."""

    def __init__(self, text: str) -> None:
        self.text = text

    def edited(self, path: Sequence[str], value: Any) -> str:
        """The text with the value at the path."""
        start, end = self._span_of(path)
        if start < 0:
            return self._with_new_member(path, value)
        parts = [*self._parts(start, end, value)]
        text = self.text
        for first, last, new in reversed(parts):
            text = text[:first] + new + text[last:]
        return text

    def _span_of(self, path: Sequence[str]) -> tuple[int, int]:
        """Where the value at the path starts and ends; -1 where its parent has no such key."""
        start = self._skip(0)
        end = _READER.raw_decode(self.text, start)[1]
        for token in path:
            member = next((one for one in reversed(self._members(start)) if one.token == token), None)
            if member is None:
                return -1, -1
            start, end = member.start, member.end
        return start, end

    def _parts(self, start: int, end: int, value: Any) -> list[tuple[int, int, str]]:
        """What is replaced by what: of lists of the same length only the items that differ."""
        old = json.loads(self.text[start:end])
        if json.dumps(old) == json.dumps(value):  # True is 1 in Python, and the order of keys may have a meaning
            return []
        if isinstance(old, list) and isinstance(value, list) and len(old) == len(value):
            items = zip(self._members(start), value, strict=True)
            return [part for item, new in items for part in self._parts(item.start, item.end, new)]
        multiline = bool(_LINE_END.search(self.text, start, end)) if old else self._has_lists_over_lines()
        return [(start, end, self._written(value, self._indent(start), over_lines=multiline))]

    def _with_new_member(self, path: Sequence[str], value: Any) -> str:
        start, end = self._span_of(path[:-1])
        if start < 0 or self.text[start] != "{":
            raise KeyError(path[-1])
        members = self._members(start)
        key, over_lines = self._string(path[-1]), self._has_lists_over_lines()
        if not members:
            new = f"{{{key}: {self._written(value, self._indent(start), over_lines=False)}}}"
            return self.text[:start] + new + self.text[end:]
        last = members[-1]
        before = members[-2].end if len(members) > 1 else start + 1
        gap = self.text[before : last.place]  # a comma and blanks; only blanks after the opening bracket
        if len(members) == 1:
            gap = f",{gap}" if _LINE_END.search(gap) else ", "
        colon = self.text[last.place + self._length_of_key(last) : last.start]
        written = self._written(value, self._indent(last.place), over_lines=over_lines)
        return f"{self.text[: last.end]}{gap}{key}{colon}{written}{self.text[last.end :]}"

    def _members(self, start: int) -> list[_Member]:
        """The members of the object, or the items of the list, that starts here; none of another value."""
        members: list[_Member] = []
        opener = self.text[start]
        at = self._skip(start + 1)
        while opener in "[{" and self.text[at] not in "]}":
            if self.text[at] == ",":
                at = self._skip(at + 1)
            place, token = at, str(len(members))
            if opener == "{":
                key, at = _READER.raw_decode(self.text, at)
                token, at = str(key), self._skip(self._skip(at) + 1)
            end = _READER.raw_decode(self.text, at)[1]
            members.append(_Member(token, place, at, end))
            at = self._skip(end)
        return members

    def _length_of_key(self, member: _Member) -> int:
        return _READER.raw_decode(self.text, member.place)[1] - member.place

    def _skip(self, at: int) -> int:
        """The offset of the next character that is no blank."""
        match = _BLANKS.match(self.text, at)
        return match.end() if match else at

    # How values are written

    def _written(self, value: Any, indent: str, *, over_lines: bool) -> str:
        """A value as JSON, on one line or as ``json.dumps`` with an indent writes it."""
        if not isinstance(value, (list, dict)) or not value:
            return self._string(value) if isinstance(value, str) else json.dumps(value)
        ascii_only = self.text.isascii()
        if not over_lines:
            return json.dumps(value, ensure_ascii=ascii_only)
        line_end = _LINE_END.search(self.text)
        text = json.dumps(value, ensure_ascii=ascii_only, indent=self._unit())
        return text.replace("\n", f"{line_end[0] if line_end else ''}{indent}")

    def _string(self, text: str) -> str:
        """A string, with escapes where the rest of the document has no other characters than those of ASCII."""
        return encode_basestring_ascii(text) if self.text.isascii() else encode_basestring(text)

    def _indent(self, at: int) -> str:
        """The blanks at the start of the line that an offset is in."""
        line = max(self.text.rfind("\n", 0, at), self.text.rfind("\r", 0, at)) + 1
        match = _INDENT.match(self.text, line)
        return match[0] if match else ""

    def _unit(self) -> str:
        """The blanks of the first indented line: one level."""
        first = re.search(r"[\r\n]([ \t]+)", self.text)
        return first[1] if first else "    "

    def _has_lists_over_lines(self) -> bool:
        """Whether the first list that is not empty has its items on lines of their own."""
        first = _OPENED_LIST.search(self.text)
        return first is not None and _LINE_END.search(first[0]) is not None
