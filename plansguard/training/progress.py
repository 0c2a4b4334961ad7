"""Progress of a training: a line that is rewritten on a terminal, and one in the log from time to time."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from plansguard.training.experiment_loggers import LoggedTraining, add_loggers

if TYPE_CHECKING:
    from plansguard.training.resume import TrainingState

#: Seconds between two lines on a terminal, and in the log.
_ON_TERMINAL, _IN_LOG = 0.5, 300.0
_BAR = 20


@dataclass
class Pace:
    """Progress towards ``total`` steps; ``clock`` returns seconds.

    The pace is that of the steps since ``first``, where this process began, so that a resumed training does not seem
    fast; time for validation and checkpoints counts.
    """

    total: int
    first: int
    clock: Callable[[], float] = time.monotonic
    _began: float = field(init=False)
    _shown: dict[float, float] = field(init=False)

    def __post_init__(self) -> None:
        self._began = self.clock()
        self._shown = {}

    def due(self, seconds: float) -> bool:
        """Whether ``seconds`` passed since this returned True for them, or since the beginning."""
        now = self.clock()
        if now - self._shown.get(seconds, self._began) < seconds:
            return False
        self._shown[seconds] = now
        return True

    def line(self, step: int, loss: float | None, rate: float) -> str:
        """``step 1,200 of 5,000, loss -0.5123, learning rate 7.86e-03, 4.1 steps/s, 15m left``."""
        elapsed = self.clock() - self._began
        parts = [f"step {step:,} of {self.total:,}"]
        parts += [] if loss is None else [f"loss {loss:.4f}"]
        parts.append(f"learning rate {rate:.2e}")
        if elapsed > 0 and step > self.first:
            pace = (step - self.first) / elapsed
            parts += [f"{pace:.3g} steps/s", f"{duration((self.total - step) / pace)} left"]
        return ", ".join(parts)

    def bar(self, step: int) -> str:
        """``[#####---------------]``."""
        done = _BAR * step // self.total
        return f"[{'#' * done}{'-' * (_BAR - done)}]"


class ProgressLog:
    """Mixin of StepTrainer that reports progress; the other base is a trainer of nnU-Net."""

    local_rank: int
    logger: Any
    lr_scheduler: Any
    _plans: dict[str, Any]
    _state: TrainingState
    _pace: Pace | None = None
    _line_open = False

    def _report_progress(self) -> None:
        if self._pace is None or self.local_rank != 0:
            return
        state, terminal = self._state, sys.stderr.isatty()
        show, log = terminal and self._pace.due(_ON_TERMINAL), self._pace.due(_IN_LOG)
        if not (show or log):
            return
        losses = state.outputs.get("loss")
        line = self._pace.line(state.step, losses[-1] if losses else None, self.lr_scheduler.get_last_lr()[0])
        if log:
            self.print_to_log_file(line, also_print_to_console=not terminal)
        if show:
            print(f"\r{self._pace.bar(state.step)} {line}\033[K", end="", file=sys.stderr, flush=True)  # noqa: T201
            self._line_open = True

    def _add_loggers(self) -> None:
        """Add what sends to services; its lines go into the log."""
        if self.local_rank == 0:
            add_loggers(self.logger, LoggedTraining.of(self, self._state.run, self._plans), self.print_to_log_file)
            self.logger.plot_progress_png = partial(self._plot, self.logger.plot_progress_png)

    def _plot(self, plot: Callable[[str], None], folder: str) -> None:
        """Plot into progress.png, without which the training goes on; other processes do not plot, and would wait."""
        try:
            plot(folder)
        except OSError as error:
            self.print_to_log_file(f"WARNING: progress.png is not written: {error}")

    def print_to_log_file(self, *args: Any, **kwargs: Any) -> None:
        """Clear the progress line before a line of nnU-Net."""
        if self._line_open:
            print("\r\033[K", end="", file=sys.stderr, flush=True)  # noqa: T201
            self._line_open = False
        super().print_to_log_file(*args, **kwargs)  # type: ignore[misc]


def duration(seconds: float) -> str:
    """``2d3h``, ``3h05m``, ``12m``, ``40s``."""
    whole = round(seconds)
    minutes = whole // 60
    if whole < 60:
        return f"{whole}s"
    if minutes < 60:
        return f"{minutes}m"
    if minutes < 24 * 60:
        return f"{minutes // 60}h{minutes % 60:02}m"
    return f"{minutes // 1440}d{minutes % 1440 // 60}h"
