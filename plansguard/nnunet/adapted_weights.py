"""Tensors of adapted weights: only this module and the trainer read and write values of checkpoints with torch."""

from __future__ import annotations

import io
import pickle
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from plansguard.core import disk
from plansguard.core.atomic_files import kept, write_atomically
from plansguard.core.errors import UnreadableDocument
from plansguard.nnunet import runtime
from plansguard.nnunet.network.adaptation import AXES, ParameterSource

#: Torch's name of a type, the shape, and the places of the first byte and of the one after the last.
TensorPlace = tuple[str, tuple[int, ...], int, int]


class WeightsFile(NamedTuple):
    """A file of weights, in which all names begin with ``prefix``.

    ``places`` are the type, the shape and the bytes of each tensor in a safetensors file; None for a file of torch.
    """

    path: Path
    prefix: str = ""
    places: Mapping[str, TensorPlace] | None = None


def adapted(
    file: WeightsFile, rows: Sequence[ParameterSource], architecture: Mapping[str, Any], channels: int, heads: int
) -> OrderedDict[str, Any]:
    """The parameters of a network as ``rows`` describe them, under all names of its ``state_dict()``.

    Errors as from runtime.initial_parameters; UnreadableDocument where torch refuses the file.
    """
    import torch

    values = runtime.initial_parameters(architecture, channels, heads)
    prefix, names = file.prefix, {file.prefix + row.source for row in rows if row.source is not None}
    stored = _tensors(file.path, names) if file.places is None else _plain_tensors(file.path, file.places, names)
    with torch.no_grad():
        for row in rows:
            _fill(values[row.name], row, None if row.source is None else stored[prefix + row.source])
    return OrderedDict(values)  # names of one parameter share its storage, so each was filled under all of them


def save(path: Path, content: Mapping[str, Any]) -> None:
    """Write a checkpoint in one step, in place of what is there. WriteRefused where the system refuses."""
    import torch

    stream = io.BytesIO()  # of a file, torch reports neither a missing folder nor a full disk as an OSError
    torch.save(dict(content), stream)
    write_atomically(path, stream.getvalue(), kept)


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


def _tensors(path: Path, names: Iterable[str]) -> Mapping[str, Any]:
    """The tensors of these names, by torch's loader that calls nothing but what makes tensors and numbers."""
    import torch

    wanted = set(names)
    try:
        with torch.serialization.safe_globals(_numbers()):
            loaded = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, OSError, EOFError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise UnreadableDocument(str(path), f"torch cannot load it: {reason}", hint="use another copy of it") from error
    parts = [loaded, *loaded.values()] if isinstance(loaded, dict) else []
    for part in parts:
        if isinstance(part, dict) and wanted <= part.keys():
            return part
    raise UnreadableDocument(str(path), "torch does not find the weights in it", hint="use another copy of it")


def _plain_tensors(path: Path, places: Mapping[str, TensorPlace], names: Iterable[str]) -> Mapping[str, Any]:
    """The tensors of these names in a safetensors file."""
    import torch

    tensors = {}
    with disk.open_file(path) as stream:
        for name in names:
            dtype, shape, first, last = places[name]
            stream.seek(first)
            content = bytearray(stream.read(last - first))
            tensors[name] = torch.frombuffer(content, dtype=getattr(torch, dtype)).reshape(shape)
    return tensors


def _numbers() -> list[Any]:
    """What numpy's numbers in nnU-Net's log are made by; the second name is that of numpy 1."""
    import numpy as np

    scalar = np.float32(0).__reduce__()[0]
    kinds = [type(np.dtype(name)) for name in ("float16", "float32", "float64", "int32", "int64", "bool")]
    return [(scalar, f"{module}.multiarray.scalar") for module in ("numpy._core", "numpy.core")] + [np.dtype, *kinds]
