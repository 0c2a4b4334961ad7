"""A training that is about to start: its dataset, plans and weights, its length, and its folder of results.

Source: get_trainer_from_args and maybe_load_checkpoint in run/run_training.py, nnUNetTrainer.__init__ and do_split in
training/nnUNetTrainer/nnUNetTrainer.py of nnU-Net 2.8.1.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from plansguard.core import disk
from plansguard.core.errors import Absent, UnreadableDocument, UsageError, known
from plansguard.core.lazy import cached_property
from plansguard.core.report import Location
from plansguard.nnunet import constants
from plansguard.nnunet.constants import DEFAULT_IDENTIFIER, DEFAULT_TRAINER
from plansguard.nnunet.printed_commands import Word
from plansguard.nnunet.workspace import ALL, is_folder_name
from plansguard.subjects.dataset import Dataset
from plansguard.subjects.plans import Configuration, Plans
from plansguard.subjects.request import TypedOptions
from plansguard.training.options import Options
from plansguard.training.resume import (
    ResumePoint,
    check_can_begin,
    checkpoints_in,
    is_validated,
    nothing_to_continue,
    resume_point,
)
from plansguard.training.schedule import STOCK_PER_WINDOW, STOCK_RATE
from plansguard.training.stop_reasons import Refused
from plansguard.training.trainer_name import StepName, is_step_name, read_name

if TYPE_CHECKING:
    from plansguard.artefacts.checkpoint.checkpoint import Checkpoint
    from plansguard.nnunet.install.trainer_class import TrainerClass
    from plansguard.nnunet.install.trainer_search import Search
    from plansguard.training.schedule import StepSchedule


#: Bytes of a folder name, on all common file systems.
_LONGEST_NAME = 255
_LONGEST_SHOWN = 60


@dataclass
class TrainingRun:
    """One training: the arguments of ``nnUNetv2_train``, and what follows from them.

    The request of ``dataset`` names the plans, the configuration and the weights. ``fold`` is a number or ``all``.
    ``trainer`` is that of ``-tr``, with its number of steps if it has one. ``continues``, ``validates`` and
    ``validates_best`` are nnU-Net's ``--c``, ``--val`` and ``--val_best``. ``gpu_memory`` is that of one GPU in GB
    (10^9 bytes), if the user gave it. ``resumes`` is whether what is in the folder of results decided ``continues``
    (``--resume auto``).
    """

    dataset: Dataset
    plans: Plans
    configuration: Configuration
    fold: str
    trainer: str = DEFAULT_TRAINER
    continues: bool = False
    validates: bool = False
    validates_best: bool = False
    keeps_probabilities: bool = False
    disables_checkpointing: bool = False
    device: str = "cuda"
    gpus: int = 1
    gpu_memory: float | None = None
    options: Options = field(default_factory=Options)
    resumes: bool = False

    def command(
        self,
        trainer: str | None = None,
        *,
        weights: Word | None = None,
        options: Sequence[str] = (),
        in_steps: bool = False,
        continues: bool | None = None,
        validates: bool | None = None,
    ) -> str:
        """The command as it was typed, with another trainer, or one that continues or validates.

        ``options`` are more options of plansguard. With ``in_steps`` it is ``plansguard train``, whatever was typed.
        """
        continues = self.continues if continues is None else continues
        validates = self.validates if validates is None else validates
        if self.weights is not None and not continues and not validates:  # they exclude each other
            weights = weights or self.weights.path
        request = replace(self.dataset.request, launcher=None) if in_steps else self.dataset.request
        return request.training(
            *(self.dataset.name, self.configuration.name, self.fold),
            plans=self.plans.identifier if self.plans.identifier != DEFAULT_IDENTIFIER else None,
            trainer=trainer or self.trainer,
            continues=continues,
            validates=validates,
            weights=weights,
            options=options,
        )

    @property
    def launcher(self) -> tuple[str, ...] | None:
        """The words that start nnU-Net's command; None for ``plansguard train``."""
        return self.dataset.request.launcher

    @property
    def typed(self) -> TypedOptions:
        """The words of the command that do not describe the training."""
        return self.dataset.request.typed

    @property
    def weights(self) -> Checkpoint | None:
        """The checkpoint of ``-pretrained_weights``."""
        return self.dataset.request.weights

    @property
    def at(self) -> Location:
        """The place of findings about the command itself: the configuration to train."""
        return self.configuration.at()

    @cached_property
    def steps(self) -> StepName | None:
        """The base trainer and the schedule in the trainer's name; None where it has no number of steps.

        Absent when such a name cannot be read.
        """
        if not is_step_name(self.trainer):
            return None
        try:
            return read_name(self.trainer)
        except UsageError as error:
            raise Absent(error.reason) from error

    @property
    def schedule(self) -> StepSchedule | None:
        """The number of steps and the learning rate; None where the trainer counts epochs."""
        return None if self.steps is None else self.steps.schedule

    @property
    def base_trainer(self) -> str:
        """The trainer that nnU-Net must find, without the number of steps."""
        return self.trainer if self.steps is None else self.steps.base

    @cached_property
    def search(self) -> Search:
        """Result of nnU-Net's look-up of ``base_trainer``."""
        from plansguard.nnunet.install.trainer_search import search

        return search(self.base_trainer)

    @property
    def trainer_class(self) -> TrainerClass | None:
        """The class that nnU-Net uses for ``base_trainer``; None where none can be found or read."""
        return self.search.found

    @property
    def epochs(self) -> int | None:
        """The number of epochs, or windows of steps; None where it is not known."""
        if self.schedule is not None:
            return self.schedule.windows
        return _whole(self._number("num_epochs", constants.planned_epochs(self.trainer)))

    @property
    def steps_per_epoch(self) -> int | None:
        """The number of steps per epoch or window."""
        if self.schedule is not None:
            return self.schedule.per_window
        return _whole(self._number("num_iterations_per_epoch", STOCK_PER_WINDOW))

    @property
    def initial_rate(self) -> float | None:
        """The highest learning rate; None where it is not known."""
        if self.schedule is not None and self.schedule.rate is not None:
            return self.schedule.rate
        return self._number("initial_lr", STOCK_RATE if self.base_trainer == DEFAULT_TRAINER else None)

    def _number(self, attribute: str, default: float | None) -> float | None:
        """The attribute of the trainer's class, or ``default`` where no class can be read."""
        if self.trainer_class is None:
            return default
        value = self.trainer_class.attribute(attribute)
        return value if isinstance(value, int | float) and not isinstance(value, bool) and value > 0 else None

    @property
    def begins(self) -> bool:
        """Whether a new training starts, which does not continue, extend or validate another one."""
        extension = self.schedule is not None and self.schedule.extends > 0
        return not (self.continues or self.validates or extension)

    @cached_property
    def model_folder(self) -> Path:
        """``nnUNet_results/<dataset>/<trainer>__<plans>__<configuration>``, with the names in the plans.

        Absent when nnUNet_results is not known, or when a name is not a folder name.
        """
        results = self.dataset.workspace.results
        if results is None:
            raise Absent("the folder of results is not known: set nnUNet_results")
        dataset_name, plans_name = (self.plans.require(key) for key in ("dataset_name", "plans_name"))
        for name in (dataset_name, plans_name):
            if not isinstance(name, str) or not is_folder_name(name):
                raise Absent(f"dataset_name or plans_name in {self.plans.path.name} is {name!r}, no folder name")
        model = f"{self.trainer}__{plans_name}__{self.configuration.name}"
        if not is_folder_name(self.trainer) or len(os.fsencode(model)) > _LONGEST_NAME:
            shown = model if len(model) <= _LONGEST_SHOWN else f"{model[:_LONGEST_SHOWN]}..."
            raise Absent(f"there can be no folder {shown!r} in nnUNet_results")
        return results / str(dataset_name) / model

    @property
    def output_folder(self) -> Path:
        """``fold_<fold>`` in the model folder; Absent as that is."""
        return self.model_folder / f"fold_{self.fold}"

    def needs_folder(self, folder: Path) -> bool:
        """Whether nnU-Net reads a folder in this training: not that of the raw data, nor those of other models."""
        raw, results = self.dataset.workspace.raw, self.dataset.workspace.results
        place = disk.real(folder)
        if raw is not None and place.is_relative_to(disk.real(raw)):
            return False
        if results is None or not place.is_relative_to(disk.real(results)) or self.configuration.get("previous_stage"):
            return True
        model = disk.real(self.model_folder)
        return model.is_relative_to(place) or place.is_relative_to(model)

    @cached_property
    def present(self) -> dict[Path, Checkpoint | UnreadableDocument]:
        """The checkpoints in the output folder, the most complete first, or why one cannot be read."""
        from plansguard.artefacts.checkpoint.checkpoint import read_checkpoints

        paths = checkpoints_in(self.output_folder)
        return dict(zip(paths, read_checkpoints(paths), strict=True))

    @cached_property
    def _start(self) -> ResumePoint | Refused | None:
        try:
            if self.steps is None:
                return nothing_to_continue(self.output_folder) if self.continues and not self.present else None
            if self.continues:
                return resume_point(self.output_folder, self.steps)
            if not self.validates:
                check_can_begin(self.output_folder, self.steps)
        except Refused as refused:
            return refused
        return None

    @property
    def resume_point(self) -> ResumePoint | None:
        """The checkpoint that ``--c`` continues with a trainer of a number of steps. Absent as ``steps`` is."""
        return self._start if isinstance(self._start, ResumePoint) else None

    @property
    def is_finished(self) -> bool:
        """Whether all steps of the training that ``--c`` would continue are made, and its final validation as well.

        No training is where no folder of results is known.
        """
        point = known(lambda: self.resume_point)
        is_complete = point is not None and point.is_complete and point.state.trainer == self.trainer
        return is_complete and is_validated(self.output_folder)

    @property
    def refusal(self) -> Refused | None:
        """Why a trainer of a number of steps refuses to begin or continue, or why ``--c`` of any trainer has no effect.

        As far as the checkpoints in the folders decide it. Absent as ``steps`` is.
        """
        return self._start if isinstance(self._start, Refused) else None

    @property
    def continued(self) -> Checkpoint | None:
        """The checkpoint that ``--c`` continues; None without ``--c``, and if it is missing or cannot be read.

        nnU-Net takes the first that is present, a trainer of a number of steps the newest. Absent as ``steps`` is.
        """
        if not self.continues:
            return None
        if self.steps is not None:
            return self.resume_point.checkpoint if self.resume_point is not None else None
        first = next(iter(self.present.values()), None)
        return None if isinstance(first, UnreadableDocument) else first

    @cached_property
    def split(self) -> tuple[list[str], list[str]] | None:
        """The names of the training and of the validation cases, from splits_final.json.

        None where nnU-Net makes the split itself: for fold ``all``, without the file, and for a fold beyond it.
        """
        splits = None if self.fold == ALL else known(lambda: self.dataset.splits)
        if splits is None or splits.problems or not int(self.fold) < len(splits.value):
            return None
        fold = splits.value[int(self.fold)]
        return list(fold["train"]), list(fold["val"])


def _whole(number: float | None) -> int | None:
    return None if number is None else int(number)
