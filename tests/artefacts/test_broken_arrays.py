"""Broken and hostile preprocessed arrays."""

from __future__ import annotations

import math
import zipfile
from pathlib import Path

import pytest

from plansguard.artefacts.data.blosc2_frames import MOST_BLOCKS, MOST_CHUNKS
from plansguard.artefacts.data.normalization import (
    RGB,
    Evidence,
)
from plansguard.artefacts.data.values import judge_values
from tests.support.arrays import SHAPE, broken_case, drawn, expectation, measured_case, stored


@pytest.mark.nnunet
@pytest.mark.parametrize("name", ["one.b2nd", "one_seg.b2nd"])
def test_arrays_cut_anywhere_are_incomplete(tmp_path: Path, name: str) -> None:
    image, segmentation = drawn()
    path = stored(tmp_path, image, segmentation) / name
    whole = path.read_bytes()
    for length in {*range(0, len(whole), 4096), 1, 200, len(whole) - 1}:
        path.write_bytes(whole[:length])
        assert broken_case(tmp_path).startswith(f"{name} ")


@pytest.mark.nnunet
def test_damage_inside_an_array_is_incomplete(tmp_path: Path) -> None:
    image, segmentation = drawn()
    path = stored(tmp_path, image, segmentation) / "one.b2nd"
    whole = bytearray(path.read_bytes())
    first_chunk = int.from_bytes(whole[11:15], "big")  # right behind the header
    whole[first_chunk + 32 : first_chunk + 64] = b"\xff" * 32
    path.write_bytes(whole)
    ((kind, fault),), evidence = judge_values(tmp_path, "one", expectation(RGB, channels=2))
    assert kind == "incomplete"
    assert fault.what.startswith("one.b2nd cannot be read (")
    assert evidence == Evidence()


@pytest.mark.nnunet
def test_missing_files_are_incomplete(tmp_path: Path) -> None:
    assert broken_case(tmp_path) == "one.b2nd is missing"
    (stored(tmp_path, *drawn()) / "one_seg.b2nd").unlink()
    assert broken_case(tmp_path) == "one_seg.b2nd is missing"


@pytest.mark.nnunet
def test_members_that_are_missing_or_cut_are_incomplete(tmp_path: Path) -> None:
    import numpy as np

    image, segmentation = drawn()
    np.savez(tmp_path / "one.npz", data=image)
    assert broken_case(tmp_path) == "one.npz (seg) is missing"
    stored(tmp_path, image, segmentation, "npz")
    with zipfile.ZipFile(tmp_path / "one.npz") as archive:
        data, seg = archive.read("data.npy"), archive.read("seg.npy")
    with zipfile.ZipFile(tmp_path / "one.npz", "w") as archive:
        archive.writestr("data.npy", data[:-100])
        archive.writestr("seg.npy", seg)
    assert broken_case(tmp_path).startswith("one.npz (data) ")


@pytest.mark.nnunet
@pytest.mark.parametrize("shape", [(1, 5, 5), (1, 1, 2, 5, 5)])
def test_arrays_of_other_axes_are_refused(tmp_path: Path, shape: tuple[int, ...]) -> None:
    import numpy as np

    assert "and not of the four axes (C, z, y, x)" in broken_case(stored(tmp_path, np.zeros(shape), np.zeros(shape)))


@pytest.mark.nnunet
def test_arrays_of_objects_are_refused(tmp_path: Path) -> None:
    import numpy as np

    image, segmentation = drawn()
    assert broken_case(stored(tmp_path, image.astype(object), segmentation, "npz")) == (
        "one.npz (data) holds '|O', not numbers"
    )
    assert "not numbers" in broken_case(stored(tmp_path, np.zeros(SHAPE, "S4"), segmentation, "npz"))


@pytest.mark.nnunet
def test_arrays_of_nothing_that_claim_the_world_are_refused(tmp_path: Path) -> None:
    import blosc2

    blosc2.zeros((1, 4000, 4000, 4000), dtype="f4", urlpath=str(tmp_path / "one.b2nd"))
    assert "is damaged: it claims 238 GiB in" in broken_case(tmp_path)


