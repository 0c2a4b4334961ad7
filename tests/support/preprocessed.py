"""Folders of preprocessed cases, made without nnU-Net from real headers."""

from __future__ import annotations

import os
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

#: tests/conftest.py has it too, and imports pytest, for which processes of a stand-in would wait.
ROOT = Path(__file__).resolve().parents[2]
HEADERS = ROOT / "fixtures/headers"
PRETRAIN_3D = HEADERS / "Dataset001_PretrainCT/nnUNetPlans_3d_fullres"
PRETRAIN_2D = HEADERS / "Dataset001_PretrainCT/nnUNetPlans_2d"


def lay_out(source: Path, target: Path) -> Path:
    """Copy a folder of the fixtures; arrays get the length that their headers declare, filled with zeros."""
    target.mkdir(parents=True, exist_ok=True)
    for path in sorted(source.iterdir()):
        shutil.copyfile(path, target / path.name)
        if path.suffix == ".b2nd":
            os.truncate(target / path.name, frame_length(path.read_bytes()))
    return target


def multiply(folder: Path, target: Path, count: int) -> Path:
    """Create ``count`` cases, case_00000 and so on: hard links to the cases of ``folder`` in turn."""
    target.mkdir(parents=True)
    cases = sorted(path.stem for path in folder.glob("*.pkl"))
    for number in range(count):
        for ending in (".b2nd", "_seg.b2nd", ".pkl"):
            os.link(folder / f"{cases[number % len(cases)]}{ending}", target / f"case_{number:05d}{ending}")
    return target


def frame_length(head: bytes | bytearray) -> int:
    """Return the length of the file that the header of a Blosc2 frame declares."""
    (length,) = struct.unpack_from(">Q", head, 16)
    assert isinstance(length, int)
    return length


def edit(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change the properties in a case's .pkl; needs numpy, since they contain its arrays and numbers."""
    import pickle

    properties = pickle.loads(path.read_bytes())
    change(properties)
    path.write_bytes(pickle.dumps(properties, protocol=4))
