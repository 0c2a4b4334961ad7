"""The GPUs of this machine, found without loading torch."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import NamedTuple

from plansguard.core import disk
from plansguard.core.errors import UnreadableFolder
from plansguard.core.programs import find_program

#: Files that exist while a driver is loaded, of NVIDIA and of AMD.
_DRIVERS = ("/proc/driver/nvidia/version", "/dev/kfd")
#: One folder per GPU, with a file ``information`` in it.
_NVIDIA_GPUS = Path("/proc/driver/nvidia/gpus")
_VISIBLE, _ORDER = "CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER"
_QUERY = ("--query-gpu=mig.mode.current,uuid,memory.total,memory.used,name", "--format=csv,noheader,nounits")
_MIB_IN_GB = 2**20 / 10**9
#: Seconds. Without a running program, a driver may need one or two seconds per GPU to start.
_TIMEOUT = 5
#: Bytes: some hundred GPUs.
_LONGEST_OUTPUT = 2**16
_LONGEST_NUMBER = 9


class Gpu(NamedTuple):
    """One NVIDIA GPU. Memory is in GB (10^9 bytes), None where it is unknown; ``used`` is that of all processes."""

    uuid: str
    name: str
    memory: float | None = None
    used: float | None = None


def has_gpu() -> bool:
    """Whether torch would find a CUDA device: a driver is loaded, and CUDA_VISIBLE_DEVICES does not hide all GPUs.

    AMD's driver counts, because torch for ROCm also calls its devices cuda.
    """
    if os.environ.get(_VISIBLE, "0") in ("", "-1", "NoDevFiles"):
        return False
    return any(disk.is_there(path) for path in _DRIVERS) or find_program("nvidia-smi") is not None


def visible() -> tuple[Gpu, ...] | None:
    """The GPUs that torch would call cuda:0, cuda:1 and so on; None where they are unknown.

    CUDA_VISIBLE_DEVICES is read as CUDA reads it. Its numbers are in the order of speed unless CUDA_DEVICE_ORDER is
    PCI_BUS_ID: where GPUs differ, those that it names are counted, without name and memory. GPUs in parts (MIG) and
    AMD's are unknown.
    """
    if not has_gpu():
        return ()
    program = find_program("nvidia-smi")
    every = _queried(program) if program else ()
    if every is None:
        return None
    every = every or _listed()
    if not every:
        return None
    wanted = os.environ.get(_VISIBLE, ",".join(map(str, range(len(every)))))
    by_speed = not wanted.startswith("GPU-") and os.environ.get(_ORDER) != "PCI_BUS_ID"
    if by_speed and len({(gpu.name, gpu.memory) for gpu in every}) > 1:
        every = tuple(Gpu(gpu.uuid, "") for gpu in every)
    return _chosen(every, wanted)


def _chosen(every: Sequence[Gpu], wanted: str) -> tuple[Gpu, ...] | None:
    """The GPUs that CUDA_VISIBLE_DEVICES names, by number or beginning of the UUID, up to the first invalid one.

    Where one is named twice, CUDA uses none.
    """
    chosen: list[Gpu] = []
    for entry in (entry.strip() for entry in wanted.split(",")):
        if entry.startswith("MIG-"):
            return None
        if entry.isdecimal() and len(entry) <= _LONGEST_NUMBER:
            named = [*every[int(entry) : int(entry) + 1]]
        else:
            named = [gpu for gpu in every if entry.startswith("GPU-") and gpu.uuid.startswith(entry)]
        if len(named) != 1:
            break
        chosen += named
    return tuple(chosen) if len(set(chosen)) == len(chosen) else ()


@cache
def _queried(program: str) -> tuple[Gpu, ...] | None:
    """The GPUs that nvidia-smi lists, in the order of the bus; () where it fails or hangs, None for GPUs in parts.

    Cached, because a query can take a second.
    """
    rows = [[cell.strip() for cell in line.split(",", 4)] for line in _output(program).splitlines()]
    rows = [row for row in rows if len(row) == 5]
    if any(parts == "Enabled" for parts, *_ in rows):
        return None
    return tuple(Gpu(uuid, name, _gb(total), _gb(used)) for _, uuid, total, used, name in rows)


def _output(program: str) -> str:
    """The output of the query; empty where it fails, does not end, or is longer than that of any driver."""
    import subprocess  # both slow to load, and only needed where a driver is
    from threading import Thread

    started: list[subprocess.Popen[bytes]] = []
    outputs: list[bytes] = []

    def query() -> None:
        with suppress(OSError, ValueError):
            null, pipe = subprocess.DEVNULL, subprocess.PIPE
            process = subprocess.Popen([program, *_QUERY], bufsize=0, stdin=null, stdout=pipe, stderr=null)
            started.append(process)
            output, stream = b"", process.stdout
            while stream is not None and len(output) <= _LONGEST_OUTPUT and (part := stream.read(_LONGEST_OUTPUT)):
                output += part
            if len(output) <= _LONGEST_OUTPUT and process.wait() == 0:
                outputs.append(output)

    # In a thread that may be abandoned: where a driver hangs, its program cannot even be killed.
    thread = Thread(target=query, daemon=True)
    with suppress(RuntimeError):  # no thread can be had, at the limit of processes
        thread.start()
        thread.join(_TIMEOUT)
    for process in started:
        with suppress(OSError):
            process.kill()
    with suppress(UnicodeDecodeError):
        return b"".join(outputs).decode()
    return ""


def _gb(mebibytes: str) -> float | None:
    """In GB; None for what nvidia-smi writes in place of a number, such as ``[N/A]``."""
    return int(mebibytes) * _MIB_IN_GB if mebibytes.isdecimal() and len(mebibytes) <= _LONGEST_NUMBER else None


def _listed() -> tuple[Gpu, ...]:
    """The GPUs in the driver's files, which do not contain their memory."""
    gpus = []
    paths: list[Path] = []
    with suppress(UnreadableFolder):
        paths = disk.matching(_NVIDIA_GPUS, "*/information")
    for path in paths:
        with suppress(OSError):
            rows = (line.partition(":") for line in disk.content(path).decode(errors="replace").splitlines())
            values = {key.strip(): value.strip() for key, _, value in rows}
            gpus.append(Gpu(values.get("GPU UUID", ""), values.get("Model", "")))
    return tuple(gpus)
