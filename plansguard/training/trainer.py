"""nnU-Net's trainers, training for exactly N optimiser steps.

nnU-Net's own loop, loss, data loading and distribution stay as they are; this hooks into them. What it builds on, in
training/nnUNetTrainer/nnUNetTrainer.py of nnunetv2 2.8: ``run_training`` asks for ``num_iterations_per_epoch`` after
``on_train_epoch_start``; ``save_checkpoint`` notes ``current_epoch + 1``, and ``my_init_kwargs`` as ``init_args``;
``load_checkpoint`` takes a path and puts both back; ``print_to_log_file`` writes on rank 0 only.

N counts updates of the weights. A step that the gradient scaler skips (its gradients were not finite in half precision)
is made again with the next batch, at the same learning rate, and counted apart; so the schedule is the same on every
machine. With several GPUs an update is one of all of them together.
"""

from __future__ import annotations

import copy
import datetime
import os
import random
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import torch
from nnunetv2.training.lr_scheduler.polylr import PolyLRScheduler
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from nnunetv2.utilities.find_objects import recursive_find_trainer_class_by_name
from torch import distributed as dist

from plansguard import facts, machine
from plansguard.artefacts.contents import STEPS
from plansguard.errors import PlansguardError, UsageError
from plansguard.files import replacing
from plansguard.training import OLDEST_NNUNET
from plansguard.training.names import is_step_name, read_name
from plansguard.training.options import read_options
from plansguard.training.progress import IN_LOG, ON_TERMINAL, Pace
from plansguard.training.refusal import Refused, Stopped
from plansguard.training.schedule import StepSchedule
from plansguard.training.signals import StopSignals
from plansguard.training.state import Split, State, check_same_split, check_unchanged, checkpoints_in, newest
from plansguard.words import counted, nearest

#: The key of ``init_args`` for the generators' states. They are tensors and long lists, so apart from the notes.
RANDOM = "plansguard_random"
#: The gradient scaler halves its scale at each skip: long before this many in a row it is the loss that is broken.
MOST_SKIPS = 100


@cache
def trainer_class(name: str) -> type:
    """The trainer of this name. Refused where the name, the trainer below it or the installed nnU-Net will not do."""
    version = machine.nnunet_version()
    if version is not None and version < OLDEST_NNUNET:
        raise Refused(
            f"training in steps needs nnunetv2 {machine.dotted(OLDEST_NNUNET)}; here is {machine.dotted(version)}",
            hint="pip install 'plansguard[train]'",
        )
    try:
        base_name, schedule = read_name(name)
    except UsageError as error:
        raise Refused(error.reason, hint=error.hint) from error
    try:
        base = recursive_find_trainer_class_by_name(base_name)
    except RuntimeError as error:
        near = nearest(base_name, facts.STOCK_TRAINERS)
        raise Refused(
            f"nnU-Net finds no trainer {base_name}, which {name} is to build on",
            hint=(f"did you mean {near}? " if near else "") + "the folders in nnUNet_extTrainer are searched, too",
        ) from error
    body = {"__module__": __name__, "__doc__": f"{base_name} for {schedule.total} steps.", "schedule": schedule}
    return type(name, (StepTrainer, base), {**body, "base_name": base_name})


def __getattr__(name: str) -> type:
    """The same, as an attribute of this module, so that the classes can be pickled."""
    if not is_step_name(name):
        raise AttributeError(name)
    return trainer_class(name)


class StepRates:
    """Stands where nnU-Net has its scheduler, which knows epochs only."""

    def __init__(self, optimizer: torch.optim.Optimizer, schedule: StepSchedule, initial: float, exponent: float):
        self.optimizer = optimizer
        self.schedule = schedule
        self.initial = initial
        self.exponent = exponent

    def step(self, current_step: int) -> None:
        """nnU-Net's call at the beginning of a window: the rate of its first step, which is the one that is logged."""
        self.set(self.schedule.first_step(current_step))

    def set(self, step: int) -> None:
        """Give the optimizer the rate of the step after ``step`` steps."""
        rate = self.schedule.rate_at(step, self.initial, self.exponent)
        for group in self.optimizer.param_groups:
            group["lr"] = rate

    def get_last_lr(self) -> list[float]:
        """As of torch's schedulers."""
        return [group["lr"] for group in self.optimizer.param_groups]


