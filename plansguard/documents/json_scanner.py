"""The slow scan of a JSON text: where everything stands, and what is wrong in plain words.

Apart from jsondoc, which needs it only for documents that cannot be read or of which a place is asked.
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
_WORD = re.compile(r"[-+.\w]+")  # wider than any JSON scalar, so that a misspelt one is seen whole
_INTEGER = re.compile(r"-?(?:0|[1-9][0-9]*)")
_REAL = re.compile(r"NaN|-?Infinity|-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?")
_CONSTANTS = ("true", "false", "null")
_CUT_ESCAPE = re.compile(r"\\(?:u[0-9a-fA-F]{0,3})?\Z")
_CLOSERS = {"{": "}", "[": "]"}
_STRING_READER = json.JSONDecoder()
_SHOWN = 40
"""How many characters of the file a message may repeat."""

# What may stand where JSON expects something else, and explains the fault better than what is missing.
_STRAYS = (
    (r"#|//|/\*", "a comment stands here", "remove it: JSON has no comments"),
    (r"<{7}|={7}|>{7}|\|{7}", "a git conflict marker stands here", "resolve the merge conflict in this file"),
    (r"version https://git-lfs", "this is a Git LFS pointer, not the file", "fetch it with 'git lfs pull'"),
    (r"<[!?a-zA-Z]", "this is a web page or XML, not JSON", "download the raw file"),
    (r"\x00", "a NUL byte stands here", "the file is damaged: fetch it again"),
    (r"['`\u00b4\u2018-\u201f]", "this is not a JSON quotation mark", 'use double quotes: "..."'),
    (r"\(", "a round bracket stands here", "write lists in square brackets: [...]"),
)

# Words that are no JSON scalar; the first that matches counts, the last takes what is left.
_BAD_WORDS = (
    (r"(True|False)\Z", "is Python, not JSON", "write it in lower case"),
    (r"None\Z", "is Python, not JSON", "write null"),
    (r"(?i:[-+]?(nan|inf|infinity))\Z", "is not a JSON number", "write a finite number or null"),
    (r"\+", "starts with a plus sign", "remove the plus sign"),
    (r"-?0[0-9]", "starts with a zero too many", "remove the leading zeros"),
    (r"-?\.[0-9]", "lacks a digit before the point", "write a zero before the point"),
    (r"-?[0-9]+\.(?![0-9])", "lacks a digit after the point", "write a zero after the point"),
    (r"[-.0-9]", "is not a JSON number", "mend the number, or put text in double quotes"),
    (r"", "has no quotes", "put text in double quotes"),
)

_UNCLOSED = ("the string is not closed on its line", 'write the closing " here, or \\n for a line break')
_CONTROL_FAULTS = {
    "\n": _UNCLOSED,
    "\r": _UNCLOSED,
    "\t": ("a raw tab stands inside a string", "write \\t instead"),
    "\0": ("a NUL byte stands inside a string", "the file is damaged: fetch it again"),
}
_LINE_END = re.compile(r"\r\n?|\n")


class Position(NamedTuple):
    """A place in a text: line and column, both 1-based, the column in characters."""

    line: int
    column: int


class Node(NamedTuple):
    """Where a part of the document stands, as offsets into its text."""

    place: int
    """Of the key, of the list item, or of the document's value; of duplicate keys the last."""
    first: int
    """The same, but of duplicate keys the first."""
    non_finite: str
    """The number as written when it is not finite, else empty."""
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
    """Where every part of a JSON text stands.

    UnreadableDocument, with the place and in plain words, for what ``json.loads`` refuses and for more than
    ``max_depth`` open brackets.
    """
    return _Scanner(text, path, max_depth).document()


class _Scanner:
    """Reads the same language as ``json.loads``, but keeps places and can say what is wrong.

    ``end`` is the offset right after the last token, ``at`` that of the next one, ``char`` its first character
    (empty at the end of the text), ``open`` the offsets of the brackets not yet closed. The methods of the grammar
    step over what they are named after and raise UnreadableDocument for a fault; the methods below them put a
    fault into words.
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
        """A key with its colon: the token of the coming value, its place, and that of the first such key."""
        place = self.at
        if self.char != '"':
            raise self.no_key()
        key = self.string()
        if self.char != ":":
            raise self.no_colon(key)
        self.advance(self.at + 1)
        return key, place, siblings.pop(key).first if key in siblings else place

    def index(self, siblings: dict[str, Node]) -> tuple[str, int, int]:
        """The same for the coming item of a list, which nothing goes before."""
        return str(len(siblings)), self.at, self.at

    def comma(self, closer: str, children: dict[str, Node]) -> None:
        comma = self.at
        if self.char != ",":
            raise self.no_comma(closer, children)
        self.advance(comma + 1)
        if self.char and self.char in ",]}":
            raise self.fault(comma, f"a comma stands before '{self.char}'", "remove the comma")

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
            self.check_digits(word)
        elif _REAL.fullmatch(word):
            non_finite = "" if math.isfinite(float(word)) else word
        elif word not in _CONSTANTS:
            raise self.bad_word(word) if word else self.no_value()
        self.advance(self.at + len(word))
        return non_finite

    def check_digits(self, integer: str) -> None:
        try:
            int(integer)
        except ValueError:
            reason = f"a number of {len(integer)} digits is longer than Python reads"
            raise self.fault(self.at, reason, "shorten the number") from None

    # The faults

    def fault(self, at: int, reason: str, hint: str) -> UnreadableDocument:
        line, column = self.position(at)
        return UnreadableDocument(self.path, reason, hint=hint, line=line, column=column)

    def position(self, at: int) -> Position:
        return position_at(line_starts(self.text), at)

    def unexpected(self, at: int, reason: str, hint: str) -> UnreadableDocument:
        """The fault that the next token is not what it should be; the token itself may explain it better."""
        if not self.char:
            return self.cut_off()
        head = self.text[self.at : self.at + 40]
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
        """The innermost open bracket, in words."""
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
        """The fault in the string that starts here; ``at`` is where ``json`` met it."""
        if at == self.at:
            return self.cut_string()
        char = self.text[at]
        if char < " ":
            escape = f"\\u{ord(char):04x}"
            other = (f"the control character {escape} stands inside a string", f"remove it or write {escape}")
            return self.fault(at, *_CONTROL_FAULTS.get(char, other))
        backslash = self.text.rindex("\\", self.at, at + 1)
        if _CUT_ESCAPE.match(self.text, backslash):
            return self.cut_string()
        return self.fault(backslash, "this backslash starts no JSON escape", "write \\\\ for a backslash")

    def cut_string(self) -> UnreadableDocument:
        line, column = self.position(self.at)
        reason = f"the file ends inside the string of line {line}, column {column}"
        return self.fault(len(self.text), reason, "fetch the whole file again, or close the string")


def _shown(text: str) -> str:
    """Text of a stranger's file as one short quoted word."""
    return json.dumps(text if len(text) <= _SHOWN else text[:_SHOWN] + "...")
