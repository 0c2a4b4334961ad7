"""What several rule families share: how values are worded, and which of two places tells a fault that both show."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

from plansguard import changes
from plansguard.errors import UnreadableDocument
from plansguard.models import bounds
from plansguard.models.recognise import recognise
from plansguard.parts import Absent, Configuration, Plans
from plansguard.subject import Dataset
from plansguard.workspace import TrainedModel

#: What migrated plans could be called.
_NEW_NAME = "PretrainPlans"

Value = TypeVar("Value")

#: Longer values are cut in messages; the file itself shows the rest.
_LONGEST_VALUE = 80
#: As many digits as a float32 has: headers store spacings so.
_DIGITS = 7


def brief(value: Any, *, exact: bool = False) -> str:
    """A JSON value on one line, cut where it gets long; 1.2000000476837158 reads 1.2 unless ``exact``."""
    text = json.dumps(value if exact else _rounded(value), ensure_ascii=False)
    return text if len(text) <= _LONGEST_VALUE else text[: _LONGEST_VALUE - 3] + "..."


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return float(f"{value:.{_DIGITS}g}")
    return [_rounded(one) for one in value] if isinstance(value, list) else value


def listed(names: Sequence[str], shown: int = 3) -> str:
    """The first few names, and how many more there are."""
    rest = len(names) - shown
    return ", ".join(names[:shown]) + (f" and {rest} more" if rest > 0 else "")


def quoted(path: Path | str) -> str:
    """A path as one types it in a shell."""
    return shlex.quote(str(path))


def is_there(path: Path) -> bool:
    """Whether a path that a file names exists; no name is too odd to ask."""
    with suppress(OSError, ValueError):
        return path.exists()
    return False


def lacks(dataset: Dataset, name: str) -> bool:
    """Whether the folder has no file of this name, neither on disk nor among what is about to be written."""
    paths = [document.path for document in dataset.documents] + [error.path for error in dataset.unreadable]
    return name not in {Path(path).name for path in paths} and not (dataset.folder / name).exists()


def raw_file(dataset: Dataset, name: str) -> str:
    """A file of the dataset in nnUNet_raw, as one types it in a shell."""
    if dataset.workspace.raw is None:
        return f'"$nnUNet_raw"/{quoted(dataset.name)}/{name}'
    return quoted(dataset.workspace.raw / dataset.name / name)


def migration_of(weights: str, dataset: Dataset) -> str:
    """The command that brings the plans of these weights to a dataset, under a name that is free there."""
    return f"plansguard migrate -s {quoted(weights)} -t {number(dataset)} -tp {free_name(dataset)}"


def free_name(dataset: Dataset) -> str:
    """A name for migrated plans that the dataset does not have yet."""
    taken = {path.stem.casefold() for path in dataset.folder.glob("*.json")}
    names = (f"{_NEW_NAME}{suffix}" for suffix in ["", *range(2, len(taken) + 3)])
    return next(name for name in names if name.casefold() not in taken)


def known(get: Callable[[], Value]) -> Value | None:
    """What ``get`` gives, or None where it is absent: for what a rule can use but does not need."""
    try:
        return get()
    except Absent:
        return None


def number(dataset: Dataset) -> str:
    """What nnU-Net's ``-d`` takes for the dataset; where the folder's name does not tell, a placeholder."""
    match = re.match(r"Dataset(\d+)_", dataset.name)
    return str(int(match[1])) if match else "DATASET_ID"


def judged(dataset: Dataset, plans: Plans) -> Iterator[Configuration]:
    """The configurations of ``plans`` that are asked for and can be read."""
    for configuration in plans.configurations:
        if dataset.request.configuration in (None, configuration.name) and configuration.is_usable:
            yield configuration


def told_before(dataset: Dataset, configuration: Configuration, *keys: str) -> bool:
    """Whether a configuration that is judged before this one says the same in these fields.

    One fault is told once: children inherit it, and the planner gives siblings the same values.
    """
    for earlier in judged(dataset, configuration.plans):
        if earlier.name == configuration.name:
            return False
        if all(earlier.get(key) == configuration.get(key) for key in keys):
            return True
    return False


def differing_fields(model: TrainedModel, plans: Plans, facets: Sequence[str]) -> list[str]:
    """Fields of these facets in which the plans a model was trained with differ from ``plans``, by their names.

    Only what counts for the model's configuration; nothing where nnU-Net's own copy of the plans cannot be read.
    """
    try:
        theirs = bounds.read(model.folder / "plans.json").value
    except UnreadableDocument:
        return []
    if recognise(theirs) != "plans":
        return []
    return [
        str(change.field)
        for change in changes.edited(theirs, plans.value)
        if change.field.facet in facets and change.field.configuration in (None, model.configuration)
    ]
