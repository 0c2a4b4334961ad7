"""Headers of safetensors files: JSON that names each tensor, its type, its shape and its place in the file.

Nothing in such a file is executed. Source: https://github.com/huggingface/safetensors, Format.
"""

from __future__ import annotations

import io
import json
from math import prod
from typing import Any, BinaryIO, NamedTuple

from plansguard.artefacts.checkpoint.pickle_values import is_shape
from plansguard.artefacts.checkpoint.tensors import Tensor

MAX_HEADER = 4 * 1024**2
"""Bytes of a header. That of a network of 1000 parameters has 100 KB."""
#: The format's name of a type -> torch's, and the bytes of a number.
_TYPES = {
    "F64": ("float64", 8), "F32": ("float32", 4), "F16": ("float16", 2), "BF16": ("bfloat16", 2),
    "I64": ("int64", 8), "I32": ("int32", 4), "I16": ("int16", 2), "I8": ("int8", 1), "U8": ("uint8", 1),
    "BOOL": ("bool", 1),
}  # fmt: skip


class StoredTensors(NamedTuple):
    """The tensors of a file, and where each begins and ends; ``damage`` is a clause, empty for a whole file."""

    tensors: dict[str, Tensor]
    places: dict[str, tuple[int, int]]
    damage: str


def read_tensors(stream: BinaryIO) -> StoredTensors:
    """Read the header of a file that is open at its beginning. ValueError, with a clause, for another file."""
    length = int.from_bytes(stream.read(8), "little")
    if length > MAX_HEADER:
        raise ValueError(f"its header claims {length:,} bytes")
    raw = stream.read(length)
    start, size = 8 + length, stream.seek(0, io.SEEK_END)
    if len(raw) < length:
        raise ValueError("it ends within its header")
    try:
        header = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise ValueError("its header is no JSON") from error
    if not isinstance(header, dict):
        raise ValueError("its header is no object")
    found = StoredTensors({}, {}, "")
    for name, entry in header.items():
        if name != "__metadata__":
            tensor, first, last = _entry(name, entry)
            found.tensors[name] = tensor
            found.places[name] = start + first, start + last
    end = max((last for _, last in found.places.values()), default=start)
    return found if end <= size else found._replace(damage=f"the file is cut short: {size:,} of {end:,} bytes")


def _entry(name: str, entry: Any) -> tuple[Tensor, int, int]:
    """A tensor, and its place after the header; ValueError for an entry of another form."""
    fields = entry if isinstance(entry, dict) else {}
    kind: Any
    shape: Any
    offsets: Any
    kind, shape, offsets = (fields.get(key) for key in ("dtype", "shape", "data_offsets"))
    dtype, item = _TYPES.get(kind if isinstance(kind, str) else "", ("", 0))
    is_plain = all(isinstance(numbers, list) and is_shape(tuple(numbers)) for numbers in (shape, offsets))
    if not item or not is_plain or len(offsets) != 2:
        raise ValueError(f"its entry {name[:80]!r} is none of safetensors'")
    if offsets[1] - offsets[0] != prod(shape) * item:
        raise ValueError(f"its entry {name[:80]!r} has another size than its shape")
    return Tensor(dtype, tuple(shape), "cpu", name), offsets[0], offsets[1]
