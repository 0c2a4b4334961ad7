"""What several rule families share: how values are worded, and which of two places tells a fault that both show."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from plansguard.core.errors import UnreadableDocument
from plansguard.core.text import quoted
from plansguard.documents import size_limits
from plansguard.documents.recognise import recognise
from plansguard.nnunet import plans_diff
from plansguard.nnunet.workspace import TrainedModel, dataset_id
from plansguard.subjects.dataset import Dataset
from plansguard.subjects.plans import Configuration, Plans

#: What migrated plans could be called.
_NEW_NAME = "PretrainPlans"


def lacks(dataset: Dataset, name: str) -> bool:
    """Whether the folder has no file of this name, neither on disk nor among what is about to be written."""
    paths = [document.path for document in dataset.documents] + [error.path for error in dataset.unreadable]
    return name not in {Path(path).name for path in paths} and not (dataset.folder / name).exists()


def raw_file(dataset: Dataset, name: str) -> str:
    """A file of the dataset in nnUNet_raw, as one types it in a shell."""
    if dataset.workspace.raw is None:
        return f'"$nnUNet_raw"/{quoted(dataset.name)}/{name}'
    return quoted(dataset.workspace.raw / dataset.name / name)


def migration_of(weights: str, dataset: Dataset) -> str:
    """The command that brings the plans of these weights to a dataset, under a name that is free there."""
    return f"plansguard migrate -s {quoted(weights)} -t {number(dataset)} -tp {free_name(dataset)}"


def free_name(dataset: Dataset) -> str:
    """A name for migrated plans that the dataset does not have yet."""
    taken = {path.stem.casefold() for path in dataset.folder.glob("*.json")}
    names = (f"{_NEW_NAME}{suffix}" for suffix in ["", *range(2, len(taken) + 3)])
    return next(name for name in names if name.casefold() not in taken)


def number(dataset: Dataset) -> str:
    """What nnU-Net's ``-d`` takes for the dataset; where the folder's name does not tell, a placeholder."""
    return dataset_id(dataset.name) or "DATASET_ID"


def judged(dataset: Dataset, plans: Plans) -> Iterator[Configuration]:
    """The configurations of ``plans`` that are asked for and can be read."""
    for configuration in plans.configurations:
        if dataset.request.configuration in (None, configuration.name) and configuration.is_usable:
            yield configuration


def told_before(dataset: Dataset, configuration: Configuration, *keys: str) -> bool:
    """Whether a configuration that is judged before this one says the same in these fields.

    One fault is told once: children inherit it, and the planner gives siblings the same values.
    """
    for earlier in judged(dataset, configuration.plans):
        if earlier.name == configuration.name:
            return False
        if all(earlier.get(key) == configuration.get(key) for key in keys):
            return True
    return False


def differing_fields(model: TrainedModel, plans: Plans, facets: Sequence[str]) -> list[str]:
    """Fields of these facets in which the plans a model was trained with differ from ``plans``, by their names.

    Only what counts for the model's configuration; nothing where nnU-Net's own copy of the plans cannot be read.
    """
    try:
        theirs = size_limits.read(model.folder / "plans.json").value
    except UnreadableDocument:
        return []
    if recognise(theirs) != "plans":
        return []
    return plans_diff.edited_fields(theirs, plans.value, facets, model.configuration)
