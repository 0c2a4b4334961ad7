"""Inputs of a training whose values are of another type, or lead out of the workspace."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.rules.pg7_run.cascade_inputs_variants import CT, of_another_dataset, seen_in_pretraining
from tests.rules.pg7_run.trainings import READY
from tests.support.command import Done, run
from tests.support.data_folders import CASES, STAGES, trained
from tests.support.variants import place
from tests.support.weights import WITH, weights

PRETRAINING = "Dataset001_PretrainCT"

pytestmark = pytest.mark.workspace(PRETRAINING, CT)


def judged(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> Done:
    monkeypatch.chdir(workspace)
    return run("train", "2", "3d_fullres", "0", "--steps", "5", "--keep-head", "-device", "cpu", *WITH, "--dry-run")


@pytest.mark.parametrize("key", ["file_ending", "labels", "channel_names", "numTraining"])
@pytest.mark.parametrize("value", [False, 5, ["a"], "1"])
def test_values_of_another_type(key: str, value: object, workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for edit in (*READY, weights(change=of_another_dataset), seen_in_pretraining):
        edit(workspace, CT)
    path = place(workspace, CT, "preprocessed/dataset.json")
    path.write_text(json.dumps(json.loads(path.read_bytes()) | {key: value}))
    done = judged(workspace, monkeypatch)
    assert (done.code, "PG000" in done.out) == (1, False), done.out


def test_weights_that_name_a_folder_elsewhere(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    elsewhere = workspace / "elsewhere"

    def outside(plans: dict[str, Any], dataset_json: dict[str, Any]) -> None:
        plans["dataset_name"] = str(elsewhere)

    for edit in (*READY, weights(change=outside), seen_in_pretraining):
        edit(workspace, CT)
    shutil.move(place(workspace, PRETRAINING, "raw/"), elsewhere)
    assert "PG745" not in judged(workspace, monkeypatch).out


def test_a_first_stage_with_kept_layers_needs_weights(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """PG742 printed its training without any, which PG746 refuses."""
    for edit in (*READY, *STAGES, trained("3d_lowres", *CASES)):
        edit(workspace, CT)
    monkeypatch.chdir(workspace)
    words = ("3d_cascade_fullres", "0", "--steps", "5", "--keep-head", "-device", "cpu", "--dry-run")
    done = run("train", "2", *words, "--output", "json")
    (fix,) = (finding["fix"] for finding in done.json["findings"] if finding["code"] == "PG742")
    first = fix.partition("; or this configuration")[0]
    assert first.endswith(" 2 3d_lowres 0 --steps 5 --keep-head -device cpu -pretrained_weights CHECKPOINT")
