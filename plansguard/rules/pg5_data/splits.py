"""PG514 to PG516, PG527, PG528: splits_final.json against the cases that were preprocessed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from plansguard.core.errors import known
from plansguard.core.report import Location, Severity
from plansguard.core.text import counted, listed
from plansguard.nnunet.workspace import ALL, FOLDS
from plansguard.rules.engine.declare import Found, found, rule
from plansguard.rules.engine.helpers import lacks
from plansguard.rules.pg5_data.helpers import cases_of, data_judged_before, requested_folds
from plansguard.subjects.dataset import Dataset
from plansguard.subjects.documents import Splits
from plansguard.subjects.plans import Configuration

if TYPE_CHECKING:
    from plansguard.artefacts.data.audit import Audit

_PREPROCESS = "preprocess these cases: {preprocess}; or take them out of the splits"


@rule(
    "PG514",
    Severity.ERROR,
    message="{missing} {stand} in splits_final.json and not in {folder}",
    fix="take them out of the splits; without the file nnU-Net makes new ones",
)
def split_names_missing_case(dataset: Dataset, splits: Splits, data: Audit) -> Iterator[Found]:
    """The splits name cases that are not preprocessed.

    What it checks: every case of every fold is in the data folder; before a training only the cases of its fold, and
    none for the fold `all`, which reads no splits.

    Why it matters: training fails when the case is drawn, with `One or more background workers are no longer alive`.

    How to fix: preprocess the cases or correct the splits.

    Example: a case was removed from the dataset, or splits were copied from another one.

    Evidence: SL-01; nnU-Net issues 102, 1504.
    """
    missing = sorted(cases_of(requested_folds(dataset, splits).values()) - set(data.folder.names))
    if missing:
        stand = "is" if len(missing) == 1 else "are"
        images = known(lambda: dataset.raw_images.cases(dataset.dataset_json.valid.require("file_ending")))
        exist = set(missing) <= set(images or ())
        yield found(
            _first_place(dataset, splits, set(missing)),
            fix=_PREPROCESS if exist else None,
            missing=listed(missing),
            stand=stand,
            folder=data.folder.path.name,
        )


def _first_place(dataset: Dataset, splits: Splits, cases: set[str]) -> Location:
    """Return the first place of one of these cases in the requested folds."""
    return next(
        splits.at(index, side, place)
        for index, fold in requested_folds(dataset, splits).items()
        for side in ("train", "val")
        for place, case in enumerate(fold[side])
        if case in cases
    )


@rule(
    "PG515",
    Severity.WARNING,
    message="{cases} of {folder} {stand} in no fold of splits_final.json",
    fix="add them to the folds, or delete splits_final.json: nnU-Net makes new folds, unlike those trained before",
)
def cases_in_no_split(dataset: Dataset, splits: Splits, data: Audit) -> Iterator[Found]:
    """Preprocessed cases are in no fold.

    What it checks: every case of the data folder is in some fold of `splits_final.json`; not before a training of the
    fold `all`, which takes every case, and not where there is no fold at all (PG516).

    Why it matters: these cases are never trained on nor validated: nnU-Net makes the file once, at the first training.
    Cases added later are preprocessed and ignored.

    How to fix: add the cases to the folds, or let nnU-Net make new splits.

    Example: twenty new cases after the first training.

    Evidence: SL-02; nnU-Net issues 102, 2415, 2721.
    """
    idle = sorted(set(data.folder.names) - cases_of(splits.value))
    if idle and splits.value and dataset.request.fold != ALL:
        stand = "is" if len(idle) == 1 else "are"
        yield found(splits.at(), cases=listed(idle), folder=data.folder.path.name, stand=stand)


@rule(
    "PG516",
    Severity.WARNING,
    message="{trouble}",
    mark="{mark}",
    fix="correct the fold in splits_final.json; results of this fold do not count",
)
def split_overlaps(dataset: Dataset, splits: Splits) -> Iterator[Found]:
    """A fold validates on cases that it trains on, or has none to train or validate on.

    What it checks: in each fold (before a training only in its own) no case is listed twice and neither list is empty.
    There is a fold; before a training of the fold `all`, which reads none, this is a warning.

    Why it matters: nnU-Net only warns of validation on training cases, stops at an empty list, and without folds
    divides at random. Validation on training cases measures memory. An empty list stops the first epoch. Without folds,
    nnU-Net trains every numbered fold on a random 80 % of the cases.

    How to fix: correct the fold.

    Example: splits written by a script that counted patients, not cases.

    Evidence: SL-02; nnU-Net issue 2415; training/nnUNetTrainer/nnUNetTrainer.py, do_split.
    """
    if not splits.value and dataset.request.fold in (None, ALL):  # PG732 reports it of a numbered fold
        severity = Severity.ERROR if dataset.request.fold is None else None
        fix = "delete splits_final.json: nnU-Net then writes five folds"
        yield found(splits.at(), severity=severity, fix=fix, trouble="splits_final.json has no fold", mark="")
    for index, fold in requested_folds(dataset, splits).items():
        cases = {side: set(fold[side]) for side in ("train", "val")}
        both = sorted(cases["train"] & cases["val"])
        empty = [side for side in cases if not cases[side]]
        twice = [side for side in cases if len(cases[side]) < len(fold[side])]
        troubles = [f"{listed(both)} in train and in val"] if both else []
        troubles += [*(f"{side} is empty" for side in empty), *(f"{side} names a case twice" for side in twice)]
        if troubles:
            shared = ("val", fold["val"].index(both[0])) if both else ()
            place = splits.at(index, *(empty[:1] or shared or twice[:1]))
            severity, mark = (Severity.ERROR, "") if empty else (None, "also in train" if both else "")
            trouble = f"fold {index}: {'; '.join(troubles)}"
            yield found(place, severity=severity, fold=index, trouble=trouble, mark=mark)


@rule(
    "PG528",
    Severity.WARNING,
    message="folds {folds} validate on the same cases",
    fix="divide the cases among the folds; without the file nnU-Net makes new ones",
)
def folds_are_identical(dataset: Dataset, splits: Splits) -> Iterator[Found]:
    """Several folds validate on the same cases.

    What it checks: no two folds have the same cases under `val`. A file with one fold, for a fixed division, is fine.

    Why it matters: an ensemble of these folds has seen the same cases each time, and the mean over the folds is that of
    one. nnU-Net trains them without a word.

    How to fix: keep one fold of a fixed division, and train it once; or divide the cases.

    Example: a script that wrote the official training and validation cases five times, so that `-f 0` to `-f 4` work.

    Evidence: SL-02; nnUNetTrainer.do_split.
    """
    same: dict[frozenset[str], list[int]] = {}
    for index, fold in enumerate(splits.value):
        same.setdefault(frozenset(fold["val"]), []).append(index)
    for cases, folds in same.items():
        if cases and len(folds) > 1 and dataset.request.fold != ALL:
            yield found(splits.at(folds[1]), folds=listed([*map(str, folds)], shown=len(folds)))


@rule(
    "PG527",
    Severity.ERROR,
    message="{dataset} has {cases} and no splits_final.json",
    fix='train the fold all, which takes every case; or write splits_final.json: [{{"train": [...], "val": [...]}}]',
)
def too_few_cases_to_divide(dataset: Dataset, configuration: Configuration, data: Audit) -> Iterator[Found]:
    """There are fewer cases than folds.

    What it checks: a dataset without `splits_final.json` has five preprocessed cases or more. A warning in a check,
    which does not know the fold; nothing before a training of the fold `all`, which divides nothing, and nothing in a
    check after one.

    Why it matters: a numbered fold stops: `ValueError: Cannot have number of splits n_splits=5 greater than the number
    of samples`. If there is no file, its training divides the cases into five folds.

    How to fix: train the fold `all`, or write the file.

    Example: a first try with the three cases that are annotated so far.

    Evidence: SL-01; utilities/crossval_split.py; nnUNetTrainer.do_split.
    """
    cases, fold = len(data.folder.names), dataset.request.fold
    divides = fold != ALL and lacks(dataset, "splits_final.json") and (fold is not None or not _trained_all(dataset))
    if not divides or not 0 < cases < FOLDS or any(data_judged_before(dataset, configuration)):
        return
    yield found(
        Location(str(dataset.folder)),
        severity=None if fold is not None else Severity.WARNING,
        cases=counted(cases, "preprocessed case"),
    )


def _trained_all(dataset: Dataset) -> bool:
    """Return whether a training of the fold ``all`` is known."""
    models = known(lambda: dataset.trained) or ()
    return any(path.parent.name == f"fold_{ALL}" for model in models for path in model.checkpoints)
