"""Files in the layout of torch.save, made without torch, for content that torch would not write."""

from __future__ import annotations

import math
import struct
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ITEM = {"FloatStorage": 4, "HalfStorage": 2, "BFloat16Storage": 2, "LongStorage": 8, "DoubleStorage": 8}
LEGACY_HEAD = bytes.fromhex("80028a0a6cfc9c46f9206aa850192e") + b"\x80\x02M\xe9\x03." + b"\x80\x02}."


@dataclass(frozen=True)
class T:
    """A tensor of a shape, with a storage of its own."""

    key: str
    shape: tuple[int, ...]
    storage: str = "FloatStorage"
    location: str = "cpu"

    @property
    def elements(self) -> int:
        return math.prod(self.shape)

    @property
    def bytes(self) -> int:
        return self.elements * ITEM[self.storage]


@dataclass(frozen=True)
class Raw:
    """Opcodes that push one value."""

    opcodes: bytes


def dumps(value: Any) -> bytes:
    """Return a pickle of protocol 2."""
    return b"\x80\x02" + _push(value) + b"."


def _push(value: Any) -> bytes:
    if isinstance(value, Raw):
        return value.opcodes
    if isinstance(value, T):
        strides = tuple(math.prod(value.shape[axis + 1 :]) for axis in range(len(value.shape)))
        identifier = (
            "storage",
            Raw(b"ctorch\n" + value.storage.encode() + b"\n"),
            value.key,
            value.location,
            value.elements,
        )
        arguments = (
            Raw(_push(identifier) + b"Q"),
            0,
            value.shape,
            strides,
            False,
            Raw(b"ccollections\nOrderedDict\n)R"),
        )
        return b"ctorch._utils\n_rebuild_tensor_v2\n" + _push(arguments) + b"R"
    if isinstance(value, dict):
        return b"}(" + b"".join(_push(key) + _push(part) for key, part in value.items()) + b"u"
    if isinstance(value, (list, tuple)):
        end = b"l" if isinstance(value, list) else b"t"
        return b"(" + b"".join(map(_push, value)) + end
    if isinstance(value, str):
        raw = value.encode("utf-8", "surrogatepass")
        return b"X" + struct.pack("<I", len(raw)) + raw
    if isinstance(value, float):
        return b"G" + struct.pack(">d", value)
    if value is None or isinstance(value, bool):
        return {None: b"N", True: b"\x88", False: b"\x89"}[value]
    return b"I%d\n" % value


def tensors(value: Any) -> Iterator[T]:
    """Yield all tensors in a value."""
    if isinstance(value, T):
        yield value
    elif isinstance(value, dict):
        for part in value.values():
            yield from tensors(part)
    elif isinstance(value, (list, tuple)):
        for part in value:
            yield from tensors(part)


def save(path: Path, value: Any, *, root: str = "archive", pickled: bytes | None = None) -> Path:
    """Save in the layout of torch >= 1.6."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"{root}/data.pkl", dumps(value) if pickled is None else pickled)
        archive.writestr(f"{root}/version", b"3\n")
        for key, length in {tensor.key: tensor.bytes for tensor in tensors(value)}.items():
            archive.writestr(f"{root}/data/{key}", bytes(length))
    return path


def save_legacy(path: Path, value: Any) -> Path:
    """Save in the layout of torch < 1.6."""
    unique = {tensor.key: tensor for tensor in tensors(value)}
    storages = b"".join(struct.pack("<q", tensor.elements) + bytes(tensor.bytes) for tensor in unique.values())
    path.write_bytes(LEGACY_HEAD + dumps(value) + dumps(list(unique)) + storages)
    return path
