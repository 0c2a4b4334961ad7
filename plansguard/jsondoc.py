"""JSON documents as nnU-Net reads them, plus what ``json.load`` forgets: oddities, places and plain words.

``json`` stays the reader, so that a value here is the value nnU-Net sees. A second, slower scan of the text
runs only when it is needed: to explain a refusal, to list oddities once one was noticed, or to turn a JSON
pointer (RFC 6901) into a line and a column.
"""

from __future__ import annotations

import errno
import json
import math
import re
import stat
from bisect import bisect_right
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

from plansguard.errors import UnreadableDocument

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

MAX_BYTES = 64 * 1024**2
MAX_DEPTH = 200
"""How many brackets may be open at once."""


class Position(NamedTuple):
    """A place in a text: line and column, both 1-based, the column in characters."""

    line: int
    column: int


class Notice(NamedTuple):
    """Something that ``json.load`` accepts in silence."""

    kind: str
    """``duplicate-key`` or ``non-finite``."""
    pointer: str
    text: str
    """The key, or the number as written (``NaN``, ``1e400``)."""


class JsonDocument:
    """A JSON text with its value.

    ``notices`` stand in the order of the text, and only for what the value holds: nothing is said of what
    lies inside the overwritten one of two duplicate keys.
    """

    def __init__(self, path: str, raw: bytes, text: str, value: Any, *, odd: bool) -> None:
        self.path = path
        self.raw = raw
        self.value = value
        self._text = text
        self.notices: tuple[Notice, ...] = tuple(_notices(self._root, "", "")) if odd else ()

    def position(self, pointer: str) -> Position:
        """Where to look for this pointer: the key of an object's member, the value of a list's item.

        Of duplicate keys it is the last one, whose value counts. A pointer that leads nowhere gives the place
        of its nearest existing ancestor. ValueError for what is no JSON pointer.
        """
        return _position(self._lines, self._node(pointer).place)

    def first_position(self, pointer: str) -> Position:
        """As ``position``, but of duplicate keys the first one."""
        return _position(self._lines, self._node(pointer).first)

    def _node(self, pointer: str) -> _Node:
        node = self._root
        for token in tokens(pointer):
            if token not in node.children:
                break
            node = node.children[token]
        return node

    @cached_property
    def _root(self) -> _Node:
        return _Scanner(self._text, self.path).document()

    @cached_property
    def _lines(self) -> list[int]:
        return _line_starts(self._text)


def read(path: Path) -> JsonDocument:
    """The document in this file. UnreadableDocument if it cannot be opened, or ``parse`` refuses it."""
    return parse(read_bytes(path), str(path))


def read_bytes(path: Path) -> bytes:
    """What this file holds. UnreadableDocument if it cannot be opened, is no plain file, or is beyond MAX_BYTES."""
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):  # opening a pipe or a device could wait forever
            raise UnreadableDocument(str(path), f"this is {_file_type(status.st_mode)}", hint="name a JSON file")
        if status.st_size > MAX_BYTES:
            raise _too_large(str(path))
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)  # bounded: the file may have grown since
    except OSError as error:
        raise _unopened(path, error) from error
    if len(raw) > MAX_BYTES:
        raise _too_large(str(path))
    return raw


def parse(raw: bytes, path: str) -> JsonDocument:
    """The document in these bytes; ``path`` only names it.

    UnreadableDocument for everything ``json.load`` refuses, for more than MAX_BYTES, and for more than
    MAX_DEPTH levels.
    """
    if len(raw) > MAX_BYTES:
        raise _too_large(path)
    text = _decode(raw, path)
    odd = False

    def members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        nonlocal odd
        result = dict(pairs)
        odd = odd or len(result) != len(pairs)
        return result

    def constant(literal: str) -> float:
        nonlocal odd
        odd = True
        return float(literal)

    try:
        value = json.loads(text, object_pairs_hook=members, parse_constant=constant)
    except (ValueError, RecursionError) as error:
        _Scanner(text, path).document()  # raises, with the place and in plain words
        raise UnreadableDocument(path, f"Python cannot read this JSON: {error}") from error
    return JsonDocument(path, raw, text, value, odd=odd or _suspicious(value))


