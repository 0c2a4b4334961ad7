"""PG733, PG738: schedules that depend on a queue, or on the source of a trainer."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path

from tests.rules.pg7_run.results import LATEST, PACE, checkpoint
from tests.rules.pg7_run.trainings import CT, FULLRES, PLANS, READY, TRAIN
from tests.support.nnunets import HEAD, installed
from tests.support.variants import Edit, Variant, finding, written

#: nnU-Net saves checkpoint_latest.pth every 50 epochs.
UNTIL_SAVED = 50 * PACE
INSTALLED = (*READY, installed(nnunetv2="2.8.1"))
TRAINERS = "site/nnunetv2/training/nnUNetTrainer"


def job_ending(share: float) -> Mapping[str, str]:
    """Set the end of a job of SLURM to this share of the time until the next checkpoint."""
    return {"SLURM_JOB_END_TIME": str(int(time.time() + share * UNTIL_SAVED))}


def early(workspace: Path) -> Mapping[str, str]:
    """Let the job end before the next checkpoint."""
    return job_ending(0.8)


def late(workspace: Path) -> Mapping[str, str]:
    """Let the job end after the next checkpoint."""
    return job_ending(1.2)


def epochs_set_in(method: str, arguments: str) -> Edit:
    """Write a trainer that sets its number of epochs in this method."""
    passed = arguments.removeprefix("self").removeprefix(", ")
    source = f"class Mine(nnUNetTrainer):\n    def {method}({arguments}):\n        super().{method}({passed})\n"
    return written(f"{TRAINERS}/mine.py", f"{HEAD}{source}        self.num_epochs = 1000\n")


VARIANTS: tuple[Variant, ...] = (
    Variant(
        "job-ends-before-the-next-checkpoint",
        CT,
        (*READY, checkpoint(LATEST, 80)),
        finding("PG733", PLANS, FULLRES),
        twin=(*READY, checkpoint(LATEST, 80)),
        training=(*TRAIN, "--c"),
        environment=early,
        twin_environment=late,
    ),
    Variant(
        "epochs-set-when-training-starts",
        CT,
        (*INSTALLED, epochs_set_in("on_train_start", "self")),
        finding("PG738", f"{TRAINERS}/mine.py"),
        twin=(*INSTALLED, epochs_set_in("__init__", "self, plans, configuration, fold, dataset_json, device")),
        training=(*TRAIN, "-tr", "Mine"),
        site=True,
    ),
)
