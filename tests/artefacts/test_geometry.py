"""Geometry of raw images and labels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from plansguard.artefacts.data.values import geometry


def written(path: Path, size: tuple[int, ...] = (6, 5, 4), **changes: Any) -> Path:
    import SimpleITK

    image = SimpleITK.Image(size, SimpleITK.sitkUInt8)
    for name, value in changes.items():
        getattr(image, f"Set{name}")(value)
    SimpleITK.WriteImage(image, str(path))
    return path


TURNED = (0.0, -1.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 1.0)


@pytest.mark.nnunet
@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, []),
        ({"Spacing": (1, 1, 2)}, ["spacing is 1, 1, 2, the image's is 1, 1, 1 (x, y, z in mm)"]),
        ({"Spacing": (1, 1, 1 + 5e-6)}, []),
        ({"Origin": (0, 7.5, 0)}, ["origin is 0, 7.5, 0, the image's is 0, 0, 0 (x, y, z in mm)"]),
        ({"size": (6, 5, 3)}, ["size is 6, 5, 3, the image's is 6, 5, 4 (x, y, z in voxels)"]),
        ({"size": (6, 5, 3), "Spacing": (1, 1, 2)}, ["size is 6, 5, 3, the image's is 6, 5, 4 (x, y, z in voxels)"]),
        (
            {"Direction": TURNED},
            ["direction is 0, -1, 0, 1, 0, 0, 0, 0, 1, the image's is 1, 0, 0, 0, 1, 0, 0, 0, 1"],
        ),
    ],
)
@pytest.mark.parametrize("ending", [".nrrd", ".mha"])
def test_geometry(tmp_path: Path, ending: str, changes: dict[str, Any], expected: list[str]) -> None:
    image = written(tmp_path / f"case_0000{ending}")
    assert geometry(image, written(tmp_path / f"case{ending}", **changes)) == expected


@pytest.mark.nnunet
def test_geometry_of_nifti_reads_no_more_than_the_header(tmp_path: Path) -> None:
    image = written(tmp_path / "case_0000.nii.gz", (60, 60, 60))
    label = written(tmp_path / "case.nii.gz", (60, 60, 60), Spacing=(1, 3, 1))
    whole = label.read_bytes()
    label.write_bytes(whole[: len(whole) // 2])
    assert geometry(image, label) == ["spacing is 1, 3, 1, the image's is 1, 1, 1 (x, y, z in mm)"]


@pytest.mark.nnunet
def test_nothing_is_said_of_the_geometry_of_pictures(tmp_path: Path) -> None:
    image = written(tmp_path / "case_0000.png", (6, 5))
    assert geometry(image, written(tmp_path / "case.png", (6, 5), Spacing=(0.1, 0.1))) == []


@pytest.mark.nnunet
def test_nothing_is_said_of_the_geometry_of_what_cannot_be_read(tmp_path: Path) -> None:
    image = written(tmp_path / "case_0000.nrrd")
    label = tmp_path / "case.nrrd"
    assert geometry(image, label) == []
    label.write_text("NRRD0005\n", encoding="utf-8")
    assert geometry(image, label) == []
