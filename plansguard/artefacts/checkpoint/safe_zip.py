"""Read untrusted zip archives: checkpoints of torch, exported models.

``zipfile`` reads them, after a check that the archive's directory is small enough and every name in it is harmless.
Nothing is unpacked to the disk.
"""

from __future__ import annotations

import io
import stat
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import BinaryIO

from plansguard.artefacts.checkpoint.zip_structure import (
    ENCRYPTED,
    LOCAL_MAGIC,
    Contradiction,
    CutShort,
    Entry,
    check_headers,
    check_names,
    data_offset,
    find_directory,
    read_entries,
)
from plansguard.core import disk
from plansguard.core.errors import UnreadableDocument
from plansguard.core.text import counted
from plansguard.documents.json_document import file_type, unopened

MAX_DIRECTORY = 8 * 1024**2
"""Bytes of an archive's directory. A checkpoint of 956 parameters has 60 KB."""
MAX_ENTRIES = 100_000
MAX_INFLATED = 16 * 1024**3
"""Bytes that a deflated entry may claim when it is opened as a stream."""
FREE_INFLATION = 256 * 1024**2
MAX_RATIO = 50
"""A deflated entry beyond FREE_INFLATION may be this many times larger than its bytes in the archive. Weights: 1.1."""

_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # those of torch and nnU-Net; others need unbounded memory
_FETCH_AGAIN = "fetch the whole file again"
_NOT_TRUSTED = "nnU-Net writes no such archive: get the file from where it was published, or ask its author"

_BAD = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, struct.error, ValueError, OSError)
"""What ``zipfile`` raises for damaged files."""


class SafeZip:
    """An archive whose directory was checked. ``names`` are relative, separated by ``/``, and without folders."""

    def __init__(self, archive: zipfile.ZipFile, stream: BinaryIO, path: str, structure: list[Entry]) -> None:
        self.path = path
        self._archive = archive
        self._stream = stream
        pairs = list(zip(archive.infolist(), structure, strict=True))  # both are in the directory's order
        # Programs that unpack an archive drop empty components and dots; some that pack one write them.
        self._entries = {_plain(entry.filename): entry for entry, _ in pairs if not entry.is_dir()}
        self._structure = {_plain(entry.filename): own for entry, own in pairs if not entry.is_dir()}
        #: The folder of the first entry, in which torch looks for its files.
        self.root = pairs[0][0].filename.partition("/")[0] if pairs else ""
        self.names: tuple[str, ...] = tuple(self._entries)

    def __contains__(self, name: object) -> bool:
        return name in self._entries

    def size(self, name: str) -> int:
        """Return the inflated size in bytes that this entry claims. KeyError for a name that is not in ``names``."""
        return self._entries[name].file_size

    @property
    def directory(self) -> list[tuple[str, int, int]]:
        """Name, size in bytes and CRC-32 of every entry, from the archive's directory."""
        return [(name, entry.file_size, entry.CRC) for name, entry in self._entries.items()]

    def read(self, name: str, limit: int) -> bytes:
        """Return the bytes of this entry.

        UnreadableDocument for more than ``limit`` bytes, for another method than stored and deflated, and for damage;
        KeyError.
        """
        entry = self._entry(name)
        if entry.file_size > limit:
            reason = f"{name} in it claims {entry.file_size:,} bytes, more than {limit:,}"
            raise UnreadableDocument(self.path, reason, hint=_NOT_TRUSTED)
        return self._read(entry, entry.file_size)  # the checksum is verified

    def head(self, name: str, length: int) -> bytes:
        """Return the first bytes of this entry, and inflate hardly more. Errors as in ``read``."""
        return self._read(self._entry(name), length)

    def _read(self, entry: zipfile.ZipInfo, length: int) -> bytes:
        try:
            with self._archive.open(entry) as member:
                return member.read(length)
        except _BAD as error:
            raise self._damaged(entry.filename, error) from error

    def open(self, name: str) -> BinaryIO:
        """Open this entry as a seekable file, such as an archive or a checkpoint inside the archive.

        A stored entry is read in place. A deflated one is inflated in one pass while it is read forward, and only its
        first and its latest megabytes are kept. Checksums are verified only where a whole entry is inflated.
        UnreadableDocument for an entry that claims to be far larger than its bytes, for another method than these two,
        and for damage that is found here; OSError from the stream for damage that is found later; KeyError.
        """
        entry = self._entry(name)
        if entry.compress_type == zipfile.ZIP_STORED:
            return io.BufferedReader(_EntryFile(entry.file_size, self._stored(name, entry)))
        allowed = max(FREE_INFLATION, min(MAX_INFLATED, MAX_RATIO * entry.compress_size))
        if entry.file_size > allowed:
            reason = f"{name} in it claims {entry.file_size:,} bytes, packed into {entry.compress_size:,}"
            raise UnreadableDocument(self.path, reason, hint=_NOT_TRUSTED)
        return io.BufferedReader(_InflatedFile(entry.file_size, _InflatedEntry(self._archive, entry).read))

    def _entry(self, name: str) -> zipfile.ZipInfo:
        """Return the entry of this name, if it is stored or deflated, and its local header is like it."""
        entry = self._entries[name]
        if _is_inflated(self._stream):  # elsewhere all local headers were compared when the archive was opened
            self._offset(name)
        if entry.compress_type not in _METHODS:
            reason = f"{name} in it is packed by zip's method {entry.compress_type}, neither stored nor deflated"
            raise UnreadableDocument(self.path, reason, hint=_NOT_TRUSTED)
        return entry

    def _offset(self, name: str) -> int:
        """Return where the bytes of an entry begin."""
        try:
            return data_offset(self._stream, self._structure[name])
        except Contradiction as error:
            raise UnreadableDocument(self.path, f"the zip archive {error}", hint=_NOT_TRUSTED) from error
        except (OSError, ValueError, struct.error) as error:
            raise self._damaged(name, error) from error

    def _stored(self, name: str, entry: zipfile.ZipInfo) -> _Read:
        """Return the function that reads a stored entry in place."""
        begin = self._offset(name)
        if entry.flag_bits & ENCRYPTED:
            raise self._damaged(name, zipfile.BadZipFile("it is encrypted"))

        def read(at: int, length: int) -> bytes:
            self._stream.seek(begin + at)
            return self._stream.read(length)

        return read

    def _damaged(self, name: str, error: Exception) -> UnreadableDocument:
        return UnreadableDocument(self.path, f"{name} in it cannot be read: {error}", hint=_FETCH_AGAIN)


