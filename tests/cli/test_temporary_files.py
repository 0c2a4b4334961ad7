"""Temporary files beside a file that is written: nothing is left of an ended writer."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.support.command import run
from tests.support.models import CHECKPOINT

CT, OTHER_CT = "Dataset001_PretrainCT", "Dataset002_FinetuneCT"
#: The command, which says so and waits where it would flush a temporary file.
WAITING = """
import os, time
os.fsync = lambda _: (print("writing", flush=True), time.sleep(60))
from plansguard.cli import main
main()
"""
#: Path of the written file in a workspace -> the command.
WRITERS = {
    "plans.json": ("extract", str(CHECKPOINT), "-o", "plans.json"),
    "report.json": ("check", "-d", "2", "--output", "json=report.json"),
    f"nnUNet_preprocessed/{OTHER_CT}/Moved.json": ("migrate", "-s", "1", "-t", "2", "-tp", "Moved"),
}

pytestmark = [
    pytest.mark.slow,
    pytest.mark.workspace(CT, OTHER_CT, chdir=True),
    pytest.mark.skipif(os.name == "nt", reason="Windows has no such signals"),
]


def left_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.name.endswith(".tmp"))


@contextmanager
def writing(words: tuple[str, ...]) -> Iterator[subprocess.Popen[str]]:
    """A command that has written a temporary file."""
    child = subprocess.Popen(
        [sys.executable, "-c", WAITING, *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    try:
        assert child.stdout is not None
        assert child.stdout.readline() == "writing\n"
        yield child
    finally:
        child.kill()
        child.communicate()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("path", WRITERS)
def test_a_stopped_writer_removes_its_file(path: str, number: signal.Signals, workspace: Path) -> None:
    folder = (workspace / path).parent
    before = sorted(folder.glob("*.json"))
    with writing(WRITERS[path]) as child:
        assert len(left_in(folder)) == 1
        child.send_signal(number)
        out, err = child.communicate(timeout=60)
    assert (child.returncode, out, err) == (128 + number, "", "")
    assert (left_in(folder), sorted(folder.glob("*.json"))) == ([], before)


@pytest.mark.parametrize("path", WRITERS)
def test_the_next_writer_removes_the_file_of_a_killed_one(path: str, workspace: Path) -> None:
    folder = (workspace / path).parent
    with writing(WRITERS[path]) as child:
        child.kill()
        child.wait(timeout=60)
        assert len(left_in(folder)) == 1
    done = run(*WRITERS[path])
    assert done.code == 0, done.err
    assert left_in(folder) == []
    assert (workspace / path).is_file()


def test_the_file_of_a_running_writer_stays(workspace: Path) -> None:
    with writing(WRITERS["plans.json"]):
        (running,) = left_in(workspace)
        assert run("extract", CHECKPOINT, "-o", "other.json").code == 0
        assert left_in(workspace) == [running]


def test_only_files_of_its_own_are_removed(workspace: Path) -> None:
    target = workspace / "kept.json"
    target.write_text("{}")
    os.mkfifo(workspace / ".pipe.plansguard.tmp")
    (workspace / ".folder.plansguard.tmp").mkdir()
    (workspace / ".link.plansguard.tmp").symlink_to(target)
    names = left_in(workspace)
    assert run("extract", CHECKPOINT, "-o", "plans.json").code == 0
    assert (left_in(workspace), target.read_text()) == (names, "{}")
