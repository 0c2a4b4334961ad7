"""Starts trainings as far as their receipt."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from plansguard.commands import train
from plansguard.commands.train import build, write
from plansguard.nnunet.workspace import Workspace
from plansguard.rules.engine.settings import ActiveSettings
from plansguard.subjects.request import Reading
from tests.rules.pg7_run.trainings import CT
from tests.support.variants import ROOTS


def leave(workspace: Path, accepted: Sequence[train.Accepted] = (), depth: str = "headers", **changes: Any) -> Path:
    """The receipt that a training of Dataset002 leaves in this workspace, by its file.

    ``changes`` are those of the order: the fold 0 of 3d_fullres for 50 steps.
    """
    wanted = {"dataset": CT, "configuration": "3d_fullres", "fold": "0", "trainer": "nnUNetTrainer_50steps"}
    order = train.TrainingRequest(**{**wanted, "device": "cpu", **changes})
    roots = Workspace(**{root: workspace / folder for root, folder in ROOTS.items()})
    run = train.prepare(roots, order, Reading(depth))
    report = train.judge(run, "train", ActiveSettings(), accepted)
    command = ["/somewhere/bin/plansguard", "train", CT, "3d_fullres", order.fold, "--steps", "50"]
    return write(run, build(run, report, command))
