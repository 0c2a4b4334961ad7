"""Mistyped and hostile input of ``plansguard finetune``, ``status`` and ``derive``: one message, nothing written."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import zipfile
from pathlib import Path
from types import SimpleNamespace

import pytest

from plansguard.commands.check import weights_from
from plansguard.commands.finetune import training
from plansguard.commands.finetune.datasets import Context, Side
from plansguard.commands.finetune.migration import migration_step
from plansguard.commands.finetune.training import StartingWeights
from plansguard.commands.train import FROM_SCRATCH
from plansguard.core import disk
from plansguard.core.errors import UnreadableFolder, UsageError
from plansguard.nnunet.printed_commands import ShellText
from plansguard.nnunet.workspace import Workspace
from plansguard.subjects.discovery import dataset_of
from plansguard.subjects.road import RoadStep, StepState
from plansguard.training.schedule import StepSchedule
from plansguard.training.trainer_name import StepName
from tests.commands.test_finetune import CT, OTHER_CT, ROAD, request_of, road, step, tree
from tests.support.command import Done, run
from tests.support.models import pack
from tests.support.training_records import leave
from tests.support.variants import ROOTS, put

pytestmark = [pytest.mark.deep, pytest.mark.workspace(CT, OTHER_CT), pytest.mark.usefixtures("workspace")]

DERIVE = ("derive", "-d", "2", "--set", "3d_fullres.batch_size=4", "-tp")


def refused(*words: str | Path) -> str:
    """What a command with exit code 2 says; it writes nothing."""
    before = tree()
    done = run(*words)
    changed = dict(tree().items() - before.items()).keys() | before.keys() - tree().keys()
    assert (done.code, [path for path in changed if path.is_file()]) == (2, [])
    assert done.err.startswith("plansguard: ")
    return done.err


def status(*options: str) -> Done:
    done = run("status", *options)
    assert done.code == 0, done.err
    return done


# --- Names


@pytest.mark.parametrize(
    "words",
    [
        pytest.param((*ROAD[:6], "gt_segmentations", *ROAD[7:], "--dry-run"), id="finetune"),
        pytest.param((*DERIVE, "gt_segmentations"), id="derive"),
        pytest.param(("migrate", *ROAD[1:5], "-tp", "gt_segmentations"), id="migrate"),
    ],
)
def test_the_name_of_the_folder_of_labels(words: tuple[str, ...]) -> None:
    assert "nnU-Net keeps the labels in a folder of that name" in refused(*words)


@pytest.mark.parametrize("words", [(*ROAD[:6], "A__B", *ROAD[7:], "--dry-run"), (*DERIVE, "A__B")])
def test_names_that_nnunet_divides(words: tuple[str, ...]) -> None:
    """Its find_best_configuration stops after all trainings: too many values to unpack."""
    assert "plans cannot be called A__B: nnU-Net divides names of folders at __" in refused(*words)


@pytest.mark.parametrize("name", ["a/b", "a__b", "-x", "a ", "\x1b"])
def test_names_of_new_configurations(name: str) -> None:
    words = ("derive", "-d", "2", "-tp", "New", "--like", "3d_fullres", "--set", f"{name}.batch_size=4")
    assert f"{name!r} cannot be the name of a configuration" in refused(*words)


def test_the_option_that_names_plans_to_derive(workspace: Path) -> None:
    folder = workspace / ROOTS["preprocessed"] / OTHER_CT
    (folder / "nnUNetPlans.json").rename(folder / "Others.json")
    assert "has several plans: name one with -p\n" in refused(*DERIVE, "New")


@pytest.mark.parametrize(
    "options",
    [
        pytest.param(("--workflow", "graft", "--onto", "Nope"), id="graft"),
        pytest.param(("--pretrain-steps", "5", "-sp", "Nope"), id="pretraining"),
        pytest.param(("--pretrain-steps", "5", "-sp", "Nope", "--workflow", "pretrain"), id="pretrain"),
    ],
)
def test_plans_that_no_step_makes(options: tuple[str, ...]) -> None:
    """The planner writes nnUNetPlans only, so that a step of planning would be needed for ever."""
    assert "has no plans named Nope" in refused(*ROAD, *options, "--dry-run")


def test_a_pretraining_on_a_file(workspace: Path) -> None:
    words = ("finetune", "-s", str(workspace / "model.zip"), *ROAD[3:], "--pretrain-steps", "5", "--dry-run")
    assert "a pretraining needs a dataset of images, and -s is a path" in refused(*words)


def test_a_road_judged_where_there_is_no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """The training that was named cannot be judged by itself: its plans are not migrated yet."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    report = road("-device", "cuda", "-f", "0").json["report"]
    (fix,) = (finding["fix"] for finding in report["findings"] if finding["code"] == "PG714")
    assert fix.endswith("; if the training is for another machine: add --gpu-memory GB")


