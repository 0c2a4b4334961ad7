"""The direction of a migration: what is evidence against it, what proves it, and what is neither."""

from __future__ import annotations

import json
import shlex
import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.support.command import run
from tests.support.data_folders import STAGES
from tests.support.moves import GIVING, RECEIVING
from tests.support.training_records import leave
from tests.support.variants import ROOTS, Edit, copy, place, put, remove

PLANS = "preprocessed/nnUNetPlans.json"
FULLRES = "/configurations/3d_fullres"

pytestmark = [pytest.mark.deep, pytest.mark.workspace(GIVING, RECEIVING, chdir=True)]


def codes(*arguments: str) -> dict[str, str]:
    """The severity of every finding of a migration, by code; nothing is written."""
    report = json.loads(run("migrate", *arguments, "--dry-run", "--output", "json").out)
    return {finding["code"]: finding["severity"] for finding in report["findings"]}


def fix_of(code: str, *arguments: str) -> tuple[str, str]:
    """The message and the fix of the one finding of this rule."""
    report = json.loads(run("migrate", *arguments, "--dry-run", "--output", "json").out)
    ((message, fix),) = [(one["message"], one["fix"]) for one in report["findings"] if one["code"] == code]
    return message, fix


def model(
    plans: str, *, of: str | None = None, configuration: str = "3d_fullres", trainer: str = "nnUNetTrainer"
) -> Edit:
    """Add a model with a checkpoint; ``of`` is the dataset whose default plans it was trained with, else its own."""

    def edit(workspace: Path, dataset: str) -> None:
        folder = place(workspace, dataset, f"results/{trainer}__{plans}__{configuration}")
        (folder / "fold_0").mkdir(parents=True)
        (folder / "fold_0/checkpoint_final.pth").write_bytes(b"")
        (folder / "plans.json").write_bytes(place(workspace, of or dataset, PLANS).read_bytes())

    return edit


def without_models(workspace: Path, dataset: str) -> None:
    """Remove the models of the dataset that gives plans: its weights are elsewhere."""
    shutil.rmtree(workspace / ROOTS["results"] / GIVING)


# --- Healthy: models of the receiving dataset that say nothing about these plans ---

HEALTHY: dict[str, Sequence[Edit]] = {
    "a baseline": [model("nnUNetPlans")],
    "a baseline with a plans name of its own": [
        copy(PLANS, "preprocessed/Own.json"),
        put("preprocessed/Own.json", "/plans_name", "Own"),
        model("Own"),
    ],
    "several models": [
        model("nnUNetPlans"),
        model("nnUNetPlans", configuration="2d"),
        model("nnUNetResEncUNetMPlans", trainer="nnUNetTrainer_80steps"),
    ],
    "a model without a copy of its plans": [
        model("nnUNetPlans"),
        remove("results/nnUNetTrainer__nnUNetPlans__3d_fullres/plans.json"),
    ],
    "a model that was fine-tuned with plans that nnU-Net moved": [model("Moved", of=GIVING)],
}


@pytest.mark.parametrize("weights", ["here", "elsewhere"])
@pytest.mark.parametrize("workflow", ["finetune", "graft"])
@pytest.mark.parametrize("edits", HEALTHY.values(), ids=HEALTHY)
def test_models_of_the_receiving_dataset(workspace: Path, edits: Sequence[Edit], workflow: str, weights: str) -> None:
    """They never refuse the migration; only missing weights leave the direction open."""
    for edit in [*edits, *[without_models] * (weights == "elsewhere")]:
        edit(workspace, RECEIVING)
    expected = {} if weights == "here" else {"PG411": "warning"}
    assert codes("-s", "1", "-t", "2", "-sp", "nnUNetPlans", "-tp", "X", "--workflow", workflow) == expected


@pytest.mark.parametrize("trained", [GIVING, RECEIVING])
def test_baselines_and_pretrain(workspace: Path, trained: str) -> None:
    """Plans that were made for the fine-tuning dataset prove `pretrain`, whichever baselines exist."""
    without_models(workspace, GIVING)
    model("nnUNetPlans")(workspace, trained)
    assert codes("-s", "2", "-t", "1", "-sp", "nnUNetPlans", "-tp", "X", "--workflow", "pretrain") == {}


@pytest.mark.parametrize("name", ["X", "Second"])
def test_recorded_direction(workspace: Path, name: str) -> None:
    """Plans that came from the same dataset before prove the direction, without any weights."""
    assert run("migrate", "-s", "1", "-t", "2", "-sp", "nnUNetPlans", "-tp", "X").code == 0
    without_models(workspace, GIVING)
    model("X", of=GIVING)(workspace, RECEIVING)
    assert codes("-s", "1", "-t", "2", "-sp", "nnUNetPlans", "-tp", name).keys() <= {"PG417"}


