"""Healthy work between two steps: what nnU-Net writes later is not missing, and Next leads to what is accepted."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from plansguard.nnunet import runtime
from plansguard.nnunet.workspace import Workspace
from plansguard.subjects.discovery import dataset_of
from plansguard.subjects.pretraining import usual_fold
from tests.support import standin
from tests.support.command import run
from tests.support.data_folders import CASES, CT, DATA, MEMBERS, SPLITS, STAGES, both, preprocessed, trained
from tests.support.moves import GIVING
from tests.support.variants import FINGERPRINT, Edit, place, put, remove, rewrite

pytestmark = pytest.mark.workspace(CT, GIVING, chdir=True)
LOWRES_DATA = "nnUNetPlans_3d_lowres"
OF_SPLITS = {"PG514", "PG515", "PG516"}


def edit(workspace: Path, *edits: Edit, dataset: str = CT) -> None:
    for one in edits:
        one(workspace, dataset)


def check(*options: str) -> dict[str, Any]:
    report: dict[str, Any] = run("check", "-d", "2", *options, "--output", "json").json
    return report


def severities(report: dict[str, Any], code: str) -> list[str]:
    return [one["severity"] for one in report["findings"] if one["code"] == code]


def commands_after_next(output: str) -> list[str]:
    return [line.strip() for line in output.partition("Next:\n")[2].splitlines() if line.startswith("  ")]


def test_splits_that_nnunet_will_write_are_not_missing(workspace: Path) -> None:
    edit(workspace, *both(remove(SPLITS)))
    assert not OF_SPLITS & {one["code"] for one in check("-p", "nnUNetPlans")["not_checked"]}
    done = run("migrate", "-s", "1", "-t", "2", "-tp", "PretrainPlans")
    assert "not checked" not in done.out


def test_splits_that_cannot_be_read_are_not_checked(workspace: Path) -> None:
    edit(workspace, *both(rewrite(SPLITS, lambda _: "[{")))
    assert {one["code"] for one in check("-p", "nnUNetPlans")["not_checked"]} >= OF_SPLITS


@pytest.mark.parametrize("command", ["nnUNetv2_extract_fingerprint", "nnUNetv2_plan_and_preprocess"])
@pytest.mark.parametrize("again", [False, True])
def test_a_fingerprint_that_the_command_writes_is_not_missing(workspace: Path, command: str, again: bool) -> None:
    if not again:
        edit(workspace, remove(FINGERPRINT))
    words = ["--clean"] if again else []
    done = run("gate", "--dry-run", "--", command, "-d", "2", *words)
    assert "PG301" not in done.out + done.err


@pytest.mark.parametrize(
    ("cases", "splits", "fold"),
    [(1, None, "all"), (4, None, "all"), (5, None, "0"), (4, [{"train": ["a"], "val": ["b"]}], "0")],
)
def test_the_fold_to_train_first(workspace: Path, cases: int, splits: Any, fold: str) -> None:
    few = [put(FINGERPRINT, f"/{key}", [[10.0, 10.0, 10.0]] * cases) for key in ("spacings", "shapes_after_crop")]
    edit(workspace, *few, remove(SPLITS) if splits is None else rewrite(SPLITS, lambda _: json.dumps(splits)))
    dataset = dataset_of(Workspace.from_environment(), "2")
    assert usual_fold(dataset) == fold
    edit(workspace, remove(FINGERPRINT), put("preprocessed/dataset.json", "/numTraining", cases))
    assert usual_fold(dataset_of(Workspace.from_environment(), "2")) == fold


def test_splits_that_cannot_be_read_may_have_folds(workspace: Path) -> None:
    edit(workspace, put(FINGERPRINT, "/spacings", [[1.0, 1.0, 1.0]]), rewrite(SPLITS, lambda _: "[{"))
    assert usual_fold(dataset_of(Workspace.from_environment(), "2")) == "0"


def test_next_of_a_migration_to_few_cases(workspace: Path) -> None:
    few = [
        remove(f"raw/{file}")
        for n in (3, 4)
        for file in (f"labelsTr/fine_{n:03d}.nii.gz", f"imagesTr/fine_{n:03d}_0000.nii.gz")
    ]
    shapes = {"spacings": [2.5, 0.8, 0.8], "shapes_after_crop": [32, 96, 96]}
    few += [put(FINGERPRINT, f"/{key}", [shape] * 3) for key, shape in shapes.items()]
    edit(workspace, remove(SPLITS), *few)
    done = run("migrate", "-s", "1", "-t", "2", "-tp", "PretrainPlans")
    assert "nnUNetv2_train 2 3d_fullres all " in commands_after_next(done.out)[-1], done.out


def test_few_cases_that_were_trained_as_a_whole(workspace: Path) -> None:
    edit(workspace, *both(remove(SPLITS)), *(remove(f"preprocessed/{DATA}/fine_004{ending}") for ending in MEMBERS))
    assert severities(check("-p", "nnUNetPlans", "-c", "3d_fullres"), "PG527") == ["warning"]
    edit(workspace, trained("3d_fullres"))
    model = place(workspace, CT, "results/nnUNetTrainer__nnUNetPlans__3d_fullres")
    assert severities(check("-p", "nnUNetPlans", "-c", "3d_fullres"), "PG527") == ["warning"]
    (model / "fold_0").rename(model / "fold_all")
    assert severities(check("-p", "nnUNetPlans", "-c", "3d_fullres"), "PG527") == []
    numbered = run(
        "gate", "--dry-run", "--output", "json", "--", "nnUNetv2_train", "2", "3d_fullres", "0", "-device", "cpu"
    )
    assert severities(numbered.json, "PG527") == ["error"]


def folds_of_one(_: str) -> str:
    return json.dumps([{"train": [one for one in CASES if one != case], "val": [case]} for case in CASES])


def test_folds_of_the_first_stage_that_are_still_to_be_trained(workspace: Path) -> None:
    edit(workspace, *both(*STAGES, preprocessed_again(), rewrite(SPLITS, folds_of_one), trained("3d_lowres", CASES[0])))
    whole, stage = ("-p", "nnUNetPlans"), ("-p", "nnUNetPlans", "-c", "3d_cascade_fullres")
    assert severities(check(*whole), "PG518") == ["info"]
    assert severities(check(*stage), "PG518") == ["error"]
    model = "results/nnUNetTrainer__nnUNetPlans__3d_lowres"
    edit(workspace, remove(f"{model}/predicted_next_stage/3d_cascade_fullres/{CASES[0]}.b2nd"))
    assert severities(check(*whole), "PG518") == ["error"]
    edit(workspace, remove(f"{model}/fold_0/validation/summary.json"))
    assert severities(check(*whole), "PG518") == ["info"], "its validation may be running, which predicts"


def test_a_first_stage_that_was_trained_on_all_cases_and_not_validated(workspace: Path) -> None:
    """Its validation predicts all cases; a numbered fold of the second stage needs those of the other folds."""
    edit(workspace, *both(*STAGES, preprocessed_again(), rewrite(SPLITS, folds_of_one), trained("3d_lowres", CASES[0])))
    model = place(workspace, CT, "results/nnUNetTrainer__nnUNetPlans__3d_lowres")
    (model / "fold_0").rename(model / "fold_all")
    (model / "fold_all/validation/summary.json").unlink()
    (fix,) = [one["fix"] for one in check("-p", "nnUNetPlans")["findings"] if one["code"] == "PG518"]
    assert fix.startswith("repeat the validation of 3d_lowres: plansguard gate -- nnUNetv2_train 2 3d_lowres all ")
    words = ("nnUNetv2_train", "2", "3d_cascade_fullres", "0", "-device", "cpu")
    done = run("gate", "--dry-run", "--output", "json", "--", *words)
    (fix,) = [one["fix"] for one in done.json["findings"] if one["code"] == "PG518"]
    assert fix.startswith("train 3d_lowres: ")


def preprocessed_again() -> Edit:
    """The data of the first stage, beside those of the others."""

    def change(workspace: Path, dataset: str) -> None:
        place(workspace, dataset, "preprocessed/gt_segmentations").rename(workspace / "labels")
        preprocessed(LOWRES_DATA)(workspace, dataset)

    return change


def test_next_of_a_migration_preprocesses_what_the_first_stage_predicts_for(workspace: Path) -> None:
    edit(workspace, *STAGES, trained("3d_lowres"), trained("3d_cascade_fullres"), dataset=GIVING)
    remove("results/nnUNetTrainer__nnUNetPlans__3d_fullres")(workspace, GIVING)
    done = run("migrate", "-s", "1", "-t", "2", "-tp", "PretrainPlans")
    first, *_, last = commands_after_next(done.out)
    assert first == "plansguard preprocess -d 2 -p PretrainPlans -c 3d_lowres -c 3d_cascade_fullres"
    assert "nnUNetv2_train 2 3d_lowres 0 -p PretrainPlans" in last


def test_the_first_stage_of_a_moved_cascade_is_fine_tuned_first(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    edit(workspace, *STAGES, trained("3d_lowres"), trained("3d_cascade_fullres"), dataset=GIVING)
    remove("results/nnUNetTrainer__nnUNetPlans__3d_fullres")(workspace, GIVING)
    assert run("migrate", "-s", "1", "-t", "2", "-tp", "PretrainPlans").code == 0
    program = str(standin.install(workspace))
    monkeypatch.setattr(runtime, "command", lambda name: program)
    monkeypatch.setenv(standin.LOG, str(workspace / "log"))
    done = run("preprocess", "-d", "2", "-p", "PretrainPlans", "--yes", "-c", "3d_lowres", "-c", "3d_cascade_fullres")
    weights = place(workspace, GIVING, "results/nnUNetTrainer__nnUNetPlans__3d_lowres/fold_0/checkpoint_final.pth")
    named = f"-pretrained_weights {weights}"
    *_, training = commands_after_next(done.out)
    assert "nnUNetv2_train 2 3d_lowres 0 -p PretrainPlans " in training
    assert training.endswith(named)
    found = check("-p", "PretrainPlans", "-c", "3d_cascade_fullres")["findings"]
    (fix,) = [one["fix"] for one in found if one["code"] == "PG518"]
    assert "nnUNetv2_train 2 3d_lowres FOLD -p PretrainPlans" in fix
    assert fix.endswith(named)


def test_data_that_the_first_stage_will_predict_for(workspace: Path) -> None:
    edit(workspace, preprocessed(LOWRES_DATA), *STAGES)
    whole, stage = ("-p", "nnUNetPlans"), ("-p", "nnUNetPlans", "-c", "3d_lowres")
    assert severities(check(*whole), "PG517") == ["info"]
    assert severities(check(*stage), "PG517") == ["error"]
    place(workspace, CT, f"preprocessed/{DATA}").mkdir()  # without the cases
    assert severities(check(*whole), "PG517") == ["error"]


def test_next_after_preprocessing_the_first_stage(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    edit(workspace, *STAGES)
    program = str(standin.install(workspace))
    monkeypatch.setattr(runtime, "command", lambda name: program)
    monkeypatch.setenv(standin.LOG, str(workspace / "log"))
    stage = ("preprocess", "-d", "2", "-p", "nnUNetPlans", "--yes", "-c")
    other, _, training = commands_after_next(run(*stage, "3d_lowres").out)
    assert other == "plansguard preprocess -d 2 -p nnUNetPlans -c 3d_cascade_fullres"
    assert "nnUNetv2_train 2 3d_lowres 0 " in training
    run(*stage, "3d_cascade_fullres")
    assert len(commands_after_next(run(*stage, "3d_lowres").out)) == 2