def dumps(value: Any) -> bytes:
    """The bytes that nnU-Net's ``save_json(value, file, sort_keys=False)`` writes."""
    return json.dumps(value, indent=4, sort_keys=False).encode("utf-8")


def pointer(*tokens: str | int) -> str:
    """The JSON pointer through these keys and indices, e.g. ``/configurations/2d/patch_size/0``."""
    return "".join("/" + str(token).replace("~", "~0").replace("/", "~1") for token in tokens)


def tokens(pointer: str) -> tuple[str, ...]:
    """The keys and indices a JSON pointer goes through. ValueError for what is no JSON pointer."""
    start, *escaped = pointer.split("/")
    if start:
        raise ValueError(f"a JSON pointer is empty or starts with '/': {pointer!r}")
    return tuple(token.replace("~1", "/").replace("~0", "~") for token in escaped)


def resolve(value: Any, pointer: str) -> Any:
    """The part of ``value`` this pointer leads to. KeyError if it leads nowhere, ValueError if it is none."""
    for token in tokens(pointer):
        if isinstance(value, dict) and token in value:
            value = value[token]
        elif isinstance(value, list) and _INDEX.fullmatch(token) and int(token) < len(value):
            value = value[int(token)]
        else:
            raise KeyError(pointer)
    return value


# --- Opening and decoding ------------------------------------------------------------

_FILE_TYPES = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISSOCK, "a socket"),
)

_IS_IT_THIS = "check that this is the file you mean"
_SAVE_AGAIN = "save as UTF-8 without BOM"
_FORBIDDEN = ("there is no permission to read this file", "ask its owner, or change its permissions")
_OPEN_FAULTS = {
    errno.ENOENT: ("the file does not exist", "check the path"),
    errno.ENOTDIR: ("a part of the path is a file, not a folder", "check the path"),
    errno.ELOOP: ("the link leads back to itself", "replace the link by the file"),
    errno.EACCES: _FORBIDDEN,
    errno.EPERM: _FORBIDDEN,
}


def _file_type(mode: int) -> str:
    return next((name for test, name in _FILE_TYPES if test(mode)), "a device")


def _unopened(path: Path, error: OSError) -> UnreadableDocument:
    reason, hint = _OPEN_FAULTS.get(error.errno or 0, (f"the file cannot be read: {error.strerror}", "check the path"))
    if error.errno == errno.ENOENT and path.is_symlink():
        reason, hint = "the link leads to a file that does not exist", "mend the link"
    return UnreadableDocument(str(path), reason, hint=hint)


def _too_large(path: str) -> UnreadableDocument:
    reason = f"the file is larger than {MAX_BYTES // 1024**2} MiB"
    return UnreadableDocument(path, reason, hint=_IS_IT_THIS)


def _decode(raw: bytes, path: str) -> str:
    encoding = json.detect_encoding(raw)
    if encoding == "utf-8-sig":
        raise UnreadableDocument(path, "the file starts with a byte order mark", hint=_SAVE_AGAIN, line=1, column=1)
    if encoding != "utf-8" and not raw.startswith(b"\0\0"):  # two NULs are damage; the scan says so
        reason = f"the file is encoded as {encoding[:6].upper()}, not as UTF-8"
        raise UnreadableDocument(path, reason, hint=_SAVE_AGAIN, line=1, column=1)
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise _not_utf8(raw, path, error) from error


def _not_utf8(raw: bytes, path: str, error: UnicodeDecodeError) -> UnreadableDocument:
    before = raw[: error.start].decode("utf-8")
    line, column = _position(_line_starts(before), len(before))
    reason = f"the byte 0x{raw[error.start]:02x} at offset {error.start} is not UTF-8"
    hint = _SAVE_AGAIN
    if error.reason == "unexpected end of data":
        reason, hint = "the file ends inside a character", "fetch the whole file again"
    return UnreadableDocument(path, reason, hint=hint, line=line, column=column)


# --- Places ------------------------------------------------------------

_LINE_END = re.compile(r"\r\n?|\n")
_INDEX = re.compile(r"0|[1-9][0-9]{0,17}")


