"""How a step trainer saves and continues: nnU-Net's checkpoint and our notes, whole, with finite weights, or not."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import torch
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

from plansguard.artefacts.checkpoint.contents import STEPS
from plansguard.core.atomic_files import replacing
from plansguard.core.errors import WriteRefused
from plansguard.nnunet import constants
from plansguard.training import process_group
from plansguard.training.options import Options
from plansguard.training.random_state import random_state
from plansguard.training.resume import ResumePoint, TrainingState, check_unchanged, checkpoints_in, finished, newest
from plansguard.training.schedule import StepSchedule
from plansguard.training.stop_reasons import Refused
from plansguard.training.trainer_name import StepName, extension_of

#: The key of ``init_args`` for the generators' states. They are tensors and long lists, so apart from the notes.
RANDOM = "plansguard_random"
_KEPT = "the checkpoint of that name, if there was one, is as it was"


class CheckpointSaving(nnUNetTrainer):  # type: ignore[misc]
    """The part of StepTrainer that writes and reads checkpoints."""

    schedule: StepSchedule
    base_name: str
    # nnU-Net's own, set by it
    current_epoch: int
    my_init_kwargs: dict[str, Any]
    grad_scaler: Any
    dataloader_train: Any
    dataloader_val: Any

    _options: Options
    _plans: dict[str, Any]
    _state: TrainingState
    _continuing: bool
    _continued = False
    _finished = False
    _window_open = False
    _random: list[Any] | None = None
    """Of every process, as a checkpoint says them; until they are put back."""
    _random_kept: dict[str, Any] | None = None
    """As it was before something that would be done again after a resume: a batch drawn, a validation begun."""

    # --- Writing

    def _save_latest(self) -> None:
        self.save_checkpoint(str(Path(self.output_folder) / constants.CHECKPOINT_LATEST))

    def save_checkpoint(self, filename: str) -> None:
        """All processes come here; the first one writes. Refused in all of them where it cannot, or must not."""
        if self.disable_checkpointing:
            super().save_checkpoint(filename)
            return
        both = process_group.gathered((self._random_kept or random_state(), self._is_finite()))
        randoms, finite = [one[0] for one in both], all(one[1] for one in both)
        process_group.by_first(partial(self._write, filename, randoms, finite))

    def _write(self, filename: str, randoms: list[Any], finite: bool) -> None:
        if not finite:
            raise Refused(
                f"weights are not finite any more at step {self._state.step:,}; {Path(filename).name} is not written",
                hint=f"{_KEPT}; look at the data and the learning rate, then go on with --c",
            )
        notes = {STEPS: self._state.as_json(), RANDOM: randoms}
        try:
            with replacing(Path(filename)) as temporary, self._noted(notes), self._windows_done(), self._portable():
                super().save_checkpoint(str(temporary))
        except (RuntimeError, WriteRefused) as error:  # torch's own writer: a full disk is no OSError to it
            raise Refused(
                f"{filename} could not be written: {error}", hint=f"{_KEPT}; see to the disk and go on with --c"
            ) from error

    def _is_finite(self) -> bool:
        """Of weights, and of running means, which a batch of NaN spoils even where the scaler skips its step."""
        values = [value for value in self.network.state_dict().values() if value.is_floating_point()]
        return bool(torch.stack([torch.isfinite(value).all() for value in values]).all())

    @contextmanager
    def _noted(self, notes: dict[str, Any]) -> Iterator[None]:
        """The notes travel in ``init_args``: nnU-Net's own methods write and read them, and prediction ignores them."""
        own = self.my_init_kwargs
        self.my_init_kwargs = {**own, **notes}
        try:
            yield
        finally:
            self.my_init_kwargs = own

    @contextmanager
    def _windows_done(self) -> Iterator[None]:
        """In a window in progress, the checkpoint counts and logs those before it: nnU-Net would count this one too."""
        if not self._window_open:
            yield
            return
        logger, done = self.logger.local_logger, self.current_epoch
        lists = logger.my_fantastic_logging
        self.current_epoch = done - 1
        logger.my_fantastic_logging = {name: values[:done] for name, values in lists.items()}
        try:
            yield
        finally:
            self.current_epoch = done
            logger.my_fantastic_logging = lists

    @contextmanager
    def _portable(self) -> Iterator[None]:
        """nnU-Net notes the name of the class: here that of a class which differs from this one by nothing else."""
        own = type(self)
        if self._options.portable:
            self.__class__ = type(self.base_name, (own,), {})
        try:
            yield
        finally:
            self.__class__ = own

    # --- Reading

    def load_checkpoint(self, filename_or_checkpoint: Any) -> None:
        """To continue, the newest good checkpoint, whichever nnU-Net has chosen, if nothing has changed since."""
        if not self._continuing or self._continued:
            super().load_checkpoint(filename_or_checkpoint)
            return
        extends = bool(self.schedule.extends) and not checkpoints_in(Path(self.output_folder))
        find = partial(self._find, extends)
        found = process_group.by_first(find) or find()
        for fault in found.passed_over:
            self.print_to_log_file(f"WARNING: not continued from {fault}")
        where = found.path if extends else found.path.name
        self.print_to_log_file(f"{'Extending' if extends else 'Continuing from'} {where}, step {found.state.step:,}")
        own = self.my_init_kwargs
        super().load_checkpoint(str(found.path))
        stored, self.my_init_kwargs = self.my_init_kwargs, own
        self._random = stored.get(RANDOM)
        self._continued = True
        if extends:
            self._state = dataclasses.replace(
                found.state, trainer=self._state.trainer, run=self._state.run, started=self._state.started
            )
            self._best_ema = None  # the best of what is trained here; the other one stays where it is
        else:
            self._state = found.state
            self._finished = found.path.name == constants.CHECKPOINT_FINAL

    def _find(self, extends: bool) -> ResumePoint:
        folder, name = Path(self.output_folder), StepName(self.base_name, self.schedule)
        found = finished(folder, name) if extends else newest(folder)
        trainer = extension_of(name) if extends else type(self).__name__
        check_unchanged(found, str(trainer), self.configuration_name, self._plans, self.dataset_json)
        return found
