"""PG721 to PG730: checkpoints that lie where a training is about to write."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from plansguard.training.resume import Split, TrainingState
from tests.rules.pg7_run.trainings import CT, FULLRES, PLANS, READY, TRAIN
from tests.support import checkpoints
from tests.support.data_folders import SPLITS
from tests.support.variants import DATASET_JSON, Edit, Variant, place, truncate
from tests.support.weights import WITH, weights

STOCK = "nnUNetTrainer"
STEPS = "nnUNetTrainer_500steps"
FINAL, LATEST, BEST = (f"checkpoint_{name}.pth" for name in ("final", "latest", "best"))
#: When a training began, in seconds since 1970, and how long its epochs took.
BEGAN, LATER, PACE = 1.7e9, 1.71e9, 60.0
GO_ON = (*TRAIN, "--c")
IN_STEPS = (*TRAIN, "-tr", STEPS)
EXTENDING = ("-tr", "nnUNetTrainer_900steps_from500")
#: What no checkpoint needs: it would run a command.
COMMAND = checkpoints.Named("os", "system")("true")

Change = Callable[[dict[str, Any], dict[str, Any]], object]


def fold(trainer: str = STOCK) -> str:
    """The folder of results, as edits name it."""
    return f"results/{trainer}__nnUNetPlans__3d_fullres/fold_0"


def left(
    name: str,
    epoch: int,
    *,
    trainer: str = STOCK,
    planned: int = 1000,
    began: float = BEGAN,
    timed: bool = True,
    change: Change = lambda plans, dataset_json: None,
    **options: Any,
) -> Edit:
    """A checkpoint after so many epochs of a training that was ``planned`` for more, in the trainer's folder.

    ``change`` edits the plans and the dataset.json that it was trained with. Without ``timed`` its log has no times.
    """

    def edit(workspace: Path, dataset: str) -> None:
        plans, own = (json.loads(place(workspace, dataset, file).read_bytes()) for file in (PLANS, DATASET_JSON))
        change(plans, own)
        starts = [began + PACE * number for number in range(epoch)]
        log: dict[str, list[float]] = {
            "lrs": [0.01 * (1 - number / planned) ** 0.9 for number in range(epoch)],
            "epoch_start_timestamps": starts,
            "epoch_end_timestamps": [start + PACE for start in starts],
        }
        log = {key: values for key, values in log.items() if key == "lrs" or timed}
        path = place(workspace, dataset, f"{fold(trainer)}/{name}")
        checkpoints.write(path, plans, own, trainer=trainer, epoch=epoch, logging=log, **options)

    return edit


def counted(name: str, step: int, *, trainer: str = STEPS, by: str | None = None, of: int = 0, **options: Any) -> Edit:
    """A checkpoint of a trainer of a number of steps, by default the one that the folder belongs to.

    It was trained on the cases of fold ``of``.
    """

    def edit(workspace: Path, dataset: str) -> None:
        split = json.loads(place(workspace, dataset, SPLITS).read_bytes())[of]
        notes = TrainingState(by or trainer, "a1", "2026-01-01T00:00:00+00:00", step, split=Split.of(*split.values()))
        left(name, step // 250, trainer=trainer, steps=notes.as_json(), **options)(workspace, dataset)

    return edit


def validated(trainer: str = STOCK) -> Edit:
    """The final validation was done."""

    def edit(workspace: Path, dataset: str) -> None:
        folder = place(workspace, dataset, f"{fold(trainer)}/validation")
        folder.mkdir(parents=True)
        (folder / "summary.json").write_text("{}")

    return edit


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


def tells(
    name: str,
    code: str,
    *edits: Edit,
    training: tuple[str, ...] = GO_ON,
    twin: tuple[Edit, ...] = (),
    at: tuple[str, str] = (PLANS, FULLRES),
    more: tuple[tuple[str, str, str], ...] = (),
    twin_training: tuple[str, ...] = (),
) -> Variant:
    """One finding about the training of fold 0 of Dataset002's 3d_fullres, by default at the configuration."""
    expected = frozenset({(code, *at), *more})
    return Variant(name, CT, (*READY, *edits), expected, (*READY, *twin), (), "", training, twin_training)


