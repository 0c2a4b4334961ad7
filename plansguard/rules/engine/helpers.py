"""Helpers of several rule families: commands in messages, and faults that several configurations share."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path

from plansguard.core import disk
from plansguard.core.errors import known
from plansguard.core.report import Location
from plansguard.core.text import differ, listed, quoted
from plansguard.nnunet import plans_diff
from plansguard.nnunet.workspace import TrainedModel, dataset_id
from plansguard.rules.engine.declare import Found, found
from plansguard.subjects.dataset import Dataset
from plansguard.subjects.plans import Configuration, Plans
from plansguard.subjects.trained_models import differing_fields

#: Suggested name of migrated plans.
_NEW_NAME = "PretrainPlans"


def lacks(dataset: Dataset, name: str) -> bool:
    """Return whether the folder has no file of this name, neither on disk nor among the files to be written."""
    paths = [document.path for document in dataset.documents] + [error.path for error in dataset.unreadable]
    return name not in {Path(path).name for path in paths} and not disk.is_there(dataset.folder / name)


def raw_file(dataset: Dataset, name: str) -> str:
    """Return the path of a file of the dataset in nnUNet_raw, quoted for a shell."""
    if dataset.workspace.raw is None:
        return f'"$nnUNet_raw"/{quoted(dataset.name)}/{name}'
    return quoted(dataset.workspace.raw / dataset.name / name)


def migration_of(weights: str, dataset: Dataset) -> str:
    """Return the command that migrates the plans of these weights to a dataset, under a free name."""
    return f"plansguard migrate -s {quoted(weights)} -t {number(dataset)} -tp {free_name(dataset)}"


def free_name(dataset: Dataset) -> str:
    """Return a name for migrated plans that the dataset does not have yet."""
    taken = {path.stem.casefold() for path in disk.matching(dataset.folder, "*.json")}
    names = (f"{_NEW_NAME}{suffix}" for suffix in ["", *range(2, len(taken) + 3)])
    return next(name for name in names if name.casefold() not in taken)


def number(dataset: Dataset) -> str:
    """Return the number of the dataset for nnU-Net's ``-d``, or a placeholder if its name has none."""
    return dataset_id(dataset.name) or "DATASET_ID"


def preprocess_command(dataset: Dataset, plans: Plans, *names: str) -> str:
    """Return the command that preprocesses configurations and leaves a record, or what must be done before.

    Migrated plans are refused while a field that they owe to the migration is edited; plans outside of
    nnUNet_preprocessed have no data.
    """
    if dataset.role != "preprocessed":
        return "preprocess it where the dataset is"
    record = known(lambda: dataset.migration_record(plans))
    if record is not None:
        changes = plans_diff.edited(record.migrated, plans.value)
        codes = {"weights": "PG401", "input": "PG402"}
        refused = sorted({codes[change.field.facet] for change in changes if change.field.facet in codes})
        if refused:
            return f"first set back what {listed(refused)} reports, or give the plans a new name"
    wanted = " ".join(f"-c {quoted(name)}" for name in names)
    return f"plansguard preprocess -d {number(dataset)} -p {quoted(plans.identifier)} {wanted}"


def preprocess_commands(dataset: Dataset) -> str:
    """Return the commands that preprocess again whatever data the dataset has; empty where it has none."""
    seen: set[str] = set()
    commands = []
    for plans in dataset.judged_plans:
        names = []
        for configuration in requested_configurations(dataset, plans):
            folder = known(partial(dataset.data_folder, configuration))
            if folder is not None and folder.name not in seen:
                seen.add(folder.name)
                names.append(configuration.name)
        if names:
            commands.append(preprocess_command(dataset, plans, *names))
    return " && ".join(dict.fromkeys(commands))


def requested_configurations(dataset: Dataset, plans: Plans) -> Iterator[Configuration]:
    """Yield the usable configurations of ``plans`` that are to be checked."""
    for configuration in plans.configurations:
        if dataset.request.configuration in (None, configuration.name) and configuration.is_usable:
            yield configuration


def reported_before(dataset: Dataset, configuration: Configuration, *keys: str) -> bool:
    """Return whether a configuration that is checked earlier has the same values in these fields.

    The same fault is reported once: children inherit it, and the planner gives siblings the same values.
    """
    for earlier in requested_configurations(dataset, configuration.plans):
        if earlier.name == configuration.name:
            return False
        if all(earlier.get(key) == configuration.get(key) for key in keys):
            return True
    return False


def trained_otherwise(
    at: Location, models: Iterable[TrainedModel], plans: Plans, facets: Sequence[str]
) -> Iterator[Found]:
    """Yield a finding for each model that was trained with plans which differ from ``plans`` in these facets.

    Only fields that apply to the model's configuration count. A copy of the plans that cannot be read is skipped.
    """
    for model in models:
        if fields := differing_fields(model, plans, facets):
            related = [(Location(str(model.folder / "plans.json")), "the plans it was trained with")]
            changed = places_of(fields, plans, model.configuration)
            yield found(at, related=related, changed=changed, model=str(model.folder), difference=differ(fields))


def places_of(fields: Iterable[str], plans: Plans, name: str) -> Iterator[Location]:
    """Yield the places of fields that are named as in a difference of plans; ``name`` is the configuration compared."""
    configuration = next((one for one in plans.configurations if one.name == name), None)
    for field in fields:
        key = field.removeprefix(f"{name}.")
        inside = configuration is not None and key != field
        yield configuration.at(*key.split(".")) if configuration and inside else plans.at(*key.split("."))
