"""Every preprocessed case against the plans that should have made it."""

from __future__ import annotations

import json
import os
import pickle
import random
import shutil
import tracemalloc
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plansguard.artefacts.data import audit as audit_module
from plansguard.artefacts.data.audit import ALL, EXAMPLES, SAMPLE, Audit, audit
from plansguard.artefacts.data.cases import DataFolder, list_folder
from plansguard.artefacts.data.expectation import CaseFault, Expectation, class_keys
from plansguard.artefacts.data.workers import PROCESSES, Pool
from plansguard.core.errors import UnreadableDocument, UsageError
from tests.conftest import ROOT
from tests.support.preprocessed import HEADERS, PRETRAIN_2D, PRETRAIN_3D, edit, lay_out, multiply

WORKSPACE = ROOT / "fixtures/workspace/nnUNet_preprocessed"


def document(dataset: str, name: str) -> Any:
    return json.loads((WORKSPACE / dataset / name).read_text())


def expectation_of(dataset: str, configuration: str) -> Expectation:
    plans, dataset_json = document(dataset, "nnUNetPlans.json"), document(dataset, "dataset.json")
    return Expectation(
        channels=len(dataset_json["channel_names"]),
        spacing=tuple(plans["configurations"][configuration]["spacing"]),
        transpose_forward=tuple(plans["transpose_forward"]),
        class_keys=class_keys(dataset_json["labels"], dataset_json.get("regions_class_order")),
    )


PRETRAIN = expectation_of("Dataset001_PretrainCT", "3d_fullres")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return lay_out(PRETRAIN_3D, tmp_path / "data")


def headers(folder: Path, expectation: Expectation = PRETRAIN) -> Audit:
    return audit(folder, expectation, pool=Pool())


def reported(folder: Path, expectation: Expectation = PRETRAIN) -> dict[str, list[tuple[str, str]]]:
    return {
        kind: [(case, what) for case, what in faults.examples]
        for kind, faults in headers(folder, expectation).faults.items()
    }


# --- Good and bad twins


@pytest.mark.parametrize("source", sorted(HEADERS.glob("*/*")), ids=lambda path: f"{path.parent.name}-{path.name}")
def test_what_nnunet_made_is_clean(tmp_path: Path, source: Path) -> None:
    result = headers(lay_out(source, tmp_path), expectation_of(source.parent.name, source.name.partition("_")[2]))
    assert result.faults == {}
    assert (result.read, result.valued, result.interrupted) == (2, 0, False)
    assert result.oldest == min(path.stat().st_mtime for path in tmp_path.iterdir())


@pytest.mark.parametrize(
    ("expectation", "faults"),
    [
        (
            replace(PRETRAIN, spacing=(1.25, 0.8, 0.8)),
            {
                "shape": [
                    ("pre_000", "the array is (1, 32, 96, 96), these plans give (1, 64, 96, 96)"),
                    ("pre_001", "the array is (1, 30, 94, 94), these plans give (1, 60, 94, 94)"),
                ]
            },
        ),
        (
            replace(PRETRAIN, transpose_forward=(1, 0, 2)),
            {
                "shape": [
                    ("pre_000", "the array is (1, 32, 96, 96), these plans give (1, 10, 300, 96)"),
                    ("pre_001", "the array is (1, 30, 94, 94), these plans give (1, 9, 300, 94)"),
                ]
            },
        ),
        (
            replace(PRETRAIN, channels=2),
            {
                "channels": [
                    ("pre_000", "the array has 1 channel, dataset.json names 2 channels"),
                    ("pre_001", "the array has 1 channel, dataset.json names 2 channels"),
                ]
            },
        ),
        (
            replace(PRETRAIN, class_keys=frozenset({1, (1, 2)})),
            {
                "class-locations": [
                    ("pre_000", "class_locations are of 1, 2, dataset.json's labels give 1, (1, 2)"),
                    ("pre_001", "class_locations are of 1, 2, dataset.json's labels give 1, (1, 2)"),
                ]
            },
        ),
        (
            replace(PRETRAIN, class_keys=frozenset(range(1, 118))),
            {
                "class-locations": [
                    (case, "class_locations lack 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, ... of dataset.json's labels")
                    for case in ("pre_000", "pre_001")
                ]
            },
        ),
        (replace(PRETRAIN, resampled=False), {"shape": [("pre_001", "the array is (1, 30, 94, 94), these plans give "
                                                                   "(1, 30, 96, 96)")]}),
        (replace(PRETRAIN, spacing=None), {}),
        (replace(PRETRAIN, channels=None, class_keys=None), {}),
    ],
)  # fmt: skip
def test_other_plans_are_found(folder: Path, expectation: Expectation, faults: Any) -> None:
    assert reported(folder, expectation) == faults


