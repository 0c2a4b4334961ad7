"""Edits that migrate plans with the real `migrate`."""

from __future__ import annotations

from pathlib import Path

from plansguard.migration.apply import migrate
from plansguard.migration.plan import MigrationRequest
from plansguard.nnunet.workspace import Workspace
from plansguard.rules.engine.settings import ActiveSettings
from tests.support.variants import ROOTS, Edit

GIVING, RECEIVING = "Dataset001_PretrainCT", "Dataset002_FinetuneCT"
MOVED = "preprocessed/PretrainPlans.json"
RECORD = "preprocessed/PretrainPlans.plansguard.json"


def move(workflow: str = "finetune", source: str = GIVING, name: str = "PretrainPlans") -> Edit:
    """Migrate ``source``'s default plans to the variant's dataset under this name."""

    def edit(workspace: Path, dataset: str) -> None:
        roots = Workspace(*(workspace / ROOTS[name] for name in ("raw", "preprocessed", "results")))
        migration = migrate(roots, MigrationRequest(source, dataset, name, workflow=workflow), ActiveSettings())
        assert migration.writes
        assert not migration.report.findings

    return edit


def fine_tuning(weights: Path | str, plans: str = "Pretrained") -> str:
    """The command that fine-tunes 3d_fullres of Dataset002 from these weights, as it is printed."""
    command = f"plansguard gate -- nnUNetv2_train 2 3d_fullres 0 -p {plans}"
    return f"{command} -tr nnUNetTrainer_250000steps_lr1en3 -pretrained_weights {weights}"
