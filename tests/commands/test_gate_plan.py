"""``plansguard gate`` for commands that preprocess, plan and move plans."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from plansguard.subjects import planning
from tests.support.benches import (
    CT,
    OTHER_CT,
    PLANS,
    SLIDES,
    Bench,
    codes,
    gate,
    judged,
    posix_only,
    spoil,
)
from tests.support.command import run
from tests.support.models import MODEL
from tests.support.variants import copy, put, remove

#: Nearly all of them start processes.
pytestmark = [pytest.mark.slow, pytest.mark.workspace(folder="workspace")]


# --- nnUNetv2_preprocess


PREPROCESS = ("nnUNetv2_preprocess", "-d", "2")


@posix_only
def test_preprocessing_is_judged_and_started(bench: Bench) -> None:
    done = gate(*PREPROCESS)
    assert done.returncode == 0, done.stderr
    data = bench.place("preprocessed/nnUNetPlans_3d_fullres")
    assert f"{data} (3d_fullres)" in done.stdout
    assert "nnU-Net deletes it first: " in done.stdout
    assert "also read by 3d_fullres of nnUNetResEncUNetMPlans: the same preprocessing" in done.stdout
    assert "nnUNetPlans has 2d, 3d_fullres; nnU-Net skips 3d_lowres" in done.stdout
    assert "plansguard preprocess does the same and leaves a preprocessing record" in done.stderr
    assert bench.started is not None


@posix_only
def test_preprocessing_for_others_is_not_started(bench: Bench) -> None:
    put("preprocessed/nnUNetResEncUNetMPlans.json", "/configurations/3d_fullres/spacing", [3.0, 1.0, 1.0])(
        bench.root, OTHER_CT
    )
    done = gate(*PREPROCESS, "-c", "3d_fullres")
    assert (done.returncode, bench.started) == (1, None)
    assert "error[PG501]" in done.stdout
    assert judged(*PREPROCESS, "-c", "2d").code == 0
    accepted = ("--accept", "PG501", "--because", "ResEnc plans are not used")
    assert judged(*PREPROCESS, "-c", "3d_fullres", options=accepted).code == 0


def test_preprocessing_of_several_datasets(bench: Bench) -> None:
    done = judged("nnUNetv2_preprocess", "-d", "1", "2", "2", "4", "-c", "2d")
    assert done.code == 0, done.err
    assert [Path(one).name for one in done.json["inputs"]] == [CT, OTHER_CT, SLIDES]
    spoil(bench)
    found = codes("nnUNetv2_preprocess", "-d", "1", "2", "-c", "3d_fullres")
    assert ("PG101", "error") in found


def test_a_configuration_of_some_datasets(bench: Bench) -> None:
    """nnU-Net skips it where it is missing; if no dataset has it, it is a mistake."""
    put(PLANS, "/configurations/mine", {"inherits_from": "2d", "data_identifier": "mine_2d"})(bench.root, OTHER_CT)
    assert judged("nnUNetv2_preprocess", "-d", "1", "2", "-c", "mine", "2d").code == 0
    done = judged("nnUNetv2_preprocess", "-d", "1", "3", "-c", "mine", "2d")
    assert (done.code, "there is no configuration mine" in done.err) == (2, True)


# --- nnUNetv2_extract_fingerprint, nnUNetv2_plan_experiment, nnUNetv2_plan_and_preprocess


PLAN, BOTH = ("nnUNetv2_plan_experiment", "-d", "2"), ("nnUNetv2_plan_and_preprocess", "-d", "2")


def migrated(bench: Bench, name: str = "nnUNetPlans") -> None:
    """Dataset002 has plans of Dataset001, migrated by plansguard."""
    remove("preprocessed/nnUNetResEncUNetMPlans.json")(bench.root, OTHER_CT)
    done = run("migrate", "-s", "1", "-t", "2", "-tp", name, "--force")
    assert done.code == 0, done.out


def test_planning_a_dataset_for_the_first_time(bench: Bench) -> None:
    shutil.rmtree(bench.place("preprocessed/.").resolve())
    assert judged(*BOTH).code == 0
    assert judged("nnUNetv2_extract_fingerprint", "-d", "2").code == 0
    done = judged(*PLAN)
    assert (done.code, "Dataset002_FinetuneCT cannot be planned: it has no fingerprint yet\n" in done.err) == (2, True)
    assert "nnUNetv2_extract_fingerprint -d 2" in done.err
    assert not bench.place("preprocessed/.").exists()


def test_planning_without_the_raw_data(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.rmtree(bench.place("raw/.").resolve())
    done = judged(*PLAN)
    assert (done.code, "cannot be planned" in done.err) == (2, True)
    monkeypatch.delenv("nnUNet_raw")
    done = judged(*PLAN)
    assert (done.code, "nnUNet_raw is not set" in done.err) == (2, True)


def test_planning_from_raw_data_that_are_wrong(bench: Bench) -> None:
    """It is the raw dataset.json that is planned from, not the one beside the plans."""
    put("preprocessed/dataset.json", "/file_ending", ".nrrd")(bench.root, OTHER_CT)
    assert codes(*BOTH) == set()
    put("raw/dataset.json", "/file_ending", ".nrrd")(bench.root, OTHER_CT)
    assert codes(*BOTH) == {("PG205", "error")}
    assert codes("nnUNetv2_extract_fingerprint", "-d", "2") == {("PG205", "error")}


def test_planning_from_an_old_fingerprint(bench: Bench) -> None:
    """It is kept unless --clean is given."""
    image = next(bench.place("raw/imagesTr").iterdir())
    for folder, name in (("imagesTr", "new_000_0000.nii.gz"), ("labelsTr", "new_000.nii.gz")):
        shutil.copy(image, bench.place(f"raw/{folder}/{name}"))
    put("raw/dataset.json", "/numTraining", 7)(bench.root, OTHER_CT)
    assert ("PG303", "error") in codes(*BOTH)
    assert ("PG303", "error") in codes(*PLAN)
    assert codes(*BOTH, "--clean") == set()


def test_planning_over_migrated_plans(bench: Bench) -> None:
    migrated(bench)
    assert codes(*PLAN) == {("PG751", "error")}
    assert codes(*BOTH) == {("PG751", "error")}
    done = judged(*PLAN)
    assert done.code == 1
    (finding,) = done.json["findings"]
    assert f"nnUNetPlans, which was migrated from {CT} (--workflow finetune)" in finding["message"]
    assert "plansguard migrate -t 2 -tp nnUNetPlans --undo" in finding["fix"]
    assert judged(*PLAN, options=["--accept", "PG751", "--because", "not needed"]).code == 0
    assert codes(*PLAN, "-overwrite_plans_name", "Mine") == set()
    assert codes(*PLAN, "-pl", "nnUNetPlannerResEncM") == set()
    assert run("migrate", "-t", "2", "-tp", "nnUNetPlans", "--undo").code == 0
    assert codes(*PLAN) == {("PG752", "warning")}


def test_planning_over_plans_under_another_name(bench: Bench) -> None:
    migrated(bench, "Pre")
    assert codes(*PLAN) == {("PG752", "warning")}
    assert codes(*PLAN, "-overwrite_plans_name", "Pre") == {("PG751", "error")}


def test_planning_over_plans_in_use(bench: Bench) -> None:
    (finding,) = judged(*PLAN).json["findings"]
    assert "with which data were preprocessed (nnUNetPlans_2d, nnUNetPlans_3d_fullres)" in finding["message"]
    assert codes(*BOTH) == set()  # the data are preprocessed again
    assert codes(*BOTH, "--no_pp") == {("PG752", "warning")}
    assert codes(*BOTH, "-c", "2d") == {("PG752", "warning")}
    for folder in ("nnUNetPlans_2d", "nnUNetPlans_3d_fullres"):
        remove(f"preprocessed/{folder}")(bench.root, OTHER_CT)
    assert codes(*PLAN) == set()
    (finding,) = judged("nnUNetv2_plan_experiment", "-d", "1").json["findings"]
    assert f"with which 1 model was trained ({MODEL})" in finding["message"]


def test_planning_reports_what_it_will_delete(bench: Bench) -> None:
    output = run("gate", "--dry-run", "--", *BOTH).out
    data = bench.place("preprocessed/nnUNetPlans_2d")
    assert f"{data} (2d): nnU-Net deletes it first, " in output
    assert "also read by 2d of nnUNetResEncUNetMPlans" in output
    output = run("gate", "--dry-run", "--", *BOTH, "-pl", "nnUNetPlannerResEncM", "-c", "2d").out
    assert f"{data} (2d): nnU-Net deletes it first, " in output
    assert "also read by 2d of nnUNetPlans" in output
    assert "deletes" not in run("gate", "--dry-run", "--", *BOTH, "-overwrite_plans_name", "Mine").out


def test_a_planner_that_is_not_nnunets(bench: Bench) -> None:
    done = run("gate", "--dry-run", "--", *PLAN, "-pl", "MyPlanner")
    assert done.code == int("error[PG757]" in done.out)  # which an installed nnU-Net shows
    assert "MyPlanner is not a planner of nnU-Net" in done.out


def test_plans_that_cannot_be_read_are_in_the_way(bench: Bench) -> None:
    """nnU-Net reads the old ones to keep configurations of other names."""
    bench.place(PLANS).write_text("{")
    assert judged(*PLAN).code == 2
    assert codes(*PLAN, "-overwrite_plans_name", "Mine") == set()


@pytest.mark.nnunet
def test_planners_put_their_data_where_we_say() -> None:
    from nnunetv2.experiment_planning.experiment_planners.default_experiment_planner import ExperimentPlanner
    from nnunetv2.experiment_planning.experiment_planners.resampling import planners_no_resampling, resample_with_torch
    from nnunetv2.experiment_planning.experiment_planners.residual_unets import residual_encoder_unet_planners

    from plansguard.nnunet import constants

    modules = (planners_no_resampling, resample_with_torch, residual_encoder_unet_planners)
    classes = {"ExperimentPlanner": ExperimentPlanner}
    classes |= {name: one for module in modules for name, one in vars(module).items() if isinstance(one, type)}
    for identifier, planner in constants.PLANNER_OF_IDENTIFIER.items():
        assert planning.default_identifier(planner) == identifier
        made = classes[planner].__new__(classes[planner])
        made.plans_identifier = identifier
        for configuration in ("2d", "3d_fullres", "3d_lowres"):
            expected = planning.data_identifier(planner, identifier, configuration)
            assert made.generate_data_identifier(configuration) == expected


# --- nnUNetv2_move_plans_between_datasets


MOVE = ("nnUNetv2_move_plans_between_datasets", "-s", "1", "-t", "2", "-sp", "nnUNetPlans")


@posix_only
def test_a_move_is_judged_and_started(bench: Bench) -> None:
    before = sorted(bench.root.rglob("*"))
    done = gate(*MOVE, "-tp", "Pre")
    assert (done.returncode, bench.started is not None) == (0, True), done.stdout
    assert "plansguard migrate writes the same plans and keeps a migration record" in done.stderr
    assert sorted(bench.root.rglob("*")) == before


def test_moves_that_are_wrong(bench: Bench) -> None:
    assert ("PG412", "error") in codes(*MOVE)  # without -tp, the dataset's own plans are gone
    copy("preprocessed/nnUNetPlans.json", "preprocessed/Borrowed.json", of=CT)(bench.root, OTHER_CT)
    turned = ("nnUNetv2_move_plans_between_datasets", "-s", "2", "-t", "1", "-sp", "Borrowed", "-tp", "Pre")
    assert ("PG410", "error") in codes(*turned)
    assert ("PG413", "warning") in codes(*MOVE, "-tp", "nnUNetResEncUNetLPlans")


def test_moves_that_nnunet_cannot_make(bench: Bench) -> None:
    remove("raw/imagesTr")(bench.root, OTHER_CT)
    done = judged(*MOVE, "-tp", "Pre")
    assert (done.code, "looks at a raw image" in done.err) == (2, True)
    assert "plansguard migrate -s 1 -t 2 -sp nnUNetPlans -tp Pre" in done.err


def test_a_move_into_a_folder_that_is_not_there(bench: Bench) -> None:
    shutil.rmtree(bench.place("preprocessed/.").resolve())
    done = judged(*MOVE, "-tp", "Pre")
    assert (done.code, "has no folder" in done.err) == (2, True)


def test_a_move_that_leaves_dataset_json_to_the_user(bench: Bench) -> None:
    remove("preprocessed/dataset.json")(bench.root, OTHER_CT)
    done = judged(*MOVE, "-tp", "Pre")
    assert done.code == 0, done.out
    assert "puts dataset.json beside them" in done.err
