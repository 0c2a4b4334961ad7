"""``plansguard finetune`` with the real nnU-Net, from raw images to fine-tuned folds."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support import roads
from tests.support.models import pack
from tests.support.stepping import CONFIGURATION, PLANS
from tests.support.terminals import terminal
from tests.support.variants import ROOTS

pytestmark = [
    pytest.mark.nnunet,
    pytest.mark.slow,
    pytest.mark.skipif(os.name == "nt", reason="processes are killed"),
]
SCHEDULE = ("--steps", "6", "--per-epoch", "3", "--validation", "1", "--save-every", "1", "-device", "cpu", "-np", "1")
WORDS = (
    *("-s", "3", "-t", "13", "-sp", PLANS, "-tp", "Moved", "-c", CONFIGURATION, "-tr", roads.TRAINER),
    *("--pretrain-steps", "6", *SCHEDULE),
)
MODEL = f"{roads.TRAINER}_6steps_3per_1val"
#: Seconds after which a road is killed; one that is not killed needs about a minute.
EARLIEST, LATEST = 0.5, 12.0


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace in which the road of one fold ran to its end."""
    return to_the_end(roads.make_workspace(tmp_path_factory.mktemp("unbroken")), "-f", "0")


def to_the_end(root: Path, *folds: str) -> Path:
    code, output = roads.finish(root, *WORDS, *folds)
    assert code == 0, output
    _, end, after = output.rpartition("\nplansguard: every step is done\n\nNext:\n")
    assert (bool(end), after.startswith("  plansguard gate -- nnUNetv2_predict -i IMAGES ")) == (True, True), output
    return root


def weights_of(root: Path) -> dict[str, dict[str, Any]]:
    """Return the final weights of every fold of every model."""
    import torch

    files = sorted((root / ROOTS["results"]).rglob("checkpoint_final.pth"))
    return {
        file.parent.relative_to(root).as_posix(): torch.load(file, weights_only=False)["network_weights"]
        for file in files
    }


def test_from_raw_images_to_folds(unbroken: Path) -> None:
    folder = unbroken / ROOTS["results"] / roads.TARGET / f"{MODEL}_lr1en3__Moved__{CONFIGURATION}"
    assert [(folder / f"fold_{fold}/validation/summary.json").is_file() for fold in range(2)] == [True, False]
    assert (folder / "crossval_results_folds_0/postprocessing.pkl").is_file()
    receipt = json.loads((folder / "fold_0/plansguard_receipt.json").read_bytes())
    assert receipt["starts"][0]["command"][:2] == ["plansguard", "train"]


def test_typed_once_more_nothing_runs(unbroken: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in unbroken.rglob("*") if path.is_file()}
    code, output = roads.finish(unbroken, *WORDS, "-f", "0", "-q")
    assert code == 0, output
    assert "10 steps: 10 done; no findings" in output
    assert "plansguard: step" not in output
    now = {path: path.stat().st_mtime_ns for path in unbroken.rglob("*") if path.is_file()}
    assert {path for path in before if now.get(path) != before[path]} == set()


@pytest.mark.long
def test_killed_at_random_moments(unbroken: Path, tmp_path: Path) -> None:
    assert_killed(unbroken, tmp_path, kills=2, words=("-f", "0", "--until", "train"))


@pytest.mark.long
def test_five_folds_killed_at_ten_random_moments(tmp_path: Path) -> None:
    unbroken = to_the_end(roads.make_workspace(tmp_path / "unbroken"))
    assert_killed(unbroken, tmp_path, kills=10, words=())


