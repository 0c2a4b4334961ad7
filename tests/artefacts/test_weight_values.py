"""The first values of parameters, for every type of numbers, in files as torch writes them and in others."""

from __future__ import annotations

import math
import struct
import zipfile
from pathlib import Path

import pytest

from plansguard.artefacts.checkpoint.checkpoint import read_checkpoint
from plansguard.artefacts.checkpoint.weight_values import not_finite
from tests.support.models import CHECKPOINT
from tests.support.safetensors import entry, write
from tests.support.torchlike import T, save, save_legacy

SHAPE = (3, 2)
FORMATS = {"FloatStorage": "<f", "DoubleStorage": "<d", "HalfStorage": "<e"}


def filled(path: Path, storage: str, values: list[bytes]) -> Path:
    """A checkpoint with the parameters a, zeros, and b, these values."""
    weights = {"a.weight": T("0", SHAPE, storage), "b.weight": T("1", SHAPE, storage)}
    save(path, {"network_weights": weights, "init_args": {}, "trainer_name": "nnUNetTrainer"})
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    members["archive/data/1"] = b"".join(values)
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


@pytest.mark.parametrize("storage", FORMATS)
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 1.5])
@pytest.mark.parametrize("place", [0, 5])
def test_every_type(storage: str, value: float, place: int, tmp_path: Path) -> None:
    numbers = [0.5] * 6
    numbers[place] = value
    path = filled(tmp_path / "a.pth", storage, [struct.pack(FORMATS[storage], number) for number in numbers])
    assert not_finite(read_checkpoint(path)) == ([] if value == 1.5 else ["b.weight"])


@pytest.mark.parametrize(("number", "found"), [(b"\xc0\x7f", True), (b"\x80\x3f", False), (b"\x00\x00", False)])
def test_the_upper_half_of_a_float(number: bytes, found: bool, tmp_path: Path) -> None:
    checkpoint = read_checkpoint(filled(tmp_path / "a.pth", "BFloat16Storage", [number] * 6))
    assert bool(not_finite(checkpoint)) is found


def test_whole_numbers_are_never_wrong(tmp_path: Path) -> None:
    assert not_finite(read_checkpoint(filled(tmp_path / "a.pth", "LongStorage", [b"\xff" * 8] * 6))) == []


@pytest.mark.parametrize("value", [math.nan, 1.5])
def test_a_file_of_safetensors(value: float, tmp_path: Path) -> None:
    header = {"a": entry("F32", (2,), 0), "b": entry("F32", (2,), 8)}
    path = write(tmp_path / "a.safetensors", header, struct.pack("<4f", 0, 0, 0, value))
    assert not_finite(read_checkpoint(path)) == ([] if value == 1.5 else ["b"])


@pytest.mark.parametrize("value", [math.nan, 1.5])
def test_a_file_of_old_torch(value: float, tmp_path: Path) -> None:
    weights = {"network_weights": {"a": T("0", SHAPE), "b": T("1", SHAPE)}, "init_args": {}, "trainer_name": "x"}
    path = save_legacy(tmp_path / "old.pth", weights)
    path.write_bytes(path.read_bytes()[:-4] + struct.pack("<f", value))
    assert not_finite(read_checkpoint(path)) == ([] if value == 1.5 else ["b"])


def test_files_that_are_not_read(tmp_path: Path) -> None:
    """A file that is gone, and one whose values are cut off."""
    weights = {"network_weights": {"a": T("0", SHAPE)}, "init_args": {}, "trainer_name": "x"}
    checkpoint = read_checkpoint(save(tmp_path / "new.pth", weights))
    (tmp_path / "new.pth").unlink()
    assert not_finite(checkpoint) == []
    assert not_finite(read_checkpoint(filled(tmp_path / "short.pth", "FloatStorage", [b"\0\0"]))) == []


def test_a_real_checkpoint() -> None:
    checkpoint = read_checkpoint(CHECKPOINT)
    assert len(checkpoint.parameters) > 100
    assert not_finite(checkpoint) == []
