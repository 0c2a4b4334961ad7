"""The batch size and the training cases that a schedule in steps runs on."""

from __future__ import annotations

from plansguard.core.errors import Absent, UsageError
from plansguard.nnunet.workspace import ALL, FOLDS, Workspace, checked_fold
from plansguard.subjects.dataset import Dataset
from plansguard.subjects.discovery import configuration_of, dataset_of, plans_of
from plansguard.subjects.pretraining import Pretraining, pretraining_of


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
        raise UsageError(f"{configuration} of {chosen.identifier} cannot be used: {absent.reason}") from absent
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
