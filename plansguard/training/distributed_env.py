"""Which of several processes this one is, where torchrun or SLURM has started them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

from plansguard.core.errors import UsageError


class ProcessPlace(NamedTuple):
    """``rank`` of ``world`` processes on all nodes, and the number among those of its node."""

    rank: int
    world: int
    local: int


_TORCHRUN = ("RANK", "WORLD_SIZE", "LOCAL_RANK")
#: Of a step that srun has begun. A batch script itself has SLURM_NTASKS, but is one process alone.
_SRUN = ("SLURM_PROCID", "SLURM_STEP_NUM_TASKS", "SLURM_LOCALID")
_PORTS = range(20_000, 30_000)
_SHOWN = 40


def read_place(environment: Mapping[str, str]) -> ProcessPlace | None:
    """What torchrun says, else what srun says; None for a process that is alone. UsageError where it makes no sense."""
    for names in (_TORCHRUN, _SRUN):
        if not all(environment.get(name) for name in names):
            continue
        values = [environment[name] for name in names]
        if not all(re.fullmatch(r"[0-9]{1,9}", value) for value in values):
            said = ", ".join(f"{name}={value[:_SHOWN]}" for name, value in zip(names, values, strict=True))
            raise UsageError(f"{said} cannot be read as numbers", hint="torchrun and srun set them")
        place = ProcessPlace(*map(int, values))
        if place.rank >= place.world > 1:
            said = f"{names[0]}={place.rank} of {names[1]}={place.world}"
            raise UsageError(f"{said}: processes are counted from 0", hint="torchrun and srun set them")
        if place.world > 1:
            return place
    return None


def meeting(environment: Mapping[str, str]) -> dict[str, str]:
    """MASTER_ADDR and MASTER_PORT, where the processes meet: as they are set, else from SLURM's own.

    The first node's name, and a port that only this step of this job will ask for.
    """
    nodes = environment.get("SLURM_STEP_NODELIST") or environment.get("SLURM_JOB_NODELIST") or "localhost"
    numbers = (environment.get(name, "") for name in ("SLURM_JOB_ID", "SLURM_STEP_ID"))
    number = sum(int(one) for one in numbers if re.fullmatch(r"[0-9]{1,12}", one))
    found = {"MASTER_ADDR": first_node(nodes), "MASTER_PORT": str(_PORTS[number % len(_PORTS)])}
    return {name: environment.get(name) or value for name, value in found.items()}


def first_node(nodes: str) -> str:
    """``gpu07`` of ``gpu[07-09,12],login``."""
    match = re.match(r"([^\[,]*)(?:\[([^\],-]+)[^\]]*\]([^,]*))?", nodes)
    assert match is not None
    return "".join(part or "" for part in match.groups())
