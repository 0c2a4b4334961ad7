"""The state of all work in a workspace: plans, preprocessed data, trainings, and roads that run. Nothing is written."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from plansguard.artefacts.checkpoint.checkpoint import Checkpoint, read_checkpoint
from plansguard.artefacts.data.workers import Pool
from plansguard.commands.data_state import data_state
from plansguard.core import disk
from plansguard.core.atomic_files import is_occupied, locked_names
from plansguard.core.errors import PlansguardError, UnreadableDocument, UsageError, known
from plansguard.core.text import listed
from plansguard.documents.file_names import TRAINING_RECORD_NAME
from plansguard.nnunet.constants import CHECKPOINT_FINAL
from plansguard.nnunet.workspace import TrainedModel, Workspace, trained_models
from plansguard.records.verify import verify
from plansguard.subjects.dataset import Dataset
from plansguard.subjects.discovery import dataset_of
from plansguard.subjects.plans import Configuration, Plans
from plansguard.subjects.request import Progress, tracked
from plansguard.subjects.road import StepState, names_of_road
from plansguard.subjects.workspace_state import WorkRow, WorkState
from plansguard.training.folder_lock import holder
from plansguard.training.resume import checkpoints_in, is_validated
from plansguard.training.trainer_name import planned_steps

_OF_DATA = {StepState.DONE: WorkState.DONE, StepState.STALE: WorkState.STALE, StepState.NEEDED: WorkState.STOPPED}


def status(workspace: Workspace, ids: Sequence[str] | None, progress: Progress | None = None) -> list[WorkRow]:
    """Return the rows of the datasets named by ``ids`` (None: all that have preprocessed data or results).

    UsageError for an unknown dataset.
    """
    names = workspace.dataset_names() if ids is None else [workspace.dataset_name(one) for one in ids]
    rows: list[WorkRow] = []
    for name in tracked(names, "reading datasets", progress):
        rows += _of_dataset(workspace, name)
    return rows


def _of_dataset(workspace: Workspace, name: str) -> Iterator[WorkRow]:
    models = [] if workspace.results is None else [*trained_models(workspace.results, name)]
    present: set[str] = set()
    roads = [*_roads(workspace, name)]
    with suppress(UsageError):  # a dataset of which only raw images or results are there
        dataset = dataset_of(workspace, name)
        for plans in dataset.plans:
            present.add(plans.identifier)
            of_plans = [model for model in models if model.plans_name == plans.identifier]
            yield from _of_plans(plans, dataset, of_plans, [row for row in roads if row.plans == plans.identifier])
    yield from (row for row in roads if row.plans not in present)  # their plans are still to be made
    for model in models:
        if model.plans_name not in present:
            yield from _trainings(name, model)


def _roads(workspace: Workspace, name: str) -> Iterator[WorkRow]:
    """The roads that run, by their locks; those of preprocessed data have other names."""
    for locked in locked_names(workspace.preprocessed_folder(name)):
        place = names_of_road(locked)
        if place is not None:
            yield WorkRow(name, *place, "road", "", WorkState.RUNNING, "plansguard finetune")


def _of_plans(
    plans: Plans, dataset: Dataset, models: Sequence[TrainedModel], roads: Sequence[WorkRow]
) -> Iterator[WorkRow]:
    record = known(lambda: dataset.migration_record(plans)) if dataset.has_record(plans) else None
    origin = "planned"
    if record is not None:
        origin = f"from {record.value['from']['plans']} of {record.giving} ({record.workflow})"
    yield WorkRow(dataset.name, plans.identifier, "", "plans", "", WorkState.DONE, origin)
    yield from roads
    for configuration in plans.configurations:
        place = dataset.name, plans.identifier, configuration.name
        folder = known(lambda: dataset.data_folder(configuration))  # noqa: B023 - called at once
        if folder is not None:
            yield WorkRow(*place, "data", "", *_data(dataset, configuration, folder))
        for model in models:
            if model.configuration == configuration.name:
                yield from _trainings(dataset.name, model)


def _data(dataset: Dataset, configuration: Configuration, folder: Path) -> tuple[WorkState, str]:
    if is_occupied(folder):
        return WorkState.RUNNING, "preprocessing"
    state, because = data_state(dataset, configuration)
    return _OF_DATA[state], because


def _trainings(dataset: str, model: TrainedModel) -> Iterator[WorkRow]:
    for folder in disk.matching(model.folder, "fold_*"):
        if disk.is_folder(folder) and (state := _training(folder)) is not None:
            yield WorkRow(dataset, model.plans_name, model.configuration, folder.name, model.trainer, *state)


def _training(folder: Path) -> tuple[WorkState, str] | None:
    """The state of a training, and why; None for a folder in which none has begun."""
    owner = holder(folder)
    paths = checkpoints_in(folder)
    try:
        progress = _progress(read_checkpoint(paths[0])) if paths else "no checkpoint yet"
    except UnreadableDocument as error:
        progress = error.reason
    if owner is not None:
        return WorkState.RUNNING, f"{progress}; {owner}"
    if not paths:
        return None
    if paths[0].name != CHECKPOINT_FINAL or not is_validated(folder):
        missing = "" if paths[0].name != CHECKPOINT_FINAL else "; not validated"
        return WorkState.STOPPED, f"{progress}{missing}"
    changes = _changes(folder / TRAINING_RECORD_NAME)
    return (WorkState.STALE, f"{changes} since it was trained") if changes else (WorkState.DONE, progress)


def _progress(checkpoint: Checkpoint) -> str:
    planned = planned_steps(checkpoint.trainer)
    if checkpoint.step is not None and planned is not None:
        return f"step {checkpoint.step:,} of {planned:,}"
    return f"epoch {checkpoint.current_epoch}" if checkpoint.current_epoch is not None else "progress unknown"


def _changes(record: Path) -> str:
    """What has changed since the training, by its record; empty without a record, and where nothing has."""
    if not disk.is_file(record):
        return ""
    try:
        rows = [row for row in verify(record, Pool()).rows if not row.state.holds]
    except PlansguardError:
        return ""
    return listed([f"{row.document} {row.state.value}" for row in rows])
