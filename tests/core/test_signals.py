"""Temporary handlers of signals."""

from __future__ import annotations

import os
import signal
import threading

from plansguard.core.signals import handle_signals

NAMES = ("SIGTERM", "SIGINT")
NUMBERS = [getattr(signal, name) for name in NAMES]


def test_handlers_are_installed_and_restored() -> None:
    before = [signal.getsignal(number) for number in NUMBERS]
    received: list[int] = []
    with handle_signals(NAMES, lambda number, _: received.append(number)) as numbers:
        assert numbers == NUMBERS
        os.kill(os.getpid(), signal.SIGINT)
    assert received == [signal.SIGINT]
    assert [signal.getsignal(number) for number in NUMBERS] == before


def test_signals_that_the_platform_lacks_are_skipped() -> None:
    with handle_signals(("SIGTERM", "SIGNOTHING"), lambda *_: None) as numbers:
        assert numbers == [signal.SIGTERM]


def test_nothing_is_installed_outside_the_main_thread() -> None:
    installed: list[list[int]] = []

    def work() -> None:
        with handle_signals(NAMES, lambda *_: None) as numbers:
            installed.append(numbers)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert installed == [[]]