# --- Open: what is missing is named, with commands that can be typed ---


def test_way_out_of_weights_elsewhere(workspace: Path) -> None:
    """The weights are named as the source; the command proves the direction."""
    elsewhere = workspace / "elsewhere"
    shutil.move(workspace / ROOTS["results"] / GIVING / "nnUNetTrainer__nnUNetPlans__3d_fullres", elsewhere)
    model("nnUNetPlans")(workspace, RECEIVING)
    out = run("migrate", "-s", "1", "-t", "2", "-sp", "nnUNetPlans", "-tp", "X").out
    words = shlex.split(" ".join(out.split()).partition("name them: plansguard ")[2].partition(";")[0])
    assert words == ["migrate", "-s", "CHECKPOINT", "-t", "2", "-tp", "X"]
    words[2] = str(elsewhere)
    assert not codes(*words[1:]).keys() & {"PG410", "PG411"}


def test_swapped_datasets(workspace: Path) -> None:
    """Only the receiving dataset is trained: the command for its weights is named, and is accepted as it is printed."""
    result = run("migrate", "-s", "2", "-t", "1", "-sp", "nnUNetPlans", "-tp", "X", "--dry-run")
    assert result.code == 0
    text = " ".join(result.out.split())
    assert "nnUNet_results has no weights of Dataset002_FinetuneCT with these plans" in text
    command = text.partition("to fine-tune the weights of Dataset001_PretrainCT on Dataset002_FinetuneCT: ")[2]
    assert command.startswith("plansguard migrate -s 1 -t 2 -tp X;")
    assert codes(*shlex.split(command.partition(";")[0])[2:]) == {}


