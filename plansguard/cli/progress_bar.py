"""A progress bar on a terminal, for work that takes over a second."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import typer

Progress = Callable[[int, int], None]
#: Seconds without a bar: most checks take less.
_DELAY = 1.0


@contextmanager
def progress_bar(label: str) -> Iterator[Progress]:
    """Yield a function that is called with (done, total); the bar is on standard error if that is a terminal."""
    bars: list[Any] = []
    started = time.monotonic()

    def show(done: int, total: int) -> None:
        if not bars and sys.stderr is not None and sys.stderr.isatty() and time.monotonic() - started > _DELAY:
            bars.append(typer.progressbar(length=total, label=label, file=sys.stderr).__enter__())
        if bars:
            bar = bars[0]
            bar.length = total  # the next folder has other cases
            bar.update(done - bar.pos)

    try:
        yield show
    finally:
        for bar in bars:
            bar.__exit__(None, None, None)
