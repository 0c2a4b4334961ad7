"""Communication of processes that train together; a single process is a group of one.

nnU-Net takes the rank among all processes for the number of the GPU, which is right on one machine only. Here the GPU
is the one set with torch.cuda.set_device, and the rank decides who writes.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, TypeVar

import torch
from torch import distributed

from plansguard.training.replacing_names import replaced
from plansguard.training.stop_reasons import Refused

T = TypeVar("T")


def is_distributed() -> bool:
    """Whether there are several processes."""
    return bool(distributed.is_available() and distributed.is_initialized())


def world_size() -> int:
    """The number of processes."""
    return int(distributed.get_world_size()) if is_distributed() else 1


def gathered(value: T) -> list[T]:
    """The values of all processes, by rank."""
    values = [value] * world_size()
    if is_distributed():
        distributed.all_gather_object(values, value)
    return values


def highest(number: int, device: torch.device) -> int:
    """The highest number of all processes."""
    if not is_distributed():
        return number
    flag = torch.tensor([number], device=device)
    distributed.all_reduce(flag, op=distributed.ReduceOp.MAX)
    return int(flag.item())


def wait_for_all() -> None:
    """Wait until all processes call this."""
    if is_distributed():
        distributed.barrier()


def by_first(action: Callable[[], T]) -> T | None:
    """Call ``action`` in the first process; return its result there and None elsewhere. If it is refused, all end.

    The first process prints the refusal, before another one can end and have it killed.
    """
    if not is_distributed():
        return action()
    result, refused = None, False
    if distributed.get_rank() == 0:
        try:
            result = action()
        except Refused as refusal:
            refused = True
            print(refusal.code, file=sys.stderr, flush=True)  # noqa: T201
    shared = [refused]
    distributed.broadcast_object_list(shared, src=0)
    if shared[0]:
        raise SystemExit(1)
    return result


@contextmanager
def wrapping_on(device: torch.device, trainer: type) -> Iterator[None]:
    """Let ``initialize`` of nnU-Net's trainers wrap the network for this device."""

    def parallel(network: Any, *_: Any, **__: Any) -> Any:
        devices = [device.index] if device.type == "cuda" else None
        return torch.nn.parallel.DistributedDataParallel(network, device_ids=devices)

    with ExitStack() as stack:
        for base in trainer.__mro__ if is_distributed() else ():
            initialize = vars(base).get("initialize")
            if initialize is not None and "DDP" in initialize.__globals__:
                stack.enter_context(replaced(initialize.__globals__, {"DDP": parallel}))
        yield
