"""The overview of a workspace: its datasets, their plans, data and models, and which weights fit where."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from plansguard.artefacts.checkpoint.trained_model import weights_in
from plansguard.artefacts.data.cases import list_folder
from plansguard.commands.check import check
from plansguard.commands.fit import compare
from plansguard.core import disk
from plansguard.core.errors import Absent, PlansguardError, UnreadableDocument, UsageError
from plansguard.nnunet.workspace import TrainedModel, Workspace, trained_models
from plansguard.rules.engine.settings import ActiveSettings
from plansguard.subjects.dataset import Dataset
from plansguard.subjects.figures.collect import of_datasets
from plansguard.subjects.overview import ConfigurationState, DatasetState, Overview, PlansState, WeightsState
from plansguard.subjects.plans import Configuration, Plans
from plansguard.subjects.request import Progress, Request, tracked


def overview(
    workspace: Workspace, settings: ActiveSettings | None = None, progress: Progress | None = None
) -> Overview:
    """Return what is in nnU-Net's folders. Nothing is written; of data, names are read, and headers of cases."""
    names = workspace.dataset_names()
    states, preprocessed = [], []
    for name in tracked(names, "checking datasets", progress):
        state, dataset = _state(workspace, name, settings)
        states.append(state)
        if dataset is not None and disk.is_folder(workspace.preprocessed_folder(name)):
            preprocessed.append(replace(dataset, request=Request()))  # without what the check has read of the data
    models = [model for name in names for model in _models(workspace, name) if model.checkpoints]
    weights = [_weights(model, preprocessed) for model in tracked(models, "comparing weights", progress)]
    return Overview(workspace, tuple(states), tuple(weights))


def _models(workspace: Workspace, name: str) -> list[TrainedModel]:
    return [] if workspace.results is None else list(trained_models(workspace.results, name))


def _state(workspace: Workspace, name: str, settings: ActiveSettings | None) -> tuple[DatasetState, Dataset | None]:
    """The state of a dataset, and the dataset as the check has read it; None where only its results are there."""
    read: list[Dataset] = []
    models = tuple(model.folder.name for model in _models(workspace, name))
    try:
        report = check(datasets=[name], settings=settings, visit=read.append)
    except UsageError:
        return DatasetState(name, models), None
    (dataset,) = read
    return DatasetState(name, models, report, tuple(_plans(dataset)), of_datasets(read)), dataset


def _plans(dataset: Dataset) -> Iterator[PlansState]:
    for plans in dataset.plans:
        states = tuple(_configuration(dataset, one) for one in plans.configurations)
        yield PlansState(plans.identifier, _giving(dataset, plans), states)


def _giving(dataset: Dataset, plans: Plans) -> str | None:
    """The dataset that plans were migrated from; None if they were not."""
    record = dataset.brought_by(plans)
    return None if record is None else record.giving


def _configuration(dataset: Dataset, configuration: Configuration) -> ConfigurationState:
    try:
        return ConfigurationState(configuration.name, len(list_folder(dataset.data_folder(configuration)).names))
    except (Absent, UnreadableDocument):
        return ConfigurationState(configuration.name, None)


def _weights(model: TrainedModel, datasets: Sequence[Dataset]) -> WeightsState:
    name = f"{model.folder.parent.name}/{model.folder.name}"
    try:
        return WeightsState(name, tuple(compare(weights_in(model.folder), datasets)))
    except PlansguardError as error:
        return WeightsState(name, unread=error.reason)
