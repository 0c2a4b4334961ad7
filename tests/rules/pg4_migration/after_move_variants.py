"""PG40x: plans that moved, edited or left unused afterwards. The move itself is made by the real `migrate`."""

from __future__ import annotations

import os
from pathlib import Path

from plansguard.migration.apply import migrate
from plansguard.migration.plan import MigrationRequest
from plansguard.nnunet.workspace import Workspace
from plansguard.rules.engine.settings import ActiveSettings
from tests.support.variants import ROOTS, Edit, Variant, copy, place, put

GIVING, RECEIVING = "Dataset001_PretrainCT", "Dataset002_FinetuneCT"
MOVED = "preprocessed/PretrainPlans.json"
CONFIGURATION = "/configurations/3d_fullres"
RESULTS = "results/nnUNetTrainer__nnUNetPlans__3d_fullres"


def move(workflow: str = "finetune", source: str = GIVING) -> Edit:
    """Migrate ``source``'s default plans to the variant's dataset as PretrainPlans."""

    def edit(workspace: Path, dataset: str) -> None:
        roots = Workspace(*(workspace / ROOTS[name] for name in ("raw", "preprocessed", "results")))
        migration = migrate(
            roots, MigrationRequest(source, dataset, "PretrainPlans", workflow=workflow), ActiveSettings()
        )
        assert migration.writes
        assert not migration.report.findings

    return edit


def older_than_any_migration(file: str) -> Edit:
    """The file was last written in 2001."""

    def edit(workspace: Path, dataset: str) -> None:
        os.utime(place(workspace, dataset, file), (10**9, 10**9))

    return edit


def newer_than_any_migration(file: str) -> Edit:
    """The file was last written in 2096."""

    def edit(workspace: Path, dataset: str) -> None:
        os.utime(place(workspace, dataset, file), (4 * 10**9, 4 * 10**9))

    return edit


VARIANTS: tuple[Variant, ...] = (
    Variant(
        "stride-edited-after-the-move",
        RECEIVING,
        (move(), put(MOVED, f"{CONFIGURATION}/architecture/arch_kwargs/strides/4/0", 1)),
        frozenset({("PG401", MOVED, f"{CONFIGURATION}/architecture/arch_kwargs/strides")}),
        twin=(move(), put(MOVED, "/note", "a key that nnU-Net does not know")),
    ),
    Variant(
        "spacing-edited-after-the-move",
        RECEIVING,
        (move(), put(MOVED, f"{CONFIGURATION}/spacing/0", 2.0)),
        frozenset({("PG402", MOVED, f"{CONFIGURATION}/spacing")}),
        twin=(move(),),
    ),
    Variant(
        "clip-value-edited-after-the-move",
        RECEIVING,
        (move(), put(MOVED, "/foreground_intensity_properties_per_channel/0/mean", 64.0)),
        frozenset({("PG402", MOVED, "/foreground_intensity_properties_per_channel")}),
    ),
    Variant(
        "normalisation-edited-after-the-move",
        RECEIVING,
        (move(), put(MOVED, f"{CONFIGURATION}/normalization_schemes/0", "RescaleTo01Normalization")),
        frozenset(
            {
                ("PG402", MOVED, f"{CONFIGURATION}/normalization_schemes"),
                ("PG305", MOVED, f"{CONFIGURATION}/normalization_schemes/0"),
            }
        ),
    ),
    Variant(
        "patch-edited-after-the-move",
        RECEIVING,
        (move(), put(MOVED, f"{CONFIGURATION}/patch_size/0", 40)),
        frozenset({("PG403", MOVED, f"{CONFIGURATION}/patch_size")}),
        twin=(move(), put(MOVED, f"{CONFIGURATION}/patch_size/0", 32)),
    ),
    Variant(
        "trained-before-planning-again",
        GIVING,
        (put("preprocessed/nnUNetPlans.json", f"{CONFIGURATION}/batch_size", 3),),
        frozenset({("PG404", "preprocessed/nnUNetPlans.json", "")}),
        twin=(put("preprocessed/nnUNetPlans.json", "/configurations/2d/batch_size", 3),),
    ),
    Variant(
        "p-forgotten-in-the-last-command",
        RECEIVING,
        (
            move(),
            copy("preprocessed/nnUNetPlans.json", f"{RESULTS}/plans.json"),
            newer_than_any_migration(f"{RESULTS}/plans.json"),
        ),
        frozenset({("PG405", MOVED, "")}),
        twin=(
            move(),
            copy("preprocessed/nnUNetPlans.json", f"{RESULTS}/plans.json"),
            older_than_any_migration(f"{RESULTS}/plans.json"),
        ),
    ),
)
