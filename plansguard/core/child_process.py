"""Run a child process that receives every signal that this process receives."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from types import FrameType

# ---------------------------------------------------------------------------------------------------------------------
# nnU-Net as a child
# ---------------------------------------------------------------------------------------------------------------------


def execute(command: Sequence[str], lock: Sequence[int]) -> tuple[int, int | None]:
    """nnU-Net's exit code, and the first signal that we were sent meanwhile.

    ``lock`` are the descriptors that hold the folder; the child keeps them, should we be killed.
    The child and its workers are a group of their own, and every signal is passed on to all of them once. In a group
    with us, Ctrl-C in a terminal would reach them twice and a ``kill`` of plansguard not at all.
    """
    group: int | None = None
    received: list[int] = []

    def pass_on(number: int, _: FrameType | None) -> None:
        received.append(number)
        if group is not None:
            _send(group, number)

    with _handling(pass_on):
        child = subprocess.Popen(command, start_new_session=True, pass_fds=lock)
        early, group = tuple(received), child.pid
        for number in early:
            _send(group, number)
        returncode = child.wait()
    return returncode, next(iter(received), None)


def _send(group: int, number: int) -> None:
    if os.name == "posix":  # elsewhere the console itself tells every process
        with suppress(ProcessLookupError):
            os.killpg(group, number)


@contextmanager
def _handling(handler: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    """Install a handler of the signals that ask a program to end; only the main thread can."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    numbers = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
    before = {number: signal.signal(number, handler) for number in numbers}
    try:
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, old)
