"""PG731 to PG738: trainings that are about to start with another schedule, fold or plans than is meant."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path

from tests.rules.pg7_run.results import LATEST, PACE, checkpoint
from tests.rules.pg7_run.trainings import CT, FULLRES, PLANS, READY, TRAIN, training_variant
from tests.support.data_folders import CASES, SPLITS, STAGES, preprocessed, trained
from tests.support.moves import GIVING, MOVED, RECORD, move
from tests.support.nnunets import HEAD, installed
from tests.support.variants import Edit, Variant, finding, put, remove, written
from tests.support.weights import WITH, weights

SLOWLY = (*TRAIN, "-tr", "nnUNetTrainer_500steps_lr1en3")
OTHER_FOLD = {"train": list(CASES[:-2]), "val": list(CASES[-2:])}
FOLD_5 = ("3d_fullres", "5", "-device", "cpu")
#: Plans of the pretraining dataset, its data under this one's names, and its labels.
MIGRATED = (
    move(),
    *READY,
    preprocessed("PretrainPlans_3d_fullres", of=GIVING),
    *(
        put(f"{root}/dataset.json", "/labels", {"background": 0, "kidney": 1, "cyst": 2})
        for root in ("raw", "preprocessed")
    ),
)

#: The migrated plans are for a training that is still to be run.
FOR_PRETRAINING = put(RECORD, "/workflow", "pretrain")
#: nnU-Net saves checkpoint_latest.pth every 50 epochs.
UNTIL_SAVED = 50 * PACE
INSTALLED = (*READY, installed(nnunetv2="2.8.1"))
TRAINERS = "site/nnunetv2/training/nnUNetTrainer"


def job_ending(share: float) -> Mapping[str, str]:
    """Set the end of a job of SLURM to this share of the time until the next checkpoint."""
    return {"SLURM_JOB_END_TIME": str(int(time.time() + share * UNTIL_SAVED) + 30)}  # not at the turn of a minute


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
    training_variant(
        "fine-tuned-at-the-stock-rate",
        "PG731",
        weights(),
        training=(*TRAIN, *WITH),
        twin=(weights(),),
        twin_training=(*SLOWLY, *WITH),
    ),
    training_variant(
        "fine-tuned-in-steps-at-the-stock-rate",
        "PG731",
        weights(),
        training=(*TRAIN, "-tr", "nnUNetTrainer_500steps", *WITH),
        twin=(weights(),),
        twin_training=(*SLOWLY, *WITH),
    ),
    training_variant(
        "second-stage-fine-tuned-at-the-stock-rate",
        "PG731",
        *STAGES,
        trained("3d_lowres", *CASES),
        weights("3d_cascade_fullres"),
        training=("3d_cascade_fullres", "0", "-device", "cpu", *WITH),
        at=(PLANS, "/configurations/3d_cascade_fullres"),
        twin=(weights(),),
        twin_training=(*SLOWLY, *WITH),
    ),
    training_variant(
        "sixth-fold-of-five", "PG732", training=FOLD_5, at=(SPLITS, ""), twin=(put(SPLITS, "/-", OTHER_FOLD),)
    ),
    training_variant(
        "sixth-fold-of-none", "PG732", remove(SPLITS), training=FOLD_5, twin=(remove(SPLITS),), twin_training=TRAIN
    ),
    training_variant(
        "a-hundred-epochs", "PG734", training=(*TRAIN, "-tr", "nnUNetTrainer_100epochs"), twin_training=TRAIN
    ),
    training_variant(
        "steps-with-a-zero-before-them",
        "PG735",
        training=(*TRAIN, "-tr", "nnUNetTrainer_0500steps"),
        twin_training=(*TRAIN, "-tr", "nnUNetTrainer_500steps"),
    ),
    training_variant("migrated-plans-forgotten", "PG736", move(), FOR_PRETRAINING, training=TRAIN, twin=(move(),)),
    Variant(
        "weights-of-migrated-plans-forgotten",
        CT,
        MIGRATED,
        finding("PG737", MOVED, FULLRES),
        (*MIGRATED, weights(of=MOVED)),
        training=(*TRAIN, "-p", "PretrainPlans"),
        twin_training=(*SLOWLY, "-p", "PretrainPlans", *WITH),
    ),
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
