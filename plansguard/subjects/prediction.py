"""A prediction that is about to start: the model, its folds and checkpoints, and the images.

Source: predict_entry_point, initialize_from_trained_model_folder and _manage_input_and_output_lists in
inference/predict_from_raw_data.py, create_lists_from_splitted_dataset_folder in utilities/utils.py of nnU-Net 2.8.1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from plansguard.artefacts.checkpoint.checkpoint import Checkpoint, read_checkpoints
from plansguard.core import disk
from plansguard.core.errors import UnreadableDocument, UnreadableFolder
from plansguard.core.lazy import cached_property
from plansguard.nnunet.workspace import cases_among
from plansguard.subjects.dataset import Dataset
from plansguard.subjects.plans import Configuration


@dataclass
class PredictionModel(Dataset):
    """A folder of a trained model, restricted to the checkpoints that will be loaded."""

    wanted: tuple[Path, ...] = ()

    @cached_property
    def checkpoints(self) -> tuple[Checkpoint | UnreadableDocument, ...]:
        """The wanted checkpoints that exist, or why one cannot be read."""
        read: list[Checkpoint | UnreadableDocument] = []
        for path in self.wanted:
            try:
                disk.assert_not_hidden(path)
                read += read_checkpoints([path] if disk.is_there(path) else [])
            except UnreadableFolder as closed:
                read.append(closed)
        return tuple(read)


@dataclass
class Prediction:
    """One call of ``nnUNetv2_predict``, or of ``nnUNetv2_predict_from_modelfolder``.

    ``folds`` are numbers or ``all``, ``checkpoint`` the name of the file in each. ``images`` is the folder of ``-i``,
    ``previous`` that of the predictions of a cascade's first stage.
    """

    model: PredictionModel
    folds: tuple[str, ...]
    checkpoint: str
    images: Path
    previous: Path | None = None

    @property
    def missing(self) -> list[Path]:
        """The wanted checkpoints that do not exist. UnreadableFolder where permissions hide whether one does."""
        for path in self.model.wanted:
            disk.assert_not_hidden(path)
        return [path for path in self.model.wanted if not disk.is_file(path)]

    @cached_property
    def configuration(self) -> Configuration | None:
        """The configuration that the first checkpoint was trained with; None where that is not known."""
        readable = (checkpoint for checkpoint in self.model.checkpoints if isinstance(checkpoint, Checkpoint))
        first = next(readable, None)
        name = None if first is None else first.configuration
        present = (configuration for plans in self.model.plans for configuration in plans.configurations)
        return next((configuration for configuration in present if configuration.name == name), None)

    @cached_property
    def files(self) -> tuple[str, ...]:
        """Names of the files among the images. UnreadableFolder where they cannot be listed."""
        return tuple(sorted(disk.file_names(self.images)))

    def cases(self, ending: str) -> dict[str, list[str]]:
        """Channel numbers (``0000``, ...) by case."""
        return cases_among(self.files, ending)


def checkpoints_of(folder: Path, folds: Sequence[str], name: str) -> tuple[Path, ...]:
    """The paths at which nnU-Net looks for the checkpoints of these folds."""
    return tuple(folder / f"fold_{fold}" / name for fold in dict.fromkeys(folds))
