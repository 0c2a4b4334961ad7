"""Progress of work that takes over a second: one line on a terminal, one line a minute in a log.

All of it is on standard error. A thread writes the line, because the work may be one call that takes minutes.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import takewhile
from typing import TextIO

from plansguard.render import printable

#: Seconds without a line: most commands take less.
_DELAY = 1.0
#: Seconds between two lines: of a terminal, where each replaces the one before, and of a log.
_ON_TERMINAL, _IN_LOG = 0.2, 60.0
_BAR = 20
#: Columns of a terminal that does not tell its size.
_COLUMNS = 80


class ProgressLine:
    """What is done so far, as text: ``label`` and the time, until something is counted."""

    def __init__(self, label: str, stream: TextIO, now: float) -> None:
        self._label, self._stream, self._begun = printable(label), stream, now
        self._on_terminal = stream.isatty()
        #: What is counted -> how many are done, and of how many; the last is a part of the one before. Each report
        #: replaces it, because another thread reads it.
        self._counts: dict[str, tuple[int, int]] = {}
        #: What is counted last, and when that began.
        self._since = label, now
        self._width = 0
        self._next = now + (_DELAY if self._on_terminal else _IN_LOG)

    @property
    def period(self) -> float:
        """Seconds between two calls of `tick`."""
        return min(_ON_TERMINAL, _DELAY) if self._on_terminal else _IN_LOG

    def report(self, what: str, done: int, total: int) -> None:
        """Report how many are done; what was counted inside the one before is over."""
        outer = dict(takewhile(lambda count: count[0] != what, self._counts.items()))
        if done == 0 or self._since[0] != what:
            self._since = what, time.monotonic()
        self._counts = {**outer, what: (done, total)}

    def cases(self, done: int, total: int) -> None:
        """Report how many preprocessed cases are read."""
        self.report("reading cases", done, total)

    def tick(self, now: float) -> None:
        """Write the line, if its time has come."""
        if now < self._next:
            return
        counts = [(what, done, total) for what, (done, total) in self._counts.items() if total > 1]
        counts = [count for count in counts if count[1] < count[2]] or counts[-1:]
        text = ", ".join(f"{what}: {done:,} of {total:,}" for what, done, total in counts)
        text = text or f"{self._label}: {_duration(now - self._begun)}"
        if self._on_terminal:
            if counts:
                text += self._bar(*counts[-1], now)
            text = text[: _columns(self._stream) - 1]
            self._write(f"\r{text:<{self._width}}")
            self._width = len(text)
        else:
            self._next = now + _IN_LOG
            self._write(f"{text}\n")

    def clear(self) -> None:
        """Erase the line, and the ``^C`` that the terminal may have written after it."""
        if self._width:
            width = min(self._width + len("^C"), _columns(self._stream) - 1)
            self._write(f"\r{'':<{width}}\r")
            self._width = 0

    def _bar(self, what: str, done: int, total: int, now: float) -> str:
        """A bar, and the time that is left if the rest takes as long for each."""
        bar = f" [{'#' * (_BAR * min(done, total) // total):<{_BAR}}]"
        counted, begun = self._since
        if done == 0 or counted != what:
            return bar
        return f"{bar} {_duration((now - begun) * (total - done) / done)} left"

    def _write(self, text: str) -> None:
        with suppress(OSError, ValueError):  # closed, or a terminal that is gone: the work goes on
            self._stream.write(text)
            self._stream.flush()


@contextmanager
def progress_bar(label: str, *, shown: bool = True) -> Iterator[ProgressLine]:
    """Yield the line, whose methods are called with (done, total); it is erased at the end.

    Nothing else may be printed meanwhile. ``shown`` is False where another process of the same work shows it.
    """
    line = ProgressLine(label, sys.stderr, time.monotonic())
    if not shown:
        yield line
        return
    ended = threading.Event()

    def write() -> None:
        while not ended.wait(line.period):
            line.tick(time.monotonic())

    thread = threading.Thread(target=write, name="progress", daemon=True)
    with suppress(RuntimeError):  # no thread can be had, at the limit of processes: the work goes on without the line
        thread.start()
    try:
        yield line
    finally:
        ended.set()
        if thread.ident is not None:
            thread.join()
        line.clear()


def _columns(stream: TextIO) -> int:
    """The width of the terminal."""
    with suppress(OSError, ValueError):
        return os.get_terminal_size(stream.fileno()).columns or _COLUMNS
    return _COLUMNS


def _duration(seconds: float) -> str:
    """Seconds as ``40 s``, ``3 min`` or ``2 h``."""
    for size, unit in ((3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"
