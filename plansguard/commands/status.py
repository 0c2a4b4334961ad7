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
from plansguard.core.errors import Absent, PlansguardError, UnreadableDocument, UnreadableFolder, UsageError, known
from plansguard.core.text import brief, listed
from plansguard.documents.file_names import (
    CANONICAL_NAMES,
    MIGRATION_RECORD_ENDING,
    PREPROCESSING_RECORD_ENDING,
    TRAINING_RECORD_NAME,
)
from plansguard.nnunet.constants import CHECKPOINT_FINAL
from plansguard.nnunet.workspace import ROOTS, TrainedModel, Workspace, trained_models
from plansguard.records.verify import verify
from plansguard.subjects.dataset import Dataset
from plansguard.subjects.discovery import dataset_of
from plansguard.subjects.plans import Configuration, Plans
from plansguard.subjects.request import Progress, tracked
from plansguard.subjects.road import StepState, names_of_road
from plansguard.subjects.workspace_state import WorkRow, WorkState
from plansguard.training.folder_lock import holder
from plansguard.training.resume import checkpoints_in, fault_of, is_validated
from plansguard.training.trainer_name import planned_steps

_OF_DATA = {StepState.DONE: WorkState.DONE, StepState.STALE: WorkState.STALE, StepState.NEEDED: WorkState.STOPPED}
_RECORD_ENDINGS = (MIGRATION_RECORD_ENDING, PREPROCESSING_RECORD_ENDING)


def status(workspace: Workspace, ids: Sequence[str] | None, progress: Progress | None = None) -> list[WorkRow]:
    """Return the rows of the datasets named by ``ids`` (None: all that have preprocessed data or results).

    UsageError for an unknown dataset, and where nnUNet_preprocessed is not set.
    """
    names = workspace.dataset_names()
    workspace.preprocessed_folder("")  # raises where the variable is not set
    if ids is not None:
        names = [_present(workspace.dataset_name(one), names) for one in ids]
    rows: list[WorkRow] = []
    for name in tracked(names, "reading datasets", progress):
        try:
            rows += _of_dataset(workspace, name)
        except UnreadableFolder as error:  # others of the workspace can be read
            rows.append(WorkRow(name, "", "", Path(error.path).name, "", WorkState.DAMAGED, error.reason))
    return rows


def not_read(workspace: Workspace) -> list[str]:
    """The folders of nnU-Net that could not be read, one sentence each: no row is about what is in them."""
    roots = dict(zip(ROOTS, (workspace.raw, workspace.preprocessed, workspace.results), strict=True))
    unset = [f"{name} is not set" for name, root in roots.items() if root is None]
    absent = {name: root for name, root in roots.items() if root is not None and not disk.is_folder(root)}
    return unset + [f"{name} names a folder that does not exist: {root}" for name, root in absent.items()]


def _present(name: str, names: Sequence[str]) -> str:
    if name not in names:
        raise UsageError(f"there is no dataset {name}", hint=f"datasets here: {', '.join(names) or 'none'}")
    return name


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
        yield from (_unreadable(name, error) for error in dataset.unreadable)
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


def _unreadable(dataset: str, error: UnreadableDocument) -> WorkRow:
    """The row of a document that cannot be read: plans, or another one by its file name."""
    path = Path(error.path)
    is_other = path.name in CANONICAL_NAMES.values() or path.name.endswith(_RECORD_ENDINGS)
    what = (path.name, "") if is_other else ("plans", path.stem)
    return WorkRow(dataset, what[1], "", what[0], "", WorkState.DAMAGED, error.reason)


def _origin(dataset: Dataset, plans: Plans) -> str:
    """Where plans come from, by the migration record beside them."""
    path = plans.path.with_name(f"{plans.identifier}{MIGRATION_RECORD_ENDING}")
    try:
        record = dataset.migration_record(plans)
    except Absent as absent:
        if dataset.has_record(plans):
            return absent.reason
        if disk.is_there(path):
            return f"{path.name} cannot be read"
        return _without_record(dataset, plans)
    owner = f" of {record.giving}" if record.giving else ""
    return f"from {record.value['from']['plans']}{owner} ({record.workflow})"


def _without_record(dataset: Dataset, plans: Plans) -> str:
    """Where plans come from that have no migration record: by the names in the file, then by its medians.

    nnU-Net's planner writes the names of the folder and of the file.
    """
    here = {"dataset_name": dataset.name, "plans_name": plans.identifier}
    for key, name in here.items():
        written = plans.value.get(key, name)
        if written != name:
            return f"copied or renamed: {key} is {brief(written)}; no migration record"
    is_other = known(lambda: dataset.fingerprint.describes(plans)) is False
    return "for other images, without a migration record" if is_other else "planned"


def _of_plans(
    plans: Plans, dataset: Dataset, models: Sequence[TrainedModel], roads: Sequence[WorkRow]
) -> Iterator[WorkRow]:
    yield WorkRow(dataset.name, plans.identifier, "", "plans", "", WorkState.DONE, _origin(dataset, plans))
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
    for folder in model.fold_folders:
        if (state := _training(folder)) is not None:
            yield WorkRow(dataset, model.plans_name, model.configuration, folder.name, model.trainer, *state)


def _training(folder: Path) -> tuple[WorkState, str] | None:
    """The state of a training, and why; None for a folder in which none has begun."""
    owner = holder(folder)
    paths = checkpoints_in(folder)
    progress, damage = _of_checkpoint(paths[0]) if paths else ("no checkpoint yet", "")
    if owner is not None:
        return WorkState.RUNNING, f"{progress}; {owner}"
    if not paths:
        return None
    if damage:
        return WorkState.DAMAGED, damage
    if paths[0].name != CHECKPOINT_FINAL or not is_validated(folder):
        missing = "" if paths[0].name != CHECKPOINT_FINAL else "; not validated"
        return WorkState.STOPPED, f"{progress}{missing}"
    try:
        changes = _changes(folder / TRAINING_RECORD_NAME)
    except PlansguardError as error:
        return WorkState.DONE, f"{progress}; {TRAINING_RECORD_NAME}: {error.reason}"
    return (WorkState.STALE, f"{changes} since it was trained") if changes else (WorkState.DONE, progress)


def _of_checkpoint(path: Path) -> tuple[str, str]:
    """How far a checkpoint is, and what is wrong with it; the latter is empty for one that can be loaded."""
    try:
        checkpoint = read_checkpoint(path)
    except UnreadableDocument as error:
        return "progress unknown", f"{path.name}: {error.reason}"
    fault = fault_of(checkpoint)
    return _progress(checkpoint), f"{path.name}: {fault}" if fault else ""


def _progress(checkpoint: Checkpoint) -> str:
    planned = planned_steps(checkpoint.trainer)
    if checkpoint.step is not None and planned is not None:
        return f"step {checkpoint.step:,} of {planned:,}"
    return f"epoch {checkpoint.current_epoch}" if checkpoint.current_epoch is not None else "progress unknown"


def _changes(record: Path) -> str:
    """What has changed since the training, by its record; empty without a record, and where nothing has.

    PlansguardError for a record that cannot be read.
    """
    if not disk.is_file(record):
        return ""
    return listed([row.text for row in verify(record, Pool()).changed])
