"""Signals that stop a training. They are noted, and handled between two steps."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from types import FrameType

from plansguard.core.signals import handle_signals
from plansguard.training.stop_reasons import Stopped

#: A queue's end, Ctrl-C, and a queue's warning (SLURM: --signal=USR1@120).
STOPPING = ("SIGTERM", "SIGINT", "SIGUSR1")


class StopSignals(ExitStack):
    """Context in which these signals only set ``received`` to their name.

    A second Ctrl-C interrupts at once. Outside the main thread, where Python allows no handlers, nothing is noted.
    """

    received: str | None = None
    _interrupted = False

    def __enter__(self) -> StopSignals:
        global _handled
        _handled = self.enter_context(handle_signals(STOPPING, self._note))
        self.callback(_handled.clear)
        return self

    def _note(self, number: int, _: FrameType | None) -> None:
        if number == signal.SIGINT and self._interrupted:
            raise KeyboardInterrupt
        if number == signal.SIGINT:
            self._interrupted = True
            os.write(2, b"\nplansguard: stopping after this step; Ctrl-C again ends at once, without a checkpoint\n")
        self.received = signal.Signals(number).name


@contextmanager
def ending(notify: Callable[[str], None]) -> Iterator[None]:
    """Let these signals end the process at once, to be continued: for work that a resume repeats as a whole.

    ``notify`` is called with the signal's name first.
    """

    def end(number: int, _: FrameType | None) -> None:
        notify(signal.Signals(number).name)
        raise Stopped

    _start_resource_tracker()
    with handle_signals(STOPPING, end):
        yield


def _start_resource_tracker() -> None:
    """Start multiprocessing's resource tracker, if it is not running, with SIGUSR1 blocked.

    SLURM sends this signal to every process of a job. Without its tracker multiprocessing starts another, which prints
    a traceback for each semaphore. The tracker itself ignores the other two signals.
    """
    from multiprocessing import resource_tracker

    if not hasattr(signal, "pthread_sigmask"):
        return  # Windows
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
    try:
        resource_tracker.ensure_running()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)


#: Signals that are noted at present.
_handled: list[int] = []


def _reset_in_child() -> None:
    """Let the parent end a forked worker, which ignores the signals that a queue or a terminal sends to all processes.

    With the parent's handlers a worker would survive ``terminate()``, for which the parent waits at its exit.
    """
    for number in _handled:
        signal.signal(number, signal.SIG_DFL if number == signal.SIGTERM else signal.SIG_IGN)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_reset_in_child)
