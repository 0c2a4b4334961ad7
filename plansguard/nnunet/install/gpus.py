"""The GPUs of this machine, found without loading torch."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import NamedTuple

#: Where a loaded driver shows, of NVIDIA and of AMD.
_DRIVERS = ("/proc/driver/nvidia/version", "/dev/kfd")
#: One folder per GPU, with a file ``information`` in it.
_NVIDIA_GPUS = Path("/proc/driver/nvidia/gpus")
_VISIBLE, _ORDER = "CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER"
_QUESTION = ("--query-gpu=mig.mode.current,uuid,memory.total,memory.used,name", "--format=csv,noheader,nounits")
_MIB_IN_GB = 2**20 / 10**9
#: Seconds. A driver that has no program of its own running may need one or two per GPU to wake up.
_PATIENCE = 5
#: Bytes: some hundred GPUs.
_LONGEST_ANSWER = 2**16
_LONGEST_NUMBER = 9


class Gpu(NamedTuple):
    """One GPU of NVIDIA. Memory is in GB (10^9 bytes), None where the driver does not say; ``used`` by anybody now."""

    uuid: str
    name: str
    memory: float | None = None
    used: float | None = None


def has_gpu() -> bool:
    """Whether torch would find a CUDA device here: a driver is loaded, and CUDA_VISIBLE_DEVICES hides nothing.

    AMD's driver counts: torch for ROCm calls its devices cuda as well.
    """
    if os.environ.get(_VISIBLE, "0") in ("", "-1", "NoDevFiles"):
        return False
    return any(Path(path).exists() for path in _DRIVERS) or shutil.which("nvidia-smi") is not None


def visible() -> tuple[Gpu, ...] | None:
    """The GPUs that torch would call cuda:0, cuda:1 and so on; None where that cannot be told from outside.

    CUDA_VISIBLE_DEVICES is read as CUDA reads it. Its numbers go by speed unless CUDA_DEVICE_ORDER is PCI_BUS_ID: where
    GPUs differ, those that it names are counted and no more. Of GPUs in parts (MIG) and of AMD's nothing is known.
    """
    if not has_gpu():
        return ()
    program = shutil.which("nvidia-smi")
    there = _asked(program) if program else ()
    if there is None:
        return None
    there = there or _listed()
    if not there:
        return None
    wanted = os.environ.get(_VISIBLE, ",".join(map(str, range(len(there)))))
    if (
        not wanted.startswith("GPU-")
        and os.environ.get(_ORDER) != "PCI_BUS_ID"
        and len({one[1:3] for one in there}) > 1
    ):
        there = tuple(Gpu(one.uuid, "") for one in there)
    return _visible(there, wanted)


def _visible(there: Sequence[Gpu], wanted: str) -> tuple[Gpu, ...] | None:
    """Those that CUDA_VISIBLE_DEVICES names, by number or by the beginning of their UUID, up to the first that is none.

    Where one is named twice, CUDA takes none at all.
    """
    chosen: list[Gpu] = []
    for entry in (entry.strip() for entry in wanted.split(",")):
        if entry.startswith("MIG-"):
            return None
        found = [gpu for number, gpu in enumerate(there) if _names(entry, number, gpu)]
        if len(found) != 1:
            break
        chosen += found
    return tuple(chosen) if len(set(chosen)) == len(chosen) else ()


def _names(entry: str, number: int, gpu: Gpu) -> bool:
    if entry.isdecimal():
        return len(entry) <= _LONGEST_NUMBER and int(entry) == number
    return entry.startswith("GPU-") and gpu.uuid.startswith(entry)


@cache
def _asked(program: str) -> tuple[Gpu, ...] | None:
    """What nvidia-smi says, in the order of the bus; () where it fails or does not end, None for GPUs in parts.

    Asked once: it can take a second.
    """
    rows = [[one.strip() for one in line.split(",", 4)] for line in _answer(program).splitlines()]
    rows = [row for row in rows if len(row) == 5]
    if any(parts == "Enabled" for parts, *_ in rows):
        return None
    return tuple(Gpu(uuid, name, _gb(total), _gb(used)) for _, uuid, total, used, name in rows)


def _answer(program: str) -> str:
    """What it writes; nothing where it fails, does not end, or writes more than any driver has to say."""
    import subprocess  # both slow to load, and only needed where a driver is
    from threading import Thread

    started: list[subprocess.Popen[bytes]] = []
    answers: list[bytes] = []

    def ask() -> None:
        with suppress(OSError, ValueError):
            none, pipe = subprocess.DEVNULL, subprocess.PIPE
            asked = subprocess.Popen([program, *_QUESTION], bufsize=0, stdin=none, stdout=pipe, stderr=none)
            started.append(asked)
            said, stream = b"", asked.stdout
            while stream is not None and len(said) <= _LONGEST_ANSWER and (part := stream.read(_LONGEST_ANSWER)):
                said += part
            if len(said) <= _LONGEST_ANSWER and asked.wait() == 0:
                answers.append(said)

    # In a thread that may be left behind: where a driver hangs, its program cannot even be killed.
    thread = Thread(target=ask, daemon=True)
    thread.start()
    thread.join(_PATIENCE)
    for one in started:
        with suppress(OSError):
            one.kill()
    with suppress(UnicodeDecodeError):
        return b"".join(answers).decode()
    return ""


def _gb(mebibytes: str) -> float | None:
    """In GB; None for what nvidia-smi writes in its place, such as ``[N/A]``."""
    return int(mebibytes) * _MIB_IN_GB if mebibytes.isdecimal() and len(mebibytes) <= _LONGEST_NUMBER else None


def _listed() -> tuple[Gpu, ...]:
    """What the driver shows of its GPUs without being asked: everything but their memory."""
    found = []
    for path in sorted(_NVIDIA_GPUS.glob("*/information")):
        with suppress(OSError):
            rows = (line.partition(":") for line in path.read_text(encoding="utf-8", errors="replace").splitlines())
            said = {key.strip(): value.strip() for key, _, value in rows}
            found.append(Gpu(said.get("GPU UUID", ""), said.get("Model", "")))
    return tuple(found)