@pytest.mark.nnunet
def test_a_file_that_would_compute_something_is_not_opened(tmp_path: Path) -> None:
    """Blosc2 stores expressions and functions as arrays, too, and evaluates them when they are read."""
    import blosc2

    image, segmentation = drawn()
    stored(tmp_path, image, segmentation)
    expression = blosc2.open(str(tmp_path / "one.b2nd"), mode="r") + 1
    expression.save(urlpath=str(tmp_path / "two.b2nd"))
    (tmp_path / "two.b2nd").replace(tmp_path / "one.b2nd")
    assert broken_case(tmp_path) == "one.b2nd is more than an array, and is not opened for safety"


@pytest.mark.nnunet
@pytest.mark.parametrize("name", ["LazyArray", "proxy-source", "b2o", "mine"])
@pytest.mark.parametrize("ending", ["", "\0"])
def test_other_metalayers_are_not_opened(tmp_path: Path, name: str, ending: str) -> None:
    """C-Blosc2 ends their names at a NUL, and Blosc2 for Python asks it for names."""
    stored(tmp_path, *drawn(), meta={name + "X" * len(ending): 3})
    path = tmp_path / "one.b2nd"
    path.write_bytes(path.read_bytes().replace((name + "X").encode(), (name + ending).encode()))
    assert broken_case(tmp_path) == "one.b2nd is more than an array, and is not opened for safety"


@pytest.mark.nnunet
def test_metalayers_of_variable_length_are_not_opened(tmp_path: Path) -> None:
    import blosc2

    array = blosc2.open(str(stored(tmp_path, *drawn()) / "one.b2nd"), mode="a")
    array.schunk.vlmeta["mine"] = 3
    assert broken_case(tmp_path) == "one.b2nd is more than an array, and is not opened for safety"


def chunk_of(whole: bytearray, which: str) -> int:
    """Where the first chunk of a frame begins, or the one that lists the others."""
    packed = int.from_bytes(whole[39:47], "big") if which == "list" else 0
    return int.from_bytes(whole[11:15], "big") + packed


