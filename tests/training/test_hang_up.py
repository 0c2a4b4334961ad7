"""Real trainings on a terminal that closes: a checkpoint is saved, and no process stays."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from plansguard.training.stop_reasons import STOPPED
from tests.conftest import ROOT
from tests.support import stepping
from tests.support.stepping import fold, steps_noted
from tests.support.terminals import terminal
from tests.support.variants import ROOTS

pytestmark = [
    pytest.mark.nnunet,
    pytest.mark.slow,
    pytest.mark.skipif(os.name == "nt", reason="terminals of POSIX"),
]
ENDLESS = "nnUNetTrainer_100000steps_5000per"
PROGRAM = [sys.executable, "-m", "tests.support.stepping_program", *stepping.words(ENDLESS)]
#: What nohup does, before it starts a program.
NOHUP = "import os, signal, sys; signal.signal(signal.SIGHUP, signal.SIG_IGN); os.execv(sys.argv[1], sys.argv[1:])"


def environment(root: Path, loaders: int) -> dict[str, str]:
    folders = {name: str(root / name) for name in ROOTS.values()}
    variables = {**stepping.ENVIRONMENT, **folders, "nnUNet_n_proc_DA": str(loaders)}
    return {**os.environ, **variables, "PYTHONPATH": str(ROOT)}


def until(happened: Callable[[], bool], seconds: float = 180) -> None:
    deadline = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.1)


@pytest.mark.parametrize("loaders", [0, 2])
def test_a_checkpoint_is_saved(root: Path, loaders: int) -> None:
    """Nothing can be printed any more."""
    with terminal(PROGRAM, environment(root, loaders), cwd=ROOT) as screen:
        until(lambda: screen.read(0) and (fold(root, ENDLESS) / "rates.log").exists())
        screen.hang_up()
        assert screen.process.wait(120) == STOPPED
        with pytest.raises(ProcessLookupError):
            os.killpg(screen.process.pid, 0)
    assert steps_noted(fold(root, ENDLESS), "checkpoint_latest.pth")["step"] >= 1
    (log,) = fold(root, ENDLESS).glob("training_log_*.txt")
    assert "(SIGHUP). Continue with --c." in log.read_text()


def test_a_training_that_ignores_it_goes_on(root: Path) -> None:
    """Of nohup, whose output is a file."""
    with (root / "nohup.out").open("wb") as file:
        command = [sys.executable, "-c", NOHUP, *PROGRAM]
        with terminal(command, environment(root, 2), cwd=ROOT, stdout=file, stderr=file) as screen:
            rates = fold(root, ENDLESS) / "rates.log"
            until(lambda: screen.process.poll() is not None or rates.exists())
            screen.hang_up()
            before = rates.stat().st_size
            until(lambda: screen.process.poll() is not None or rates.stat().st_size > 2 * before)
            assert screen.process.poll() is None, (root / "nohup.out").read_text()
            screen.process.send_signal(signal.SIGTERM)
            assert screen.process.wait(120) == STOPPED
