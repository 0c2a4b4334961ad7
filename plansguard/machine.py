"""What this machine has: a GPU, an nnU-Net, its trainers; found out without loading any of them."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

#: Where a loaded driver shows, of NVIDIA and of AMD.
_DRIVERS = ("/proc/driver/nvidia/version", "/dev/kfd")


def has_gpu() -> bool:
    """Whether torch would find a CUDA device here: a driver is loaded, and CUDA_VISIBLE_DEVICES hides nothing.

    AMD's driver counts: torch for ROCm calls its devices cuda as well.
    """
    if os.environ.get("CUDA_VISIBLE_DEVICES", "0") in ("", "-1", "NoDevFiles"):
        return False
    return any(Path(path).exists() for path in _DRIVERS) or shutil.which("nvidia-smi") is not None


def trainers() -> frozenset[str]:
    """Names of the classes among which the nnU-Net installed here would look for a trainer; read and not imported.

    Its own come first, then those in the folders of ``nnUNet_extTrainer``. Source: utilities/find_objects.py.
    """
    spec = importlib.util.find_spec("nnunetv2")
    own = [Path(path) / "training/nnUNetTrainer" for path in (spec and spec.submodule_search_locations) or ()]
    external = [Path(path) for path in os.environ.get("nnUNet_extTrainer", "").split(os.pathsep) if path.strip()]
    return frozenset(name for folder in (*own, *external) for name in _classes_in(folder))


def _classes_in(folder: Path) -> Iterator[str]:
    for path in sorted(folder.rglob("*.py")):
        with suppress(OSError):
            yield from re.findall(r"^class (\w+)", path.read_text(encoding="utf-8", errors="replace"), re.MULTILINE)


def nnunet_version() -> tuple[int, ...] | None:
    """The version of the installed nnunetv2, as numbers; None when none is installed here."""
    return _version_of("nnunetv2")


def torch_version() -> tuple[int, ...] | None:
    """The version of the installed torch, as numbers; None when none is installed here."""
    return _version_of("torch")


def dotted(version: tuple[int, ...]) -> str:
    """``2.8.1``."""
    return ".".join(map(str, version))


def _version_of(package: str) -> tuple[int, ...] | None:
    from importlib.metadata import PackageNotFoundError, version  # slow to load, and rarely asked for

    try:
        return tuple(int(number) for number in re.findall(r"\d+", version(package))[:3])
    except PackageNotFoundError:
        return None