VARIANTS: tuple[Variant, ...] = (
    tells("anew-where-a-finished-training-lies", "PG721", left(FINAL, 1000), left(BEST, 990), training=TRAIN),
    tells("anew-where-steps-were-counted", "PG721", counted(LATEST, 250), training=IN_STEPS),
    tells(
        "anew-where-half-a-file-lies", "PG721", left(LATEST, 50), truncate(f"{fold()}/{LATEST}", 900), training=TRAIN
    ),
    tells("nothing-to-go-on-from", "PG722", twin=(left(LATEST, 50),)),
    tells(
        "another-trainer-left-something", "PG722", left(LATEST, 50, trainer="nnUNetTrainerDA5"), twin=(left(BEST, 3),)
    ),
    tells("no-step-to-go-on-from", "PG722", training=(*IN_STEPS, "--c"), twin=(counted(LATEST, 250),)),
    tells(
        "nothing-to-extend",
        "PG722",
        counted(LATEST, 250),
        training=(*GO_ON, *EXTENDING),
        twin=(counted(FINAL, 500),),
    ),
    tells(
        "extension-that-would-begin-by-itself",
        "PG722",
        counted(FINAL, 500),
        training=(*TRAIN, *EXTENDING),
        twin=(counted(FINAL, 500),),
        twin_training=(*GO_ON, *EXTENDING),
    ),
    tells(
        "extended-with-another-batch",
        "PG729",
        counted(FINAL, 500, change=other_batch),
        training=(*GO_ON, *EXTENDING),
        twin=(counted(FINAL, 500, change=other_configuration),),
    ),
    tells(
        "validated-before-the-end", "PG723", left(LATEST, 950), training=(*TRAIN, "--val"), twin=(left(FINAL, 1000),)
    ),
    tells(
        "no-best-to-validate",
        "PG723",
        left(FINAL, 1000),
        training=(*TRAIN, "--val", "--val_best"),
        twin=(left(FINAL, 1000), left(BEST, 990)),
    ),
    tells(
        "best-of-no-checkpoints",
        "PG723",
        training=(*TRAIN, "--val_best", "--disable_checkpointing"),
        twin_training=(*TRAIN, "--val_best"),
    ),
    tells(
        "goes-on-with-pretrained-weights",
        "PG724",
        left(LATEST, 50),
        weights(),
        training=(*GO_ON, *WITH),
        twin=(left(LATEST, 50),),
        twin_training=GO_ON,
    ),
    tells(
        "goes-on-from-nothing-with-pretrained-weights",
        "PG724",
        weights(),
        training=(*GO_ON, *WITH),
        twin=(left(LATEST, 50),),
        twin_training=GO_ON,
    ),
    tells(
        "goes-on-from-nothing-and-only-validates",
        "PG724",
        training=(*GO_ON, "--val"),
        twin_training=TRAIN,
    ),
    tells(
        "goes-on-and-only-validates",
        "PG724",
        left(FINAL, 1000),
        training=(*GO_ON, "--val"),
        twin=(left(FINAL, 1000),),
        twin_training=(*TRAIN, "--val"),
    ),
    tells(
        "best-is-30-epochs-ahead", "PG725", left(LATEST, 50), left(BEST, 80), twin=(left(LATEST, 50), left(BEST, 49))
    ),
    tells(
        "final-of-an-earlier-training",
        "PG725",
        left(FINAL, 1000),
        left(BEST, 20, began=LATER),
        twin=(left(FINAL, 1000), left(BEST, 990)),
    ),
    tells(
        "final-without-times",
        "PG725",
        left(FINAL, 20, timed=False),
        left(LATEST, 50),
        twin=(left(FINAL, 1000, timed=False), left(BEST, 990)),
    ),
    tells(
        "latest-cut-short",
        "PG726",
        left(LATEST, 50),
        left(BEST, 40),
        truncate(f"{fold()}/{LATEST}", 900),
        at=(f"{fold()}/{LATEST}", ""),
        twin=(left(LATEST, 50), left(BEST, 40), truncate(f"{fold()}/{BEST}", 900)),
    ),
    tells(
        "final-cut-short",
        "PG726",
        left(FINAL, 1000),
        truncate(f"{fold()}/{FINAL}", 900),
        training=(*TRAIN, "--val"),
        at=(f"{fold()}/{FINAL}", ""),
        twin=(left(FINAL, 1000),),
    ),
    tells(
        "latest-would-run-a-command",
        "PG726",
        left(LATEST, 50, more=COMMAND),
        at=(f"{fold()}/{LATEST}", ""),
        twin=(left(LATEST, 50),),
    ),
    tells(
        "validated-would-run-a-command",
        "PG726",
        left(FINAL, 1000, more=COMMAND),
        training=(*TRAIN, "--val"),
        at=(f"{fold()}/{FINAL}", ""),
        twin=(left(FINAL, 1000),),
    ),
    tells(
        "step-would-run-a-command",
        "PG726",
        counted(LATEST, 250, more=COMMAND),
        training=(*IN_STEPS, "--c"),
        at=(fold(STEPS), ""),
        twin=(counted(LATEST, 250, more=COMMAND), counted(BEST, 250)),
    ),
    tells(
        "no-step-is-whole",
        "PG726",
        counted(LATEST, 250),
        truncate(f"{fold(STEPS)}/{LATEST}", 900),
        training=(*IN_STEPS, "--c"),
        at=(fold(STEPS), ""),
        twin=(counted(LATEST, 250), truncate(f"{fold(STEPS)}/{LATEST}", 900), counted(BEST, 250)),
    ),
    tells("finished-and-validated", "PG727", left(FINAL, 1000), validated(), twin=(left(FINAL, 1000),)),
    tells(
        "more-epochs-done-than-planned",
        "PG727",
        left(FINAL, 1000, trainer="nnUNetTrainer_250epochs"),
        training=(*GO_ON, "-tr", "nnUNetTrainer_250epochs"),
        twin=(left(LATEST, 200, trainer="nnUNetTrainer_250epochs", planned=250),),
    ),
    tells(
        "all-steps-made",
        "PG727",
        counted(FINAL, 500),
        validated(STEPS),
        training=(*IN_STEPS, "--c"),
        twin=(counted(FINAL, 500),),
    ),
    tells(
        "epochs-added-to-a-finished-training",
        "PG728",
        left(FINAL, 1000, trainer="nnUNetTrainer_2000epochs"),
        training=(*GO_ON, "-tr", "nnUNetTrainer_2000epochs"),
        twin=(left(LATEST, 1000, trainer="nnUNetTrainer_2000epochs", planned=2000),),
    ),
    tells(
        "half-as-many-epochs",
        "PG728",
        left(LATEST, 100, trainer="nnUNetTrainer_250epochs", planned=500),
        training=(*GO_ON, "-tr", "nnUNetTrainer_250epochs"),
        twin=(left(LATEST, 10, trainer="nnUNetTrainer_250epochs", planned=500),),
    ),
    tells(
        "steps-of-another-schedule",
        "PG728",
        counted(LATEST, 250, by="nnUNetTrainer_900steps"),
        training=(*IN_STEPS, "--c"),
        twin=(counted(LATEST, 250),),
    ),
    tells(
        "batch-changed",
        "PG729",
        left(LATEST, 50, change=other_batch),
        twin=(left(LATEST, 50, change=other_configuration),),
    ),
    tells("spacing-changed", "PG729", left(LATEST, 50, change=other_spacing), twin=(left(LATEST, 50),)),
    tells(
        "labels-changed",
        "PG729",
        left(LATEST, 50, change=other_labels),
        at=(DATASET_JSON, ""),
        twin=(left(LATEST, 50, change=other_remark),),
    ),
    tells(
        "remark-changed-between-steps",
        "PG729",
        counted(LATEST, 250, change=other_remark),
        training=(*IN_STEPS, "--c"),
        at=(DATASET_JSON, ""),
        twin=(counted(LATEST, 250),),
    ),
    tells(
        "split-changed",
        "PG730",
        counted(LATEST, 250, of=1),
        training=(*IN_STEPS, "--c"),
        twin=(counted(LATEST, 250),),
    ),
)
