"""Start trainings as far as their training record, and verify it."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from plansguard.artefacts.data.workers import Pool
from plansguard.commands import train
from plansguard.nnunet.command_line import parse
from plansguard.nnunet.constants import TRAIN
from plansguard.nnunet.workspace import Workspace
from plansguard.records.verify import DocumentState, verify
from plansguard.rules.engine.acceptance import Accepted
from plansguard.rules.engine.settings import ActiveSettings
from plansguard.subjects.request import Reading
from tests.rules.pg7_run.trainings import CT
from tests.support.data_folders import DATA
from tests.support.variants import ROOTS, place

#: The folder of the model in the results of the dataset.
MODEL = "nnUNetTrainer_50steps__nnUNetPlans__3d_fullres"


def training_values(arguments: Sequence[str]) -> argparse.Namespace:
    """The arguments of ``nnUNetv2_train`` as nnU-Net's parser reads them; UsageError where it refuses them."""
    parsed = parse(TRAIN, arguments)
    assert parsed is not None, "these arguments ask for help"
    return parsed.values


def leave(
    workspace: Path,
    accepted: Sequence[Accepted] = (),
    depth: str = "headers",
    *,
    fold: str = "0",
    trainer: str = "nnUNetTrainer_50steps",
    weights: Path | None = None,
    continues: bool = False,
) -> Path:
    """The file of the record that a training of 3d_fullres of Dataset002 leaves in this workspace."""
    arguments = [CT, "3d_fullres", fold, "-tr", trainer, "-device", "cpu", *(["--c"] if continues else [])]
    arguments += [] if weights is None else ["-pretrained_weights", str(weights)]
    roots = Workspace(**{root: workspace / folder for root, folder in ROOTS.items()})
    run = train.prepare(roots, training_values(arguments), Reading(depth))
    report = train.judge(run, "train", ActiveSettings(), accepted)
    command = ["/somewhere/bin/plansguard", "train", CT, "3d_fullres", fold, "--steps", "50"]
    return train.write_record(run, train.build_record(run, report, command))


def value_of(path: Path) -> dict[str, Any]:
    """The record in a file."""
    value: dict[str, Any] = json.loads(path.read_bytes())
    return value


def states(path: Path) -> dict[str, DocumentState]:
    """The state of each document of a record."""
    return {row.document: row.state for row in verify(path, Pool()).rows}


def differences(path: Path) -> dict[str, str]:
    """The differences of each document that has changed."""
    return {row.document: "; ".join(row.details) for row in verify(path, Pool()).rows if not row.state.holds}


def without_case(case: str) -> Callable[[Path, str], None]:
    """The edit that removes a preprocessed case."""

    def edit(workspace: Path, dataset: str) -> None:
        for path in place(workspace, dataset, f"preprocessed/{DATA}").glob(f"{case}*"):
            path.unlink()

    return edit
