"""What rules about preprocessed data share: how faults of many cases become one finding, and the next command."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

from plansguard.core.errors import known
from plansguard.core.report import Location
from plansguard.core.text import counted
from plansguard.rules.engine.declare import Found, found
from plansguard.rules.engine.helpers import judged, number
from plansguard.subjects.dataset import Dataset
from plansguard.subjects.documents import Splits
from plansguard.subjects.plans import Configuration, Plans

if TYPE_CHECKING:
    from plansguard.artefacts.data.audit import Audit

PREPROCESS = "nnUNetv2_preprocess -d {number} -plans_name {plans} -c {configuration}"


def told(
    dataset: Dataset, plans: Plans, configuration: Configuration, data: Audit, *kinds: str, **values: Any
) -> Iterator[Found]:
    """One finding for all cases with faults of these kinds: how many, and the first few with what is wrong."""
    for kind in kinds:
        faults = data.faults.get(kind)
        if faults is None:
            continue
        shown = [f"{example.case}: {example.what}" for example in faults.examples[:2]]
        of = data.valued if kind in ("range", "moments", "labels") else data.read
        many = f"{counted(faults.count, 'fault')} in {counted(of, 'case')}, such as " if faults.count > 1 else ""
        yield found(
            configuration.at("data_identifier"),
            related=[(Location(str(data.folder.path)), "the data")],
            folder=folder_of(configuration),
            cases=many + "; ".join(shown),
            faults=faults.count,
            **values,
            **preprocessing(dataset, plans, configuration),
        )


def preprocessing(dataset: Dataset, plans: Plans, configuration: Configuration) -> dict[str, Any]:
    """What fills the command for preprocessing."""
    return {"number": number(dataset), "plans": plans.identifier, "configuration": configuration.name}


def folder_of(configuration: Configuration) -> str:
    """The name of the data folder that the configuration reads."""
    return str(configuration.get("data_identifier"))


def read_before(
    dataset: Dataset, plans: Plans, configuration: Configuration
) -> Iterator[tuple[Plans, Configuration, Audit]]:
    """What is judged before this configuration, in any plans, with its data: a fault of both is told there."""
    for earlier_plans in dataset.judged_plans:
        for earlier in judged(dataset, earlier_plans):
            if earlier_plans is plans and earlier.name == configuration.name:
                return
            data = known(partial(dataset.data, earlier))
            if data is not None:
                yield earlier_plans, earlier, data


def folds_asked_for(dataset: Dataset, splits: Splits) -> dict[int, Any]:
    """The folds by their numbers; before a training the one that it reads, and none for the fold ``all``."""
    asked = dataset.request.fold
    return {index: fold for index, fold in enumerate(splits.value) if asked in (None, str(index))}


def cases_of(folds: Iterable[Any]) -> set[str]:
    """The cases that these folds train or validate on."""
    return {case for fold in folds for side in ("train", "val") for case in fold[side]}
