"""A training of a number of optimiser steps: its trainer, what it runs on, and the commands that start it."""

from __future__ import annotations

from dataclasses import dataclass, replace

from plansguard.core.errors import Absent, UsageError
from plansguard.nnunet import printed_commands
from plansguard.nnunet.constants import DEFAULT_IDENTIFIER
from plansguard.nnunet.printed_commands import CONFIGURATION, DATASET
from plansguard.nnunet.workspace import ALL, FOLDS, Workspace, checked_fold
from plansguard.subjects.dataset import Dataset
from plansguard.subjects.discovery import configuration_of, dataset_of, plans_of, some_configuration
from plansguard.subjects.pretraining import Pretraining, pretraining_of
from plansguard.training.planned_steps import PlannedSteps
from plansguard.training.schedule import GENTLE_RATE, StepSchedule
from plansguard.training.trainer_name import trainer_name


@dataclass(frozen=True)
class StepsRequest:
    """The options of ``plansguard steps``. ``trainer`` is the base trainer; the dataset need not be named."""

    trainer: str
    schedule: StepSchedule
    dataset: str | None = None
    plans: str | None = None
    configuration: str | None = None
    fold: str = "0"


def planned(workspace: Workspace, request: StepsRequest) -> PlannedSteps:
    """Return the training of a request, at a low rate if the plans are for pretrained weights.

    Raises UsageError for an impossible name of a trainer, without a configuration, and as `training_data`.
    """
    schedule = request.schedule
    trainer = trainer_name(request.trainer, schedule)
    batch_size = cases = weights = None
    if request.dataset is not None:
        if request.configuration is None:
            plans = plans_of(dataset_of(workspace, request.dataset), request.plans or DEFAULT_IDENTIFIER)
            raise UsageError("the batch size is that of a configuration", hint=some_configuration(plans))
        chosen = workspace, request.dataset, request.plans or DEFAULT_IDENTIFIER, request.configuration
        batch_size, cases = training_data(*chosen, request.fold)
        weights = None if schedule.extends else weights_for(*chosen)
    gentle = weights is not None and schedule.rate is None
    if gentle:
        schedule = replace(schedule, rate=GENTLE_RATE)
        trainer = trainer_name(request.trainer, schedule)
    place = request.dataset or DATASET, request.configuration or CONFIGURATION, request.fold
    path, flags = None if weights is None else weights.path, ["--c"] if schedule.extends else []
    train = printed_commands.train(*place, plans=request.plans, trainer=trainer, flags=flags, weights=path)
    before = () if weights is None else weights.before
    return PlannedSteps(request.trainer, schedule, trainer, batch_size, cases, (*before, train), gentle)


def training_data(
    workspace: Workspace, dataset: str, plans: str, configuration: str, fold: str
) -> tuple[int, int | None]:
    """Return the batch size of a configuration, and the number of training cases of a fold; None if it is unknown.

    Raises UsageError for an unknown dataset, plans, configuration or fold, and for plans without a batch size.
    """
    fold = checked_fold(fold)
    subject = dataset_of(workspace, dataset)
    chosen = plans_of(subject, plans)
    try:
        batch_size = configuration_of(chosen, configuration).usable.require("batch_size")
    except Absent as absent:
        raise UsageError(
            f"{configuration} of {chosen.identifier} cannot be used: {absent.reason}",
            hint=printed_commands.check(subject.name, plans=chosen.identifier, configuration=configuration),
        ) from absent
    return int(batch_size), _cases(subject, fold)


def weights_for(workspace: Workspace, dataset: str, plans: str, configuration: str) -> Pretraining | None:
    """Return the weights that the plans were migrated for; None for other plans. UsageError as ``training_data``."""
    subject = dataset_of(workspace, dataset)
    return pretraining_of(subject, plans_of(subject, plans), configuration)


def _cases(dataset: Dataset, fold: str) -> int | None:
    """How many cases nnU-Net trains on in this fold; None where that is unknown. Source: nnUNetTrainer.do_split."""
    try:
        every = int(dataset.dataset_json.require("numTraining"))
    except (Absent, TypeError, ValueError):
        every = 0
    if fold == ALL:
        return every or None
    number = int(fold)
    try:
        splits = dataset.splits
    except Absent:
        held_out = every // FOLDS + (number < every % FOLDS)
        return every - held_out if every >= FOLDS and number < FOLDS else None
    if splits.problems:
        return None
    return len(splits.value[number]["train"]) if number < len(splits.value) else int(every * 0.8) or None
