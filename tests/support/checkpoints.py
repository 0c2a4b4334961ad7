"""Small checkpoints in the layout of torch.save, written without torch (compared in test_weights_nnunet).

Every parameter is one zero, expanded to its shape: a file with the names and shapes of any network has a few kilobytes.
"""

from __future__ import annotations

import io
import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from plansguard.artefacts.checkpoint.contents import STEPS
from plansguard.nnunet.inheritance import modern_architecture, resolve_configuration
from plansguard.nnunet.network.parameters import Shapes, expected_parameters, input_channels, segmentation_heads


@dataclass(frozen=True)
class Named:
    """A class or function of this name, which need not exist."""

    module: str
    name: str

    def __call__(self, *arguments: Any) -> Called:
        return Called(self, arguments)


class Called:
    """A call of a named function, and the state that is set on its result."""

    def __init__(self, function: Named, arguments: tuple[Any, ...], state: Any = None) -> None:
        self.reduced = (function, arguments) if state is None else (function, arguments, state)

    def __reduce__(self) -> Any:
        return self.reduced


class Storage:
    """A storage of one float32."""

    def __init__(self, key: str, location: str) -> None:
        self.key, self.location = key, location


class Zeros:
    """A tensor of zeros."""

    def __init__(self, shape: tuple[int, ...], storage: Storage) -> None:
        self.shape, self.storage = shape, storage

    def __reduce__(self) -> Any:
        return _REBUILD, (self.storage, 0, self.shape, (0,) * len(self.shape), False, OrderedDict())


_FLOATS = Named("torch", "FloatStorage")
_REBUILD = Named("torch._utils", "_rebuild_tensor_v2")
_DTYPE = Called(Named("numpy", "dtype"), ("f4", False, True), (3, "<", None, None, None, -1, -1, 0))
NUMPY_ZERO = Called(Named("numpy._core.multiarray", "scalar"), (_DTYPE, b"\0\0\0\0"))
"""A number as nnU-Net's log holds them."""


def shapes(plans: Mapping[str, Any], dataset_json: Mapping[str, Any], configuration: str = "3d_fullres") -> Shapes:
    """Return the parameters of the network of these plans."""
    resolved = resolve_configuration(plans["configurations"], configuration)
    channels = input_channels(resolved, dataset_json)
    return expected_parameters(modern_architecture(resolved), channels, segmentation_heads(dataset_json))


def write(
    path: Path,
    plans: Mapping[str, Any],
    dataset_json: Mapping[str, Any],
    configuration: str = "3d_fullres",
    *,
    parameters: Shapes | None = None,
    prefix: str = "",
    location: str = "cpu",
    trainer: str = "nnUNetTrainer",
    epoch: int = 1000,
    fold: int | str = 0,
    mirroring_axes: tuple[int, ...] | None = (0, 1, 2),
    steps: Mapping[str, Any] | None = None,
    value: bytes = bytes(4),
    **changes: Any,
) -> Path:
    """Write the checkpoint of a training with these plans; ``changes`` are further keys, None removes one.

    ``steps`` is the state of a step trainer, ``value`` are the bytes of the float32 that all weights are.
    """
    storage = Storage("0", location)
    named = shapes(plans, dataset_json, configuration) if parameters is None else parameters
    init_args: dict[str, Any] = {
        "plans": plans,
        "configuration": configuration,
        "fold": fold,
        "dataset_json": dataset_json,
        "device": Named("torch", "device")(*location.split(":")[:1]),
    }
    if steps is not None:
        init_args[STEPS] = steps
    content = {
        "network_weights": OrderedDict((prefix + name, Zeros(shape, storage)) for name, shape in named.items()),
        "optimizer_state": {"state": {}, "param_groups": [{"lr": 0.01, "params": [0]}]},
        "grad_scaler_state": None,
        "logging": {"train_losses": [NUMPY_ZERO], "lrs": [0.01]},
        "_best_ema": NUMPY_ZERO,
        "current_epoch": epoch,
        "init_args": init_args,
        "trainer_name": trainer,
        "inference_allowed_mirroring_axes": mirroring_axes,
    }
    content.update(changes)
    return save(path, {key: part for key, part in content.items() if part is not None or key not in changes}, value)


def save(path: Path, content: Any, value: bytes = bytes(4)) -> Path:
    """Write ``content`` as ``torch.save`` does; its tensors share one storage of these bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    root = path.stem
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"{root}/data.pkl", dumps(content))
        archive.writestr(f"{root}/byteorder", "little")
        archive.writestr(f"{root}/data/0", value)
        archive.writestr(f"{root}/version", "3\n")
    return path


def without(path: Path, member: str) -> None:
    """Remove one member of a checkpoint's archive."""
    with zipfile.ZipFile(path) as archive:
        members = {one: archive.read(one) for one in archive.namelist() if not one.endswith(f"/{member}")}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)


#: The pickle of a content, and ours: written in Python, it takes ten times as long, and many tests have the same one.
_DUMPED: dict[bytes, bytes] = {}


def dumps(content: Any) -> bytes:
    """Return the pickle of a checkpoint."""
    key = pickle.dumps(content)
    if key not in _DUMPED:
        stream = io.BytesIO()
        _Pickler(stream, protocol=2).dump(content)
        _DUMPED[key] = stream.getvalue()
    return _DUMPED[key]


class _Pickler(pickle._Pickler):
    """Pickler that also writes names of missing globals, and storages as torch does."""

    dispatch: ClassVar[dict[type, Any]] = dict(pickle._Pickler.dispatch)

    def persistent_id(self, obj: Any) -> Any:
        return ("storage", _FLOATS, obj.key, obj.location, 1) if isinstance(obj, Storage) else None

    def _save_named(self: Any, obj: Named) -> None:
        self.write(b"c" + f"{obj.module}\n{obj.name}\n".encode())
        self.memoize(obj)

    dispatch[Named] = _save_named