class StepTrainer(nnUNetTrainer):  # type: ignore[misc]
    """What ``trainer_class`` puts before a trainer of nnU-Net."""

    schedule: StepSchedule
    base_name: str
    # nnU-Net's own, set by it
    current_epoch: int
    my_init_kwargs: dict[str, Any]

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
        except UsageError as error:
            raise Refused(error.reason, hint=error.hint) from error
        self._continuing = bool(plans.get("continue_training"))
        self._plans = {key: copy.deepcopy(value) for key, value in plans.items() if key != "continue_training"}
        super().__init__(plans, configuration, fold, dataset_json, device)
        self._state = State(type(self).__name__, uuid.uuid4().hex, _now())
        self._continued = False
        self._finished = False
        self._random: list[Any] | None = None
        self._random_at_validation: dict[str, Any] | None = None
        self._window_open = False
        self._carried: dict[str, list[float]] = {}
        self._between_steps = False
        self._save_due = False
        self._training = False
        self._signals = StopSignals()
        self._pace: Pace | None = None
        self._line_open = False
        if self.schedule.rate is not None:
            self.initial_lr = self.schedule.rate
        if self.schedule.validation is not None:
            self.num_val_iterations_per_epoch = self.schedule.validation
        self.num_epochs = self.schedule.windows
        self.num_iterations_per_epoch = self.schedule.first_step(1)
        self.save_every = sys.maxsize

    # --- Optimizer and learning rate

    def configure_optimizers(self) -> Any:
        """The base trainer's optimizer, with the rate of each step in place of that of each epoch."""
        optimizer, scheduler = super().configure_optimizers()
        if type(scheduler) is not PolyLRScheduler:
            raise Refused(
                f"{self.base_name} lowers its learning rate in a way of its own ({type(scheduler).__name__}), "
                "which a schedule in steps would replace",
                hint="take a trainer with nnU-Net's polynomial, such as nnUNetTrainer",
            )
        optimizer.register_step_post_hook(self._count)
        initial = scheduler.initial_lr if self.schedule.rate is None else self.schedule.rate
        return optimizer, StepRates(optimizer, self.schedule, initial, scheduler.exponent)

    def _count(self, *_: Any) -> None:
        self._state.step += 1

    # --- From the beginning to the end

    def run_training(self) -> None:
        """nnU-Net's loop, if there is something to be done and nothing to be lost."""
        folder = Path(self.output_folder)
        if self._continuing and not self._continued:
            self.load_checkpoint(None)  # nnU-Net saw none and would begin anew; this says why there is none
        if not self._continuing:
            _refuse_to_overwrite(folder)
        if self._finished:
            self._end_of_finished(folder)
            return
        self._training = True
        with self._signals:
            try:
                super().run_training()
            except Exception as error:
                # Loader workers that were sent the same signal, or died: what was trained is not lost with them.
                if self._between_steps and not self.is_ddp and not isinstance(error, PlansguardError):
                    self._save_latest()
                    if self._signals.received:
                        self._stop()
                if isinstance(error, PlansguardError) and not isinstance(error, Refused):
                    raise Refused(error.reason, hint=error.hint) from error
                raise
        self._training = False

    def _end_of_finished(self, folder: Path) -> None:
        if (folder / "validation" / "summary.json").is_file():
            raise Refused(
                f"this training is finished: {self.schedule.total:,} of {self.schedule.total:,} steps",
                hint="nothing is left to continue; --val in place of --c validates it again",
            )
        self.print_to_log_file("All steps are made already; only the final validation is left.")

    def on_train_start(self) -> None:
        """After nnU-Net has drawn its first batches, the random numbers go on where the checkpoint left them."""
        super().on_train_start()
        schedule, state = self.schedule, self._state
        where = f", from step {state.step:,}" if self._continued else ""
        epochs = f"{counted(schedule.windows, 'epoch')} of {schedule.per_window:,}"
        self.print_to_log_file(f"{schedule.total:,} optimiser steps in {epochs}{where}")
        self._pace = Pace(schedule.total, state.step)
        if self._random is not None:
            if len(self._random) == self._world_size():
                _set_random(self._random[self.local_rank])
            self._random = None

    def do_split(self) -> Any:
        """nnU-Net's split, which must be that of the training that is continued."""
        training, validation = super().do_split()
        if self._training:
            split = Split.of(training, validation)
            check_same_split(self._state.split, split)
            self._state.split = split
        return training, validation

    def on_train_end(self) -> None:
        """The final checkpoint, of exactly N steps."""
        if self._state.step != self.schedule.total:
            raise Refused(
                f"{self.base_name} made {self._state.step:,} steps in place of {self.schedule.total:,}: "
                "it has a training loop of its own",
                hint="take a trainer that leaves run_training and train_step to nnU-Net",
            )
        self._between_steps = False
        super().on_train_end()
        skipped = f"; {counted(self._state.skipped, 'more step')} skipped by the gradient scaler"
        self.print_to_log_file(f"{self._state.step:,} optimiser steps made{skipped * bool(self._state.skipped)}.")

    # --- Windows

    def on_epoch_start(self) -> None:
        """From here on a checkpoint is one of a window in progress."""
        self._window_open = True
        super().on_epoch_start()

    def on_train_epoch_start(self) -> None:
        """As many steps as are left in this window: the last is shorter, and so is one that is continued."""
        self.num_iterations_per_epoch = self.schedule.first_step(self.current_epoch + 1) - self._state.step
        self._carried = {name: list(values) for name, values in self._state.outputs.items()}
        super().on_train_epoch_start()
        self._between_steps = True

    def train_step(self, batch: dict[str, Any]) -> Any:
        """One update of the weights."""
        self._between_steps = False
        state = self._state
        self.lr_scheduler.set(state.step)
        before = state.step
        outputs = super().train_step(batch)
        skips = 0
        while state.step == before:
            skips += 1
            if skips == MOST_SKIPS:
                raise Refused(
                    f"the gradient scaler skipped {MOST_SKIPS} steps in a row at step {before:,}: "
                    "the loss or its gradients are not finite",
                    hint="look at the data and the learning rate; the last checkpoint is as it was",
                )
            outputs = super().train_step(next(self.dataloader_train))
        state.skipped += skips
        if state.step != before + 1:
            raise Refused(
                f"{self.base_name} makes {state.step - before} optimiser steps at a time",
                hint="take a trainer that makes one for each batch",
            )
        for name, value in outputs.items():
            if np.size(value) == 1:
                state.outputs.setdefault(name, []).append(float(value))
        self._between_steps = True
        self._after_step()
        return outputs

    def _after_step(self) -> None:
        self._tell()
        every = self._options.save_every
        due = every > 0 and self._state.step % every == 0
        if self._told_to_stop():
            self._save_latest()
            self._stop()
        if due and self._state.step == self.schedule.first_step(self.current_epoch + 1):
            self._save_due = True  # together with what this window will have logged
        elif due:
            self._save_latest()

    def on_train_epoch_end(self, train_outputs: list[dict[str, Any]]) -> None:
        """The outputs of a window in two parts are put together again."""
        carried = [
            {name: np.array(value, dtype=np.float32) for name, value in zip(self._carried, values, strict=True)}
            for values in zip(*self._carried.values(), strict=True)
        ]
        super().on_train_epoch_end(carried + train_outputs)

    def on_validation_epoch_start(self) -> None:
        """A validation that is interrupted will be done again, with the same random numbers."""
        self._random_at_validation = _random_state()
        super().on_validation_epoch_start()

    def validation_step(self, batch: dict[str, Any]) -> Any:
        """A validation need not be waited for: the window's steps are made."""
        outputs = super().validation_step(batch)
        if self._told_to_stop():
            self._save_latest()
            self._stop()
        return outputs

    def on_validation_epoch_end(self, val_outputs: list[dict[str, Any]]) -> None:
        """From here on there is nothing to do again."""
        self._between_steps = False
        self._random_at_validation = None
        super().on_validation_epoch_end(val_outputs)

    def on_epoch_end(self) -> None:
        """The window is complete, and is saved by nnU-Net itself if that is due."""
        self._window_open = False
        self._state.outputs = {}
        self.save_every = 1 if self._save_due else sys.maxsize
        self._save_due = False
        super().on_epoch_end()

    # --- Stopping

    def _told_to_stop(self) -> bool:
        limit = self._options.max_time
        stop = self._signals.received is not None or (limit is not None and time.monotonic() - self._began >= limit)
        if not self.is_ddp:
            return stop
        # One process may hear of it a step before the others, but all must save and leave at the same one.
        flag = torch.tensor([int(stop)], device=self.device)
        dist.all_reduce(flag, op=dist.ReduceOp.MAX)
        return bool(flag.item())

    def _stop(self) -> NoReturn:
        reason = self._signals.received or "the time allowed is used up"
        if self.is_ddp:
            dist.barrier()
        if self.disable_checkpointing:
            raise Refused(
                f"stopped at step {self._state.step:,} ({reason}); checkpointing is disabled, nothing is kept"
            )
        self.print_to_log_file(
            f"Stopped at step {self._state.step:,} of {self.schedule.total:,} ({reason}). Continue with --c."
        )
        raise Stopped

    # --- Telling

    def _tell(self) -> None:
        """On a terminal one line that is rewritten; in the log a line every few minutes."""
        if self._pace is None or self.local_rank != 0:
            return
        state, terminal = self._state, sys.stderr.isatty()
        show, note = terminal and self._pace.due(ON_TERMINAL), self._pace.due(IN_LOG)
        if not (show or note):
            return
        losses = state.outputs.get("loss")
        line = self._pace.line(state.step, losses[-1] if losses else None, self.lr_scheduler.get_last_lr()[0])
        if note:
            self.print_to_log_file(line, also_print_to_console=not terminal)
        if show:
            print(f"\r{self._pace.bar(state.step)} {line}\033[K", end="", file=sys.stderr, flush=True)  # noqa: T201
            self._line_open = True

    def print_to_log_file(self, *args: Any, **kwargs: Any) -> None:
        """nnU-Net's lines do not begin behind the one that is rewritten."""
        if getattr(self, "_line_open", False):
            print("\r\033[K", end="", file=sys.stderr, flush=True)  # noqa: T201
            self._line_open = False
        super().print_to_log_file(*args, **kwargs)

    # --- Checkpoints

    def _save_latest(self) -> None:
        self.save_checkpoint(str(Path(self.output_folder) / "checkpoint_latest.pth"))

    def save_checkpoint(self, filename: str) -> None:
        """nnU-Net's checkpoint and our notes, in one piece or not at all."""
        if self.disable_checkpointing:
            super().save_checkpoint(filename)
            return
        randoms = self._gathered(self._random_at_validation or _random_state())
        if self.local_rank != 0:
            return
        notes = {STEPS: self._state.as_json(), RANDOM: randoms}
        try:
            with replacing(Path(filename)) as temporary, self._noted(notes), self._windows_done(), self._portable():
                super().save_checkpoint(str(temporary))
        except RuntimeError as error:  # torch's own writer: a full disk is no OSError to it
            raise Refused(
                f"{filename} could not be written: {error}",
                hint="the checkpoint of that name, if there was one, is as it was; see to the disk and go on with --c",
            ) from error

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

    def load_checkpoint(self, filename_or_checkpoint: Any) -> None:
        """To continue, the newest good checkpoint, whichever nnU-Net has chosen, if nothing has changed since."""
        if not self._continuing or self._continued:
            super().load_checkpoint(filename_or_checkpoint)
            return
        found = newest(Path(self.output_folder))
        check_unchanged(found, type(self).__name__, self.configuration_name, self._plans, self.dataset_json)
        for fault in found.passed_over:
            self.print_to_log_file(f"WARNING: not continued from {fault}")
        self.print_to_log_file(f"Continuing from {found.path.name}, step {found.state.step:,}")
        own = self.my_init_kwargs
        super().load_checkpoint(str(found.path))
        stored, self.my_init_kwargs = self.my_init_kwargs, own
        self._state = found.state
        self._random = stored.get(RANDOM)
        self._continued = True
        self._finished = found.path.name == "checkpoint_final.pth"

    # --- Processes

    def _world_size(self) -> int:
        return int(dist.get_world_size()) if self.is_ddp else 1

    def _gathered(self, value: Any) -> list[Any]:
        """This value of every process."""
        values = [value] * self._world_size()
        if self.is_ddp:
            dist.all_gather_object(values, value)
        return values


