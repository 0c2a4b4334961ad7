"""Cases in a folder of preprocessed data, and their headers and properties."""

from __future__ import annotations

import os
import pickle
import random
import shutil
from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plansguard.artefacts.data.cases import FORMATS, Case, list_folder, read_case
from plansguard.core.errors import UnreadableDocument
from tests.support.arrays import npy, npz
from tests.support.preprocessed import HEADERS, PRETRAIN_2D, PRETRAIN_3D, lay_out

SHAPE = "shape_after_cropping_and_before_resampling"
PROPERTIES: dict[str, Any] = {"spacing": [2.5, 0.8, 0.8], SHAPE: (3, 4, 5), "class_locations": {1: [], (1, 2): []}}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """pre_000 and pre_001 in 3d_fullres, with healthy headers."""
    return lay_out(PRETRAIN_3D, tmp_path / "data")


def read(folder: Path, name: str = "pre_000", array: str = "b2nd") -> Case:
    return read_case(str(folder), name, array)


def write(folder: Path, *names: str, content: bytes = b"") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).write_bytes(content)
    return folder


# --- A folder


def test_a_healthy_folder(folder: Path) -> None:
    listing = list_folder(folder)
    assert listing.names == ("pre_000", "pre_001")
    assert (listing.orphans, listing.strays, listing.formats, listing.format) == ((), (), ("b2nd",), "b2nd")
    assert not listing.refused


def test_cases_without_an_image_are_orphans(tmp_path: Path) -> None:
    listing = list_folder(write(tmp_path, "b.b2nd", "a_seg.b2nd", "b.pkl", "c.pkl", "d.npy"))
    assert (listing.names, listing.orphans, listing.strays) == (("b",), ("a", "c"), ())


def test_an_old_folder(tmp_path: Path) -> None:
    listing = list_folder(write(tmp_path, "b.npz", "b.pkl", "b.npy", "b_seg.npy", "c_seg.npz", "d.pkl"))
    assert (listing.names, listing.orphans, listing.format) == (("b", "c_seg"), ("d",), "npz")
    assert not listing.refused


@pytest.mark.parametrize(
    ("others", "formats", "strays"),
    [
        (("a.npz",), ("b2nd", "npz"), ()),
        ((".DS_Store",), ("b2nd",), (".DS_Store",)),
        (("notes.txt", "b.json", "README"), ("b2nd",), ("README", "b.json", "notes.txt")),
    ],
)
def test_what_nnunet_refuses(tmp_path: Path, others: tuple[str, ...], formats: Any, strays: Any) -> None:
    listing = list_folder(write(tmp_path, "a.b2nd", "a_seg.b2nd", "a.pkl", *others))
    assert listing.refused
    assert (listing.formats, listing.strays, listing.names) == (formats, strays, ("a",))


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    """nnU-Net cannot tell a format either."""
    listing = list_folder(tmp_path)
    assert listing.refused
    assert listing.names == listing.formats == ()


@pytest.mark.parametrize("what", ["missing", "file"])
def test_what_is_no_folder_is_reported(tmp_path: Path, what: str) -> None:
    path = tmp_path / what
    if what == "file":
        path.touch()
    with pytest.raises(UnreadableDocument, match=r"the data folder .* cannot be read"):
        list_folder(path)


def test_links_count_as_what_they_lead_to(tmp_path: Path, folder: Path) -> None:
    data = tmp_path / "linked"
    data.mkdir()
    for path in folder.glob("pre_000*"):
        (data / path.name).symlink_to(path)
    (data / "gone.b2nd").symlink_to(tmp_path / "nowhere")
    (data / "self.txt").symlink_to(data / "self.txt")
    (data / "folder").mkdir()
    listing = list_folder(data)
    assert (listing.names, listing.strays) == (("gone", "pre_000"), ())
    assert read(data).faults == ()
    assert read(data, "gone").faults[0] == "gone.b2nd is missing"


@pytest.mark.nnunet
def test_folders_are_seen_as_nnunet_sees_them(tmp_path: Path) -> None:
    from nnunetv2.training.dataloading.nnunet_dataset import infer_dataset_class

    draw = random.Random(2026)
    endings = [".b2nd", "_seg.b2nd", ".pkl", ".npz", ".npy", "_seg.npy", ".txt", ""]
    for number in range(300):
        names = {draw.choice("abc") + draw.choice(endings[: draw.randint(3, 8)]) for _ in range(draw.randint(0, 7))}
        folder = write(tmp_path / str(number), *names)
        if draw.random() < 0.2:
            (folder / draw.choice(["d", "d.b2nd", "d.npz"])).mkdir()
        listing = list_folder(folder)
        try:
            theirs = infer_dataset_class(str(folder))
        except (AssertionError, KeyError):
            assert listing.refused, names
        else:
            assert not listing.refused, names
            assert theirs.__name__ == {"b2nd": "nnUNetDatasetBlosc2", "npz": "nnUNetDatasetNumpy"}[listing.format]
            assert sorted(theirs.get_identifiers(str(folder))) == list(listing.names), names


