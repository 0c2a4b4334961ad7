"""Signals that stop a training. They are noted, and handled between two steps."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from multiprocessing import active_children
from threading import Timer
from types import FrameType

from plansguard.core.signals import handle_signals

#: A queue's end, Ctrl-C, a queue's warning (SLURM: --signal=USR1@120), and a terminal that closes.
STOPPING = ("SIGTERM", "SIGINT", "SIGUSR1", "SIGHUP")


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
def ending(stop: Callable[[str], SystemExit], seconds: float = 10) -> Iterator[None]:
    """Let these signals end the process at once: for work that a resume repeats as a whole.

    ``stop`` is called with the signal's name, and returns what is raised. SLURM signals every process of a job. A
    worker of a pool that ends while it waits for work keeps the pool's lock, and closing the pool then never returns:
    after ``seconds`` the process ends nevertheless, with its workers.
    """
    timers: list[Timer] = []

    def end(number: int, _: FrameType | None) -> None:
        exception = stop(signal.Signals(number).name)
        timers.append(Timer(seconds, _end_with_workers, [exception]))
        timers[-1].daemon = True
        timers[-1].start()
        raise exception

    _start_resource_tracker()
    try:
        with handle_signals(STOPPING, end):
            yield
    finally:
        for timer in timers:
            timer.cancel()


def _end_with_workers(exception: SystemExit) -> None:
    """End this process as the exception would: a code, or a message and 1."""
    for worker in active_children():
        worker.kill()
    if not isinstance(exception.code, int):
        sys.stderr.write(f"{exception.code}\n")
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(exception.code if isinstance(exception.code, int) else 1)


def _start_resource_tracker() -> None:
    """Start multiprocessing's resource tracker, if it is not running, with SIGUSR1 and SIGHUP blocked.

    SLURM and a terminal send these signals to every process of a job. Without its tracker multiprocessing starts
    another, which prints a traceback for each semaphore. The tracker itself ignores the other two signals.
    """
    from multiprocessing import resource_tracker

    if not hasattr(signal, "pthread_sigmask"):
        return  # Windows
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1, signal.SIGHUP})
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
