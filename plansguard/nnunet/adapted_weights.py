"""Tensors of adapted weights. Values of checkpoints become tensors of torch here and in the trainer alone.

The file of the weights is not loaded by torch: even its loader for weights alone calls constructors with arguments from
the file, which may ask for any amount of memory.
"""

from __future__ import annotations

import io
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from plansguard.core.atomic_files import Replaces, write_atomically
from plansguard.nnunet import runtime
from plansguard.nnunet.network.adaptation import AXES, ParameterSource


class StoredTensor(NamedTuple):
    """A tensor in a file: torch's name of its type, and the bytes of its storage, in which it has this place."""

    dtype: str
    shape: tuple[int, ...]
    offset: int
    stride: tuple[int, ...] | None
    storage: bytes


def adapted(
    stored: Callable[[str], StoredTensor],
    rows: Sequence[ParameterSource],
    architecture: Mapping[str, Any],
    channels: int,
    heads: int,
) -> OrderedDict[str, Any]:
    """The parameters of a network as ``rows`` describe them, under all names of its ``state_dict()``.

    ``stored`` returns a parameter of the weights by its name. Errors are those of it and of runtime.initial_parameters,
    and ValueError for a tensor that torch cannot make.
    """
    import torch

    values = runtime.initial_parameters(architecture, channels, heads)
    with torch.no_grad():
        for row in rows:
            _fill(values[row.name], row, None if row.source is None else tensor_of(stored(row.source)))
    return OrderedDict(values)  # names of one parameter share its storage, so each was filled under all of them


def not_finite(values: Mapping[str, Any]) -> list[str]:
    """The names of the tensors in which not all numbers are finite."""
    return [name for name, value in values.items() if not bool(value.isfinite().all())]


def tensor_of(stored: StoredTensor) -> Any:
    """The tensor with these values. ValueError where torch cannot make it."""
    import torch

    if 0 in stored.shape:
        return torch.empty(stored.shape)
    try:
        numbers = torch.frombuffer(bytearray(stored.storage), dtype=getattr(torch, stored.dtype))
        if stored.stride is None:
            return numbers.reshape(stored.shape)
        return numbers.as_strided(stored.shape, stored.stride, stored.offset)
    except RuntimeError as error:
        raise ValueError(f"a tensor of {stored.dtype}: {str(error).splitlines()[0]}") from error


def save(path: Path, content: Mapping[str, Any], replaces: Replaces) -> None:
    """Write a checkpoint in one step. WriteRefused as of write_atomically."""
    import torch

    stream = io.BytesIO()  # of a file, torch reports neither a missing folder nor a full disk as an OSError
    torch.save(dict(content), stream)
    write_atomically(path, stream.getvalue(), replaces)


def _fill(value: Any, row: ParameterSource, old: Any) -> None:
    """Change a parameter, which has nnU-Net's initial values."""
    if row.action == "kept":
        value.copy_(old)
    elif row.action == "zero":
        value.zero_()
    for place, part in enumerate(row.parts):
        one, axis = value.select(AXES[row.action], place), AXES[row.action]
        if part.filling == "kept":
            one.copy_(old.select(axis, part.source))
        elif part.filling == "averaged":
            one.copy_(old.float().mean(axis))
        elif part.filling == "zero":
            one.zero_()