def test_a_road_is_judged_by_the_severity_that_stops_its_trainings(tmp_path: Path) -> None:
    settings = tmp_path / "strict.json"
    settings.write_text('{"fail_on": "warning"}')
    words = ("-f", "0", "--lr", "0.01")
    assert [step["name"] for step in road(*words).json["steps"] if step["state"] == "blocked"] == []
    done = road(*words, "--settings", str(settings))
    ((name, because),) = ((step["name"], step["because"]) for step in done.json["steps"] if step["state"] == "blocked")
    assert (done.code, name, because.partition(",")[0]) == (1, "train", "PG731")


@pytest.mark.parametrize(
    "options",
    [("--accept", "PG306", "--because", "a phantom"), ("--settings", "other.json")],
    ids=lambda words: words[0],
)
@pytest.mark.parametrize("pretraining", [(), ("--pretrain-steps", "5", "-sp", "nnUNetPlans")])
def test_every_step_judges_as_the_road(
    workspace: Path, monkeypatch: pytest.MonkeyPatch, options: tuple[str, ...], pretraining: tuple[str, ...]
) -> None:
    """A step that does not know what the road accepts would refuse it."""
    monkeypatch.chdir(workspace)
    Path("other.json").write_text('{"ignore": [{"rule": "PG306", "reason": "a phantom"}]}')
    steps = [step for step in road("-f", "0", *pretraining, *options).json["steps"] if "plansguard " in step["command"]]
    assert {"migrate", "preprocess", "check", "train"} <= {step["name"] for step in steps}
    assert [step["name"] for step in steps if shlex.join(options) not in step["command"]] == []


def test_a_road_at_the_rate_for_random_weights() -> None:
    """A training by itself would be refused: its plans are not migrated yet."""
    report = road("-device", "cpu", "-f", "0", "--lr", "0.01").json["report"]
    (fix,) = (finding["fix"] for finding in report["findings"] if finding["code"] == "PG731")
    assert fix == "if it is not intended, give --lr 0.001"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--onto", "nnUNetPlans"), "--onto is for --workflow graft"),
        (("-tr", ""), "-tr has an empty name"),
        (("--save-every", "9" * 30), "is no number of steps"),
        (("--save-total-limit", "9" * 30), "is no number of checkpoints"),
    ],
)
def test_options_that_no_step_takes(options: tuple[str, ...], message: str) -> None:
    assert message in refused(*ROAD, *options, "--dry-run")


def test_more_jobs_than_folds(monkeypatch: pytest.MonkeyPatch) -> None:
    """A thread is started for each slot: the road takes no more of them than folds."""
    asked: list[int] = []

    def slots(device: str, gpus: int, jobs: int) -> list[dict[str, str]]:
        asked.append(jobs)
        raise UsageError("enough")

    monkeypatch.setattr("plansguard.commands.finetune.execution.slots_of", slots)
    assert refused(*ROAD, "-f", "0", "3", "--jobs", "100000000") == "plansguard: enough\n"
    assert asked == [2]


def test_one_step_is_no_steps() -> None:
    assert step(road("-f", "0", words=(*ROAD[:10], "1", *ROAD[11:])), "train")["because"] == "1 step"


# --- Files


