"""The slow scan of a JSON text: the place of every part, and readable messages for syntax errors.

``json_document`` imports it only for documents that cannot be parsed, and to find places.
"""

from __future__ import annotations

import json
import math
import re
from bisect import bisect_right
from typing import TYPE_CHECKING, NamedTuple

from plansguard.core.errors import UnreadableDocument

if TYPE_CHECKING:
    from collections.abc import Mapping

_BLANKS = " \t\n\r"
_NON_BLANK = re.compile(r"[^ \t\n\r]")
_WORD = re.compile(r"[-+.\w]+")  # wider than any JSON scalar, so that a misspelt one is matched whole
_INTEGER = re.compile(r"-?(?:0|[1-9][0-9]*)")
_REAL = re.compile(r"NaN|-?Infinity|-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?")
_CONSTANTS = ("true", "false", "null")
_CUT_ESCAPE = re.compile(r"\\(?:u[0-9a-fA-F]{0,3})?\Z")
_CLOSERS = {"{": "}", "[": "]"}
_STRING_READER = json.JSONDecoder()
#: How many characters of the file a message repeats.
_SHOWN = 40

# Text that explains a syntax error better than what is missing there: pattern, reason, hint.
_STRAYS = (
    (r"#|//|/\*", "this is a comment", "remove it: JSON has no comments"),
    (r"<{7}|={7}|>{7}|\|{7}", "this is a git conflict marker", "resolve the merge conflict in this file"),
    (r"version https://git-lfs", "this is a Git LFS pointer, not the file", "fetch it with 'git lfs pull'"),
    (r"<[!?a-zA-Z]", "this is a web page or XML, not JSON", "download the raw file"),
    (r"\x00", "this is a NUL byte", "the file is damaged: fetch it again"),
    (r"['`\u00b4\u2018-\u201f]", "this is not a JSON quotation mark", 'use double quotes: "..."'),
    (r"\(", "this is a round bracket", "write lists in square brackets: [...]"),
)

# Words that are not JSON scalars: pattern, reason, hint. The first match counts; the last matches everything.
_BAD_WORDS = (
    (r"(True|False)\Z", "is Python, not JSON", "write it in lower case"),
    (r"None\Z", "is Python, not JSON", "write null"),
    (r"(?i:[-+]?(nan|inf|infinity))\Z", "is not a JSON number", "write a finite number or null"),
    (r"\+", "starts with a plus sign", "remove the plus sign"),
    (r"-?0[0-9]", "has a leading zero", "remove the leading zeros"),
    (r"-?\.[0-9]", "lacks a digit before the point", "write a zero before the point"),
    (r"-?[0-9]+\.(?![0-9])", "lacks a digit after the point", "write a zero after the point"),
    (r"[-.0-9]", "is not a JSON number", "correct the number, or put text in double quotes"),
    (r"", "has no quotes", "put text in double quotes"),
)

_UNCLOSED = ("the string is not closed on its line", 'write the closing " here, or \\n for a line break')
_CONTROL_FAULTS = {
    "\n": _UNCLOSED,
    "\r": _UNCLOSED,
    "\t": ("the string contains a raw tab", "write \\t instead"),
    "\0": ("the string contains a NUL byte", "the file is damaged: fetch it again"),
}
_LINE_END = re.compile(r"\r\n?|\n")


class Position(NamedTuple):
    """A place in a text: line and column, both 1-based, the column in characters."""

    line: int
    column: int


class Node(NamedTuple):
    """The place of a part of the document, as offsets into its text.

    ``place`` is that of the key, of the list item, or of the document's value; of duplicate keys, it is that of the
    last, and ``first`` that of the first. ``non_finite`` is a number that is not finite as written, otherwise empty.
    """

    place: int
    first: int
    non_finite: str
    children: Mapping[str, Node]


_NO_CHILDREN: Mapping[str, Node] = {}


def line_starts(text: str) -> list[int]:
    """The offsets at which the lines of a text start."""
    return [0, *(match.end() for match in _LINE_END.finditer(text))]


def position_at(line_starts: list[int], offset: int) -> Position:
    """The line and column of an offset."""
    line = bisect_right(line_starts, offset)
    return Position(line, offset - line_starts[line - 1] + 1)


