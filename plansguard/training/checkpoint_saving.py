"""Checkpoints of step trainers: those of nnU-Net and our notes, complete, and with finite weights.

Those that a training replaces while it goes on are written in the background; the steps wait for a copy in memory.
There is one copy at most. The next checkpoint waits for the one before: none is left out, and a disk that is too slow
delays the training, but takes no more memory.
"""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

from plansguard.artefacts.checkpoint.contents import STEPS
from plansguard.core.atomic_files import replacing
from plansguard.core.errors import UnreadableFolder, WriteRefused
from plansguard.nnunet import constants
from plansguard.training import process_group
from plansguard.training.background_work import BackgroundWork
from plansguard.training.checkpoint_copies import CheckpointCopies
from plansguard.training.kept_checkpoints import keep
from plansguard.training.options import Options
from plansguard.training.replacing_names import replaced
from plansguard.training.resume import ResumePoint, TrainingState, check_unchanged, resume_point
from plansguard.training.schedule import StepSchedule
from plansguard.training.stop_reasons import Refused
from plansguard.training.trainer_name import StepName

#: Key of ``init_args`` for the generators' states. They are tensors and long lists, so they are not among the notes.
RANDOM = "plansguard_random"
#: Checkpoints that a training replaces while it goes on. nnU-Net deletes one of them once the final one is written.
_REPLACED = {constants.CHECKPOINT_LATEST, constants.CHECKPOINT_BEST}
_KEPT = "a checkpoint that had this name is unchanged"


