"""Check a ``.b2nd`` before Blosc2 opens it.

C-Blosc2 loads plugins for codecs and filters that are not its own, and runs Python for it in the current folder; their
numbers are in the header of the frame and of every chunk. Python-Blosc2 executes what other metalayers contain.
nnU-Net's files need neither. Formats: README_CFRAME_FORMAT.rst and README_CHUNK_FORMAT.rst of C-Blosc2.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from math import prod
from pathlib import Path
from typing import BinaryIO

from plansguard.artefacts.data.array_headers import HEAD, BrokenArray, metalayer
from plansguard.core import disk

#: Chunks and blocks that a file may have. nnU-Net divides an image of (4, 600, 1000, 1000) into 1792 and 86,000 with a
#: patch of (128, 128, 128), into 44,000 and 132,000 with one of (16, 32, 32).
MOST_CHUNKS, MOST_BLOCKS = 1 << 18, 1 << 22

# In the frame's header, which is big-endian: lengths of header and frame, general flags, type of frame, codec; bytes
# unpacked and packed, in a block and in a chunk; filters, codec again; then the list of metalayers, which must name
# b2nd alone, and the offset of that one.
_HEADER = struct.Struct(">11xIxQx3B2xqxq6xixi9x6sB9x2s2x8sxI")
_ONLY_B2ND = b"\xde\0\1\xa4b2nd"
# The trailer without its fingerprint, which ends the frame: no metalayers of variable length.
_TRAILER = bytes.fromhex("940193cd0006de0000dc0000ce00000023")
_FINGERPRINT = 18
# A chunk's header: version, flags, bytes unpacked, in a block, packed; filters, codec.
_CHUNK = struct.Struct("<BxBx3i6sB9x")
_EXTENDED = 0x05  # the flags of a header of 32 bytes
_NEWEST = 5  # version of chunks
# Numbers of the codecs and filters of C-Blosc2 itself. Larger ones can load a plugin.
_LAST_CODEC, _LAST_FILTER = 5, 4
_FORMATS = (0, 1, 3, 4)  # of BloscLZ, LZ4 and LZ4HC, zlib, Zstandard in the flags of a chunk
_NAMES = {32: "NDLZ", 33: "ZFP", 34: "ZFP", 35: "ZFP", 36: "OpenHTJ2K", 37: "Grok", 38: "OpenZL"}

_MORE = "is more than an array, and is not opened for safety"


def check_frame(path: Path, unpack: Callable[[bytes], bytes]) -> None:
    """Refuse a ``.b2nd`` for which Blosc2 would do more than unpack an array; no voxel is unpacked.

    ``unpack`` is called with a chunk whose codec needs no plugin. Raises BrokenArray.
    """
    with disk.open_file(path) as stream:
        head = stream.read(HEAD)
        if len(head) < _HEADER.size:
            raise BrokenArray("is damaged: its Blosc2 header is not readable")
        start, length, flags, kind, codec, unpacked, packed, block, chunk, *rest = _HEADER.unpack_from(head)
        filters, own, marker, names, offset = rest
        if marker != b"\x93\xcd" or names != _ONLY_B2ND or start > len(head) or flags >> 4 != 1 or kind != 0:
            raise BrokenArray(_MORE)
        if _at(stream, length - _FINGERPRINT - len(_TRAILER), len(_TRAILER)) != _TRAILER:
            raise BrokenArray(_MORE)
        _check_codec(codec & 0xF, filters)
        _check_codec(own, filters)
        shape, chunks, blocks, _ = metalayer(head, offset)
        count = _count(shape, chunks)
        if count > MOST_CHUNKS or count * _count(chunks, blocks) > MOST_BLOCKS:
            raise BrokenArray("is damaged: it claims to be in more chunks and blocks than nnU-Net writes")
        if chunk <= 0 or packed < 0 or -(-unpacked // chunk) != count or not 0 < block * MOST_BLOCKS >= unpacked:
            raise BrokenArray("is damaged: its Blosc2 header contradicts itself")
        _check_chunks(stream, start, start + packed, count, unpack)


def _count(extents: tuple[int, ...], steps: tuple[int, ...]) -> int:
    if min(steps) <= 0:
        raise BrokenArray(f"is damaged: it claims pieces of {steps}")
    return prod(-(-extent // step) for extent, step in zip(extents, steps, strict=True))


def _check_chunks(stream: BinaryIO, start: int, index: int, count: int, unpack: Callable[[bytes], bytes]) -> None:
    """Check the chunk at ``index``, a list of offsets from ``start``, and the ``count`` chunks in it."""
    unpacked, _, packed = _check_chunk(stream, index)
    if unpacked != 8 * count or packed > unpacked + _CHUNK.size:
        raise BrokenArray("is damaged: the list of its chunks has another length than the array needs")
    blocks = 0
    for offset in struct.unpack(f"<{count}q", unpack(_at(stream, index, packed))):
        if offset >= 0:  # negative ones mean zeros, NaN or uninitialized values, without bytes in the file
            length, block, _ = _check_chunk(stream, start + offset)
            blocks += -(-length // block)
    if blocks > MOST_BLOCKS:
        raise BrokenArray("is damaged: it claims to be in more chunks and blocks than nnU-Net writes")


def _check_chunk(stream: BinaryIO, position: int) -> tuple[int, int, int]:
    """Check a chunk, and return its bytes: unpacked, in a block, packed."""
    version, flags, unpacked, block, packed, filters, codec = _CHUNK.unpack(_at(stream, position, _CHUNK.size))
    if version > _NEWEST or flags & _EXTENDED != _EXTENDED or unpacked < 0 or block <= 0 or packed < _CHUNK.size:
        raise BrokenArray("is damaged: one of its chunks is not readable")
    _check_codec(codec, filters)
    if flags >> 5 not in _FORMATS:
        raise BrokenArray(f"is packed with a codec of the kind {flags >> 5}, and is not opened for safety")
    return unpacked, block, packed


def _check_codec(codec: int, filters: bytes) -> None:
    if codec > _LAST_CODEC:
        name = f"{codec} ({_NAMES[codec]})" if codec in _NAMES else str(codec)
        raise BrokenArray(f"is packed with codec {name}, which needs a plugin, and is not opened for safety")
    if max(filters) > _LAST_FILTER:
        raise BrokenArray(f"is packed with filter {max(filters)}, which needs a plugin, and is not opened for safety")


def _at(stream: BinaryIO, position: int, length: int) -> bytes:
    stream.seek(max(0, position))
    data = stream.read(length)
    if len(data) < length:
        raise BrokenArray("is damaged: a chunk is beyond its end")
    return data
