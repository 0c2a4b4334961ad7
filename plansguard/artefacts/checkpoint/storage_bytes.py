"""The bytes of the storages in a checkpoint, read without torch."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from plansguard.artefacts.checkpoint.checkpoint import Checkpoint
from plansguard.artefacts.checkpoint.safe_zip import SafeZip, open_file, open_zip
from plansguard.core.errors import UnreadableDocument

#: Bytes of a storage. All parameters of the largest preset together have 600 MB.
_MOST = 2 * 1024**3


class StorageBytes:
    """The storages of an open checkpoint, by ``Tensor.key``. UnreadableDocument for one that cannot be read."""

    def __init__(self, checkpoint: Checkpoint, archive: SafeZip | None) -> None:
        self._checkpoint, self._archive = checkpoint, archive
        self._latest = "", b""  # several parameters may share a storage

    def __contains__(self, key: object) -> bool:
        return key in self._checkpoint.places if self._archive is None else self._entry(key) in self._archive

    def whole(self, key: str) -> bytes:
        """All bytes of a storage; the checksum of an archive is verified."""
        if self._latest[0] != key:
            self._latest = key, self._read(key)
        return self._latest[1]

    def head(self, key: str, length: int) -> bytes:
        """The first bytes of a storage."""
        if self._archive is None:
            return self._in_file(key, length)
        return self._archive.head(self._entry(key), length)

    def _read(self, key: str) -> bytes:
        path = self._checkpoint.path
        if key not in self:
            raise UnreadableDocument(path, "it does not contain the values of its tensors", hint="use another copy")
        if self._archive is None:
            return self._in_file(key, _MOST)
        order = f"{self._archive.root}/byteorder"
        if order in self._archive and self._archive.head(order, 8) == b"big":
            hint = "load it and save it again with torch on the machine that wrote it, or on one like this"
            raise UnreadableDocument(path, "its numbers are in the order of bytes of another processor", hint=hint)
        return self._archive.read(self._entry(key), _MOST)

    def _entry(self, key: object) -> str:
        assert self._archive is not None
        return f"{self._archive.root}/data/{key}"

    def _in_file(self, key: str, most: int) -> bytes:
        first, last = self._checkpoint.places[key]
        with open_file(Path(self._checkpoint.path), "name a checkpoint") as stream:
            stream.seek(first)
            return stream.read(min(last - first, most))


@contextmanager
def storage_bytes(checkpoint: Checkpoint) -> Iterator[StorageBytes]:
    """Open the file of a checkpoint. UnreadableDocument if that fails."""
    if checkpoint.places:
        yield StorageBytes(checkpoint, None)
        return
    with open_zip(Path(checkpoint.path), checkpoint.path) as archive:
        yield StorageBytes(checkpoint, archive)
