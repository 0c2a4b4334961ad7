"""Two datasets, and plans that are migrated from one to the other, or will be."""

from __future__ import annotations

from dataclasses import dataclass, field

from plansguard.core.errors import known
from plansguard.core.report import Location
from plansguard.records.migration import MigrationRecord
from plansguard.subjects.dataset import Dataset
from plansguard.subjects.documents import DatasetJson
from plansguard.subjects.plans import Plans


def dataset_json_of(dataset: Dataset) -> DatasetJson:
    """The dataset.json that training reads; before planning copies it, that of nnUNet_raw. Absent without both."""
    return known(lambda: dataset.dataset_json) or dataset.raw_dataset_json


@dataclass(frozen=True)
class DatasetPair:
    """The source and the target of a migration, whose plans need not be made yet.

    ``configurations`` are those that were named; without any, all are meant.
    """

    giving: Dataset
    receiving: Dataset
    configurations: tuple[str, ...] = field(default=(), kw_only=True)

    @property
    def at(self) -> Location:
        """Where a finding about both datasets is reported."""
        return dataset_json_of(self.receiving).at()

    def gives_flat_images(self) -> bool:
        """Whether the plans are, or will be, made from 2D images; Absent where that is not known."""
        return self.giving.fingerprint.valid.is_flat


@dataclass(frozen=True)
class Pair(DatasetPair):
    """A migration: its source, its target and its workflow.

    ``plans`` are those that are migrated, ``result`` those that would be written; ``receiving`` is the dataset with the
    result in it. ``existing`` is the content of the file that has the new name today, if there is one, and ``replaced``
    the migration record of that file.
    """

    workflow: str
    plans: Plans
    result: Plans
    existing: bytes | None
    replaced: MigrationRecord | None = None
    force: bool = False

    @property
    def at(self) -> Location:
        """Where a finding about the migration is reported: the plans that it would write."""
        return self.result.at()

    def gives_flat_images(self) -> bool:
        """Whether the plans were made from 2D images; Absent where that is not known."""
        return self.plans.are_for_flat_images()

    @property
    def pretraining(self) -> Dataset:
        """The dataset on which the weights are, or will be, pretrained."""
        return self.receiving if self.workflow == "pretrain" else self.giving

    def asks_for(self, configuration: str) -> bool:
        """Whether a configuration is among those that the plans are migrated for: all, unless some were named."""
        return not self.configurations or configuration in self.configurations
