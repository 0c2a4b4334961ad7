"""Read pickles as data: nothing in them is imported, called or executed.

``pickle.Unpickler`` is not used, not even restricted: its memo and its string opcodes reserve whatever a stream claims,
and hashing a tuple nested a million times overflows the C stack. Here the opcodes of protocols 0 to 5
(``Lib/pickletools.py`` describes them) build inert values. A global is a name; a call of one is an inert ``Call``,
except for the few of ``BUILDERS``, whose results are rebuilt by plansguard's own functions. Memory is bounded by the
bytes that the stream really contains: long strings are skipped and represented by ``Skipped``.
"""

from __future__ import annotations

import codecs
import io
import struct
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO

from plansguard.artefacts.checkpoint.pickle_values import (
    BUILDERS,
    BrokenPickle,
    Builder,
    Call,
    Global,
    PickledArray,
    PickledDtype,
    Skipped,
    called,
    fill,
)

MAX_TEXT = 64 * 1024
"""Bytes of the longest string that is kept; longer ones are skipped."""
MAX_BYTES = 4 * 1024
"""The same for byte strings, which are not needed: the values of arrays are not read."""
MAX_TEXTS = 16 * 1024**2
"""Bytes of all strings together that are kept."""
MAX_INSTRUCTIONS = 4 * 1024**2
"""Bytes of all opcodes and their short arguments. Each can take some 70 bytes of memory; a checkpoint of 956 parameters
needs 0.3 million."""
MAX_NESTING = 500
"""Unfinished containers at any time."""
MAX_KEYS = 2_000
"""Keys of dictionaries that are tuples: their hashes can be made to collide."""
MAX_KEY_PARTS = 16 * 1024
"""Items of all these tuples together: where hashes collide, whole tuples are compared, each with each. The regions of
117 labels, each a part of the next, have 6,903."""
_WINDOW = 16 * 1024
_MARGIN = 272  # no opcode of the inner loop takes more
_HASHED_INT = 2**60  # beyond 2**61 - 1 integers share their hashes
_NUMBER = 700  # characters of an integer or float written as text
_CUT = "it ends in the middle, the file is cut short"

Persistent = Callable[[Any], Any]


@dataclass(frozen=True)
class LoadedPickle:
    """The value of a pickle, and all globals that the stream names, in its order, each once.

    The value may contain itself, and may share a part very often: convert it with ``JsonConverter``. Sets are lists.
    """

    value: Any
    globals: tuple[Global, ...]


def load(
    stream: BinaryIO, *, persistent: Persistent | None = None, known: Mapping[tuple[str, str], Builder] | None = None
) -> LoadedPickle:
    """Read the pickle that begins here, and leave the seekable stream right behind it.

    ``persistent`` is called with every persistent id. ``known`` are builders for more globals, by module and name: the
    call stays inert where a builder raises TypeError or ValueError. It must copy nothing that it does not bound, for a
    stream of a few bytes can call it repeatedly with the same large argument.

    Raises BrokenPickle, and nothing else.
    """
    machine = _Machine(stream, persistent, known or {})
    try:
        return LoadedPickle(machine.run(), machine.named)
    except BrokenPickle as error:
        error.globals = machine.named
        raise
    except OSError as error:
        raise BrokenPickle(f"it cannot be read: {error}", machine.named) from error
    except (LookupError, TypeError, ValueError, AttributeError, OverflowError, struct.error) as error:
        reason = "its opcodes make no sense: the file is damaged, or no pickle"
        raise BrokenPickle(reason, machine.named) from error


_KNOWN = {place: Global(*place, build) for place, build in BUILDERS.items()}


