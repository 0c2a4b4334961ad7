"""Several processes that train together: what all must know or do at once. A process that is alone agrees with itself.

nnU-Net takes the rank among all processes for the number of the GPU as well, which holds on one machine only. Here the
GPU is the one that was chosen with torch.cuda.set_device, and the rank says who writes.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
from torch import distributed

from plansguard.training.stop_reasons import Refused

T = TypeVar("T")


def many() -> bool:
    """Whether there are several."""
    return bool(distributed.is_available() and distributed.is_initialized())


def world_size() -> int:
    """How many there are."""
    return int(distributed.get_world_size()) if many() else 1


def gathered(value: T) -> list[T]:
    """This value of every process, in their order."""
    values = [value] * world_size()
    if many():
        distributed.all_gather_object(values, value)
    return values


def highest(number: int, device: torch.device) -> int:
    """The highest of all processes' numbers."""
    if not many():
        return number
    flag = torch.tensor([number], device=device)
    distributed.all_reduce(flag, op=distributed.ReduceOp.MAX)
    return int(flag.item())


def wait_for_all() -> None:
    """Go on when all have come here."""
    if many():
        distributed.barrier()


def by_first(action: Callable[[], T]) -> T | None:
    """Let the first process do this, and give its result there, None elsewhere. If it is refused, all end.

    It is told once: by the first process, before any other can end and have it killed.
    """
    if not many():
        return action()
    result, refused = None, False
    if distributed.get_rank() == 0:
        try:
            result = action()
        except Refused as refusal:
            refused = True
            print(refusal.code, file=sys.stderr, flush=True)  # noqa: T201
    told = [refused]
    distributed.broadcast_object_list(told, src=0)
    if told[0]:
        raise SystemExit(1)
    return result


def device_of(asked: torch.device) -> torch.device:
    """Where this process computes, if ``asked`` is where all of them are to."""
    return torch.device("cuda", torch.cuda.current_device()) if asked.type == "cuda" else asked


@contextmanager
def wrapping_on(device: torch.device, trainer: type) -> Iterator[None]:
    """Within it, ``initialize`` of nnU-Net's trainers wraps the network for this device and for no other."""
    if not many():
        yield
        return
    found = [vars(one)["initialize"].__globals__ for one in trainer.__mro__ if "initialize" in vars(one)]
    spaces: list[dict[str, Any]] = [names for names in found if "DDP" in names]
    before = [names["DDP"] for names in spaces]

    def parallel(network: Any, *_: Any, **__: Any) -> Any:
        devices = [device.index] if device.type == "cuda" else None
        return torch.nn.parallel.DistributedDataParallel(network, device_ids=devices)

    for names in spaces:
        names["DDP"] = parallel
    try:
        yield
    finally:
        for names, old in zip(spaces, before, strict=True):
            names["DDP"] = old
