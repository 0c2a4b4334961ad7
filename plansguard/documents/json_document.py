"""JSON documents as nnU-Net reads them, with what ``json.load`` loses: oddities, places and readable messages.

``json`` remains the parser, so that a value here is the value that nnU-Net gets. A second, slower scan of the text runs
only where it is needed: to explain a syntax error, to list oddities once one was noticed, or to find the line and
column of a JSON pointer (RFC 6901).
"""

from __future__ import annotations

import errno
import gc
import json
import math
import stat
from collections import Counter
from typing import TYPE_CHECKING, Any, NamedTuple

from plansguard.core import disk
from plansguard.core.errors import UnreadableDocument
from plansguard.core.lazy import cached_property
from plansguard.documents.recognise import Kind, may_list_cases, recognise

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from plansguard.core.report import Excerpt
    from plansguard.documents.json_scanner import Node, Position

#: A thousand times the plans that nnU-Net writes.
MAX_BYTES = 16 * 1024**2
#: The same for documents that list cases: a fingerprint of 200,000 cases has 36 MiB.
MAX_BYTES_OF_CASES = 128 * 1024**2
#: Brackets that are open at once.
MAX_DEPTH = 200
#: Objects and lists. A dataset.json that lists a hundred thousand cases has 200,000.
MAX_CONTAINERS = 1_000_000
#: Commas, so that a document cannot make more objects than fit in memory. 200,000 cases need 1,400,000.
MAX_VALUES = 4_000_000
#: Longer documents have no lines and columns: finding them takes seconds and hundreds of MB.
MAX_PLACED = 2 * 1024**2
#: Nor have documents with more values. The fingerprint of 5000 cases has 80,000, in 1.4 MB.
MAX_PLACED_VALUES = 150_000


class Notice(NamedTuple):
    """An oddity that ``json.load`` accepts without a message.

    ``kind`` is ``duplicate-key`` or ``non-finite``; ``text`` is the key, or the number as written (``NaN``, ``1e400``).
    """

    kind: str
    pointer: str
    text: str


class JsonDocument:
    """A JSON text with its value.

    ``notices`` are in the order of the text, and only about what is in the value: nothing inside the overwritten one of
    two duplicate keys. In a document too long to be placed, they have no pointers, and there is one of each kind.
    """

    def __init__(self, path: str, raw: bytes, text: str, value: Any, *, oddities: list[Notice], placed: bool) -> None:
        self.path = path
        self.raw = raw
        self.value = value
        self._text = text if placed else ""  # only places need it
        self._placed = placed
        self.notices = tuple(_notices(self._scan[0], "", "")) if oddities and placed else tuple(oddities)

    def position(self, pointer: str, *, first: bool = False) -> Position | None:
        """The position of the key of an object's member, or of the value of a list's item.

        Of duplicate keys it is the last, whose value counts, or the ``first``. For a pointer that leads nowhere, it is
        the position of the nearest existing ancestor. None in too long a document. ValueError if ``pointer`` is not a
        JSON pointer.
        """
        if not self._placed:
            return None
        from plansguard.documents.json_scanner import position_at

        node, lines = self._scan
        for token in tokens(pointer):
            if token not in node.children:
                break
            node = node.children[token]
        return position_at(lines, node.first if first else node.place)

    def excerpt(self, pointer: str) -> Excerpt | None:
        """The line around the value at a JSON pointer.

        None where there is no value, for a value of many lines, for the whole document, and in too long a document.
        """
        path = tokens(pointer)
        if not self._placed or not path:
            return None
        from plansguard.documents import excerpts

        node, lines = self._scan
        return excerpts.of_json(self._text, node, self.value, path, lines)

    @cached_property
    def name(self) -> str:
        """The file name."""
        return disk.name(self.path)

    @cached_property
    def kind(self) -> Kind | None:
        """The kind of document by its content, or None."""
        return recognise(self.value)

    @cached_property
    def _scan(self) -> tuple[Node, list[int]]:
        """The places of all parts, and the offsets at which lines start."""
        from plansguard.documents import json_scanner

        return json_scanner.scan(self._text, self.path, MAX_DEPTH), json_scanner.line_starts(self._text)


def read(path: Path) -> JsonDocument:
    """The document in this file. UnreadableDocument if it cannot be opened, or ``parse`` refuses it."""
    return parse(read_bytes(path), str(path))


def read_bytes(path: str | Path) -> bytes:
    """The content of this file. UnreadableDocument if it cannot be opened, is no plain file, or is too large."""
    try:
        raw = disk.limited_content(path, MAX_BYTES_OF_CASES)
    except disk.NotAFile as error:
        raise UnreadableDocument(str(path), f"this is {file_type(error.mode)}", hint="name a JSON file") from error
    except OSError as error:
        raise unopened(path, error) from error
    if raw is None:
        raise too_large(str(path), MAX_BYTES_OF_CASES)
    _assert_size(raw, str(path))
    return raw


