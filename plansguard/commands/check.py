"""Check plans and the files beside them: for the command line and for other programs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from plansguard.core import disk
from plansguard.core.report import Report
from plansguard.nnunet.constants import DEFAULT_IDENTIFIER
from plansguard.nnunet.workspace import Workspace
from plansguard.rules import RULES_OF_DATASETS
from plansguard.rules.engine.run import run_rules
from plansguard.rules.engine.settings import ActiveSettings, find_settings, read_settings
from plansguard.subjects.dataset import Dataset
from plansguard.subjects.discovery import dataset_in, dataset_of, discover
from plansguard.subjects.request import Progress, Reading, Request, tracked

if TYPE_CHECKING:
    from plansguard.artefacts.checkpoint.checkpoint import Checkpoint

#: What is counted.
_CHECKING = "checking datasets"


def check(
    paths: Iterable[str | Path] = (),
    *,
    datasets: Iterable[str] = (),
    plans: str | None = None,
    configuration: str | None = None,
    weights: str | Path | None = None,
    trainer: str | None = None,
    resumes: bool = False,
    reading: Reading | None = None,
    settings: ActiveSettings | None = None,
    progress: Progress | None = None,
    visit: Callable[[Dataset], None] | None = None,
    then: Callable[[Dataset], Dataset] | None = None,
) -> Report:
    """Check plans and the files beside them.

    ``paths`` are plans files, dataset folders or folders above them; ``datasets`` are ids or names below
    ``$nnUNet_preprocessed``; without either, the current folder is searched. ``plans`` and ``configuration`` narrow
    the check as nnU-Net's ``-p`` and ``-c`` do. ``weights`` is a checkpoint to be fine-tuned, as for nnU-Net's
    ``-pretrained_weights``; without ``plans`` it is checked against nnU-Net's default plans, which training would use.
    ``trainer`` is that of the training, and ``resumes`` is whether it continues what is there of it.
    ``reading`` is how much of the preprocessed arrays is read (default: the headers of all cases). ``settings``
    defaults to the nearest ``plansguard.json`` or ``pyproject.toml`` with settings. ``progress`` is called with what is
    counted, how many are done, and of how many; ``visit`` with each dataset before its rules run. ``then`` returns what
    is judged in place of a dataset: how it was at an earlier time.

    Raises UsageError (an unknown path or dataset) and UnreadableDocument (broken settings or weights).
    """
    places = [Path(path) for path in paths]
    ids = list(datasets)
    if not places and not ids:
        places = [Path()]
    named = [_dataset_named(dataset) for dataset in tracked(ids, "reading datasets", progress)]
    subjects = _distinct(discover(places, progress), named, progress)
    if plans is not None:
        subjects = tracked(_with_plans([*subjects], plans, named, places), _CHECKING, progress)
    checkpoint = weights_from(weights)
    if checkpoint is not None and plans is None:
        plans = DEFAULT_IDENTIFIER
    request = Request(plans, configuration, checkpoint, reading or Reading(), trainer, resumes=resumes)
    lacks_plans = True

    def requested() -> Iterator[Dataset]:
        nonlocal lacks_plans
        for subject in subjects:
            judged = subject if then is None else then(subject)
            lacks_plans = lacks_plans and not judged.plans
            judged.request = request
            yield judged
            judged.release()

    report = run_rules(
        "check",
        [*(str(place) for place in places), *ids],
        requested() if visit is None else _visited(requested(), visit),
        settings=settings or nearest_settings([*places, *(subject.folder for subject in named)]),
        rules=RULES_OF_DATASETS,
    )
    return replace(report, lacks_plans=bool(report.documents) and lacks_plans)


def _with_plans(datasets: list[Dataset], plans: str, named: Sequence[Dataset], places: Sequence[Path]) -> list[Dataset]:
    """Return the datasets that were named or have these plans; all of them if there is none.

    Below a folder that was named, only the datasets that have the plans are meant.
    """
    chosen = [
        one
        for one in datasets
        if one in named or one.folder in places or plans in (each.identifier for each in one.plans)
    ]
    return chosen or datasets


def _visited(datasets: Iterable[Dataset], visit: Callable[[Dataset], None]) -> Iterator[Dataset]:
    for dataset in datasets:
        visit(dataset)
        yield dataset


def _distinct(discovered: Iterable[Dataset], named: Sequence[Dataset], progress: Progress | None) -> Iterator[Dataset]:
    """Yield each dataset once, also one that is named twice, by path and by id."""
    by_id = {disk.real(subject.folder): subject for subject in named}
    for subject in discovered:
        yield by_id.pop(disk.real(subject.folder), subject) if by_id else subject
    yield from tracked(list(by_id.values()), _CHECKING, progress)


def _dataset_named(id_or_name: str) -> Dataset:
    """Return the preprocessed folder of a dataset, or the raw one of a dataset that has no other yet."""
    workspace = Workspace.from_environment()
    name = workspace.dataset_name(id_or_name)
    if workspace.raw is not None and not disk.is_folder(workspace.preprocessed_folder(name)):
        raw = workspace.raw / name
        if disk.is_folder(raw):
            return dataset_in(raw, workspace=workspace)
    return dataset_of(workspace, id_or_name)


def weights_from(path: str | Path | None) -> Checkpoint | None:
    """Return the checkpoint at ``path``, or None where there is no path."""
    if path is None:
        return None
    from plansguard.artefacts.checkpoint.checkpoint import read_checkpoint

    return read_checkpoint(Path(path))


def nearest_settings(places: Iterable[Path]) -> ActiveSettings:
    """Return the settings nearest to the first of ``places``, else to the current folder."""
    first = next(iter(places), Path())
    path = find_settings(first if disk.is_folder(first) else first.parent) or find_settings(Path())
    if path is None:
        return ActiveSettings()
    from plansguard.rules import RULES

    return read_settings(path, tuple(rule.info for rule in RULES))
