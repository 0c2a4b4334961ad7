"""Run child processes that receive every signal that this process receives."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from threading import Lock, Thread
from types import FrameType
from typing import NamedTuple

from plansguard.core.signals import STOP_REQUESTS, handle_signals


def execute(
    command: Sequence[str], lock: Sequence[int], variables: Mapping[str, str] | None = None
) -> tuple[int, int | None]:
    """Run ``command``; return its exit code and the first signal that this process received meanwhile.

    ``variables`` are added to the environment of the child. ``lock`` are file descriptors that hold a lock; the child
    inherits them, and keeps the lock if this process is killed. The child and its own children form a new process
    group, to which each signal is sent once. In the group of this process, they would receive Ctrl-C of a terminal
    twice, and a ``kill`` of plansguard not at all.
    """
    group: int | None = None
    received: list[int] = []

    def forward(number: int, _: FrameType | None) -> None:
        received.append(number)
        if group is not None:
            _send(group, number)

    with handle_signals(STOP_REQUESTS, forward):
        environment = {**os.environ, **(variables or {})}
        child = subprocess.Popen(command, start_new_session=True, pass_fds=lock, env=environment)
        early, group = tuple(received), child.pid
        for number in early:
            _send(group, number)
        exit_code = child.wait()
    return exit_code, next(iter(received), None)


class Child(NamedTuple):
    """A command that runs beside others; ``label`` stands before each line of its output."""

    label: str
    command: Sequence[str]


def execute_together(
    children: Sequence[Child], lock: Sequence[int], slots: Sequence[Mapping[str, str]]
) -> tuple[list[int | None], int | None]:
    """Run children side by side, as many as there are ``slots``, each with the variables of its slot.

    Return their exit codes, None for one that was not started, and the first signal that this process received. When
    one has failed, or after a signal, no other one starts; those that run are waited for. ``lock`` and process groups
    are those of `execute`.
    """
    together = _Together(children, lock)
    with handle_signals(STOP_REQUESTS, together.forward):
        threads = [Thread(target=together.work, args=(slot,)) for slot in slots]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    return together.codes, next(iter(together.received), None)


class _Together:
    """What the threads of `execute_together` share."""

    def __init__(self, children: Sequence[Child], lock: Sequence[int]) -> None:
        self.children, self.lock = children, lock
        self.codes: list[int | None] = [None] * len(children)
        self.received: list[int] = []
        self._running: set[int] = set()
        self._next = 0
        self._guard = Lock()

    def forward(self, number: int, _: FrameType | None) -> None:
        """Handle a signal: send it to all that run."""
        self.received.append(number)
        for group in [*self._running]:
            _send(group, number)

    def work(self, slot: Mapping[str, str]) -> None:
        """Run one child after the other in a slot."""
        while (index := self._take()) is not None:
            child = self.children[index]
            process = subprocess.Popen(
                child.command,
                start_new_session=True,
                pass_fds=self.lock,
                env={**os.environ, **slot},
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                encoding="utf-8",
                errors="backslashreplace",
            )
            self._running.add(process.pid)
            for number in [*self.received]:  # one that came while it was started
                _send(process.pid, number)
            for line in process.stdout or ():
                sys.stdout.write(f"{child.label} | {line}")
                sys.stdout.flush()
            self.codes[index] = process.wait()
            self._running.discard(process.pid)

    def _take(self) -> int | None:
        """The next child to start; None where none is left or none may start."""
        with self._guard:
            failed = any(code for code in self.codes)
            if self.received or failed or self._next == len(self.children):
                return None
            self._next += 1
            return self._next - 1


def _send(group: int, number: int) -> None:
    if os.name == "posix":  # elsewhere the console sends the signal to every process
        with suppress(ProcessLookupError):
            os.killpg(group, number)
