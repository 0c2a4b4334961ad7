"""The disk that preprocessed cases take: nnU-Net's .pkl files are part of it."""

from __future__ import annotations

import pickle
from math import prod
from pathlib import Path
from typing import Any

import pytest

from plansguard.artefacts.data.expectation import class_keys
from plansguard.core.errors import Absent
from plansguard.subjects.discovery import dataset_in
from plansguard.subjects.expected_data import expected_bytes, listed_locations
from tests.support.variants import ROOTS, put

CT = "Dataset002_FinetuneCT"
#: Bytes that pickle adds to the locations of a class.
OVERHEAD = 200

LABELS: list[tuple[dict[str, Any], list[Any] | None]] = [
    ({"background": 0, "a": 1}, None),
    ({"background": 0, "a": 1, "b": 2, "c": 3}, None),
    ({"background": 0, "a": 1, "b": 2, "ignore": 3}, None),
    ({"background": 0, "all": [1, 2, 3], "core": [2, 3], "inner": 3}, [1, 2, 3]),
]


@pytest.mark.nnunet
@pytest.mark.parametrize("shape", [(8, 9, 10), (1, 64, 72), (40, 50, 60)])
@pytest.mark.parametrize(("labels", "order"), LABELS)
def test_nnunet_lists_no_more_voxels_of_classes(
    shape: tuple[int, ...], labels: dict[str, Any], order: list[Any] | None
) -> None:
    import numpy as np
    from nnunetv2.preprocessing.preprocessors.default_preprocessor import DefaultPreprocessor

    keys = class_keys(labels, order)
    assert keys is not None
    segmentation = np.random.default_rng(1).integers(0, 4, (1, *shape)).astype(np.int8)
    locations = DefaultPreprocessor._sample_foreground_locations(segmentation, sorted(keys, key=str))
    voxels = listed_locations(prod(shape), keys)
    assert sum(map(len, locations.values())) <= voxels
    assert len(pickle.dumps(locations)) <= voxels * 32 + OVERHEAD * len(keys)


@pytest.mark.workspace(CT)
@pytest.mark.parametrize(
    ("shapes", "spacings"),
    [
        ([["a", 30, 40]], [[1.5, 1.2, 1.2]]),
        ([[20, 30, 40]], [[1.5, None, 1.2]]),
        ([[20, 30, 40], [20, 30, 40]], [[1.5, 1.2, 1.2]]),
        ([[20, 30]], [[1.5, 1.2, 1.2]]),
        ([], []),
        ([[10**300] * 3], [[1.5, 1.2, 1.2]]),
        ([[10**400] * 3], [[1.5, 1.2, 1.2]]),
        ([[20, 30, 40]], [[1e308] * 3]),
        (3, [[1.5, 1.2, 1.2]]),
    ],
)
def test_sizes_of_no_image(shapes: Any, spacings: Any, workspace: Path) -> None:
    folder = workspace / ROOTS["preprocessed"] / CT
    put("preprocessed/dataset_fingerprint.json", "/shapes_after_crop", shapes)(workspace, CT)
    put("preprocessed/dataset_fingerprint.json", "/spacings", spacings)(workspace, CT)
    dataset = dataset_in(folder)
    for configuration in dataset.plans[0].configurations:
        with pytest.raises(Absent):
            expected_bytes(configuration, dataset.dataset_json, dataset.fingerprint)


@pytest.mark.workspace(CT)
def test_a_case_is_larger_than_its_arrays(workspace: Path) -> None:
    folder = workspace / ROOTS["preprocessed"] / CT
    put("preprocessed/dataset_fingerprint.json", "/shapes_after_crop", [[20, 30, 40]])(workspace, CT)
    put("preprocessed/dataset_fingerprint.json", "/spacings", [[1.5, 1.2, 1.2]])(workspace, CT)
    dataset = dataset_in(folder)
    (configuration,) = (one for one in dataset.plans[0].configurations if one.name == "3d_fullres")
    voxels = round(20 * 30 * 40 * (1.5 * 1.2 * 1.2) / prod(configuration.require("spacing")))
    labels = [name for name in dataset.dataset_json.require("labels") if name != "background"]
    assert labels, "a class whose voxels are listed"
    size = expected_bytes(configuration, dataset.dataset_json, dataset.fingerprint)
    assert size >= voxels * (4 + 1) + min(voxels, 10_000) * 32
