"""Signals that ask a training to stop: they are noted here, and looked at after each step."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from plansguard.training.stop_reasons import Stopped

#: A queue's warning (SLURM: --signal=USR1@120), its end, and Ctrl-C.
STOPPING = [getattr(signal, name) for name in ("SIGTERM", "SIGINT", "SIGUSR1") if hasattr(signal, name)]


class StopSignals:
    """While it is entered, these signals set ``received`` to their name and do nothing else.

    A second Ctrl-C interrupts at once. Outside the main thread Python allows no handlers, and nothing is noted.
    """

    def __init__(self) -> None:
        self.received: str | None = None
        self._interrupted = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> StopSignals:
        global _active
        if threading.current_thread() is threading.main_thread():
            for number in STOPPING:
                self._before[number] = signal.signal(number, self._note)
            _active = self
        return self

    def __exit__(self, *_: object) -> None:
        global _active
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before.clear()
        _active = None

    def _note(self, number: int, _: FrameType | None) -> None:
        if number == signal.SIGINT and self._interrupted:
            raise KeyboardInterrupt
        if number == signal.SIGINT:
            self._interrupted = True
            os.write(2, b"\nplansguard: stopping after this step; Ctrl-C again ends at once, without a checkpoint\n")
        self.received = signal.Signals(number).name

    def leave_to_parent(self) -> None:
        """In a forked worker: be ended by the parent as ever, and let what a queue or a terminal sends to all pass.

        With the parent's handlers a worker would survive ``terminate()``, for which the parent waits at its exit.
        """
        for number in self._before:
            signal.signal(number, signal.SIG_DFL if number == signal.SIGTERM else signal.SIG_IGN)


@contextmanager
def ending(tell: Callable[[str], None]) -> Iterator[None]:
    """Within it, the same signals end the process at once, as one to be continued: for what is done again as a whole.

    ``tell`` is given the signal's name first.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def end(number: int, _: FrameType | None) -> None:
        tell(signal.Signals(number).name)
        raise Stopped

    before = {number: signal.signal(number, end) for number in STOPPING}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


_active: StopSignals | None = None


def _in_child() -> None:
    if _active is not None:
        _active.leave_to_parent()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)
