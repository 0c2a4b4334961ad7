"""The road from two datasets to a fine-tuned network, and eight mistakes on it: results of the gate and of nnU-Net.

The table in docs/road.md is compared with the results.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.conftest import ROOT
from tests.support import stepping
from tests.support.command import run, start
from tests.support.demos import Session, assert_shown, play
from tests.support.variants import ROOTS

#: tests/commands/test_finetune_nnunet.py goes the same road by one command, and tests/rules judge the same mistakes.
pytestmark = [pytest.mark.nnunet, pytest.mark.slow, pytest.mark.long]

PRETRAINING, FINETUNING = "Dataset001_PretrainCT", "Dataset002_FinetuneCT"
MOVED, OWN = (
    f"nnUNet_preprocessed/{FINETUNING}/PretrainPlans.json",
    f"nnUNet_preprocessed/{FINETUNING}/nnUNetPlans.json",
)
SMALL = f"nnUNet_preprocessed/{PRETRAINING}/SmallPlans.json"
WEIGHTS = (
    f"nnUNet_results/{PRETRAINING}/nnUNetTrainer_60steps_30per_5val__SmallPlans__3d_fullres/fold_0/checkpoint_final.pth"
)
TRAIN = ("2", "3d_fullres", "0", "-p", "PretrainPlans", "-pretrained_weights", WEIGHTS, "-device", "cpu")
MOVE = "nnUNetv2_move_plans_between_datasets"


#: A prediction by chance has a Dice of about 0.02.
LEARNED = 0.7


@pytest.fixture(scope="module")
def road(tmp_path_factory: pytest.TempPathFactory) -> Session:
    """Run the demo of the road.

    nnU-Net's trainings have no seed, and about one in eight of this small network predicts only background. Then the
    demo is run again, three times at most.
    """
    for _ in range(2):
        session = play("road.py", tmp_path_factory.mktemp("road"))
        if dice_of(session) > LEARNED:
            return session
    return play("road.py", tmp_path_factory.mktemp("road"))


def dice_of(session: Session) -> float:
    """Return the Dice of kidneys in the validation case, two percent of whose voxels are kidneys."""
    import SimpleITK

    files = "predicted/fine_000.nii.gz", f"{ROOTS['raw']}/{FINETUNING}/labelsTr/fine_000.nii.gz"
    images = [SimpleITK.ReadImage(str(session.workspace / file)) for file in files]
    predicted, true = (SimpleITK.GetArrayFromImage(image) == 1 for image in images)
    assert true.mean() < 0.05
    return float(2 * (predicted & true).sum() / (predicted.sum() + true.sum()))


@pytest.fixture
def workspace(road: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Copy the demo's workspace from before the fine-tuning; make it the current folder and nnU-Net's."""
    shutil.copytree(road.workspace, tmp_path / "workspace", ignore=shutil.ignore_patterns("images", "predicted"))
    monkeypatch.chdir(tmp_path / "workspace")
    shutil.rmtree(Path(ROOTS["results"]) / FINETUNING)
    for name in ROOTS.values():
        monkeypatch.setenv(name, name)
    for name, value in stepping.ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    return tmp_path / "workspace"


# --- The road


def test_the_readme_shows_the_road(road: Session) -> None:
    assert_shown(road)


def test_what_comes_next(road: Session) -> None:
    """Each command prints the next one, with the options of this road."""
    typed = [command for command, _, _ in road.played]
    (output,) = road.outputs("plansguard preprocess -d 2 -p PretrainPlans -c 3d_fullres -np 1 --yes")
    check, _ = output.partition("Next:\n")[2].strip().splitlines()
    assert check.strip() in typed
    (output,) = (one for command, one, code in road.played if command.startswith("plansguard train 2") and not code)
    predict = "-d 2 -c 3d_fullres -f 0 -p PretrainPlans -tr nnUNetTrainer_80steps_20per_5val_lr5en3 -device cpu"
    verify, predicts = output.partition("Next:\n")[2].strip().splitlines()
    assert verify.strip() in typed
    assert predicts.strip() == f"plansguard gate -- nnUNetv2_predict -i IMAGES -o SEGMENTATIONS {predict}"


def test_what_was_learned(road: Session) -> None:
    assert dice_of(road) > LEARNED