class _Machine:
    """Stack, memo and limits while one pickle is read, and a window on the stream.

    The most frequent opcodes are in the loop of ``run``, the others in the table ``_HANDLERS``.
    """

    def __init__(
        self, stream: BinaryIO, persistent: Persistent | None, known: Mapping[tuple[str, str], Builder]
    ) -> None:
        self.stream = stream
        self.persistent = persistent
        self.known = known
        self.data = b""
        self.pos = 0
        self.high = -1  # from here on the window might not hold a whole opcode
        self.globals: dict[tuple[str, str], Global] = {}
        self.stack: list[Any] = []
        self.below_marks: list[list[Any]] = []
        self.memo: list[Any] = []
        self.far_memo: dict[int, Any] = {}  # entries under numbers that no pickler gives
        self.instructions = 0
        self.text_bytes = 0
        self.tuple_keys = 0
        self.tuple_key_parts = 0

    @property
    def named(self) -> tuple[Global, ...]:
        """All globals so far."""
        return tuple(self.globals.values())

    def run(self) -> Any:
        """Execute the opcodes up to STOP, and return what is on the stack then."""
        data, pos, high, stack, memo = self.data, self.pos, self.high, self.stack, self.memo
        opcodes = _OPCODES
        try:
            while True:
                if pos >= high:
                    self.refill(pos, _MARGIN)
                    data, pos, high = self.data, 0, self.high
                op = data[pos]
                pos += 1
                if (opcode := opcodes[op]) is not None:
                    self.pos = pos
                    opcode(self)
                    data, pos, high, stack = self.data, self.pos, self.high, self.stack
                elif op == 0x94:  # MEMOIZE
                    memo.append(stack[-1])
                elif op == 0x71:  # BINPUT
                    if data[pos] == len(memo):
                        memo.append(stack[-1])
                    else:
                        self.put(data[pos])
                    pos += 1
                elif op == 0x4B:  # BININT1
                    stack.append(data[pos])
                    pos += 1
                elif op == 0x68:  # BINGET
                    number = data[pos]
                    stack.append(memo[number] if number < len(memo) else self.far_memo[number])
                    pos += 1
                elif op == 0x8C:  # SHORT_BINUNICODE
                    end = pos + 1 + data[pos]
                    stack.append(str(data[pos + 1 : end], "utf-8", "surrogatepass"))
                    pos = end
                elif op == 0x28:  # MARK
                    self.mark()
                    stack = self.stack
                elif op == 0x74:  # TUPLE
                    items = tuple(stack)
                    self.stack = stack = self.below_marks.pop()
                    stack.append(items)
                elif op == 0x72:  # LONG_BINPUT
                    self.put(_U32.unpack_from(data, pos)[0])
                    pos += 4
                elif op == 0x47:  # BINFLOAT
                    stack.append(_F64.unpack_from(data, pos)[0])
                    pos += 8
                elif op == 0x2E:  # STOP
                    self.stream.seek(pos - len(data), io.SEEK_CUR)
                    self.spend(pos)
                    return stack.pop()
                else:
                    raise BrokenPickle(f"byte 0x{op:02x} in it is no opcode: the file is damaged")
        except (IndexError, struct.error) as error:
            if pos >= len(data) or type(error) is struct.error:
                raise BrokenPickle(_CUT) from error
            raise

    # --- The window

    def refill(self, pos: int, need: int) -> None:
        """Let the window begin at ``pos``, and hold ``need`` bytes unless the stream ends before."""
        self.spend(pos)
        data = self.data[pos:]
        while len(data) <= need:
            more = self.stream.read(max(_WINDOW, need + _MARGIN - len(data)))
            if not more:
                self.high = sys.maxsize
                break
            data += more
            self.high = len(data) - _MARGIN
        self.data, self.pos = data, 0

    def spend(self, instructions: int) -> None:
        self.instructions += instructions
        if self.instructions > MAX_INSTRUCTIONS:
            raise BrokenPickle(
                f"it holds more than {MAX_INSTRUCTIONS >> 20} MiB of opcodes, more than is read of any file"
            )

    def take(self, length: int) -> bytes:
        """Read so many bytes, which the caller must bound."""
        if self.pos + length > len(self.data):
            self.refill(self.pos, length)
        begin = self.pos
        self.pos = end = begin + length
        if end > len(self.data):
            raise BrokenPickle(_CUT)
        return self.data[begin:end]

    def byte(self) -> int:
        return self.take(1)[0]

    def number(self, layout: struct.Struct) -> Any:
        """Read a number of this layout."""
        return layout.unpack(self.take(layout.size))[0]

    def skip(self, length: int) -> Skipped:
        """Seek over a string; its bytes are no instructions."""
        here = len(self.data) - self.pos
        self.instructions -= min(length, here)
        if length <= here:
            self.pos += length
            return Skipped(length)
        if length >= 2**62:
            raise BrokenPickle(_CUT)
        self.spend(self.pos + here)
        self.stream.seek(length - here, io.SEEK_CUR)
        self.data, self.pos, self.high = b"", 0, -1
        return Skipped(length)

    def count_text(self, length: int) -> None:
        self.instructions -= length
        self.text_bytes += length
        if self.text_bytes > MAX_TEXTS:
            raise BrokenPickle(f"it holds more than {MAX_TEXTS >> 20} MiB of strings, more than is read of any file")

    def string(self, length: int, limit: int) -> bytes | Skipped:
        """Read a string, or skip one that is longer than ``limit``."""
        if length < 0:
            raise BrokenPickle("a string in it has a negative length")
        if length > limit:
            return self.skip(length)
        self.count_text(length)
        return self.take(length)

    def line(self, limit: int = MAX_TEXT) -> bytes:
        """Read the rest of this line, the argument of opcodes of protocol 0."""
        end = self.data.find(b"\n", self.pos)
        if end < 0:
            self.refill(self.pos, limit)
            end = self.data.find(b"\n", self.pos)
        if end < 0 and len(self.data) <= limit:
            raise BrokenPickle(_CUT)
        length = end - self.pos
        if not 0 <= length <= limit:
            raise BrokenPickle(f"a line in it is longer than {limit} bytes")
        self.count_text(length)
        raw = self.take(length)
        self.pos += 1
        return raw

    # --- Stack and memo

    def mark(self) -> None:
        if len(self.below_marks) >= MAX_NESTING:
            raise BrokenPickle(f"it nests deeper than {MAX_NESTING} levels")
        self.below_marks.append(self.stack)
        self.stack = []

    def pop_mark(self) -> list[Any]:
        """Remove and return everything above the last mark."""
        items = self.stack
        self.stack = self.below_marks.pop()
        return items

    def push(self, value: Any) -> None:
        self.stack.append(value)  # in a handler, self.stack would be read before the argument is computed

    def pop(self) -> None:
        if self.stack:
            del self.stack[-1]
        else:
            self.pop_mark()

    def put(self, number: int) -> None:
        """Store the top of the stack in the memo."""
        if number == len(self.memo):
            self.memo.append(self.stack[-1])
        elif 0 <= number < len(self.memo):
            self.memo[number] = self.stack[-1]
        elif 0 <= number < _HASHED_INT:
            self.far_memo[number] = self.stack[-1]
        else:
            raise BrokenPickle("it remembers a value under a number beyond 2**60")

    def get(self, number: int) -> None:
        self.stack.append(self.memo[number] if 0 <= number < len(self.memo) else self.far_memo[number])

    # --- Globals and calls

    def push_global(self, module: str, name: str) -> None:
        place = (module, name)
        if place not in self.globals:
            if len(module) > 1000 or len(name) > 1000:
                raise BrokenPickle("it names something with more than 1000 characters")
            if place in self.known:
                self.globals[place] = Global(module, name, self.known[place])
            else:
                self.globals[place] = _KNOWN.get(place) or Global(module, name)
        self.stack.append(self.globals[place])

    def read_global(self) -> None:
        module = str(self.line(), "utf-8")
        self.push_global(module, str(self.line(), "utf-8"))

    def stack_global(self) -> None:
        name, module = self.stack.pop(), self.stack.pop()
        if type(name) is not str or type(module) is not str:
            raise BrokenPickle("it names a global by something that is no text")
        self.push_global(module, name)

    def extension(self, width: int) -> None:
        """Push a code under which some program registered a global; the file does not contain which one."""
        self.push_global("copyreg", f"extension {int.from_bytes(self.take(width), 'little')}")

    def refer(self, identifier: Any) -> None:
        if self.persistent is None:
            raise BrokenPickle("it refers to something outside the file, by a persistent id")
        self.stack.append(self.persistent(identifier))

    def call(self) -> None:
        arguments = self.stack.pop()
        self.stack[-1] = called(self.stack[-1], arguments)

    def call_with_keywords(self) -> None:
        keywords, arguments = self.stack.pop(), self.stack.pop()
        self.stack[-1] = Call(self.stack[-1], arguments, keywords)

    def call_with_marked(self) -> None:
        function, *arguments = self.pop_mark()
        self.stack.append(Call(function, tuple(arguments)))

    def call_read_global(self) -> None:
        arguments = tuple(self.pop_mark())
        self.read_global()
        self.stack.append(Call(self.stack.pop(), arguments))

    def build(self) -> None:
        state, target = self.stack.pop(), self.stack[-1]
        if type(target) is PickledArray:
            fill(target, state)
        elif type(target) is PickledDtype:
            target.order = state[1] if state[1] in ("<", ">") else "|"
        elif type(target) is Call:
            target.state = state

    # --- Containers

    def extend(self, items: list[Any]) -> None:
        """Append to the list on top of the stack."""
        target = self.stack[-1]
        if type(target) is Call:
            target.items = [] if target.items is None else target.items
            target = target.items
        if type(target) is not list:
            raise BrokenPickle("it appends to something that is no list")
        target.extend(items)

    def set_items(self, pairs: list[Any]) -> None:
        """Set keys and values, one after the other in ``pairs``, in the dictionary on top of the stack."""
        target = self.stack[-1]
        if type(target) is Call:
            target.entries = {} if target.entries is None else target.entries
            target = target.entries
        if type(target) is not dict or len(pairs) % 2:
            raise BrokenPickle("it sets keys of something that is no dict")
        for index in range(0, len(pairs), 2):
            key = pairs[index]
            if type(key) is not str:
                self.check_key(key)
            target[key] = pairs[index + 1]

    def check_key(self, key: Any) -> None:
        """Refuse a key whose hash takes long to compute or can be chosen."""
        if type(key) is int and not -_HASHED_INT < key < _HASHED_INT:
            raise BrokenPickle("a dict in it has an integer beyond 2**60 as a key")
        if type(key) is tuple:
            self.tuple_keys += 1
            self.tuple_key_parts += len(key)
            if self.tuple_keys > MAX_KEYS or self.tuple_key_parts > MAX_KEY_PARTS or not _is_flat(key):
                raise BrokenPickle("its dicts have too many, or too large, tuples as keys")
        elif type(key) not in (str, int, float, bool, type(None), bytes, Global, Call):
            raise BrokenPickle("a dict in it has a key that cannot be one")

    def push_dict(self) -> None:
        pairs = self.pop_mark()
        self.stack.append({})
        self.set_items(pairs)

    # --- Numbers and strings

    def push_long(self, length: int) -> None:
        if length < 0:
            raise BrokenPickle("an integer in it has a negative length")
        if length > 255:
            self.stack.append(self.skip(length))
        else:
            self.stack.append(int.from_bytes(self.take(length), "little", signed=True))

    def push_int_line(self) -> None:
        raw = self.line(_NUMBER)
        self.stack.append(raw == b"01" if raw in (b"00", b"01") else int(raw))

    def push_quoted(self) -> None:
        raw = self.line()
        if len(raw) < 2 or raw[0] != raw[-1] or raw[0] not in b"\"'":
            raise BrokenPickle("a string in it has no quotes")
        self.stack.append(_native(codecs.escape_decode(raw[1:-1])[0]))

    def push_text(self, length: int) -> None:
        # The bytes of short strings count as instructions, which limits their number.
        raw = self.take(length) if length <= 200 else self.string(length, MAX_TEXT)
        self.stack.append(str(raw, "utf-8", "surrogatepass") if type(raw) is bytes else raw)

    def push_native(self, length: int) -> None:
        raw = self.string(length, MAX_BYTES)
        self.stack.append(_native(raw) if type(raw) is bytes else raw)

    def push_bytes(self, length: int) -> None:
        self.stack.append(self.string(length, MAX_BYTES))

    def buffer(self) -> None:
        raise BrokenPickle("it refers to a buffer outside the file")