# --- A case


def test_a_healthy_case(folder: Path) -> None:
    case = read(folder)
    assert case[:5] == ("pre_000", (1, 32, 96, 96), (1, 32, 96, 96), (32, 96, 96), (2.5, *[pytest.approx(0.8)] * 2))
    assert case.class_keys == frozenset({1, 2})
    assert case.faults == ()
    assert sorted(case.changed) == sorted(path.stat().st_mtime for path in folder.glob("pre_000*"))


@pytest.mark.parametrize("path", sorted(HEADERS.rglob("*.pkl")), ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_every_case_of_the_fixtures(tmp_path: Path, path: Path) -> None:
    case = read(lay_out(path.parent, tmp_path), path.stem)
    assert case.faults == ()
    assert case.image is not None
    assert case.segmentation == (1, *case.image[1:])
    assert case.shape is not None
    assert len(case.shape) == 3
    assert case.class_keys


def test_missing_and_broken_members_are_named(folder: Path) -> None:
    whole = (folder / "pre_000.b2nd").stat().st_size
    os.truncate(folder / "pre_000.b2nd", 8192)
    os.truncate(folder / "pre_000_seg.b2nd", 0)
    (folder / "pre_000.pkl").unlink()
    case = read(folder)
    assert case.faults == (
        f"pre_000.b2nd is cut off: 8192 of {whole} bytes",
        "pre_000_seg.b2nd is empty (0 bytes)",
        "pre_000.pkl is missing",
    )
    assert case[1:6] == (None,) * 5


def test_every_cut_of_a_pkl_is_a_fault(folder: Path) -> None:
    path = folder / "pre_000.pkl"
    content = path.read_bytes()
    for length in [*range(0, len(content), 4096), *range(600), len(content) - 1]:
        path.write_bytes(content[:length])
        (fault,) = read(folder).faults
        assert fault.startswith("pre_000.pkl cannot be read: " if length else "pre_000.pkl is empty (0 bytes)")


@pytest.mark.parametrize(
    ("value", "faults"),
    [
        ([1, 2], ["is not nnU-Net's: it contains no dictionary"]),
        (OrderedDict(a=1), ["contains no " + SHAPE, "contains no spacing"]),
        ({}, ["contains no " + SHAPE, "contains no spacing"]),
        ({**PROPERTIES, "spacing": "1 1 1"}, ["contains no numbers as spacing"]),
        ({**PROPERTIES, "spacing": [1.0, None, 1.0]}, ["contains no numbers as spacing"]),
        ({**PROPERTIES, "spacing": [1.0] * 100}, ["contains no numbers as spacing"]),
        ({**PROPERTIES, "spacing": [10**5000, 1, 1]}, ["contains no numbers as spacing"]),
        ({**PROPERTIES, "spacing": [1.0, 0, 1.0]}, ["has (1.0, 0, 1.0) as spacing"]),
        ({**PROPERTIES, "spacing": [1.0, float("nan"), 1.0]}, ["has (1.0, nan, 1.0) as spacing"]),
        ({**PROPERTIES, SHAPE: (3, -4, 5)}, [f"has (3, -4, 5) as {SHAPE}"]),
        ({**PROPERTIES, SHAPE: (3.5, 4, 5)}, [f"has (3.5, 4, 5) as {SHAPE}"]),
    ],
)
def test_a_pkl_of_another_kind(folder: Path, value: Any, faults: list[str]) -> None:
    (folder / "pre_000.pkl").write_bytes(pickle.dumps(value, protocol=4))
    assert list(read(folder).faults) == [f"pre_000.pkl {fault}" for fault in faults]


def test_class_locations_may_be_anything(folder: Path) -> None:
    path = folder / "pre_000.pkl"
    for stored, seen in [
        (PROPERTIES["class_locations"], {1, (1, 2)}),
        ({}, set()),
        ([1, 2], None),
        ({1: [], "liver": [], 2.5: [], (1, "x"): [], 2**50: [], (2**50, 2): []}, {1, "what is no label"}),
    ]:
        path.write_bytes(pickle.dumps({**PROPERTIES, "class_locations": stored}, protocol=4))
        case = read(folder)
        assert case.class_keys == seen
        assert case.faults == ()
    path.write_bytes(pickle.dumps({key: PROPERTIES[key] for key in (SHAPE, "spacing")}, protocol=4))
    assert read(folder).class_keys is None


def test_a_pkl_executes_nothing(folder: Path, tmp_path: Path) -> None:
    class Command:
        def __reduce__(self) -> tuple[Any, ...]:
            return os.mkdir, (str(tmp_path / "done"),)

    (folder / "pre_000.pkl").write_bytes(pickle.dumps({**PROPERTIES, "class_locations": {1: Command()}}))
    assert read(folder).class_keys == frozenset({1})
    (folder / "pre_000.pkl").write_bytes(pickle.dumps(Command()))
    assert read(folder).faults == ("pre_000.pkl is not nnU-Net's: it contains no dictionary",)
    assert not (tmp_path / "done").exists()


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_pipe_is_not_waited_for(folder: Path) -> None:
    (folder / "pre_000.pkl").unlink()
    os.mkfifo(folder / "pre_000.pkl")
    (fault,) = read(folder).faults
    assert fault.startswith("pre_000.pkl ")


@given(content=st.binary(max_size=300), ending=st.sampled_from([".b2nd", "_seg.b2nd", ".pkl", ".npz", ".npy"]))
def test_no_content_raises(tmp_path_factory: pytest.TempPathFactory, content: bytes, ending: str) -> None:
    folder = tmp_path_factory.getbasetemp() / "any"
    if not folder.exists():
        lay_out(PRETRAIN_2D, folder)
    target = folder / f"x{ending}"
    target.write_bytes(content)
    for array in FORMATS:
        assert read(folder, "x", array).faults
    target.unlink()


# --- As nnU-Net up to 2.5 wrote it


@pytest.fixture
def old(tmp_path: Path) -> Path:
    folder = write(tmp_path / "old", "a.npz", content=npz({"data": npy((2, 3, 4, 5)), "seg": npy((1, 3, 4, 5), "|i1")}))
    return write(folder, "a.pkl", content=pickle.dumps(PROPERTIES, protocol=4))


def test_an_old_case(old: Path) -> None:
    case = read(old, "a", "npz")
    assert case[:6] == ("a", (2, 3, 4, 5), (1, 3, 4, 5), (3, 4, 5), (2.5, 0.8, 0.8), frozenset({1, (1, 2)}))
    assert case.faults == ()


def test_an_unpacked_array_is_what_nnunet_reads(old: Path) -> None:
    write(old, "a.npy", content=npy((2, 3, 4, 6)))
    write(old, "a_seg.npy", content=npy((1, 3, 4, 7), "|i1"))
    case = read(old, "a", "npz")
    assert (case.image, case.segmentation, case.faults) == ((2, 3, 4, 6), (1, 3, 4, 7), ())
    os.truncate(old / "a.npy", 200)
    os.truncate(old / "a_seg.npy", 0)
    case = read(old, "a", "npz")
    assert (case.image, case.segmentation) == ((2, 3, 4, 5), (1, 3, 4, 5))
    assert case.faults == ("a_seg.npy is empty (0 bytes): delete it, and nnU-Net unpacks it again",)


@pytest.mark.nnunet
def test_nnunet_unpacks_a_cut_npy_again_and_stops_at_an_empty_one(old: Path) -> None:
    from nnunetv2.training.dataloading.utils import _convert_to_npy

    write(old, "a.npy", content=npy((2, 3, 4, 5))[:200])
    _convert_to_npy(str(old / "a.npz"), verify_npy=True)
    assert (old / "a.npy").stat().st_size == len(npy((2, 3, 4, 5)))
    os.truncate(old / "a.npy", 0)
    with pytest.raises(EOFError):
        _convert_to_npy(str(old / "a.npz"), verify_npy=True)


def test_a_broken_old_case(old: Path) -> None:
    content = (old / "a.npz").read_bytes()
    write(old, "a.npz", content=content[:-30])
    (fault, *_) = read(old, "a", "npz").faults
    assert fault.startswith("a.npz cannot be read (")
    assert fault.endswith("the file is cut short")
    write(old, "a.npz", content=npz({"data": npy((2, 3, 4, 5))}))
    assert read(old, "a", "npz").faults == ("a.npz contains no seg",)
    shutil.rmtree(old)
    assert read(old, "a", "npz").faults == ("a.npz is missing", "a.pkl is missing")
