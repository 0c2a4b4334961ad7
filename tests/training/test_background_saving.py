"""Checkpoints written in the background of a real training: the same bytes, at the right time, or a reason."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from plansguard.training.kept_checkpoints import kept_in
from plansguard.training.stop_reasons import STOPPED
from tests.support import stepping
from tests.support.stepping import Change, at, fold, steps_noted, train

pytestmark = [
    pytest.mark.nnunet,
    pytest.mark.slow,
    pytest.mark.skipif(os.name == "nt", reason="processes are forked and killed"),
]
EVERY = {"PLANSGUARD_SAVE_EVERY": "3", "PLANSGUARD_SAVE_TOTAL_LIMIT": "9"}
TOTAL = 10
TRAINER = f"nnUNetTrainer_{TOTAL}steps_1val"


# --- The same bytes


def _in_background(write: Callable[[Callable[..., None], Any, Any], None]) -> None:
    """Replace torch.save in the background; what nnU-Net saves in the main thread is saved as usual."""
    import torch

    whole = torch.save

    def save(checkpoint: Any, path: Any) -> None:
        if threading.current_thread() is threading.main_thread():
            whole(checkpoint, path)
        else:
            write(whole, checkpoint, path)

    torch.save = save


def _two_steps_later(trainer: Any, save: Callable[..., None], checkpoint: Any, path: Any) -> None:
    """Save when two more steps have changed the weights, the momentum, the log and the random numbers."""
    latest, deadline = min(trainer._state.step + 2, TOTAL), time.monotonic() + 60
    while trainer._state.step < latest:
        assert time.monotonic() < deadline, "the steps do not go on"
        time.sleep(0.002)
    save(checkpoint, path)


def _with_reference(trainer: Any) -> None:
    """Save each checkpoint in the foreground as well, by nnU-Net's own function, under the same name elsewhere."""
    from plansguard.artefacts.checkpoint.contents import STEPS
    from plansguard.training.checkpoint_saving import RANDOM, CheckpointSaving

    _in_background(partial(_two_steps_later, trainer))
    ours = trainer._write

    def write(path: Path, randoms: list[Any], finite: bool) -> None:
        folder = path.parent / f"reference_{trainer._state.step}"
        folder.mkdir(exist_ok=True)
        with trainer._as_saved({STEPS: trainer._state.as_json(), RANDOM: randoms}):
            super(CheckpointSaving, trainer).save_checkpoint(str(folder / f"{path.name}.tmp"))
        ours(path, randoms, finite)

    trainer._write = write


@pytest.mark.parametrize("base", ["nnUNetTrainer", "nnUNetTrainerAdam"])
def test_the_bytes_are_those_of_the_step(root: Path, base: str) -> None:
    """Of each checkpoint, and of the training that went on while it was written."""
    trainer = TRAINER.replace("nnUNetTrainer", base)
    ended = train(root, trainer, change=_with_reference, environment=EVERY)
    assert ended.code == 0, ended.said
    folder = fold(root, trainer)
    kept = kept_in(folder)
    assert list(kept) == [3, 6, 9]
    for step, path in kept.items():
        reference = folder / f"reference_{step}" / "checkpoint_latest.pth.tmp"
        assert path.read_bytes() == reference.read_bytes(), step
        assert steps_noted(folder, path.name)["step"] == step
    weights = stepping.weights(folder)
    stepping.without_checkpoints(folder)
    assert train(root, trainer, environment={"PLANSGUARD_SAVE_EVERY": "0"}).code == 0
    assert stepping.weights(folder) == weights


# --- Until it is written


def _slowly(trainer: Any, then: Change) -> None:
    """Save one second later, and do something else to the trainer."""

    def save(whole: Callable[..., None], checkpoint: Any, path: Any) -> None:
        time.sleep(1)
        whole(checkpoint, path)
        print("written")

    _in_background(save)
    then(trainer)


def _fails_at_step_5(trainer: Any) -> None:
    ours = trainer.train_step

    def step(batch: Any) -> Any:
        if trainer._state.step == 4:
            raise ValueError("no such luck")
        return ours(batch)

    trainer.train_step = step


@pytest.mark.parametrize(
    ("change", "code", "step"),
    [(_fails_at_step_5, 1, 3), (at(4, signal.SIGTERM), STOPPED, 4), (at(4, signal.SIGUSR1), STOPPED, 4)],
    ids=["error", "SIGTERM", "SIGUSR1"],
)
def test_the_end_waits_for_the_checkpoint(root: Path, change: Change, code: int, step: int) -> None:
    """The one of step 3, and the one of the step at which a training is stopped."""
    ended = train(root, TRAINER, change=partial(_slowly, then=change), environment=EVERY)
    assert ended.code == code, ended.said
    folder = fold(root, TRAINER)
    assert list(kept_in(folder)) == [3]
    assert steps_noted(folder, "checkpoint_latest.pth")["step"] == step
    assert ended.said.count("written\n") == (1 if step == 3 else 2)
    assert not list(folder.glob("*.tmp"))


def _full_and_fails(trainer: Any) -> None:
    """The first checkpoint cannot be written, and before that is known the training itself fails."""

    def save(*_: Any) -> None:
        time.sleep(1)
        raise RuntimeError("file write failed")

    _in_background(save)
    _fails_at_step_5(trainer)


def test_the_error_of_a_training_hides_no_failure_to_write(root: Path) -> None:
    ended = train(root, TRAINER, change=_full_and_fails, environment=EVERY)
    assert ended.code == 1
    assert "ValueError: no such luck" in ended.said
    assert "WARNING: " in ended.said
    assert "checkpoint_latest.pth could not be written: file write failed" in ended.said


# --- In the foreground


def _without_memory(trainer: Any) -> None:
    """For a copy."""

    def fail(_: Any) -> None:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory")

    def never(*_: Any) -> None:
        raise AssertionError("nothing was copied")

    trainer._copies.of = fail
    _in_background(never)


def _with_more_in_checkpoints(_: Any) -> None:
    """As trainers of others do that read and write what nnU-Net has saved."""
    from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
    from nnunetv2.training.nnUNetTrainer.variants.data_augmentation import nnUNetTrainerNoMirroring as module

    def save(self: Any, filename: str) -> None:
        import torch

        nnUNetTrainer.save_checkpoint(self, filename)
        checkpoint = torch.load(filename, weights_only=False)
        torch.save({**checkpoint, "more": "of others"}, filename)

    module.nnUNetTrainerNoMirroring.save_checkpoint = save


@pytest.mark.parametrize("change", [_without_memory, _with_more_in_checkpoints])
def test_what_cannot_be_copied_is_written_at_once(root: Path, change: Change) -> None:
    import torch

    trainer = TRAINER.replace("nnUNetTrainer", "nnUNetTrainerNoMirroring")
    ended = train(root, trainer, change=change, environment=EVERY)
    assert ended.code == 0, ended.said
    kept = {step: torch.load(path, weights_only=False) for step, path in kept_in(fold(root, trainer)).items()}
    assert list(kept) == [3, 6, 9]
    assert all(("more" in checkpoint) == (change is _with_more_in_checkpoints) for checkpoint in kept.values())