@pytest.mark.nnunet
@pytest.mark.parametrize("which", ["first", "list"])
@pytest.mark.parametrize(("codec", "name"), [(36, "36 (OpenHTJ2K)"), (37, "37 (Grok)"), (200, "200")])
def test_plugins_are_not_loaded(
    tmp_path: Path, which: str, codec: int, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """C-Blosc2 looks for them with Python, in the current folder first."""
    path = stored(tmp_path, *drawn()) / "one.b2nd"
    whole = bytearray(path.read_bytes())
    start = chunk_of(whole, which)
    whole[start + 2] = whole[start + 2] & 0x1F | 6 << 5
    whole[start + 0x16] = codec
    path.write_bytes(whole)
    for module in ("blosc2_openhtj2k", "blosc2_grok"):
        (tmp_path / f"{module}.py").write_text("open('ran', 'w').close()\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    assert (
        broken_case(tmp_path)
        == f"one.b2nd is packed with codec {name}, which needs a plugin, and is not opened for safety"
    )
    assert not (tmp_path / "ran").exists()


@pytest.mark.nnunet
def test_every_chunk_is_looked_at(tmp_path: Path) -> None:
    import blosc2

    path = stored(tmp_path, *drawn(), chunks=(1, 4, 30, 30)) / "one.b2nd"
    whole = bytearray(path.read_bytes())
    array = blosc2.open(str(path), mode="r")
    start = whole.index(array.schunk.get_chunk(47))
    whole[start + 0x10] = 160
    path.write_bytes(whole)
    assert broken_case(tmp_path).startswith("one.b2nd is packed with filter 160, which needs a plugin")
    whole[start + 0x10] = 0
    whole[start + 2] = whole[start + 2] & 0x1F | 6 << 5
    path.write_bytes(whole)
    assert broken_case(tmp_path).startswith("one.b2nd is packed with a codec of the kind 6")


@pytest.mark.nnunet
@pytest.mark.parametrize(
    ("position", "number", "what"), [(0x1B, 6, "codec 6"), (0x4D, 37, "codec 37 (Grok)"), (0x47, 160, "filter 160")]
)
def test_plugins_that_the_frame_names_are_not_loaded(tmp_path: Path, position: int, number: int, what: str) -> None:
    path = stored(tmp_path, *drawn()) / "one.b2nd"
    whole = bytearray(path.read_bytes())
    whole[position] = number
    path.write_bytes(whole)
    assert (
        broken_case(tmp_path) == f"one.b2nd is packed with {what}, which needs a plugin, and is not opened for safety"
    )


@pytest.mark.nnunet
@pytest.mark.parametrize("kind", ["zeros", "ones", "nans", "uninit"])
def test_chunks_without_bytes_are_read(tmp_path: Path, kind: str) -> None:
    import blosc2

    _, segmentation = drawn()
    stored(tmp_path, segmentation, segmentation)
    (tmp_path / "one.b2nd").unlink()
    getattr(blosc2, kind)((1, 7, 90, 110), dtype="f4", urlpath=str(tmp_path / "one.b2nd"), chunks=(1, 4, 32, 32))
    (one,) = measured_case(tmp_path, outside=(True,)).channels
    assert one.everywhere.voxels == 7 * 90 * 110
    if kind != "uninit":
        value = {"zeros": 0.0, "ones": 1.0, "nans": math.nan}[kind]
        assert (one.low, one.high) == pytest.approx((value, value), nan_ok=True)


@pytest.mark.nnunet
@pytest.mark.parametrize("codec", ["BLOSCLZ", "LZ4", "LZ4HC", "ZLIB", "ZSTD"])
@pytest.mark.parametrize("split", ["NOFILTER", "SHUFFLE", "BITSHUFFLE"])
def test_every_codec_of_its_own_is_read(tmp_path: Path, codec: str, split: str) -> None:
    import blosc2

    image, segmentation = drawn()
    options = {"codec": blosc2.Codec[codec], "filters": [blosc2.Filter[split]]}
    stored(tmp_path, image, segmentation, cparams=options)
    assert measured_case(tmp_path).channels[0].high == image[0].max()


@pytest.mark.nnunet
@pytest.mark.parametrize(("chunks", "blocks"), [((1, 1, 1, 1), (1, 1, 1, 1)), ((1, 256, 256, 65), (1, 1, 1, 1))])
def test_arrays_in_countless_pieces_are_refused(
    tmp_path: Path, chunks: tuple[int, ...], blocks: tuple[int, ...]
) -> None:
    import blosc2

    path = str(tmp_path / "one.b2nd")
    blosc2.zeros((1, 256, 256, 65), dtype="f4", urlpath=path, chunks=chunks, blocks=blocks)
    assert broken_case(tmp_path) == "one.b2nd is damaged: it claims to be in more chunks and blocks than nnU-Net writes"


@pytest.mark.nnunet
@pytest.mark.parametrize(("patch", "times"), [((128, 128, 128), 20), ((16, 32, 32), 5), ((512, 512), 20)])
def test_large_arrays_of_nnunet_are_in_far_fewer_pieces(patch: tuple[int, ...], times: int) -> None:
    from nnunetv2.training.dataloading.nnunet_dataset import comp_blosc2_params

    shape = (4, 600, 1000, 1000)
    blocks, chunks = comp_blosc2_params(shape, patch)
    count = math.prod(-(-extent // step) for extent, step in zip(shape, chunks, strict=True))
    assert times * count <= MOST_CHUNKS
    assert times * count * math.prod(-(-one // two) for one, two in zip(chunks, blocks, strict=True)) <= MOST_BLOCKS


@pytest.mark.nnunet
@pytest.mark.parametrize("dtype", [b"(2 3)f4,f4", b"f4,f4,f4", b"(2,)f4", b"\x1b[2J", b"a4"])
def test_types_are_not_parsed(tmp_path: Path, dtype: bytes) -> None:
    import blosc2
    import numpy as np

    path = tmp_path / "one.b2nd"
    blosc2.asarray(np.zeros((1, 8, 8, 8), [("a", "<f4")]), urlpath=str(path))
    path.write_bytes(path.read_bytes().replace(b"[('a', '<f4')]", dtype.ljust(14)))
    assert broken_case(tmp_path) == f"one.b2nd holds {dtype.ljust(14)[:5].decode()!r}, not numbers"


@pytest.mark.nnunet
def test_large_members_in_fortrans_order_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import numpy as np

    image, segmentation = drawn()
    stored(tmp_path, np.asfortranarray(image), segmentation, "npz")
    assert measured_case(tmp_path).channels[1].high == image[1].max()
    monkeypatch.setattr("plansguard.artefacts.data.values.WHOLE", image.nbytes - 1)
    assert broken_case(tmp_path) == "one.npz (data) is in Fortran's order, which is read only up to 0 MiB"