def open_file(path: Path, hint: str) -> BinaryIO:
    """Open this file. UnreadableDocument if it cannot be opened, or, with this hint, if it is no plain file."""
    try:
        return disk.open_file(path)
    except disk.NotAFile as error:
        raise UnreadableDocument(str(path), f"this is {file_type(error.mode)}", hint=hint) from error
    except OSError as error:
        raise unopened(path, error) from error


def is_zip(head: bytes) -> bool:
    """Whether a file with these first bytes is a zip archive. torch decides by the same four bytes."""
    return head.startswith(LOCAL_MAGIC)


@contextmanager
def open_zip(source: Path | BinaryIO, name: str) -> Iterator[SafeZip]:
    """Open the archive in this file, and close it with the context; ``name`` is its name in messages.

    UnreadableDocument if it cannot be opened, has no end (an incomplete download), has a directory beyond
    MAX_DIRECTORY or MAX_ENTRIES, contradicts itself, contains entries that some reader takes for one, or an entry that
    leads outside: absolute, with ``..`` or backslashes, or a link.
    """
    with ExitStack() as opened:
        stream = opened.enter_context(open_file(source, "name a zip archive")) if isinstance(source, Path) else source
        structure = _check_structure(stream, name)
        try:
            archive = opened.enter_context(zipfile.ZipFile(stream))
        except _BAD as error:
            reason = f"the zip archive's directory is damaged: {error}"
            raise UnreadableDocument(name, reason, hint=_FETCH_AGAIN) from error
        if fault := next(_faults(archive.infolist()), None):
            raise UnreadableDocument(name, f"the zip archive {fault}", hint=_NOT_TRUSTED)
        yield SafeZip(archive, stream, name, structure)


