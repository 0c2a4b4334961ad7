"""What rules about preprocessed data share: how faults of many cases become one finding, and the next command."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from plansguard.parts import Configuration, Plans
from plansguard.report import Location
from plansguard.rules.common import number
from plansguard.rules.declare import Found, found
from plansguard.subject import Dataset
from plansguard.words import counted

if TYPE_CHECKING:
    from plansguard.artefacts.audit import Audit

PREPROCESS = "nnUNetv2_preprocess -d {number} -plans_name {plans} -c {configuration}"
#: Where preprocessing copies the labels to, and the final validation looks for them.
GROUND_TRUTH = "gt_segmentations"


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


def names_in(folder: Path) -> set[str]:
    """Names of the entries of a folder; none where it cannot be listed."""
    try:
        return {path.name for path in folder.iterdir()}
    except OSError:
        return set()