def test_a_report_in_the_place_of_plans(workspace: Path) -> None:
    path = workspace / ROOTS["preprocessed"] / OTHER_CT / "Moved.json"
    assert "a step of this road writes" in refused(*ROAD, "--dry-run", "--output", f"json={path}")
    path = path.with_name("Moved_3d_fullres") / "report.json"
    assert "a step of this road writes" in refused(*ROAD, "--dry-run", "--output", f"json={path}")


def test_raw_data_where_no_folder_is(monkeypatch: pytest.MonkeyPatch, workspace: Path) -> None:
    monkeypatch.setenv("nnUNet_raw", str(workspace / "nope"))
    assert f"nnUNet_raw names a folder that does not exist: {workspace / 'nope'}" in refused(*ROAD, "--dry-run")


# --- status


def test_status_of_a_name_that_no_dataset_has() -> None:
    assert "there is no dataset Dataset999_X" in refused("status", "-d", "Dataset999_X")


def test_status_without_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("nnUNet_results", "/nope")
    assert "not read: nnUNet_results names a folder that does not exist: /nope\n" in status().err
    monkeypatch.delenv("nnUNet_results")
    assert "not read: nnUNet_results is not set\n" in status().err
    monkeypatch.delenv("nnUNet_preprocessed")
    done = run("status")
    assert (done.code, "the environment variable nnUNet_preprocessed is not set" in done.err) == (2, True)


def test_status_of_damaged_documents(workspace: Path) -> None:
    assert run("migrate", *ROAD[1:7]).code == 0
    folder = workspace / ROOTS["preprocessed"] / OTHER_CT
    (folder / "nnUNetPlans.json").write_text("{")
    (folder / "Moved.plansguard.json").write_text("[]")
    os.mkfifo(folder / "nnUNetResEncUNetMPlans_.json")
    rows = run("status", "-d", "2", "--output", "json").json["rows"]
    found = {(row["plans"], row["what"]): (row["state"], row["because"]) for row in rows}
    assert found["nnUNetPlans", "plans"][0] == "damaged"
    assert found["Moved", "plans"] == ("done", "Moved.plansguard.json cannot be read")


@pytest.mark.parametrize("value", [0, "x", [], {}, [0, "1", 2], [0, 9, 2]])
@pytest.mark.parametrize(
    "key",
    ["transpose_forward", "original_median_spacing_after_transp", "original_median_shape_after_transp"],
)
def test_status_of_plans_with_wrong_values(key: str, value: object, workspace: Path) -> None:
    path = workspace / ROOTS["preprocessed"] / OTHER_CT / "nnUNetPlans.json"
    path.write_text(json.dumps({**json.loads(path.read_bytes()), key: value}))
    assert "nnUNetPlans" in status("-d", "2").out


@pytest.mark.parametrize("value", [0, "", "x", [], {}, True, [[]], {"a": {}}, {"a": "b"}])
@pytest.mark.parametrize("key", ["labels", "channel_names", "numTraining", "file_ending", "regions_class_order"])
@pytest.mark.parametrize("source", ["a dataset", "weights", "a pretraining"])
def test_a_road_with_wrong_values_in_dataset_json(source: str, key: str, value: object, workspace: Path) -> None:
    """Of the dataset to fine-tune on, before its plans are there and after."""
    words = list(ROAD)
    if source == "weights":
        words[2] = str(next((workspace / ROOTS["results"] / CT).glob("*/fold_0/checkpoint_final.pth")))
    more = ("--pretrain-steps", "100") if source == "a pretraining" else ()
    for is_migrated in (False, True):
        if is_migrated:
            assert run("migrate", *words[1:7]).code == 0
        edit = put("preprocessed/dataset.json", f"/{key}", value)
        before = (workspace / ROOTS["preprocessed"] / OTHER_CT / "dataset.json").read_bytes()
        edit(workspace, OTHER_CT)
        done = run(*words, *more, "-f", "0", "--dry-run")
        assert done.code in (0, 1, 2), done.err
        assert "PG000" not in done.out
        (workspace / ROOTS["preprocessed"] / OTHER_CT / "dataset.json").write_bytes(before)


