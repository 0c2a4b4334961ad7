"""``plansguard train --resume auto`` with the real nnU-Net: one command, typed until it ends with 0."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from plansguard.training.stop_reasons import STOPPED
from tests.support.command import start
from tests.support.stepping import CONFIGURATION, DATASET, ENVIRONMENT, PLANS, fold, make_workspace, steps_noted
from tests.support.variants import point_to

pytestmark = [
    pytest.mark.nnunet,
    pytest.mark.slow,
    pytest.mark.long,  # tests/commands/test_finetune_nnunet.py kills roads, whose trainings continue by the same option
    pytest.mark.skipif(os.name == "nt", reason="processes are forked and killed"),
]
TRAINER = "nnUNetTrainer_80steps_40per_1val"
COMMAND = (
    *("train", DATASET, CONFIGURATION, "0", "-p", PLANS, "-device", "cpu", "--steps", "80", "--per-epoch", "40"),
    *("--validation", "1", "--data", "headers", "--resume", "auto"),
)
#: Stops long before the last step, on every machine.
SOON = {**ENVIRONMENT, "PLANSGUARD_MAX_TIME": "1s"}


def test_one_command_until_it_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It begins, stops in time, continues where it stopped, and when it is typed once more it changes nothing."""
    root = make_workspace(tmp_path)
    point_to(root, monkeypatch)
    folder = fold(root, TRAINER)
    first = start(*COMMAND, environment=SOON)
    assert first.returncode == STOPPED, first.stdout + first.stderr
    assert "there is no checkpoint: a new training begins" in first.stderr
    step = steps_noted(folder, "checkpoint_latest.pth")["step"]
    second = start(*COMMAND, environment=ENVIRONMENT)
    assert second.returncode == 0, second.stdout + second.stderr
    assert f"checkpoint_latest.pth is continued, at step {step} of 80" in second.stderr
    end = steps_noted(folder, "checkpoint_final.pth")
    assert (step < end["step"], end["step"]) == (True, 80)
    assert (folder / "validation/summary.json").is_file()
    files = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    third = start(*COMMAND, environment=ENVIRONMENT)
    assert (third.returncode, third.stderr) == (0, "plansguard: this training is finished; nothing was started\n")
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == files
