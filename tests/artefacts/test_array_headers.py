"""Headers of arrays: equal to those of the libraries, and one clear clause for whatever is broken."""

from __future__ import annotations

import os
import random
import struct
import zipfile
import zlib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plansguard.artefacts.data.array_headers import (
    ArrayHeader,
    BrokenArray,
    b2nd_header,
    npy_header,
    read_header,
    read_members,
)
from tests.support.arrays import npy, npz
from tests.support.preprocessed import HEADERS, PRETRAIN_3D, frame_length, lay_out

BLOSC2_FILES = sorted(HEADERS.rglob("*.b2nd"))
WHOLE = PRETRAIN_3D / "pre_001_seg.b2nd"  # shorter than 4096 bytes, so the fixture is the whole file


def broken(path: Path) -> str:
    with pytest.raises(BrokenArray) as caught:
        read_header(path)
    return str(caught.value)


# --- .b2nd


@pytest.mark.parametrize(
    ("case", "shape", "dtype"),
    [
        ("Dataset001_PretrainCT/nnUNetPlans_3d_fullres/pre_000", (1, 32, 96, 96), "<f4"),
        ("Dataset001_PretrainCT/nnUNetPlans_3d_fullres/pre_000_seg", (1, 32, 96, 96), "<i2"),
        ("Dataset004_Slides2D/nnUNetPlans_2d/slide_000", (3, 1, 96, 128), "<f4"),
    ],
)
def test_a_real_header_is_read(tmp_path: Path, case: str, shape: tuple[int, ...], dtype: str) -> None:
    source = HEADERS / f"{case}.b2nd"
    whole = lay_out(source.parent, tmp_path) / source.name
    assert read_header(whole) == ArrayHeader(shape, dtype, whole.stat().st_size)


def test_the_beginning_of_a_real_file_is_cut_off() -> None:
    path = PRETRAIN_3D / "pre_000.b2nd"
    assert broken(path) == f"is cut off: 4096 of {frame_length(path.read_bytes())} bytes"


def test_bytes_after_the_frame_do_no_harm(tmp_path: Path) -> None:
    """Blosc2 opens such a file; see the test against Blosc2 below."""
    path = tmp_path / "long.b2nd"
    path.write_bytes(WHOLE.read_bytes() + b"more")
    assert read_header(path) == read_header(WHOLE)


def test_every_cut_is_found(tmp_path: Path) -> None:
    """At every byte of a small file, and at every 4 KiB of a larger one."""
    path, content = tmp_path / "cut.b2nd", WHOLE.read_bytes()
    for length in range(len(content)):
        path.write_bytes(content[:length])
        clause = broken(path)
        assert f"cut off: {length} of {len(content)} bytes" in clause or length < 104
        assert clause.startswith("is cut off" if length else "is empty")
    large = lay_out(PRETRAIN_3D, tmp_path / "data") / "pre_000.b2nd"
    for length in reversed(range(0, large.stat().st_size, 4096)):
        os.truncate(large, length)
        assert ("cut off" if length else "empty") in broken(large)


@given(
    changes=st.lists(st.tuples(st.integers(0, 320), st.integers(0, 255)), min_size=1, max_size=12),
    length=st.integers(0, 4000),
    source=st.sampled_from(BLOSC2_FILES),
)
def test_a_changed_header_is_read_or_refused(changes: list[tuple[int, int]], length: int, source: Path) -> None:
    content = bytearray(source.read_bytes())
    size = frame_length(content)
    for offset, value in changes:
        content[offset] = value
    head = bytes(content[: max(length, 0)])
    try:
        header = b2nd_header(head, size, os.devnull)
    except BrokenArray as error:
        assert str(error).startswith("is ")
    else:
        assert all(extent >= 0 for extent in header.shape)
        assert isinstance(header.expected_bytes, int)
        assert header.expected_bytes <= size


