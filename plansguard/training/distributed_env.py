"""The rank of this process among those that torchrun or SLURM has started."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

from plansguard.core.errors import UsageError


class ProcessPlace(NamedTuple):
    """``rank`` among ``world`` processes on all nodes, and ``local`` rank on its node."""

    rank: int
    world: int
    local: int


_TORCHRUN = ("RANK", "WORLD_SIZE", "LOCAL_RANK")
#: Of a step that srun has started. A batch script itself has SLURM_NTASKS, but is a single process.
_SRUN = ("SLURM_PROCID", "SLURM_STEP_NUM_TASKS", "SLURM_LOCALID")
_PORTS = range(20_000, 30_000)
_SHOWN = 40


def read_place(environment: Mapping[str, str]) -> ProcessPlace | None:
    """Read torchrun's variables, else srun's; None for a single process. UsageError for invalid values."""
    for names in (_TORCHRUN, _SRUN):
        values = [environment.get(name, "") for name in names]
        if not all(values):
            continue
        hint = "torchrun and srun set them"
        if not all(re.fullmatch(r"[0-9]{1,9}", value) for value in values):
            shown = ", ".join(f"{name}={value[:_SHOWN]}" for name, value in zip(names, values, strict=True))
            raise UsageError(f"{shown} cannot be read as numbers", hint=hint)
        place = ProcessPlace(*map(int, values))
        if place.rank >= place.world > 1:
            shown = f"{names[0]}={place.rank} of {names[1]}={place.world}"
            raise UsageError(f"{shown}: processes are counted from 0", hint=hint)
        if place.world > 1:
            return place
    return None


def rendezvous(environment: Mapping[str, str]) -> dict[str, str]:
    """MASTER_ADDR and MASTER_PORT of the processes: as they are set, else from SLURM's variables.

    The first node's name, and a port that is different for each step of each job.
    """
    nodes = environment.get("SLURM_STEP_NODELIST") or environment.get("SLURM_JOB_NODELIST") or "localhost"
    ids = (environment.get(name, "") for name in ("SLURM_JOB_ID", "SLURM_STEP_ID"))
    number = sum(int(value) for value in ids if re.fullmatch(r"[0-9]{1,12}", value))
    defaults = {"MASTER_ADDR": first_node(nodes), "MASTER_PORT": str(_PORTS[number % len(_PORTS)])}
    return {name: environment.get(name) or value for name, value in defaults.items()}


def first_node(nodes: str) -> str:
    """``gpu07`` of ``gpu[07-09,12],login``."""
    match = re.match(r"([^\[,]*)(?:\[([^\],-]+)[^\]]*\]([^,]*))?", nodes)
    assert match is not None
    return "".join(part or "" for part in match.groups())