def _native(raw: bytes) -> str | bytes:
    """A string of Python 2, which may have been bytes."""
    return raw.decode("ascii") if raw.isascii() else raw


def _is_flat(key: tuple[Any, ...]) -> bool:
    """Whether this tuple contains scalars only; nnU-Net's are the labels of a region."""
    return all(
        -_HASHED_INT < part < _HASHED_INT
        if type(part) is int
        else (len(part) <= 256 if type(part) is str else type(part) in (float, bool, type(None)))
        for part in key
    )


_U16, _I32, _U32, _U64, _F64 = map(struct.Struct, ("<H", "<i", "<I", "<Q", ">d"))
_HANDLERS: dict[bytes, Callable[[_Machine], object]] = {
    # Framing: the length of a frame is no more than a claim
    b"\x80": lambda machine: machine.take(1),  # PROTO
    b"\x95": lambda machine: machine.take(8),  # FRAME
    # Stack and memo
    b"0": _Machine.pop,
    b"1": _Machine.pop_mark,
    b"2": lambda machine: machine.stack.append(machine.stack[-1]),  # DUP
    b"p": lambda machine: machine.put(int(machine.line(_NUMBER))),  # PUT
    b"j": lambda machine: machine.get(machine.number(_U32)),  # LONG_BINGET
    b"g": lambda machine: machine.get(int(machine.line(_NUMBER))),  # GET
    # Constants and numbers
    b"N": lambda machine: machine.stack.append(None),  # NONE
    b"\x88": lambda machine: machine.stack.append(True),  # NEWTRUE
    b"\x89": lambda machine: machine.stack.append(False),  # NEWFALSE
    b"M": lambda machine: machine.stack.append(machine.number(_U16)),  # BININT2
    b"J": lambda machine: machine.stack.append(machine.number(_I32)),  # BININT
    b"\x8a": lambda machine: machine.push_long(machine.byte()),  # LONG1
    b"\x8b": lambda machine: machine.push_long(machine.number(_I32)),  # LONG4
    b"I": _Machine.push_int_line,
    b"L": lambda machine: machine.stack.append(int(machine.line(_NUMBER).rstrip(b"L"))),  # LONG
    b"F": lambda machine: machine.stack.append(float(machine.line(_NUMBER))),  # FLOAT
    # Strings
    b"X": lambda machine: machine.push_text(machine.number(_U32)),  # BINUNICODE
    b"\x8d": lambda machine: machine.push_text(machine.number(_U64)),  # BINUNICODE8
    b"V": lambda machine: machine.stack.append(codecs.raw_unicode_escape_decode(machine.line())[0]),  # UNICODE
    b"B": lambda machine: machine.push_bytes(machine.number(_U32)),  # BINBYTES
    b"C": lambda machine: machine.push_bytes(machine.byte()),  # SHORT_BINBYTES
    b"\x8e": lambda machine: machine.push_bytes(machine.number(_U64)),  # BINBYTES8
    b"\x96": lambda machine: machine.push_bytes(machine.number(_U64)),  # BYTEARRAY8
    b"S": _Machine.push_quoted,
    b"T": lambda machine: machine.push_native(machine.number(_I32)),  # BINSTRING
    b"U": lambda machine: machine.push_native(machine.byte()),  # SHORT_BINSTRING
    b"\x97": _Machine.buffer,  # NEXT_BUFFER
    b"\x98": _Machine.buffer,  # READONLY_BUFFER
    # Containers; sets are lists, frozen ones tuples
    b")": lambda machine: machine.stack.append(()),  # EMPTY_TUPLE
    b"\x85": lambda machine: machine.stack.append((machine.stack.pop(),)),  # TUPLE1
    b"\x86": lambda machine: machine.push((machine.stack.pop(-2), machine.stack.pop())),  # TUPLE2
    b"\x87": lambda machine: machine.push(  # TUPLE3
        (machine.stack.pop(-3), machine.stack.pop(-2), machine.stack.pop())
    ),
    b"\x91": lambda machine: machine.push(tuple(machine.pop_mark())),  # FROZENSET
    b"]": lambda machine: machine.stack.append([]),  # EMPTY_LIST
    b"\x8f": lambda machine: machine.stack.append([]),  # EMPTY_SET
    b"l": lambda machine: machine.push(machine.pop_mark()),  # LIST
    b"a": lambda machine: machine.extend([machine.stack.pop()]),  # APPEND
    b"e": lambda machine: machine.extend(machine.pop_mark()),  # APPENDS
    b"\x90": lambda machine: machine.extend(machine.pop_mark()),  # ADDITEMS
    b"}": lambda machine: machine.stack.append({}),  # EMPTY_DICT
    b"d": _Machine.push_dict,
    b"s": lambda machine: machine.set_items([machine.stack.pop(-2), machine.stack.pop()]),  # SETITEM
    b"u": lambda machine: machine.set_items(machine.pop_mark()),  # SETITEMS
    # Globals, calls and references
    b"c": _Machine.read_global,
    b"\x93": _Machine.stack_global,
    b"\x82": lambda machine: machine.extension(1),  # EXT1
    b"\x83": lambda machine: machine.extension(2),  # EXT2
    b"\x84": lambda machine: machine.extension(4),  # EXT4
    b"R": _Machine.call,  # REDUCE
    b"\x81": _Machine.call,  # NEWOBJ
    b"\x92": _Machine.call_with_keywords,  # NEWOBJ_EX
    b"o": _Machine.call_with_marked,  # OBJ
    b"i": _Machine.call_read_global,  # INST
    b"b": _Machine.build,
    b"Q": lambda machine: machine.refer(machine.stack.pop()),  # BINPERSID
    b"P": lambda machine: machine.refer(str(machine.line(), "ascii")),  # PERSID
}
_OPCODES = [_HANDLERS.get(bytes([code])) for code in range(256)]  # None for those in the loop, and for no opcode