@given(st.binary(max_size=400), st.sampled_from([b"", b"\x9e\xa8b2frame\0", b"\x93NUMPY\1\0", b"PK\3\4"]))
def test_random_bytes_are_no_array(tail: bytes, head: bytes) -> None:
    content = head + tail
    with pytest.raises(BrokenArray):
        b2nd_header(content, len(content), os.devnull)
    with pytest.raises(BrokenArray):
        npy_header(content, len(content))


@pytest.mark.parametrize(
    ("offset", "content", "clause"),
    [
        (114, b"\x00", "is damaged: it claims 0 dimensions"),
        (114, b"\xff", "is damaged: it claims 255 dimensions"),
        (117, b"\xff" * 8, "is damaged: it claims the shape (-1, 30, 94, 94)"),
        (116, b"\xc0", "is damaged: its b2nd metalayer is not readable"),
        (104, b"\xff\xff\xff\xff", "is damaged: its b2nd metalayer is not readable"),
        (199, b"\xff\xff\xff", "is damaged: its b2nd metalayer is not readable"),
        (95, b"none", "is a Blosc2 file without an array: it has no b2nd metalayer"),
        (11, b"\x00\x00\x00\x01", "is damaged: its Blosc2 header is not readable"),
        (11, b"\x7f\xff\xff\xff", "is damaged: its Blosc2 header is not readable"),
        (16, b"\xff" * 8, f"is cut off: {WHOLE.stat().st_size} of {2**64 - 1} bytes"),
        (0, b"<!DOCTYPE ", "is no Blosc2 file"),
        (0, bytes(4000), "is no Blosc2 file: it begins with zeros, like a file that was not written to the end"),
    ],
)
def test_what_is_wrong_is_reported(tmp_path: Path, offset: int, content: bytes, clause: str) -> None:
    path = tmp_path / "odd.b2nd"
    whole = WHOLE.read_bytes()
    path.write_bytes(whole[:offset] + content + whole[offset + len(content) :])
    assert broken(path) == clause


def test_an_absurd_shape_costs_nothing(tmp_path: Path) -> None:
    path = tmp_path / "vast.b2nd"
    content = bytearray(WHOLE.read_bytes())
    for extent in range(4):
        struct.pack_into(">q", content, 117 + 9 * extent, 2**62)
    path.write_bytes(content)
    assert read_header(path).shape == (2**62,) * 4


def test_a_header_that_claims_a_gigabyte_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "vast.b2nd"
    content = bytearray(WHOLE.read_bytes())
    struct.pack_into(">i", content, 11, 1 << 30)
    struct.pack_into(">Q", content, 16, 1 << 31)
    path.write_bytes(content)
    os.truncate(path, 1 << 31)  # sparse
    assert broken(path) == f"is damaged: its header claims {1 << 30} bytes"


def test_what_is_no_file_is_reported(tmp_path: Path) -> None:
    assert broken(tmp_path / "none.b2nd") == "is missing"
    assert broken(tmp_path / "none.npz") == "is missing"
    assert "null" in broken(Path("a\0b.b2nd"))
    for ending in ("b2nd", "npz", "npy"):
        (tmp_path / f"folder.{ending}").mkdir()
        assert broken(tmp_path / f"folder.{ending}") in ("is no file", "cannot be read (Is a directory)")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
@pytest.mark.parametrize("ending", ["b2nd", "npz", "npy"])
def test_a_pipe_is_not_waited_for(tmp_path: Path, ending: str) -> None:
    os.mkfifo(tmp_path / f"pipe.{ending}")
    assert broken(tmp_path / f"pipe.{ending}") == "is no file"


# --- .npy and .npz


