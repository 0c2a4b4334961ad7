"""Earlier checkpoints that a training keeps. A real training keeps some in test_training.py."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path

import pytest

from plansguard.artefacts.checkpoint.checkpoint import read_checkpoint
from plansguard.artefacts.checkpoint.contents import STEPS
from plansguard.training.kept_checkpoints import keep, kept_in
from tests.support import checkpoints

RUN = "the run"


def write(path: Path, step: int, run: str = RUN) -> None:
    """Write a checkpoint of this step."""
    weights = {"a": checkpoints.Zeros((1,), checkpoints.Storage("0", "cpu"))}
    notes = {STEPS: {"step": step, "run": run}}
    checkpoints.save(path, {"network_weights": weights, "init_args": notes, "trainer_name": "nnUNetTrainer_100steps"})


def save(folder: Path, step: int, most: int, run: str = RUN) -> None:
    """Replace the newest checkpoint, as the trainer does, and keep it."""
    latest, temporary = folder / "checkpoint_latest.pth", folder / "checkpoint_latest.pth.tmp"
    write(temporary, step, run)
    temporary.replace(latest)
    keep(latest, step, most, run)


def contents(folder: Path) -> dict[int, int | str | None]:
    """The step in each kept checkpoint, and the text of other files."""
    kept = kept_in(folder)
    return {step: read_checkpoint(path).step if is_zip(path) else path.read_text() for step, path in kept.items()}


def is_zip(path: Path) -> bool:
    return path.read_bytes().startswith(b"PK")


def test_the_newest_are_kept(tmp_path: Path) -> None:
    for step in (5, 10, 15, 100):
        save(tmp_path, step, 2)
    assert contents(tmp_path) == {15: 15, 100: 100}
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
    keep(tmp_path / "checkpoint_latest.pth", 5, 2, RUN)
    save(tmp_path, 5, 2)
    assert contents(tmp_path) == {5: 5}
    assert len(list(tmp_path.iterdir())) == 2


def test_other_files_stay(tmp_path: Path) -> None:
    """Checkpoints of later steps are those of an earlier training that was moved away only in part."""
    names = ("best", "stepped", "step1.pth.bak", "step900", "step1", "step05", "step7")
    for name in names:
        (tmp_path / f"checkpoint_{name}.pth").write_text("another")
    write(tmp_path / "checkpoint_step2.pth", 2, "an earlier run")
    write(tmp_path / "checkpoint_step3.pth", 5)  # copied by the user
    for step in (5, 10, 15):
        save(tmp_path, step, 1)
    assert contents(tmp_path) == {1: "another", 2: 2, 3: 5, 7: "another", 15: 15, 900: "another"}
    assert len(list(tmp_path.iterdir())) == len(names) + 4


@pytest.mark.parametrize("kind", ["file", "folder", "link", "checkpoint"])
def test_the_name_of_another_file(tmp_path: Path, kind: str) -> None:
    path, elsewhere = tmp_path / "checkpoint_step10.pth", tmp_path / "elsewhere.pth"
    write(elsewhere, 10)
    if kind == "file":
        path.write_text("another")
    elif kind == "folder":
        path.mkdir()
    elif kind == "link":
        path.symlink_to(elsewhere)
    else:
        write(path, 10, "an earlier run")
    before = path.lstat()
    with pytest.raises(FileExistsError, match="this training did not write"):
        save(tmp_path, 10, 1)
    assert path.lstat() == before
    save(tmp_path, 15, 1)
    save(tmp_path, 20, 1)
    assert path.lstat() == before
    assert (tmp_path / "checkpoint_step20.pth").exists()
    assert not (tmp_path / "checkpoint_step15.pth").exists()


def test_a_file_system_without_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Path) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    for step in (5, 10, 15):
        save(tmp_path, step, 2)
    assert contents(tmp_path) == {10: 10, 15: 15}


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
    assert contents(tmp_path) == {5: 5}
    assert [path.name for path in tmp_path.glob("*.tmp")] == []