def test_status_of_a_folder_without_permission(monkeypatch: pytest.MonkeyPatch, workspace: Path) -> None:
    """It is another user's, for example: the rest of the workspace is shown."""
    closed = workspace / ROOTS["results"] / CT

    def matching(folder: Path, pattern: str) -> list[Path]:
        if folder == closed:
            raise UnreadableFolder(str(folder), "the folder cannot be listed: Permission denied")
        return disk.matching(folder, pattern)

    monkeypatch.setattr("plansguard.nnunet.workspace.disk", SimpleNamespace(**{**vars(disk), "matching": matching}))
    shown = status().out
    assert f"{CT}\n  {CT}   damaged  the folder cannot be listed: Permission denied\n" in shown
    assert f"{OTHER_CT}\n  nnUNetPlans" in shown


def test_status_of_a_damaged_checkpoint(workspace: Path) -> None:
    """A training is not done where its final checkpoint cannot be read, even if it was validated."""
    fold = workspace / ROOTS["results"] / CT / "nnUNetTrainer__nnUNetPlans__3d_fullres/fold_0"
    (fold / "validation").mkdir()
    (fold / "validation/summary.json").write_text("{}")
    assert "done     epoch 1\n" in status("-d", "1").out
    (fold / "plansguard_receipt.json").write_text("[]")
    assert "plansguard_receipt.json: " in status("-d", "1").out
    (fold / "checkpoint_final.pth").write_text("text")
    assert "damaged  checkpoint_final.pth: this is no checkpoint: it is text" in status("-d", "1").out


def test_status_of_folders_that_are_no_folds(workspace: Path) -> None:
    model = workspace / ROOTS["results"] / CT / "nnUNetTrainer__nnUNetPlans__3d_fullres"
    shutil.copytree(model / "fold_0", model / "fold_0_old")
    assert "fold_0_old" not in status("-d", "1").out


def test_status_aligns_names_that_are_escaped(workspace: Path) -> None:
    model = workspace / ROOTS["results"] / CT / "nnUNetTrainer__nnUNetPlans__3d_fullres"
    model.rename(model.with_name("\x1bT__nnUNetPlans__3d_fullres"))
    lines = status("-d", "1").out.splitlines()[1:4]
    assert len({line.index(state) for line, state in zip(lines, ("done", "stopped", "done"), strict=True)}) == 1


# --- States of finished trainings


def finished(workspace: Path, given: Path | None, asked: Path, *, replaces_plans: bool = False) -> RoadStep:
    """The step of a training that began with the weights ``given``, in a road with those ``asked`` for."""
    folder = leave(workspace, [FROM_SCRATCH], weights=given).parent
    weights = StartingWeights(asked, weights_from(given or asked))
    return state_of(folder, weights, replaces_plans=replaces_plans)


def state_of(folder: Path, weights: StartingWeights, *, replaces_plans: bool = False) -> RoadStep:
    """The step of a training with this folder, in a road with these weights."""
    dataset = dataset_of(Workspace.from_environment(), OTHER_CT)
    step = RoadStep("train", StepState.NEEDED, "50 steps", ShellText("plansguard train"), "0")
    side = Side(dataset, "nnUNetPlans", replaces_plans=replaces_plans)
    return training._finished(step, folder, side, weights)


def test_a_training_from_other_weights_is_not_that_of_the_road(workspace: Path) -> None:
    fold = workspace / ROOTS["results"] / CT / "nnUNetTrainer__nnUNetPlans__3d_fullres/fold_0"
    given, other = fold / "checkpoint_final.pth", fold / "checkpoint_other.pth"
    shutil.copy(given, other)
    assert finished(workspace, given, given).state is StepState.DONE
    assert finished(workspace, given, other).state is StepState.DONE  # a copy
    with zipfile.ZipFile(other, "a") as archive:
        archive.writestr("more", b"")
    step = finished(workspace, given, other)
    assert (step.state, step.because) == (StepState.BLOCKED, "weights changed since this was trained")
    assert str(other) in step.hint


