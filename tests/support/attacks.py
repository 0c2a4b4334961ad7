"""Pickles that run a command when Python loads them, and pickles that declare or build too much."""

from __future__ import annotations

import os
import pickle
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest


class _Calls:
    """Object that is pickled as a call of ``function``."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> Any:
        return self.call


def text(value: str) -> bytes:
    raw = value.encode()
    return b"X" + struct.pack("<I", len(raw)) + raw


def commands(canary: Path) -> dict[str, bytes]:
    """Return pickles that create the file ``canary`` when they are loaded, by method."""
    command = f"echo sang > '{canary}'"
    code = f"open({str(canary)!r}, 'w').close()"
    system = _Calls(os.system, command)
    shell = b"cos\nsystem\n"
    argument = text(command)
    consumed = b"cbuiltins\nmap\n(" + shell + b"](" + argument + b"et\x81\x85"  # (map(os.system, [command]),)
    attacks = {f"reduce, protocol {number}": pickle.dumps(system, number) for number in range(6)}
    attacks |= {f"nested, protocol {number}": pickle.dumps([{"a": (1, [system])}], number) for number in range(6)}
    return attacks | {
        "exec": pickle.dumps(_Calls(exec, code)),
        "eval": pickle.dumps(_Calls(eval, code)),
        "inst": b"(S'" + command.replace("'", '"').encode() + b"'\nios\nsystem\n.",
        "obj": b"(" + shell + argument + b"o.",
        "newobj": b"\x80\x02cbuiltins\nbytes\n" + consumed + b"\x81.",
        "newobj_ex": b"\x80\x04cbuiltins\nbytes\n" + consumed + b"}\x92.",
        "build": b"\x80\x02ctypes\nSimpleNamespace\n)R}" + text("__setstate__") + shell + b"sb" + argument + b"b.",
        "stack_global": b"\x80\x04" + text("os") + text("system") + b"\x93" + argument + b"\x85R.",
        "dotted name": b"\x80\x04" + text("shutil") + text("os.system") + b"\x93" + argument + b"\x85R.",
        "getattr": b"cbuiltins\ngetattr\n(cimportlib\nimport_module\n(" + text("os") + b"tR" + text("system") + b"tR("
        + argument + b"tR.",
        "as a key": b"}" + shell + argument + b"\x85RNs.",
        "in a persistent id": b"\x80\x02(" + text("storage") + shell + argument + b"\x85RtQ.",
        "before it breaks off": shell + argument + b"\x85R0\xff",
        "through the memo": b"\x80\x02" + shell + b"q\x07" + argument + b"q\x0800h\x07h\x08\x85R.",
    }  # fmt: skip


EXTENSIONS = {"ext1": b"\x80\x02\x82\xf0", "ext2": b"\x80\x02\x83\xf0\x00", "ext4": b"\x80\x02\x84\xf0\x00\x00\x00"}
"""The global that a program registered under the code 240."""


def claims() -> dict[str, bytes]:
    """Return short streams that declare large sizes."""
    ten = 10 * 10**9
    return {
        "binbytes8": b"\x80\x04\x8e" + struct.pack("<Q", ten) + b"abc",
        "binunicode8": b"\x80\x04\x8d" + struct.pack("<Q", ten) + b"abc",
        "bytearray8": b"\x80\x05\x96" + struct.pack("<Q", ten) + b"abc",
        "bytearray8, all": b"\x80\x05\x96" + b"\xff" * 8,
        "binbytes": b"\x80\x03B\xff\xff\xff\xffabc",
        "binunicode": b"\x80\x02X\xff\xff\xff\xffabc",
        "long4": b"\x80\x02\x8b\xff\xff\xff\x7fabc",
        "long4, negative": b"\x80\x02\x8b\xff\xff\xff\xffabc.",
        "memo": b"\x80\x02]r\xff\xff\xff\xff.",
        "memo, as text": b"]p99999999999999999999\n.",
        "frame": b"\x80\x04\x95" + struct.pack("<Q", ten) + b"].",
        "digits": b"I" + b"9" * 10_000_000 + b"\n.",
        "no line's end": b"S'" + b"a" * 10_000_000,
    }


MILLION = 10**6


def bulks() -> dict[str, Callable[[], bytes]]:
    """Return makers of streams of megabytes that would grow to gigabytes, or take hours."""
    nothings = b"N" * MILLION
    long_list = b"](" + nothings + b"eq\x00"
    long_tuple = b"(" + nothings + b"tq\x010"
    string = b"X\x00\xff\x00\x00" + b"a" * 0xFF00
    wide = b"X\x00\xff\x00\x00" + b"a" * (0xFF00 - 4) + "\N{PILE OF POO}".encode()
    doubled = b"".join(b"](h%bh%beq%b" % (bytes([n]), bytes([n]), bytes([n + 1])) for n in range(200))
    colliding = b"".join(b"\x8a\x0c" + (n * (2**61 - 1)).to_bytes(12, "little") + b"N" for n in range(1, 200_000))
    tuples = b"".join(_colliding_tuple(n) + b"N" for n in range(100_000))
    return {
        "dicts": lambda: b"\x80\x02" + b"}" * 60 * MILLION,
        "dicts, just allowed": lambda: b"\x80\x02" + b"}" * 4 * MILLION + b".",
        "dicts of one key, just allowed": lambda: b"\x80\x02" + b"}NNs" * MILLION + b".",
        "memo entries": lambda: b"\x80\x04]" + b"\x94" * 60 * MILLION,
        "memo entries far away": lambda: (
            b"\x80\x04]" + b"".join(b"r" + struct.pack("<I", n) for n in range(5, 800_005)) + b"."
        ),
        "marks": lambda: b"\x80\x02" + b"(" * 60 * MILLION,
        "tuple in tuple": lambda: b"\x80\x02N" + b"\x85" * 3 * MILLION + b".",
        "tuple in tuple as a key": lambda: b"\x80\x02}N" + b"\x85" * 3 * MILLION + b"Ns.",
        "list in list": lambda: b"\x80\x02" + b"]" * MILLION + b"a" * (MILLION - 1) + b".",
        "call in call": lambda: (
            b"\x80\x02cmodule\nfunction\nq\x000" + b"h\x00" * 500_000 + b")R" + b"\x85R" * 499_999 + b"."
        ),
        "doubled lists": lambda: b"\x80\x02]q\x00" + doubled + b".",
        "doubled tuples as a key": lambda: b"\x80\x02}N" + b"2\x86" * 200 + b"Ns.",
        "copies of a list": lambda: (
            b"\x80\x02" + long_list + b"cbuiltins\nset\nq\x01h\x00\x85q\x02" + b"h\x01h\x02R" * 500_000 + b"."
        ),
        "copies of arguments": lambda: (
            b"\x80\x02" + long_tuple + b"cnumpy\ndtype\nq\x02" + b"h\x02h\x01R" * 500_000 + b"."
        ),
        "copies of a state": lambda: (
            b"\x80\x02" + long_tuple + b"cnumpy.core.multiarray\n_reconstruct\n)R" + b"h\x01b" * 500_000 + b"."
        ),
        "integers with one hash": lambda: b"\x80\x02}(" + colliding + b"u.",
        "tuples as keys": lambda: b"\x80\x02}(" + tuples + b"u.",
        "strings": lambda: b"\x80\x02" + string * 8000,
        "wide strings, just allowed": lambda: b"\x80\x02(" + wide * 250 + b"t.",
        "one string, often": lambda: b"\x80\x02(" + string + b"q\x00" + b"h\x00" * MILLION + b"t.",
        "one string for bytes, often": lambda: (
            b"\x80\x02c_codecs\nencode\nq\x01X\xff\x00\x00\x00"
            + b"a" * 255
            + b"\x85q\x02"
            + b"h\x01h\x02R" * 700_000
            + b"."
        ),
        "numbers as text": lambda: (b"I" + b"9" * 600 + b"\n") * 20_000 + b".",
    }


def _colliding_tuple(number: int) -> bytes:
    return b"(J" + struct.pack("<i", number) + b"Nt"


CONFINE = """
import resource, sys
resource.setrlimit(resource.RLIMIT_CPU, (5, 5))
resource.setrlimit(resource.RLIMIT_AS, (500 * 2**20, 500 * 2**20))
"""


def confined(program: str, *arguments: object) -> str:
    """Run a Python program with at most 5 CPU seconds and 500 MiB of memory; return its output."""
    pytest.importorskip("resource")
    command = [sys.executable, "-c", CONFINE + program, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, (done.returncode, done.stderr[-2000:])
    return done.stdout
