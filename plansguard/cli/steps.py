"""``plansguard steps``."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Annotated

import typer

from plansguard.errors import UsageError
from plansguard.render import printable
from plansguard.workspace import Workspace

if TYPE_CHECKING:
    from plansguard.render.steps import Data
    from plansguard.subject import Dataset
    from plansguard.training.schedule import StepSchedule

#: Folds that nnU-Net makes where there is no splits_final.json. Source: nnUNetTrainer.do_split.
_FOLDS = 5


def steps(
    total: Annotated[int | None, typer.Option("--total", metavar="N", help="How many optimiser steps.")] = None,
    epochs: Annotated[
        int | None, typer.Option("--epochs", metavar="E", help="The other way round: E epochs of --per-epoch steps.")
    ] = None,
    per_epoch: Annotated[
        int,
        typer.Option("--per-epoch", metavar="K", help="Steps between two validations, which nnU-Net calls an epoch."),
    ] = 250,
    validation: Annotated[
        int | None,
        typer.Option("--validation", metavar="V", help="Steps of each validation. Default: the trainer's, 50."),
    ] = None,
    rate: Annotated[
        float | None, typer.Option("--lr", metavar="X", help="The highest learning rate. Default: the trainer's, 0.01.")
    ] = None,
    by_window: Annotated[
        bool, typer.Option("--window-lr", help="Lower the rate once per epoch, as nnU-Net does, not with every step.")
    ] = False,
    warmup: Annotated[
        int, typer.Option("--warmup", metavar="W", help="Raise the rate over the first W steps, which count as well.")
    ] = 0,
    trainer: Annotated[
        str, typer.Option("-tr", metavar="TRAINER", help="The trainer of nnU-Net that makes the steps.")
    ] = "nnUNetTrainer",
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
    from plansguard.training.names import trainer_name
    from plansguard.training.schedule import StepSchedule

    if (total is None) == (epochs is None):
        raise UsageError("name either --total or --epochs", hint="plansguard steps --total 50000 --per-epoch 1000")
    number = total if total is not None else StepSchedule.of_epochs(epochs or 0, per_epoch).total
    schedule = StepSchedule(number, per_epoch, validation, rate, by_window, warmup)
    name = trainer_name(trainer, schedule)
    data = None if dataset is None else _data(dataset, plans, configuration, fold)
    typer.echo(text(trainer, schedule, data), nl=False)
    words = [dataset or "DATASET", configuration or "CONFIGURATION", fold]
    command = ["nnUNetv2_train", *words, "-tr", name, *(["-p", plans] if plans else [])]
    typer.echo("\nNext:")
    typer.echo('  eval "$(plansguard env)"')
    typer.echo(printable(f"  {shlex.join(command)}"))
    _advise(schedule)


def _advise(schedule: StepSchedule) -> None:
    if schedule.rate is None:
        typer.echo(
            "\nFor -pretrained_weights a lower rate is usual, such as --lr 0.001: 0.01 may undo what they learned."
        )


def _data(dataset: str, plans: str | None, configuration: str | None, fold: str) -> Data:
    """The batch size, from the plans, and the number of training cases, from the splits or dataset.json."""
    from plansguard.direction import DEFAULT_IDENTIFIER
    from plansguard.discovery import dataset_of
    from plansguard.parts import Absent
    from plansguard.render.steps import Data

    if fold != "all" and not (fold.isascii() and fold.isdigit() and len(fold) < 5):
        raise UsageError(f"{fold!r} is no fold", hint="a number such as 0, or all")
    if configuration is None:
        raise UsageError("the batch size is the configuration's: add -c", hint="for example -c 3d_fullres")
    subject = dataset_of(Workspace.from_environment(), dataset)
    identifier = plans or DEFAULT_IDENTIFIER
    chosen = {one.identifier: one for one in subject.plans}.get(identifier)
    if chosen is None:
        here = ", ".join(one.identifier for one in subject.plans) or "none"
        raise UsageError(f"{subject.name} has no plans {identifier}", hint=f"plans here: {here}")
    named = {one.name: one for one in chosen.configurations}.get(configuration)
    if named is None:
        here = ", ".join(one.name for one in chosen.configurations) or "none"
        raise UsageError(f"{identifier} has no configuration {configuration}", hint=f"it has {here}")
    try:
        batch_size = named.usable.require("batch_size")
    except Absent as absent:
        raise UsageError(f"{configuration} of {identifier} cannot be used: {absent.reason}") from absent
    return Data(int(batch_size), _cases(subject, fold))


def _cases(subject: Dataset, fold: str) -> int | None:
    """How many cases nnU-Net trains on in this fold; None where nothing says it. Source: nnUNetTrainer.do_split."""
    from plansguard.parts import Absent

    try:
        every = int(subject.dataset_json.require("numTraining"))
    except (Absent, TypeError, ValueError):
        every = 0
    if fold == "all":
        return every or None
    try:
        splits = subject.splits
    except Absent:
        held_out = every // _FOLDS + (int(fold) < every % _FOLDS)
        return every - held_out if every >= _FOLDS and int(fold) < _FOLDS else None
    if splits.problems:
        return None
    return len(splits.value[int(fold)]["train"]) if int(fold) < len(splits.value) else int(every * 0.8) or None