@pytest.mark.parametrize("version", [1, 2, 3])
@pytest.mark.parametrize(("shape", "dtype"), [((1, 3, 4, 5), "<f4"), ((7,), "|i1"), ((), "<f8"), ((2, 0, 3), "<i2")])
def test_a_npy_is_read(tmp_path: Path, shape: tuple[int, ...], dtype: str, version: int) -> None:
    path = tmp_path / "a.npy"
    content = npy(shape, dtype, version)
    path.write_bytes(content)
    assert read_header(path) == ArrayHeader(shape, dtype, len(content))
    for length in range(len(content)):
        path.write_bytes(content[:length])
        assert ("is cut off" if length > 5 else "is ") in broken(path)


@pytest.mark.parametrize(
    "text",
    [
        b"{'descr': '|O', 'fortran_order': False, 'shape': (" + b"9, " * 4000 + b"), }",
        b"{'descr': '<f4', 'fortran_order': False, 'shape': __import__('os'), }",
        b"{'descr': '<f4', 'fortran_order': False, 'shape': (1, 2)}",
        b"(" * 4000,
    ],
)
def test_an_unusual_npy_header_is_not_evaluated(text: bytes) -> None:
    content = b"\x93NUMPY\1\0" + struct.pack("<H", len(text)) + text
    with pytest.raises(BrokenArray, match="header is not readable"):
        npy_header(content, len(content))


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_npz_is_read_and_every_cut_found(tmp_path: Path, method: int) -> None:
    path = tmp_path / "a.npz"
    content = npz({"data": npy((2, 3, 4, 5)), "seg": npy((1, 3, 4, 5), "|i1")}, method)
    path.write_bytes(content)
    size = len(content)
    assert read_members(str(path)) == {
        "data": ArrayHeader((2, 3, 4, 5), "<f4", size),
        "seg": ArrayHeader((1, 3, 4, 5), "|i1", size),
    }
    assert read_header(path).shape == (2, 3, 4, 5)
    for length in range(size):
        path.write_bytes(content[:length])
        found = broken(path)
        assert length < 4 or (f"({length} bytes)" in found and "the directory at its end is missing" in found)


