"""Earlier checkpoints that a training keeps. A real training keeps some in test_training.py."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path

import pytest

from plansguard.training.kept_checkpoints import keep, kept_in


def save(folder: Path, step: int, most: int) -> None:
    """Replace the newest checkpoint, as the trainer does, and keep it."""
    latest, temporary = folder / "checkpoint_latest.pth", folder / "checkpoint_latest.pth.tmp"
    temporary.write_text(f"weights of step {step}")
    temporary.replace(latest)
    keep(latest, step, most)


def contents(folder: Path) -> dict[int, str]:
    return {step: path.read_text() for step, path in kept_in(folder).items()}


def test_the_newest_are_kept(tmp_path: Path) -> None:
    for step in (5, 10, 15, 100):
        save(tmp_path, step, 2)
    assert contents(tmp_path) == {15: "weights of step 15", 100: "weights of step 100"}
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "checkpoint_latest.pth",
        "checkpoint_step100.pth",
        "checkpoint_step15.pth",
    ]
    newest = kept_in(tmp_path)[100]
    assert newest.samefile(tmp_path / "checkpoint_latest.pth")  # it takes no room


def test_a_step_that_is_made_again(tmp_path: Path) -> None:
    """After a resume from an earlier checkpoint, and when one checkpoint is kept twice."""
    save(tmp_path, 5, 2)
    keep(tmp_path / "checkpoint_latest.pth", 5, 2)
    save(tmp_path, 5, 2)
    assert contents(tmp_path) == {5: "weights of step 5"}
    assert len(list(tmp_path.iterdir())) == 2


def test_other_files_stay(tmp_path: Path) -> None:
    """Checkpoints of later steps are those of an earlier training that was moved away only in part."""
    for name in ("checkpoint_step900.pth", "checkpoint_best.pth", "checkpoint_stepped.pth", "checkpoint_step1.pth.bak"):
        (tmp_path / name).write_text("another")
    for step in (5, 10):
        save(tmp_path, step, 1)
    assert contents(tmp_path) == {10: "weights of step 10", 900: "another"}
    assert len(list(tmp_path.iterdir())) == 6


def test_a_file_system_without_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Path) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    for step in (5, 10, 15):
        save(tmp_path, step, 2)
    assert contents(tmp_path) == {10: "weights of step 10", 15: "weights of step 15"}


def test_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No incomplete copy remains, and nothing is deleted."""

    def fill(_: Path, target: Path) -> None:
        target.write_text("wei")
        raise OSError(errno.ENOSPC, "No space left on device")

    save(tmp_path, 5, 1)
    monkeypatch.setattr(os, "link", fill)
    monkeypatch.setattr(shutil, "copyfile", fill)
    with pytest.raises(OSError, match="No space left"):
        save(tmp_path, 10, 1)
    assert contents(tmp_path) == {5: "weights of step 5"}
    assert [path.name for path in tmp_path.glob("*.tmp")] == []