def _refuse_to_overwrite(folder: Path) -> None:
    present = checkpoints_in(folder)
    if present:
        names = ", ".join(path.name for path in present)
        raise Refused(
            f"{folder} holds a training already ({names})",
            hint="continue it with --c, or move that folder away to begin anew",
        )


def _now() -> str:
    return datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="microseconds")


def _random_state() -> dict[str, Any]:
    """Of this process' generators. Those of loader workers cannot be had: with them, batches differ after a resume."""
    numpy_state: Any = np.random.get_state()
    name, keys, *rest = numpy_state
    state = {
        "python": random.getstate(),
        "numpy": [name, keys.tolist(), *map(float, rest)],
        "torch": torch.get_rng_state(),
    }
    if torch.cuda.is_available():
        state["cuda"] = torch.cuda.get_rng_state()
    return state


def _set_random(state: dict[str, Any]) -> None:
    random.setstate(state["python"])
    name, keys, position, has_gauss, gauss = state["numpy"]
    np.random.set_state((name, np.array(keys, dtype=np.uint32), int(position), int(has_gauss), gauss))
    torch.set_rng_state(state["torch"].cpu())
    if "cuda" in state:
        with suppress(RuntimeError):  # no GPU here, or another kind
            torch.cuda.set_rng_state(state["cuda"].cpu())
