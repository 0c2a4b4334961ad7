"""Structure of a zip archive: what every reader of zip files must understand alike.

``zipfile``, which reads archives here, and miniz, which reads them for torch, differ where an archive contradicts
itself: which directory is taken, which of two names is meant, where an entry begins. Such archives are refused, because
what was judged would not be what is loaded. Layout: APPNOTE.TXT of PKWARE, section 4.3.
"""

from __future__ import annotations

import io
import struct
import unicodedata
from collections.abc import Iterable, Iterator
from contextlib import suppress
from itertools import pairwise
from typing import BinaryIO, NamedTuple

LOCAL = struct.Struct("<4s5H3L2H")
LOCAL_MAGIC = b"PK\3\4"
STORED = 0
ENCRYPTED = 0x1

_END = struct.Struct("<4s4H2LH")
_END_MAGIC = b"PK\5\6"
_LOCATOR = struct.Struct("<4sLQL")
_LOCATOR_MAGIC = b"PK\6\7"
_END64 = struct.Struct("<4sQ2H2L4Q")
_END64_MAGIC = b"PK\6\6"
_CENTRAL = struct.Struct("<4s6H3L5H2L")
_CENTRAL_MAGIC = b"PK\1\2"
_MAX_COMMENT = 2**16
#: A value that does not fit is replaced by this one, and is in a record of zip64.
_MAX16, _MAX32 = 0xFFFF, 0xFFFFFFFF
_ZIP64, _UNICODE_PATH = 0x0001, 0x7075
#: Sizes and checksum follow the entry; its local header may have zeros.
_HAS_DESCRIPTOR = 0x8
_LONGEST_DESCRIPTOR = 24


class Contradiction(ValueError):
    """An archive that programs read differently; the message continues the sentence "the zip archive ..."."""


class CutShort(ValueError):
    """An archive without an end record."""


class Directory(NamedTuple):
    """Place, size in bytes and number of entries of the central directory, as the end record claims."""

    offset: int
    size: int
    entries: int


class Entry(NamedTuple):
    """An entry of the central directory. ``names`` are all names that a reader may take for its own."""

    raw_name: bytes
    names: tuple[str, ...]
    flags: int
    method: int
    crc: int
    packed: int
    size: int
    offset: int


def find_directory(stream: BinaryIO) -> Directory:
    """Return the central directory of an archive. CutShort if it has no end; Contradiction; OSError; struct.error."""
    length = stream.seek(0, io.SEEK_END)
    start = max(0, length - _END.size - _MAX_COMMENT)
    stream.seek(start)
    tail = stream.read(length - start)
    at = len(tail) - _END.size
    if at < 0:
        raise CutShort
    if not (tail.startswith(_END_MAGIC, at) and tail.endswith(b"\0\0")):  # no comment, as nearly always
        at = tail.rfind(_END_MAGIC, 0, len(tail) - _END.size + len(_END_MAGIC))
    if at < 0:
        raise CutShort
    _, disk, first_disk, on_disk, count, size, offset, comment = _END.unpack_from(tail, at)
    end = start + at
    if end + _END.size + comment != length:
        raise Contradiction("does not end with its end record")
    plain = Directory(offset, size, count)
    directory, end = _with_zip64(stream, plain, end)
    if disk or first_disk or on_disk != count:
        raise Contradiction("says that it is one part of several")
    if directory.offset + directory.size != end:
        raise Contradiction("has its directory elsewhere than its end record says")
    return directory


def _with_zip64(stream: BinaryIO, plain: Directory, end: int) -> tuple[Directory, int]:
    """Return the directory by the end record of zip64, if there is one, and where the first end record begins."""
    if end < _LOCATOR.size + _END64.size:
        return plain, end
    place = end - _LOCATOR.size - _END64.size
    stream.seek(place)
    record = stream.read(_END64.size + _LOCATOR.size)
    magic, disk, pointed, disks = _LOCATOR.unpack_from(record, _END64.size)
    if magic != _LOCATOR_MAGIC:
        return plain, end
    magic, length, _, _, this, first, on_disk, count, size, offset = _END64.unpack_from(record)
    if magic != _END64_MAGIC or pointed != place or length != _END64.size - 12:
        raise Contradiction("has its zip64 end record elsewhere than its locator says")
    if disk or this or first or disks > 1 or on_disk != count:
        raise Contradiction("says that it is one part of several")
    limits = (_MAX32, _MAX32, _MAX16)
    for value, value64, limit in zip(plain, (offset, size, count), limits, strict=True):
        if value not in (value64, limit):
            raise Contradiction("has two end records that differ")
    return Directory(offset, size, count), place


def read_entries(stream: BinaryIO, directory: Directory) -> list[Entry]:
    """Return the entries of the directory, in its order. Contradiction unless they are as many and long as claimed."""
    stream.seek(directory.offset)
    raw = stream.read(directory.size)
    entries, at = [], 0
    while at < len(raw) and raw.startswith(_CENTRAL_MAGIC, at):
        fields = _CENTRAL.unpack_from(raw, at)
        name_end = at + _CENTRAL.size + fields[10]
        extra_end = name_end + fields[11]
        entries.append(_entry(fields, raw[at + _CENTRAL.size : name_end], raw[name_end:extra_end]))
        at = extra_end + fields[12]
    if at != directory.size or len(entries) != directory.entries:
        raise Contradiction("has another number of files than its end record says")
    return entries


