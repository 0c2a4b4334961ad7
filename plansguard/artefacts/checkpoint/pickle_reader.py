"""Pickles read as data: nothing in them is imported, called or executed.

``pickle.Unpickler`` is not used, not even restricted: its memo and its string opcodes reserve whatever a stream claims,
and hashing a tuple nested a million times overflows the C stack. Here a machine of our own walks the opcodes of
protocols 0 to 5 (``Lib/pickletools.py`` describes them all). A global is a name, a call of one is an inert ``Call``,
except for the few of ``BUILDERS``, whose results are rebuilt by functions of our own. Memory is bounded by what the
stream really holds: long strings are sought over and stand as ``Skipped``.
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
    Array,
    BrokenPickle,
    Builder,
    Call,
    Dtype,
    Global,
    Plain,
    Skipped,
    called,
    fill,
    plain,
)
from plansguard.artefacts.checkpoint.unsafe_globals import suspicious

__all__ = ["Array", "BrokenPickle", "Call", "Global", "Loaded", "Plain", "Skipped", "load", "plain", "suspicious"]

MAX_TEXT = 64 * 1024
"""Bytes of the longest string that is kept; longer ones are sought over."""
MAX_BYTES = 4 * 1024
"""The same for byte strings, which nobody asks for: the values of arrays are not read."""
MAX_TEXTS = 16 * 1024**2
"""Bytes of all strings together that are kept."""
MAX_INSTRUCTIONS = 4 * 1024**2
"""Bytes of all opcodes and short arguments. Each can stand for some 70 bytes of memory; a checkpoint of 956 parameters
needs 0.3 million."""
MAX_NESTING = 500
"""Unfinished containers at any time."""
MAX_KEYS = 2_000
"""Keys of dictionaries that are tuples: their hashes can be made to collide."""
MAX_KEY_PARTS = 16 * 1024
"""What all these tuples hold together: where hashes collide, whole tuples are compared, each with each. The regions of
117 labels, each a part of the next, are 6,903."""
_WINDOW = 16 * 1024
_MARGIN = 272  # no opcode of the inner loop takes more, unless it says so first
_HASHED_INT = 2**60  # beyond 2**61 - 1 integers share their hashes
_NUMBER = 700  # characters of an integer or float written as text
_CUT = "it ends in the middle, the file is cut short"

Persistent = Callable[[Any], Any]


@dataclass(frozen=True)
class Loaded:
    """What a pickle holds.

    ``value`` may contain itself, and what it shares it may share very often: walk it with ``plain``. Sets are lists in
    it. ``globals`` are all that the stream names, in its order, each once.
    """

    value: Any
    globals: tuple[Global, ...]


def load(
    stream: BinaryIO, *, persistent: Persistent | None = None, known: Mapping[tuple[str, str], Builder] | None = None
) -> Loaded:
    """The pickle that begins here; the stream is left right behind it. It must be seekable.

    ``persistent`` is given every persistent id. ``known`` are builders for more globals, by module and name: a builder
    that raises TypeError or ValueError leaves an inert Call. It must copy nothing that it does not bound, for a stream
    of a few bytes can call it again and again with the same large argument.

    Raises BrokenPickle, and nothing else.
    """
    machine = _Machine(stream, persistent, known or {})
    try:
        return Loaded(machine.run(), machine.named_so_far())
    except BrokenPickle as error:
        error.globals = machine.named_so_far()
        raise
    except OSError as error:
        raise BrokenPickle(f"it cannot be read: {error}", machine.named_so_far()) from error
    except (LookupError, TypeError, ValueError, AttributeError, OverflowError, struct.error) as error:
        reason = "its opcodes make no sense: the file is damaged, or no pickle"
        raise BrokenPickle(reason, machine.named_so_far()) from error


# --- The machine ------------------------------------------------------------

_KNOWN = {place: Global(*place, build) for place, build in BUILDERS.items()}
_U16 = struct.Struct("<H").unpack_from
_U32 = struct.Struct("<I").unpack_from
_I32 = struct.Struct("<i").unpack_from
_U64 = struct.Struct("<Q").unpack_from
_F64 = struct.Struct(">d").unpack_from


class _Machine:
    """Stack, memo and a window on the stream.

    The inner loop holds what it uses in local names. Opcodes that are seldom met are methods; for them the loop
    writes the window's place and the stack back, and takes both up again.
    """

    def __init__(
        self, stream: BinaryIO, persistent: Persistent | None, known: Mapping[tuple[str, str], Builder]
    ) -> None:
        self.stream = stream
        self.persistent = persistent
        self.known = known
        self.globals: dict[tuple[str, str], Global] = {}
        self.data = b""
        self.pos = 0
        self.high = -1  # from here on there might be too little in the window for an opcode
        self.stack: list[Any] = []
        self.meta: list[list[Any]] = []  # what lies below each mark
        self.memo: list[Any] = []
        self.far: dict[int, Any] = {}  # memo entries under numbers that no pickler gives
        self.instructions = 0
        self.texts = 0
        self.keys = 0
        self.key_parts = 0

    def run(self) -> Any:
        """Walk the opcodes to the last one, STOP, and return what is on the stack then."""
        data, pos, high = self.data, self.pos, self.high
        stack, meta, memo, far = self.stack, self.meta, self.memo, self.far
        u16, u32, i32, f64 = _U16, _U32, _I32, _F64
        try:
            while True:
                if pos >= high:
                    self.refill(pos, _MARGIN)
                    data, pos, high = self.data, 0, self.high
                op = data[pos]
                pos += 1
                if op >= 0x80:
                    if op == 0x94:  # MEMOIZE
                        memo.append(stack[-1])
                        continue
                    if op == 0x8C:  # SHORT_BINUNICODE
                        end = pos + 1 + data[pos]
                        stack.append(str(data[pos + 1 : end], "utf-8", "surrogatepass"))
                        pos = end
                        continue
                    if op == 0x85:  # TUPLE1
                        stack[-1] = (stack[-1],)
                        continue
                    if op == 0x89:  # NEWFALSE
                        stack.append(False)
                        continue
                    if op == 0x86:  # TUPLE2
                        item = stack.pop()
                        stack[-1] = (stack[-1], item)
                        continue
                    if op == 0x87:  # TUPLE3
                        item = stack.pop()
                        middle = stack.pop()
                        stack[-1] = (stack[-1], middle, item)
                        continue
                    if op == 0x88:  # NEWTRUE
                        stack.append(True)
                        continue
                elif op >= 0x70:
                    if op == 0x72:  # LONG_BINPUT
                        number = u32(data, pos)[0]
                        pos += 4
                        if number == len(memo):
                            memo.append(stack[-1])
                        else:
                            self.put(number, stack[-1])
                        continue
                    if op == 0x74:  # TUPLE
                        items = tuple(stack)
                        stack = meta.pop()
                        stack.append(items)
                        continue
                    if op == 0x71:  # BINPUT
                        number = data[pos]
                        pos += 1
                        if number == len(memo):
                            memo.append(stack[-1])
                        else:
                            self.put(number, stack[-1])
                        continue
                    if op == 0x7D:  # EMPTY_DICT
                        stack.append({})
                        continue
                    if op == 0x73:  # SETITEM
                        item = stack.pop()
                        key = stack.pop()
                        target = stack[-1]
                        if type(target) is dict and type(key) is str:
                            target[key] = item
                        else:
                            self.set_items(target, [key, item])
                        continue
                    if op == 0x75:  # SETITEMS
                        pairs = stack
                        stack = meta.pop()
                        self.set_items(stack[-1], pairs)
                        continue
                elif op == 0x4B:  # BININT1
                    stack.append(data[pos])
                    pos += 1
                    continue
                elif op == 0x68:  # BINGET
                    number = data[pos]
                    pos += 1
                    stack.append(memo[number] if number < len(memo) else far[number])
                    continue
                elif op == 0x28:  # MARK
                    if len(meta) >= MAX_NESTING:
                        raise BrokenPickle(f"it nests deeper than {MAX_NESTING} levels")
                    meta.append(stack)
                    stack = []
                    continue
                elif op == 0x58:  # BINUNICODE
                    length = u32(data, pos)[0]
                    pos += 4
                    if length <= 200 and pos < high:
                        end = pos + length
                        stack.append(str(data[pos:end], "utf-8", "surrogatepass"))
                        pos = end
                        continue
                    self.pos = pos
                    stack.append(self.text(length))
                    data, pos, high = self.data, self.pos, self.high
                    continue
                elif op == 0x52:  # REDUCE
                    arguments = stack.pop()
                    function = stack[-1]
                    if type(function) is Global and function.build is not None and type(arguments) is tuple:
                        stack[-1] = called(function, arguments)
                    else:
                        stack[-1] = Call(function, arguments)
                    continue
                elif op == 0x6A:  # LONG_BINGET
                    number = u32(data, pos)[0]
                    pos += 4
                    stack.append(memo[number] if number < len(memo) else far[number])
                    continue
                elif op == 0x4D:  # BININT2
                    stack.append(u16(data, pos)[0])
                    pos += 2
                    continue
                elif op == 0x29:  # EMPTY_TUPLE
                    stack.append(())
                    continue
                elif op == 0x51:  # BINPERSID
                    stack[-1] = self.refer(stack[-1])
                    continue
                elif op == 0x4A:  # BININT
                    stack.append(i32(data, pos)[0])
                    pos += 4
                    continue
                elif op == 0x47:  # BINFLOAT
                    stack.append(f64(data, pos)[0])
                    pos += 8
                    continue
                elif op == 0x5D:  # EMPTY_LIST
                    stack.append([])
                    continue
                elif op == 0x65:  # APPENDS
                    tail = stack
                    stack = meta.pop()
                    self.extend(stack[-1], tail)
                    continue
                elif op == 0x4E:  # NONE
                    stack.append(None)
                    continue
                elif op == 0x43:  # SHORT_BINBYTES
                    end = pos + 1 + data[pos]
                    stack.append(data[pos + 1 : end])
                    pos = end
                    continue
                elif op == 0x61:  # APPEND
                    item = stack.pop()
                    self.extend(stack[-1], [item])
                    continue
                elif op == 0x2E:  # STOP
                    self.stream.seek(pos - len(data), io.SEEK_CUR)
                    self.spend(pos)
                    return stack.pop()
                self.pos, self.stack = pos, stack
                try:
                    method = _SELDOM[op]
                except KeyError:
                    raise BrokenPickle(f"byte 0x{op:02x} in it is no opcode: the file is damaged") from None
                method(self)
                data, pos, high, stack = self.data, self.pos, self.high, self.stack
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
        """The next bytes; no more than a window's worth may be asked for."""
        if self.pos + length > len(self.data):
            self.refill(self.pos, length)
        begin = self.pos
        self.pos = end = begin + length
        if end > len(self.data):
            raise BrokenPickle(_CUT)
        return self.data[begin:end]

    def skip(self, length: int) -> None:
        """Seek over bytes."""
        here = len(self.data) - self.pos
        self.instructions -= min(length, here)  # strings are no instructions
        if length <= here:
            self.pos += length
            return
        if length >= 2**62:
            raise BrokenPickle(_CUT)
        self.spend(self.pos + here)
        self.stream.seek(length - here, io.SEEK_CUR)
        self.data, self.pos, self.high = b"", 0, -1

    def string(self, length: int, limit: int) -> bytes | None:
        """The next bytes if they are to be kept; else None, and they are sought over."""
        if length > limit:
            self.skip(length)
            return None
        self.texts += length
        if self.texts > MAX_TEXTS:
            raise BrokenPickle(f"it holds more than {MAX_TEXTS >> 20} MiB of strings, more than is read of any file")
        raw = self.take(length)
        self.instructions -= length
        return raw

    def text(self, length: int) -> str | Skipped:
        raw = self.string(length, MAX_TEXT)
        return Skipped(length) if raw is None else str(raw, "utf-8", "surrogatepass")

    def line(self, limit: int = MAX_TEXT) -> bytes:
        """The rest of this line, as the opcodes of protocol 0 take it."""
        end = self.data.find(b"\n", self.pos)
        if end < 0:
            self.refill(self.pos, limit)
            end = self.data.find(b"\n", self.pos)
        if end < 0:
            raise BrokenPickle(_CUT if len(self.data) <= limit else f"a line in it is longer than {limit} bytes")
        begin, self.pos = self.pos, end + 1
        self.texts += end - begin
        if self.texts > MAX_TEXTS or end - begin > limit:
            raise BrokenPickle(f"its lines are longer than {limit} bytes, or all strings than {MAX_TEXTS >> 20} MiB")
        self.instructions -= end - begin
        return self.data[begin:end]

    # --- Stack and memo

    def put(self, number: int, value: Any) -> None:
        """Remember under a number that is not the next one."""
        if number < len(self.memo):
            self.memo[number] = value
        elif number == len(self.memo):
            self.memo.append(value)
        elif number < _HASHED_INT:
            self.far[number] = value
        else:
            raise BrokenPickle("it remembers a value under a number beyond 2**60")

    def get(self, number: int) -> None:
        self.stack.append(self.memo[number] if 0 <= number < len(self.memo) else self.far[number])

    def pop_mark(self) -> list[Any]:
        items = self.stack
        self.stack = self.meta.pop()
        return items

    def refer(self, identifier: Any) -> Any:
        if self.persistent is None:
            raise BrokenPickle("it refers to something outside the file, by a persistent id")
        return self.persistent(identifier)

    def extend(self, target: Any, items: list[Any]) -> None:
        if type(target) is list:
            target.extend(items)
        elif type(target) is Call:
            target.items = [] if target.items is None else target.items
            target.items.extend(items)
        else:
            raise BrokenPickle("it appends to something that is no list")

    def set_items(self, target: Any, pairs: list[Any]) -> None:
        if type(target) is Call:
            target.entries = {} if target.entries is None else target.entries
            target = target.entries
        if type(target) is not dict or len(pairs) % 2:
            raise BrokenPickle("it sets keys of something that is no dict")
        for index in range(0, len(pairs), 2):
            key = pairs[index]
            target[key if type(key) is str else self.key(key)] = pairs[index + 1]

    def key(self, key: Any) -> Any:
        """A key whose hash is quickly made and cannot be chosen at will."""
        if type(key) is int and not -_HASHED_INT < key < _HASHED_INT:
            raise BrokenPickle("a dict in it has an integer beyond 2**60 as a key")
        if type(key) is tuple:
            self.keys += 1
            self.key_parts += len(key)
            if self.keys > MAX_KEYS or self.key_parts > MAX_KEY_PARTS or not _is_flat(key):
                raise BrokenPickle("its dicts have too many, or too large, tuples as keys")
        elif type(key) not in (str, int, float, bool, type(None), bytes, Global, Call):
            raise BrokenPickle("a dict in it has a key that cannot be one")
        return key

    # --- Opcodes that are seldom met

    def named_so_far(self) -> tuple[Global, ...]:
        return tuple(self.globals.values())

    def named(self, module: str, name: str) -> Global:
        place = (module, name)
        found = self.globals.get(place)
        if found is None:
            if len(module) > 1000 or len(name) > 1000:
                raise BrokenPickle("it names something with more than 1000 characters")
            if place in self.known:
                found = Global(module, name, self.known[place])
            else:
                found = _KNOWN.get(place) or Global(module, name)
            self.globals[place] = found
        return found

    def op_global(self) -> None:
        module = str(self.line(), "utf-8")
        self.stack.append(self.named(module, str(self.line(), "utf-8")))

    def op_stack_global(self) -> None:
        name, module = self.stack.pop(), self.stack.pop()
        if type(name) is not str or type(module) is not str:
            raise BrokenPickle("it names a global by something that is no text")
        self.stack.append(self.named(module, name))

    def op_extension(self) -> None:
        """A code for which some program registered a global; which one, only that program knows."""
        width = {0x82: 1, 0x83: 2, 0x84: 4}[self.data[self.pos - 1]]
        code = int.from_bytes(self.take(width), "little")
        self.stack.append(self.named("copyreg", f"extension {code}"))

    def op_instance(self) -> None:
        module = str(self.line(), "utf-8")
        name = str(self.line(), "utf-8")
        arguments = tuple(self.pop_mark())
        self.stack.append(Call(self.named(module, name), arguments))

    def op_object(self) -> None:
        items = self.pop_mark()
        self.stack.append(Call(items[0], tuple(items[1:])))

    def op_new_object(self) -> None:
        arguments = self.stack.pop()
        function = self.stack[-1]
        if type(function) is Global and function.build is not None and type(arguments) is tuple:
            self.stack[-1] = called(function, arguments)
        else:
            self.stack[-1] = Call(function, arguments)

    def op_new_object_with_keywords(self) -> None:
        keywords, arguments = self.stack.pop(), self.stack.pop()
        self.stack[-1] = Call(self.stack[-1], arguments, keywords)

    def op_build(self) -> None:
        state, target = self.stack.pop(), self.stack[-1]
        if type(target) is Array:
            fill(target, state)
        elif type(target) is Dtype:
            target.order = state[1] if state[1] in ("<", ">") else "|"
        elif type(target) is Call:
            target.state = state

    def op_long1(self) -> None:
        self.stack.append(int.from_bytes(self.take(self.take(1)[0]), "little", signed=True))

    def op_long4(self) -> None:
        length = _I32(self.take(4))[0]
        if length < 0:
            raise BrokenPickle("an integer in it has a negative length")
        if length > 255:
            self.skip(length)
            self.stack.append(Skipped(length))
        else:
            self.stack.append(int.from_bytes(self.take(length), "little", signed=True))

    def op_int(self) -> None:
        raw = self.line(_NUMBER)
        self.stack.append(raw == b"01" if raw in (b"00", b"01") else int(raw))

    def op_long(self) -> None:
        self.stack.append(int(self.line(_NUMBER).rstrip(b"L")))

    def op_float(self) -> None:
        self.stack.append(float(self.line(_NUMBER)))

    def op_string(self) -> None:
        raw = self.line()
        if len(raw) < 2 or raw[0] != raw[-1] or raw[0] not in b"\"'":
            raise BrokenPickle("a string in it has no quotes")
        self.stack.append(_native(codecs.escape_decode(raw[1:-1])[0]))

    def op_unicode(self) -> None:
        self.stack.append(str(self.line(), "raw-unicode-escape"))

    def native(self, length: int) -> None:
        if length < 0:
            raise BrokenPickle("a string in it has a negative length")
        raw = self.string(length, MAX_BYTES)
        self.stack.append(Skipped(length) if raw is None else _native(raw))

    def octets(self, length: int) -> None:
        raw = self.string(length, MAX_BYTES)
        self.stack.append(Skipped(length) if raw is None else raw)

    def op_buffer(self) -> None:
        raise BrokenPickle("it refers to a buffer outside the file")

    def op_pop(self) -> None:
        if self.stack:
            del self.stack[-1]
        else:
            self.pop_mark()

    def op_dict(self) -> None:
        pairs = self.pop_mark()
        target: dict[Any, Any] = {}
        self.set_items(target, pairs)
        self.stack.append(target)


