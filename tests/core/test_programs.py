"""Programs that plansguard starts are not taken from the current folder."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from plansguard.core.programs import find_program
from plansguard.nnunet import runtime
from plansguard.nnunet.install import gpus, packages
from tests.support.command import run

pytestmark = [
    pytest.mark.workspace("Dataset002_FinetuneCT"),
    pytest.mark.skipif(os.name == "nt", reason="the programs are shell scripts"),
]

NAMES = ("git", "nvidia-smi", "nnUNetv2_train", "nnUNetv2_preprocess", "program")
MARKER = Path("executed")


@pytest.fixture(params=["", ".", "bin", "../here/bin"])
def here(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder with programs, and a PATH whose first entry is relative and leads to them."""
    folder = tmp_path / "here"
    for place in (folder, folder / "bin"):
        place.mkdir()
        for name in NAMES:
            (place / name).write_text(f"#!/bin/sh\ntouch '{folder / MARKER}'\n")
            (place / name).chmod(0o755)
    monkeypatch.chdir(folder)
    monkeypatch.setenv("PATH", os.pathsep.join([request.param, "/usr/bin", "/bin"]))
    return folder


def test_a_relative_entry_of_path_is_skipped(here: Path) -> None:
    assert shutil.which("program") is not None
    assert find_program("program") is None


def test_an_absolute_entry_is_used(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", f"bin{os.pathsep}{here / 'bin'}")
    assert find_program("program") == str(here / "bin" / "program")
    assert find_program("program", str(here)) == str(here / "program")


@pytest.mark.parametrize(("name", "found"), [("bin/program", True), ("./program", True), ("./nothing", False)])
def test_a_path_is_used_as_typed(here: Path, name: str, found: bool) -> None:
    assert (find_program(name) is not None) == found


#: What looks for a program, and would start it.
STARTERS: dict[str, Callable[[], object]] = {
    "nvidia-smi is queried": gpus.visible,
    "the GPU is looked for": gpus.has_gpu,
    "the installations are compared": packages.nnunet_installations,
    "gate": lambda: run("gate", "--", "nnUNetv2_train", "2", "3d_fullres", "0"),
    "diff": lambda: run("diff", "HEAD:a.json", "HEAD:b.json"),
}


@pytest.mark.parametrize("starter", STARTERS)
def test_no_command_starts_what_lies_in_the_current_folder(
    here: Path, starter: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    STARTERS[starter]()
    assert not MARKER.exists()


def test_nothing_in_the_current_folder_is_an_installation(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sysconfig.get_path", lambda _: str(here.parent))
    assert runtime.command("nnUNetv2_preprocess") is None
    assert packages.nnunet_installations().command is None