def _entry(fields: tuple[int, ...], raw_name: bytes, extra: bytes) -> Entry:
    flags, method, crc, packed, size, offset = fields[3], fields[4], *fields[7:10], fields[16]
    names = [raw_name.decode("cp437")]
    with suppress(UnicodeDecodeError):
        names.append(raw_name.decode())
    seen = set()
    for kind, content in _extra_fields(extra):
        if kind in seen and kind in (_ZIP64, _UNICODE_PATH):
            raise Contradiction(f"describes {names[-1]!r} twice")
        seen.add(kind)
        if kind == _UNICODE_PATH:
            names.append(content[5:].decode(errors="replace"))
        elif kind == _ZIP64:
            size, packed, offset = _values64(content, (size, packed, offset))
    return Entry(raw_name, tuple(dict.fromkeys(names)), flags, method, crc, packed, size, offset)


def _extra_fields(extra: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at + 4 <= len(extra):
        kind, length = struct.unpack_from("<2H", extra, at)
        yield kind, extra[at + 4 : at + 4 + length]
        at += 4 + length


def _values64(content: bytes, values: tuple[int, int, int]) -> tuple[int, int, int]:
    """Return size, packed size and offset, of which those that did not fit are in this extra field, in this order."""
    wide = iter(struct.unpack_from(f"<{len(content) // 8}Q", content))
    size, packed, offset = (next(wide, value) if value == _MAX32 else value for value in values)
    return size, packed, offset


def check_names(entries: Iterable[Entry]) -> None:
    """Raise Contradiction if a reader may take two entries for one.

    Names are compared without case, in Unicode's compatibility form, without empty or ``.`` components, and without
    blanks and dots at the end of a component, as Windows drops them.
    """
    files: dict[str, str] = {}
    folders: dict[str, str] = {}
    for entry in entries:
        keys = {_key(name) for name in entry.names}
        shown = entry.names[-1]
        if entry.raw_name.endswith(b"/"):
            folders.update(dict.fromkeys(keys, shown))
            continue
        if other := next((files[key] for key in keys if key in files), None):
            named = f"files named {other!r} and" if other != shown else "two files named"
            raise Contradiction(f"holds {named} {shown!r}, which programs may take for one another")
        files.update(dict.fromkeys(keys, shown))
    if both := _file_and_folder(files, folders):
        raise Contradiction(f"holds {both[0]!r}, which is a file and a folder of {both[1]!r}")


def _file_and_folder(files: dict[str, str], folders: dict[str, str]) -> tuple[str, str] | None:
    """Return the names of a file and of another entry that has it as a folder.

    The folders above entries are not listed: a few megabytes of names have gigabytes of them. Ordered by components,
    what is in a folder follows its name directly.
    """
    if both := next((key for key in files if key in folders), None):
        return files[both], folders[both]
    # No key contains a null character, which is the lowest.
    ordered = sorted(key.replace("/", "\0") for key in files.keys() | folders.keys())
    for above, below in pairwise(ordered):
        file = files.get(above.replace("\0", "/"))
        if file is not None and below.startswith(f"{above}\0"):
            key = below.replace("\0", "/")
            return file, files.get(key) or folders[key]
    return None


def _key(name: str) -> str:
    parts = unicodedata.normalize("NFKC", name.partition("\0")[0]).casefold().replace("\\", "/").split("/")
    return "/".join(part.rstrip(" .") or part for part in parts if part not in ("", "."))


def check_headers(stream: BinaryIO, entries: Iterable[Entry], end: int) -> None:
    """Raise Contradiction unless the entries fill the archive up to ``end``, each behind a local header like itself."""
    at = 0
    for entry in sorted(entries, key=lambda entry: entry.offset):
        if not at <= entry.offset <= at + _LONGEST_DESCRIPTOR or (at == 0 and entry.offset):
            raise Contradiction(f"has bytes that belong to no file, or to two, before {entry.names[-1]!r}")
        at = data_offset(stream, entry) + entry.packed
    if not at <= end <= at + _LONGEST_DESCRIPTOR:
        raise Contradiction("has bytes that belong to no file before its directory")


def data_offset(stream: BinaryIO, entry: Entry) -> int:
    """Return where the bytes of an entry begin. Contradiction if its local header differs from the directory."""
    stream.seek(entry.offset)
    fields = LOCAL.unpack(stream.read(LOCAL.size))
    magic, flags, method, crc, packed, size, name_length, extra_length = (fields[0], *fields[2:4], *fields[6:11])
    name = stream.read(name_length)
    differs = magic != LOCAL_MAGIC or name != entry.raw_name or method != entry.method
    differs |= bool((flags ^ entry.flags) & (ENCRYPTED | _HAS_DESCRIPTOR))
    if not flags & _HAS_DESCRIPTOR:
        differs |= crc != entry.crc or packed not in (entry.packed, _MAX32) or size not in (entry.size, _MAX32)
    if differs or (method == STORED and entry.packed != entry.size):
        raise Contradiction(f"describes {entry.names[-1]!r} in two ways")
    return entry.offset + LOCAL.size + int(name_length) + int(extra_length)
