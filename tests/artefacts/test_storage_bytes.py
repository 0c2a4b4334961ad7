"""Bytes of storages: those that torch loads, and what is refused."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import pytest

from plansguard.artefacts.checkpoint.checkpoint import Checkpoint, read_checkpoint
from plansguard.artefacts.checkpoint.storage_bytes import storage_bytes
from plansguard.core.errors import UnreadableDocument
from tests.support.torchlike import T, save, save_legacy

WEIGHTS = {"network_weights": {"a": T("0", (2,)), "b": T("1", (2,))}, "init_args": {}, "trainer_name": "x"}


def whole(checkpoint: Checkpoint, name: str) -> bytes:
    with storage_bytes(checkpoint) as storages:
        return storages.whole(checkpoint.parameters[name].key)


def member(path: Path, ending: str, content: bytes) -> Path:
    """Write an archive again with other content of one entry."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    root = next(iter(members)).partition("/")[0]
    members[f"{root}/{ending}"] = content
    with zipfile.ZipFile(path, "w") as archive:
        for name, part in members.items():
            archive.writestr(name, part)
    return path


def test_an_archive(tmp_path: Path) -> None:
    checkpoint = read_checkpoint(member(save(tmp_path / "a.pth", WEIGHTS), "data/1", b"12345678"))
    assert (whole(checkpoint, "a"), whole(checkpoint, "b")) == (bytes(8), b"12345678")


def test_a_file_of_old_torch(tmp_path: Path) -> None:
    path = save_legacy(tmp_path / "old.pth", WEIGHTS)
    path.write_bytes(path.read_bytes()[:-8] + b"12345678")
    checkpoint = read_checkpoint(path)
    assert (whole(checkpoint, "a"), whole(checkpoint, "b")) == (bytes(8), b"12345678")


def test_a_byte_that_changed(tmp_path: Path) -> None:
    path = member(save(tmp_path / "a.pth", WEIGHTS), "data/1", b"12345678")
    path.write_bytes(path.read_bytes().replace(b"12345678", b"12345679"))
    checkpoint = read_checkpoint(path)
    with pytest.raises(UnreadableDocument, match="data/1 in it cannot be read: Bad CRC-32"):
        whole(checkpoint, "b")


def test_the_bytes_of_another_processor(tmp_path: Path) -> None:
    checkpoint = read_checkpoint(member(save(tmp_path / "a.pth", WEIGHTS), "byteorder", b"big"))
    with pytest.raises(UnreadableDocument, match="order of bytes of another processor"):
        whole(checkpoint, "b")


@pytest.mark.nnunet
@pytest.mark.parametrize("legacy", [False, True])
def test_the_values_are_those_that_torch_loads(legacy: bool, tmp_path: Path) -> None:
    import torch

    from plansguard.nnunet.adapted_weights import StoredTensor, tensor_of

    shared = torch.arange(24.0)
    dtypes = "float64 float32 float16 bfloat16 int64 int32 int16 int8 uint8 bool".split()
    weights: dict[str, Any] = {
        **{dtype: torch.arange(6).view(2, 3).to(getattr(torch, dtype)) for dtype in dtypes},
        "parameter": torch.nn.Conv3d(2, 4, 3).weight,
        "view": shared[4:12].view(2, 4),
        "same storage": shared,
        "transposed": torch.arange(15.0).view(3, 5).T,
        "scalar": torch.tensor(3.0),
        "empty": torch.zeros(0, 3),
        "expanded": torch.arange(3.0).expand(7, 3),
    }
    path = tmp_path / "checkpoint.pth"
    torch.save({"network_weights": weights}, path, _use_new_zipfile_serialization=not legacy)
    checkpoint = read_checkpoint(path)
    assert list(checkpoint.parameters) == list(weights)
    for name, tensor in checkpoint.parameters.items():
        place = tensor.shape, tensor.offset, tensor.stride
        found = tensor_of(StoredTensor(tensor.dtype, *place, whole(checkpoint, name)))
        assert torch.equal(found, weights[name]), name