def test_a_pretraining_of_another_length(workspace: Path) -> None:
    """Its weights are still to be trained, and those of the earlier one were called gone."""
    weights = workspace / ROOTS["results"] / CT / "nnUNetTrainer_6steps__nnUNetPlans__3d_fullres/fold_all"
    shutil.copytree(workspace / ROOTS["results"] / CT / "nnUNetTrainer__nnUNetPlans__3d_fullres/fold_0", weights)
    folder = leave(workspace, [FROM_SCRATCH], weights=weights / "checkpoint_final.pth").parent
    side = Side(dataset_of(Workspace.from_environment(), CT), "nnUNetPlans")
    longer = weights.parent.with_name("nnUNetTrainer_8steps__nnUNetPlans__3d_fullres") / "fold_all/checkpoint_final.pth"
    step = state_of(folder, StartingWeights(longer, side=side))
    assert step.because == "this was trained with weights of nnUNetTrainer_6steps__nnUNetPlans__3d_fullres"
    shutil.rmtree(weights)
    same = StartingWeights(weights / "checkpoint_final.pth", side=side)
    assert state_of(folder, same).because == "weights gone since this was trained"


def test_weights_that_are_in_their_archive_are_not_gone(workspace: Path) -> None:
    """The unpacked model was deleted after the training, to save space."""
    model = workspace / ROOTS["results"] / CT / "nnUNetTrainer__nnUNetPlans__3d_fullres"
    unpacked, member = model / "fold_0/checkpoint_final.pth", f"{CT}/{model.name}/fold_0/checkpoint_final.pth"
    archive = pack(workspace / "released.zip", model)
    folder = leave(workspace, [FROM_SCRATCH], weights=unpacked).parent
    weights = StartingWeights(unpacked, weights_from(unpacked), packed=(archive, member))
    shutil.copy(unpacked, workspace / "kept.pth")
    unpacked.unlink()
    assert state_of(folder, weights).state is StepState.DONE
    assert state_of(folder, StartingWeights(unpacked)).because == "weights gone since this was trained"
    with zipfile.ZipFile(workspace / "kept.pth", "a") as other:
        other.writestr("more", b"")
    shutil.copy(workspace / "kept.pth", unpacked)
    pack(archive, model)
    unpacked.unlink()
    assert state_of(folder, weights).because == "weights gone since this was trained"


def test_a_record_without_weights_is_not_compared_with_an_archive(workspace: Path) -> None:
    """A continued training whose first record is not there any more."""
    model = workspace / ROOTS["results"] / CT / "nnUNetTrainer__nnUNetPlans__3d_fullres"
    archive = pack(workspace / "released.zip", model)
    folder = leave(workspace, [FROM_SCRATCH]).parent
    record = folder / "plansguard_receipt.json"
    value = json.loads(record.read_bytes())
    value["starts"][0]["training"]["continues"] = True
    record.write_text(json.dumps(value))
    weights = StartingWeights(model / "nothing.pth", packed=(archive, f"{CT}/{model.name}/fold_0/checkpoint_final.pth"))
    assert state_of(folder, weights).state is StepState.DONE


def test_a_training_whose_plans_are_to_be_replaced(workspace: Path) -> None:
    """After the migration it would no longer be that of its plans; this is known before."""
    weights = workspace / ROOTS["results"] / CT / "nnUNetTrainer__nnUNetPlans__3d_fullres/fold_0/checkpoint_final.pth"
    step = finished(workspace, weights, weights, replaces_plans=True)
    assert (step.state, step.because) == (
        StepState.BLOCKED,
        "this was trained with the plans that are to be replaced",
    )
    migrated = ("migrate", "-s", "1", "-t", "2", "-tp", "Moved")
    assert run(*migrated).code == 0
    assert not replaced()
    put("preprocessed/nnUNetPlans.json", "/configurations/3d_fullres/batch_size", 3)(workspace, CT)
    assert replaced()


def replaced() -> bool:
    """Whether the migration of a road would replace plans."""
    context = Context(Workspace.from_environment(), request_of())
    side = Side(dataset_of(context.workspace, OTHER_CT), "Moved")
    migration_step(context, side, "1", None)
    return side.replaces_plans