class _Node(NamedTuple):
    """Where a part of the document stands, as offsets into its text."""

    place: int
    """Of the key, of the list item, or of the document's value; of duplicate keys the last."""
    first: int
    """The same, but of duplicate keys the first."""
    non_finite: str
    """The number as written when it is not finite, else empty."""
    children: Mapping[str, _Node]


_NO_CHILDREN: Mapping[str, _Node] = {}


def _notices(node: _Node, here: str, token: str) -> Iterator[Notice]:
    if node.first != node.place:
        yield Notice("duplicate-key", here, token)
    if node.non_finite:
        yield Notice("non-finite", here, node.non_finite)
    for child_token, child in node.children.items():
        yield from _notices(child, here + pointer(child_token), child_token)


def _line_starts(text: str) -> list[int]:
    return [0, *(match.end() for match in _LINE_END.finditer(text))]


def _position(line_starts: list[int], offset: int) -> Position:
    line = bisect_right(line_starts, offset)
    return Position(line, offset - line_starts[line - 1] + 1)


def _suspicious(value: Any) -> bool:
    """Whether a value may be nested too deep, or holds an infinity: reasons for the slow scan to look closer.

    Goes down level by level: the value may be deeper than Python's stack.
    """
    level = [value]
    for _ in range(MAX_DEPTH + 1):
        if not level:
            return False
        if math.inf in level or -math.inf in level:
            return True
        parents = (part.values() if type(part) is dict else part for part in level if type(part) in (dict, list))
        level = [child for parent in parents for child in parent]
    return True


# --- The slow scan ------------------------------------------------------------

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


class _Scanner:
    """Reads the same language as ``json.loads``, but keeps places and can say what is wrong.

    ``end`` is the offset right after the last token, ``at`` that of the next one, ``char`` its first character
    (empty at the end of the text), ``open`` the offsets of the brackets not yet closed. The methods of the grammar
    step over what they are named after and raise UnreadableDocument for a fault; the methods below them put a
    fault into words.
    """

    def __init__(self, text: str, path: str) -> None:
        self.text = text
        self.path = path
        self.open: list[int] = []
        self.advance(0)

    def advance(self, end: int) -> None:
        token = _NON_BLANK.search(self.text, end)
        self.end = end
        self.at = token.start() if token else len(self.text)
        self.char = token.group() if token else ""

    # The grammar

    def document(self) -> _Node:
        root = self.value(self.at, self.at)
        if self.at < len(self.text):
            raise self.more_text()
        return root

    def value(self, place: int, first: int) -> _Node:
        if self.char in _CLOSERS:
            return _Node(place, first, "", self.container())
        if self.char == '"':
            self.string()
            return _Node(place, first, "", _NO_CHILDREN)
        return _Node(place, first, self.scalar(), _NO_CHILDREN)

    def container(self) -> dict[str, _Node]:
        start_child = self.key if self.char == "{" else self.index
        closer = _CLOSERS[self.char]
        self.open.append(self.at)
        if len(self.open) > MAX_DEPTH:
            raise self.fault(self.at, f"the document is nested deeper than {MAX_DEPTH} levels", _IS_IT_THIS)
        self.advance(self.at + 1)
        children: dict[str, _Node] = {}
        while self.char != closer:
            if children:
                self.comma(closer, children)
            token, place, first = start_child(children)
            children[token] = self.value(place, first)
        self.open.pop()
        self.advance(self.at + 1)
        return children

    def key(self, siblings: dict[str, _Node]) -> tuple[str, int, int]:
        """A key with its colon: the token of the coming value, its place, and that of the first such key."""
        place = self.at
        if self.char != '"':
            raise self.no_key()
        key = self.string()
        if self.char != ":":
            raise self.no_colon(key)
        self.advance(self.at + 1)
        return key, place, siblings.pop(key).first if key in siblings else place

    def index(self, siblings: dict[str, _Node]) -> tuple[str, int, int]:
        """The same for the coming item of a list, which nothing goes before."""
        return str(len(siblings)), self.at, self.at

    def comma(self, closer: str, children: dict[str, _Node]) -> None:
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
        return _position(_line_starts(self.text), at)

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

    def no_comma(self, closer: str, children: dict[str, _Node]) -> UnreadableDocument:
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
