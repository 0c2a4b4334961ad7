"""Two datasets between which plans move."""

from __future__ import annotations

from dataclasses import dataclass

from plansguard.subjects.dataset import Dataset
from plansguard.subjects.plans import Plans


@dataclass(frozen=True)
class Pair:
    """Plans on their way: where they come from, where they go, and why.

    ``plans`` are those that move, ``result`` those that would be written; ``receiving`` is the dataset with the
    result in it. ``existing`` is what stands under the new name today, if anything does.
    """

    workflow: str
    giving: Dataset
    plans: Plans
    receiving: Dataset
    result: Plans
    existing: bytes | None
    force: bool = False

    @property
    def pretraining(self) -> Dataset:
        """The dataset on which the weights are, or will be, pretrained."""
        return self.receiving if self.workflow == "pretrain" else self.giving
