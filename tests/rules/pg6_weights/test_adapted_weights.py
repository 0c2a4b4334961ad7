"""Weights that were adapted, or should be: what is said of their layers, and of those of another stage of a cascade."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from plansguard.commands.check import check
from plansguard.core.report import Finding, Report, Severity
from plansguard.subjects.fit_result import PREPROCESS
from tests.support import checkpoints
from tests.support.command import run
from tests.support.data_folders import DATA, preprocessed
from tests.support.variants import place, put
from tests.support.weights import CASCADE, CT, LABELS

Document = dict[str, Any]

pytestmark = pytest.mark.workspace(CT, CASCADE, chdir=True)

SECOND = "3d_cascade_fullres"
THREE = {"background": 0, "tumour": 1, "cyst": 2}
AGAIN = "nothing: they are learned again within a few epochs; a training in steps with --keep-head begins with "
NONE_KEPT = "which begin with initial values: the adaptation of the weights kept no class"
NOT_KEPT = "nothing: they are learned from the beginning, also in a training in steps with --keep-head"


def read(workspace: Path, dataset: str, name: str) -> Document:
    document: Document = json.loads(place(workspace, dataset, f"preprocessed/{name}.json").read_bytes())
    return document


def finding(report: Report, code: str) -> Finding:
    (one,) = [one for one in report.findings if one.code == code]
    return one


@pytest.mark.parametrize(
    ("labels", "options", "message", "fix"),
    [
        ({"background": 0, "whole": [1, 2], "core": 2}, (), NONE_KEPT, NOT_KEPT),
        (THREE, ("--encoder-only",), NONE_KEPT, NOT_KEPT),
        (
            {"background": 0, "tumour": 1},
            (),
            "although the adaptation of the weights kept those of background, tumour",
            f"{AGAIN}those of background, tumour, and with initial values for cyst",
        ),
        ({"background": 0, "cyst": 1, "tumour": 2}, (), "although the labels are those of the weights", f"{AGAIN}them"),
        (THREE, (), "although the labels are those of the weights", f"{AGAIN}them"),
    ],
)
@pytest.mark.parametrize("damage", [False, True])
def test_the_segmentation_layers_of_adapted_weights(
    workspace: Path, labels: Document, options: tuple[str, ...], message: str, fix: str, damage: bool
) -> None:
    """Their dataset.json names the classes of this dataset, also those that have no values of the weights."""
    for root in ("raw", "preprocessed"):
        put(f"{root}/dataset.json", "/labels", THREE)(workspace, CT)
    plans, dataset_json = read(workspace, CT, "nnUNetPlans"), read(workspace, CT, "dataset")
    checkpoints.write(workspace / "old.pth", plans, {**dataset_json, "labels": labels, "regions_class_order": [1, 2]})
    record = run("adapt", "old.pth", "-d", "2", "-p", "nnUNetPlans", "--dry-run", "--json", *options).json
    if damage:
        record["rows"][-1].update(parts={"x": []})
        message, fix = "although the labels are those of the weights", f"{AGAIN}them"
    path = checkpoints.write(workspace / "weights.pth", plans, dataset_json, plansguard_adaptation=record)
    found = finding(check(datasets=["2"], plans="nnUNetPlans", configuration="3d_fullres", weights=path), "PG628")
    assert found.message == f"nnU-Net does not load the segmentation layers, {message}"
    assert found.fix == fix


@pytest.mark.parametrize(
    ("configuration", "change", "is_adapted"),
    [
        ("3d_fullres", {}, True),  # zeros for the labels
        ("3d_lowres", {}, True),
        ("3d_fullres", {"strides": [[1, 1, 1]] * 6}, False),
        ("2d", {}, False),
        ("3d_cascade_fullres", {"strides": [[1, 1, 1]] * 6}, True),
    ],
)
def test_a_second_stage_and_weights_of_another_stage(
    workspace: Path, configuration: str, change: Document, is_adapted: bool
) -> None:
    """Weights of another network, adapted to their own plans, would be those of the same stage as before."""
    plans, dataset_json = read(workspace, CASCADE, "nnUNetPlans"), read(workspace, CASCADE, "dataset")
    plans["configurations"]["3d_fullres"]["architecture"]["arch_kwargs"].update(change)
    dataset_json["labels"] = LABELS
    axes = (0, 1) if configuration == "2d" else (0, 1, 2)
    path = checkpoints.write(workspace / "weights.pth", plans, dataset_json, configuration, mirroring_axes=axes)
    options: Document = {"plans": "nnUNetPlans", "configuration": "3d_cascade_fullres", "weights": path}
    fix = finding(check(datasets=["5"], **options), "PG621").fix
    if is_adapted:
        assert fix.startswith("adapt the weights first: plansguard adapt ")
        words = fix.partition("plansguard ")[2].split()[:-2]
        assert run(*words, "--dry-run").code == 0
    else:
        assert fix.startswith("train it without weights, as nnU-Net does: its input has the labels of the previous ")
    fitted = run("fit", "weights.pth", "-d", "5", "-p", "nnUNetPlans", "-c", "3d_cascade_fullres", "--json").json
    assert [one["outcome"] for one in fitted["results"]] == ["adapt first" if is_adapted else "impossible"]


def test_a_second_stage_of_another_workspace(workspace: Path) -> None:
    """The command would adapt to another dataset."""
    plans, dataset_json = read(workspace, CASCADE, "nnUNetPlans"), read(workspace, CASCADE, "dataset")
    path = checkpoints.write(workspace / "weights.pth", plans, dataset_json, "3d_fullres")
    folder = place(workspace, CASCADE, "preprocessed").rename(workspace / CASCADE)
    report = check([folder], plans="nnUNetPlans", configuration="3d_cascade_fullres", weights=path)
    assert finding(report, "PG621").fix.startswith("train it without weights, as nnU-Net does: ")


def test_weights_that_were_adapted_to_a_second_stage(workspace: Path) -> None:
    """The stages of a cascade differ in their spacing, and no migration gives one the spacing of the other."""
    plans, dataset_json = read(workspace, CASCADE, "nnUNetPlans"), read(workspace, CASCADE, "dataset")
    stage = ("weights.pth", "-d", "5", "-p", "nnUNetPlans", "-c", "3d_cascade_fullres")
    checkpoints.write(Path("weights.pth"), plans, dataset_json, "3d_lowres")
    record = run("adapt", *stage, "--dry-run", "--json").json
    options: Document = {
        "parameters": checkpoints.shapes(plans, dataset_json, "3d_cascade_fullres"),
        "plansguard_adaptation": record,
    }
    checkpoints.write(Path("weights.pth"), plans, dataset_json, "3d_lowres", **options)
    saw = finding(check(datasets=["5"], configuration="3d_cascade_fullres", weights="weights.pth"), "PG625")
    assert (str(saw.severity), saw.fix) == ("info", "nothing, if the difference is meant")
    for configuration in ((), ("-c", "3d_cascade_fullres")):
        (fitted,) = run("fit", *stage[:5], *configuration, "--json").json["results"]
        assert (fitted["configuration"], fitted["outcome"]) == ("3d_cascade_fullres", PREPROCESS)


def adapted_to_second_stage(
    workspace: Path, configuration: str, change: Document | None = None, *, next_stage: bool = True
) -> Path:
    """Weights of a first stage, or of a configuration that is none, adapted to the second stage of this dataset."""
    plans, dataset_json = read(workspace, CT, "nnUNetPlans"), read(workspace, CT, "dataset")
    first = {"data_identifier": "nnUNetPlans_3d_lowres", "spacing": [3.0, 2.4, 2.4], "next_stage": SECOND}
    plans["configurations"] |= {
        "3d_lowres": {"inherits_from": "3d_fullres", **first},
        SECOND: {"inherits_from": "3d_fullres", "previous_stage": "3d_lowres"},
    }
    place(workspace, CT, "preprocessed/nnUNetPlans.json").write_text(json.dumps(plans))
    preprocessed(DATA)(workspace, CT)
    plans["configurations"]["3d_fullres"].update(change or {})
    if not next_stage:
        del plans["configurations"]["3d_lowres"]["next_stage"]
    checkpoints.write(workspace / "old.pth", plans, dataset_json, configuration)
    to = ("-d", "2", "-p", "nnUNetPlans", "-c", SECOND)
    record = run("adapt", "old.pth", *to, "--dry-run", "--json").json
    parameters = checkpoints.shapes(plans, dataset_json, SECOND)
    options: Document = {"parameters": parameters, "plansguard_adaptation": record}
    return checkpoints.write(Path("weights.pth"), plans, dataset_json, configuration, **options)


def judged_for_second_stage(weights: Path) -> list[Finding]:
    """The findings about these weights; they are judged for no other configuration than the second stage."""
    report = check(datasets=["2"], plans="nnUNetPlans", weights=weights)
    assert [one.configuration for one in report.findings if one.code == "PG628"] in ([SECOND], [])
    return [one for one in report.findings if one.code.startswith("PG62") and one.code != "PG628"]


def fitted(*options: str) -> list[tuple[str, str, str]]:
    results = run("fit", "weights.pth", "-d", "2", "-p", "nnUNetPlans", "--json", *options).json["results"]
    return [(one["configuration"], one["outcome"], one["reason"]) for one in results]


@pytest.mark.parametrize("options", [(), ("-c", SECOND)])
@pytest.mark.parametrize("is_first_stage", [True, False])
def test_a_second_stage_whose_input_no_migration_gives(
    workspace: Path, options: tuple[str, ...], is_first_stage: bool
) -> None:
    """The stages of a cascade differ in their spacing. Weights of another cascade load, and no command is refused."""
    (finding,) = judged_for_second_stage(adapted_to_second_stage(workspace, "3d_lowres", next_stage=is_first_stage))
    ((configuration, outcome, reason),) = fitted(*options)
    assert (finding.code, configuration, outcome) == ("PG625", SECOND, "loads")
    migrated = run("migrate", "-s", "weights.pth", "-t", "2", "-tp", "Moved", "--dry-run")
    assert "PG621" not in migrated.out
    if is_first_stage:
        assert (finding.severity, finding.fix) == (Severity.INFO, "nothing, if the difference is meant")
        assert migrated.code == 0
        return
    assert finding.severity == Severity.WARNING
    assert finding.fix == (
        "for the same input: adapt weights of 3d_fullres of these plans with -c 3d_cascade_fullres, as 3d_fullres has "
        "this input; if the difference is meant, accept it in plansguard.json"
    )
    saw = "they load, but saw spacing .*; no migration gives 3d_cascade_fullres that input"
    assert re.fullmatch(f"{saw}; 3d_lowres is to be trained first, by the same trainer", reason)
    shutil.rmtree(place(workspace, "Dataset002_FinetuneCT", "preprocessed/nnUNetPlans_3d_fullres"))
    ((_, outcome, reason),) = fitted(*options)
    assert outcome == "preprocess again"
    assert re.fullmatch(f"nothing is preprocessed here yet.*; {saw}", reason)


def test_a_second_stage_with_the_input_of_its_weights(workspace: Path) -> None:
    assert judged_for_second_stage(adapted_to_second_stage(workspace, "3d_fullres")) == []
    assert fitted() == [
        (SECOND, "loads", "network, input and data agree; 3d_lowres is to be trained first, by the same trainer")
    ]
    moved = run("migrate", "-s", "weights.pth", "-t", "2", "-tp", "Moved")
    assert (moved.code, "nnUNetv2_train 2 3d_cascade_fullres 0 -p Moved" in moved.out) == (0, True)


def test_a_second_stage_whose_input_a_migration_gives_back(workspace: Path) -> None:
    weights = adapted_to_second_stage(workspace, "3d_fullres", {"spacing": [3.0, 0.9, 0.9]})
    findings = {one.code: one for one in judged_for_second_stage(weights)}
    fix = findings["PG625"].fix
    command = "plansguard migrate -s weights.pth -t 2 -tp PretrainPlans"
    assert fix.startswith(f"for the same input: {command}, then")
    assert [outcome for _, outcome, _ in fitted()] == ["migrate first"]
    assert run(*command.split()[1:]).code == 0
    findings = {one.code: one for one in judged_for_second_stage(weights)}
    first = ", first every fold of 3d_lowres by the same trainer: plansguard preprocess "
    assert findings["PG624"].fix.startswith(f"add -p PretrainPlans{first}")
    assert "&& plansguard gate -- nnUNetv2_train 2 3d_lowres 0 -p PretrainPlans" in findings["PG624"].fix