def _native(raw: bytes) -> str | bytes:
    """A string of Python 2, which may have been bytes."""
    return raw.decode("ascii") if raw.isascii() else raw


def _is_flat(key: tuple[Any, ...]) -> bool:
    """Whether this tuple holds nothing but scalars: nnU-Net's are labels of a region."""
    return all(
        -_HASHED_INT < part < _HASHED_INT
        if type(part) is int
        else (len(part) <= 256 if type(part) is str else type(part) in (float, bool, type(None)))
        for part in key
    )


def _push_list(machine: _Machine) -> None:
    items = machine.pop_mark()
    machine.stack.append(items)


def _push_tuple(machine: _Machine) -> None:
    items = machine.pop_mark()
    machine.stack.append(tuple(items))


def _add_items(machine: _Machine) -> None:
    items = machine.pop_mark()
    machine.extend(machine.stack[-1], items)


def _duplicate(machine: _Machine) -> None:
    machine.stack.append(machine.stack[-1])


def _frame(machine: _Machine) -> None:
    machine.take(8)  # frames help whoever reads a stream in one go; their lengths are no more than claims


_SELDOM: dict[int, Callable[[_Machine], Any]] = {
    ord("c"): _Machine.op_global,
    0x93: _Machine.op_stack_global,
    0x82: _Machine.op_extension,
    0x83: _Machine.op_extension,
    0x84: _Machine.op_extension,
    ord("i"): _Machine.op_instance,
    ord("o"): _Machine.op_object,
    0x81: _Machine.op_new_object,
    0x92: _Machine.op_new_object_with_keywords,
    ord("b"): _Machine.op_build,
    0x8A: _Machine.op_long1,
    0x8B: _Machine.op_long4,
    ord("I"): _Machine.op_int,
    ord("L"): _Machine.op_long,
    ord("F"): _Machine.op_float,
    ord("S"): _Machine.op_string,
    ord("V"): _Machine.op_unicode,
    ord("T"): lambda machine: machine.native(_I32(machine.take(4))[0]),
    ord("U"): lambda machine: machine.native(machine.take(1)[0]),
    ord("B"): lambda machine: machine.octets(_U32(machine.take(4))[0]),
    0x8D: lambda machine: machine.stack.append(machine.text(_U64(machine.take(8))[0])),
    0x8E: lambda machine: machine.octets(_U64(machine.take(8))[0]),
    0x96: lambda machine: machine.octets(_U64(machine.take(8))[0]),
    0x8F: lambda machine: machine.stack.append([]),
    0x90: _add_items,
    0x91: _push_tuple,
    ord("P"): lambda machine: machine.stack.append(machine.refer(str(machine.line(), "ascii"))),
    ord("p"): lambda machine: machine.put(int(machine.line(_NUMBER)), machine.stack[-1]),
    ord("g"): lambda machine: machine.get(int(machine.line(_NUMBER))),
    ord("l"): _push_list,
    ord("d"): _Machine.op_dict,
    ord("0"): _Machine.op_pop,
    ord("1"): _Machine.pop_mark,
    ord("2"): _duplicate,
    0x80: lambda machine: machine.take(1),
    0x95: _frame,
    0x97: _Machine.op_buffer,
    0x98: _Machine.op_buffer,
}
