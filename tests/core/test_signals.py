"""Temporary handlers of signals."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from plansguard.core.signals import handle_signals
from tests.support.terminals import terminal

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


# --- A terminal that closes

ON_A_TERMINAL = """
import pathlib, sys, time
from plansguard.core.signals import handle_signals
received = []
with handle_signals(("SIGHUP",), lambda number, _: received.append(number)):
    print("waits", flush=True)
    while not received:
        time.sleep(0.01)
    for stream in (sys.stdout, sys.stderr):
        print("this is shown nowhere", file=stream, flush=True)
pathlib.Path(sys.argv[1]).write_text("went on")
"""
IN_A_PIPE = """
import os, signal, sys
from plansguard.core.signals import handle_signals
with handle_signals(("SIGHUP",), lambda *_: None):
    os.kill(os.getpid(), signal.SIGHUP)
    print("is shown", flush=True)
    print("is shown", file=sys.stderr, flush=True)
"""


@pytest.mark.skipif(os.name == "nt", reason="terminals of POSIX")
def test_messages_to_a_terminal_that_closed_end_nothing(tmp_path: Path) -> None:
    """Each write to it is an error of input and output."""
    command = [sys.executable, "-c", ON_A_TERMINAL, str(tmp_path / "end")]
    with terminal(command, os.environ) as screen:
        assert screen.shows(["waits"], 20), screen.text
        screen.hang_up()
        assert screen.process.wait(20) == 0
    assert (tmp_path / "end").read_text() == "went on"


@pytest.mark.skipif(os.name == "nt", reason="signals are those of POSIX")
def test_other_output_is_kept() -> None:
    done = subprocess.run([sys.executable, "-c", IN_A_PIPE], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("is shown\n", "is shown\n")


@pytest.mark.skipif(os.name == "nt", reason="signals are those of POSIX")
def test_a_hang_up_that_is_ignored_stays_ignored() -> None:
    """As with nohup, also in what is started meanwhile."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with handle_signals(("SIGHUP", "SIGTERM"), lambda *_: None) as numbers:
            program = "import os, signal; os.kill(os.getpid(), signal.SIGHUP); print('lives')"
            done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
        assert (numbers, done.stdout) == ([signal.SIGTERM], "lives\n")
    finally:
        signal.signal(signal.SIGHUP, before)
