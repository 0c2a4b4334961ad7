"""Temporary handlers of signals."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from types import FrameType

#: Called with the number of the signal and the interrupted stack frame.
Handler = Callable[[int, FrameType | None], None]


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
