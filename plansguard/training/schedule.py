"""Number of optimiser steps and learning rate of a training. Pure arithmetic: no torch, no files.

nnU-Net trains for 1,000 epochs of 250 steps whatever the data; an epoch is also its unit of validation and logging.
Here that unit is called a window: N steps are divided into windows of K, the last one shortened.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from plansguard.core.errors import UsageError

#: Defaults of nnUNetTrainer. Source: training/nnUNetTrainer/nnUNetTrainer.py, __init__.
STOCK_PER_WINDOW = 250
STOCK_WINDOWS = 1000
STOCK_VALIDATION = 50
STOCK_RATE = 0.01
#: The learning rate with which maintainers of nnU-Net fine-tune, in place of 0.01.
GENTLE_RATE = 0.001
#: Exponent of the polynomial by which the rate falls. Source: training/lr_scheduler/polylr.py.
EXPONENT = 0.9

#: The rate of an extension rises over this many steps, ten times the memory of a momentum of 0.99, or over a tenth.
RESTART = 1000
_RESTART_SHARE = 10

_MOST_STEPS = 10**9
#: The checkpoint of an unfinished window contains the outputs of its steps, and must stay quick to read.
_LONGEST_WINDOW = 100_000
_SMALLEST_RATE, _LARGEST_RATE = 1e-12, 10.0


@dataclass(frozen=True)
class StepSchedule:
    """All that decides a training's length, learning rates and first values. UsageError for impossible values.

    ``validation`` steps follow each window; they and ``rate``, the highest learning rate, are the base trainer's own if
    None. The rate falls with every step, or with ``by_window`` at the beginning of each window as in nnU-Net. It rises
    over the first ``warmup`` steps. With ``keep_head`` it begins with the segmentation layers of pretrained weights as
    well.

    A schedule with ``extends`` continues a finished training of that many steps, with the same other values, to
    ``total``. It has the windows of that training, including its shortened last one, and then new ones.
    """

    total: int
    per_window: int = STOCK_PER_WINDOW
    validation: int | None = None
    rate: float | None = None
    by_window: bool = False
    warmup: int = 0
    extends: int = 0
    keep_head: bool = False

    def __post_init__(self) -> None:
        _check_count("the number of steps", self.total, STOCK_PER_WINDOW * STOCK_WINDOWS)
        _check_count("the number of steps per window", self.per_window, STOCK_PER_WINDOW, _LONGEST_WINDOW)
        if self.validation is not None:
            _check_count("the number of validation steps", self.validation, STOCK_VALIDATION)
        if self.rate is not None and not _SMALLEST_RATE <= self.rate <= _LARGEST_RATE:
            raise UsageError(
                f"a learning rate of {self.rate:g} cannot be trained with",
                hint=f"choose one between {_SMALLEST_RATE:g} and {_LARGEST_RATE:g}; nnU-Net's is {STOCK_RATE:g}",
            )
        if not 0 <= self.extends < self.total:
            raise UsageError(
                f"{self.extends:,} steps cannot be extended to {self.total:,}",
                hint="the new number counts all steps together, so it must be the larger one",
            )
        first = self.extends or self.total
        if not 0 <= self.warmup < first:
            raise UsageError(
                f"a warm-up of {self.warmup:,} steps does not fit into {first:,} steps",
                hint="the warm-up is part of the steps and must leave some of them",
            )

    @classmethod
    def of_epochs(cls, epochs: int, per_window: int = STOCK_PER_WINDOW) -> StepSchedule:
        """The schedule with as many steps as this many epochs of ``per_window`` steps."""
        _check_count("the number of epochs", epochs, STOCK_WINDOWS)
        return cls(epochs * per_window, per_window)

    @property
    def extended(self) -> StepSchedule | None:
        """The training that this one extends, or None."""
        return replace(self, total=self.extends, extends=0) if self.extends else None

    @property
    def restart(self) -> int:
        """The number of steps over which the rate of an extension rises, before it falls again."""
        return min(RESTART, (self.total - self.extends) // _RESTART_SHARE) if self.extends else 0

    @property
    def windows(self) -> int:
        """The number of windows, nnU-Net's ``num_epochs``."""
        return self._windows_before + _ceil(self.total - self.extends, self.per_window)

    @property
    def _windows_before(self) -> int:
        return _ceil(self.extends, self.per_window)

    def first_step(self, window: int) -> int:
        """The number of steps before this window, counted from 0; ``first_step(windows)`` is ``total``."""
        before = self._windows_before
        if window < before:
            return window * self.per_window
        return min(self.extends + (window - before) * self.per_window, self.total)

    def window_of(self, step: int) -> int:
        """The window of the step after ``step`` steps."""
        if step < self.extends:
            return step // self.per_window
        return self._windows_before + (step - self.extends) // self.per_window

    def length_of(self, window: int) -> int:
        """The number of steps of this window."""
        return self.first_step(window + 1) - self.first_step(window)

    def rate_at(self, step: int, initial: float, exponent: float = EXPONENT) -> float:
        """The learning rate of the step after ``step`` steps; ``initial`` is the highest one. 0 at the end.

        (nnU-Net's own polynomial is a complex number beyond its end.) The warm-up is that of its warm-up trainers
        (training/lr_scheduler/warmup.py), by steps even if the rate falls by windows.

        An extension takes the polynomial of its whole length, as if that had been planned from the beginning. This is
        far above the almost 0 at which the training before ended, and such a jump undoes what was learned (nnU-Net
        #238, #901, #1099), so the rate rises linearly over ``restart`` steps.
        """
        before = self.extended
        if before is not None and step < self.extends:
            return before.rate_at(step, initial, exponent)
        if step < self.warmup:
            return initial / self.warmup * (1 + step)
        falls = self.extends + self.restart
        if before is not None and step < falls:
            low, high = before.rate_at(self.extends - 1, initial, exponent), self._polynomial(falls, initial, exponent)
            return low + (high - low) * (step - self.extends + 1) / self.restart
        if self.by_window:
            step = max(self.first_step(self.window_of(step)), self.warmup, falls)
        return self._polynomial(step, initial, exponent)

    def _polynomial(self, step: int, initial: float, exponent: float) -> float:
        done = (min(step, self.total) - self.warmup) / (self.total - self.warmup)
        return float(initial * (1 - done) ** exponent)

    def samples(self, batch_size: int) -> int:
        """The number of patches; the batch size is that of all GPUs together."""
        return self.total * batch_size

    def passes(self, batch_size: int, cases: int) -> float:
        """How often each training case is drawn on average; nnU-Net draws them at random."""
        return self.samples(batch_size) / cases


def _ceil(number: int, part: int) -> int:
    return -(-number // part)


def _check_count(what: str, number: int, stock: int, most: int = _MOST_STEPS) -> None:
    if not 1 <= number <= most:
        shown = f"{number:,}" if abs(number) < 10**15 else "that many"
        raise UsageError(f"{what} must be between 1 and {most:,}, not {shown}", hint=f"nnU-Net's is {stock:,}")
