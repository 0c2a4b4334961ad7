"""Options of ``plansguard steps`` and ``plansguard train``: length and learning rate of a training."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

from typer import Option

from plansguard.core.errors import UsageError

if TYPE_CHECKING:
    from plansguard.training.schedule import StepSchedule

Epochs = Annotated[
    int | None, Option("--epochs", metavar="E", help="In place of a number of steps: E epochs of --per-epoch steps.")
]
PerEpoch = Annotated[
    int, Option("--per-epoch", metavar="K", help="Steps between two validations, which nnU-Net calls an epoch.")
]
Validation = Annotated[
    int | None, Option("--validation", metavar="V", help="Steps of each validation. Default: the trainer's, 50.")
]
Rate = Annotated[
    float | None, Option("--lr", metavar="X", help="The highest learning rate. Default: the trainer's, 0.01.")
]
ByWindow = Annotated[
    bool, Option("--window-lr", help="Lower the rate once per epoch, as nnU-Net does, not with every step.")
]
Warmup = Annotated[
    int, Option("--warmup", metavar="W", help="Raise the rate over the first W steps, which count as well.")
]
ExtendTo = Annotated[
    int | None, Option("--extend-to", metavar="M", help="Continue a finished training of N steps to M.")
]
KeepHead = Annotated[
    bool, Option("--keep-head", help="Begin with the segmentation layers of the pretrained weights as well.")
]
Trainer = Annotated[str, Option("-tr", metavar="TRAINER", help="The trainer of nnU-Net that makes the steps.")]


def schedule_of(
    steps: int | None,
    epochs: int | None,
    per_epoch: int,
    validation: int | None,
    rate: float | None,
    by_window: bool,
    warmup: int,
    extend_to: int | None,
    keep_head: bool,
    *,
    option: str,
) -> StepSchedule:
    """Return the schedule that the options describe; ``option`` is the command's name for the number of steps.

    Raises UsageError unless exactly one of steps and epochs is given, and for a schedule that no training can have.
    """
    from plansguard.training.schedule import StepSchedule

    if (steps is None) == (epochs is None):
        raise UsageError(
            f"name either {option} or --epochs", hint=f"for example {option} 50000, or --epochs 50 --per-epoch 1000"
        )
    total = steps if steps is not None else StepSchedule.of_epochs(epochs or 0, per_epoch).total
    schedule = StepSchedule(total, per_epoch, validation, rate, by_window, warmup, keep_head=keep_head)
    return schedule if extend_to is None else replace(schedule, total=extend_to, extends=total)
