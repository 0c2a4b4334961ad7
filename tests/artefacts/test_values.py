"""Measurements of preprocessed arrays in every format."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from plansguard.artefacts.data.normalization import (
    RGB,
)
from plansguard.artefacts.data.values import judge_values
from tests.support.arrays import SHAPE, drawn, expectation, measured_case, stored


@pytest.mark.nnunet
@pytest.mark.parametrize("piece", [1 << 20, 1 << 10])
@pytest.mark.parametrize("form", ["b2nd", "b2nd in small chunks", "npz", "npz packed", "npy", "npz in Fortran's order"])
def test_figures_equal_those_of_numpy(tmp_path: Path, form: str, piece: int, monkeypatch: pytest.MonkeyPatch) -> None:
    import numpy as np

    monkeypatch.setattr("plansguard.artefacts.data.values.PIECE", piece)
    image, segmentation = drawn()
    name = form.split()[0]
    order = np.asfortranarray if "Fortran" in form else np.ascontiguousarray
    options = {"chunks": (1, 3, 33, 40), "blocks": (1, 2, 16, 16)} if "small" in form else {}
    folder = stored(tmp_path, order(image), order(segmentation), "packed" if "packed" in form else name, **options)
    result = measured_case(folder)
    assert result.shape == SHAPE[1:]
    assert result.undeclared == ()
    assert len(result.channels) == 2
    for one, truth in zip(result.channels, image, strict=True):
        outside = truth[segmentation[0] < 0]
        assert (one.low, one.high) == (truth.min(), truth.max())
        for ours, values in (
            (one.everywhere, truth),
            (one.outside, outside),
            (one.inside, truth[segmentation[0] >= 0]),
        ):
            assert ours.voxels == values.size
            assert ours.mean == pytest.approx(values.mean(dtype=float), rel=1e-5)
            assert ours.std == pytest.approx(values.std(dtype=float), rel=1e-5)
        assert one.quiet == (np.abs(outside) < 0.01).sum()


@pytest.mark.nnunet
@pytest.mark.parametrize("dtype", ["float64", "int16", "uint8", "bool", ">f4"])
def test_other_types_are_measured_as_training_takes_them(tmp_path: Path, dtype: str) -> None:
    image, segmentation = drawn()
    image = (abs(image) * 10).astype(dtype)
    first = measured_case(stored(tmp_path, image, segmentation, "npz")).channels[0]
    assert first.everywhere.mean == pytest.approx(image[0].astype("float32").mean(dtype=float), rel=1e-5)


@pytest.mark.nnunet
@pytest.mark.parametrize(
    ("value", "labels", "strange"),
    [(2, {0, 1, 2}, ()), (7, {0, 1, 2}, (7,)), (-2, {0, 1, 2}, (-2,)), (1, {0, 2}, (1,)), (3, {0, 1, 2, 3}, ())],
)
@pytest.mark.parametrize("outside", [(True, True), (False, False)])
def test_values_that_are_no_labels(
    tmp_path: Path, value: int, labels: set[int], strange: tuple[int, ...], outside: tuple[bool, ...]
) -> None:
    image, segmentation = drawn()
    segmentation[segmentation == 1] = 2
    segmentation[0, 3, 50, 50] = value
    assert measured_case(stored(tmp_path, image, segmentation), labels, outside).undeclared == strange


@pytest.mark.nnunet
def test_labels_between_the_numbers(tmp_path: Path) -> None:
    image, segmentation = drawn()
    segmentation = segmentation.astype("float32")
    assert measured_case(stored(tmp_path, image, segmentation, "npz")).undeclared == ()
    segmentation[0, 0, 50, 50] = 1.5
    assert measured_case(stored(tmp_path, image, segmentation, "npz")).undeclared == (1.5,)


@pytest.mark.nnunet
def test_nan_reaches_the_figures_wherever_it_is(tmp_path: Path) -> None:
    image, segmentation = drawn()
    image[1, 6, 89, 109] = math.nan
    faults, _ = judge_values(stored(tmp_path, image, segmentation), "one", expectation("NoNormalization", channels=2))
    assert [(kind, fault.what) for kind, fault in faults] == [("range", "channel 1 holds NaN or infinite values")]


@pytest.mark.nnunet
def test_faults_name_the_case(tmp_path: Path) -> None:
    image, segmentation = drawn()
    segmentation[0, 3, 50, 50] = 9
    faults, _ = judge_values(stored(tmp_path, image, segmentation), "one", expectation(RGB, channels=2))
    assert [(kind, fault.case) for kind, fault in faults] == [
        ("range", "one"),
        ("range", "one"),
        ("labels", "one"),
    ]


@pytest.mark.nnunet
def test_segmentations_of_another_shape_are_read_for_their_labels(tmp_path: Path) -> None:
    """The check of headers reports their shape."""
    image, segmentation = drawn()
    segmentation[0, 0, 0, 0] = 5
    result = measured_case(stored(tmp_path, image, segmentation[:, :5]))
    assert result.undeclared == (5,)
    assert [one.outside.voxels for one in result.channels] == [0, 0]
