"""Progress messages of StepTrainer: a line that is rewritten on a terminal, and one in the log from time to time."""

from __future__ import annotations

import sys
from typing import Any

from plansguard.training.progress import IN_LOG, ON_TERMINAL, Pace
from plansguard.training.resume import TrainingState


class ProgressLog:
    """Mixin of StepTrainer that reports progress; the other base is a trainer of nnU-Net."""

    local_rank: int
    lr_scheduler: Any
    _state: TrainingState
    _pace: Pace | None = None
    _line_open = False

    def _report_progress(self) -> None:
        if self._pace is None or self.local_rank != 0:
            return
        state, terminal = self._state, sys.stderr.isatty()
        show, log = terminal and self._pace.due(ON_TERMINAL), self._pace.due(IN_LOG)
        if not (show or log):
            return
        losses = state.outputs.get("loss")
        line = self._pace.line(state.step, losses[-1] if losses else None, self.lr_scheduler.get_last_lr()[0])
        if log:
            self.print_to_log_file(line, also_print_to_console=not terminal)
        if show:
            print(f"\r{self._pace.bar(state.step)} {line}\033[K", end="", file=sys.stderr, flush=True)  # noqa: T201
            self._line_open = True

    def print_to_log_file(self, *args: Any, **kwargs: Any) -> None:
        """Clear the progress line before a line of nnU-Net."""
        if self._line_open:
            print("\r\033[K", end="", file=sys.stderr, flush=True)  # noqa: T201
            self._line_open = False
        super().print_to_log_file(*args, **kwargs)  # type: ignore[misc]
