"""Inert values that a pickle is read into, and the functions that rebuild values of numpy and Python."""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from plansguard.documents import json_document

SMALL = 256
"""Bytes of an array, or of text written for bytes, that are kept."""

_DIMENSIONS = 12
_EXTENT = 2**48
_ARGUMENTS = 16

Builder = Callable[..., Any]


@dataclass(frozen=True)
class Global:
    """A class or a function, by name. ``build`` rebuilds the result of a call, for the few that are known."""

    module: str
    name: str
    build: Builder | None = field(default=None, compare=False, repr=False)

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"


class BrokenPickle(ValueError):
    """A stream that is no pickle, not a whole one, or larger than any that nnU-Net writes; the text is one clause.

    ``globals`` are those that it named before the error: unpickling it would call them before it fails.
    """

    def __init__(self, reason: str, globals_: tuple[Global, ...] = ()) -> None:
        super().__init__(reason)
        self.globals = globals_


@dataclass(slots=True, eq=False, repr=False)
class Call:
    """A call that was not made; ``state`` is the argument of BUILD.

    ``items`` and ``entries`` would have been appended to the result, a list, or set in it, a dictionary.
    """

    function: Any
    arguments: Any
    keywords: Any = None
    state: Any = None
    items: list[Any] | None = None
    entries: dict[Any, Any] | None = None

    def __repr__(self) -> str:
        return f"<call of {self.function}>" if type(self.function) is Global else "<call>"


@dataclass(slots=True, eq=False, repr=False)
class Skipped:
    """A string that was not kept because it is long; ``length`` in bytes."""

    length: int

    def __repr__(self) -> str:
        return f"<{self.length} bytes, left out>"


@dataclass
class PickledArray:
    """A numpy array. Up to SMALL bytes of values are kept as ``data``, in C order unless ``fortran``."""

    dtype: str
    shape: tuple[int, ...]
    data: bytes | None = None
    fortran: bool = False
    code: str = ""

    def values(self) -> Any:
        """Return nested lists, a number for no dimension; None if the values were not kept or are no numbers."""
        letter = _FORMATS.get(self.code[1:])
        if self.data is None or letter is None:
            return None
        if 0 in self.shape:
            return []
        flat = struct.unpack(f"{'>' if self.code[0] == '>' else '<'}{math.prod(self.shape)}{letter}", self.data)
        axes = range(len(self.shape))
        faster = (self.shape[:axis] if self.fortran else self.shape[axis + 1 :] for axis in axes)
        return _folded(flat, self.shape, [math.prod(lengths) for lengths in faster], 0)


def _folded(flat: tuple[Any, ...], shape: tuple[int, ...], steps: list[int], at: int) -> Any:
    """The part of a flat array that begins at ``at``, as nested lists of this shape."""
    if not shape:
        return flat[at]
    return [_folded(flat, shape[1:], steps[1:], at + index * steps[0]) for index in range(shape[0])]


# --- Builders

_FORMATS = {
    "b1": "?", "i1": "b", "u1": "B", "i2": "h", "u2": "H", "i4": "i", "u4": "I", "i8": "q", "u8": "Q",
    "f2": "e", "f4": "f", "f8": "d",
}  # fmt: skip
_NAMES = {
    "b1": "bool", "i1": "int8", "u1": "uint8", "i2": "int16", "u2": "uint16", "i4": "int32", "u4": "uint32",
    "i8": "int64", "u8": "uint64", "f2": "float16", "f4": "float32", "f8": "float64", "c8": "complex64",
    "c16": "complex128", "O8": "object",
}  # fmt: skip
_UNPACK = {
    order + code: struct.Struct(("<" if order == "|" else order) + letter).unpack
    for order in "<>|"
    for code, letter in _FORMATS.items()
}


@dataclass(slots=True, eq=False)
class PickledDtype:
    """A numpy dtype: its code without the byte order (``f8``), and the byte order, which BUILD sets later."""

    code: str
    order: str = "|"


def _dtype(code: Any, *_: Any) -> PickledDtype:
    if type(code) is not str or len(code) > 16:
        raise TypeError
    return PickledDtype(code)


def _scalar(dtype: Any, raw: Any = b"") -> Any:
    """Return a scalar of numpy as Python's own."""
    if type(raw) is str:
        raw = raw.encode("latin-1")
    unpack = _UNPACK.get(dtype.order + dtype.code)
    if unpack is not None:
        return unpack(raw)[0]
    if dtype.code.startswith("U") and len(raw) <= SMALL:
        return raw.decode("utf-32-be" if dtype.order == ">" else "utf-32-le").rstrip("\0")
    raise TypeError


def _array_of_buffer(buffer: Any, dtype: Any, shape: Any, order: Any = "C") -> PickledArray:
    """As ``numpy.core.numeric._frombuffer``, which protocol 5 calls."""
    array = PickledArray("", ())
    fill(array, (1, shape, dtype, order == "F", buffer))
    return array


def fill(array: PickledArray, state: Any) -> None:
    """As ``ndarray.__setstate__``. BrokenPickle where numpy would refuse the state."""
    if type(state) is not tuple or len(state) not in (4, 5):
        raise BrokenPickle("an array in it has no data")
    shape, dtype, fortran, raw = state[-4:]
    if type(dtype) is not PickledDtype:
        raise BrokenPickle("an array in it has no dtype")
    if not is_shape(shape):
        raise BrokenPickle("an array in it has no shape")
    if type(raw) is str:
        raw = raw.encode("latin-1")
    array.code = dtype.order + dtype.code
    array.dtype = _NAMES.get(dtype.code, dtype.code)
    array.shape = shape
    array.fortran = fortran is True
    if dtype.code in _FORMATS and type(raw) in (bytes, Skipped):
        length = len(raw) if type(raw) is bytes else raw.length
        expected = math.prod(shape) * int(dtype.code[1:])
        if length != expected:
            raise BrokenPickle(f"an array in it of shape {shape} and dtype {array.dtype} has {length} bytes")
    array.data = raw if type(raw) is bytes and len(raw) <= SMALL else None


