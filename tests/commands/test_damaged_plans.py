"""Damaged plans whose file name does not show what they are: they are reported, not passed over."""

from __future__ import annotations

import errno
import json
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


# --- Values that no command may rely on


def written(path: Path, keys: tuple[str, ...], value: Any) -> None:
    """Write a value into a JSON file."""
    document = json.loads(path.read_bytes())
    part = document
    for key in keys[:-1]:
        part = part[key]
    part[keys[-1]] = value
    path.write_text(json.dumps(document))


@pytest.mark.parametrize("key", ["plans_name", "dataset_name"])
@pytest.mark.parametrize("value", [1.5, None, "a/b"])
def test_plans_without_a_folder_of_results(key: str, value: object, workspace: Path) -> None:
    written(place(workspace, OTHER_CT, "preprocessed/nnUNetPlans.json"), (key,), value)
    done = run("train", "2", "3d_fullres", "0", "--steps", "5", "--resume", "auto", "-device", "cpu", "--dry-run")
    assert (done.code, "PG000" in done.out, "Not started" in done.err) == (1, False, True)
    road = ("-s", "2", "-t", "1", "-tp", "Moved", "-c", "3d_fullres", "--pretrain-steps", "5", "--steps", "5")
    assert "PG000" not in run("finetune", *road, "--dry-run").out


RECORDS: dict[str, tuple[tuple[str, ...], object]] = {
    "configurations": (("migrated", "configurations"), 5),
    "no configurations": (("migrated",), {}),
    "plans of an earlier migration": (("derivation", "brought_by", "migrated"), 5),
    "configurations of an earlier migration": (("derivation", "brought_by", "migrated", "configurations"), []),
    "dataset of an earlier migration": (("derivation", "brought_by", "from", "dataset"), 5),
    "an earlier migration": (("derivation", "brought_by"), {"a": 1}),
    "the record of the file before": (("replaced",), {"sha256": "", "backup": None, "lineage": {"a": 1}}),
}


@pytest.mark.parametrize("damage", RECORDS)
def test_records_with_values_of_another_type(damage: str, workspace: Path) -> None:
    """They are in a migration record, or in a record within it."""
    keys, value = RECORDS[damage]
    assert run("migrate", "-s", "1", "-t", "2", "-tp", "Moved").code == 0
    derived = ("derive", "-d", "2", "-p", "Moved", "-tp", "Derived")
    assert run(*derived, "--set", "3d_fullres.batch_size=3").code == 0
    for name in {"Moved", "Derived"} if keys[0] != "derivation" else {"Derived"}:
        written(place(workspace, OTHER_CT, f"preprocessed/{name}.plansguard.json"), keys, value)
    length = ("--steps", "5", "-device", "cpu", "--dry-run")
    for command in (
        ("check", "-d", "2"),
        *(("train", "2", "3d_fullres", "0", "-p", name, *length) for name in ("Moved", "Derived")),
        *(
            ("finetune", "-s", "1", "-t", "2", "-tp", name, "-c", "3d_fullres", *length)
            for name in ("Moved", "Derived")
        ),
        ("status",),
        (*derived, "--set", "3d_fullres.batch_size=4", "--force", "--dry-run"),
    ):
        done = run(*command)
        assert "PG000" not in done.out, (command, done.out)
