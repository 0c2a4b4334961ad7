"""PG54x: preprocessed data with a stamp, which says what they were made with."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from plansguard.core.errors import known
from plansguard.core.report import Location, Severity
from plansguard.core.text import brief, listed, quoted
from plansguard.records.preprocessing import DataState
from plansguard.records.preprocessing_inputs import FieldDifference, dataset_changes, dataset_fields, differing
from plansguard.rules.engine.declare import Found, found, rule
from plansguard.rules.engine.helpers import number
from plansguard.subjects.data_users import DataUser, data_users
from plansguard.subjects.dataset import Dataset, PreprocessedFolder
from plansguard.subjects.documents import DatasetJson

_PREPROCESS = "plansguard preprocess -d {number} -p {plans} -c {configuration}"
_ONLY_NAMES = f"leave the data as they are if only names were corrected; otherwise preprocess again: {_PREPROCESS}"


@rule(
    "PG540",
    "stamp-disagrees",
    Severity.ERROR,
    message="the data in {identifier} were preprocessed with another {what}: {fields}",
    fix=f"set {{keys}} back, or preprocess again: {_PREPROCESS}",
    modes=("PP-02", "PP-05", "PP-06", "PP-11"),
)
def stamp_disagrees(dataset: Dataset, preprocessing_records: tuple[PreprocessedFolder, ...]) -> Iterator[Found]:
    """Preprocessed data were made with other plans, or another dataset.json, than lie here today.

    What it checks: where `plansguard preprocess` left a stamp, and the data are still those that it tells of, every
    configuration that reads them says today what the stamp says in all that decides what preprocessing writes: spacing,
    normalisation, masks, resampling, preprocessor, transpose, reader, and the intensity statistics where a channel is
    normalised as CT. The dataset.json has the same label values and the same number of channels. The same names of
    labels or channels in another order are a warning, new names and another file ending are for information.

    Why it matters: nnU-Net stores no trace of the plans in preprocessed data and loads whatever lies there. After an
    edit of the plans it trains on the old arrays, without a complaint, and predicts with the new plans: poor
    predictions, discovered weeks later. Other labels end in a data loader that dies, or in a network that learns the
    old ones.

    How to fix: set the value back if the edit was not meant. Otherwise preprocess again.

    Example: `"spacing": [1.5, 1.2, 1.2]` becomes `[1.0, 1.2, 1.2]` after preprocessing.

    Evidence: PP-02, PP-06; nnU-Net issues 2878, 1707, 2701, 1949, 2592.
    """
    users = data_users(dataset, dataset.plans)
    dataset_json = known(lambda: dataset.dataset_json.valid)
    for one in preprocessing_records:
        judged = [user for user in users.get(one.record_file.identifier, ()) if user.judged]
        if one.state is DataState.UNCHANGED and judged:
            yield from _of_plans(dataset, one, judged)
            if dataset_json is not None:
                yield from _of_dataset_json(dataset, one, judged[0], dataset_json)


@rule(
    "PG541",
    "data-changed-since-stamp",
    Severity.WARNING,
    message="{identifier} does not hold the files any more that plansguard preprocess left there on {finished} "
    "({then} then, {now} now): nobody can say with what these were made",
    fix=f"preprocess again, {_PREPROCESS}; or delete {{stamp}} if you know what they were made with",
    modes=("PP-02", "PP-11"),
)
def data_changed_since_stamp(
    dataset: Dataset, preprocessing_records: tuple[PreprocessedFolder, ...]
) -> Iterator[Found]:
    """Preprocessed data are other files than those that were stamped.

    What it checks: where `plansguard preprocess` left a stamp, the data folder holds the cases it held then, in files
    of the same names and sizes. When they were changed or copied does not count.

    Why it matters: the data were preprocessed again by another command, perhaps with other plans, or files were lost,
    replaced or damaged. The stamp does not speak for them, so nothing is concluded from it.

    How to fix: preprocess again with `plansguard preprocess`. Who knows what the data were made with may delete the
    stamp.

    Example: `nnUNetv2_preprocess` was run by hand after an edit of the plans.

    Evidence: PP-02; nnU-Net issue 2592, where a maintainer calls it too error-prone to trust existing data.
    """
    for one, user in _judged(dataset, preprocessing_records, DataState.CHANGED):
        then = one.record.value["files"]
        yield found(
            Location(str(one.record_file.path), "/files"),
            finished=one.record.finished,
            then=_amount(then["cases"], then["bytes"]),
            now=_amount(len(one.listing.cases), one.listing.bytes),
            **_common(dataset, one, user),
        )


@rule(
    "PG542",
    "preprocessing-unfinished",
    Severity.ERROR,
    message="plansguard preprocess began to fill {identifier} for {stamped_plans}, {stamped_configuration}, on {began} "
    "and has not come to its end: {complete} of {cases} cases are complete",
    fix=f"let it end if it still runs; otherwise start it again: {_PREPROCESS}",
    modes=("PP-07",),
)
def preprocessing_unfinished(
    dataset: Dataset, preprocessing_records: tuple[PreprocessedFolder, ...]
) -> Iterator[Found]:
    """Preprocessing was begun and never came to its end.

    What it checks: the stamp that `plansguard preprocess` writes before nnU-Net starts was replaced by a whole one,
    unless the data of before still lie there untouched. A warning where every case looks complete: the run may have
    been killed at its very end, or nnU-Net's own command may have been run since.

    Why it matters: nnU-Net deletes the old data first and writes case by case. It trains on what a killed run left,
    with fewer cases, or ends in a data loader that dies on half a file.

    How to fix: preprocess again.

    Example: the machine ran out of memory, or the job out of time.

    Evidence: PP-07; nnU-Net issues 2298, 2729, 2186.
    """
    for one, user in _judged(dataset, preprocessing_records, DataState.UNFINISHED):
        complete = len(one.listing.cases)
        yield found(
            Location(str(one.record_file.path), "/finished"),
            severity=Severity.WARNING if complete >= one.record.cases else None,
            stamped_plans=one.record.plans,
            stamped_configuration=one.record.configuration,
            began=one.record.began,
            complete=complete,
            cases=one.record.cases,
            **_common(dataset, one, user),
        )


def _of_plans(dataset: Dataset, one: PreprocessedFolder, users: list[DataUser]) -> Iterator[Found]:
    """One finding per place: what a child inherits is told at its parent."""
    told: list[tuple[Location, list[FieldDifference]]] = []
    for user in users:
        differences = differing(one.record.input, user.input)
        if differences and (user.at(differences[0].field), differences) not in told:
            told.append((user.at(differences[0].field), differences))
            yield found(
                told[-1][0],
                related=[(one.record_file.at("input"), "what they were made with")],
                what=f"{user.plans.identifier}.json",
                **_fields(differences),
                **_common(dataset, one, user),
            )


def _of_dataset_json(
    dataset: Dataset, one: PreprocessedFolder, user: DataUser, dataset_json: DatasetJson
) -> Iterator[Found]:
    doubts = dataset_changes(one.record.dataset, dataset_fields(dataset_json.value))
    if not doubts:
        return
    worst = max(doubts, key=lambda doubt: doubt.severity.rank)
    field = worst.difference.field
    yield found(
        dataset_json.at(dataset_json.channels_key if field == "channel_names" else field),
        severity=worst.severity,
        fix=None if worst.severity is Severity.ERROR else _ONLY_NAMES,
        related=[(one.record_file.at("dataset_json"), "what they were made with")],
        what="dataset.json",
        **_fields([doubt.difference for doubt in doubts]),
        **_common(dataset, one, user),
    )


def _fields(differences: list[FieldDifference]) -> dict[str, Any]:
    return {
        "fields": listed([f"{key} was {brief(then)}, is {brief(now)}" for key, then, now in differences], shown=2),
        "keys": " and ".join(field for field, *_ in differences),
    }


def _judged(
    dataset: Dataset, preprocessing_records: tuple[PreprocessedFolder, ...], state: DataState
) -> Iterator[tuple[PreprocessedFolder, DataUser]]:
    """The stamps in a state, each with the first of those who read its data and were asked for."""
    users = data_users(dataset, dataset.plans)
    for one in preprocessing_records:
        judged = [user for user in users.get(one.record_file.identifier, ()) if user.judged]
        if one.state is state and judged:
            yield one, judged[0]


def _common(dataset: Dataset, one: PreprocessedFolder, user: DataUser) -> dict[str, Any]:
    return {
        "identifier": one.record_file.identifier,
        "stamp": quoted(one.record_file.path.name),
        "number": number(dataset),
        "plans": quoted(user.plans.identifier),
        "configuration": user.configuration.name,
    }


def _amount(cases: int, size: int) -> str:
    return f"{cases} cases in {size:,} bytes"
