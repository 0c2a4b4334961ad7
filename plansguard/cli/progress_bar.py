"""A progress bar on a terminal, for what takes over a second."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import typer

Progress = Callable[[int, int], None]
#: How long nothing is shown, in seconds: most checks are done by then.
_PATIENCE = 1.0


@contextmanager
def progress_bar(label: str) -> Iterator[Progress]:
    """Gives a function to be told (done, all); the bar appears on standard error if that is a terminal."""
    bars: list[Any] = []
    started = time.monotonic()

    def show(done: int, total: int) -> None:
        if not bars and sys.stderr is not None and sys.stderr.isatty() and time.monotonic() - started > _PATIENCE:
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
