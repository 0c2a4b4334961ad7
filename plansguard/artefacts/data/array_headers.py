"""Read the headers of preprocessed arrays: shape, type, and the expected length of the file.

nnU-Net writes ``.b2nd`` (a contiguous Blosc2 frame) since 2.6, and ``.npz`` before, which it unpacks to ``.npy``. Their
headers are read without Blosc2 and numpy, and without any voxel. Formats: README_CFRAME_FORMAT.rst and
README_B2ND_METALAYER.rst of C-Blosc2, ``numpy.lib.format``.

Shapes have the axis order of the file; nnU-Net writes (C, z, y, x), 2D images as (C, 1, y, x).
"""

from __future__ import annotations

import math
import os
import re
import stat
import struct
from functools import cache
from pathlib import Path
from typing import NamedTuple

from plansguard.core.errors import UnreadableDocument

HEAD = 4096  # bytes read of a file; the headers of nnU-Net's files end within the first 300
LONGEST_HEADER = 1 << 20  # bytes, of a Blosc2 frame with more metalayers than that of the array
MOST_DIMENSIONS = 15  # msgpack's short arrays end there; Blosc2 allows fewer

_OPEN = os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NONBLOCK", 0)


class ArrayHeader(NamedTuple):
    """Header of an array: ``dtype`` is numpy's code (``<f4``, ``|i1``), ``expected_bytes`` the length of the file.

    ``expected_bytes`` is None where the format does not contain it.
    """

    shape: tuple[int, ...]
    dtype: str
    expected_bytes: int | None


class BrokenArray(ValueError):
    """A file that is no array, or not a whole one; the text is one clause that follows the file's name."""


class FileHead(NamedTuple):
    """The first bytes of a file, its length in bytes, and the time of its last change in seconds since 1970."""

    head: bytes
    size: int
    changed: float


def read_header(path: Path) -> ArrayHeader:
    """Read the header of a ``.b2nd`` or ``.npy``, or of member ``data`` of a ``.npz``, else ``seg``.

    Raises BrokenArray when the file is missing, cut off or something else.
    """
    if path.suffix == ".npz":
        members = read_members(str(path))
        return members["data"] if "data" in members else members["seg"]
    head, size, _ = read_head(str(path))
    return npy_header(head, size) if path.suffix == ".npy" else b2nd_header(head, size, str(path))


def read_head(path: str, length: int = HEAD) -> FileHead:
    """Read the first bytes of a file; raises BrokenArray when it cannot be read."""
    try:
        descriptor = os.open(path, _OPEN)
        try:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise BrokenArray("is no file")
            return FileHead(os.read(descriptor, length), status.st_size, status.st_mtime)
        finally:
            os.close(descriptor)
    except BrokenArray:
        raise
    except FileNotFoundError:
        raise BrokenArray("is missing") from None
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        raise BrokenArray(f"cannot be read ({getattr(error, 'strerror', None) or error})") from None


# --- .b2nd

_FRAME = b"\x9e\xa8b2frame\0"
# Magic, then msgpack's marker and the big-endian value of header length and frame length. At byte 94 the index of
# metalayers begins, in nnU-Net's files with b2nd and its offset.
_BEGINNING = struct.Struct(">11sIcQ70x6sI")
_B2ND = b"\xa4b2nd\xd2"
_OFFSET = struct.Struct(">I")
_INT32, _INT64, _STRING = b"\xd2", b"\xd3", 0xDB


def b2nd_header(head: bytes, size: int, path: str = "") -> ArrayHeader:
    """Return the header of a ``.b2nd`` from the first bytes and the length of its file.

    The file at ``path`` is opened again only where the header is longer than ``head``.
    """
    if len(head) < _BEGINNING.size or not head.startswith(_FRAME):
        raise BrokenArray(_no_frame(head, size))
    magic, header_length, marker, frame_length, name, offset = _BEGINNING.unpack_from(head)
    if magic[-1:] != _INT32 or marker != b"\xcf" or not _BEGINNING.size <= header_length <= frame_length:
        raise BrokenArray("is damaged: its Blosc2 header is not readable")
    if size < frame_length:
        raise BrokenArray(f"is cut off: {size} of {frame_length} bytes")
    if header_length > len(head):
        head = _longer(path, header_length)
    if name != _B2ND:
        start = head.find(_B2ND, 24, header_length)
        if start < 0 or len(head) < start + 10:
            raise BrokenArray("is a Blosc2 file without an array: it has no b2nd metalayer")
        (offset,) = _OFFSET.unpack_from(head, start + 6)
    shape, _, _, dtype = metalayer(head, offset)
    return ArrayHeader(shape, dtype, frame_length)


def _no_frame(head: bytes, size: int) -> str:
    if size == 0:
        return "is empty (0 bytes)"
    if head[: len(_FRAME)] == _FRAME[: len(head)]:
        return f"is cut off after {size} bytes, inside its header"
    if not any(head):
        return "is no Blosc2 file: it begins with zeros, like a file that was not written to the end"
    return "is no Blosc2 file"


