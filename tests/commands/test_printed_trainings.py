"""Trainings that plansguard prints, after *Next* or as a fix: typed as printed, the gate accepts them."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from plansguard.commands import train
from plansguard.commands.train import next_commands
from plansguard.nnunet import runtime
from plansguard.nnunet.workspace import Workspace
from plansguard.rules.engine.settings import ActiveSettings
from plansguard.subjects.discovery import dataset_of, plans_of
from plansguard.subjects.pretraining import pretraining_of
from plansguard.subjects.request import Reading
from plansguard.training.trainer_name import options_of, read_name
from tests.rules.pg7_run.results import BEST, FINAL, LATEST, STOCK, checkpoint, fold, step_checkpoint, validated
from tests.rules.pg7_run.schedule_variants import FOR_PRETRAINING, MIGRATED
from tests.rules.pg7_run.trainings import CT, READY
from tests.support import graphics, standin
from tests.support.benches import STEPS
from tests.support.command import Done, run
from tests.support.data_folders import DATA, FLAT, STAGES, preprocessed
from tests.support.moves import GIVING, MOVED, RECORD, move
from tests.support.training_records import training_values
from tests.support.variants import DATASET_JSON, PLANS, ROOTS, Edit, place, put, remove, truncate
from tests.support.weights import CHECKPOINT, WITH, weights

pytestmark = [pytest.mark.slow, pytest.mark.workspace(CT, GIVING, chdir=True)]
#: A command of plansguard in a text; it ends where the text goes on.
COMMAND = re.compile(r"plansguard [^;,\n]+(?<! \()")


@pytest.fixture(autouse=True)
def gpu(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The machine has a GPU on which the trainings fit, and the pretraining is one of 1000 epochs."""
    weights(to=CHECKPOINT)(workspace, GIVING)
    graphics.install(workspace, graphics.ADA)
    monkeypatch.setenv("PATH", str(workspace / "bin"), prepend=os.pathsep)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")


#: Options that the tests add to every command, and that its fixes repeat.
ADDED = ["--data", "headers", "--dry-run", "--output", "json"]


def dry(command: str) -> Done:
    """The command as typed, but judged only."""
    program, name, *words = shlex.split(command)
    assert (program, name in ("gate", "train")) == ("plansguard", True), command
    return run(name, *ADDED, *words)


def complaints(command: str) -> set[str]:
    """Codes of the errors and warnings of the gate for this command."""
    done = dry(command)
    assert done.code in (0, 1), done.err
    return {one["code"] for one in done.json["findings"] if one["severity"] != "info" and one["ignored"] is None}


def after_next(done: Done) -> list[str]:
    lines = done.out.partition("Next:\n")[2].splitlines()
    return [line.strip() for line in lines if line.startswith("  ")]


def edit(workspace: Path, *edits: Edit, dataset: str = CT) -> None:
    for one in edits:
        one(workspace, dataset)


def fixes(code: str, words: Sequence[str], program: str = "gate") -> list[str]:
    """The commands in the fix of the one finding of this rule about this training."""
    before = ["gate", "--", "nnUNetv2_train"] if program == "gate" else ["train"]
    done = dry(shlex.join(["plansguard", *before, *words]))
    (found,) = [one for one in done.json["findings"] if one["code"] == code]
    return commands_in(found["fix"])


def commands_in(fix: str) -> list[str]:
    """The commands in a fix, without the options that `dry` adds; a training that comes first is no dry run."""
    added = re.compile(f" {shlex.join(ADDED)}".replace(" --dry-run", "( --dry-run)?"))
    return [added.sub("", command.strip()) for command in COMMAND.findall(fix)]


def test_the_first_stage_is_trained_on_the_same_device(workspace: Path) -> None:
    edit(workspace, *READY, *STAGES, preprocessed("nnUNetPlans_3d_lowres"))
    words = ["2", "3d_cascade_fullres", "0", "-device", "cpu"]
    (command,) = fixes("PG518", words)
    assert command == "plansguard gate -- nnUNetv2_train 2 3d_lowres 0 -p nnUNetPlans -device cpu"