def _check_structure(stream: BinaryIO, name: str) -> list[Entry]:
    """Return the entries of the directory.

    UnreadableDocument for an archive without an end, with a directory that claims to be too large, or that contradicts
    itself. All local headers are compared here unless the archive is inflated while it is read, which would take a pass
    over all of it: then those of the entries that are read are compared.
    """
    try:
        directory = find_directory(stream)
        if directory.size > MAX_DIRECTORY or directory.entries > MAX_ENTRIES:
            claim = f"{counted(directory.entries, 'file')} in {directory.size:,} bytes"
            raise UnreadableDocument(name, f"the zip archive's directory claims {claim}", hint=_NOT_TRUSTED)
        entries = read_entries(stream, directory)
        check_names(entries)
        if not _is_inflated(stream):
            check_headers(stream, entries, directory.offset)
    except CutShort as error:
        reason = "it begins as a zip archive, but the directory at its end is missing: the file is cut short"
        raise UnreadableDocument(name, reason, hint=_FETCH_AGAIN) from error
    except Contradiction as error:
        raise UnreadableDocument(name, f"the zip archive {error}", hint=_NOT_TRUSTED) from error
    except (OSError, ValueError, struct.error) as error:
        raise UnreadableDocument(name, f"the zip archive cannot be read: {error}", hint=_FETCH_AGAIN) from error
    return entries


def _is_inflated(stream: BinaryIO) -> bool:
    """Whether this is a deflated entry of another archive."""
    return isinstance(getattr(stream, "raw", None), _InflatedFile)


def _faults(entries: list[zipfile.ZipInfo]) -> Iterator[str]:
    """Yield why an archive with these entries is refused."""
    if len(entries) > MAX_ENTRIES:
        yield f"holds more than {MAX_ENTRIES:,} files"
    for entry in entries:
        name = entry.orig_filename
        if fault := _name_fault(name):
            yield f"holds a file named {name!r}, {fault}"
        if stat.S_ISLNK(entry.external_attr >> 16):
            yield f"holds a link, {name!r}"


def _plain(name: str) -> str:
    return "/".join(part for part in name.split("/") if part not in ("", "."))


def _name_fault(name: str) -> str | None:
    if "\\" in name:
        return "with a backslash"
    if "\0" in name or not name:
        return "which is no name"
    if name.startswith("/") or name[1:2] == ":":
        return "an absolute path"
    if ".." in name.split("/"):
        return "which leads outside"
    return None


# --- Entries as files


_Read = Callable[[int, int], bytes]
"""Return up to so many bytes of an entry from an offset on, and at least one."""


class _EntryFile(io.RawIOBase):
    """A seekable file of ``size`` bytes."""

    def __init__(self, size: int, read: _Read) -> None:
        self._size = size
        self._read = read
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        target = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        if target < 0:
            raise ValueError(f"a place before the beginning: {target}")
        self._at = target
        return target

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        length = min(len(buffer), self._size - self._at)
        data = self._read(self._at, length) if length > 0 else b""
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)


class _InflatedFile(_EntryFile):
    """A deflated entry: to go back in it costs another pass."""


_CHUNK = 2**20
_FIRST, _LATEST = 4, 4  # chunks that are kept


class _InflatedEntry:
    """A deflated entry, of which the first and the latest chunks are kept.

    A checkpoint needs one pass: the directory at its end is read, then data.pkl, which torch writes first, then
    perhaps a few bytes of the directory.
    """

    def __init__(self, archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> None:
        self._archive = archive
        self._entry = entry
        self._kept: dict[int, bytes] = {}
        self._next = 0  # the number of the next chunk to inflate
        self._chunks = self._inflate()

    def _inflate(self) -> Iterator[bytes]:
        with self._archive.open(self._entry) as member:
            while chunk := member.read(_CHUNK):
                yield chunk

    def read(self, at: int, length: int) -> bytes:
        number, begin = divmod(at, _CHUNK)
        if number not in self._kept and number < self._next:  # no longer kept: inflate again from the beginning
            self._chunks, self._next = self._inflate(), 0
        try:
            while number not in self._kept:
                chunk = next(self._chunks, None)
                if chunk is None:
                    return b""
                self._keep(chunk)
        except _BAD as error:
            raise OSError(f"{self._entry.filename} in it cannot be read: {error}") from error
        return self._kept[number][begin : begin + length]

    def _keep(self, chunk: bytes) -> None:
        latest = range(self._next - _LATEST + 1, self._next)
        self._kept = {number: kept for number, kept in self._kept.items() if number < _FIRST or number in latest}
        self._kept[self._next] = chunk
        self._next += 1