def test_2d_data_under_a_3d_configuration(tmp_path: Path) -> None:
    folder = lay_out(PRETRAIN_2D, tmp_path)
    flat = expectation_of("Dataset001_PretrainCT", "2d")
    assert flat.spacing is not None
    assert len(flat.spacing) == 2
    assert reported(folder, flat) == {}
    assert reported(folder, replace(flat, spacing=(0.4, 0.8)))["shape"][0] == (
        "pre_000",
        "the array is (1, 32, 96, 96), these plans give (1, 32, 192, 96)",
    )
    assert "shape" in reported(folder, replace(PRETRAIN, spacing=(5.0, 0.8, 0.8)))


def test_segmentations_and_members_are_judged(folder: Path) -> None:
    shutil.copy(folder / "pre_000_seg.b2nd", folder / "pre_001_seg.b2nd")
    (folder / "pre_000.pkl").unlink()
    (folder / "other_seg.b2nd").write_bytes(b"")
    result = headers(folder)
    assert result.read == 3
    assert result.folder.names == ("pre_000", "pre_001")
    assert {kind: faults.count for kind, faults in result.faults.items()} == {"incomplete": 4, "segmentation": 1}
    assert result.faults["segmentation"].examples == [
        ("pre_001", "the segmentation is (1, 32, 96, 96), the array is (1, 30, 94, 94)")
    ]
    assert result.faults["incomplete"].examples == [
        ("other", "other.b2nd is missing"),
        ("other", "other.pkl is missing"),
        ("other", "other_seg.b2nd is empty (0 bytes)"),
        ("pre_000", "pre_000.pkl is missing"),
    ]


def test_what_a_pkl_says_cannot_end_the_audit(folder: Path) -> None:
    shape = "shape_after_cropping_and_before_resampling"
    for number, (spacing, extents) in enumerate(
        [((1e308, 1.0, 1.0), (30, 94, 94)), ((1.0, 1.0), (30, 94, 94)), ((2.5, 0.8, 0.8), (5, 5)), ((1.0,), (3,))]
    ):
        for ending in (".b2nd", "_seg.b2nd"):
            shutil.copy(folder / f"pre_000{ending}", folder / f"odd_{number}{ending}")
        properties = {"spacing": spacing, shape: extents, "class_locations": {1: [], 2: []}}
        (folder / f"odd_{number}.pkl").write_bytes(pickle.dumps(properties))
    assert reported(folder, replace(PRETRAIN, spacing=(1e-9, 0.8, 0.8)))["shape"][:4] == [
        ("odd_0", "spacing [1e+308, 1.0, 1.0] mm cannot be resampled to [1e-09, 0.8, 0.8] mm"),
        ("odd_1", "the .pkl contains 3 axes and 2 spacings, these plans 3 axes"),
        ("odd_2", "the .pkl contains 2 axes and 3 spacings, these plans 3 axes"),
        ("odd_3", "the .pkl contains 1 axes and 1 spacings, these plans 3 axes"),
    ]


def test_no_class_locations(folder: Path) -> None:
    properties = {"spacing": (2.5, 0.8, 0.8), "shape_after_cropping_and_before_resampling": (32, 96, 96)}
    (folder / "pre_000.pkl").write_bytes(pickle.dumps(properties))
    assert reported(folder) == {"class-locations": [("pre_000", "pre_000.pkl contains no class_locations")]}
    assert reported(folder, replace(PRETRAIN, class_keys=None)) == {}


def test_an_old_folder_is_audited(tmp_path: Path) -> None:
    from tests.support.arrays import npy, npz

    (tmp_path / "a.npz").write_bytes(npz({"data": npy((1, 32, 96, 96)), "seg": npy((1, 32, 96, 97), "|i1")}))
    shutil.copy(PRETRAIN_3D / "pre_000.pkl", tmp_path / "a.pkl")
    assert headers(tmp_path).folder.formats == ("npz",)
    assert reported(tmp_path) == {
        "segmentation": [("a", "the segmentation is (1, 32, 96, 97), the array is (1, 32, 96, 96)")]
    }


def test_no_folder_is_reported(tmp_path: Path) -> None:
    with pytest.raises(UnreadableDocument):
        headers(tmp_path / "none")


# --- Many cases


