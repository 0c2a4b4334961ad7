"""PG501 to PG503, PG530: folders of preprocessed data that several configurations share, or none names."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from plansguard.core import disk
from plansguard.core.report import Location, Severity
from plansguard.core.text import both, brief, listed
from plansguard.nnunet import printed_commands
from plansguard.nnunet.workspace import is_folder_name
from plansguard.records.preprocessing_inputs import FieldDifference
from plansguard.rules.engine.declare import Found, found, rule
from plansguard.rules.engine.helpers import in_place, member
from plansguard.rules.engine.needs import PREPROCESSED
from plansguard.subjects.data_users import DataUser
from plansguard.subjects.dataset import Dataset
from plansguard.subjects.plans import Configuration, Plans

#: Another configuration that reads the same folder, and the fields that differ.
_Conflict = tuple[DataUser, list[FieldDifference]]


@rule(
    "PG501",
    Severity.ERROR,
    message="{configuration} shares its data folder with {other} of {other_plans}: {fields}",
    fix='make them agree; or give {mover} of {plans} its own "data_identifier": "{own}", then {preprocess_mover}',
)
def data_identifier_conflict(dataset: Dataset) -> Iterator[Found]:
    """Two plans files share a folder of preprocessed data that cannot be right for both.

    What it checks: configurations of different plans with the same `data_identifier` agree in everything that decides
    what preprocessing writes: spacing, normalization, masks, resampling, preprocessor, transpose, reader, and the
    intensity statistics of channels normalized as CT, as ResEnc and default plans of the same dataset do.

    Why it matters: the plans preprocessed last delete and replace the data; the others train on other spacing or
    normalization. nnU-Net neither asks nor warns, and the others predict with their own. It is the usual result of
    moving ResEnc plans without a new name: their identifiers name the receiving dataset's own data.

    How to fix: give one of them its own `data_identifier` (`plansguard migrate -tp NAME` does) and preprocess for it.

    Example: `nnUNetResEncUNetLPlans` of Dataset001 moved to Dataset002 under the same name.

    Evidence: MV-06, PP-04; nnU-Net issues 1650, 2298, 2592.
    """
    if len(dataset.plans) < 2:
        return
    if dataset.role != "preprocessed" and len({str(plans.value.get("dataset_name")) for plans in dataset.plans}) > 1:
        return  # plans of several datasets, whose data do not share a folder
    for users in _shared(dataset.data_users.values()):
        owner = users[0].plans
        owners, reported = [user for user in users if user.plans is owner], [owner]
        for user in users:
            conflict = _conflict(user, owners) if user.plans not in reported else None
            if conflict is not None:
                reported.append(user.plans)
                yield _conflict_finding(dataset, user, conflict, user.identifier_at)


@rule(
    "PG502",
    Severity.ERROR,
    message="{configuration} shares its data folder with {other}: {fields}",
    fix='give {mover} its own "data_identifier": "{own}", then {preprocess_mover}',
)
def child_shares_parent_data(dataset: Dataset, plans: Plans) -> Iterator[Found]:
    """Two configurations of the same plans share a folder of preprocessed data that cannot be right for both.

    What it checks: configurations of one plans file with the same `data_identifier` preprocess in the same way (see
    PG501). A child that changes only patch size, batch size or network rightly shares its parent's data.

    Why it matters: one of the two trains on the other's spacing or normalization, or deletes its data when it is
    preprocessed. A configuration that inherits from another and changes its spacing also inherits the
    `data_identifier`.

    How to fix: add a `data_identifier` that no other configuration has, and preprocess.

    Example: `"3d_fine": {"inherits_from": "3d_fullres", "spacing": [0.5, 0.5, 0.5]}`.

    Evidence: PP-03, PP-04; nnU-Net issue 1707, and nnU-Net's page on plans files, which asks for a unique name.
    """
    for users in _shared([user for user in users if user.plans is plans] for users in dataset.data_users.values()):
        for place, user in enumerate(users):
            conflict = _conflict(user, users[:place])
            if conflict is not None:
                configuration = user.configuration
                own = [key for key, *_ in conflict[1] if configuration.origin(key) == configuration.name]
                at = configuration.at(own[0]) if user.inherits and own else user.identifier_at
                yield _conflict_finding(dataset, user, conflict, at)


@rule(
    "PG503",
    Severity.ERROR,
    message="{configuration} reads a folder of its own, {identifier}, which {state}",
    mark="{parent} reads {theirs}",
    fix="delete data_identifier from {configuration}; or {preprocess}",
    roles=PREPROCESSED,
)
def cascade_without_parent_data(dataset: Dataset, plans: Plans, configuration: Configuration) -> Iterator[Found]:
    """A cascade stage has a data folder of its own that does not exist.

    What it checks: a configuration with a `previous_stage` has the `data_identifier` of the configuration it inherits
    from. Another one is an error while that folder is missing, and for information where it exists.

    Why it matters: the first stage writes predictions only for cases of this folder: the cascade fails after days of
    training. For every missing case there is only a line in the log.

    How to fix: delete the `data_identifier`, as the planner writes none, or preprocess the cascade stage.

    Example: `"3d_cascade_fullres": {"inherits_from": "3d_fullres", "data_identifier": "nnUNetPlans_3d_cascade_fullres",
    "previous_stage": "3d_lowres"}`, the workaround for a crash of old versions.

    Evidence: MV-07; CA-03; nnU-Net issue 1488.
    """
    if configuration.get("previous_stage") is None:
        return
    parent = plans.written[configuration.name].get("inherits_from")
    identifier = configuration.get("data_identifier")
    theirs = next((other.get("data_identifier") for other in plans.configurations if other.name == parent), None)
    if theirs is None or identifier == theirs:
        return
    exists = disk.is_there(dataset.folder / identifier)
    yield found(
        configuration.at("data_identifier"),
        severity=Severity.INFO if exists else None,
        identifier=brief(identifier),
        parent=parent,
        theirs=brief(theirs),
        state="may lack cases" if exists else "does not exist",
    )


@rule(
    "PG530",
    Severity.WARNING,
    message="{identifier} does not exist, and {folder} holds data that no plans name",
    fix='if these data are meant, write "data_identifier": "{folder}"; else {preprocess}',
    roles=PREPROCESSED,
)
def data_under_another_name(dataset: Dataset, plans: Plans, configuration: Configuration) -> Iterator[Found]:
    """A configuration names a folder that does not exist, beside its own data.

    What it checks: where the folder `data_identifier` does not exist, whether there is one called
    `<plans>_<configuration>`, as planners name it, that holds cases and that no configuration of any plans names.

    Why it matters: training stops with `FileNotFoundError`; preprocessing makes the same data again, under the other
    name.

    How to fix: correct the name, or preprocess if another folder is meant.

    Example: `"data_identifier": "nnUNetPlans_3d_fulres"`.

    Evidence: PP-01; training/nnUNetTrainer/nnUNetTrainer.py.
    """
    identifier, folder = configuration.require("data_identifier"), f"{plans.identifier}_{configuration.name}"
    if not is_folder_name(identifier) or configuration.origin("data_identifier") != configuration.name:
        return  # PG526 reports the one, and the parent the other
    folders = dataset.entries.folders
    if identifier in folders or folder not in folders or folder in dataset.data_users:
        return
    if any(name.endswith((".b2nd", ".npz")) for name in disk.file_names(dataset.folder / folder)):
        at = configuration.at("data_identifier")
        yield found(at, changed=[at], identifier=brief(identifier), folder=folder)


def _shared(folders: Iterable[list[DataUser]]) -> list[list[DataUser]]:
    """Return the users of folders that have several."""
    return [users for users in folders if len(users) > 1]


def _conflict(user: DataUser, others: list[DataUser]) -> _Conflict | None:
    """Return the conflict with the first of ``others`` that writes other data.

    None where one of them writes the same as ``user`` (reported there), or neither was requested.
    """
    conflicts = [(other, user.differs_from(other)) for other in others]
    if not conflicts or not all(fields for _, fields in conflicts):
        return None
    return conflicts[0] if user.judged or others[0].judged else None


def _conflict_finding(dataset: Dataset, user: DataUser, conflict: _Conflict, at: Location) -> Found:
    other, differences = conflict
    if other.judged and not user.judged:  # report it at the configuration that was requested
        user, other, at = other, user, other.identifier_at
        differences = [FieldDifference(field, then=now, now=then) for field, then, now in differences]
    fields = ["{} {}, there {}".format(key, *both(ours, theirs)) for key, theirs, ours in map(member, differences)]
    identifier = user.configuration.get("data_identifier")
    mover = other if _own_folder(user) == identifier else user
    return found(
        at,
        related=[(other.identifier_at, "the other one")],
        configuration=user.configuration.name,
        identifier=brief(identifier),
        other=other.configuration.name,
        other_plans=other.plans.path.name,
        fields=listed(fields, shown=1),
        mover=mover.configuration.name,
        preprocess_mover=in_place(
            dataset, printed_commands.preprocess(dataset.name, mover.plans.identifier, mover.configuration.name)
        ),
        own=_own_folder(mover),
        plans=mover.plans.identifier,
    )


def _own_folder(user: DataUser) -> str:
    """Return the name of the data folder that nnU-Net's planner would choose."""
    return f"{user.plans.identifier}_{user.configuration.name}"
