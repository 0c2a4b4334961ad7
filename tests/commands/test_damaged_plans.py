"""Damaged plans whose file name does not show what they are: they are reported, not passed over."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.command import run
from tests.support.variants import place

CT, OTHER_CT = "Dataset001_PretrainCT", "Dataset002_FinetuneCT"
DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "cut": lambda raw: raw[: len(raw) // 2],
    "a conflict of git": lambda raw: raw.replace(b'"configurations"', b'<<<<<<< HEAD\n"configurations"', 1),
    "latin-1": lambda raw: raw.replace(b'"configurations"', b'"\xe9": 1, "configurations"', 1),
    "a comment": lambda raw: b"// mine\n" + raw,
}

pytestmark = pytest.mark.workspace(CT, OTHER_CT)


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_plans_are_reported(damage: str, workspace: Path) -> None:
    path = place(workspace, OTHER_CT, "preprocessed/nnUNetPlans.json").with_name("mine.json")
    path.write_bytes(DAMAGES[damage](path.with_name("nnUNetPlans.json").read_bytes()))
    done = run("check", "-d", "2")
    assert (done.code, "PG001" in done.out, "mine.json" in done.out) == (2, True, True)


@pytest.mark.parametrize("content", [b"", b"{", b"\0"])
def test_the_record_shows_what_a_file_is(content: bytes, workspace: Path) -> None:
    assert run("migrate", "-s", "1", "-t", "2", "-tp", "Moved").code == 0
    place(workspace, OTHER_CT, "preprocessed/Moved.json").write_bytes(content)
    done = run("check", "-d", "2")
    assert (done.code, "PG001" in done.out, "Moved.json" in done.out) == (2, True, True)


@pytest.mark.parametrize("where", ["beside nnU-Net's documents", "elsewhere"])
def test_a_file_without_permission_may_be_plans(where: str, workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = place(workspace, OTHER_CT, "preprocessed/")
    if where == "elsewhere":
        folder = workspace / "notes"
        folder.mkdir()
    (folder / "mine.json").write_bytes(b"{}")
    opened = os.open

    def closed(path: Any, *arguments: Any, **options: Any) -> int:
        if str(path).endswith("mine.json"):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        return opened(path, *arguments, **options)

    monkeypatch.setattr(os, "open", closed)
    done = run("check", folder)
    assert (done.code, "mine.json" in done.out) == ((3, False) if where == "elsewhere" else (2, True))


@pytest.mark.parametrize("content", [b"{", b'// editor\n{"configurations": []}', b"\0"])
def test_other_damaged_files_are_none_of_its_business(content: bytes, workspace: Path) -> None:
    place(workspace, OTHER_CT, "preprocessed/nnUNetPlans.json").with_name("launch.json").write_bytes(content)
    assert run("check", "-d", "2").code == 0


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such pipes")
def test_a_pipe_is_not_waited_for(workspace: Path) -> None:
    os.mkfifo(place(workspace, OTHER_CT, "preprocessed/nnUNetPlans.json").with_name("pipe.json"))
    assert run("check", "-d", "2").code == 0