def test_results_that_are_not_known(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("nnUNet_results")
    result = run("migrate", "-s", "1", "-t", "2", "-tp", "X")
    assert result.code == 0
    assert "nnUNet_results is not set" in result.out


# --- Refused: plans that came from the receiving dataset, or weights of it with these plans ---


@pytest.mark.parametrize("back", ["finetune", "pretrain", "graft"])
@pytest.mark.parametrize("there", ["finetune", "pretrain"])
def test_migrated_plans_are_not_moved_back(workspace: Path, there: str, back: str) -> None:
    """Whatever is typed, trained or not; the fix names the plans that the dataset has, and moves nothing."""
    assert run("migrate", "-s", "1", "-t", "2", "-sp", "nnUNetPlans", "-tp", "X", "--workflow", there).code == 0
    model("X", of=GIVING)(workspace, RECEIVING)
    arguments = ("-s", "2", "-t", "1", "-sp", "X", "-tp", "Back", "--workflow", back)
    result = run("migrate", *arguments)
    assert result.code == 1
    assert "[PG410]" in result.out
    assert "-s 2 -t 1" not in result.out.partition("[PG410]")[2].replace("--dry-run", "")
    assert not place(workspace, GIVING, "preprocessed/Back.json").exists()
    assert "PG417" not in codes(*arguments)


@pytest.mark.parametrize(("workflow", "found"), [("finetune", False), ("pretrain", True)])
def test_plans_for_weights_serve_no_pretraining(workspace: Path, workflow: str, found: bool) -> None:
    """A training with them asks for the weights (PG737)."""
    assert run("migrate", "-s", "1", "-t", "2", "-tp", "Brought", "--workflow", workflow).code == 0
    assert ("PG417" in codes("-s", "1", "-t", "2", "-tp", "Align", "--workflow", "pretrain")) == found


def test_one_of_several_equal_plans_is_named_only_if_a_record_tells_which(workspace: Path) -> None:
    """Not the first of them in the alphabet, whose name says nothing."""
    for name in ("A", "B"):
        assert run("migrate", "-s", "1", "-t", "2", "-sp", "nnUNetPlans", "-tp", name).code == 0
    message, fix = fix_of("PG417", "-s", "1", "-t", "2", "-sp", "nnUNetPlans", "-tp", "C")
    assert message.endswith(" as A, B")
    assert fix.endswith("a training takes these with -p and one of these names")
    copy(PLANS, "preprocessed/Another.json")(workspace, GIVING)
    put("preprocessed/Another.json", "/plans_name", "Another")(workspace, GIVING)
    _, fix = fix_of("PG410", "-s", "2", "-t", "1", "-sp", "B", "-tp", "Back")
    assert fix.endswith("as nnUNetPlans (-p nnUNetPlans)")


def test_migrated_plans_are_not_moved_onto_their_origin(workspace: Path) -> None:
    """Under the name that they came from, also after the fine-tuning: the dataset's own file gets no record."""
    assert run("migrate", "-s", "1", "-t", "2", "-sp", "nnUNetPlans", "-tp", "X").code == 0
    model("X", of=GIVING)(workspace, RECEIVING)
    result = run("migrate", "-s", "2", "-t", "1", "-sp", "X", "-tp", "nnUNetPlans")
    assert result.code == 1
    assert "[PG410]" in result.out
    assert not place(workspace, GIVING, "preprocessed/nnUNetPlans.plansguard.json").exists()


def test_plans_of_weights_return_where_they_were_replaced(workspace: Path) -> None:
    """The dataset was planned again after its plans had been used for a pretraining elsewhere."""
    without_models(workspace, GIVING)
    assert run("migrate", "-s", "2", "-t", "1", "-sp", "nnUNetPlans", "-tp", "F", "--workflow", "pretrain").code == 0
    model("F", of=RECEIVING)(workspace, GIVING)
    put(PLANS, f"{FULLRES}/spacing/0", 2.0)(workspace, RECEIVING)
    assert codes("-s", "1", "-t", "2", "-sp", "F", "-tp", "Back") == {}


@pytest.mark.parametrize("workflow", ["finetune", "pretrain"])
def test_made_for_the_receiving_dataset(workspace: Path, workflow: str) -> None:
    """By their medians, under any name."""
    without_models(workspace, GIVING)
    copy(PLANS, "preprocessed/Borrowed.json", of=RECEIVING)(workspace, GIVING)
    found = codes("-s", "1", "-t", "2", "-sp", "Borrowed", "-tp", "X", "--workflow", workflow)
    assert found.get("PG410") == "error"


def test_trained_on_the_receiving_dataset(workspace: Path) -> None:
    """A model with these very plans, which were copied by hand; no fingerprint shows where they were made."""
    copy(PLANS, "preprocessed/Copied.json", of=GIVING)(workspace, RECEIVING)
    put("preprocessed/Copied.json", "/plans_name", "Copied")(workspace, RECEIVING)
    for dataset in (GIVING, RECEIVING):
        remove("preprocessed/dataset_fingerprint.json")(workspace, dataset)
    arguments = ("-s", "2", "-t", "1", "-sp", "Copied", "-tp", "X")
    assert codes(*arguments)["PG410"] == "error"
    put("preprocessed/Copied.json", f"{FULLRES}/spacing/0", 2.0)(workspace, RECEIVING)
    assert "PG410" not in codes(*arguments)


def test_a_second_stage_trained_on_the_receiving_dataset(workspace: Path) -> None:
    """The other dataset needs a first stage, by the trainer that then fine-tunes the second one."""
    for edit in (*STAGES, model("nnUNetPlans", configuration="3d_cascade_fullres")):
        edit(workspace, GIVING)
    copy(PLANS, "preprocessed/Copied.json", of=GIVING)(workspace, RECEIVING)
    put("preprocessed/Copied.json", "/plans_name", "Copied")(workspace, RECEIVING)
    for dataset in (GIVING, RECEIVING):
        remove("preprocessed/dataset_fingerprint.json")(workspace, dataset)
    shutil.rmtree(place(workspace, GIVING, "results/nnUNetTrainer__nnUNetPlans__3d_fullres"))
    _, fix = fix_of("PG410", "-s", "2", "-t", "1", "-sp", "Copied", "-tp", "X")
    words, _, commands = fix.partition("already, first every fold of 3d_lowres by the same trainer: ")
    preprocessing, training = commands.split(" && ")
    assert words
    assert preprocessing == "plansguard preprocess -d 2 -p Copied -c 3d_lowres"
    assert training.startswith("plansguard gate -- nnUNetv2_train 2 3d_lowres 0 -p Copied -tr nnUNetTrainer_")


def test_fine_tuned_on_the_receiving_dataset(workspace: Path) -> None:
    """A model that was itself fine-tuned with these plans, by its record, is no pretraining."""
    copy(PLANS, "preprocessed/Moved.json", of=GIVING)(workspace, RECEIVING)
    weights = workspace / "weights.pth"
    shutil.move(
        place(workspace, GIVING, "results/nnUNetTrainer__nnUNetPlans__3d_fullres/fold_0/checkpoint_final.pth"), weights
    )
    model("nnUNetPlans", of=GIVING)(workspace, RECEIVING)
    for dataset in (GIVING, RECEIVING):
        remove("preprocessed/dataset_fingerprint.json")(workspace, dataset)
    leave(workspace, depth="none", trainer="nnUNetTrainer", weights=weights)
    assert "PG410" not in codes("-s", "1", "-t", "2", "-sp", "nnUNetPlans", "-tp", "X")
