"""``plansguard gate`` does not refuse healthy work."""

from __future__ import annotations

import json
import os
import shutil
import time

import pytest

from plansguard.nnunet.workspace import trained_models
from tests.support.benches import (
    CT,
    OTHER_CT,
    PLANS,
    TRAIN,
    Bench,
    codes,
    judged,
)
from tests.support.command import run
from tests.support.data_folders import STAGES, trained
from tests.support.models import MODEL
from tests.support.variants import ROOTS, place, put

#: Nearly all of them start processes.
pytestmark = [pytest.mark.slow, pytest.mark.workspace(folder="workspace")]


SPLITS = "preprocessed/splits_final.json"


def fold(number: str) -> tuple[str, ...]:
    return ("nnUNetv2_train", "2", "3d_fullres", number, "-device", "cpu")


def test_folders_that_nnunet_will_make(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before the first training there are no results; a cluster may hold nothing but preprocessed data."""
    for variable in ("nnUNet_raw", "nnUNet_results"):
        monkeypatch.setenv(variable, str(bench.root / "not" / "there"))
    assert judged(*TRAIN).code == 0
    assert run("train", *TRAIN[1:], "--steps", "500", "--data", "headers", "--dry-run").code == 0
    assert run("check", "-d", "2").code == 0
    monkeypatch.setenv("nnUNet_raw", str(bench.root / ROOTS["raw"]))
    monkeypatch.setenv("nnUNet_preprocessed", str(bench.root / "not" / "there"))
    assert judged("nnUNetv2_plan_and_preprocess", "-d", "2").code == 0
    done = judged(*TRAIN)
    assert (done.code, "Dataset002_FinetuneCT has no folder in" in done.err) == (2, True)


def test_only_the_fold_that_is_trained_counts(bench: Bench) -> None:
    put(SPLITS, "/1/train/-", "fine_777")(bench.root, OTHER_CT)
    put(SPLITS, "/1/val", [])(bench.root, OTHER_CT)
    assert {code for code, _ in codes(*fold("1"))} >= {"PG514", "PG516"}
    assert codes(*fold("0")) == codes(*fold("all")) == set()


def test_fold_all_takes_cases_that_are_in_no_fold(bench: Bench) -> None:
    splits = json.loads(bench.place(SPLITS).read_bytes())
    for one in splits:
        one["train"] = [case for case in one["train"] if case != "fine_003"]
        one["val"] = [case for case in one["val"] if case != "fine_003"] or ["fine_004"]
    bench.place(SPLITS).write_text(json.dumps(splits))
    assert ("PG515", "warning") in codes(*fold("0"))
    assert codes(*fold("all")) == set()


def test_a_cascade_needs_predictions_of_its_fold_and_no_checkpoints(bench: Bench) -> None:
    for edit in STAGES:
        edit(bench.root, OTHER_CT)
    words = ("nnUNetv2_train", "2", "3d_cascade_fullres", "0", "-device", "cpu")
    splits = [{"train": ["fine_000", "fine_001"], "val": ["fine_002"]}, {"train": ["fine_003"], "val": ["fine_004"]}]
    bench.place(SPLITS).write_text(json.dumps(splits))
    trained("3d_lowres", "fine_000", "fine_001", "fine_002")(bench.root, OTHER_CT)
    shutil.rmtree(bench.place("results/nnUNetTrainer__nnUNetPlans__3d_lowres/fold_0"))
    assert ("PG518", "error") not in codes(*words)
    done = judged(*words[:3], "1", *words[4:])
    (found,) = (one for one in done.json["findings"] if one["code"] == "PG518")
    assert "lacks fine_003, fine_004" in found["message"]
    assert found["fix"].startswith("train 3d_lowres: plansguard gate ")
    assert found["fix"].endswith(" -- nnUNetv2_train 2 3d_lowres 1 -p nnUNetPlans -device cpu")


def test_raw_files_that_were_copied_after_the_data(bench: Bench) -> None:
    """All of them are newer then, and nothing was changed."""
    later = time.time() + 3600
    for path in bench.place("raw/.").rglob("*.nii.gz"):
        os.utime(path, (later, later))
    assert codes(*TRAIN) == set()
    os.utime(bench.place("raw/labelsTr/fine_001.nii.gz"), (1e9, 1e9))
    assert codes(*TRAIN) == {("PG512", "warning")}


def test_a_variation_with_another_normalization(bench: Bench) -> None:
    """Two schemes are compared in configurations of the same plans."""
    schemes = {"normalization_schemes": ["ZScoreNormalization"], "data_identifier": "mine_2d"}
    put(PLANS, "/configurations/2d_znorm", {"inherits_from": "2d", **schemes})(bench.root, OTHER_CT)
    assert codes("nnUNetv2_preprocess", "-d", "2", "-c", "2d_znorm") == {("PG305", "warning")}


def test_a_training_that_was_moved_away_is_no_fold(bench: Bench) -> None:
    """As PG721 advises; nnU-Net takes every folder fold_* for one, and ends with ValueError at another name."""
    model = bench.place("results/nnUNetTrainer__nnUNetPlans__3d_fullres")
    place(bench.root, OTHER_CT, "results/.").mkdir(parents=True, exist_ok=True)
    shutil.copytree(place(bench.root, CT, f"results/{MODEL}"), model)
    (found,) = (one for one in judged(*TRAIN).json["findings"] if one["code"] == "PG721")
    assert found["fix"].endswith(f"mv {model / 'fold_0'} {model / 'old_fold_0'}")
    (model / "fold_0").rename(model / "old_fold_0")
    assert "PG721" not in {code for code, _ in codes(*TRAIN)}
    assert [one.checkpoints for one in trained_models(bench.root / ROOTS["results"], OTHER_CT)] == [()]
