"""Training for exactly N steps, with the real nnU-Net on the CPU: the same weights as stock, and as without a break."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from plansguard.artefacts.checkpoint.checkpoint import read_checkpoint
from plansguard.nnunet.install.trainer_folder import FOLDER as EXTENSION
from plansguard.training.kept_checkpoints import kept_in
from plansguard.training.schedule import StepSchedule
from plansguard.training.stop_reasons import STOPPED
from tests.support import stepping
from tests.support.stepping import (
    DATASET,
    PLANS,
    at,
    fold,
    log_lists,
    rates,
    second_stops,
    steps_noted,
    train,
    with_log,
)
from tests.support.variants import ROOTS

pytestmark = [
    pytest.mark.nnunet,
    pytest.mark.slow,
    pytest.mark.skipif(os.name == "nt", reason="processes are forked and killed"),
]
BROKEN = "nnUNetTrainer_23steps_10per_2val"


def _of_two_epochs(trainer: Any) -> None:
    trainer.num_epochs = 2


# --- Equal weights


def test_the_same_weights_as_stock(root: Path) -> None:
    """Two epochs of nnU-Net's own 250 steps, bit for bit."""
    ours = stepping.begin(root, "nnUNetTrainer_500steps_windowlr")
    stock = train(root, "nnUNetTrainer", change=_of_two_epochs)
    assert (stock.code, stepping.wait(ours).code) == (0, 0), stock.said + ours.said
    folders = fold(root, "nnUNetTrainer_500steps_windowlr"), fold(root, "nnUNetTrainer")
    weights = [stepping.weights(folder) for folder in folders]
    assert weights[0] == weights[1]
    lists = [log_lists(folder) for folder in folders]
    for name in ("train_losses", "val_losses", "mean_fg_dice", "ema_fg_dice", "lrs"):
        assert lists[0][name] == lists[1][name], name
    assert len(set(lists[0]["train_losses"])) == 2  # numbers, and not NaN
    assert lists[0]["lrs"] == [0.01, 0.01 * 0.5**0.9]


def test_the_same_weights_after_four_interruptions(root: Path) -> None:
    """Killed in a window and in the next one, stopped between steps and in a validation; continued each time."""
    unbroken = train(root, BROKEN, change=with_log)
    assert unbroken.code == 0, unbroken.said
    folder = fold(root, BROKEN)
    once = folder.with_name("unbroken")
    folder.rename(once)

    limit = {"PLANSGUARD_SAVE_TOTAL_LIMIT": "2"}
    every = {"PLANSGUARD_SAVE_EVERY": "4", **limit}
    assert train(root, BROKEN, change=at(6, signal.SIGKILL), environment=every).code == -signal.SIGKILL
    assert steps_noted(folder, "checkpoint_latest.pth")["step"] == 4
    every = {"PLANSGUARD_SAVE_EVERY": "10", **limit}  # the window's end: nnU-Net's own place for a checkpoint
    second = train(root, BROKEN, change=at(12, signal.SIGKILL), environment=every, go_on=True)
    assert second.code == -signal.SIGKILL, second.said
    assert "checkpoint_latest.pth, step 4" in second.said
    third = train(root, BROKEN, change=at(13, signal.SIGTERM), go_on=True)
    assert third.code == STOPPED, third.said
    assert "checkpoint_latest.pth, step 10" in third.said
    fourth = train(root, BROKEN, change=at(20, signal.SIGUSR1, validating=True), go_on=True)
    assert fourth.code == STOPPED, fourth.said
    assert "checkpoint_latest.pth, step 13" in fourth.said
    last = train(root, BROKEN, change=with_log, go_on=True)
    assert last.code == 0, last.said
    assert "checkpoint_latest.pth, step 20" in last.said
    kept = {step: steps_noted(folder, path.name)["step"] for step, path in kept_in(folder).items()}
    assert kept == {4: 4, 10: 10}
    for path in kept_in(folder).values():
        path.unlink()

    assert stepping.weights(folder) == stepping.weights(once)
    schedule = StepSchedule(23, 10)
    expected = [(step + 1, schedule.rate_at(step, 0.01)) for step in range(23)]
    assert rates(once) == expected
    assert (
        rates(folder) == expected[:6] + expected[4:12] + expected[10:]
    )  # two times two steps were lost with the kills
    assert steps_noted(folder)["step"] == 23
    lists = [log_lists(one) for one in (folder, once)]
    for name in lists[0]:
        assert len(lists[0][name]) == 3, name
        if "timestamps" not in name:
            assert lists[0][name] == lists[1][name], name
    assert "logging issue" not in second.said + third.said + fourth.said + last.said
    assert sorted(path.name for path in folder.glob("checkpoint_*")) == ["checkpoint_best.pth", "checkpoint_final.pth"]
    assert (folder / "progress.png").is_file()


