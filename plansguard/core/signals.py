"""Temporary handlers of signals."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from types import FrameType

#: Called with the number of the signal and the interrupted stack frame.
Handler = Callable[[int, FrameType | None], None]

#: Signals that ask plansguard, and what it runs, to stop. SLURM sends the last one before the time limit of a job.
STOP_REQUESTS = ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1")

#: Signals that ask a process to end, and whose default is to end it without any clean-up.
_ENDING = ("SIGTERM", "SIGHUP")


@contextmanager
def clean_end() -> Iterator[None]:
    """Raise SystemExit at a signal that would end this process at once, so that unfinished files can be removed.

    Signals that the program handles or ignores keep their handlers. The exit code is that of a shell.
    """

    def end(number: int, _: FrameType | None) -> None:
        raise SystemExit(128 + number)

    deadly = [
        name for name in _ENDING if hasattr(signal, name) and signal.getsignal(getattr(signal, name)) is signal.SIG_DFL
    ]
    with handle_signals(deadly, end):
        yield


@contextmanager
def handle_signals(names: Iterable[str], handler: Handler) -> Iterator[list[int]]:
    """Install ``handler`` for the signals of these names, and restore the previous handlers on exit.

    Yields the numbers of the handled signals. A name that the platform lacks is skipped. In a thread other than the
    main thread, where Python allows no handlers, no signal is handled.
    """
    in_main_thread = threading.current_thread() is threading.main_thread()
    numbers = [getattr(signal, name) for name in names if in_main_thread and hasattr(signal, name)]
    previous = {number: signal.signal(number, handler) for number in numbers}
    try:
        yield numbers
    finally:
        for number, old in previous.items():
            signal.signal(number, old)
