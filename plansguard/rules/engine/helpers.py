"""Helpers of several rule families: commands in messages, faults that several configurations share, folders of data."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from plansguard.core import disk
from plansguard.core.by_content import content
from plansguard.core.errors import Absent, UnreadableDocument, known
from plansguard.core.report import Location
from plansguard.core.text import differ, listed, quoted
from plansguard.nnunet import constants, plans_diff, printed_commands
from plansguard.nnunet.printed_commands import ShellText
from plansguard.nnunet.workspace import TrainedModel, is_named_preprocessed
from plansguard.records.preprocessing_inputs import FieldDifference
from plansguard.rules.engine.declare import Found, found
from plansguard.subjects.dataset import Dataset
from plansguard.subjects.plans import Configuration, Plans
from plansguard.subjects.trained_models import differing_fields

if TYPE_CHECKING:
    from plansguard.artefacts.data.cases import DataFolder

#: Fields that the engine fills, in commands of declared fixes.
NUMBER, PLANS, CONFIGURATION = ShellText("{number}"), ShellText("{plans}"), ShellText("{configuration}")
#: Suggested name of migrated plans.
_NEW_NAME = "PretrainPlans"
_ELSEWHERE = "preprocess it where the dataset is"


def yielded(name: str) -> ShellText:
    """Return the field of a value that a rule yields as shell text, for a command of its declared fix."""
    return ShellText(f"{{{name}}}")


def lacks(dataset: Dataset, name: str) -> bool:
    """Return whether the folder has no file of this name, neither on disk nor among the files to be written."""
    if any(document.name == name for document in dataset.documents):
        return False
    return not any(disk.name(error.path) == name for error in dataset.unreadable) and not disk.is_there(
        dataset.folder / name
    )


def raw_file(dataset: Dataset, name: str) -> str:
    """Return the path of a file of the dataset in nnUNet_raw, quoted for a shell."""
    if dataset.workspace.raw is None:
        return printed_commands.below("nnUNet_raw", dataset.name, name)
    return quoted(dataset.workspace.raw / dataset.name / name)


def migration_of(weights: str, dataset: Dataset, reader: str | None = None) -> str:
    """Return the command that migrates the plans of these weights to a dataset, under a free name."""
    return printed_commands.migrate(weights, dataset.name, free_name(dataset), reader=reader)


def free_name(dataset: Dataset) -> str:
    """Return a name for migrated plans that the dataset does not have yet."""
    taken = {path.stem.casefold() for path in disk.matching(dataset.folder, "*.json")}
    names = (f"{_NEW_NAME}{suffix}" for suffix in ["", *range(2, len(taken) + 3)])
    return next(name for name in names if name.casefold() not in taken)


def number(dataset: Dataset) -> str:
    """Return the number of the dataset for ``-d``, or a placeholder if its name has none or it is not in place.

    For plans outside of the variables' workspace, a command with the number would act on another dataset.
    """
    return printed_commands.number(dataset.name) if is_in_place(dataset) else printed_commands.DATASET


def is_in_place(dataset: Dataset) -> bool:
    """Return whether a command with the number of the dataset acts on it: the variables name its workspace."""
    return dataset.role == "preprocessed" and is_named_preprocessed(dataset.folder.absolute().parent)


def in_place(dataset: Dataset, command: str) -> str:
    """Return a command that preprocesses a dataset, or words where it would act on another workspace."""
    return command if is_in_place(dataset) else _ELSEWHERE


def preprocess_command(dataset: Dataset, plans: Plans, *names: str) -> str:
    """Return the command that preprocesses configurations and leaves a record, or what must be done before.

    `plansguard preprocess` refuses migrated plans while a field that they owe to the migration is edited, and folders
    that other configurations read and would fill differently. Plans outside of nnUNet_preprocessed have no data, and
    for those of another workspace than the variables name the command would act on the wrong one.
    """
    if not is_in_place(dataset):
        return _ELSEWHERE
    codes = sorted({*_edited_since_migration(dataset, plans), *_shared_wrongly(dataset, plans, names)})
    if codes:
        where = f", shown by {printed_commands.check(dataset.name)}" if dataset.request.plans else ""
        return f"first do what {listed(codes)} says{where if 'PG501' in codes else ''}"
    return printed_commands.preprocess(dataset.name, plans.identifier, *names)


def preprocess_commands(dataset: Dataset, every: Iterable[Plans]) -> str:
    """Return the commands that preprocess again whatever data these plans have; empty where they have none."""
    commands: list[str] = []
    for plans, names in _configurations_with_data(dataset, every):
        command = preprocess_command(dataset, plans, *names)
        if not isinstance(command, ShellText):
            return command
        commands.append(command)
    return printed_commands.chain(*commands)


def plan_commands(dataset: Dataset, every: Sequence[Plans]) -> str:
    """Return the commands that plan a dataset again, and preprocess again whatever data these plans have.

    Plans that no planner of nnU-Net writes are replaced by nnU-Net's default ones, whose data are not known yet. In
    words where the commands would act on another workspace than that of the dataset.
    """
    if not is_in_place(dataset):
        return "plan it again where the dataset is"
    own = [plans for plans in every if plans.identifier in constants.PLANNER_OF_IDENTIFIER]
    planners = [constants.PLANNER_OF_IDENTIFIER[plans.identifier] for plans in own]
    commands = [printed_commands.plan_experiment(dataset.name, planner) for planner in planners or (None,)]
    with_data = _configurations_with_data(dataset, own)
    again = (printed_commands.preprocess(dataset.name, plans.identifier, *names) for plans, names in with_data)
    return printed_commands.chain(*commands, *again)


def _configurations_with_data(dataset: Dataset, every: Iterable[Plans]) -> Iterator[tuple[Plans, list[str]]]:
    """Yield the plans that have data, and one requested configuration for each folder of data."""
    seen: set[str] = set()
    for plans in every:
        names = []
        for configuration in requested_configurations(dataset, plans):
            folder = known(partial(dataset.data_folder, configuration))
            if folder is not None and folder.name not in seen:
                seen.add(folder.name)
                names.append(configuration.name)
        if names:
            yield plans, names


def _edited_since_migration(dataset: Dataset, plans: Plans) -> Iterator[str]:
    """Yield the codes of the rules that report edits of migrated plans as errors."""
    is_brought = dataset.brought_by(plans) is not None  # in others an edit is for information only
    record = known(lambda: dataset.migration_record(plans)) if is_brought else None
    codes = {"weights": "PG401", "input": "PG402"}
    for change in plans_diff.edited_since_migration(record.migrated, plans.value) if record is not None else ():
        if change.field.facet in codes:
            yield codes[change.field.facet]


def _shared_wrongly(dataset: Dataset, plans: Plans, names: Iterable[str]) -> Iterator[str]:
    """Yield the codes of the rules about configurations that share a folder of data and fill it differently."""
    for users in dataset.data_users.values():
        for ours in (user for user in users if user.plans.path == plans.path and user.configuration.name in names):
            others = (user for user in users if user.differs_from(ours))
            yield from ("PG502" if user.plans.path == plans.path else "PG501" for user in others)


def requested_configurations(dataset: Dataset, plans: Plans) -> Sequence[Configuration]:
    """Return the usable configurations of ``plans`` that are to be checked."""
    only = dataset.request.configuration
    every = plans.usable_configurations
    return every if only is None else [configuration for configuration in every if configuration.name == only]


def reported_before(dataset: Dataset, configuration: Configuration, *keys: str) -> bool:
    """Return whether a configuration that is checked earlier has the same values in these fields.

    The same fault is reported once: children inherit it, and the planner gives siblings the same values.
    """
    only, ours = dataset.request.configuration, configuration.resolved
    for earlier in configuration.earlier:
        if only is None or earlier.name == only:
            theirs = earlier.resolved
            if all([_are_same(theirs.get(key), ours.get(key)) for key in keys]):  # noqa: C419 - no generator: faster
                return True
    return False


def _are_same(one: Any, other: Any) -> bool:
    """Return whether two values are equal and of equal types: to nnU-Net, 3.0 and true are not 3 and 1."""
    return one is other or (one == other and content(one) == content(other))


def narrowed(before: Any, after: Any) -> tuple[tuple[Any, ...], Any, Any]:
    """Return the keys that lead to the only item or member in which two values differ, and what differs there."""
    keys: list[Any] = []
    if isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        keys = [index for index, old in enumerate(before) if old != after[index]]
    elif isinstance(before, dict) and isinstance(after, dict) and before.keys() == after.keys():
        keys = [key for key, old in before.items() if old != after[key]]
    if len(keys) != 1:
        return (), before, after
    deeper, old, new = narrowed(before[keys[0]], after[keys[0]])
    return (keys[0], *deeper), old, new


def member(difference: FieldDifference) -> FieldDifference:
    """Return the difference of the only member of an object that differs, under a name such as ``field.member``."""
    field, then, now = difference
    if not isinstance(then, dict):
        return difference
    keys, then, now = narrowed(then, now)
    return FieldDifference(".".join(map(str, (field, *keys))), then, now)


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
            yield found(at, related=related, changed=changed, model=model.folder.name, difference=differ(fields))


def places_of(fields: Iterable[str], plans: Plans, name: str) -> Iterator[Location]:
    """Yield the places of fields that are named as in a difference of plans; ``name`` is the configuration compared."""
    configuration = next((one for one in plans.configurations if one.name == name), None)
    for field in fields:
        key = field.removeprefix(f"{name}.")
        inside = configuration is not None and key != field
        yield configuration.at(*key.split(".")) if configuration and inside else plans.at(*key.split("."))


def folder_to_train_on(dataset: Dataset, configuration: Configuration) -> DataFolder:
    """List the data that a training reads; Absent where they are not to be read, or cannot be."""
    if dataset.request.reading.depth == "none":
        raise Absent("preprocessed data are not read with --data none")
    from plansguard.artefacts.data.cases import list_folder  # needed by trainings only

    try:
        return list_folder(dataset.data_folder(configuration))
    except UnreadableDocument as error:
        raise Absent(error.reason) from error