def test_faults_fold_into_a_count_and_the_first_five(folder: Path, tmp_path: Path) -> None:
    many = multiply(folder, tmp_path / "many", 300)
    for number in (299, 7, 150, 20, 64, 128):
        (many / f"case_{number:05d}.b2nd").unlink()
    result = headers(many)
    assert result.read == 300
    assert result.faults["incomplete"].count == 6
    assert result.faults["incomplete"].examples == [
        CaseFault(case, f"{case}.b2nd is missing")
        for case in (f"case_{number:05d}" for number in (7, 20, 64, 128, 150))
    ]
    assert headers(many, replace(PRETRAIN, channels=7)).faults["channels"].count == 294


def test_progress_is_reported(folder: Path, tmp_path: Path) -> None:
    many = multiply(folder, tmp_path / "many", 150)
    seen: list[tuple[int, int]] = []
    audit(many, PRETRAIN, pool=Pool(progress=lambda done, total: seen.append((done, total))))
    assert seen == [(64, 150), (128, 150), (150, 150)]


@pytest.mark.long
@pytest.mark.slow
def test_memory_does_not_grow_with_the_cases(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond the listing with their names."""

    def listed(path: Path) -> DataFolder:
        listing = list_folder(path)
        tracemalloc.reset_peak()
        return listing

    def peak(count: int) -> int:
        many = multiply(folder, tmp_path / str(count), count)
        headers(many)
        tracemalloc.start()
        before = list_folder(many)
        names = tracemalloc.get_traced_memory()[0]
        result = audit(many, replace(PRETRAIN, channels=2, spacing=(5.0, 0.8, 0.8)), pool=Pool())
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert result.faults["shape"].count == result.faults["channels"].count == len(before.names) == count
        return most - 2 * names

    monkeypatch.setattr(audit_module, "list_folder", listed)
    a_place_in_a_list = 8
    assert peak(8000) - peak(2000) < 4 * a_place_in_a_list * 6000


def test_ctrl_c_ends_with_what_was_found(folder: Path, tmp_path: Path) -> None:
    many = multiply(folder, tmp_path / "many", 300)

    def progress(done: int, total: int) -> None:
        if done == 128:
            raise KeyboardInterrupt

    result = audit(many, replace(PRETRAIN, channels=2), pool=Pool(progress=progress))
    assert result.interrupted
    assert result.read == result.faults["channels"].count == 64
    assert len(result.faults["channels"].examples) == EXAMPLES


def test_processes_find_the_same(folder: Path, tmp_path: Path) -> None:
    many = multiply(folder, tmp_path / "many", 130)
    wrong = replace(PRETRAIN, spacing=(1.25, 0.8, 0.8))
    assert audit(many, wrong, pool=Pool(PROCESSES)) == audit(many, wrong, pool=Pool())


def test_digests_do_not_depend_on_how_cases_are_read(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    many = multiply(folder, tmp_path / "many", 30)
    found = [headers(many), audit(many, replace(PRETRAIN, channels=7), pool=Pool(PROCESSES))]
    monkeypatch.setattr(audit_module, "CHUNK", 7)
    found.append(headers(many))
    assert found[0].headers == found[1].headers == found[2].headers
    assert list(found[0].headers) == list(found[0].folder.names)
    assert len({*found[0].headers.values()}) == 30


def test_digests_tell_cases_apart(folder: Path) -> None:
    before = headers(folder).headers
    properties = {
        "spacing": (2.5, 0.8, 0.8),
        "shape_after_cropping_and_before_resampling": (32, 96, 96),
        "class_locations": {1: [], (1, 2): []},
    }
    others: list[dict[str, Any]] = [{"spacing": (2.5, 0.8, 0.9)}, {"class_locations": {1: []}}, {"class_locations": 0}]
    seen = []
    for changes in ({}, *others):
        (folder / "pre_000.pkl").write_bytes(pickle.dumps({**properties, **changes}))
        seen.append(headers(folder).headers)
    (folder / "pre_000.b2nd").unlink()
    seen.append(headers(folder).headers)
    assert len({one["pre_000"] for one in seen}) == len(seen)
    assert {one["pre_001"] for one in seen} == {before["pre_001"]}


def test_an_interrupted_audit_has_digests_of_what_it_read(folder: Path, tmp_path: Path) -> None:
    many = multiply(folder, tmp_path / "many", 300)

    def progress(done: int, total: int) -> None:
        if done == 128:
            raise KeyboardInterrupt

    whole, cut = headers(many).headers, audit(many, PRETRAIN, pool=Pool(progress=progress)).headers
    assert len(cut) == 64
    assert cut.items() <= whole.items()


def test_a_folder_that_goes_away_is_reported(folder: Path) -> None:
    class Pulled(Pool):
        def run(self, *arguments: Any) -> Iterator[Any]:  # type: ignore[override]
            shutil.rmtree(folder)
            return super().run(*arguments)

    with pytest.raises(UsageError, match="is gone, or the worker"):
        audit(folder, PRETRAIN, pool=Pulled())


# --- Labels

LABELS: list[tuple[dict[str, Any], list[int] | None, set[Any] | None]] = [
    ({"background": 0, "a": 1, "b": 2}, None, {1, 2}),
    ({"background": 0, "a": [1], "b": 2}, None, {1, 2}),
    ({"background": 0, "a": 1, "ignore": 2}, None, {1, (-1, 0, 1)}),
    ({"background": 0, "all": [1, 2], "core": [2]}, [1, 2], {(1, 2), (2,)}),
    ({"background": 0, "all": [2, 1], "core": 2}, [1, 2], {(2, 1), 2}),
    ({"background": 0, "none": [0, 0], "all": [1, 3, 2], "core": 3, "ignore": 4}, [1, 3],
     {(1, 3, 2), 3, (-1, 0, 1, 2, 3)}),
    ({"background": 0, "all": [1, 2], "core": 2}, None, None),
    ({"background": 0, "all": [1, 2], "core": 2}, [1], None),
    ({"a": 1}, None, None),
    ({"background": 0, "a": "one"}, None, None),
    ({"background": 0, "a": None}, None, None),
]  # fmt: skip


@pytest.mark.parametrize(("labels", "order", "keys"), LABELS)
def test_class_keys(labels: dict[str, Any], order: list[int] | None, keys: set[Any] | None) -> None:
    assert class_keys(labels, order) == (None if keys is None else frozenset(keys))


# --- Against what nnU-Net makes


def preprocess(
    folder: Path, case: str, plans: dict[str, Any], configuration: str, dataset_json: Any, image: Any
) -> None:
    """As DefaultPreprocessor.run_case_save does, from an image (C, z, y, x) with spacing 2.1, 1.3, 0.9 in memory."""
    import numpy
    from nnunetv2.preprocessing.preprocessors.default_preprocessor import DefaultPreprocessor
    from nnunetv2.training.dataloading.nnunet_dataset import comp_blosc2_params, nnUNetDatasetBlosc2
    from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

    manager = PlansManager(plans)
    values = sorted({one for value in dataset_json["labels"].values() for one in numpy.ravel(value)})
    segmentation = numpy.random.default_rng(1).choice(values, image[:1].shape).astype("int16")
    data, seg, properties = DefaultPreprocessor(verbose=False).run_case_npy(
        image,
        segmentation,
        {"spacing": [2.1, 1.3, 0.9]},
        manager,
        manager.get_configuration(configuration),
        dataset_json,
    )
    blocks, chunks = comp_blosc2_params(data.shape, manager.get_configuration(configuration).patch_size)
    nnUNetDatasetBlosc2.save_case(
        data, seg.astype("int16"), properties, str(folder / case), chunks=chunks, blocks=blocks
    )


@pytest.fixture
def made(tmp_path: Path) -> Any:
    """Make cases of random sizes under plans of a fixture with some fields changed, and say what they should be."""
    import numpy

    def make(labels: dict[str, Any], order: list[int] | None, **changes: Any) -> tuple[Path, Expectation]:
        plans = document("Dataset003_TwoChannelMR", "nnUNetPlans.json")
        dataset_json = {**document("Dataset003_TwoChannelMR", "dataset.json"), "labels": labels}
        dataset_json["regions_class_order"] = order
        configuration = changes.pop("configuration", "3d_fullres")
        plans["transpose_forward"] = changes.pop("transpose_forward", [0, 1, 2])
        plans["configurations"][configuration].update(changes)
        folder = tmp_path / f"made_{random.random()}"
        folder.mkdir()
        for number in range(2):
            random_numbers = numpy.random.default_rng(number)
            image = random_numbers.random((2, *random_numbers.integers(6, 20, 3)), dtype="float32") + 0.1
            preprocess(folder, f"case_{number}", plans, configuration, dataset_json, image)
        return folder, Expectation(
            channels=2,
            spacing=tuple(plans["configurations"][configuration]["spacing"]),
            transpose_forward=tuple(plans["transpose_forward"]),
            class_keys=class_keys(labels, order),
        )

    return make


@pytest.mark.nnunet
@pytest.mark.parametrize(("labels", "order"), [entry[:2] for entry in LABELS if entry[2] is not None])
def test_class_locations_are_those_that_nnunet_writes(made: Any, labels: dict[str, Any], order: Any) -> None:
    folder, expectation = made(labels, order)
    assert reported(folder, expectation) == {}
    assert "class-locations" in reported(folder, replace(expectation, class_keys=frozenset({9})))


@pytest.mark.nnunet
@pytest.mark.parametrize("labels", [entry[0] for entry in LABELS if entry[2] is None and "a" not in entry[0]])
def test_labels_without_keys_are_refused_by_nnunet(made: Any, labels: dict[str, Any]) -> None:
    with pytest.raises((AssertionError, RuntimeError)):
        made(labels, None)


@pytest.mark.nnunet
@pytest.mark.parametrize("transpose", [[0, 1, 2], [1, 0, 2], [2, 1, 0], [1, 2, 0]])
@pytest.mark.parametrize(
    ("configuration", "spacing"),
    [("3d_fullres", [1.7, 1.05, 1.4]), ("3d_fullres", [2.1, 1.3, 0.9]), ("2d", [1.1, 0.7])],
)
def test_shapes_are_those_that_nnunet_gives(
    made: Any, configuration: str, spacing: list[float], transpose: list[int]
) -> None:
    labels = {"background": 0, "a": 1}
    folder, expectation = made(labels, None, configuration=configuration, spacing=spacing, transpose_forward=transpose)
    assert reported(folder, expectation) == {}
    assert "shape" in reported(folder, replace(expectation, spacing=tuple(mm * 1.4 for mm in spacing)))
    if transpose != [0, 1, 2]:
        assert "shape" in reported(folder, replace(expectation, transpose_forward=(0, 1, 2)))


@pytest.mark.nnunet
def test_an_edited_pkl_is_found(made: Any) -> None:
    folder, expectation = made({"background": 0, "a": 1}, None)
    edit(folder / "case_0.pkl", lambda properties: properties.update(spacing=[4.2, 1.3, 0.9]))
    edit(folder / "case_1.pkl", lambda properties: properties["class_locations"].pop(1))
    found = reported(folder, expectation)
    assert [case for case, _ in found["shape"]] == ["case_0"]
    assert found["class-locations"] == [("case_1", "class_locations are of nothing, dataset.json's labels give 1")]


@pytest.mark.nnunet
@pytest.mark.parametrize(("depth", "valued"), [(SAMPLE, 8), (ALL, 12)])
def test_values_are_judged_for_a_sample_or_for_all(made: Any, tmp_path: Path, depth: str, valued: int) -> None:
    folder, expectation = made({"background": 0, "a": 1}, None)
    z_scored = replace(
        expectation, schemes=("ZScoreNormalization",) * 2, masked=(False, False), labels=frozenset({0, 1})
    )
    many = multiply(folder, tmp_path / "many", 12)
    pool = Pool(PROCESSES if depth == ALL else "threads")
    fine = audit(many, z_scored, depth=depth, pool=pool)
    assert (fine.faults, fine.read, fine.valued) == ({}, 12, valued)
    wrong = audit(many, replace(z_scored, labels=frozenset({0})), depth=depth, pool=pool)
    assert wrong.faults.keys() == {"labels"}
    assert wrong.faults["labels"].count == valued
    os.truncate(many / "case_00003.pkl", 10)
    assert audit(many, z_scored, depth=ALL, pool=pool).valued == 6  # case_00003 shares its file with every second


@pytest.mark.nnunet
def test_the_sample_depends_on_the_seed_alone(made: Any, tmp_path: Path) -> None:
    folder, expectation = made({"background": 0, "a": 1}, None)
    many = multiply(folder, tmp_path / "many", 60)
    wrong = replace(expectation, schemes=("NoNormalization",) * 2, labels=frozenset({7}))

    def sampled(seed: int) -> list[str]:
        return [
            fault.case for fault in audit(many, wrong, depth=SAMPLE, pool=Pool(), seed=seed).faults["labels"].examples
        ]

    assert sampled(1) == sampled(1) != sampled(2)


# --- Properties


@given(
    labels=st.dictionaries(
        st.sampled_from(["background", "a", "b", "ignore"]),
        st.one_of(st.integers(0, 4), st.lists(st.integers(0, 4), max_size=3), st.none(), st.text(max_size=2)),
    ),
    order=st.one_of(st.none(), st.lists(st.integers(0, 4), max_size=4)),
)
def test_no_labels_raise(labels: dict[str, Any], order: list[int] | None) -> None:
    keys = class_keys(labels, order)
    assert keys is None or all(isinstance(key, (int, tuple)) for key in keys)
