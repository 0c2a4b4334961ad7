"""Output that cannot be written: one exit code, at most one message, no traceback."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.support.command import start
from tests.support.models import CHECKPOINT
from tests.support.training_records import leave

CT, OTHER_CT = "Dataset001_PretrainCT", "Dataset002_FinetuneCT"
COMMANDS = {
    "check": ("check", "-d", "1"),
    "migrate": ("migrate", "-s", "1", "-t", "2", "-tp", "Moved", "--dry-run"),
    "diff": ("diff", "{plans}", "{other}"),
    "show": ("show", "{plans}"),
    "steps": ("steps", "--total", "100"),
    "rules": ("rules",),
    "explain": ("explain", "PG101"),
    "schema": ("schema", "plans"),
    "env": ("env",),
    "fit": ("fit", str(CHECKPOINT), "-d", "2"),
    "extract": ("extract", str(CHECKPOINT)),
    "extract to a file": ("extract", str(CHECKPOINT), "-o", "{folder}/plans.json"),
    "train": ("train", "1", "3d_fullres", "0", "--steps", "20", "-device", "cpu", "--dry-run"),
    "gate": ("gate", "--dry-run", "--", "nnUNetv2_train", "1", "3d_fullres", "0", "-device", "cpu"),
    "preprocess": ("preprocess", "-d", "1", "-c", "3d_fullres", "--dry-run"),
    "verify-receipt": ("verify-receipt", "{record}"),
    "help": ("--help",),
    "version": ("--version",),
}

pytestmark = [
    pytest.mark.slow,
    pytest.mark.workspace(CT, OTHER_CT),
    pytest.mark.skipif(os.name == "nt", reason="Windows has neither SIGPIPE nor /dev/full"),
]


def arguments(command: str, workspace: Path) -> list[str]:
    folder = workspace / "nnUNet_preprocessed"
    places = {"plans": folder / CT / "nnUNetPlans.json", "other": folder / OTHER_CT / "nnUNetPlans.json"}
    places |= {"folder": workspace, "record": leave(workspace) if command == "verify-receipt" else workspace}
    return [part.format(**places) for part in COMMANDS[command]]


@pytest.mark.parametrize("command", COMMANDS)
def test_a_closed_pipe(command: str, workspace: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    try:
        done = start(*arguments(command, workspace), stdout=writing)
    finally:
        os.close(writing)
    assert (done.returncode, done.stderr) == (141, "")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
@pytest.mark.parametrize("command", COMMANDS)
def test_a_full_disk(command: str, workspace: Path) -> None:
    with Path("/dev/full").open("wb") as stream:
        done = start(*arguments(command, workspace), stdout=stream)
    assert done.returncode == 2
    assert done.stderr == "plansguard: cannot write the output: No space left on device\n"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
@pytest.mark.parametrize(("stream", "code"), [("2>/dev/full", 2), ("2> >(:)", 141)])
@pytest.mark.parametrize("words", ["check -d 99", "check --nosuch", "show nowhere.json"])
@pytest.mark.usefixtures("workspace")
def test_an_error_whose_message_cannot_be_written(words: str, stream: str, code: int) -> None:
    """Exit code 1 would be that of findings."""
    # The reader of the pipe has ended when the message is written.
    command = f"exec {stream}; sleep 0.2; exec {shlex.quote(sys.executable)} -m plansguard {words}"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(["bash", "-c", command], capture_output=True, env=environment, check=False)
    assert (done.returncode, done.stdout) == (code, b"")


@pytest.mark.parametrize("streams", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
@pytest.mark.parametrize("command", ["check", "extract", "extract to a file", "show", "fit"])
def test_closed_streams(command: str, streams: str, workspace: Path) -> None:
    """Nothing that is printed gets into a file that was opened in place of the stream."""
    words = shlex.join([sys.executable, "-m", "plansguard", *arguments(command, workspace)])
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(["bash", "-c", f"{words} {streams}"], capture_output=True, env=environment, check=False)
    assert (done.returncode in (0, 1), done.stderr) == (True, b"")
    if command == "extract to a file":
        assert json.loads((workspace / "plans.json").read_bytes())["plans_name"] == "nnUNetPlans"


@pytest.mark.parametrize("delay", [0.01, 0.03, 0.06, 0.1, 0.15, 0.2])
def test_an_interrupt_ends_quietly(delay: float, workspace: Path) -> None:
    """While the modules of the command are loaded, and while it runs."""
    program = "from plansguard.__main__ import main; print(flush=True); main()"
    child = subprocess.Popen(
        [sys.executable, "-c", program, *arguments("check", workspace)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert child.stdout is not None
    child.stdout.readline()
    time.sleep(delay)
    child.send_signal(signal.SIGINT)
    _, err = child.communicate(timeout=60)
    assert child.returncode in (0, 1, 130, -signal.SIGINT)  # the last: the interpreter was already ending
    assert "Traceback" not in err


def test_an_interrupt_while_a_module_is_loaded(tmp_path: Path) -> None:
    """An extension makes another exception of it, and Python drops it in a callback."""
    (tmp_path / "loaded.py").write_text(
        "import signal\ntry:\n    signal.raise_signal(signal.SIGINT)\nexcept KeyboardInterrupt:\n    print('lost')\n"
    )
    program = "from plansguard import __main__, cli\ncli.main = lambda: __import__('loaded')\n__main__.main()"
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(tmp_path)])},
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (-signal.SIGINT, "", "")
