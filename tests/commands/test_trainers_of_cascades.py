"""The second stage of a cascade is printed with the trainer of the first, whose predictions it reads."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from plansguard.commands.adapt import next_commands, task_of
from plansguard.nnunet import runtime
from plansguard.subjects.adaptation import AdaptationChoices
from tests.rules.pg7_run.trainings import READY
from tests.support import standin
from tests.support.command import Done, run
from tests.support.data_folders import CASES, STAGES, trained
from tests.support.printed import commands
from tests.support.variants import place, remove
from tests.support.weights import WITH, weights

CT, GIVING = "Dataset002_FinetuneCT", "Dataset001_PretrainCT"
GENTLE = "nnUNetTrainer_250000steps_lr1en3"
SECOND = "3d_cascade_fullres"

pytestmark = pytest.mark.workspace(CT, GIVING, chdir=True)


@pytest.fixture
def stages(workspace: Path) -> Path:
    """A dataset with data for both stages, and weights of the second one with the same labels."""
    for edit in (*READY, *STAGES, weights(SECOND, dataset_json={"labels": {"background": 0, "kidney": 1}})):
        edit(workspace, CT)
    return workspace


def first_stage(workspace: Path, trainer: str) -> None:
    """The first stage was trained by this trainer, and has predicted every case."""
    trained("3d_lowres", *CASES)(workspace, CT)
    model = place(workspace, CT, "results/nnUNetTrainer__nnUNetPlans__3d_lowres")
    model.rename(model.with_name(f"{trainer}__nnUNetPlans__3d_lowres"))


def after_adapting() -> list[str]:
    task = task_of(Path(WITH[1]), "2", "nnUNetPlans", SECOND, AdaptationChoices())
    return next_commands(task, Path(WITH[1]))


def trainer_in(command: str) -> str:
    words = shlex.split(command)
    return words[words.index("-tr") + 1] if "-tr" in words else "nnUNetTrainer"


def codes(command: str) -> set[str]:
    """The findings of a printed training."""
    _, gate, *words = shlex.split(command)
    done = run(gate, "--dry-run", "--output", "json", "--data", "headers", *words, "-device", "cpu")
    return {one["code"] for one in done.json["findings"] if one["severity"] == "error"}


@pytest.mark.parametrize("trainer", ["nnUNetTrainer", "nnUNetTrainerNoMirroring", "nnUNetTrainer_4steps", GENTLE])
def test_a_first_stage_that_is_trained(stages: Path, trainer: str) -> None:
    """With layers that are kept, the first stage would have to be trained by that trainer."""
    first_stage(stages, trainer)
    (fitting,) = run("fit", WITH[1], "-d", "2", "-p", "nnUNetPlans", "--json").json["results"]
    lines = after_adapting()
    training = lines.pop()
    note = "# by the trainer of 3d_lowres, whose predictions it reads:"
    assert lines == ([] if trainer == GENTLE else [note])
    for command in (fitting["command"], training):
        assert f"nnUNetv2_train 2 {SECOND} 0 -p nnUNetPlans" in command
        assert trainer_in(command) == trainer
        assert not codes(command) & {"PG742", "PG518", "PG702"}


def test_layers_are_kept_where_those_of_the_first_stage_were(stages: Path) -> None:
    first_stage(stages, GENTLE)
    assert len(after_adapting()) == 1
    first_stage(stages, f"{GENTLE}_keephead")
    *_, keeping = after_adapting()
    assert trainer_in(keeping) == f"{GENTLE}_keephead"
    assert "PG742" not in codes(keeping)


def test_a_first_stage_that_is_not_trained(stages: Path) -> None:
    """It comes first, and has no weights: those named are of the second stage."""
    (fitting,) = run("fit", WITH[1], "-d", "2", "-p", "nnUNetPlans", "--json").json["results"]
    assert (fitting["outcome"], "3d_lowres is to be trained first" in fitting["reason"]) == ("loads", True)
    note, before, first, _, second = after_adapting()
    assert note == "# first every fold of 3d_lowres, by the same trainer:"
    assert before == "plansguard preprocess -d 2 -p nnUNetPlans -c 3d_lowres"
    assert fitting["command"] == f"{before} && {first}"
    assert first == f"plansguard gate -- nnUNetv2_train 2 3d_lowres 0 -p nnUNetPlans -tr {GENTLE}"
    assert second.startswith(f"plansguard gate -- nnUNetv2_train 2 {SECOND} 0 -p nnUNetPlans -tr {GENTLE} ")


def test_next_of_a_migration_of_a_second_stage(stages: Path) -> None:
    done = run("migrate", "-s", WITH[1], "-t", "2", "-tp", "Mine")
    *_, note, before, first, _, second = done.out.partition("Next:\n")[2].splitlines()
    assert "first every fold of 3d_lowres" in note
    assert before.strip() == "plansguard preprocess -d 2 -p Mine -c 3d_lowres"
    assert "2 3d_lowres 0 -p Mine" in first
    assert "-pretrained_weights" not in first
    assert trainer_in(first) == trainer_in(second) == GENTLE


@pytest.mark.parametrize("is_trained", [True, False])
def test_next_of_a_pretraining(stages: Path, is_trained: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """The fine-tuning after it is that of a second stage as well."""
    if is_trained:
        first_stage(stages, "nnUNetTrainer_4steps")
    program = str(standin.install(stages))
    monkeypatch.setattr(runtime, "command", lambda name: program)
    monkeypatch.setenv(standin.LOG, str(stages / "log"))
    options = ("--workflow", "pretrain", "-sp", "nnUNetPlans", "-c", SECOND)
    moved = run("migrate", "-s", "2", "-t", "1", "-tp", "Mine", *options)
    for done in (moved, run("preprocess", "-d", "1", "-p", "Mine", "--yes", "-c", SECOND)):
        lines = done.out.partition("Next:\n")[2].splitlines()
        assert any("first every fold of 3d_lowres" in line for line in lines) is not is_trained
        assert f"nnUNetv2_train 2 {SECOND} 0 " in lines[-1]
        assert trainer_in(lines[-1]) == ("nnUNetTrainer_4steps" if is_trained else GENTLE)


@pytest.mark.parametrize("trainer", ["nnUNetTrainer", "nnUNetTrainer_4steps"])
def test_next_of_a_preprocessing_of_a_second_stage(stages: Path, trainer: str, monkeypatch: pytest.MonkeyPatch) -> None:
    first_stage(stages, trainer)
    program = str(standin.install(stages))
    monkeypatch.setattr(runtime, "command", lambda name: program)
    monkeypatch.setenv(standin.LOG, str(stages / "log"))
    done = run("preprocess", "-d", "2", "-p", "nnUNetPlans", "--yes", "-c", SECOND)
    *_, training = done.out.partition("Next:\n")[2].splitlines()
    assert f"2 {SECOND} 0" in training
    assert trainer_in(training) == trainer


def judged(*options: str) -> dict[str, str]:
    """Codes and fixes of a training of the second stage."""
    words = ("gate", "--dry-run", "--output", "json", "--data", "headers", "--", "nnUNetv2_train", "2", SECOND, "0")
    done: Done = run(*words, "-device", "cpu", *options)
    return {one["code"]: one["fix"] for one in done.json["findings"]}


def test_fixes_agree(stages: Path) -> None:
    """PG742 names the trainer of the first stage, and PG731 of that one trains both stages at another rate."""
    first_stage(stages, "nnUNetTrainer")
    fix = judged("-tr", GENTLE, *WITH)["PG742"]
    (_, (second,)) = commands(fix)
    fix = judged(*second[second.index("-pretrained_weights") :])["PG731"]
    ((first, after),) = commands(fix)
    assert [words[words.index("nnUNetv2_train") + 2] for words in (first, after)] == ["3d_lowres", SECOND]
    assert trainer_in(shlex.join(first)) == trainer_in(shlex.join(after)) == GENTLE
    remove("results/nnUNetTrainer__nnUNetPlans__3d_lowres")(stages, CT)
    first_stage(stages, GENTLE)
    assert not {"PG742", "PG731"} & {*judged(*after[after.index("-tr") :])}
