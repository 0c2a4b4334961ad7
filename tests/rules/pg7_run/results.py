"""Edits that write checkpoints and a validation into the folder of results of a training."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from plansguard.training.resume import Split, TrainingState
from tests.rules.pg7_run.trainings import PLANS, TRAIN
from tests.support import checkpoints
from tests.support.data_folders import SPLITS
from tests.support.variants import DATASET_JSON, Edit, place

STOCK = "nnUNetTrainer"
STEPS = "nnUNetTrainer_500steps"
FINAL, LATEST, BEST = (f"checkpoint_{name}.pth" for name in ("final", "latest", "best"))
#: When a training began, in seconds since 1970, and how long its epochs took.
BEGAN, LATER, PACE = 1.7e9, 1.71e9, 60.0
IN_STEPS = (*TRAIN, "-tr", STEPS)
EXTENDING = ("-tr", "nnUNetTrainer_900steps_from500")
#: An object that no checkpoint contains: loading it would run a command.
COMMAND = checkpoints.Named("os", "system")("true")

Change = Callable[[dict[str, Any], dict[str, Any]], object]


def fold(trainer: str = STOCK) -> str:
    """The folder of results, named as in edits."""
    return f"results/{trainer}__nnUNetPlans__3d_fullres/fold_0"


def checkpoint(
    name: str,
    epoch: int,
    *,
    trainer: str = STOCK,
    planned: int = 1000,
    began: float = BEGAN,
    timed: bool = True,
    rates: Sequence[float] | None = None,
    change: Change = lambda plans, dataset_json: None,
    **options: Any,
) -> Edit:
    """Write a checkpoint after ``epoch`` of ``planned`` epochs into the trainer's folder.

    ``change`` edits the plans and the dataset.json inside it. Without ``timed`` its log has no times.
    ``rates`` are other learning rates than nnU-Net's.
    """

    def edit(workspace: Path, dataset: str) -> None:
        plans, own = (json.loads(place(workspace, dataset, file).read_bytes()) for file in (PLANS, DATASET_JSON))
        change(plans, own)
        starts = [began + PACE * number for number in range(epoch)]
        log: dict[str, list[float]] = {
            "lrs": [*rates] if rates else [0.01 * (1 - number / planned) ** 0.9 for number in range(epoch)],
            "epoch_start_timestamps": starts,
            "epoch_end_timestamps": [start + PACE for start in starts],
        }
        log = {key: values for key, values in log.items() if key == "lrs" or timed}
        path = place(workspace, dataset, f"{fold(trainer)}/{name}")
        checkpoints.write(path, plans, own, trainer=trainer, epoch=epoch, logging=log, **options)

    return edit


def step_checkpoint(
    name: str, step: int, *, trainer: str = STEPS, by: str | None = None, of: int = 0, **options: Any
) -> Edit:
    """Write a checkpoint of a trainer of a number of steps, by default the trainer of the folder.

    It was trained on the cases of fold ``of``.
    """

    def edit(workspace: Path, dataset: str) -> None:
        split = json.loads(place(workspace, dataset, SPLITS).read_bytes())[of]
        notes = TrainingState(by or trainer, "a1", "2026-01-01T00:00:00+00:00", step, split=Split.of(*split.values()))
        checkpoint(name, step // 250, trainer=trainer, steps=notes.as_json(), **options)(workspace, dataset)

    return edit


def validated(trainer: str = STOCK) -> Edit:
    """Write the summary of the final validation."""

    def edit(workspace: Path, dataset: str) -> None:
        folder = place(workspace, dataset, f"{fold(trainer)}/validation")
        folder.mkdir(parents=True)
        (folder / "summary.json").write_text("{}")

    return edit