def test_a_npz_of_other_members_is_none_of_nnunets(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    path.write_bytes(npz({"arr_0": npy((3,))}))
    assert broken(path) == "contains neither data nor seg"
    path.write_bytes(npz({"seg": npy((1, 3, 4, 5))}))
    assert read_header(path).shape == (1, 3, 4, 5)
    path.write_bytes(npz({"data": b"no array"}))
    assert broken(path) == "is no .npy file"
    path.write_bytes(npz({"data": npy((2, 3, 4, 5), fill=7)}))
    assert broken(path) == "is cut off: 135 of 608 bytes"


def test_a_deflate_bomb_is_not_unpacked(tmp_path: Path) -> None:
    """100 MB of zeros behind a header; the reader asks for 4 KiB of them."""
    path = tmp_path / "bomb.npz"
    path.write_bytes(npz({"data": npy((1, 1, 5000, 5000))}))
    assert path.stat().st_size < 200_000
    with pytest.MonkeyPatch.context() as patch:
        given_out: list[int] = []
        original = zlib.decompressobj

        class Watched:
            def __init__(self, bits: int) -> None:
                self.machine = original(bits)

            def __getattr__(self, name: str) -> Any:
                return getattr(self.machine, name)

            def decompress(self, raw: bytes, most: int = 0) -> bytes:
                out = self.machine.decompress(raw, most)
                given_out.append(len(out))
                return out

        patch.setattr(zlib, "decompressobj", Watched)
        assert read_header(path).shape == (1, 1, 5000, 5000)
    assert given_out == [4096]


@given(data=st.data())
def test_a_changed_npz_is_read_or_refused(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    content = bytearray(npz({"data": npy((1, 2, 2, 2)), "seg": npy((1, 2, 2, 2), "|i1")}))
    for _ in range(data.draw(st.integers(1, 8))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.getbasetemp() / "changed.npz"
    path.write_bytes(content)
    try:
        members = read_members(str(path))
    except BrokenArray as error:
        assert str(error)
    else:
        assert members.keys() <= {"data", "seg"}


# --- Against the libraries

DTYPES = ("float32", "int16", "int8", "float64", "bool", "uint16", "float16", "int64")


@pytest.mark.nnunet
def test_every_header_equals_that_of_blosc2(tmp_path: Path) -> None:
    """400 arrays of 1 to 5 dimensions, with chunks and blocks given or not, some with further metalayers."""
    import blosc2
    import numpy

    draw = random.Random(2026)
    for number in range(400):
        shape = tuple(draw.choice((0, 1, 2, 3, 7, 16, 33)) for _ in range(draw.randint(1, 5)))
        options: dict[str, Any] = {}
        if draw.random() < 0.6 and 0 not in shape:
            chunks = [draw.randint(1, extent) for extent in shape]
            options = {"chunks": chunks, "blocks": [draw.randint(1, extent) for extent in chunks]}
        if draw.random() < 0.2:
            options["meta"] = {"note": b"x" * draw.choice((1, 5000, 70_000))}
        path = tmp_path / f"{number}.b2nd"
        array: Any = numpy.zeros(shape, draw.choice(DTYPES))
        if draw.random() < 0.5:
            array = (numpy.random.default_rng(number).random(shape) * 100).astype(array.dtype)
        blosc2.asarray(array, urlpath=str(path), **options)
        header, theirs = read_header(path), blosc2.open(str(path), mode="r")
        assert header.shape == theirs.shape == shape
        assert numpy.dtype(header.dtype) == theirs.dtype == array.dtype
        assert header.expected_bytes == path.stat().st_size


@pytest.mark.nnunet
def test_files_as_nnunet_saves_them(tmp_path: Path) -> None:
    import blosc2
    import numpy
    from nnunetv2.training.dataloading.nnunet_dataset import (
        comp_blosc2_params,
        nnUNetDatasetBlosc2,
        nnUNetDatasetNumpy,
    )

    for number, shape in enumerate([(1, 40, 50, 60), (3, 1, 90, 70), (4, 5, 6, 7), (1, 1, 1, 1)]):
        image = numpy.random.default_rng(number).random(shape, dtype="float32")
        segmentation = (image[:1] > 0.5).astype("int16")
        case = tmp_path / f"case_{number}"
        blocks, chunks = comp_blosc2_params(shape, (32, 32, 32) if shape[1] > 1 else (64, 64))
        nnUNetDatasetBlosc2.save_case(image, segmentation, {}, str(case), chunks=chunks, blocks=blocks)
        nnUNetDatasetNumpy.save_case(image, segmentation, {}, str(case))
        for array, ending in ((image, ""), (segmentation, "_seg")):
            path = case.with_name(f"{case.name}{ending}.b2nd")
            assert read_header(path) == ArrayHeader(array.shape, array.dtype.str, path.stat().st_size)
            numpy.save(case.with_name(f"{case.name}{ending}.npy"), array)
            assert read_header(path.with_suffix(".npy")).shape == array.shape
        members = read_members(f"{case}.npz")
        assert (members["data"].shape, members["seg"].shape) == (image.shape, segmentation.shape)
        assert (members["data"].dtype, members["seg"].dtype) == ("<f4", "<i2")
        longer = case.with_suffix(".longer.b2nd")
        longer.write_bytes(case.with_suffix(".b2nd").read_bytes() + b"more")
        assert blosc2.open(str(longer), mode="r").shape == read_header(longer).shape == shape


@pytest.mark.nnunet
def test_what_is_called_cut_off_blosc2_cannot_open(tmp_path: Path) -> None:
    import blosc2

    path, content = tmp_path / "cut.b2nd", WHOLE.read_bytes()
    for length in (0, 10, 200, len(content) // 2, len(content) - 1):
        path.write_bytes(content[:length])
        assert broken(path)
        with pytest.raises((RuntimeError, OSError, ValueError)):
            blosc2.open(str(path), mode="r")
