"""nnU-Net's trainers, training for exactly N optimiser steps.

nnU-Net's loop, loss, data loading and distribution are unchanged; this hooks into them. It relies on
training/nnUNetTrainer/nnUNetTrainer.py of nnunetv2 2.8: ``run_training`` reads ``num_iterations_per_epoch`` after
``on_train_epoch_start``; ``save_checkpoint`` writes ``current_epoch + 1``, and ``my_init_kwargs`` as ``init_args``;
``load_checkpoint`` takes a path and restores both; ``print_to_log_file`` writes on rank 0 only.

N counts updates of the weights. A step that the gradient scaler skips (its gradients were not finite in half precision)
is repeated with the next batch, at the same learning rate, and counted separately; so the schedule is the same on every
machine. With several GPUs an update is one of all of them together.
"""

from __future__ import annotations

import copy
import datetime
import errno
import io
import math
import os
import sys
import time
import uuid
from contextlib import ExitStack, redirect_stdout, suppress
from functools import cache, partial
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import torch
from nnunetv2.paths import nnUNet_results
from nnunetv2.training.lr_scheduler.polylr import PolyLRScheduler
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from nnunetv2.utilities.find_objects import recursive_find_trainer_class_by_name

from plansguard.core.atomic_files import locked
from plansguard.core.errors import PlansguardError, UsageError
from plansguard.core.text import counted, nearest
from plansguard.nnunet import constants
from plansguard.nnunet.install import trainer_folder
from plansguard.training import kept_head, process_group, resume
from plansguard.training.background_work import BackgroundWork
from plansguard.training.checkpoint_copies import CheckpointCopies
from plansguard.training.checkpoint_saving import CheckpointSaving, random_state, set_random
from plansguard.training.data_loaders import Guarded, explained
from plansguard.training.experiment_loggers import is_asked_for
from plansguard.training.folder_lock import hold, note_run
from plansguard.training.options import read_options
from plansguard.training.progress import Pace, ProgressLog
from plansguard.training.signals import StopSignals, ending
from plansguard.training.step_rates import StepRates
from plansguard.training.stop_reasons import Refused, Stopped, TrainingObstacle
from plansguard.training.trainer_name import StepName, is_step_name, read_name

#: The gradient scaler halves its scale at each skip: far fewer skips in a row mean that the loss is not finite.
MOST_SKIPS = 100
#: What the processes exchange before each step; the highest counts.
_GO_ON, _FAILED, _STOP = range(3)
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG}


@cache
def trainer_class(name: str) -> type:
    """Return the step trainer of this name. Refused if its name, its base or the installed nnU-Net is unusable."""
    if obstacle := trainer_folder.obstacle():
        raise Refused(obstacle, hint=trainer_folder.REMEDY)
    try:
        base_name, schedule = read_name(name)
    except UsageError as error:
        raise Refused(error.reason, hint=error.hint, obstacle=TrainingObstacle.NAME_UNREADABLE) from error
    try:
        base = recursive_find_trainer_class_by_name(base_name)
    except RuntimeError as error:
        near = nearest(base_name, constants.STOCK_TRAINERS)
        raise Refused(
            f"nnU-Net finds no trainer {base_name}, the base of {name}",
            hint=(f"did you mean {near}? " if near else "") + "the folders in nnUNet_extTrainer are searched as well",
        ) from error
    body = {"__module__": __name__, "__doc__": f"{base_name} for {schedule.total} steps.", "schedule": schedule}
    return type(name, (StepTrainer, base), {**body, "base_name": base_name})


def __getattr__(name: str) -> type:
    """Return `trainer_class` as an attribute of this module, so that the classes can be pickled."""
    if not is_step_name(name):
        raise AttributeError(name)
    return trainer_class(name)