def _longer(path: str, length: int) -> bytes:
    """Read the whole header of a frame with many metalayers."""
    if length > LONGEST_HEADER:
        raise BrokenArray(f"is damaged: its header claims {length} bytes")
    head, _, _ = read_head(path, length)
    if len(head) < length:
        raise BrokenArray(f"is cut off: its header has {len(head)} of {length} bytes")
    return head


@cache
def _layout(dimensions: int) -> struct.Struct:
    """Layout of shape (int64), chunks and blocks (int32), without msgpack's markers, and of the length of the type."""
    return struct.Struct(">x" + "xq" * dimensions + 2 * ("x" + "xi" * dimensions) + "xxI")


class Metalayer(NamedTuple):
    """The b2nd metalayer: shapes of the array, of a chunk and of a block; numpy's code of the type."""

    shape: tuple[int, ...]
    chunks: tuple[int, ...]
    blocks: tuple[int, ...]
    dtype: str


def metalayer(head: bytes, offset: int) -> Metalayer:
    """Return the b2nd metalayer, whose msgpack ``bin 32`` is at ``offset``; raises BrokenArray."""
    damaged = "is damaged: its b2nd metalayer is not readable"
    start = offset + 8  # after marker and length of the metalayer, marker, version and number of dimensions
    if len(head) < start or head[offset] != 0xC6 or head[offset + 5] != 0x97:
        raise BrokenArray(damaged)
    dimensions = head[start - 1]
    if not 1 <= dimensions <= MOST_DIMENSIONS:
        raise BrokenArray(f"is damaged: it claims {dimensions} dimensions")
    layout = _layout(dimensions)
    text = start + layout.size
    chunks = start + 1 + 9 * dimensions
    blocks = chunks + 1 + 5 * dimensions
    array = 0x90 | dimensions
    if (
        len(head) < text
        or (head[start], head[chunks], head[blocks], head[text - 5]) != (array, array, array, _STRING)
        or head[start + 1 : chunks : 9] != _INT64 * dimensions
        or head[chunks + 1 : blocks : 5] != _INT32 * dimensions
        or head[blocks + 1 : text - 6 : 5] != _INT32 * dimensions
    ):
        raise BrokenArray(damaged)
    values = layout.unpack_from(head, start)
    if min(values) < 0:
        raise BrokenArray(f"is damaged: it claims the shape {values[:dimensions]}")
    dtype = head[text : text + values[-1]]
    if not dtype.isascii():
        raise BrokenArray(damaged)
    shape, chunk, block = (values[first : first + dimensions] for first in range(0, 3 * dimensions, dimensions))
    return Metalayer(shape, chunk, block, dtype.decode("ascii"))


# --- .npy and .npz

_NPY = b"\x93NUMPY"
# Exactly what numpy writes; no other Python literals are evaluated.
_NPY_TEXT = re.compile(
    rb"\{'descr': '(?P<dtype>[<>|=]?[a-zA-Z](?P<size>[0-9]{0,3}))', 'fortran_order': (?:True|False), "
    rb"'shape': \((?P<shape>[0-9, ]{0,400})\), \} *\n?\Z"
)


def npy_header(head: bytes, size: int) -> ArrayHeader:
    """Return the header of a ``.npy`` from the first bytes and the length of its file."""
    if size == 0:
        raise BrokenArray("is empty (0 bytes)")
    if not head.startswith(_NPY):
        raise BrokenArray("is no .npy file")
    if len(head) < 12:
        raise BrokenArray(f"is cut off after {size} bytes, inside its header")
    width = 2 if head[6] == 1 else 4
    start = 8 + width
    length = int.from_bytes(head[8:start], "little")
    if size < start + length:
        raise BrokenArray(f"is cut off after {size} bytes, inside its header")
    text = _NPY_TEXT.match(head[start : start + length])
    if head[6] not in (1, 2, 3) or text is None:
        raise BrokenArray("is damaged: its .npy header is not readable")
    shape = tuple(int(extent) for extent in text["shape"].replace(b" ", b"").split(b",") if extent)
    dtype = text["dtype"].decode("ascii")
    expected = start + length + math.prod(shape) * int(text["size"] or 1)
    if size < expected:
        raise BrokenArray(f"is cut off: {size} of {expected} bytes")
    return ArrayHeader(shape, dtype, expected)


def read_members(path: str) -> dict[str, ArrayHeader]:
    """Read the headers of ``data`` and ``seg`` in a ``.npz`` of nnU-Net up to 2.5; at least one of them.

    ``expected_bytes`` is that of the archive. Raises BrokenArray.
    """
    from plansguard.artefacts.checkpoint.safe_zip import is_zip, open_zip  # for the old format only

    head, size, _ = read_head(path)
    if size == 0:
        raise BrokenArray("is empty (0 bytes)")
    if not is_zip(head):
        raise BrokenArray("is no .npz file")
    headers = {}
    try:
        with open_zip(Path(path), path) as archive:
            for member in ("data", "seg"):
                name = f"{member}.npy"
                if name in archive:
                    header = npy_header(archive.head(name, HEAD), archive.size(name))
                    headers[member] = header._replace(expected_bytes=size)
    except UnreadableDocument as error:
        raise BrokenArray(f"cannot be read ({size} bytes): {error.reason}") from None
    if not headers:
        raise BrokenArray("contains neither data nor seg")
    return headers