def test_killed_and_continued(workspace: Path) -> None:
    """SIGKILL to the whole training, between two checkpoints; then the same steps in all."""
    options = "--steps 12 --per-epoch 6 --validation 2 --save-every 2 --lr 0.001"
    words = ["train", *TRAIN, *options.split()]
    command = [sys.executable, "-m", "plansguard", *words]
    training = subprocess.Popen(
        command, env={**os.environ, "PYTHONPATH": str(ROOT)}, start_new_session=True, stdout=subprocess.DEVNULL
    )
    (folder,) = _appears(f"{ROOTS['results']}/{FINETUNING}/*/fold_0/checkpoint_latest.pth", training)
    os.killpg(training.pid, signal.SIGKILL)
    assert training.wait() == -signal.SIGKILL
    without_weights = [word for word in words if word not in ("-pretrained_weights", WEIGHTS)]
    done = subprocess.run(
        [*command[:3], *without_weights, "--c"], env={**os.environ, "PYTHONPATH": str(ROOT)}, check=False
    )
    assert done.returncode == 0
    assert stepping.steps_noted(folder.parent)["step"] == 12
    assert run("verify-receipt", str(folder.parent)).code == 0
    starts = json.loads((folder.parent / "plansguard_receipt.json").read_bytes())["starts"]
    assert [start["command"] for start in starts] == [["plansguard", *words], ["plansguard", *without_weights, "--c"]]


def _appears(pattern: str, while_it: subprocess.Popen[bytes]) -> list[Path]:
    while while_it.poll() is None:
        if found := list(Path().glob(pattern)):
            return found
        time.sleep(0.05)
    raise AssertionError("the training ended before its first checkpoint")


# --- Mistakes


class Turn(NamedTuple):
    """A mistake: how it is made, the command that follows, and its name in docs/road.md."""

    title: str
    make: Callable[[], None]
    move: tuple[str, ...] = ()
    train: tuple[str, ...] = TRAIN


def nothing() -> None:
    """Change nothing: the command itself is wrong."""


def edited(pointer: str, value: Any) -> Callable[[], None]:
    """Edit a field of 3d_fullres in the migrated plans."""

    def edit() -> None:
        plans = json.loads(Path(MOVED).read_bytes())
        plans["configurations"]["3d_fullres"][pointer] = value
        Path(MOVED).write_text(json.dumps(plans, indent=4))

    return edit


def stale_data() -> None:
    """Preprocess with other plans of the same name, and restore the right ones without preprocessing."""
    right = Path(MOVED).read_bytes()
    edited("spacing", [2.5, 1.2, 1.2])()
    _nnunet("nnUNetv2_preprocess", "-d", "2", "-plans_name", "PretrainPlans", "-c", "3d_fullres", "-np", "1")
    Path(MOVED).write_bytes(right)
    Path(f"{MOVED[:-5]}_3d_fullres.stamp.json").unlink()  # nnU-Net's own preprocessing writes none


def foreign_weights() -> None:
    """Replace the checkpoint by one of the same network that was trained on other spacings."""
    plans = json.loads(Path(SMALL).read_bytes())
    plans["plans_name"] = "OtherPlans"
    plans["configurations"]["3d_fullres"].update(spacing=[5.0, 1.6, 1.6], data_identifier="OtherPlans_3d_fullres")
    Path(SMALL).with_name("OtherPlans.json").write_text(json.dumps(plans, indent=4))
    _nnunet("nnUNetv2_preprocess", "-d", "1", "-plans_name", "OtherPlans", "-c", "3d_fullres", "-np", "1")
    words = ["1", "3d_fullres", "0", "-p", "OtherPlans", "-tr", "nnUNetTrainer_2steps", "-device", "cpu"]
    assert stepping.wait(stepping.begin_launch(Path.cwd(), words)).code == 0
    (other,) = Path(ROOTS["results"]).glob("*/nnUNetTrainer_2steps__OtherPlans__3d_fullres/fold_0/checkpoint_final.pth")
    shutil.copyfile(other, WEIGHTS)


def own_data() -> None:
    """Preprocess the dataset with its own plans as well."""
    _nnunet("nnUNetv2_preprocess", "-d", "2", "-plans_name", "nnUNetPlans", "-c", "3d_fullres", "-np", "1")


