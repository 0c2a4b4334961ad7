"""``plansguard steps``."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Annotated

import typer

from plansguard.cli.schedule_options import (
    Base,
    ByWindow,
    Epochs,
    ExtendTo,
    PerEpoch,
    Rate,
    Validation,
    Warmup,
    schedule_of,
)
from plansguard.core.errors import UsageError
from plansguard.nnunet.constants import DEFAULT_TRAINER
from plansguard.nnunet.workspace import Workspace
from plansguard.render import printable
from plansguard.training.schedule import STOCK_PER_WINDOW

if TYPE_CHECKING:
    from plansguard.render.steps import Data
    from plansguard.subjects.dataset import Dataset
    from plansguard.training.schedule import StepSchedule


def steps(
    total: Annotated[int | None, typer.Option("--total", metavar="N", help="How many optimiser steps.")] = None,
    extend_to: ExtendTo = None,
    epochs: Epochs = None,
    per_epoch: PerEpoch = STOCK_PER_WINDOW,
    validation: Validation = None,
    rate: Rate = None,
    by_window: ByWindow = False,
    warmup: Warmup = 0,
    trainer: Base = DEFAULT_TRAINER,
    dataset: Annotated[
        str | None, typer.Option("-d", "--dataset", metavar="ID_OR_NAME", help="A dataset below $nnUNet_preprocessed.")
    ] = None,
    plans: Annotated[str | None, typer.Option("-p", "--plans", metavar="IDENTIFIER", help="Its plans.")] = None,
    configuration: Annotated[
        str | None, typer.Option("-c", "--configuration", help="The configuration, such as 3d_fullres.")
    ] = None,
    fold: Annotated[str, typer.Option("-f", "--fold", help="The fold: a number, or all.")] = "0",
) -> None:
    """Work out a training of a given number of optimiser steps, and name the trainer that makes exactly these.

    nnU-Net trains for 1,000 epochs of 250 steps, however many cases there are. With a dataset also samples and passes
    over the cases are told. Nothing is written, and nnU-Net is not needed.
    """
    from plansguard.render.steps import text
    from plansguard.training.trainer_name import trainer_name

    schedule = schedule_of(total, epochs, per_epoch, validation, rate, by_window, warmup, extend_to, option="--total")
    name = trainer_name(trainer, schedule)
    data = None if dataset is None else _data(dataset, plans, configuration, fold)
    typer.echo(text(trainer, schedule, data), nl=False)
    words = [dataset or "DATASET", configuration or "CONFIGURATION", fold]
    words += ["-tr", name, *(["-p", plans] if plans else []), *(["--c"] if extend_to else [])]
    typer.echo("\nNext:")
    typer.echo(printable(f"  plansguard gate -- nnUNetv2_train {shlex.join(words)}"))
    _advise(schedule)


def _advise(schedule: StepSchedule) -> None:
    if schedule.rate is None and not schedule.extends:
        typer.echo(
            "\nFor -pretrained_weights a lower rate is usual, such as --lr 0.001: 0.01 may undo what they learned."
        )


def _data(dataset: str, plans: str | None, configuration: str | None, fold: str) -> Data:
    """The batch size, from the plans, and the number of training cases, from the splits or dataset.json."""
    from plansguard.core.errors import Absent
    from plansguard.nnunet.constants import DEFAULT_IDENTIFIER
    from plansguard.nnunet.workspace import checked_fold
    from plansguard.render.steps import Data
    from plansguard.subjects.discovery import configuration_of, dataset_of, plans_of

    fold = checked_fold(fold)
    if configuration is None:
        raise UsageError("the batch size is the configuration's: add -c", hint="for example -c 3d_fullres")
    subject = dataset_of(Workspace.from_environment(), dataset)
    chosen = plans_of(subject, plans or DEFAULT_IDENTIFIER)
    named = configuration_of(chosen, configuration)
    try:
        batch_size = named.usable.require("batch_size")
    except Absent as absent:
        raise UsageError(f"{configuration} of {chosen.identifier} cannot be used: {absent.reason}") from absent
    return Data(int(batch_size), _cases(subject, fold))


def _cases(subject: Dataset, fold: str) -> int | None:
    """How many cases nnU-Net trains on in this fold; None where nothing says it. Source: nnUNetTrainer.do_split."""
    from plansguard.core.errors import Absent
    from plansguard.nnunet.workspace import FOLDS

    try:
        every = int(subject.dataset_json.require("numTraining"))
    except (Absent, TypeError, ValueError):
        every = 0
    if fold == "all":
        return every or None
    try:
        splits = subject.splits
    except Absent:
        held_out = every // FOLDS + (int(fold) < every % FOLDS)
        return every - held_out if every >= FOLDS and int(fold) < FOLDS else None
    if splits.problems:
        return None
    return len(splits.value[int(fold)]["train"]) if int(fold) < len(splits.value) else int(every * 0.8) or None
