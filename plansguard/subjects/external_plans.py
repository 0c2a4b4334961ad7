"""Plans that an artefact gives instead of a dataset in the workspace: a plans file, a trained model or a checkpoint."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from plansguard.core.errors import Absent
from plansguard.nnunet.workspace import TrainedModel
from plansguard.subjects.dataset import Dataset
from plansguard.subjects.plans import Plans

if TYPE_CHECKING:
    from plansguard.artefacts.checkpoint.checkpoint import Checkpoint


class ExternalPlans(Plans):
    """Plans outside ``nnUNet_preprocessed``. There the file's name says nothing: they are called what they say."""

    @property
    def identifier(self) -> str:
        """What ``plans_name`` says; the file's stem where it says nothing. Never a path: it is a stranger's text."""
        name = self.value.get("plans_name")
        return name if isinstance(name, str) and name else self.path.stem


@dataclass(frozen=True)
class ExternalModel(TrainedModel):
    """A trained model wherever it lies.

    ``weights`` are its checkpoints, finished ones first. Inside a zip they are not files: ``archive`` is the zip then,
    and ``folder`` and ``weights`` go on from its path as if it were a folder.
    """

    weights: tuple[Path, ...] = ()
    archive: Path | None = None

    @cached_property
    def checkpoints(self) -> tuple[Path, ...]:
        """The weights; unlike those of a model in nnUNet_results they are known already."""
        return self.weights


@dataclass
class ExternalDataset(Dataset):
    """An artefact in the giving dataset's place: its documents, and whether it holds weights.

    ``artefact`` is the path as it was typed after ``-s``. ``models`` are the trained models that the plans belong to,
    and ``checkpoint`` is the one to be fine-tuned, the first one of the first model; both are None where no weights
    lie with the plans: whether there are any is not known then.
    """

    artefact: Path = Path()
    dataset_name: str = ""
    models: tuple[ExternalModel, ...] | None = None
    checkpoint: Checkpoint | None = None

    @property
    def name(self) -> str:
        """The dataset that the plans were made for, as the artefact calls it."""
        return self.dataset_name

    @cached_property
    def role(self) -> str:
        """Always a model: nothing here is what training would read."""
        return "model"

    @cached_property
    def plans(self) -> tuple[Plans, ...]:
        """The plans of the artefact, called what they say themselves."""
        return tuple(ExternalPlans(plans.document) for plans in super().plans)

    @cached_property
    def trained(self) -> tuple[TrainedModel, ...]:
        """The models in the artefact; Absent where no weights lie with the plans."""
        if self.models is None:
            raise Absent(f"no weights lie with {self.artefact}")
        return self.models
