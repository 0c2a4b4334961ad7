"""A training record is written under the lock of its folder: a training that is refused enters no record.

A check that finds no other training is followed by seconds in which one may start. The tests start it there.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from plansguard.documents.file_names import TRAINING_RECORD_NAME
from plansguard.training import folder_lock, launch
from plansguard.training.folder_lock import holder
from tests.rules.pg7_run.trainings import CT
from tests.support.benches import STEPS, TRAIN, Bench, posix_only
from tests.support.command import run
from tests.support.training_records import leave
from tests.support.variants import place

pytestmark = [pytest.mark.slow, pytest.mark.workspace(folder="workspace")]
FOLD = f"results/{STEPS}__nnUNetPlans__3d_fullres/fold_0"
BY_GATE = ("gate", "--data", "headers", "--", *TRAIN, "-tr", STEPS)
BY_TRAIN = ("train", "2", "3d_fullres", "0", "--steps", "500", "-device", "cpu", "--data", "headers")
HOLD = """
import sys
from pathlib import Path
from plansguard.training.folder_lock import hold
hold(Path(sys.argv[1]))
print("held", flush=True)
sys.stdin.read()
"""

ASK = """
import sys
from pathlib import Path
from plansguard.training.folder_lock import holder
print(holder(Path(sys.argv[1])))
"""


@contextmanager
def another_training(folder: Path) -> Iterator[None]:
    """Another process holds the lock of the folder."""
    command = [sys.executable, "-c", HOLD, str(folder)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        try:
            yield
        finally:
            other.kill()


def seen_elsewhere(folder: Path) -> str:
    """Who holds the lock, as another process sees it."""
    command = [sys.executable, "-c", ASK, str(folder)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


@pytest.mark.skipif(os.name == "nt", reason="there the lock file cannot be opened twice")
@pytest.mark.parametrize("words", [BY_TRAIN, BY_GATE], ids=["train", "gate"])
@pytest.mark.parametrize("recorded", [True, False])
def test_a_refused_training_enters_no_record(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], recorded: bool
) -> None:
    folder = bench.place(FOLD)
    record = folder / TRAINING_RECORD_NAME
    if recorded:
        leave(bench.root, trainer=STEPS)
    before = record.read_bytes() if recorded else None
    monkeypatch.setattr(folder_lock, "holder", lambda folder: None)  # it starts after this was asked
    with another_training(folder):
        done = run(*words)
    assert (done.code, "a second training would overwrite its checkpoints" in done.err) == (1, True), done.err
    assert (record.read_bytes() if record.exists() else None) == before


@pytest.mark.skipif(os.name == "nt", reason="there the lock file cannot be opened twice")
@pytest.mark.parametrize(("more", "kept"), [((), True), (("-num_gpus", "2"), False)])
def test_the_lock_lasts_until_the_training_has_it(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, more: tuple[str, ...], kept: bool
) -> None:
    """Except for processes of nnU-Net's own, which lock the folder themselves."""
    folder, seen = bench.place(FOLD), []

    def launched(*_: Any) -> int:
        seen.append(seen_elsewhere(folder))
        return 1

    monkeypatch.setattr(launch, "launch", launched)
    words = BY_TRAIN if not more else (*BY_TRAIN[:6], *BY_TRAIN[8:], *more, "--accept", "PG714", "--because", "no GPU")
    try:
        done = run(*words)
        assert len(seen) == 1, done.err + done.out
        assert seen[0].startswith(f"process {os.getpid()} on ") is kept
    finally:
        folder_lock.release(folder)


@posix_only
@pytest.mark.parametrize("launcher", [(), ("env",)])
def test_the_command_of_the_gate_keeps_the_lock(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, launcher: tuple[str, ...]
) -> None:
    """Where the command takes the place of the gate, and not where a launcher may start processes."""
    monkeypatch.setenv("STAND_IN_SLEEPS", "60")
    words = ("gate", "--data", "headers", "--", *launcher, *TRAIN, "-tr", STEPS)
    command = [sys.executable, "-m", "plansguard", *words]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as training:
        try:
            for _ in range(3000):
                if bench.started is not None or training.poll() is not None:
                    break
                time.sleep(0.02)
            assert bench.started is not None
            assert (holder(bench.place(FOLD)) is None) is bool(launcher)
        finally:
            training.kill()


@posix_only
def test_reading_the_lock_does_not_release_it(workspace: Path) -> None:
    """POSIX releases a lock with the first descriptor that is closed, and ``--c`` reads the file before it locks it."""
    folder = place(workspace, CT, FOLD)
    folder_lock.hold(folder)
    try:
        descriptor = folder_lock._open.pop(folder_lock._path(folder))  # as after exec: the lock is of this process
        folder_lock.last_run(folder)
        assert seen_elsewhere(folder).startswith(f"process {os.getpid()} on ")
    finally:
        os.close(descriptor)
