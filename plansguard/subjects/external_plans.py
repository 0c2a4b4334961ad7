"""External plans: those of a plans file, a trained model or a checkpoint, as the source of a migration."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from plansguard.core.errors import Absent
from plansguard.core.lazy import cached_property
from plansguard.nnunet.workspace import TrainedModel
from plansguard.subjects.dataset import Dataset
from plansguard.subjects.plans import Plans

if TYPE_CHECKING:
    from plansguard.artefacts.checkpoint.checkpoint import Checkpoint


class ExternalPlans(Plans):
    """Plans outside ``nnUNet_preprocessed``, named by their content instead of their file name."""

    @property
    def identifier(self) -> str:
        """The field ``plans_name``, else the stem of the file name. Untrusted text, never used as a path."""
        name = self.value.get("plans_name")
        return name if isinstance(name, str) and name else self.path.stem


@dataclass(frozen=True)
class ExternalModel(TrainedModel):
    """A trained model in any folder or zip archive.

    ``weights`` are its checkpoints, finished ones first. Inside a zip archive they are not files: ``archive`` is its
    path then, and ``folder`` and ``weights`` continue that path as if it were a folder. ``folder`` is the checkpoint
    itself where no more than that was named: it contains the plans.
    """

    weights: tuple[Path, ...] = ()
    archive: Path | None = None

    @cached_property
    def checkpoints(self) -> tuple[Path, ...]:
        """The weights, which need not be searched for as in nnUNet_results."""
        return self.weights


@dataclass
class ExternalDataset(Dataset):
    """An artefact in place of the giving dataset.

    ``artefact`` is its path as typed. ``models`` are the trained models that the plans belong to, and ``checkpoint`` is
    the one to be fine-tuned, the first of the first model; both are None where no weights are found with the plans,
    which may still exist elsewhere. ``in_results`` are those in nnUNet_results that were trained with these plans.
    """

    artefact: Path = Path()
    dataset_name: str = ""
    models: tuple[ExternalModel, ...] | None = None
    checkpoint: Checkpoint | None = None
    in_results: tuple[TrainedModel, ...] = ()

    @property
    def name(self) -> str:
        """The name that the artefact has for the dataset of its plans."""
        return self.dataset_name

    @cached_property
    def role(self) -> str:
        """Always ``model``: training reads nothing of an artefact."""
        return "model"

    @cached_property
    def plans(self) -> tuple[Plans, ...]:
        """The plans of the artefact."""
        return tuple(ExternalPlans(plans.document) for plans in super().plans)

    @cached_property
    def trained(self) -> tuple[TrainedModel, ...]:
        """The models in the artefact, else those in nnUNet_results; Absent where there are neither."""
        if self.models is None and not self.in_results:
            raise Absent(f"there are no weights with {self.artefact}")
        return self.models or self.in_results
