"""PG721 to PG724, PG744: checkpoints that are in the folder of results, or missing there."""

from __future__ import annotations

import os
from pathlib import Path

from tests.rules.pg7_run.results import BEST, EXTENDING, FINAL, IN_STEPS, LATEST, checkpoint, fold, step_checkpoint
from tests.rules.pg7_run.trainings import CONTINUE, TRAIN, training_variant
from tests.support.variants import Edit, Variant, place, truncate
from tests.support.weights import WITH, weights


def folder_called(name: str) -> Edit:
    """Make a folder with the name of a checkpoint."""
    return lambda workspace, dataset: place(workspace, dataset, f"{fold()}/{name}").mkdir(parents=True)


def pipe_called(name: str) -> Edit:
    """Make a pipe with the name of a checkpoint; a folder where the system has no pipes."""

    def edit(workspace: Path, dataset: str) -> None:
        path = place(workspace, dataset, f"{fold()}/{name}")
        path.parent.mkdir(parents=True)
        os.mkfifo(path) if hasattr(os, "mkfifo") else path.mkdir()

    return edit


VARIANTS: tuple[Variant, ...] = (
    training_variant("folder-called-like-a-checkpoint", "PG744", folder_called(LATEST), training=TRAIN),
    training_variant("pipe-called-like-a-checkpoint", "PG744", pipe_called(BEST), training=TRAIN),
    training_variant(
        "from-scratch-over-a-finished-training", "PG721", checkpoint(FINAL, 1000), checkpoint(BEST, 990), training=TRAIN
    ),
    training_variant("from-scratch-over-a-training-in-steps", "PG721", step_checkpoint(LATEST, 250), training=IN_STEPS),
    training_variant(
        "from-scratch-over-half-a-file",
        "PG721",
        checkpoint(LATEST, 50),
        truncate(f"{fold()}/{LATEST}", 900),
        training=TRAIN,
    ),
    training_variant("nothing-to-continue", "PG722", twin=(checkpoint(LATEST, 50),)),
    training_variant(
        "another-trainer-left-something",
        "PG722",
        checkpoint(LATEST, 50, trainer="nnUNetTrainerDA5"),
        twin=(checkpoint(BEST, 3),),
    ),
    training_variant("no-step-to-continue", "PG722", training=(*IN_STEPS, "--c"), twin=(step_checkpoint(LATEST, 250),)),
    training_variant(
        "nothing-to-extend",
        "PG722",
        step_checkpoint(LATEST, 250),
        training=(*CONTINUE, *EXTENDING),
        twin=(step_checkpoint(FINAL, 500),),
    ),
    training_variant(
        "extension-that-begins-from-scratch",
        "PG722",
        step_checkpoint(FINAL, 500),
        training=(*TRAIN, *EXTENDING),
        twin=(step_checkpoint(FINAL, 500),),
        twin_training=(*CONTINUE, *EXTENDING),
    ),
    training_variant(
        "validated-before-the-end",
        "PG723",
        checkpoint(LATEST, 950),
        training=(*TRAIN, "--val"),
        twin=(checkpoint(FINAL, 1000),),
    ),
    training_variant(
        "no-best-to-validate",
        "PG723",
        checkpoint(FINAL, 1000),
        training=(*TRAIN, "--val", "--val_best"),
        twin=(checkpoint(FINAL, 1000), checkpoint(BEST, 990)),
    ),
    training_variant(
        "best-of-no-checkpoints",
        "PG723",
        training=(*TRAIN, "--val_best", "--disable_checkpointing"),
        twin_training=(*TRAIN, "--val_best"),
    ),
    training_variant(
        "continues-with-pretrained-weights",
        "PG724",
        checkpoint(LATEST, 50),
        weights(),
        training=(*CONTINUE, *WITH),
        twin=(checkpoint(LATEST, 50),),
        twin_training=CONTINUE,
    ),
    training_variant(
        "continues-nothing-with-pretrained-weights",
        "PG724",
        weights(),
        training=(*CONTINUE, *WITH),
        twin=(checkpoint(LATEST, 50),),
        twin_training=CONTINUE,
    ),
    training_variant(
        "continues-nothing-and-only-validates",
        "PG724",
        training=(*CONTINUE, "--val"),
        twin_training=TRAIN,
    ),
    training_variant(
        "continues-and-only-validates",
        "PG724",
        checkpoint(FINAL, 1000),
        training=(*CONTINUE, "--val"),
        twin=(checkpoint(FINAL, 1000),),
        twin_training=(*TRAIN, "--val"),
    ),
)
