"""Starts trainings as far as their receipt."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from plansguard import gate, receipt
from plansguard.settings import ActiveSettings
from plansguard.subject import Reading
from plansguard.workspace import Workspace
from tests.rules.run_variants import CT
from tests.variants import ROOTS


def leave(workspace: Path, accepted: Sequence[gate.Accepted] = (), depth: str = "headers", **changes: Any) -> Path:
    """The receipt that a training of Dataset002 leaves in this workspace, by its file.

    ``changes`` are those of the order: the fold 0 of 3d_fullres for 50 steps.
    """
    wanted = {"dataset": CT, "configuration": "3d_fullres", "fold": "0", "trainer": "nnUNetTrainer_50steps"}
    order = gate.Order(**{**wanted, "device": "cpu", **changes})
    roots = Workspace(**{root: workspace / folder for root, folder in ROOTS.items()})
    run = gate.prepare(roots, order, Reading(depth))
    report = gate.judge(run, "train", ActiveSettings(), accepted)
    command = ["/somewhere/bin/plansguard", "train", CT, "3d_fullres", order.fold, "--steps", "50"]
    return receipt.write(run, receipt.build(run, report, command))
