"""``plansguard steps``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer
from typer import Option

from plansguard.cli import schedule_options
from plansguard.cli.common_options import print_line
from plansguard.core.errors import UsageError
from plansguard.nnunet import printed_commands
from plansguard.nnunet.constants import DEFAULT_IDENTIFIER, DEFAULT_TRAINER
from plansguard.nnunet.printed_commands import CONFIGURATION, DATASET, Word
from plansguard.nnunet.workspace import Workspace
from plansguard.training.schedule import STOCK_PER_WINDOW

if TYPE_CHECKING:
    from plansguard.subjects.pretraining import Pretraining
    from plansguard.training.schedule import StepSchedule

Total = Annotated[int | None, Option("--total", metavar="N", help="How many optimiser steps.")]
Dataset = Annotated[
    str | None, Option("-d", "--dataset", metavar="ID_OR_NAME", help="A dataset below $nnUNet_preprocessed.")
]
Plans = Annotated[str | None, Option("-p", "--plans", metavar="IDENTIFIER", help="Its plans.")]
Configuration = Annotated[str | None, Option("-c", "--configuration", help="The configuration, such as 3d_fullres.")]


def steps(
    total: Total = None,
    extend_to: schedule_options.ExtendTo = None,
    epochs: schedule_options.Epochs = None,
    per_epoch: schedule_options.PerEpoch = STOCK_PER_WINDOW,
    validation: schedule_options.Validation = None,
    rate: schedule_options.Rate = None,
    by_window: schedule_options.ByWindow = False,
    warmup: schedule_options.Warmup = 0,
    trainer: schedule_options.Trainer = DEFAULT_TRAINER,
    dataset: Dataset = None,
    plans: Plans = None,
    configuration: Configuration = None,
    fold: Annotated[str, Option("-f", "--fold", help="The fold: a number, or all.")] = "0",
) -> None:
    """Plan a training of N optimiser steps, and name its trainer.

    nnU-Net trains for 1,000 epochs of 250 steps, however many cases there are. With a dataset, samples and passes over
    the cases are reported as well. Nothing is written, and nnU-Net is not needed.

    Examples:
        plansguard steps --total 50000
        plansguard steps -d 2 -c 3d_fullres --total 50000 --lr 0.001
        plansguard steps --epochs 200 --per-epoch 100
    """
    from plansguard.commands.steps import training_data, weights_for
    from plansguard.render.steps import text
    from plansguard.training.trainer_name import trainer_name

    schedule = schedule_options.schedule_of(
        total, epochs, per_epoch, validation, rate, by_window, warmup, extend_to, option="--total"
    )
    trainer_name(trainer, schedule)  # UsageError for an impossible name
    batch_size = cases = weights = None
    if dataset is not None:
        if configuration is None:
            raise UsageError("the batch size is the configuration's: add -c", hint="for example -c 3d_fullres")
        chosen = Workspace.from_environment(), dataset, plans or DEFAULT_IDENTIFIER, configuration
        batch_size, cases = training_data(*chosen, fold)
        weights = None if schedule.extends else weights_for(*chosen)
    typer.echo(text(trainer, schedule, batch_size, cases), nl=False)
    place = dataset or DATASET, configuration or CONFIGURATION, fold
    _print_next(trainer, schedule, place, plans, weights)


def _print_next(
    base: str,
    schedule: StepSchedule,
    place: tuple[str, Word, str],
    plans: str | None,
    weights: Pretraining | None,
) -> None:
    """Print the command that trains by this schedule, at a low rate if the plans are for pretrained weights."""
    from plansguard.training.schedule import GENTLE_RATE
    from plansguard.training.trainer_name import gentle_trainer, trainer_name

    lowers = weights is not None and schedule.rate is None
    name = gentle_trainer(base, schedule) if lowers else trainer_name(base, schedule)
    typer.echo("\nNext:")
    if weights is not None and weights.finish:
        print_line(f"  {weights.finish}")
    path, flags = None if weights is None else weights.path, ["--c"] if schedule.extends else []
    print_line(f"  {printed_commands.train(*place, plans=plans, trainer=name, flags=flags, weights=path)}")
    if lowers:
        typer.echo(
            f"\nThese plans are for pretrained weights: this begins at {GENTLE_RATE:g}. --lr chooses another rate."
        )
    elif schedule.rate is None and not schedule.extends:
        typer.echo(
            "\nFor -pretrained_weights a lower rate is usual, such as --lr 0.001: 0.01 may undo what they learned."
        )