def is_shape(shape: Any) -> bool:
    """Whether this is a tuple of a few lengths, whose product is a number of limited size."""
    if type(shape) is not tuple or len(shape) > _DIMENSIONS:
        return False
    for extent in shape:  # noqa: SIM110 - a generator doubles the time of reading a checkpoint's tensors
        if type(extent) is not int or not 0 <= extent < _EXTENT:
            return False
    return True


def _encoded(text: Any, encoding: Any = "latin1") -> bytes | Skipped:
    """Return bytes, which protocol 2 writes as a call of ``_codecs.encode``."""
    if encoding not in ("latin1", "latin-1"):
        raise ValueError
    if type(text) is Skipped:
        return text
    return Skipped(len(text)) if len(text) > SMALL else text.encode("latin-1")


def _same(value: Any) -> Any:
    """Return the list, tuple or bytes itself in place of a copy, so that many copies cost nothing. Sets are lists."""
    if type(value) not in (list, tuple, bytes, Skipped):
        raise TypeError
    return value


def _new_dict() -> dict[Any, Any]:
    """As ``dict`` without arguments; others are not copied."""
    return {}


_CORES = ("numpy.core", "numpy._core")  # before and since numpy 2
_BUILTINS = ("builtins", "__builtin__")
BUILDERS: dict[tuple[str, str], Builder] = {
    ("collections", "OrderedDict"): _new_dict,
    ("collections", "defaultdict"): lambda _factory=None: {},
    ("_codecs", "encode"): _encoded,
    ("numpy", "dtype"): _dtype,
    **{(core + ".multiarray", "scalar"): _scalar for core in _CORES},
    **{(core + ".multiarray", "_reconstruct"): lambda *_: PickledArray("", ()) for core in _CORES},
    **{(core + ".numeric", "_frombuffer"): _array_of_buffer for core in _CORES},
    **{
        (module, name): lambda value=None: [] if value is None else _same(value)
        for module in _BUILTINS
        for name in ("set", "frozenset", "list", "tuple")
    },
    **{(module, name): lambda value=b"": _same(value) for module in _BUILTINS for name in ("bytes", "bytearray")},
    **{(module, "dict"): _new_dict for module in _BUILTINS},
}


def called(function: Any, arguments: Any) -> Any:
    """Call the builder of this global; an inert Call if it has none, or if the arguments do not suit it."""
    if type(function) is not Global or function.build is None:
        return Call(function, arguments)
    if type(arguments) is not tuple or len(arguments) > _ARGUMENTS:
        return Call(function, arguments)
    try:
        return function.build(*arguments)
    except BrokenPickle:
        raise
    except (TypeError, ValueError, AttributeError, LookupError, OverflowError, struct.error):
        return Call(function, arguments)


# --- Conversion to the types of JSON

MAX_VALUES = 500_000
MAX_DEPTH = 100
MAX_JSON_BYTES = json_document.MAX_BYTES


class JsonConverter:
    """Convert values of a pickle to JSON's types: tuples and small arrays become lists, keys and inert values text.

    What is shared is repeated, as ``json`` does. The limits MAX_VALUES and MAX_JSON_BYTES, as ``json_document.dumps``
    writes it, are for all values that one converter converts.
    """

    def __init__(self) -> None:
        self._values = 0
        self._bytes = 0

    def convert(self, value: Any, depth: int = 0) -> Any:
        """Convert a value that ``depth`` lists and dictionaries surround.

        BrokenPickle for a value that contains itself, and for one beyond MAX_DEPTH or the other limits.
        """
        self._values += 1
        if self._values > MAX_VALUES or depth > MAX_DEPTH:
            raise BrokenPickle("a value in it contains itself, or is far larger than any that nnU-Net writes")
        self._count(4 * depth + 2)  # the indentation; a comma and the end of the line
        if type(value) is str:
            return self._text(value)
        if value is None or type(value) in (int, float, bool):
            self._count(len(repr(value)) + 5)  # JSON's longest word for a number is -Infinity, Python's -inf
            return value
        if type(value) is dict:
            self._count(4 * depth + 3)
            return {self._key(key): self.convert(part, depth + 1) for key, part in value.items()}
        if type(value) in (list, tuple):
            self._count(4 * depth + 3)
            return [self.convert(part, depth + 1) for part in value]
        if type(value) is PickledArray and (values := value.values()) is not None:
            return self.convert(values, depth)
        if type(value) is bytes:
            return self._text(value.decode("latin-1"))
        if type(value) is PickledArray:
            return self._text(f"<array of shape {value.shape}, {value.dtype}>")
        return self._text(f"<{value}>" if type(value) is Global else repr(value))

    def _key(self, key: Any) -> str:
        if key is None or type(key) is bool:
            return self._text(json.dumps(key))
        return self._text(key if type(key) is str else repr(key))

    def _text(self, text: str) -> str:
        self._count(len(json.dumps(text)) + 2)  # a key is followed by a colon and a space
        return text

    def _count(self, length: int) -> None:
        self._bytes += length
        if self._bytes > MAX_JSON_BYTES:
            raise BrokenPickle("a value in it is longer, or repeats itself more often, than any that nnU-Net writes")
