"""``plansguard steps``."""

from __future__ import annotations

from typing import Annotated

from typer import Option

from plansguard.cli import schedule_options
from plansguard.cli.common_options import TextOrJson, emit_text_or_json, text_or_json
from plansguard.core.errors import UsageError
from plansguard.nnunet.constants import DEFAULT_TRAINER
from plansguard.nnunet.workspace import Workspace
from plansguard.training.schedule import STOCK_PER_WINDOW

Total = Annotated[int | None, Option("--total", metavar="N", help="How many optimiser steps.")]
Dataset = Annotated[
    str | None, Option("-d", "--dataset", metavar="ID_OR_NAME", help="A dataset below $nnUNet_preprocessed.")
]
Plans = Annotated[str | None, Option("-p", "--plans", metavar="IDENTIFIER", help="Its plans.")]
Configuration = Annotated[
    str | None, Option("-c", "--configuration", metavar="CONFIGURATION", help="The configuration, such as 3d_fullres.")
]


def steps(
    total: Total = None,
    extend_to: schedule_options.ExtendTo = None,
    epochs: schedule_options.Epochs = None,
    per_epoch: schedule_options.PerEpoch = STOCK_PER_WINDOW,
    validation: schedule_options.Validation = None,
    rate: schedule_options.Rate = None,
    by_window: schedule_options.ByWindow = False,
    warmup: schedule_options.Warmup = 0,
    keep_head: schedule_options.KeepHead = False,
    trainer: schedule_options.Trainer = DEFAULT_TRAINER,
    dataset: Dataset = None,
    plans: Plans = None,
    configuration: Configuration = None,
    fold: Annotated[
        str | None, Option("-f", "--fold", metavar="FOLD", help="The fold: a number, or all. Default: 0.")
    ] = None,
    output: TextOrJson = [],  # noqa: B006 - typer copies it
) -> None:
    """Plan a training of N optimiser steps, and name its trainer.

    nnU-Net trains for 1,000 epochs of 250 steps, however many cases there are. With a dataset, samples and passes over
    the cases are reported as well. Nothing is written, and nnU-Net is not needed.

    Examples:
        plansguard steps --total 50000
        plansguard steps -d 2 -c 3d_fullres --total 50000 --lr 0.001
        plansguard steps --epochs 200 --per-epoch 100
    """
    from plansguard.commands.steps import StepsRequest, planned
    from plansguard.render import steps as rendering

    outputs = text_or_json(output)
    for option, value in (("-p", plans), ("-c", configuration), ("-f", fold)):
        if value is not None and dataset is None:
            raise UsageError(f"{option} {value} is of a dataset, and none is named", hint="name it with -d")
    typed = (total, epochs, per_epoch, validation, rate, by_window, warmup, extend_to, keep_head)
    schedule = schedule_options.schedule_of(*typed, option="--total")
    request = StepsRequest(trainer, schedule, dataset, plans, configuration, fold or "0")
    result = planned(Workspace.from_environment(), request)
    emit_text_or_json(outputs, lambda _: rendering.text(result), lambda: rendering.as_json(result))
