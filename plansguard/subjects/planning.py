"""A planning that is about to start: its input, the name of its plans, and the files that it will replace.

Source: plan_experiment and save_plans in experiment_planning/experiment_planners/default_experiment_planner.py, and
generate_data_identifier of its children, nnU-Net 2.8.1.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from plansguard.core import disk
from plansguard.core.text import whole
from plansguard.documents import json_document
from plansguard.documents.file_names import CANONICAL_NAMES
from plansguard.nnunet import constants
from plansguard.nnunet.constants import DA_PROCESSES
from plansguard.nnunet.workspace import is_folder_name
from plansguard.subjects.dataset import Dataset
from plansguard.subjects.documents import Fingerprint
from plansguard.subjects.plans import Plans

#: Planners whose data go into the folders of the default plans, and the configurations for which they do.
_SHARING_PLANNERS = ("ResEncUNetPlanner", "nnUNetPlannerResEncM", "nnUNetPlannerResEncL", "nnUNetPlannerResEncXL")
_SHARED_CONFIGURATIONS = ("2d", "3d_fullres")


@dataclass(frozen=True)
class Planning:
    """The planning of one dataset.

    ``dataset`` is its input: the raw dataset.json, which planning copies beside the plans, and the fingerprint unless
    it is extracted again. ``now`` is the preprocessed folder of today. ``planner`` is the class that ``-pl`` names and
    ``identifier`` the name of its plans, None where no plans are written or the planner is not known. ``preprocesses``
    are the configurations that are preprocessed afterwards. ``extracts`` is True where the fingerprint is extracted
    first. ``words`` is the command, ``options`` are those of the gate, ``environment`` the variables that the command
    will see.
    """

    dataset: Dataset
    now: Dataset
    planner: str = "ExperimentPlanner"
    identifier: str | None = None
    preprocesses: tuple[str, ...] = ()
    extracts: bool = False
    words: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)

    @property
    def makes_fingerprint(self) -> bool:
        """Whether there is no fingerprint to judge yet: the command extracts one, for the first time or again."""
        paths = [one.path for one in self.dataset.documents] + [one.path for one in self.dataset.unreadable]
        return self.extracts and Fingerprint.file_name not in {Path(path).name for path in paths}

    @property
    def present(self) -> Plans | None:
        """The plans that will be overwritten."""
        return next((plans for plans in self.now.plans if plans.identifier == self.identifier), None)

    @property
    def data_present(self) -> list[str]:
        """The existing folders of data that the present plans name."""
        entries = self.present.written.values() if self.present is not None else ()
        names = dict.fromkeys(str(entry["data_identifier"]) for entry in entries if "data_identifier" in entry)
        return [name for name in names if is_folder_name(name) and disk.is_folder(self.now.folder / name)]

    def replaced_data(self) -> Iterator[tuple[str, Path]]:
        """Configurations that are preprocessed afterwards, and the folder, or link, that nnU-Net deletes for each."""
        for configuration in self.preprocesses:
            folder = self.now.folder / data_identifier(self.planner, str(self.identifier), configuration)
            if self.identifier is not None and (disk.is_folder(folder) or disk.is_link(folder)):
                yield configuration, folder


def has_no_threads(environment: Mapping[str, str]) -> bool:
    """Whether nnUNet_n_proc_DA stops planners: they set as many threads, and torch takes 1 or more."""
    value = environment.get(DA_PROCESSES)
    number = whole(value)
    return value is not None and (number is None or number < 1)


def planned_from(now: Dataset, raw_folder: Path, *, identifier: str | None, fingerprint: bool) -> Dataset:
    """``now`` with only the documents that planning reads: the raw dataset.json, and the fingerprint if asked for.

    UnreadableDocument where the raw dataset.json cannot be read.
    """
    dataset_json = json_document.read(raw_folder / CANONICAL_NAMES["dataset.json"])
    wanted = {CANONICAL_NAMES["fingerprint"]} if fingerprint else set()
    documents = (dataset_json, *(document for document in now.documents if Path(document.path).name in wanted))
    unreadable = tuple(error for error in now.unreadable if Path(error.path).name in {*wanted, f"{identifier}.json"})
    return Dataset(now.folder, documents, unreadable, now.workspace)


def default_identifier(planner: str) -> str | None:
    """The name of the plans of a planner of nnU-Net; None for other planners."""
    return next((name for name, known in constants.PLANNER_OF_IDENTIFIER.items() if known == planner), None)


def data_identifier(planner: str, identifier: str, configuration: str) -> str:
    """The name of the folder of data that a planner of nnU-Net gives to a configuration."""
    shared = planner in _SHARING_PLANNERS and configuration in _SHARED_CONFIGURATIONS
    return f"{constants.DEFAULT_IDENTIFIER if shared else identifier}_{configuration}"