def assert_killed(unbroken: Path, here: Path, *, kills: int, words: tuple[str, ...]) -> None:
    """Kill everything, as a reboot does; the final weights are those of the road that was not killed, bit by bit."""
    import torch

    root, moments = roads.make_workspace(here / "killed"), random.Random()
    waited = []
    for _ in range(kills):
        waited.append(moments.uniform(EARLIEST, LATEST))
        process = roads.begin(root, *WORDS, *words)
        try:
            process.wait(waited[-1])
        except subprocess.TimeoutExpired:
            roads.kill(process)
        else:
            assert process.returncode == 0, (waited, process.communicate()[0])
    code, output = roads.finish(root, *WORDS, *words)
    assert code == 0, (waited, output)
    expected, found = weights_of(unbroken), weights_of(root)
    assert list(found) == list(expected) != []
    for fold, weights in expected.items():
        assert list(found[fold]) == list(weights)
        differ = [name for name, tensor in weights.items() if not torch.equal(found[fold][name], tensor)]
        assert differ == [], (waited, fold)


@pytest.mark.long
def test_stopped_in_time(unbroken: Path) -> None:
    """A training that stops in time ends the road with 75; the same command continues there."""
    words = (*WORDS, "-f", "1", "--until", "train", "--steps", "90")
    code, output = roads.finish(unbroken, *words, "--max-time", "1s")
    assert (code, "stopped in time" in output, "there is no checkpoint" in output) == (75, True, False), output
    code, output = roads.finish(unbroken, *words, PLANSGUARD_MAX_TIME="1s")
    assert (code, "stopped in time: train fold 1; the same command continues" in output) == (75, True), output
    code, output = roads.finish(unbroken, *words)
    assert (code, "is continued, at step" in output) == (0, True), output


@pytest.mark.long
def test_the_terminal_of_a_road_closes(unbroken: Path) -> None:
    """The training saves a checkpoint, and the same command continues there."""
    words = (*WORDS, "-f", "2", "--until", "train", "--steps", "91")
    command, variables = [sys.executable, "-m", "plansguard", "finetune", *words], roads.environment(unbroken)
    latest = f"{roads.TRAINER}_91steps*/fold_2/checkpoint_latest.pth"
    with terminal(command, {**variables, "nnUNet_n_proc_DA": "2"}, cwd=unbroken) as screen:
        while not [*(unbroken / ROOTS["results"] / roads.TARGET).glob(latest)]:
            assert screen.read(0.1), screen.text
        screen.hang_up()
        assert screen.process.wait(60) == 75
    code, output = roads.finish(unbroken, *words)
    assert (code, "is continued, at step" in output) == (0, True), output


@pytest.mark.long
def test_from_a_released_zip(unbroken: Path, tmp_path: Path) -> None:
    """Only the zip and raw images are there."""
    root = roads.make_workspace(tmp_path / "released")
    shutil.rmtree(root / ROOTS["preprocessed"] / roads.SOURCE)
    shutil.rmtree(root / ROOTS["raw"] / roads.SOURCE)
    pack(
        root / "released.zip",
        unbroken / ROOTS["results"] / roads.SOURCE / f"{MODEL}__{PLANS}__{CONFIGURATION}",
        below=roads.SOURCE,
    )
    words = ("-s", "released.zip", "-t", "13", "-tp", "Moved", "-c", CONFIGURATION, "-f", "0", *SCHEDULE)
    code, output = roads.finish(root, *words, "--steps", "2")
    assert code == 0, output
    assert "unpack: nnUNetv2_install_pretrained_model_from_zip released.zip" in output


@pytest.mark.long
def test_pretrained_for_the_plans_of_the_target(tmp_path: Path) -> None:
    """Raw images alone: nnU-Net plans the target, its plans go to the other dataset, and the weights come back."""
    root = roads.make_workspace(tmp_path)
    shutil.rmtree(root / ROOTS["preprocessed"] / roads.SOURCE)
    words = ("-s", "3", "-t", "13", "-tp", "ForTarget", "-c", CONFIGURATION, "-f", "0", "--workflow", "pretrain")
    length = ("--pretrain-steps", "2", *SCHEDULE, "--steps", "2")
    code, output = roads.finish(root, *words, *length, nnUNet_n_proc_DA="1")  # the planner needs a thread
    assert code == 0, output
    (final,) = (root / ROOTS["results"] / roads.TARGET).rglob("checkpoint_final.pth")
    assert final.parent.parent.name == f"nnUNetTrainer_2steps_3per_1val_lr1en3__nnUNetPlans__{CONFIGURATION}"
