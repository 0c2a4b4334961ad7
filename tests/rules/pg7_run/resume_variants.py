"""PG725 to PG730: checkpoints that would be continued."""

from __future__ import annotations

from typing import Any

from tests.rules.pg7_run.results import (
    BEST,
    COMMAND,
    EXTENDING,
    FINAL,
    IN_STEPS,
    LATER,
    LATEST,
    STEPS,
    checkpoint,
    fold,
    step_checkpoint,
    validated,
)
from tests.rules.pg7_run.trainings import CONTINUE, FULLRES, TRAIN, training_variant
from tests.support.variants import DATASET_JSON, PLANS, Variant, truncate


def other_batch(plans: dict[str, Any], dataset_json: dict[str, Any]) -> None:
    plans["configurations"]["3d_fullres"]["batch_size"] = 7


def other_configuration(plans: dict[str, Any], dataset_json: dict[str, Any]) -> None:
    plans["configurations"]["2d"]["batch_size"] = 7


def other_spacing(plans: dict[str, Any], dataset_json: dict[str, Any]) -> None:
    plans["configurations"]["3d_fullres"]["spacing"][0] += 0.5


def other_labels(plans: dict[str, Any], dataset_json: dict[str, Any]) -> None:
    dataset_json["labels"] = {"background": 0, "tumour": 1}


def other_remark(plans: dict[str, Any], dataset_json: dict[str, Any]) -> None:
    dataset_json["description"] = "before the paper"


