"""What a process may use of this machine: cores, memory, shared memory and open files.

Linux tells them in /proc, /sys and /dev, SLURM in variables. What a system does not tell is None.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from plansguard.core import disk
from plansguard.core.text import whole

#: The source of a limit that is only the size of the machine.
WHOLE = "this machine"
_SYSTEM = Path("/")
_MEGABYTE, _KILOBYTE = 2**20, 2**10
#: Bytes: files of /proc and /sys that are read have a few lines.
_LONGEST = 2**16
#: No machine has more of anything.
_MOST = 2**63


class Limit(NamedTuple):
    """The smallest of several limits, and what sets it."""

    amount: float
    source: str


class SharedMemory(NamedTuple):
    """The bytes of /dev/shm."""

    total: int
    free: int


class Machine(NamedTuple):
    """What a process may use. ``memory`` is in bytes, ``open_files`` the number of files of one process."""

    cores: Limit | None
    memory: Limit | None
    shared: SharedMemory | None
    open_files: int | None


def in_cores(amount: float) -> str:
    """``1 core``, ``0.5 cores``."""
    return f"{amount:g} core{'s' * (amount != 1)}"


def here() -> Machine:
    """What this process may use."""
    return read_machine(os.environ, _SYSTEM)


def read_machine(environment: Mapping[str, str], root: Path) -> Machine:
    """Read what the files of the system below ``root`` and the variables tell."""
    cores, memory = [*_cores(environment, root)], [*_memory(environment, root)]
    return Machine(
        min(cores, default=None, key=lambda limit: limit.amount),
        min(memory, default=None, key=lambda limit: limit.amount),
        _shared_memory(root / "dev/shm"),
        _open_files(),
    )


def _cores(environment: Mapping[str, str], root: Path) -> Iterator[Limit]:
    yield Limit(os.cpu_count() or 1, WHOLE)
    if hasattr(os, "sched_getaffinity"):
        yield Limit(len(os.sched_getaffinity(0)), "the CPU affinity, as of taskset")
    for folder in _cgroups(root, "cpu"):
        quota, period = _numbers(folder / "cpu.max")
        if quota is None:
            quota, period = (_number(folder / f"cpu.cfs_{name}_us") for name in ("quota", "period"))
        if quota and period:
            yield Limit(quota / period, _named(folder, root))
    for name in ("SLURM_CPUS_PER_TASK", "SLURM_CPUS_ON_NODE"):
        count = _count(environment.get(name))
        if count:
            yield Limit(count, name)
            return


def _memory(environment: Mapping[str, str], root: Path) -> Iterator[Limit]:
    for line in _text(root / "proc/meminfo").splitlines():
        if line.startswith("MemTotal:") and (total := _count("".join(line.split()[1:2]))):
            yield Limit(total * _KILOBYTE, WHOLE)
    for folder in _cgroups(root, "memory"):
        for name in ("memory.max", "memory.limit_in_bytes"):
            if most := _number(folder / name):
                yield Limit(most, _named(folder, root))
    of_node, of_core = (_count(environment.get(f"SLURM_MEM_PER_{name}")) for name in ("NODE", "CPU"))
    cores = _count(environment.get("SLURM_CPUS_ON_NODE"))
    if of_node:  # 0, which is all memory of the node, sets no limit
        yield Limit(of_node * _MEGABYTE, "SLURM_MEM_PER_NODE")
    elif of_core and cores:
        yield Limit(of_core * cores * _MEGABYTE, "SLURM_MEM_PER_CPU")


def _cgroups(root: Path, controller: str) -> Iterator[Path]:
    """Folders of the control groups that limit this process, of version 1 and 2, from its own up to the outermost.

    In a container the path is that of the host, and the container's own group is the outermost folder.
    """
    mounted = root / "sys/fs/cgroup"
    for line in _text(root / "proc/self/cgroup").splitlines():
        _, controllers, path = (*line.split(":", 2), "", "")[:3]
        if controllers and controller not in controllers.split(","):
            continue
        outermost = mounted / controllers
        folder = outermost.joinpath(*(part for part in path.split("/") if part not in ("", "..")))
        for above in (folder, *folder.parents):
            yield above
            if above == outermost:
                break


def _named(folder: Path, root: Path) -> str:
    return f"the control group {Path('/') / folder.relative_to(root)}"


def _numbers(path: Path) -> tuple[int | None, int | None]:
    """The two counts of a file; None for a word such as ``max``, and where there is no such file."""
    first, second = (*_text(path).split(), "", "")[:2]
    return _count(first), _count(second)


def _count(text: str | None) -> int | None:
    """The number from 1 to _MOST in a text; None for any other, which limits nothing, and where there is no number."""
    number = whole(text)
    return number if number is not None and 0 < number <= _MOST else None


def _number(path: Path) -> int | None:
    return _numbers(path)[0]


def _text(path: Path) -> str:
    with suppress(OSError):
        return (disk.limited_content(path, _LONGEST) or b"").decode("utf-8", "replace")
    return ""


def _shared_memory(folder: Path) -> SharedMemory | None:
    if hasattr(os, "statvfs") and disk.is_folder(folder):
        with suppress(OSError):
            found = os.statvfs(folder)
            return SharedMemory(found.f_blocks * found.f_frsize, found.f_bavail * found.f_frsize)
    return None


def _open_files() -> int | None:
    if sys.platform == "win32":
        return None
    import resource

    most = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return None if most == resource.RLIM_INFINITY else most
