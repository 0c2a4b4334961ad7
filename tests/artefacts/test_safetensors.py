"""Safetensors files: their headers are read, nothing else, and damaged ones are refused."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import pytest

from plansguard.artefacts.checkpoint.checkpoint import read_checkpoint
from plansguard.artefacts.checkpoint.safetensors import MAX_HEADER
from plansguard.core.errors import UnreadableDocument
from tests.support.safetensors import entry, write

TWO = {"encoder.a": entry("F32", (2, 3), 0), "encoder.b": entry("F16", (4,), 24)}


def test_names_shapes_and_places(tmp_path: Path) -> None:
    path = write(tmp_path / "weights.safetensors", {"__metadata__": {"format": "pt"}, **TWO}, bytes(32))
    found = read_checkpoint(path)
    assert (found.kind, found.damage, found.locations) == ("state-dict", (), ())
    assert found.sentence == (
        "These are the weights of a PyTorch network (2 tensors, in a safetensors file), "
        "and no checkpoint of nnU-Net v2."
    )
    assert found.shapes == {"encoder.a": (2, 3), "encoder.b": (4,)}
    size = path.stat().st_size
    assert found.places == {"encoder.a": (size - 32, size - 8), "encoder.b": (size - 8, size)}
    assert [tensor.key for tensor in found.parameters.values()] == ["encoder.a", "encoder.b"]


def test_a_file_that_is_cut_short(tmp_path: Path) -> None:
    found = read_checkpoint(write(tmp_path / "weights.safetensors", TWO, bytes(31)))
    assert [one.startswith("the file is cut short") for one in found.damage] == [True]


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        ({"a": entry("F32", (2, 3), 0) | {"data_offsets": [0, 23]}}, "has another size than its shape"),
        ({"a": entry("F32", (2,), 0) | {"dtype": "F99"}}, "none of safetensors'"),
        ({"a": entry("F32", (2,), 0) | {"dtype": ["F32"]}}, "none of safetensors'"),
        ({"a": entry("F32", (2,), 0) | {"shape": [-2]}}, "none of safetensors'"),
        ({"a": entry("F32", (2,), 0) | {"shape": 2}}, "none of safetensors'"),
        ({"a": entry("F32", (2,), 0) | {"data_offsets": [8]}}, "none of safetensors'"),
        ({"a": entry("F32", (2,), 0) | {"data_offsets": [True, 8]}}, "none of safetensors'"),
        ({"a": 5}, "none of safetensors'"),
    ],
)
def test_headers_of_another_form(tmp_path: Path, header: Any, reason: str) -> None:
    with pytest.raises(UnreadableDocument, match=reason):
        read_checkpoint(write(tmp_path / "weights.safetensors", header, bytes(64)))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (struct.pack("<Q", 99) + b'{"a":', "it ends within its header"),
        (struct.pack("<Q", MAX_HEADER + 1) + b'{"a":', "its header claims"),
        (struct.pack("<Q", 9) + b'{"a": [}]', "its header is no JSON"),
        (struct.pack("<Q", 200_006) + b'{"a": ' + b"[" * 200_000, "its header is no JSON"),
    ],
    ids=["short", "long", "no-json", "nested"],
)
def test_headers_that_cannot_be_read(tmp_path: Path, content: bytes, reason: str) -> None:
    path = tmp_path / "weights.safetensors"
    path.write_bytes(content)
    with pytest.raises(UnreadableDocument, match=reason):
        read_checkpoint(path)


def test_the_format_of_the_library(tmp_path: Path) -> None:
    numpy = pytest.importorskip("numpy")
    library = pytest.importorskip("safetensors.numpy")
    path = tmp_path / "weights.safetensors"
    library.save_file({"a": numpy.zeros((2, 3), numpy.float32), "b": numpy.zeros(5, numpy.int64)}, path)
    found = read_checkpoint(path)
    assert (found.shapes, found.damage) == ({"a": (2, 3), "b": (5,)}, ())
    assert json.loads(path.read_bytes()[8 : 8 + struct.unpack("<Q", path.read_bytes()[:8])[0]])["a"]["dtype"] == "F32"
