"""A planning that is about to start: what it reads, under which name it writes, and what stands there already.

Source: plan_experiment and save_plans in experiment_planning/experiment_planners/default_experiment_planner.py, and
generate_data_identifier of its children, nnU-Net 2.8.1.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from plansguard.documents import json_document
from plansguard.documents.file_names import CANONICAL_NAMES
from plansguard.nnunet import constants
from plansguard.nnunet.workspace import is_folder, is_folder_name
from plansguard.subjects.dataset import Dataset
from plansguard.subjects.plans import Plans

#: Planners that put their data into the folders of the default plans, and for which configurations.
_BORROWERS = ("ResEncUNetPlanner", "nnUNetPlannerResEncM", "nnUNetPlannerResEncL", "nnUNetPlannerResEncXL")
_BORROWED = ("2d", "3d_fullres")


@dataclass(frozen=True)
class Planning:
    """The planning of one dataset.

    ``dataset`` is what is planned from: the raw dataset.json, which planning puts beside the plans, and the
    fingerprint unless it is made anew. ``now`` is the preprocessed folder as it stands. ``planner`` is the class that
    ``-pl`` names, ``identifier`` what its plans will be called; None where no plans are written, or nobody knows the
    planner. ``preprocesses`` are the configurations that are preprocessed right after.
    """

    dataset: Dataset
    now: Dataset
    planner: str = "ExperimentPlanner"
    identifier: str | None = None
    preprocesses: tuple[str, ...] = ()

    @property
    def present(self) -> Plans | None:
        """The plans that will be written over."""
        return next((plans for plans in self.now.plans if plans.identifier == self.identifier), None)

    @property
    def data_present(self) -> list[str]:
        """The folders of data that the present plans name and that are there."""
        entries = self.present.written.values() if self.present is not None else ()
        names = dict.fromkeys(str(entry["data_identifier"]) for entry in entries if "data_identifier" in entry)
        return [name for name in names if is_folder_name(name) and is_folder(self.now.folder / name)]

    def replaced_data(self) -> Iterator[tuple[str, Path]]:
        """What is preprocessed right after, and the folder of data that nnU-Net will delete for it."""
        for configuration in self.preprocesses:
            folder = self.now.folder / data_identifier(self.planner, str(self.identifier), configuration)
            if self.identifier is not None and is_folder(folder):
                yield configuration, folder


def planned_from(now: Dataset, raw_folder: Path, *, identifier: str | None, fingerprint: bool) -> Dataset:
    """``now`` with what planning reads and nothing else: no other plans, no splits, the raw dataset.json for its own.

    ``fingerprint`` says whether the present one is read. UnreadableDocument where the raw dataset.json cannot be read.
    """
    dataset_json = json_document.read(raw_folder / CANONICAL_NAMES["dataset.json"])
    wanted = {CANONICAL_NAMES["fingerprint"]} if fingerprint else set()
    documents = (dataset_json, *(one for one in now.documents if Path(one.path).name in wanted))
    unreadable = tuple(one for one in now.unreadable if Path(one.path).name in {*wanted, f"{identifier}.json"})
    return Dataset(now.folder, documents, unreadable, now.workspace)


def default_identifier(planner: str) -> str | None:
    """What a planner of nnU-Net calls its plans; None for one that is not nnU-Net's."""
    return next((name for name, one in constants.PLANNER_OF_IDENTIFIER.items() if one == planner), None)


def data_identifier(planner: str, identifier: str, configuration: str) -> str:
    """What a planner of nnU-Net calls the folder of data of a configuration."""
    borrows = planner in _BORROWERS and configuration in _BORROWED
    return f"{constants.DEFAULT_IDENTIFIER if borrows else identifier}_{configuration}"


def unique(ids: Sequence[int]) -> list[str]:
    """Ids of datasets, each once, as text."""
    return [str(one) for one in dict.fromkeys(ids)]
