"""Two datasets, and plans that are migrated from one to the other."""

from __future__ import annotations

from dataclasses import dataclass

from plansguard.records.migration import MigrationRecord
from plansguard.subjects.dataset import Dataset
from plansguard.subjects.plans import Plans


@dataclass(frozen=True)
class Pair:
    """A migration: its source, its target and its workflow.

    ``plans`` are those that are migrated, ``result`` those that would be written; ``receiving`` is the dataset with the
    result in it. ``existing`` is the content of the file that has the new name today, if there is one, and ``replaced``
    the migration record of that file. ``configurations`` are those that were named; without any, all are meant.
    """

    workflow: str
    giving: Dataset
    plans: Plans
    receiving: Dataset
    result: Plans
    existing: bytes | None
    replaced: MigrationRecord | None = None
    force: bool = False
    configurations: tuple[str, ...] = ()

    @property
    def pretraining(self) -> Dataset:
        """The dataset on which the weights are, or will be, pretrained."""
        return self.receiving if self.workflow == "pretrain" else self.giving

    def asks_for(self, configuration: str) -> bool:
        """Whether a configuration is among those that the plans are migrated for: all, unless some were named."""
        return not self.configurations or configuration in self.configurations
