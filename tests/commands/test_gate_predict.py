"""``plansguard gate`` for commands that predict."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from plansguard.nnunet.install.trainer_folder import FOLDER as EXTENSION
from plansguard.nnunet.install.trainer_folder import VARIABLE as EXTENSION_VARIABLE
from tests.support import checkpoints
from tests.support.benches import (
    CASCADE,
    CT,
    PLANS,
    STEPS,
    Bench,
    codes,
    gate,
    images,
    judged,
    posix_only,
)
from tests.support.command import Done, run
from tests.support.models import MODEL
from tests.support.variants import place, put

#: Nearly all of them start processes.
pytestmark = [pytest.mark.slow, pytest.mark.workspace(folder="workspace")]


def predict(bench: Bench, *names: str) -> tuple[str, ...]:
    return ("nnUNetv2_predict", "-d", "1", "-c", "3d_fullres", "-f", "0", *images(bench, *names))


def model(bench: Bench) -> Path:
    return bench.place(f"results/{MODEL}", CT)


@posix_only
def test_a_prediction_is_judged_and_started(bench: Bench) -> None:
    done = gate(*predict(bench))
    assert (done.returncode, bench.started is not None) == (0, True), done.stdout + done.stderr
    words = ["nnUNetv2_predict_from_modelfolder", "-m", str(model(bench)), "-f", "0", *images(bench)]
    done = gate(*words)
    assert done.returncode == 0, done.stdout + done.stderr
    assert not Path("out").exists()


def test_folds_that_are_not_there(bench: Bench) -> None:
    words = [word for word in predict(bench) if word not in ("-f", "0")]
    done = judged(*words)
    (finding,) = done.json["findings"]
    assert (done.code, finding["code"], finding["fix"]) == (1, "PG753", "predict with the folds that are trained: -f 0")
    assert "fold_1/checkpoint_final.pth, fold_2/checkpoint_final.pth" in finding["message"]
    assert codes(*words, "-f", "0") == set()
    assert codes(*words, "-f", "00", "0") == set()
    assert codes(*words, "-f", "all") == {("PG753", "error")}


@posix_only
@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo], ids=["folder", "pipe"])
def test_a_checkpoint_that_is_no_file(bench: Bench, make: Callable[[Path], None]) -> None:
    """It is not missing, so no fold to predict with is named, and the fix makes room for it."""
    path = model(bench) / "fold_0/checkpoint_final.pth"
    path.unlink()
    make(path)
    done = judged(*predict(bench))
    (finding,) = done.json["findings"]
    assert (done.code, finding["code"]) == (2, "PG601")
    assert re.fullmatch(r"checkpoint_final\.pth cannot be read: this is a (folder|pipe)", finding["message"])
    assert finding["fix"].startswith(f"move it away: mv {path} ")


def test_another_checkpoint(bench: Bench) -> None:
    best = model(bench) / "fold_0/checkpoint_best.pth"
    assert codes(*predict(bench), "-chk", best.name) == {("PG753", "error")}
    (model(bench) / "fold_0/checkpoint_final.pth").rename(best)
    assert codes(*predict(bench), "-chk", best.name) == set()
    (finding,) = judged(*predict(bench)).json["findings"]
    assert "-chk checkpoint_best.pth, if an unfinished training is enough" in finding["fix"]
    shutil.copy(best, best.with_name("checkpoint_final.pth"))
    (finding,) = judged(*predict(bench), "-chk", "checkpoint_latest.pth").json["findings"]
    assert finding["fix"].endswith("-chk checkpoint_final.pth")
    best.with_name("checkpoint_final.pth").unlink()
    best.unlink()
    (finding,) = judged(*predict(bench)).json["findings"]
    assert "no fold of this model has a checkpoint" in finding["fix"]


def test_only_the_checkpoints_that_are_loaded_count(bench: Bench) -> None:
    (model(bench) / "fold_1").mkdir()
    (model(bench) / "fold_1/checkpoint_final.pth").write_bytes(b"torn")
    (model(bench) / "fold_0/checkpoint_latest.pth").write_bytes(b"torn")
    assert codes(*predict(bench)) == set()
    assert codes(*predict(bench), "-f", "0", "1") == {("PG601", "error")}


def test_only_the_configuration_of_the_model_counts(bench: Bench) -> None:
    put(f"results/{MODEL}/plans.json", "/configurations/2d/patch_size/0", 70)(bench.root, CT)
    assert codes(*predict(bench)) == set()
    put(f"results/{MODEL}/plans.json", "/configurations/3d_fullres/patch_size/1", 70)(bench.root, CT)
    assert ("PG101", "error") in codes(*predict(bench))


def trouble(done: Done) -> list[tuple[str, str]]:
    """Severity and text of what is wrong with the images."""
    assert {one["code"] for one in done.json["findings"]} <= {"PG754"}
    return [(one["severity"], one["message"]) for one in done.json["findings"]]


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["a.nii.gz", "b_0000.nii.gz"], "images without a channel's number before .nii.gz: a.nii.gz (1 of 2)"),
        (["a_000.nii.gz"], "images without a channel's number before .nii.gz: a_000.nii.gz (1 of 1)"),
        (["a_0001.nii.gz"], "images are missing: a_0000.nii.gz (1 of 1)"),
        (["a_0000.nii.gz", "a_0001.nii.gz"], "there are images of others: a_0001.nii.gz"),
        (["a_0000.nrrd", "b_0000.nrrd"], "as those of the training: 2 of 2 files have .nrrd"),
        (["a_0000.NII.GZ"], "as those of the training: 1 of 1 file has .NII.GZ"),
    ],
)
def test_images_that_do_not_fit(bench: Bench, names: list[str], message: str) -> None:
    found = trouble(judged(*predict(bench, *names)))
    assert found
    assert all(severity == "error" for severity, _ in found)
    assert message in found[0][1]


def test_no_images(bench: Bench) -> None:
    words = predict(bench)
    folder = Path(words[words.index("-i") + 1])
    for path in folder.iterdir():
        path.unlink()
    assert "it is empty" in trouble(judged(*words))[0][1]
    (folder / "a").mkdir()
    assert "it contains only folders" in trouble(judged(*words))[0][1]


def test_several_channels(bench: Bench) -> None:
    put(f"results/{MODEL}/dataset.json", "/channel_names", {"0": "CT", "1": "PET"})(bench.root, CT)
    options = ("--accept", "PG304", "--because", "a try", "--accept", "PG621", "--because", "a try")

    def image_findings(*names: str) -> list[tuple[str, str]]:
        shutil.rmtree(bench.root.parent / "images", ignore_errors=True)
        findings = judged(*predict(bench, *names), options=options).json["findings"]
        return [(one["severity"], one["message"]) for one in findings if one["code"] == "PG754"]

    assert image_findings("a_0000.nii.gz", "a_0001.nii.gz") == []
    (alone,) = image_findings("a_0000.nii.gz")
    assert (alone[0], "images are missing: a_0001.nii.gz (1 of 2)" in alone[1]) == ("warning", True)
    (lacking,) = image_findings("a_0000.nii.gz", "a_0001.nii.gz", "b_0000.nii.gz")
    assert (lacking[0], "images are missing: b_0001.nii.gz (1 of 4)" in lacking[1]) == ("error", True)


def test_colours_in_one_file(bench: Bench) -> None:
    put(f"results/{MODEL}/dataset.json", "/channel_names", {"0": "R", "1": "G", "2": "B"})(bench.root, CT)
    put(f"results/{MODEL}/dataset.json", "/file_ending", ".png")(bench.root, CT)
    findings = judged(*predict(bench, "a_0000.png")).json["findings"]
    assert "PG754" not in {one["code"] for one in findings}


def test_the_second_stage_of_a_cascade(bench: Bench) -> None:
    plans = json.loads(place(bench.root, CASCADE, PLANS).read_bytes())
    dataset_json = json.loads(place(bench.root, CASCADE, "preprocessed/dataset.json").read_bytes())
    folder = place(bench.root, CASCADE, "results/nnUNetTrainer__nnUNetPlans__3d_cascade_fullres")
    checkpoints.write(folder / "fold_0/checkpoint_final.pth", plans, dataset_json, "3d_cascade_fullres")
    for name, value in (("plans", plans), ("dataset", dataset_json)):
        (folder / f"{name}.json").write_text(json.dumps(value, indent=4))
    words = ("nnUNetv2_predict", "-d", "5", "-c", "3d_cascade_fullres", "-f", "0", *images(bench, "a_0000.nii.gz"))
    (finding,) = (one for one in judged(*words).json["findings"] if one["code"] == "PG755")
    assert "3d_cascade_fullres is the second stage of a cascade: it needs the predictions of 3d_lowres" in str(finding)
    before = bench.root.parent / "before"
    before.mkdir()
    words = (*words, "-prev_stage_predictions", str(before))
    (finding,) = (one for one in judged(*words).json["findings"] if one["code"] == "PG755")
    assert "before has no a.nii.gz of 3d_lowres" in finding["message"]
    (before / "a.nii.gz").touch()
    assert "PG755" not in {code for code, _ in codes(*words)}


@pytest.mark.parametrize(
    "words",
    [
        pytest.param(["-c", "3d_fullres"], id="no -tr"),
        pytest.param(["-c", "3d_fullres", "-f", "0"], id="no -tr, and the fold"),
        pytest.param(["-c", "3d_fulres", "-f", "0", "1", "-tr", "nnUNetTrainer"], id="a misspelt configuration"),
        pytest.param(["-c", "3d_fullres", "-p", "nnUNetPlan", "-tr=nnUNetTrainer_50steps"], id="misspelt plans"),
    ],
)
@pytest.mark.parametrize("begun", [False, True])
def test_the_model_that_is_there(bench: Bench, words: list[str], begun: bool) -> None:
    """The command with its trainer, plans, configuration and folds, as it can be typed."""
    trained = model(bench).with_name(f"{STEPS}__nnUNetPlans__3d_fullres")
    model(bench).rename(trained)
    if begun:  # only the record of a training that was refused
        (model(bench) / "fold_0").mkdir(parents=True)
    done = judged("nnUNetv2_predict", "-d", "1", *words, *images(bench))
    assert done.code == 2
    command = done.err.partition(f"to predict with {trained.name}: plansguard ")[2].strip()
    again = run(*shlex.split(command))
    assert (again.code, [one["code"] for one in again.json["findings"] if one["severity"] == "error"]) == (0, [])


def test_models_that_are_not_there(bench: Bench) -> None:
    done = judged("nnUNetv2_predict", "-d", "1", "-c", "3d_fulres", *images(bench))
    assert (done.code, f"models there: {MODEL}" in done.err) == (2, True)
    done = judged("nnUNetv2_predict_from_modelfolder", "-m", model(bench) / "fold_0", *images(bench))
    assert (done.code, "it is not a model folder" in done.err) == (2, True)


def test_a_model_of_an_unknown_trainer(bench: Bench) -> None:
    plans, dataset_json = (json.loads((model(bench) / f"{name}.json").read_bytes()) for name in ("plans", "dataset"))
    checkpoint = model(bench) / "fold_0/checkpoint_final.pth"
    checkpoints.write(checkpoint, plans, dataset_json, trainer="nnUNetTrainer_autopet3")
    assert codes(*predict(bench)) == {("PG608", "warning")}


def test_a_model_of_steps_needs_its_trainer(bench: Bench) -> None:
    plans, dataset_json = (json.loads((model(bench) / f"{name}.json").read_bytes()) for name in ("plans", "dataset"))
    checkpoint = model(bench) / "fold_0/checkpoint_final.pth"
    checkpoints.write(checkpoint, plans, dataset_json, trainer=STEPS)
    words = ["nnUNetv2_predict_from_modelfolder", "-m", str(model(bench)), "-f", "0", *images(bench)]
    assert gate(*words).returncode == 0
    assert bench.started is not None
    assert bench.started["environment"][EXTENSION_VARIABLE] == str(EXTENSION)