@pytest.mark.parametrize(("total", "per"), [(1, 250), (7, 3), (4, 4)])
def test_exactly_as_many_steps(root: Path, total: int, per: int) -> None:
    name = f"nnUNetTrainer_{total}steps" + (f"_{per}per" if per != 250 else "") + "_1val_warmup1" * (total > 1)
    ended = train(root, name, change=with_log)
    assert ended.code == 0, ended.said
    assert [step for step, _ in rates(fold(root, name))] == list(range(1, total + 1))
    assert "logging issue" not in ended.said
    assert {len(values) for values in log_lists(fold(root, name)).values()} == {-(-total // per)}


def _with_shapes(trainer: Any) -> None:
    """Print the shape of every training batch."""
    ours = trainer.train_step

    def step(batch: Any) -> Any:
        print("batch", *batch["data"].shape)
        return ours(batch)

    trainer.train_step = step


@pytest.mark.parametrize("patch", [pytest.param([96, 76], marks=pytest.mark.long), [116, 96]])
def test_a_patch_that_is_larger_than_the_images(root: Path, patch: list[int]) -> None:
    """1.6 and 2 times the median image, which has 58 x 47 voxels: nnU-Net pads the images, and the network learns."""
    small, large = "nnUNetTrainer_100steps_50per_10val", "nnUNetTrainer_40steps_20per_10val"
    assert train(root, small).code == 0
    plans = root / ROOTS["preprocessed"] / DATASET / f"{PLANS}.json"
    value = json.loads(plans.read_bytes())
    value["configurations"][stepping.CONFIGURATION]["patch_size"] = patch
    plans.write_text(json.dumps(value))
    weights = fold(root, small) / "checkpoint_final.pth"
    arguments = [*stepping.words(large), "-pretrained_weights", str(weights)]
    ended = stepping.wait(stepping.begin_launch(root, arguments, change=_with_shapes))
    assert ended.code == 0, ended.said
    assert ended.said.count(f"batch 2 2 {patch[0]} {patch[1]}\n") == 40
    log = log_lists(fold(root, large))
    assert log["train_losses"][1] < log["train_losses"][0]
    assert log["mean_fg_dice"][1] > 0.3


def test_two_processes(root: Path) -> None:
    """The same number of steps and the same weights in both; only one of them is stopped, and both continued."""
    trainer = "nnUNetTrainer_7steps_4per_1val"
    for ended in stepping.launch_in_two(root, trainer):
        assert ended.code == 0, ended.said
    folder = fold(root, trainer)
    once = folder.with_name("unbroken")
    folder.rename(once)
    for ended in stepping.launch_in_two(root, trainer, change=second_stops):
        assert ended.code == STOPPED, ended.said
    assert steps_noted(folder, "checkpoint_latest.pth")["step"] == 3
    for rank, ended in enumerate(stepping.launch_in_two(root, trainer, srun=True, go_on=True)):
        assert ended.code == 0, ended.said
        assert f"steps of rank {rank}: 7" in ended.said
    ranks = [_bytes(one / f"rank-{rank}.pt") for one in (once, folder) for rank in range(2)]
    assert ranks[0] == ranks[1] == ranks[2] == ranks[3]


def test_two_processes_load_pretrained_weights(root: Path) -> None:
    """Onto the device of each, and not onto the GPU of its number; a step of almost no length keeps them.

    With ``keephead`` the segmentation layers as well, which nnU-Net leaves out.
    """
    import torch

    first, then = "nnUNetTrainer_5steps_1val", "nnUNetTrainer_1steps_1val_lr1en12_keephead"
    assert train(root, first).code == 0
    checkpoint = fold(root, first) / "checkpoint_final.pth"
    for ended in stepping.launch_in_two(root, then, weights=checkpoint):
        assert ended.code == 0, ended.said
    before = torch.load(checkpoint, weights_only=False)["network_weights"]
    after = torch.load(fold(root, then) / "rank-1.pt")
    assert all(torch.allclose(value, after[name]) for name, value in before.items())


def _bytes(path: Path) -> dict[str, bytes]:
    import torch

    return {name: value.numpy().tobytes() for name, value in torch.load(path).items()}


# --- The gradient scaler


def _with_infinite_losses(trainer: Any, calls: frozenset[int] | None) -> None:
    """A gradient scaler, as on a GPU, and losses that are infinite at these calls, or at all."""
    import itertools

    import torch

    with_log(trainer)
    trainer.grad_scaler = torch.amp.GradScaler("cpu")
    counter = itertools.count(1)
    build = trainer._build_loss

    def loss() -> Any:
        finite = build()

        def computed(*arguments: Any) -> Any:
            result = finite(*arguments)
            if not torch.is_grad_enabled():
                return result
            number = next(counter)
            return result * float("inf") if calls is None or number in calls else result

        return computed

    trainer._build_loss = loss


def test_skipped_steps_are_made_again(root: Path) -> None:
    trainer = "nnUNetTrainer_6steps_4per_1val"
    ended = train(root, trainer, change=partial(_with_infinite_losses, calls=frozenset({2, 3, 7})))
    assert ended.code == 0, ended.said
    notes = steps_noted(fold(root, trainer))
    assert (notes["step"], notes["skipped"]) == (6, 3)
    assert [step for step, _ in rates(fold(root, trainer))] == [1, 2, 3, 4, 5, 6]
    assert "3 more steps skipped by the gradient scaler" in ended.said


def test_a_loss_that_stays_infinite_ends_the_training(root: Path) -> None:
    ended = train(root, "nnUNetTrainer_6steps", change=partial(_with_infinite_losses, calls=None))
    assert ended.code == 1
    assert "skipped 100 steps in a row at step 0" in ended.said


# --- Stopping


def test_time_that_is_used_up(root: Path) -> None:
    trainer = "nnUNetTrainer_100000steps_5000per"
    ended = train(root, trainer, environment={"PLANSGUARD_MAX_TIME": "2s"})
    assert ended.code == STOPPED, ended.said
    step = steps_noted(fold(root, trainer), "checkpoint_latest.pth")["step"]
    assert f"Stopped at step {step:,} of 100,000" in ended.said


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_to_the_training_and_its_loaders(root: Path, number: int) -> None:
    """As a queue ends a job, Ctrl-C in a terminal, and its end: every process of it receives the signal."""
    trainer = "nnUNetTrainer_100000steps_5000per"
    running = stepping.begin(root, trainer, environment={"nnUNet_n_proc_DA": "2"}, change=with_log)
    log = fold(root, trainer) / "rates.log"
    while running.process.is_alive() and not log.exists():
        running.process.join(0.1)
    os.killpg(running.process.pid, number)
    ended = stepping.wait(running)
    assert ended.code == STOPPED, ended.said
    with pytest.raises(ProcessLookupError):
        os.killpg(running.process.pid, 0)
    assert steps_noted(fold(root, trainer), "checkpoint_latest.pth")["step"] >= 1


def _dies_while_saving(trainer: Any, number: int, *, begun: bool) -> None:
    """Killed when a checkpoint is copied, before it is written, or with half of it written."""
    import torch

    whole = torch.save
    written: list[Any] = []

    def save(checkpoint: Any, path: Any) -> None:
        written.append(path)
        if len(written) < number or begun:
            whole(checkpoint, path)
        if len(written) == number:
            if begun:
                os.truncate(path, Path(path).stat().st_size // 2)
            os.kill(os.getpid(), signal.SIGKILL)

    torch.save = save


@pytest.mark.parametrize("begun", [False, True])
def test_a_kill_before_the_first_checkpoint_is_written(root: Path, begun: bool) -> None:
    """The training begins again, over what the first attempt has left."""
    trainer, dies = "nnUNetTrainer_9steps_1val", partial(_dies_while_saving, number=1, begun=begun)
    killed = train(root, trainer, change=dies, environment={"PLANSGUARD_SAVE_EVERY": "3"})
    assert killed.code == -signal.SIGKILL
    left = [path.name for path in fold(root, trainer).glob("checkpoint*")]
    assert left == ["checkpoint_latest.pth.tmp"] * begun
    ended = train(root, trainer)
    assert ended.code == 0, ended.said
    assert steps_noted(fold(root, trainer))["step"] == 9


@pytest.mark.parametrize("begun", [False, True])
def test_a_kill_while_saving_loses_no_checkpoint(root: Path, begun: bool) -> None:
    trainer, dies = "nnUNetTrainer_9steps_1val", partial(_dies_while_saving, number=2, begun=begun)
    killed = train(root, trainer, change=dies, environment={"PLANSGUARD_SAVE_EVERY": "3"})
    assert killed.code == -signal.SIGKILL
    assert steps_noted(fold(root, trainer), "checkpoint_latest.pth")["step"] == 3
    ended = train(root, trainer, go_on=True)
    assert ended.code == 0, ended.said
    assert "Continuing from checkpoint_latest.pth, step 3" in ended.said


# --- What is continued


@pytest.fixture
def stopped(root: Path) -> Path:
    """The fold of a training of BROKEN that was stopped at step 13; its best checkpoint is of step 10."""
    ended = train(root, BROKEN, change=at(13, signal.SIGTERM))
    assert ended.code == STOPPED, ended.said
    return fold(root, BROKEN)


@pytest.mark.long
def test_the_newest_whole_checkpoint_is_continued(root: Path, stopped: Path) -> None:
    """Neither a damaged one, nor one of an earlier training, whatever their names."""
    latest = stopped / "checkpoint_latest.pth"
    kept = latest.read_bytes()
    os.truncate(latest, len(kept) // 2)
    shutil.copy(latest, stopped / "checkpoint_final.pth")
    ended = train(root, BROKEN, go_on=True)
    assert ended.code == 0, ended.said
    assert "Continuing from checkpoint_best.pth, step 10" in ended.said
    assert "WARNING: not continued from checkpoint_latest.pth" in ended.said
    final = (stopped / "checkpoint_final.pth").read_bytes()

    shutil.rmtree(stopped)
    assert train(root, BROKEN, change=at(13, signal.SIGTERM)).code == STOPPED
    (stopped / "checkpoint_final.pth").write_bytes(final)
    ended = train(root, BROKEN, go_on=True)
    assert ended.code == 0, ended.said
    assert "Continuing from checkpoint_latest.pth, step 13" in ended.said
    assert "checkpoint_final.pth: it is of another training" in ended.said


def test_what_cannot_be_continued_is_refused(root: Path, stopped: Path) -> None:
    folder = root / ROOTS["preprocessed"] / DATASET
    plans, dataset_json, splits = (folder / f"{name}.json" for name in (PLANS, "dataset", "splits_final"))
    content = json.loads(plans.read_bytes())
    content["configurations"]["2d"]["batch_size"] = 4
    assert "2d.batch_size was 2 and is 4" in _refused(root, plans, content)
    content = {**json.loads(dataset_json.read_bytes()), "labels": {"background": 0, "other": 1}}
    assert "dataset.json changed since checkpoint_latest.pth was written: labels" in _refused(
        root, dataset_json, content
    )
    content = json.loads(splits.read_bytes())
    content[0]["train"], content[0]["val"] = content[0]["train"][:-1], [*content[0]["val"], content[0]["train"][-1]]
    assert "it had 4 training and 2 validation cases, now 3 training" in _refused(root, splits, content)

    other = fold(root, BROKEN.replace("23", "40"))
    shutil.copytree(stopped, other)
    ended = train(root, BROKEN.replace("23", "40"), go_on=True)
    assert f"is of {BROKEN}: if {BROKEN.replace('23', '40')} continued it, its learning rate would jump" in ended.said
    assert ended.code == 1
    assert "Traceback" not in ended.said
    ended = train(root, BROKEN.replace("23", "50"), go_on=True)
    assert f"checkpoints of fold_0 are in {BROKEN}__Tiny__2d" in ended.said


def _refused(root: Path, path: Path, content: Any) -> str:
    """The output of a training with this content in that file."""
    before = path.read_bytes()
    path.write_text(json.dumps(content, indent=4))
    ended = train(root, BROKEN, go_on=True)
    path.write_bytes(before)
    assert ended.code == 1, ended.said
    assert "Traceback" not in ended.said
    return ended.said


def test_nothing_to_continue_and_something_to_lose(root: Path) -> None:
    trainer = "nnUNetTrainer_3steps_1val"
    ended = train(root, trainer, go_on=True)
    assert ended.code == 1
    assert "it contains no checkpoint" in ended.said
    assert train(root, trainer).code == 0
    final = (fold(root, trainer) / "checkpoint_final.pth").read_bytes()
    ended = train(root, trainer)
    assert ended.code == 1
    assert "contains a training already (checkpoint_final.pth, checkpoint_best.pth)" in ended.said
    ended = train(root, trainer, go_on=True)
    assert ended.code == 0
    assert "only the final validation is left" in ended.said
    (fold(root, trainer) / "validation").mkdir()
    (fold(root, trainer) / "validation" / "summary.json").write_text("{}")
    ended = train(root, trainer, go_on=True)
    assert ended.code == 1
    assert "this training is finished: 3 of 3 steps" in ended.said
    assert (fold(root, trainer) / "checkpoint_final.pth").read_bytes() == final


@pytest.mark.parametrize(
    ("trainer", "said"),
    [
        ("nnUNetTrainerCosAnneal_3steps", "a learning rate schedule of its own (CosineAnnealingLR)"),
        ("nnUNetTrainer_03steps", "write nnUNetTrainer_3steps"),
        ("nnUNetTrainerNoMiroring_3steps", "did you mean nnUNetTrainerNoMirroring?"),
    ],
)
def test_an_unusable_trainer_is_refused(root: Path, trainer: str, said: str) -> None:
    ended = train(root, trainer)
    assert ended.code == 1
    assert said in ended.said
    assert "Traceback" not in ended.said


# --- nnU-Net's own commands


@pytest.mark.long
def test_stock_commands_find_the_trainer(root: Path, tmp_path: Path) -> None:
    """In fresh processes: training with its final validation, and prediction."""
    folders = {name: str(root / name) for name in ROOTS.values()}
    plain = {**os.environ, **stepping.ENVIRONMENT, **folders}
    with_us = {**plain, "nnUNet_extTrainer": str(EXTENSION)}
    trainer = "nnUNetTrainerNoMirroring_17steps_5per_1val"
    _command(["nnUNetv2_train", "3", "2d", "0", "-tr", trainer, "-p", PLANS, "-device", "cpu"], with_us)
    checkpoint = read_checkpoint(fold(root, trainer) / "checkpoint_final.pth")
    assert (checkpoint.trainer, checkpoint.mirroring_axes) == (trainer, ())
    assert (fold(root, trainer) / "validation" / "summary.json").is_file()

    images = tmp_path / "images"
    images.mkdir()
    for path in (root / ROOTS["raw"] / DATASET / "imagesTr").glob("head_000_*"):
        shutil.copy(path, images)
    predict = ["nnUNetv2_predict", "-i", str(images), "-d", "3", "-c", "2d", "-f", "0", "-tr", trainer, "-p", PLANS]
    predict += ["-device", "cpu", "-npp", "0", "-nps", "0", "-o", str(tmp_path / "predicted")]
    _command(predict, with_us)
    assert (tmp_path / "predicted" / "head_000.nii.gz").is_file()


def _command(arguments: list[str], environment: dict[str, str]) -> None:
    from plansguard.nnunet import runtime

    program = runtime.command(arguments[0])
    assert program is not None
    done = subprocess.run(
        [program, *arguments[1:]], env=environment, capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_portable_checkpoint_predicts_without_us(root: Path, tmp_path: Path) -> None:
    """Voxel by voxel what the same weights predict with our trainer."""
    trainer = "nnUNetTrainerNoMirroring_30steps_1val"
    images = tmp_path / "images"
    images.mkdir()
    for path in (root / ROOTS["raw"] / DATASET / "imagesTr").glob("head_000_*"):
        shutil.copy(path, images)
    assert train(root, trainer).code == 0
    assert read_checkpoint(fold(root, trainer) / "checkpoint_final.pth").trainer == trainer
    ended = stepping.predict(root, trainer, images, tmp_path / "never", finds_trainers=False)
    assert ended.code == 1
    ended = stepping.predict(root, trainer, images, tmp_path / "ours", finds_trainers=True)
    assert ended.code == 0, ended.said
    shutil.rmtree(fold(root, trainer))

    ended = train(root, trainer, environment={"PLANSGUARD_PORTABLE": "1"})
    assert ended.code == 0, ended.said
    assert read_checkpoint(fold(root, trainer) / "checkpoint_final.pth").trainer == "nnUNetTrainerNoMirroring"
    ended = stepping.predict(root, trainer, images, tmp_path / "theirs", finds_trainers=False)
    assert ended.code == 0, ended.said
    predicted = [(tmp_path / who / "head_000.nii.gz").read_bytes() for who in ("ours", "theirs")]
    assert predicted[0] == predicted[1]
    assert steps_noted(fold(root, trainer))["trainer"] == trainer
