"""Findings of the gate about a folder of results, beside what the real nnU-Net then does without a message."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from plansguard.artefacts.checkpoint.checkpoint import read_checkpoint
from plansguard.commands import train
from plansguard.core.report import Finding, Severity
from plansguard.nnunet.workspace import Workspace
from plansguard.rules.engine.settings import ActiveSettings
from plansguard.subjects.request import Reading
from tests.support import stepping
from tests.support.nnunets import HEAD
from tests.support.stepping import CONFIGURATION, DATASET, PLANS
from tests.support.training_records import training_values
from tests.support.variants import ROOTS

pytestmark = [
    pytest.mark.nnunet,
    pytest.mark.slow,
    pytest.mark.skipif(os.name == "nt", reason="processes are forked and killed"),
]
TRAINER = "Quick"
FINAL, LATEST, BEST = (f"checkpoint_{name}.pth" for name in ("final", "latest", "best"))
_SOURCE = f"""{HEAD}class Quick(nnUNetTrainer):
    def __init__(self, plans, configuration, fold, dataset_json, device=None):
        super().__init__(plans, configuration, fold, dataset_json, device)
        self.num_iterations_per_epoch = 2
        self.num_val_iterations_per_epoch = 1
        self.num_epochs = EPOCHS
"""


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A dataset that is ready to be trained by a trainer of three epochs."""
    for folder in ROOTS.values():
        monkeypatch.setenv(folder, str(tmp_path / folder))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.setenv("nnUNet_extTrainer", str(tmp_path / "trainers"))
    (tmp_path / "trainers").mkdir()
    _makes(tmp_path, 3)
    return stepping.make_workspace(tmp_path)


def _makes(root: Path, epochs: int) -> None:
    """The trainer makes this many epochs from now on."""
    (root / "trainers" / "quick.py").write_text(_SOURCE.replace("EPOCHS", str(epochs)))


def _findings(*words: str) -> dict[str, Finding]:
    """The findings about the folder of results, by code."""
    arguments = [DATASET, CONFIGURATION, "0", "-p", PLANS, "-tr", TRAINER, "-device", "cpu", *words]
    run = train.prepare(Workspace.from_environment(), training_values(arguments), Reading("headers"))
    findings = train.judge(run, "gate", ActiveSettings()).findings
    return {one.code: one for one in findings if "PG720" < one.code < "PG731"}


def _trained(root: Path, **options: Any) -> str:
    environment = {"nnUNet_extTrainer": str(root / "trainers")}
    ended = stepping.train(root, TRAINER, environment=environment, **options)
    assert ended.code == 0, ended.said
    return ended.said


def _killed_after_one_epoch(trainer: Any) -> None:
    ours = trainer.on_epoch_end
    trainer.save_every = 1

    def end() -> None:
        ours()
        os._exit(0)

    trainer.on_epoch_end = end


@pytest.mark.long
def test_what_nnunet_does_without_a_message(root: Path) -> None:
    folder = stepping.fold(root, TRAINER)

    # --c and nothing there: it starts from scratch.
    assert set(_findings("--c")) == {"PG722"}
    assert set(_findings("--val")) == {"PG723"}
    assert _findings() == {}
    output = _trained(root, go_on=True)
    assert "Starting a new training" in output
    assert "Epoch 2" in output
    first = read_checkpoint(folder / FINAL)
    assert first.current_epoch == 3

    # Once more without --c: it overwrites. The job is killed after an epoch, and --c takes the old final checkpoint.
    assert set(_findings()) == {"PG721"}
    assert set(_findings("--c")) == set()  # its validation was not done yet
    _trained(root, change=_killed_after_one_epoch)
    assert read_checkpoint(folder / LATEST).current_epoch == 1
    found = _findings("--c")
    assert set(found) == {"PG725"}
    assert found["PG725"].severity is Severity.ERROR
    assert "1 epoch lost" in found["PG725"].message

    # Nothing is left to train: the final checkpoint is written again, and the new training's is deleted.
    output = _trained(root, go_on=True)
    assert "Epoch 0" not in output
    assert "Epoch 3" not in output
    assert read_checkpoint(folder / FINAL).logging == first.logging
    assert not (folder / LATEST).exists()
    (folder / BEST).unlink()
    (folder / "validation").mkdir()
    (folder / "validation" / "summary.json").write_text("{}")
    assert set(_findings("--c")) == {"PG727"}

    # More epochs for a finished training, and a smaller patch: the rate jumps, and the change leaves no trace.
    shutil.rmtree(folder / "validation")
    _makes(root, 20)
    plans = root / ROOTS["preprocessed"] / DATASET / f"{PLANS}.json"
    content = json.loads(plans.read_bytes())
    content["configurations"][CONFIGURATION]["patch_size"] = [16, 16]
    plans.write_text(json.dumps(content, indent=4))
    found = _findings("--c")
    assert set(found) == {"PG728", "PG729"}
    assert found["PG729"].severity is Severity.WARNING
    assert "2d.patch_size was [32, 32] and is [16, 16]" in found["PG729"].message
    output = _trained(root, go_on=True, change=_killed_after_one_epoch)
    rates = [line.rpartition(": ")[2] for line in output.splitlines() if "Current learning rate" in line]
    assert [f"{float(rate):.2g}" for rate in rates] == [found["PG728"].message.rpartition(" to ")[2].partition(":")[0]]
    checkpoint = read_checkpoint(folder / LATEST)
    assert checkpoint.current_epoch == 4
    assert checkpoint.plans is not None
    assert checkpoint.plans["configurations"][CONFIGURATION]["patch_size"] == [32, 32]