class CheckpointSaving(nnUNetTrainer):  # type: ignore[misc]
    """The part of StepTrainer that writes and reads checkpoints."""

    schedule: StepSchedule
    base_name: str
    # attributes of nnU-Net
    current_epoch: int
    my_init_kwargs: dict[str, Any]
    grad_scaler: Any
    dataloader_train: Any
    dataloader_val: Any

    _background: BackgroundWork
    _copies: CheckpointCopies
    _options: Options
    _plans: dict[str, Any]
    _state: TrainingState
    _continuing: bool
    _reserved = False
    _continued = False
    _finished = False
    _window_open = False
    _random: list[Any] | None = None
    """Generator states of all processes from the checkpoint, until they are restored."""
    _random_kept: dict[str, Any] | None = None
    """Generator state before what a resume repeats: the batch that is drawn, the validation that has begun."""

    # --- Writing

    def _save_latest(self) -> None:
        self.save_checkpoint(str(Path(self.output_folder) / constants.CHECKPOINT_LATEST))

    def save_checkpoint(self, filename: str) -> None:
        """Write the checkpoint in the first process; all processes call this. All are refused if it cannot be done.

        They are refused at the next step, or at the end, if it is written in the background.
        """
        if self.disable_checkpointing:
            super().save_checkpoint(filename)
            return
        both = process_group.gathered((_storable(self._random_kept or random_state()), self._is_finite()))
        randoms, finite = [states for states, _ in both], all(finite for _, finite in both)
        process_group.by_first(partial(self._write, Path(filename), randoms, finite))

    def _finish_saving(self) -> None:
        """Wait until the last checkpoint is written; all processes call this."""
        process_group.by_first(self._background.wait)

    @contextmanager
    def _saving(self) -> Iterator[None]:
        """Wait for the last checkpoint, however the training ends."""
        try:
            yield
            self._finish_saving()
        finally:
            try:
                self._background.wait()
            except Refused as refusal:
                self.print_to_log_file(f"WARNING: {refusal.reason}")

    def _reserve_copy(self) -> None:
        """After the first step, take the memory for copies, so that the first one takes no longer than the others."""
        if self._reserved:
            return
        self._reserved = True
        if self.local_rank == 0 and self._is_copied() and not self.disable_checkpointing:
            self._background.start(partial(self._copies.reserve, self._checkpoint()))

    def _write(self, path: Path, randoms: list[Any], finite: bool) -> None:
        self._background.wait()
        if not finite:
            raise Refused(
                f"weights are not finite at step {self._state.step:,}; {path.name} is not written",
                hint=f"{_KEPT}; check the data and the learning rate, then continue with --c",
            )
        copied = None
        with self._as_saved({STEPS: self._state.as_json(), RANDOM: randoms}):
            if path.name in _REPLACED and self._is_copied():
                with suppress(RuntimeError, MemoryError):  # there is no memory for a copy
                    copied = self._copies.of(self._checkpoint())
            if copied is None:
                self._put(path, self._state.step, super().save_checkpoint)
        if copied is not None:
            self._background.start(partial(self._put, path, self._state.step, partial(torch.save, copied)))

    def _is_copied(self) -> bool:
        """Whether a copy can be saved: nnU-Net's own function makes the checkpoint, and torch can copy its tensors."""
        own = super().save_checkpoint.__func__ is nnUNetTrainer.save_checkpoint
        return own and self.device.type in ("cpu", "cuda")

    def _checkpoint(self) -> Any:
        """What nnU-Net would save."""
        saved: list[Any] = []
        torch_of_nnunet = SimpleNamespace(save=lambda checkpoint, _: saved.append(checkpoint))
        with replaced(nnUNetTrainer.save_checkpoint.__globals__, {"torch": torch_of_nnunet}):
            super().save_checkpoint("")
        return saved[0]

    def _put(self, path: Path, step: int, save: Callable[[str], object]) -> None:
        """Replace a checkpoint by what ``save`` writes to a path, and keep it if it was due."""
        try:
            with replacing(path) as temporary:
                save(str(temporary))
            self._keep(path, step)
        except (RuntimeError, WriteRefused) as error:  # torch raises RuntimeError if the disk is full
            raise Refused(
                f"{path} could not be written: {error}", hint=f"{_KEPT}; check the disk and continue with --c"
            ) from error

    def _keep(self, path: Path, step: int) -> None:
        """Keep a checkpoint that was due; the training goes on where that is not possible."""
        every, most = self._options.save_every, self._options.save_limit
        if path.name != constants.CHECKPOINT_LATEST or not most or not every or not step or step % every:
            return
        try:
            keep(path, step, most, self._state.run)
        except (OSError, UnreadableFolder) as error:
            self.print_to_log_file(f"WARNING: the checkpoint of step {step:,} is not kept: {error}")

    def _is_finite(self) -> bool:
        """Of weights and running means: NaN in a batch spoils the means even if the scaler skips its step.

        A sum is finite only if all its values are; it takes a tenth of the time.
        """
        values = [value for value in self.network.state_dict().values() if value.is_floating_point()]
        if bool(torch.isfinite(torch.stack([value.sum() for value in values])).all()):
            return True
        return bool(torch.stack([torch.isfinite(value).all() for value in values]).all())

    @contextmanager
    def _as_saved(self, notes: dict[str, Any]) -> Iterator[None]:
        """Let nnU-Net save the notes, complete windows only, and the base trainer's name if that is asked for.

        The notes are in ``init_args``, which nnU-Net writes and reads, and prediction ignores. A window in progress
        would be counted and logged as well.
        """
        own = type(self)
        changes: dict[str, Any] = {"my_init_kwargs": {**self.my_init_kwargs, **notes}}
        with ExitStack() as stack:
            if self._window_open:
                logger, done = self.logger.local_logger, self.current_epoch
                complete = {name: values[:done] for name, values in logger.my_fantastic_logging.items()}
                stack.enter_context(replaced(vars(logger), {"my_fantastic_logging": complete}))
                changes["current_epoch"] = done - 1
            stack.enter_context(replaced(self.__dict__, changes))
            if self._options.portable:
                self.__class__ = type(self.base_name, (own,), {})
                stack.callback(setattr, self, "__class__", own)
            yield

    # --- Reading

    def load_checkpoint(self, filename_or_checkpoint: Any) -> None:
        """Load a checkpoint; to continue, the one that `resume_point` chooses, whichever nnU-Net has chosen."""
        if not self._continuing or self._continued:
            super().load_checkpoint(filename_or_checkpoint)
            return
        point = process_group.by_first(self._resume_point) or self._resume_point()
        for fault in point.passed_over:
            self.print_to_log_file(f"WARNING: not continued from {fault}")
        what = f"Extending {point.path}" if point.extends else f"Continuing from {point.path.name}"
        self.print_to_log_file(f"{what}, step {point.state.step:,}")
        own = self.my_init_kwargs
        super().load_checkpoint(str(point.path))
        stored, self.my_init_kwargs = self.my_init_kwargs, own
        self._random = stored.get(RANDOM)
        self._continued = True
        self._finished = point.is_complete
        if point.extends:
            new = {name: getattr(self._state, name) for name in ("trainer", "run", "started")}
            self._state = dataclasses.replace(point.state, **new)
            self._best_ema = None  # the best checkpoint here is the best of this training alone
        else:
            self._state = point.state

    def _resume_point(self) -> ResumePoint:
        point = resume_point(Path(self.output_folder), StepName(self.base_name, self.schedule))
        check_unchanged(point, type(self).__name__, self.configuration_name, self._plans, self.dataset_json)
        return point


# --- Random number generators of this process


def random_state() -> dict[str, Any]:
    """Return the state; those of loader workers are not accessible: with workers, batches differ after a resume.

    It is kept at every step: numpy's keys stay an array until `_storable`.
    """
    state = {"python": random.getstate(), "numpy": np.random.get_state(), "torch": torch.get_rng_state()}
    if torch.cuda.is_initialized():  # a training on the CPU does not use it
        state["cuda"] = torch.cuda.get_rng_state()
    return state


def _storable(state: dict[str, Any]) -> dict[str, Any]:
    """The state with types that a checkpoint may contain."""
    name, keys, *rest = state["numpy"]
    return {**state, "numpy": [name, keys.tolist(), *map(float, rest)]}


def set_random(state: dict[str, Any]) -> None:
    """Restore a state."""
    random.setstate(state["python"])
    name, keys, position, has_gauss, gauss = state["numpy"]
    np.random.set_state((name, np.array(keys, dtype=np.uint32), int(position), int(has_gauss), gauss))
    torch.set_rng_state(state["torch"].cpu())
    if "cuda" in state:
        with suppress(RuntimeError):  # no GPU here, or another kind
            torch.cuda.set_rng_state(state["cuda"].cpu())