def parse(raw: bytes, path: str) -> JsonDocument:
    """The document in these bytes; ``path`` only names it.

    UnreadableDocument for all that ``json.load`` refuses, for more than MAX_BYTES (MAX_BYTES_OF_CASES where cases may
    be listed), for more than MAX_CONTAINERS objects and lists or MAX_VALUES commas, and for more than MAX_DEPTH levels.
    """
    _assert_size(raw, path)
    text = decode(raw, path)
    values = _assert_few_values(text, path)
    placed = len(text) <= MAX_PLACED and values <= MAX_PLACED_VALUES
    collects = gc.isenabled()
    gc.disable()  # parsing makes no garbage, and a search among a million new objects takes seconds
    try:
        value = json.loads(text)
        oddities: list[Notice] = []
        if type(value) not in (dict, list) or not _is_surely_plain(value, text.count(":")):
            value, oddities = _value_with_oddities(text, path, placed=placed)
    except (ValueError, RecursionError) as error:
        if placed:
            from plansguard.documents import json_scanner

            json_scanner.scan(text, path, MAX_DEPTH)  # raises UnreadableDocument with the place
        raise UnreadableDocument(path, f"Python cannot read this JSON: {error}", hint=_IS_IT_THIS) from error
    finally:
        if collects:
            gc.enable()
    return JsonDocument(path, raw, text, value, oddities=oddities, placed=placed)


def dumps(value: Any) -> bytes:
    """The bytes that nnU-Net's ``save_json(value, file, sort_keys=False)`` writes."""
    return json.dumps(value, indent=4, sort_keys=False).encode("utf-8")


def pointer(*tokens: str | int) -> str:
    """The JSON pointer through these keys and indices, e.g. ``/configurations/2d/patch_size/0``."""
    return "".join(["/" + str(token).replace("~", "~0").replace("/", "~1") for token in tokens])


def tokens(pointer: str) -> tuple[str, ...]:
    """The keys and indices of a JSON pointer. ValueError if it is not a JSON pointer."""
    start, *escaped = pointer.split("/")
    if start:
        raise ValueError(f"a JSON pointer is empty or starts with '/': {pointer!r}")
    return tuple(token.replace("~1", "/").replace("~0", "~") for token in escaped)


# --- Opening and decoding ------------------------------------------------------------

_FILE_TYPES = ((stat.S_ISDIR, "a folder"), (stat.S_ISFIFO, "a pipe"), (stat.S_ISSOCK, "a socket"))
_IS_IT_THIS = "check that this is the file you mean"
#: How the files of nnU-Net start.
_STARTS = (b"{\n", b"[\n")
_SAVE_AGAIN = "save as UTF-8 without BOM"
_FORBIDDEN = ("there is no permission to read this file", "ask its owner, or change its permissions")
_OPEN_FAULTS = {
    errno.ENOENT: ("the file does not exist", "check the path"),
    errno.ENOTDIR: ("a part of the path is a file, not a folder", "check the path"),
    errno.ELOOP: ("the link leads back to itself", "replace the link by the file"),
    errno.EACCES: _FORBIDDEN,
    errno.EPERM: _FORBIDDEN,
}


def file_type(mode: int) -> str:
    """The kind of a file of this mode that is not a plain file."""
    return next((name for test, name in _FILE_TYPES if test(mode)), "a device")


def unopened(path: str | Path, error: OSError) -> UnreadableDocument:
    """An error of the operating system as UnreadableDocument, with a hint."""
    reason, hint = _OPEN_FAULTS.get(error.errno or 0, (f"the file cannot be read: {error.strerror}", "check the path"))
    if error.errno == errno.ENOENT and disk.is_link(path):
        reason, hint = "the link leads to a file that does not exist", "correct the link"
    return UnreadableDocument(str(path), reason, hint=hint)


def _assert_size(raw: bytes, path: str) -> None:
    if len(raw) > MAX_BYTES:
        limit = MAX_BYTES_OF_CASES if may_list_cases(raw) else MAX_BYTES
        if len(raw) > limit:
            raise too_large(path, limit)


def _assert_few_values(text: str, path: str) -> int:
    """Return an upper bound of the number of values. UnreadableDocument beyond the limits."""
    if len(text) <= MAX_PLACED_VALUES:
        return len(text)  # no value has less than one character
    containers, commas = text.count("{") + text.count("["), text.count(",")
    if containers > MAX_CONTAINERS:
        reason = f"it contains more than {MAX_CONTAINERS:,} objects and lists"
        raise UnreadableDocument(path, reason, hint=_IS_IT_THIS)
    if commas > MAX_VALUES:
        raise UnreadableDocument(path, f"it contains more than {MAX_VALUES:,} commas", hint=_IS_IT_THIS)
    return containers + commas


