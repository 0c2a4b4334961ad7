"""PG54x: preprocessed data against the preprocessing record, which contains what they were made with."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from plansguard.core.errors import known
from plansguard.core.report import Location, Severity
from plansguard.core.text import both, counted, listed, quoted
from plansguard.documents.json_document import pointer
from plansguard.records.preprocessing import DataState
from plansguard.records.preprocessing_inputs import FieldDifference, dataset_changes, dataset_fields, differing
from plansguard.rules.engine.declare import Found, found, rule
from plansguard.rules.engine.helpers import member, narrowed, preprocess_command, preprocess_commands
from plansguard.subjects.data_users import DataUser
from plansguard.subjects.dataset import Dataset, PreprocessedFolder
from plansguard.subjects.documents import DatasetJson

Folders = tuple[PreprocessedFolder, ...]

_ONLY_NAMES = "leave the data as they are if only names were corrected; otherwise preprocess again: {preprocess}"


@rule(
    "PG540",
    Severity.ERROR,
    message="{identifier} was preprocessed with another {what}: {fields}",
    fix="set it back, or preprocess again: {preprocess}",
    follows=("PG202", "PG402", "PG540"),
)
def stamp_disagrees(dataset: Dataset, preprocessing_records: Folders) -> Iterator[Found]:
    """Preprocessed data were made with other plans, or another dataset.json, than those on disk now.

    What it checks: where `plansguard preprocess` left a preprocessing record, and the data are still those that it
    describes, every configuration that reads them has the recorded values of all fields that decide what preprocessing
    writes: spacing, normalization, masks, resampling, preprocessor, transpose, reader, and the intensity statistics of
    channels normalized as CT. The dataset.json has the same label values and number of channels. The same names of
    labels or channels in another order are a warning; new names and another file ending are for information.

    Why it matters: nnU-Net silently trains on the old arrays and predicts, poorly, with the new plans. It stores no
    trace of the plans in the data. Other labels crash the data loader, or the network learns the old ones.

    How to fix: set the value back if the edit was not meant. Otherwise preprocess again.

    Example: `"spacing": [1.5, 1.2, 1.2]` becomes `[1.0, 1.2, 1.2]` after preprocessing.

    Evidence: PP-02, PP-05, PP-06, PP-11; nnU-Net issues 2878, 1707, 2701, 1949, 2592.
    """
    dataset_json = known(lambda: dataset.dataset_json.valid)
    for folder, users in _in_state(dataset, preprocessing_records, DataState.UNCHANGED):
        yield from _plans_differences(dataset, folder, users)
        if dataset_json is not None:
            yield from _dataset_json_differences(dataset, folder, users[0], dataset_json)


@rule(
    "PG541",
    Severity.WARNING,
    message="{identifier} holds other files than after its preprocessing: {then}, now {now}",
    fix="preprocess again: {preprocess}; or delete {stamp} if you know what the data were made with",
)
def data_changed_since_stamp(dataset: Dataset, preprocessing_records: Folders) -> Iterator[Found]:
    """Preprocessed data are other files than those in the preprocessing record.

    What it checks: where `plansguard preprocess` left a preprocessing record, the data folder holds the recorded cases,
    in files of the same names and sizes. When they were changed or copied does not count.

    Why it matters: it is not known what these data were made with, so nothing is concluded from the record. They were
    preprocessed again by another command, perhaps with other plans, or files were lost, replaced or damaged.

    How to fix: preprocess again with `plansguard preprocess`, or delete the record if you know how the data were made.

    Example: `nnUNetv2_preprocess` was run by hand after an edit of the plans.

    Evidence: PP-02, PP-11; nnU-Net issue 2592, where a maintainer calls it too error-prone to trust existing data.
    """
    for folder, users in _in_state(dataset, preprocessing_records, DataState.CHANGED):
        then, now = _amounts(folder)
        yield found(
            Location(str(folder.record_file.path), "/files"),
            finished=folder.record.finished,
            then=then,
            now=now,
            **_common_values(dataset, folder, users[0]),
        )


@rule(
    "PG542",
    Severity.ERROR,
    message="the preprocessing of {identifier} began on {began} and did not finish: {complete} of {cases} cases",
    fix="wait if it still runs; otherwise start it again: {preprocess}",
)
def preprocessing_unfinished(dataset: Dataset, preprocessing_records: Folders) -> Iterator[Found]:
    """Preprocessing was begun and not finished.

    What it checks: the preprocessing record that `plansguard preprocess` writes before nnU-Net starts was replaced by a
    complete one, unless the earlier data are still there untouched. A warning where every case looks complete: the run
    may have been killed at its very end, or nnU-Net's own command may have been run since.

    Why it matters: nnU-Net trains on what a killed run left: fewer cases, or a truncated file that crashes the loader.
    Without any case it stops. Preprocessing deletes the old data first and writes case by case.

    How to fix: preprocess again.

    Example: the machine ran out of memory, or the job out of time.

    Evidence: PP-07; nnU-Net issues 2298, 2729, 2186.
    """
    for folder, users in _in_state(dataset, preprocessing_records, DataState.UNFINISHED):
        complete = len(folder.listing.cases)
        started = next((user for user in users if user.plans.identifier == folder.record.plans), users[0])
        yield found(
            Location(str(folder.record_file.path), "/finished"),
            severity=Severity.WARNING if complete >= folder.record.cases else None,
            stamped_plans=folder.record.plans,
            stamped_configuration=folder.record.configuration,
            began=folder.record.began.partition("T")[0],
            complete=complete,
            cases=folder.record.cases,
            **_common_values(dataset, folder, started),
        )


def _in_state(
    dataset: Dataset, preprocessing_records: Folders, state: DataState
) -> Iterator[tuple[PreprocessedFolder, list[DataUser]]]:
    """Yield the recorded data in a state, with the requested configurations that read them, if there are any."""
    users = dataset.data_users if preprocessing_records else {}
    for folder in preprocessing_records:
        requested = [user for user in users.get(folder.record_file.identifier, ()) if user.judged]
        if folder.state is state and requested:
            yield folder, requested


def _plans_differences(dataset: Dataset, folder: PreprocessedFolder, users: list[DataUser]) -> Iterator[Found]:
    """Yield one finding per place: inherited differences are reported where the values are written."""
    reported: list[tuple[Location, list[FieldDifference]]] = []
    for user in users:
        differences = differing(folder.record.input, user.configuration.input)
        at = user.at(differences[0].field) if differences else None
        if at is not None and (at, differences) not in reported:
            reported.append((at, differences))
            what, origin = f"{user.plans.identifier}.json", folder.record_file.at("input")
            changed = [user.at(difference.field) for difference in differences]
            keys, *_ = narrowed(differences[0].then, differences[0].now)
            yield found(
                at._replace(pointer=at.pointer + pointer(*keys)),
                changed=changed,
                **_difference_values(what, origin, differences),
                **_common_values(dataset, folder, user),
            )


def _dataset_json_differences(
    dataset: Dataset, folder: PreprocessedFolder, user: DataUser, dataset_json: DatasetJson
) -> Iterator[Found]:
    changes = dataset_changes(folder.record.dataset, dataset_fields(dataset_json.value))
    if changes:
        worst = max(changes, key=lambda change: change.severity.rank)
        keys = {"channel_names": dataset_json.channels_key}
        places = {
            change.difference.field: dataset_json.at(keys.get(change.difference.field, change.difference.field))
            for change in changes
        }
        origin, common = folder.record_file.at("dataset_json"), _common_values(dataset, folder, user)
        common["preprocess"] = preprocess_commands(dataset, dataset.judged_plans)  # of every folder of data
        yield found(
            places[worst.difference.field],
            changed=places.values() if worst.severity is Severity.ERROR else (),  # other names cause nothing
            severity=worst.severity,
            fix=None if worst.severity is Severity.ERROR else _ONLY_NAMES,
            **_difference_values("dataset.json", origin, [change.difference for change in changes]),
            **common,
        )


def _difference_values(what: str, origin: Location, differences: list[FieldDifference]) -> dict[str, Any]:
    fields = ["{} was {}, is {}".format(key, *both(then, now)) for key, then, now in map(member, differences)]
    return {
        "related": [(origin, "what they were made with")],
        "what": what,
        "fields": listed(fields, shown=1),
    }


def _common_values(dataset: Dataset, folder: PreprocessedFolder, user: DataUser) -> dict[str, Any]:
    return {
        "identifier": folder.record_file.identifier,
        "stamp": quoted(folder.record_file.path.name),
        "preprocess": preprocess_command(dataset, user.plans, user.configuration.name),
    }


def _amounts(folder: PreprocessedFolder) -> tuple[str, str]:
    """What the folder held and holds: the number of cases, or their size if it alone differs, or their names."""
    then, now = folder.record.value["files"], folder.listing
    if then["cases"] != len(now.cases):
        return counted(then["cases"], "case"), str(len(now.cases))
    return (f"{then['bytes']:,} bytes", f"{now.bytes:,}") if then["bytes"] != now.bytes else ("cases", "others")
