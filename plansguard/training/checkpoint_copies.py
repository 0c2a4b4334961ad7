"""Copies of checkpoints in main memory, which further steps do not change."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import torch


class CheckpointCopies:
    """Memory for one copy of a checkpoint, which is used again for the next one.

    New memory costs five times as much as copying: the system clears each page of it.
    """

    def __init__(self) -> None:
        self._buffers: list[torch.Tensor] = []

    def reserve(self, checkpoint: Any) -> None:
        """Take the memory for copies of this checkpoint; without enough memory, only a part of it."""
        with suppress(RuntimeError, MemoryError):
            for place, size in enumerate({_key(tensor): _key(tensor)[-1] for tensor in _plain(checkpoint)}.values()):
                self._buffer(place, size).zero_()

    def of(self, checkpoint: Any) -> Any:
        """Return a copy, which the next call overwrites. RuntimeError or MemoryError if there is no memory for it.

        torch saves it with the same bytes, except that tensors of a GPU have become those of the CPU. Tensors that
        share memory share it in the copy as well.
        """
        storages: dict[tuple[Any, ...], torch.UntypedStorage] = {}
        copies: dict[int, Any] = {}
        for tensor in _plain(checkpoint):
            key = _key(tensor)
            if key not in storages:
                storages[key] = self._filled(len(storages), tensor.untyped_storage())
            place = tensor.storage_offset(), tensor.size(), tensor.stride()
            copies[id(tensor)] = torch.empty(0, dtype=tensor.dtype).set_(storages[key], *place)
        return copy.deepcopy(checkpoint, copies)

    def _filled(self, place: int, storage: torch.UntypedStorage) -> torch.UntypedStorage:
        content = torch.empty(0, dtype=torch.uint8, device=storage.device).set_(storage)
        return self._buffer(place, storage.nbytes()).copy_(content).untyped_storage()

    def _buffer(self, place: int, size: int) -> torch.Tensor:
        if place == len(self._buffers):
            self._buffers.append(torch.empty(size, dtype=torch.uint8))
        elif self._buffers[place].nbytes != size:
            self._buffers[place] = torch.empty(size, dtype=torch.uint8)
        return self._buffers[place]


def _key(tensor: torch.Tensor) -> tuple[Any, ...]:
    """The memory that a tensor is in, the same for all tensors in it."""
    storage = tensor.untyped_storage()
    return storage.device, storage.data_ptr(), storage.nbytes()


def _plain(value: Any) -> Iterator[torch.Tensor]:
    """The tensors in dictionaries and lists whose memory can be copied; others are left to torch's own copy."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, (list, tuple)):
        for one in value:
            yield from _plain(one)
    elif type(value) is torch.Tensor and value.layout is torch.strided and value.device.type in ("cpu", "cuda"):
        special = value.is_quantized or value.is_complex() or value.is_neg() or value.requires_grad
        yield from () if special else (value,)
