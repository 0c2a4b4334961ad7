"""Helpers of rules about preprocessed data: findings about a data folder, folds and cases."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

from plansguard.core.errors import known
from plansguard.core.text import counted
from plansguard.rules.engine.declare import Found, found
from plansguard.rules.engine.helpers import requested_configurations
from plansguard.subjects.dataset import Dataset
from plansguard.subjects.documents import Splits
from plansguard.subjects.plans import Configuration

if TYPE_CHECKING:
    from plansguard.artefacts.data.audit import Audit


def folder_finding(configuration: Configuration, data: Audit, **values: Any) -> Found:
    """Return a finding about a data folder, at the configuration's data_identifier."""
    return found(configuration.at("data_identifier"), folder=data.folder.path.name, **values)


def case_faults(configuration: Configuration, data: Audit, *kinds: str, **values: Any) -> Iterator[Found]:
    """Yield one finding for each of these kinds of faults, with the first of them and their number."""
    for kind in kinds:
        faults = data.faults.get(kind)
        if faults is None:
            continue
        case, what = faults.examples[0]
        example = what if what.startswith(f"{case}.") else f"{case}: {what}"  # a file of the case
        cases = counted(data.valued if kind in ("range", "moments", "labels") else data.read, "case")
        many = f" ({counted(faults.count, 'fault')} in {cases})" if faults.count > 1 else ""
        yield folder_finding(configuration, data, example=f"{example}{many}", faults=faults.count, **values)


def data_judged_before(dataset: Dataset, configuration: Configuration) -> Iterator[Audit]:
    """Yield the data of the configurations judged before this one, in any plans: a common fault is reported there."""
    for plans in dataset.judged_plans:
        for earlier in requested_configurations(dataset, plans):
            if plans is configuration.plans and earlier.name == configuration.name:
                return
            data = known(partial(dataset.data, earlier))
            if data is not None:
                yield data


def requested_folds(dataset: Dataset, splits: Splits) -> dict[int, Any]:
    """Return the folds by number; before a training only the one it reads, and none for the fold ``all``."""
    requested = dataset.request.fold
    return {index: fold for index, fold in enumerate(splits.value) if requested in (None, str(index))}


def cases_of(folds: Iterable[Any]) -> set[str]:
    """Return the cases that these folds train or validate on."""
    return {case for fold in folds for side in ("train", "val") for case in fold[side]}
