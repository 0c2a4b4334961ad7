"""Run a child process that receives every signal that this process receives."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from types import FrameType

from plansguard.core.signals import handle_signals


def execute(command: Sequence[str], lock: Sequence[int]) -> tuple[int, int | None]:
    """Run ``command``; return its exit code and the first signal that this process received meanwhile.

    ``lock`` are file descriptors that hold a lock; the child inherits them, and keeps the lock if this process is
    killed. The child and its own children form a new process group, to which each signal is sent once. In the group
    of this process, they would receive Ctrl-C of a terminal twice, and a ``kill`` of plansguard not at all.
    """
    group: int | None = None
    received: list[int] = []

    def forward(number: int, _: FrameType | None) -> None:
        received.append(number)
        if group is not None:
            _send(group, number)

    with handle_signals(("SIGINT", "SIGTERM", "SIGHUP"), forward):
        child = subprocess.Popen(command, start_new_session=True, pass_fds=lock)
        early, group = tuple(received), child.pid
        for number in early:
            _send(group, number)
        exit_code = child.wait()
    return exit_code, next(iter(received), None)


def _send(group: int, number: int) -> None:
    if os.name == "posix":  # elsewhere the console sends the signal to every process
        with suppress(ProcessLookupError):
            os.killpg(group, number)