def test_a_training_from_random_weights_is_not_that_of_the_road(workspace: Path) -> None:
    fold = workspace / ROOTS["results"] / CT / "nnUNetTrainer__nnUNetPlans__3d_fullres/fold_0"
    step = finished(workspace, None, fold / "checkpoint_final.pth")
    assert (step.state, step.because) == (StepState.BLOCKED, "this was trained from random weights")


def test_postprocessing_older_than_a_fold(monkeypatch: pytest.MonkeyPatch, workspace: Path) -> None:
    """It was determined without this validation: nnU-Net has to join them again."""
    model = workspace / ROOTS["results"] / OTHER_CT / "nnUNetTrainer_100steps_lr1en3__Moved__3d_fullres"
    made, fold = model / "crossval_results_folds_0/postprocessing.pkl", model / "fold_0/validation/summary.json"
    for path in (made, fold):
        path.parent.mkdir(parents=True)
        path.write_bytes(b"")
    monkeypatch.setattr(
        training,
        "_training",
        lambda *_: RoadStep("train", StepState.DONE, "", ShellText(""), "0", writes=(model / "fold_0",)),
    )
    os.utime(fold, (1000, 1000))
    assert step(road("-f", "0"), "find-best")["state"] == "done"
    os.utime(made, (999, 999))
    best = step(road("-f", "0"), "find-best")
    assert (best["state"], best["because"]) == ("needed", "a fold was validated after postprocessing.pkl was written")


# --- Accepted findings


def test_accepted_findings_are_accepted_by_every_step() -> None:
    """A step that does not accept them would be refused when the road runs."""
    done = road("-f", "9", "--accept", "PG732", "--because", "a random split")
    words = "--accept PG732 --because 'a random split'"
    commands = {one["name"]: one["command"] for one in done.json["steps"]}
    assert done.code == 0
    assert all(words in commands[name] for name in ("fingerprint", "migrate", "check", "train"))
    assert commands["check"].startswith("plansguard train --resume auto --dry-run ")
    assert commands["train"].startswith(f"plansguard train --resume auto {words} 2 3d_fullres 9 ")
    assert "PG412 cannot be accepted" in refused(*ROAD, "--accept", "PG412", "--because", "x", "--dry-run")


# --- Scores of finished trainings


@pytest.mark.parametrize(
    ("scores", "because"),
    [
        ([{"1": 0.5, "2": float("nan")}], "not possible: no validation case has LABEL, and none is predicted"),
        ([{"1": 0.5, "2": float("nan")}, {"1": float("nan"), "2": 0.1}], "the validations of 2 folds are to be joined"),
        ([{"1": 0.0, "2": 1.0}], "the validations of 1 fold are to be joined"),
        ([None], "the validations of 1 fold are to be joined"),
    ],
    ids=["in no fold", "in one fold", "all scored", "damaged"],
)
def test_a_class_without_a_score(scores: list[dict[str, float] | None], because: str, tmp_path: Path) -> None:
    """nnU-Net's command stops with an IndexError: it compares the means over classes, and NaN equals nothing."""
    dataset = dataset_of(Workspace.from_environment(), OTHER_CT)
    names = {value: name for name, value in dataset.dataset_json.value["labels"].items()}
    folds = []
    for number, classes in enumerate(scores):
        file = tmp_path / f"fold_{number}/validation/summary.json"
        means = None if classes is None else {key: {"Dice": dice} for key, dice in classes.items()}
        file.parent.mkdir(parents=True)
        file.write_text(json.dumps({"mean": means}))
        writes = (file.parents[1],)
        folds.append(RoadStep("train", StepState.DONE, "", ShellText("x"), str(number), writes=writes))
    context, side = Context(Workspace.from_environment(), request_of()), Side(dataset, "nnUNetPlans")
    step = training._find_best(context, side, StepName("nnUNetTrainer", StepSchedule(100)), folds)
    assert step.because == because.replace("LABEL", names.get(2, "2"))
    assert (step.state is StepState.DONE) is because.startswith("not possible")