class StepTrainer(ProgressLog, CheckpointSaving):
    """The class that ``trainer_class`` puts before a trainer of nnU-Net."""

    def __init__(
        self,
        plans: dict[str, Any],
        configuration: str,
        fold: int,
        dataset_json: dict[str, Any],
        device: torch.device = torch.device("cuda"),  # noqa: B008 - nnU-Net's own signature, which it inspects
    ):
        self._began = time.monotonic()
        try:
            self._options = read_options(os.environ)
            is_asked_for()
        except UsageError as error:
            raise Refused(error.reason, hint=error.hint) from error
        self._continuing = bool(plans.get("continue_training"))
        self._plans = {key: copy.deepcopy(value) for key, value in plans.items() if key != "continue_training"}
        locks = self._hold_folder(plans, configuration, fold)
        super().__init__(plans, configuration, fold, dataset_json, device)
        if locks is False:
            self.print_to_log_file("WARNING: this file system has no locks: do not start a second training here")
        if self.is_ddp:
            self.device = torch.device("cuda", torch.cuda.current_device()) if device.type == "cuda" else device
            self.grad_scaler = self.grad_scaler if self.device.type == "cuda" else None
        now = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="microseconds")
        self._state = resume.TrainingState(type(self).__name__, uuid.uuid4().hex, now)
        self._carried: dict[str, list[float]] = {}
        self._background, self._copies = BackgroundWork(), CheckpointCopies()
        self._save_due = False
        self._training = self._trained = False
        self.keeps_head = False
        self._signals = StopSignals()
        if self.schedule.rate is not None:
            self.initial_lr = self.schedule.rate
        if self.schedule.validation is not None:
            self.num_val_iterations_per_epoch = self.schedule.validation
        self.num_epochs = self.schedule.windows
        self.num_iterations_per_epoch = self.schedule.first_step(1)
        self.save_every = sys.maxsize

    def _hold_folder(self, plans: dict[str, Any], configuration: str, fold: int) -> bool | None:
        """Lock the folder before nnU-Net's constructor, which deletes files of Weights & Biases that may be in use."""
        if not nnUNet_results.is_set():
            return None
        model = f"{type(self).__name__}__{plans['plans_name']}__{configuration}"
        folder = Path(str(nnUNet_results)) / plans["dataset_name"] / model / f"fold_{fold}"
        locks = process_group.by_first(partial(hold, folder))
        if resume.checkpoints_in(folder) and "continue_training" in plans:
            plans["continue_training"] = True  # only the loggers read it: --val, or a start that will be refused
        return locks

    def initialize(self) -> None:
        """Initialize as nnU-Net does, on the device of this process."""
        with process_group.wrapping_on(self.device, type(self)):
            super().initialize()
        if self.schedule.keep_head:
            kept_head.load_after_stock(self)

    # --- Optimizer and learning rate

    def configure_optimizers(self) -> Any:
        """Return the base trainer's optimizer, and the rate of each step in place of that of each epoch."""
        optimizer, scheduler = super().configure_optimizers()
        if type(scheduler) is not PolyLRScheduler:
            raise Refused(
                f"{self.base_name} has a learning rate schedule of its own ({type(scheduler).__name__}), "
                "which a schedule in steps would replace",
                hint="take a trainer with nnU-Net's polynomial, such as nnUNetTrainer",
            )
        optimizer.register_step_pre_hook(self._check_gradients)
        optimizer.register_step_post_hook(self._count)
        initial = scheduler.initial_lr if self.schedule.rate is None else self.schedule.rate
        return optimizer, StepRates(optimizer, self.schedule, initial, scheduler.exponent)

    def _check_gradients(self, optimizer: torch.optim.Optimizer, *_: Any) -> None:
        """Refuse gradients that are not finite, as the gradient scaler does on a GPU."""
        if self.grad_scaler is not None:
            return
        parameters = (parameter for group in optimizer.param_groups for parameter in group["params"])
        norms = (torch.linalg.vector_norm(one.grad) for one in parameters if one.grad is not None)
        first = next(norms, None)
        if first is None:
            return
        # nnU-Net's own train_step divides all gradients by their common norm: a NaN or an infinity anywhere makes every
        # value NaN or 0. So one gradient with other values tells that all are finite.
        clips = super().train_step.__func__ is nnUNetTrainer.train_step
        if clips and 0 < float(first) < math.inf:
            return
        if not math.isfinite(torch.stack([first, *norms]).max()):  # max returns NaN if there is one
            raise Refused(
                f"the loss or its gradients are not finite in step {self._state.step + 1:,}",
                hint="look for NaN in the preprocessed data, or take a lower learning rate; the checkpoints are "
                "unchanged, and --c continues the last one",
            )

    def _count(self, *_: Any) -> None:
        self._state.step += 1

    # --- From the beginning to the end

    def run_training(self) -> None:
        """Run nnU-Net's loop, unless the training is finished or would overwrite another one."""
        folder = Path(self.output_folder)
        if self._continuing and not self._continued:
            self.load_checkpoint(None)  # nnU-Net found none and would begin from scratch; this raises the reason
        if not self._continuing:
            process_group.by_first(partial(resume.check_can_begin, folder, StepName(self.base_name, self.schedule)))
        if self.schedule.keep_head and not self.keeps_head and not self._continued:
            raise Refused(
                f"{type(self).__name__} begins with segmentation layers of pretrained weights, and none were loaded",
                hint="name the weights with -pretrained_weights, or take the trainer without keephead",
            )
        if self._finished:
            if resume.is_validated(folder):
                raise Refused(
                    f"this training is finished: {self.schedule.total:,} of {self.schedule.total:,} steps",
                    hint="there is nothing to continue; --val in place of --c validates it again",
                    obstacle=TrainingObstacle.FINISHED,
                )
            self.print_to_log_file("All steps are made already; only the final validation is left.")
            self._add_loggers()
            return
        if self.local_rank == 0:
            hold(folder)
            note_run(folder, self._state.run)
            self._add_loggers()
        self._training = True
        with self._signals, self._saving():
            try:
                super().run_training()
            except PlansguardError as error:
                raise (error if isinstance(error, Refused) else Refused(error.reason, hint=error.hint)) from error
            except OSError as error:
                if error.errno not in _FULL:
                    raise
                then = "continue with --c" if resume.checkpoints_in(folder) else "train again: no checkpoint is there"
                raise Refused(f"the training cannot write: {error}", hint=f"check the disk, then {then}") from error
        self._training, self._trained = False, True

    def on_train_start(self) -> None:
        """Restore the random numbers of the checkpoint, after nnU-Net has drawn its first batches."""
        super().on_train_start()
        schedule, state = self.schedule, self._state
        where = f", from step {state.step:,}" if self._continued else ""
        epochs = f"{counted(schedule.windows, 'epoch')} of {schedule.per_window:,}"
        self.print_to_log_file(f"{schedule.total:,} optimiser steps in {epochs}{where}")
        if schedule.restart and state.step == schedule.extends:
            self.print_to_log_file(
                f"The learning rate rises again over {counted(schedule.restart, 'step')}, to where it would be had "
                f"{schedule.total:,} steps been planned from the beginning. Expect the Dice to fall at first."
            )
        self._pace = Pace(schedule.total, state.step)
        self.dataloader_train, self.dataloader_val = map(self._guarded, (self.dataloader_train, self.dataloader_val))
        if self._random is not None:
            if len(self._random) == process_group.world_size():
                set_random(self._random[self.local_rank])
            self._random = None

    def _guarded(self, loader: Any) -> Guarded:
        """Guard a loader. Without workers it uses the generators of this process, also for a batch that is not used."""
        return Guarded(loader, None if getattr(loader, "num_processes", 0) else self._keep_random)

    def _keep_random(self) -> None:
        if self._random_kept is None:
            self._random_kept = random_state()

    def do_split(self) -> Any:
        """Return nnU-Net's split; refuse another one than that of the training that is continued.

        Folds that start at the same time wait for each other: the first writes the file that the others read.
        """
        with ExitStack() as stack:
            with suppress(PlansguardError):  # nothing is written into a folder that cannot be locked
                stack.enter_context(locked(Path(self.preprocessed_dataset_folder_base)))
            training, validation = super().do_split()
        if self._training:
            split = resume.Split.of(training, validation)
            process_group.by_first(partial(resume.check_same_split, self._state.split, split))
            self._state.split = split
        return training, validation

    def on_train_end(self) -> None:
        """Write the final checkpoint, of exactly N steps."""
        if self._state.step != self.schedule.total:
            raise Refused(
                f"{self.base_name} made {self._state.step:,} steps in place of {self.schedule.total:,}: "
                "it has a training loop of its own",
                hint="take a trainer that does not override run_training and train_step",
            )
        self.dataloader_train, self.dataloader_val = self.dataloader_train.loader, self.dataloader_val.loader
        super().on_train_end()
        skipped = f"; {counted(self._state.skipped, 'more step')} skipped by the gradient scaler"
        self.print_to_log_file(f"{self._state.step:,} optimiser steps made{skipped * bool(self._state.skipped)}.")

    # --- Windows

    def on_epoch_start(self) -> None:
        """Begin a window: checkpoints are now of a window in progress."""
        self._window_open = True
        super().on_epoch_start()

    def on_train_epoch_start(self) -> None:
        """Set the number of steps left in this window: the last window is shorter, and so is one that is continued."""
        self.num_iterations_per_epoch = self.schedule.first_step(self.current_epoch + 1) - self._state.step
        self._carried = {name: list(values) for name, values in self._state.outputs.items()}
        super().on_train_epoch_start()

    def train_step(self, batch: Any) -> Any:
        """Make one update of the weights."""
        state = self._state
        self.lr_scheduler.set(state.step)
        before, skips = state.step, 0
        outputs = self._attempt(batch)
        while state.step == before:
            skips += 1
            if skips == MOST_SKIPS:
                raise Refused(
                    f"the gradient scaler skipped {MOST_SKIPS} steps in a row at step {before:,}: "
                    "the loss or its gradients are not finite",
                    hint="check the data and the learning rate; the last checkpoint is unchanged",
                )
            outputs = self._attempt(next(self.dataloader_train))
        state.skipped += skips
        if state.step != before + 1:
            raise Refused(
                f"{self.base_name} makes {state.step - before} optimiser steps at a time",
                hint="take a trainer that makes one for each batch",
            )
        for name, value in outputs.items():
            if np.size(value) == 1:
                state.outputs.setdefault(name, []).append(float(value))
        self._report_progress()
        self._reserve_copy()
        self._save_if_due()
        return outputs

    def _attempt(self, batch: Any) -> Any:
        self._leave_if_stopped(batch)
        self._random_kept = None
        return super().train_step(batch)

    def _save_if_due(self) -> None:
        every = self._options.save_every
        if every == 0 or self._state.step % every:
            return
        if self._state.step == self.schedule.first_step(self.current_epoch + 1):
            self._save_due = True  # at the end of the window, with its log
        else:
            self._save_latest()

    def on_train_epoch_end(self, train_outputs: list[dict[str, Any]]) -> None:
        """Add the outputs of the part of this window that was trained before the resume."""
        carried = [
            {name: np.array(value, dtype=np.float32) for name, value in zip(self._carried, values, strict=True)}
            for values in zip(*self._carried.values(), strict=True)
        ]
        super().on_train_epoch_end(carried + train_outputs)

    def on_validation_epoch_start(self) -> None:
        """Keep the random numbers, with which a resume repeats an interrupted validation."""
        self._keep_random()
        super().on_validation_epoch_start()

    def validation_step(self, batch: Any) -> Any:
        """Validate a batch, unless the training is stopped: the window's steps are made."""
        self._leave_if_stopped(batch)
        return super().validation_step(batch)

    def on_validation_epoch_end(self, val_outputs: list[dict[str, Any]]) -> None:
        """End the validation, which a resume does not repeat from here on."""
        self._random_kept = None
        super().on_validation_epoch_end(val_outputs)

    def on_epoch_end(self) -> None:
        """End the window; nnU-Net saves it if that is due."""
        self._window_open = False
        self._state.outputs = {}
        self.save_every = 1 if self._save_due else sys.maxsize
        self._save_due = False
        super().on_epoch_end()

    # --- Stopping

    def _leave_if_stopped(self, batch: Any) -> None:
        """Before a step: if one process is stopped, or has no batch, all save and end at the same step.

        Loader workers often receive the signal that their trainer receives; then it is a stop, and no failure.
        """
        failure = batch if isinstance(batch, Exception) else None
        limit = self._options.max_time
        stop = self._signals.received is not None or (limit is not None and time.monotonic() - self._began >= limit)
        failed = failure is not None or self._background.failed
        state = process_group.highest(_STOP if stop else _FAILED if failed else _GO_ON, self.device)
        if state == _GO_ON:
            return
        self._save_latest()  # raises what has failed in the background
        self._finish_saving()
        if state == _STOP:
            self._stop()
        if failure is not None:
            raise explained(failure, self._state.step, saved=not self.disable_checkpointing) from failure
        with suppress(RuntimeError):  # until that process has printed its error, and ends
            process_group.wait_for_all()
        raise Refused("another process of this training could not load its data; its own message tells why")

    def _stop(self) -> NoReturn:
        reason = self._signals.received or "the time allowed is used up"
        process_group.wait_for_all()
        if self.disable_checkpointing:
            raise Refused(
                f"stopped at step {self._state.step:,} ({reason}); checkpointing is disabled, nothing is kept"
            )
        self.print_to_log_file(
            f"Stopped at step {self._state.step:,} of {self.schedule.total:,} ({reason}). Continue with --c."
        )
        # End the workers as nnU-Net does after a training; otherwise they fill the log with tracebacks.
        for loader in (self.dataloader_train, self.dataloader_val):
            finish = getattr(loader, "_finish", None)
            if finish is not None:
                with redirect_stdout(io.StringIO()):
                    finish()
        raise Stopped

    def perform_actual_validation(self, *arguments: Any, **options: Any) -> None:
        """Run the final validation, which a signal ends and --c repeats; --val, if it was validated before.

        Where nothing else was to be done, the end of a job's time (SIGUSR1) is a failure: every later job would end so.
        """

        def stop(reason: str) -> SystemExit:
            again = "--val" if resume.is_validated(Path(self.output_folder)) else "--c"
            self.print_to_log_file(f"Stopped in the final validation ({reason}). Continue with {again}.")
            if not self._trained and reason == "SIGUSR1":
                return Refused(
                    "the time of this job is too short for the final validation alone",
                    hint=f"continue with {again} in a job with a longer time limit",
                )
            return Stopped()

        with ending(stop):
            super().perform_actual_validation(*arguments, **options)
