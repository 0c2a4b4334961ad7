"""Options that say how long to train and how fast; ``plansguard steps`` and ``plansguard train`` share them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from plansguard.core.errors import UsageError

if TYPE_CHECKING:
    from plansguard.training.schedule import StepSchedule

Epochs = Annotated[
    int | None, typer.Option("--epochs", metavar="E", help="The other way round: E epochs of --per-epoch steps.")
]
PerEpoch = Annotated[
    int, typer.Option("--per-epoch", metavar="K", help="Steps between two validations, which nnU-Net calls an epoch.")
]
Validation = Annotated[
    int | None, typer.Option("--validation", metavar="V", help="Steps of each validation. Default: the trainer's, 50.")
]
Rate = Annotated[
    float | None, typer.Option("--lr", metavar="X", help="The highest learning rate. Default: the trainer's, 0.01.")
]
ByWindow = Annotated[
    bool, typer.Option("--window-lr", help="Lower the rate once per epoch, as nnU-Net does, not with every step.")
]
Warmup = Annotated[
    int, typer.Option("--warmup", metavar="W", help="Raise the rate over the first W steps, which count as well.")
]
ExtendTo = Annotated[
    int | None, typer.Option("--extend-to", metavar="M", help="Go on from a finished training of N steps to M.")
]
Base = Annotated[str, typer.Option("-tr", metavar="TRAINER", help="The trainer of nnU-Net that makes the steps.")]


def schedule_of(
    steps: int | None,
    epochs: int | None,
    per_epoch: int,
    validation: int | None,
    rate: float | None,
    by_window: bool,
    warmup: int,
    extend_to: int | None,
    *,
    option: str,
) -> StepSchedule:
    """The schedule that the options describe; ``option`` is what the number of steps is called there.

    UsageError unless just one of steps and epochs is named, or when no training can be like that.
    """
    from plansguard.training.schedule import StepSchedule

    if (steps is None) == (epochs is None):
        raise UsageError(
            f"name either {option} or --epochs", hint=f"for example {option} 50000, or --epochs 50 --per-epoch 1000"
        )
    total = steps if steps is not None else StepSchedule.of_epochs(epochs or 0, per_epoch).total
    schedule = StepSchedule(total, per_epoch, validation, rate, by_window, warmup)
    return schedule if extend_to is None else replace(schedule, total=extend_to, extends=total)
