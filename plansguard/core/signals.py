"""Temporary handlers of signals."""

from __future__ import annotations

import errno
import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from types import FrameType

#: Called with the number of the signal and the interrupted stack frame.
Handler = Callable[[int, FrameType | None], None]

#: Signals that ask plansguard, and what it runs, to stop. SLURM sends the last one before the time limit of a job.
STOP_REQUESTS = ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1")

#: A terminal that closes sends this signal, also that of a connection that is lost.
_HANGUP = "SIGHUP"

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

    Yields the numbers of the handled signals. A name that the platform lacks is skipped, and so is SIGHUP where it is
    ignored, as with nohup. In a thread other than the main thread, where Python allows no handlers, no signal is
    handled.
    """

    def handle(number: int, frame: FrameType | None) -> None:
        if signal.Signals(number).name == _HANGUP:
            _discard_output_to_lost_terminal()
        handler(number, frame)

    in_main_thread = threading.current_thread() is threading.main_thread()
    numbers = [getattr(signal, name) for name in names if in_main_thread and _can_be_handled(name)]
    previous = {number: signal.signal(number, handle) for number in numbers}
    try:
        yield numbers
    finally:
        for number, old in previous.items():
            signal.signal(number, old)


def _can_be_handled(name: str) -> bool:
    """Whether the platform has the signal; not for a hang-up that is ignored."""
    number = getattr(signal, name, None)
    return number is not None and not (name == _HANGUP and signal.getsignal(number) is signal.SIG_IGN)


def _discard_output_to_lost_terminal() -> None:
    """Send standard output and error nowhere if their terminal is gone: any message would end the program (EIO)."""
    import termios

    for descriptor in (1, 2):
        try:
            termios.tcgetattr(descriptor)
        except termios.error as error:
            if error.args[0] == errno.EIO:  # files and pipes have other errors
                nowhere = os.open(os.devnull, os.O_WRONLY)
                os.dup2(nowhere, descriptor)
                os.close(nowhere)