def too_large(path: str, limit: int) -> UnreadableDocument:
    """The error for a file of more than ``limit`` bytes."""
    reason = f"the file is larger than {limit // 1024**2} MiB"
    return UnreadableDocument(path, reason, hint=_IS_IT_THIS)


def decode(raw: bytes, path: str) -> str:
    """The text in these bytes. UnreadableDocument, with the place, for another encoding and for a byte order mark."""
    encoding = "utf-8" if raw[:2] in _STARTS else json.detect_encoding(raw)
    if encoding == "utf-8-sig":
        raise UnreadableDocument(path, "the file starts with a byte order mark", hint=_SAVE_AGAIN, line=1, column=1)
    if encoding != "utf-8" and not raw.startswith(b"\0\0"):  # two NULs are damage, which the scan reports
        reason = f"the file is encoded as {encoding[:6].upper()}, not as UTF-8"
        raise UnreadableDocument(path, reason, hint=_SAVE_AGAIN, line=1, column=1)
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        from plansguard.documents.json_scanner import line_starts, position_at

        before = raw[: error.start].decode("utf-8")
        line, column = position_at(line_starts(before), len(before))
        reason, hint = f"the byte 0x{raw[error.start]:02x} at offset {error.start} is not UTF-8", _SAVE_AGAIN
        if error.reason == "unexpected end of data":
            reason, hint = "the file ends inside a character", "fetch the whole file again"
        raise UnreadableDocument(path, reason, hint=hint, line=line, column=column) from error


# --- Oddities ------------------------------------------------------------

#: A double of more than this is looked at again.
_LARGE = 1e308


def _is_surely_plain(value: Any, colons: int) -> bool:
    """Whether a parsed value has no oddity and few levels. False where that takes another look.

    Where an object has a key twice, it has fewer members than its text has colons.
    """
    level, members = [value], 0
    for _ in range(MAX_DEPTH):
        below: list[Any] = []
        for part in level:
            items = part
            if type(part) is dict:
                members += len(part)
                items = part.values()
            for item in items:
                kind = type(item)
                if kind is list or kind is dict:
                    below.append(item)
                elif kind is float and not -_LARGE < item < _LARGE:
                    return False
        if not below:
            return members == colons
        level = below
    return False


def _value_with_oddities(text: str, path: str, *, placed: bool) -> tuple[Any, list[Notice]]:
    """The value of a document, and the first oddity of each kind."""
    oddities: dict[str, Notice] = {}

    def members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        result = dict(pairs)
        if len(result) != len(pairs) and "duplicate-key" not in oddities:
            counts = Counter(key for key, _ in pairs)
            duplicate = next(key for key in counts if counts[key] > 1)
            oddities["duplicate-key"] = Notice("duplicate-key", "", duplicate)
        return result

    def constant(literal: str) -> float:  # NaN, Infinity or -Infinity
        if "non-finite" not in oddities:
            oddities["non-finite"] = Notice("non-finite", "", literal)
        return float(literal)

    value = json.loads(text, object_pairs_hook=members, parse_constant=constant)
    for notice in _hidden_oddities(value, path, placed=placed):
        oddities.setdefault(notice.kind, notice)
    return value, [*oddities.values()]


def _notices(node: Node, here: str, token: str) -> Iterator[Notice]:
    if node.first != node.place:
        yield Notice("duplicate-key", here, token)
    if node.non_finite:
        yield Notice("non-finite", here, node.non_finite)
    for child_token, child in node.children.items():
        yield from _notices(child, here + pointer(child_token), child_token)


def _hidden_oddities(value: Any, path: str, *, placed: bool) -> list[Notice]:
    """Oddities that the parser does not notice: an infinity from a number such as 1e400, or too many levels.

    The slow scan reports both with their places. A document too long for it is refused here if it has too many levels.
    Descends level by level, since the value may be deeper than Python's stack.
    """
    level = [value]
    for _ in range(MAX_DEPTH + 1):
        if not level:
            return []
        numbers = [part for part in level if type(part) is float]
        if math.inf in numbers or -math.inf in numbers:
            return [Notice("non-finite", "", "a number too large for a double")]
        parents = (part.values() if type(part) is dict else part for part in level if type(part) in (dict, list))
        level = [child for parent in parents for child in parent]
    if not placed:
        raise UnreadableDocument(path, f"nested deeper than {MAX_DEPTH} levels", hint=_IS_IT_THIS)
    return [Notice("too-deep", "", "")]  # makes the scan run, which refuses the document