VARIANTS: tuple[Variant, ...] = (
    training_variant(
        "extended-with-another-batch",
        "PG729",
        step_checkpoint(FINAL, 500, change=other_batch),
        training=(*CONTINUE, *EXTENDING),
        at=(PLANS, f"{FULLRES}/batch_size"),
        twin=(step_checkpoint(FINAL, 500, change=other_configuration),),
    ),
    training_variant(
        "best-is-30-epochs-ahead",
        "PG725",
        checkpoint(LATEST, 50),
        checkpoint(BEST, 80),
        twin=(checkpoint(LATEST, 50), checkpoint(BEST, 49)),
    ),
    training_variant(
        "final-of-an-earlier-training",
        "PG725",
        checkpoint(FINAL, 1000),
        checkpoint(BEST, 20, began=LATER),
        twin=(checkpoint(FINAL, 1000), checkpoint(BEST, 990)),
    ),
    training_variant(
        "final-without-times",
        "PG725",
        checkpoint(FINAL, 20, timed=False),
        checkpoint(LATEST, 50),
        twin=(checkpoint(FINAL, 1000, timed=False), checkpoint(BEST, 990)),
    ),
    training_variant(
        "latest-cut-short",
        "PG726",
        checkpoint(LATEST, 50),
        checkpoint(BEST, 40),
        truncate(f"{fold()}/{LATEST}", 900),
        at=(f"{fold()}/{LATEST}", ""),
        twin=(checkpoint(LATEST, 50), checkpoint(BEST, 40), truncate(f"{fold()}/{BEST}", 900)),
    ),
    training_variant(
        "final-cut-short",
        "PG726",
        checkpoint(FINAL, 1000),
        truncate(f"{fold()}/{FINAL}", 900),
        training=(*TRAIN, "--val"),
        at=(f"{fold()}/{FINAL}", ""),
        twin=(checkpoint(FINAL, 1000),),
    ),
    training_variant(
        "latest-would-run-a-command",
        "PG726",
        checkpoint(LATEST, 50, more=COMMAND),
        at=(f"{fold()}/{LATEST}", ""),
        twin=(checkpoint(LATEST, 50),),
    ),
    training_variant(
        "validated-would-run-a-command",
        "PG726",
        checkpoint(FINAL, 1000, more=COMMAND),
        training=(*TRAIN, "--val"),
        at=(f"{fold()}/{FINAL}", ""),
        twin=(checkpoint(FINAL, 1000),),
    ),
    training_variant(
        "step-would-run-a-command",
        "PG726",
        step_checkpoint(LATEST, 250, more=COMMAND),
        training=(*IN_STEPS, "--c"),
        at=(fold(STEPS), ""),
        twin=(step_checkpoint(LATEST, 250, more=COMMAND), step_checkpoint(BEST, 250)),
    ),
    training_variant(
        "no-step-is-whole",
        "PG726",
        step_checkpoint(LATEST, 250),
        truncate(f"{fold(STEPS)}/{LATEST}", 900),
        training=(*IN_STEPS, "--c"),
        at=(fold(STEPS), ""),
        twin=(step_checkpoint(LATEST, 250), truncate(f"{fold(STEPS)}/{LATEST}", 900), step_checkpoint(BEST, 250)),
    ),
    training_variant(
        "finished-and-validated", "PG727", checkpoint(FINAL, 1000), validated(), twin=(checkpoint(FINAL, 1000),)
    ),
    training_variant(
        "more-epochs-done-than-planned",
        "PG727",
        checkpoint(FINAL, 1000, trainer="nnUNetTrainer_250epochs"),
        training=(*CONTINUE, "-tr", "nnUNetTrainer_250epochs"),
        twin=(checkpoint(LATEST, 200, trainer="nnUNetTrainer_250epochs", planned=250),),
    ),
    training_variant(
        "all-steps-made",
        "PG727",
        step_checkpoint(FINAL, 500),
        validated(STEPS),
        training=(*IN_STEPS, "--c"),
        twin=(step_checkpoint(FINAL, 500),),
    ),
    training_variant(
        "epochs-added-to-a-finished-training",
        "PG728",
        checkpoint(FINAL, 1000, trainer="nnUNetTrainer_2000epochs"),
        training=(*CONTINUE, "-tr", "nnUNetTrainer_2000epochs"),
        twin=(checkpoint(LATEST, 1000, trainer="nnUNetTrainer_2000epochs", planned=2000),),
    ),
    training_variant(
        "half-as-many-epochs",
        "PG728",
        checkpoint(LATEST, 100, trainer="nnUNetTrainer_250epochs", planned=500),
        training=(*CONTINUE, "-tr", "nnUNetTrainer_250epochs"),
        twin=(checkpoint(LATEST, 10, trainer="nnUNetTrainer_250epochs", planned=500),),
    ),
    training_variant(
        "steps-of-another-schedule",
        "PG728",
        step_checkpoint(LATEST, 250, by="nnUNetTrainer_900steps"),
        training=(*IN_STEPS, "--c"),
        twin=(step_checkpoint(LATEST, 250),),
    ),
    training_variant(
        "batch-changed",
        "PG729",
        checkpoint(LATEST, 50, change=other_batch),
        at=(PLANS, f"{FULLRES}/batch_size"),
        twin=(checkpoint(LATEST, 50, change=other_configuration),),
    ),
    training_variant(
        "spacing-changed",
        "PG729",
        checkpoint(LATEST, 50, change=other_spacing),
        at=(PLANS, f"{FULLRES}/spacing"),
        twin=(checkpoint(LATEST, 50),),
    ),
    training_variant(
        "labels-changed",
        "PG729",
        checkpoint(LATEST, 50, change=other_labels),
        at=(DATASET_JSON, "/labels"),
        twin=(checkpoint(LATEST, 50, change=other_remark),),
    ),
    training_variant(
        "remark-changed-between-steps",
        "PG729",
        step_checkpoint(LATEST, 250, change=other_remark),
        training=(*IN_STEPS, "--c"),
        at=(DATASET_JSON, "/description"),
        twin=(step_checkpoint(LATEST, 250),),
    ),
    training_variant(
        "split-changed",
        "PG730",
        step_checkpoint(LATEST, 250, of=1),
        training=(*IN_STEPS, "--c"),
        twin=(step_checkpoint(LATEST, 250),),
    ),
)
