"""Children that run side by side: their output, their ends, and signals."""

from __future__ import annotations

import os
import signal
import sys
import threading
from pathlib import Path

import pytest

from plansguard.core.child_process import Child, execute_together


def child(label: str, code: str) -> Child:
    return Child(label, [sys.executable, "-c", code])


def test_every_line_names_its_child(capsys: pytest.CaptureFixture[str]) -> None:
    children = [child(f"fold {number}", f"print('a'); print('{number}')") for number in range(3)]
    assert execute_together(children, (), [{}, {}]) == ([0, 0, 0], None)
    lines = capsys.readouterr().out.splitlines()
    assert sorted(lines) == [f"fold {number} | {text}" for number in range(3) for text in sorted((str(number), "a"))]


def test_each_slot_has_its_variables(capsys: pytest.CaptureFixture[str]) -> None:
    children = [child(str(number), "import os, time; time.sleep(.2); print(os.environ['GPU'])") for number in range(2)]
    assert execute_together(children, (), [{"GPU": "first"}, {"GPU": "second"}])[0] == [0, 0]
    assert {line.partition(" | ")[2] for line in capsys.readouterr().out.splitlines()} == {"first", "second"}


def test_after_a_failure_no_other_one_starts(tmp_path: Path) -> None:
    """The one that runs beside it is waited for."""
    begun, done = (f"pathlib.Path({str(tmp_path / name)!r})" for name in ("begun", "done"))
    wait = f"import pathlib, time\nwhile not {begun}.exists(): time.sleep(.01)\n"
    children = [
        child("fails", f"{wait}raise SystemExit(4)"),
        child("runs", f"import pathlib, time; {begun}.touch(); time.sleep(1); {done}.touch()"),
        child("waits", "raise SystemExit(9)"),
    ]
    assert execute_together(children, (), [{}, {}]) == ([4, 0, None], None)
    assert (tmp_path / "done").is_file()


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such signals")
@pytest.mark.parametrize("name", ["SIGTERM", "SIGUSR1"])
def test_a_signal_reaches_all_that_run(name: str) -> None:
    number = getattr(signal, name)
    children = [child(str(number), "import time; time.sleep(60)") for number in range(3)]
    threading.Timer(1, os.kill, (os.getpid(), number)).start()
    codes, received = execute_together(children, (), [{}, {}])
    assert (codes, received) == ([-number, -number, None], number)