TURNS = (
    Turn("plans moved back", nothing, ("-s", "2", "-t", "1", "-sp", "PretrainPlans", "-tp", "BackPlans")),
    Turn("the default name as `-tp`", nothing, ("-s", "1", "-t", "2", "-sp", "SmallPlans", "-tp", "nnUNetPlans")),
    Turn("`spacing` edited after the move", edited("spacing", [2.5, 2.0, 2.0])),
    Turn("`normalization_schemes` edited after the move", edited("normalization_schemes", ["ZScoreNormalization"])),
    Turn("`patch_size` edited after the move", edited("patch_size", [16, 30, 32])),
    Turn("stale data", stale_data),
    Turn("foreign weights", foreign_weights),
    Turn("`-p` forgotten", own_data, train=("2", "3d_fullres", "0", "-pretrained_weights", WEIGHTS, "-device", "cpu")),
)
ROW = re.compile(r"^\| (.+?) \| (PG[^|]+) \| (.+?) \| (.+?) \|$", re.MULTILINE)


@pytest.mark.parametrize("turn", TURNS, ids=lambda turn: turn.title)
def test_wrong_turn(turn: Turn, workspace: Path) -> None:
    """The gate reports the codes of the table, and the road before its first step; nnU-Net alone behaves as there."""
    codes, on_road, alone = {title: rest for title, *rest in ROW.findall(_table())}[turn.title]
    turn.make()
    before = _contents(workspace)
    assert_told(turn, on_road)
    words = ["--", MOVE, *turn.move] if turn.move else [*turn.train, "--steps", "4", "--lr", "0.001"]
    done = start("gate" if turn.move else "train", "--output", "json=findings", *words)
    assert done.returncode == 1, done.stdout + done.stderr
    findings = json.loads(Path("findings").read_bytes())["findings"]
    assert {one["code"] for one in findings if one["severity"] == "error"} == set(codes.split(", "))
    assert _contents(workspace) == before
    began = time.monotonic()
    said = _nnunet(MOVE, *turn.move) if turn.move else _train_alone(workspace, turn.train)
    print(f"{turn.title}: {said or 'silent'}, after {time.monotonic() - began:.1f} s")
    assert alone.startswith("stops" if said else "silent")
    shown = re.findall(r"`(.+?)(?: \.\.\.)?`", alone) if said else []
    assert all(said.startswith(one) for one in shown)


def assert_told(turn: Turn, expected: str) -> None:
    """Check what ``plansguard finetune --dry-run`` says before its first step: codes, or that it cannot happen."""
    moved = turn.move or ("-s", "1", "-t", "2", "-sp", "SmallPlans", "-tp", "PretrainPlans")
    words = (*moved, "-c", "3d_fullres", "-f", "0", "--steps", "4", "-device", "cpu")
    done = start("finetune", *words, "--dry-run", "--output", "json")
    road = json.loads(done.stdout)
    told = {one["code"] for one in road["report"]["findings"] if one["severity"] == "error"}
    for step in road["steps"]:
        told |= set(re.findall(r"PG\d{3}", step["because"])) if step["state"] == "stale" else set()
    assert told == set(re.findall(r"PG\d{3}", expected)), (turn.title, done.stdout)
    assert told or expected.startswith("cannot happen")


def test_the_table_has_no_other_rows() -> None:
    assert [title for title, *_ in ROW.findall(_table())] == [turn.title for turn in TURNS]


def _table() -> str:
    return (ROOT / "docs/road.md").read_text(encoding="utf-8")


def _contents(folder: Path) -> dict[Path, bytes]:
    documents = [*folder.rglob("*.json"), *folder.rglob("*.pth")]
    return {path: path.read_bytes() for path in documents}


def _nnunet(command: str, *arguments: str) -> str:
    """Run a command of nnU-Net, which must succeed; discard its output."""
    program = Path(sys.executable).with_name(command)
    subprocess.run([program, *arguments], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return ""


def _train_alone(workspace: Path, words: tuple[str, ...]) -> str:
    """Run the stock trainer for four steps without its final validation; return the end of its traceback, if any."""
    ended = stepping.wait(stepping.begin_launch(workspace, [*words, "-tr", "nnUNetTrainer"], change=four_steps))
    return "" if ended.code == 0 else str(re.findall(r"^\w+Error: .*$", ended.said, re.MULTILINE)[-1])


def four_steps(trainer: Any) -> None:
    """One epoch of four steps."""
    trainer.num_epochs, trainer.num_iterations_per_epoch, trainer.num_val_iterations_per_epoch = 1, 4, 1
