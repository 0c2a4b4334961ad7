"""Tensors as a checkpoint's pickle describes them, and their storages, which are outside the pickle."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, BinaryIO, NamedTuple

from plansguard.artefacts.checkpoint.pickle_values import BrokenPickle, Builder, Global, called, is_shape

MAX_LOCATION = 64
"""Characters of a key, a device or a location."""
LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
"""The first pickle in a file of torch < 1.6."""

_TYPES = {
    "DoubleStorage": ("float64", 8), "FloatStorage": ("float32", 4), "HalfStorage": ("float16", 2),
    "BFloat16Storage": ("bfloat16", 2), "LongStorage": ("int64", 8), "IntStorage": ("int32", 4),
    "ShortStorage": ("int16", 2), "CharStorage": ("int8", 1), "ByteStorage": ("uint8", 1), "BoolStorage": ("bool", 1),
    "ComplexFloatStorage": ("complex64", 8), "ComplexDoubleStorage": ("complex128", 16),
    "QInt8Storage": ("qint8", 1), "QUInt8Storage": ("quint8", 1), "QInt32Storage": ("qint32", 4),
    "UntypedStorage": ("uint8", 1), "_UntypedStorage": ("uint8", 1),
}  # fmt: skip
_SIZES = {
    **dict(_TYPES.values()),
    "uint16": 2, "uint32": 4, "uint64": 8, "complex32": 4,
    "float8_e4m3fn": 1, "float8_e5m2": 1, "float8_e4m3fnuz": 1, "float8_e5m2fnuz": 1,
}  # fmt: skip


@dataclass(frozen=True)
class Tensor:
    """One tensor, with torch's name of the dtype (``float32``) and the device that it was saved from (``cuda:0``).

    ``key`` names its storage, whose bytes are in the file; empty where there is none. ``offset`` and ``stride`` are its
    place there, counted in its numbers; None is the stride of a tensor without gaps.
    """

    dtype: str
    shape: tuple[int, ...]
    location: str
    key: str = field(default="", compare=False)
    offset: int = field(default=0, compare=False)
    stride: tuple[int, ...] | None = field(default=None, compare=False)


class _Storage(NamedTuple):
    """A persistent id of torch: ("storage", type, key, location, elements[, view])."""

    key: str
    dtype: str
    item: int  # bytes of one element
    elements: int
    location: str


class Storages:
    """Storages that a pickle refers to: pass ``persistent`` and ``builders`` to ``load``, then call ``damage``."""

    def __init__(self) -> None:
        self.sizes: dict[str, int] = {}
        """Bytes that each storage must have."""
        self.items: dict[str, int] = {}
        """Bytes of one of its elements."""
        self.locations: dict[str, None] = {}
        self.places: dict[str, tuple[int, int]] = {}
        """First byte of each storage in a file of torch < 1.6, and the one after its last."""
        self.faults = 0
        """Tensors that reach beyond the end of their storage."""

    @property
    def builders(self) -> dict[tuple[str, str], Builder]:
        """Builders for the functions that torch calls while it loads a tensor."""
        return {
            ("torch._utils", "_rebuild_tensor"): self.tensor,
            ("torch._utils", "_rebuild_tensor_v2"): self.tensor,
            ("torch._utils", "_rebuild_tensor_v3"): self.typed_tensor,
            ("torch._utils", "_rebuild_meta_tensor_no_storage"): _meta_tensor,
            ("torch._utils", "_rebuild_parameter"): lambda tensor, *_: tensor,
            ("torch._utils", "_rebuild_parameter_with_state"): lambda tensor, *_: tensor,
            ("torch._tensor", "_rebuild_from_type_v2"): _of_type,
            ("torch", "Size"): _size,
            ("torch", "device"): _device,
        }

    def persistent(self, identifier: Any) -> Any:
        """Return what a persistent id refers to. BrokenPickle for an id that torch never writes."""
        if type(identifier) is not tuple or len(identifier) < 4:
            raise BrokenPickle("a persistent id in it is none of torch's")
        if identifier[0] == "module":  # the class of a whole module, with its source text, in old files
            return identifier[1]
        kind, storage_type, key, location, count, view = (*identifier[:6], None, None)[:6]
        dtype, size = _TYPES.get(storage_type.name if type(storage_type) is Global else "", ("", 0))
        texts = all(type(text) is str and len(text) <= MAX_LOCATION for text in (key, location))
        if kind != "storage" or size == 0 or not texts or not is_shape((count,)):
            raise BrokenPickle("a persistent id in it names no storage of torch's")
        self.sizes.setdefault(key, size * count)
        self.items.setdefault(key, size)
        self.locations[location] = None
        return _Storage(key if view is None else "", dtype, size, count, location)  # torch < 0.4 writes views

    def tensor(self, storage: Any, offset: Any, shape: Any, stride: Any, *_: Any) -> Tensor:
        """As ``torch._utils._rebuild_tensor`` and ``_rebuild_tensor_v2``."""
        return self._tensor(storage, storage.dtype, storage.item, offset, shape, stride)

    def typed_tensor(
        self, storage: Any, offset: Any, shape: Any, stride: Any, _grad: Any, _hooks: Any, dtype: Any, *_: Any
    ) -> Tensor:
        """As ``_rebuild_tensor_v3``: the storage is untyped, the dtype is an argument."""
        return self._tensor(storage, dtype.name, _SIZES[dtype.name], offset, shape, stride)

    def _tensor(self, storage: Any, dtype: str, size: int, offset: Any, shape: Any, stride: Any) -> Tensor:
        if not (is_shape(shape) and is_shape(stride) and len(shape) == len(stride) and is_shape((offset,))):
            raise TypeError
        if 0 not in shape:
            last = offset
            for extent, step in zip(shape, stride, strict=True):
                last += (extent - 1) * step
            if (last + 1) * size > storage.elements * storage.item:
                self.faults += 1
        return Tensor(dtype, shape, storage.location, storage.key, offset, stride)

    def damage(self, size: Callable[[str], int | None]) -> Iterator[str]:
        """Yield what is wrong with the storages; ``size`` returns the bytes of a key in the file, None for none."""
        for key, expected in self.sizes.items():
            actual = size(key)
            if actual is None:
                yield f"storage {key} is missing ({expected:,} bytes)"
            elif actual != expected:
                yield f"storage {key} has {actual:,} bytes, its tensors need {expected:,}"
        yield from self._overreach()

    def legacy_damage(self, stream: BinaryIO, keys: Any) -> Iterator[str]:
        """As ``damage`` for a file of torch < 1.6, open at the first storage; they are in the order of ``keys``.

        Each storage is the number of its elements, followed by the elements.
        """
        at = stream.tell()
        length = stream.seek(0, io.SEEK_END)
        keys = keys if type(keys) is list else []
        for key in keys:
            if type(key) is not str or key not in self.sizes:
                yield "its list of storages names one that no tensor uses"
                return
            stream.seek(at)
            head = stream.read(8)
            claimed = int.from_bytes(head, "little") * self.items[key]
            at += len(head) + self.sizes[key]
            if len(head) < 8 or at > length:
                yield f"the file is cut short: it ends before storage {key} does"
                return
            if claimed != self.sizes[key]:
                yield f"storage {key} has {claimed:,} bytes, its tensors need {self.sizes[key]:,}"
                return
            self.places[key] = at - self.sizes[key], at
        missing = len(self.sizes) - len(keys)
        if missing > 0:
            yield f"{missing} of its {len(self.sizes)} storages are missing"
        yield from self._overreach()

    def _overreach(self) -> Iterator[str]:
        if self.faults:
            yield f"{self.faults} of its tensors reach beyond the end of their storage"


def _meta_tensor(dtype: Any, shape: Any, _stride: Any, _grad: Any) -> Tensor:
    if not is_shape(shape):
        raise TypeError
    return Tensor(dtype.name, shape, "meta")


def _of_type(function: Any, _kind: Any, arguments: Any, _state: Any) -> Any:
    """As ``_rebuild_from_type_v2``: a tensor with attributes, or of a subclass (MONAI's MetaTensor)."""
    return called(function, arguments)


def _size(shape: Any) -> Any:
    if type(shape) not in (tuple, list):
        raise TypeError
    return shape


def _device(kind: Any, index: Any = None) -> str:
    if type(kind) is not str or len(kind) > MAX_LOCATION or not (index is None or is_shape((index,))):
        raise TypeError
    return kind if index is None else f"{kind}:{index}"