def test_the_first_stage_is_trained_as_suits_its_weights(workspace: Path) -> None:
    """A check knows no trainer: that of random weights would be at a learning rate that is too high (PG731)."""
    for edit_stage in STAGES:
        edit_stage(workspace, GIVING)
    model = workspace / ROOTS["results"] / GIVING / "nnUNetTrainer__nnUNetPlans__3d_fullres"
    shutil.copytree(model, model.with_name("nnUNetTrainer__nnUNetPlans__3d_lowres"))
    assert run("migrate", "-s", "1", "-t", "2", "-tp", "PretrainPlans").code == 0
    edit(workspace, preprocessed("PretrainPlans_3d_fullres", of=GIVING))
    done = run("check", "-d", "2", "-p", "PretrainPlans", "-c", "3d_cascade_fullres", "--output", "json")
    (found,) = [one for one in done.json["findings"] if one["code"] == "PG518"]
    (command,) = commands_in(found["fix"])
    assert "3d_lowres FOLD -p PretrainPlans -tr nnUNetTrainer_250000steps_lr1en3 -pretrained_weights" in command


# --- Next


def test_next_after_a_migration(workspace: Path) -> None:
    done = run("migrate", "-s", "1", "-t", "2", "-tp", "PretrainPlans")
    edit(workspace, *MIGRATED[1:])
    assert complaints(after_next(done)[-1]) == set()


def test_next_after_preprocessing(workspace: Path) -> None:
    edit(workspace, *MIGRATED)
    dataset = dataset_of(Workspace.from_environment(), "2")
    pretraining = pretraining_of(dataset, plans_of(dataset, "PretrainPlans"), "3d_fullres")
    assert pretraining is not None
    (training,) = pretraining.commands("2", "3d_fullres", "PretrainPlans", "0")
    assert complaints(training) == set()


@pytest.mark.parametrize("configuration", ["3d_fullres", "2d"])
def test_next_after_preprocessing_for_a_renamed_model(workspace: Path, configuration: str) -> None:
    """The checkpoint in the folder is named where it was trained with this configuration."""
    model = workspace / "my models" / "big ct"
    shutil.copytree(place(workspace, GIVING, CHECKPOINT).parents[1], model)
    for source, name in ((PLANS, "plans.json"), (DATASET_JSON, "dataset.json")):
        shutil.copy(place(workspace, GIVING, source), model / name)
    edit(workspace, remove("results/"), dataset=GIVING)
    assert run("migrate", "-s", "my models/big ct", "-t", "2", "-tp", "PretrainPlans").code == 0
    edit(workspace, *MIGRATED[1:])
    dataset = dataset_of(Workspace.from_environment(), "2")
    pretraining = pretraining_of(dataset, plans_of(dataset, "PretrainPlans"), configuration)
    assert pretraining is not None
    *before, training = pretraining.commands("2", configuration, "PretrainPlans", "0")
    assert before == []
    if configuration == "2d":
        assert training.endswith("-pretrained_weights CHECKPOINT")
    else:
        assert training.endswith("-pretrained_weights 'my models/big ct/fold_0/checkpoint_final.pth'")
        assert complaints(training) == set()


@pytest.mark.parametrize("rate", [[], ["--lr", "0.0005"]])
def test_next_after_steps(workspace: Path, rate: list[str]) -> None:
    edit(workspace, *MIGRATED)
    done = run("steps", "--total", "500", *rate, "-d", "2", "-p", "PretrainPlans", "-c", "3d_fullres")
    (training,) = after_next(done)
    assert complaints(training) == set()
    assert f"-tr nnUNetTrainer_500steps_lr{'5en4' if rate else '1en3'} " in training
    assert f"learning rate   {'0.0005' if rate else '0.001'}, falling" in done.out


def test_next_after_fit(workspace: Path) -> None:
    edit(workspace, *READY, weights())
    done = run("fit", WITH[1], "-d", "2")
    (training,) = COMMAND.findall(done.out)
    assert complaints(training) == set()


def _trained(*words: str) -> list[str]:
    values = training_values(words)
    return [*next_commands(train.prepare(Workspace.from_environment(), values, Reading("headers")))]


#: The data of the fine-tuning dataset are not there.
PREPROCESS_FIRST = "plansguard preprocess -d 2 -p nnUNetPlans -c 3d_fullres"


def test_next_after_a_pretraining(workspace: Path) -> None:
    """The fine-tuning, with the plans that the fine-tuning dataset gave."""
    edit(workspace, remove("results/"), dataset=GIVING)
    done = run("migrate", "-s", "2", "-t", "1", "-tp", "FinetunePlans", "--workflow", "pretrain")
    assert done.code == 0
    record, preprocess, fine_tuning = _trained(
        "1", "3d_fullres", "all", "-tr", STEPS, "-p", "FinetunePlans", "-device", "cpu"
    )
    model = place(workspace, GIVING, f"results/{STEPS}__FinetunePlans__3d_fullres/fold_all")
    edit(workspace, *READY, weights())
    model.mkdir(parents=True)
    Path(WITH[1]).rename(model / FINAL)
    assert record == f"plansguard verify-receipt {model}"
    assert preprocess == PREPROCESS_FIRST
    assert complaints(fine_tuning) == set()
    assert "nnUNetv2_train 2 3d_fullres 0 -p nnUNetPlans" in fine_tuning
    assert " -device cpu " in fine_tuning