def scan(text: str, path: str, max_depth: int) -> Node:
    """The place of every part of a JSON text.

    UnreadableDocument, with the place, for what ``json.loads`` refuses and for more than ``max_depth`` open brackets.
    """
    return _Scanner(text, path, max_depth).document()


class _Scanner:
    """Parse the same language as ``json.loads``, with places and messages.

    ``end`` is the offset right after the last token, ``at`` that of the next token, ``char`` its first character
    (empty at the end of the text), ``open`` the offsets of the brackets that are not yet closed. The methods of the
    grammar advance past what they are named after, and raise UnreadableDocument for a syntax error; the methods
    below them describe the error.
    """

    def __init__(self, text: str, path: str, max_depth: int) -> None:
        self.text = text
        self.path = path
        self.max_depth = max_depth
        self.open: list[int] = []
        self.advance(0)

    def advance(self, end: int) -> None:
        token = _NON_BLANK.search(self.text, end)
        self.end = end
        self.at = token.start() if token else len(self.text)
        self.char = token.group() if token else ""

    # The grammar

    def document(self) -> Node:
        root = self.value(self.at, self.at)
        if self.at < len(self.text):
            raise self.more_text()
        return root

    def value(self, place: int, first: int) -> Node:
        if self.char in _CLOSERS:
            return Node(place, first, "", self.container())
        if self.char == '"':
            self.string()
            return Node(place, first, "", _NO_CHILDREN)
        return Node(place, first, self.scalar(), _NO_CHILDREN)

    def container(self) -> dict[str, Node]:
        start_child = self.key if self.char == "{" else self.index
        closer = _CLOSERS[self.char]
        self.open.append(self.at)
        if len(self.open) > self.max_depth:
            reason = f"the document is nested deeper than {self.max_depth} levels"
            raise self.fault(self.at, reason, "check that this is the file you mean")
        self.advance(self.at + 1)
        children: dict[str, Node] = {}
        while self.char != closer:
            if children:
                self.comma(closer, children)
            token, place, first = start_child(children)
            children[token] = self.value(place, first)
        self.open.pop()
        self.advance(self.at + 1)
        return children

    def key(self, siblings: dict[str, Node]) -> tuple[str, int, int]:
        """A key with its colon: the token of the next value, the place of the key, and that of the first such key."""
        place = self.at
        if self.char != '"':
            raise self.no_key()
        key = self.string()
        if self.char != ":":
            raise self.no_colon(key)
        self.advance(self.at + 1)
        return key, place, siblings.pop(key).first if key in siblings else place

    def index(self, siblings: dict[str, Node]) -> tuple[str, int, int]:
        """The same for the next item of a list, which has no key."""
        return str(len(siblings)), self.at, self.at

    def comma(self, closer: str, children: dict[str, Node]) -> None:
        comma = self.at
        if self.char != ",":
            raise self.no_comma(closer, children)
        self.advance(comma + 1)
        if self.char and self.char in ",]}":
            raise self.fault(comma, f"this comma is directly before '{self.char}'", "remove the comma")

    def string(self) -> str:
        try:
            value, end = _STRING_READER.raw_decode(self.text, self.at)
        except json.JSONDecodeError as error:
            raise self.bad_string(error.pos) from None
        self.advance(end)
        return str(value)

    def scalar(self) -> str:
        """The number as written if it is not finite; empty for other numbers and constants."""
        match = _WORD.match(self.text, self.at)
        word = match.group() if match else ""
        non_finite = ""
        if _INTEGER.fullmatch(word):
            self.check_integer(word)
        elif _REAL.fullmatch(word):
            non_finite = "" if math.isfinite(float(word)) else word
        elif word not in _CONSTANTS:
            raise self.bad_word(word) if word else self.no_value()
        self.advance(self.at + len(word))
        return non_finite

    def check_integer(self, word: str) -> None:
        try:
            int(word)
        except ValueError:
            reason = f"a number of {len(word)} digits is longer than Python reads"
            raise self.fault(self.at, reason, "shorten the number") from None

    # The faults

    def fault(self, at: int, reason: str, hint: str) -> UnreadableDocument:
        line, column = self.position(at)
        return UnreadableDocument(self.path, reason, hint=hint, line=line, column=column)

    def position(self, at: int) -> Position:
        return position_at(line_starts(self.text), at)

    def unexpected(self, at: int, reason: str, hint: str) -> UnreadableDocument:
        """The fault that the next token is not the expected one; the token itself may explain it better."""
        if not self.char:
            return self.cut_off()
        head = self.text[self.at : self.at + _SHOWN]
        for pattern, stray_reason, stray_hint in _STRAYS:
            if re.match(pattern, head):
                return self.fault(self.at, stray_reason, stray_hint)
        return self.fault(at, reason, hint)

    def cut_off(self) -> UnreadableDocument:
        end = len(self.text.rstrip(_BLANKS))
        if not self.open:
            what = "holds only blanks" if self.text else "is empty"
            return self.fault(end, f"the file {what}", "fetch or write it again")
        closer = _CLOSERS[self.text[self.open[-1]]]
        reason = f"the file ends before the {self.opening()} is closed"
        return self.fault(end, reason, f"fetch the whole file again, or write the missing '{closer}'")

    def opening(self) -> str:
        """The innermost open bracket and its position, for messages."""
        line, column = self.position(self.open[-1])
        return f"'{self.text[self.open[-1]]}' of line {line}, column {column}"

    def more_text(self) -> UnreadableDocument:
        if self.char in "]}":
            return self.fault(self.at, f"this '{self.char}' closes nothing", "remove it, or open it before")
        reason = "more text follows after the end of the document"
        return self.unexpected(self.at, reason, "keep one JSON document in the file")

    def no_key(self) -> UnreadableDocument:
        match = _WORD.match(self.text, self.at)
        reason = f"the key {match.group()[:_SHOWN]} has no quotes" if match else "a key is missing here"
        return self.unexpected(self.at, reason, "write a key in double quotes")

    def no_colon(self, key: str) -> UnreadableDocument:
        reason = f"a colon is missing after the key {_shown(key)}"
        return self.unexpected(self.end, reason, "write a colon and the value here")

    def no_comma(self, closer: str, children: dict[str, Node]) -> UnreadableDocument:
        if self.char and self.char in "]}":
            reason = f"this '{self.char}' does not close the {self.opening()}"
            return self.fault(self.at, reason, f"write '{closer}' first")
        last = next(reversed(children))
        if self.char in ('"', *_CLOSERS) or _WORD.match(self.text, self.at):
            after = f"the value of {_shown(last)}" if closer == "}" else f"item {len(children)} of the list"
            return self.unexpected(self.end, f"a comma is missing after {after}", "put a comma here")
        reason = f"{_shown(self.char)} is out of place in the {self.opening()}"
        return self.unexpected(self.at, reason, f"a comma or '{closer}' is expected here")

    def no_value(self) -> UnreadableDocument:
        if self.char in ",:]}":
            return self.unexpected(self.end, "a value is missing here", "write a value, or null")
        return self.unexpected(self.at, f"{_shown(self.char)} is out of place", "a value is expected here")

    def bad_word(self, word: str) -> UnreadableDocument:
        if self.open and self.at + len(word) == len(self.text):
            return self.cut_off()
        reason, hint = next((reason, hint) for pattern, reason, hint in _BAD_WORDS if re.match(pattern, word))
        return self.unexpected(self.at, f"{word[:_SHOWN]} {reason}", hint)

    def bad_string(self, at: int) -> UnreadableDocument:
        """The fault in the string that starts here; ``json`` found it at ``at``."""
        if at == self.at:
            return self.cut_string()
        char = self.text[at]
        if char < " ":
            escape = f"\\u{ord(char):04x}"
            other = (f"the string contains the control character {escape}", f"remove it or write {escape}")
            return self.fault(at, *_CONTROL_FAULTS.get(char, other))
        backslash = self.text.rindex("\\", self.at, at + 1)
        if _CUT_ESCAPE.match(self.text, backslash):
            return self.cut_string()
        return self.fault(backslash, "this backslash does not start a JSON escape", "write \\\\ for a backslash")

    def cut_string(self) -> UnreadableDocument:
        line, column = self.position(self.at)
        reason = f"the file ends inside the string of line {line}, column {column}"
        return self.fault(len(self.text), reason, "fetch the whole file again, or close the string")


def _shown(text: str) -> str:
    """Text of an untrusted file as a short quoted string."""
    return json.dumps(text if len(text) <= _SHOWN else text[:_SHOWN] + "...")