def test_next_after_preprocessing_for_a_pretraining(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The pretraining with all cases, and then the fine-tuning from it."""
    edit(workspace, remove("results/"), dataset=GIVING)
    assert run("migrate", "-s", "2", "-t", "1", "-tp", "FinetunePlans", "--workflow", "pretrain").code == 0
    program = str(standin.install(workspace))
    monkeypatch.setattr(runtime, "command", lambda name: program)
    monkeypatch.setenv(standin.LOG, str(workspace / "log"))
    _, pretraining, preprocess, fine_tuning = after_next(
        run("preprocess", "-d", "1", "-p", "FinetunePlans", "-c", "3d_fullres", "--yes")
    )
    assert pretraining == "plansguard gate -- nnUNetv2_train 1 3d_fullres all -p FinetunePlans"
    assert preprocess == PREPROCESS_FIRST
    model = place(workspace, GIVING, "results/nnUNetTrainer__FinetunePlans__3d_fullres/fold_all")
    edit(workspace, *READY, weights())
    model.mkdir(parents=True)
    Path(WITH[1]).rename(model / FINAL)
    assert complaints(fine_tuning) == set()


def test_next_without_checkpoints(workspace: Path) -> None:
    assert len(_trained("2", "3d_fullres", "0", "--disable_checkpointing")) == 1


def test_next_after_the_second_stage_of_a_cascade(workspace: Path) -> None:
    edit(workspace, put("preprocessed/nnUNetPlans.json", "/configurations/3d_fullres/previous_stage", "2d"))
    _, first, second = _trained("2", "3d_fullres", "0")
    assert " -o PREVIOUS -d 2 -c 2d -f 0 " in first
    assert second.endswith(" -prev_stage_predictions PREVIOUS")


# --- A pretraining that is not finished


def test_a_running_training_is_not_fine_tuned_from(workspace: Path) -> None:
    """Its checkpoint_best.pth changes until it ends."""
    fold = "results/nnUNetTrainer__nnUNetPlans__3d_fullres/fold_0"
    edit(workspace, remove(fold), checkpoint(BEST, 900), dataset=GIVING)
    done = run("migrate", "-s", "1", "-t", "2", "-tp", "PretrainPlans")
    *_, note, finish, fine_tuning = after_next(done)
    assert note.startswith("# ")
    assert finish == "plansguard gate -- nnUNetv2_train 1 3d_fullres 0 -p nnUNetPlans -tr nnUNetTrainer --c"
    assert fine_tuning.endswith(f"-pretrained_weights {place(workspace, GIVING, fold)}/{FINAL}")
    edit(workspace, preprocessed(DATA, FLAT), dataset=GIVING)
    assert complaints(finish) == set()


@pytest.mark.parametrize("best_first", [True, False])
def test_a_finished_training_is_preferred(workspace: Path, best_first: bool) -> None:
    source = place(workspace, GIVING, "results/nnUNetTrainer__nnUNetPlans__3d_fullres")
    other = source.with_name(f"{'AAA' if best_first else 'zzz'}__nnUNetPlans__3d_fullres")
    (other / "fold_0").mkdir(parents=True)
    shutil.copy(source / "fold_0" / FINAL, other / "fold_0" / BEST)
    done = run("migrate", "-s", "1", "-t", "2", "-tp", "PretrainPlans")
    assert after_next(done)[-1].endswith(f"-pretrained_weights {source}/fold_0/{FINAL}")


# --- Fixes


@pytest.mark.parametrize("program", ["gate", "train"])
def test_the_lower_rate(workspace: Path, program: str) -> None:
    edit(workspace, *READY, weights())
    how = ["-tr", STEPS] if program == "gate" else ["--steps", "500"]
    (command,) = fixes("PG731", ["2", "3d_fullres", "0", *how, *WITH], program)
    assert command.split()[1] == program
    assert complaints(command) == set()


@pytest.mark.parametrize("program", ["gate", "train"])
def test_the_forgotten_weights(workspace: Path, program: str) -> None:
    """Named by their real path; random ones can be intended."""
    edit(workspace, *MIGRATED)
    how = ["-tr", STEPS] if program == "gate" else ["--steps", "500"]
    command, scratch = fixes("PG737", ["2", "3d_fullres", "0", "-p", "PretrainPlans", *how], program)
    assert place(workspace, GIVING, f"results/nnUNetTrainer__nnUNetPlans__3d_fullres/fold_0/{FINAL}").is_file()
    assert complaints(command) == complaints(scratch) == set()


@pytest.mark.parametrize("program", ["gate", "train"])
@pytest.mark.parametrize("name", [STEPS, f"{STEPS}_lr1en3"])
def test_more_steps_after_a_finished_training(workspace: Path, program: str, name: str) -> None:
    edit(workspace, *READY, step_checkpoint(FINAL, 500, trainer=name), validated(name))
    how = ["-tr", name] if program == "gate" else options_of(read_name(name))
    commands = fixes("PG727", ["2", "3d_fullres", "0", *how, "--c"], program)
    assert [complaints(command) for command in commands] == [set(), set()]
    assert ("--extend-to 1000" in commands[0]) is (program == "train")


@pytest.mark.parametrize(
    ("edits", "ways"),
    [
        pytest.param([checkpoint(LATEST, 80)], 1, id="unfinished"),
        pytest.param([checkpoint(FINAL, 1000), checkpoint(BEST, 990)], 1, id="finished"),
        pytest.param([step_checkpoint(LATEST, 250)], 1, id="unfinished steps"),
        pytest.param([step_checkpoint(FINAL, 500)], 1, id="finished steps"),
        pytest.param([checkpoint(LATEST, 50), truncate(f"{fold()}/{LATEST}", 900)], 0, id="half a file"),
    ],
)
@pytest.mark.skipif(os.name == "nt", reason="a POSIX shell")
def test_results_that_are_there(workspace: Path, edits: list[Edit], ways: int) -> None:
    """They can be continued or validated, and are moved away without a loss."""
    edit(workspace, *READY, *edits)
    trainer = STEPS if place(workspace, CT, fold(STEPS)).exists() else STOCK
    results = place(workspace, CT, fold(trainer))
    for _ in range(2):  # the name may be taken from the last time
        done = dry(shlex.join(["plansguard", "gate", "--", "nnUNetv2_train", "2", "3d_fullres", "0", "-tr", trainer]))
        (found,) = [one for one in done.json["findings"] if one["code"] == "PG721"]
        commands = commands_in(found["fix"])
        assert [complaints(command) for command in commands] == [set()] * ways
        subprocess.run("mv " + found["fix"].rpartition(": mv ")[2], shell=True, check=True)
        assert not results.exists()
        edit(workspace, *edits)
    assert {path.name for path in results.parent.iterdir()} == {"fold_0", "old_fold_0", "old_fold_0_2"}


@pytest.mark.parametrize("finished", [True, False])
@pytest.mark.parametrize("program", ["gate", "train"])
def test_continuing_with_more_steps(workspace: Path, program: str, finished: bool) -> None:
    """``--steps 900 --c`` is meant to extend the 500 that are there."""
    edit(workspace, *READY, step_checkpoint(FINAL if finished else "checkpoint_latest.pth", 500 if finished else 250))
    how = ["-tr", "nnUNetTrainer_900steps"] if program == "gate" else ["--steps", "900"]
    commands = [
        one
        for command in fixes("PG722", ["2", "3d_fullres", "0", *how, "--c"], program)
        for one in command.split(" && ")
    ]
    assert len(commands) == (1 if finished else 2)
    assert complaints(commands[0]) == set()
    assert ("--steps 500 --extend-to 900" in commands[-1]) is (program == "train")


def test_a_login_node(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    edit(workspace, *READY)
    for program, how in (("gate", ["-tr", STEPS]), ("train", ["--steps", "500"])):
        (command,) = fixes("PG714", ["2", "3d_fullres", "0", *how], program)
        assert complaints(command.replace(" GB ", " 24 ")) == set()


def _migrated_as(name: str, created: str, *missing: str) -> Edit:
    """Copies of the migrated plans and their record under another name, for a pretraining."""

    def write(workspace: Path, dataset: str) -> None:
        plans, record = (json.loads(place(workspace, dataset, file).read_bytes()) for file in (MOVED, RECORD))
        plans["plans_name"] = record["to"]["plans"] = name
        record.update(created=created, workflow="pretrain")
        for configuration in missing:
            del plans["configurations"][configuration]
        place(workspace, dataset, f"preprocessed/{name}.json").write_text(json.dumps(plans))
        place(workspace, dataset, f"preprocessed/{name}.plansguard.json").write_text(json.dumps(record))

    return write


def test_which_migrated_plans_are_proposed(workspace: Path) -> None:
    """Those that have the configuration, the latest first, not the first of the alphabet."""
    edit(workspace, *READY, move(), FOR_PRETRAINING)
    edit(workspace, _migrated_as("Aaa", "2020-01-01T00:00:00+00:00"))
    edit(workspace, _migrated_as("Bbb", "2099-01-01T00:00:00+00:00", "3d_fullres"))
    commands = fixes("PG736", ["2", "3d_fullres", "0"])
    assert [re.findall("-p ([A-Za-z]+)", command) for command in commands] == [["PretrainPlans"] * 2, ["Aaa"] * 2]
    edit(workspace, preprocessed("PretrainPlans_3d_fullres", of=GIVING))
    command, _ = fixes("PG736", ["2", "3d_fullres", "0"])
    assert command == "plansguard gate -- nnUNetv2_train 2 3d_fullres 0 -p PretrainPlans"


def test_other_lengths(workspace: Path) -> None:
    edit(workspace, *READY)
    (command,) = fixes("PG734", ["2", "3d_fullres", "0", "-tr", "nnUNetTrainer_100epochs"])
    assert run(*shlex.split(command)[1:]).code == 0
    assert command.endswith(" -c 3d_fullres -f 0 --total 25000")


def test_a_training_that_stops_in_time(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """For a new training; one that has begun continues with its own trainer."""
    edit(workspace, *READY, checkpoint(LATEST, 80))
    place(workspace, CT, fold()).rename(place(workspace, CT, fold()).with_name("fold_1"))
    monkeypatch.setenv("SLURM_JOB_END_TIME", str(int(time.time() + 630)))
    (command,) = fixes("PG733", ["2", "3d_fullres", "0"])
    assert complaints(command.replace(" TIME", " 10m")) == set()
    assert fixes("PG733", ["2", "3d_fullres", "1", "--c"]) == []


@pytest.mark.parametrize("workflow", ["finetune", "graft"])
def test_the_baseline_before_fine_tuning(workspace: Path, workflow: str) -> None:
    edit(workspace, *READY, move(workflow))
    assert complaints("plansguard gate -- nnUNetv2_train 2 3d_fullres 0") == set()


# --- Intended random weights


def test_random_weights_are_recorded(workspace: Path) -> None:
    edit(workspace, *MIGRATED)
    words = ["2", "3d_fullres", "0", "-p", "PretrainPlans"]
    values = training_values(words)
    prepared = train.prepare(Workspace.from_environment(), values, Reading("headers"))
    report = train.judge(prepared, "train", ActiveSettings(), [train.FROM_SCRATCH])
    (start,) = train.build_record(prepared, report, [])["starts"]
    assert [(one["code"], one["accepted"]) for one in start["findings"] if one["accepted"]] == [
        ("PG737", "random weights are intended: --from-scratch")
    ]


def test_random_weights_and_others(workspace: Path) -> None:
    edit(workspace, *READY, weights())
    gate = ["gate", "--dry-run", "--data", "headers", "--from-scratch", "--"]
    assert run(*gate, "nnUNetv2_train", "2", "3d_fullres", "0", *WITH).code == 2
    assert run(*gate, "nnUNetv2_plan_experiment", "-d", "2").code == 2
    done = run(*gate, "nnUNetv2_train", "2", "3d_fullres", "0")  # nothing to accept, and so nothing to report
    assert (done.code, "accepted" in done.err) == (0, False), done.err


# --- Names with a number of steps


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["-tr", "nnUNetTrainer_80steps"], 0),
        (["-tr", "nnUNetTrainer_80steps", "--steps", "80"], 0),
        (["-tr", "nnUNetTrainer_80steps", "--steps", "90"], 2),
    ],
)
def test_a_step_trainer_is_a_trainer(workspace: Path, words: list[str], code: int) -> None:
    edit(workspace, *READY)
    done = run("train", "--dry-run", "2", "3d_fullres", "0", "--data", "headers", *words)
    assert done.code == code, done.err
    assert code == 0 or "name the base trainer: -tr nnUNetTrainer\n" in done.err
