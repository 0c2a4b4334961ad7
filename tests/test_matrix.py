"""`make matrix`: which Pythons it finds, and what its table and exit code say. Nothing is installed or tested here."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tools import matrix


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine whose pyenv has 3.10 twice and 3.9, and whose PATH has 3.12."""
    for version in ("3.9.18", "3.10.2", "3.10.13"):
        (tmp_path / "pyenv/versions" / version / "bin").mkdir(parents=True)
        (tmp_path / "pyenv/versions" / version / "bin/python").touch()
    (tmp_path / "python3.12").touch(mode=0o755)
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path / "pyenv"))
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(matrix, "CACHE", tmp_path / "cache")
    monkeypatch.setattr(matrix, "LOGS", tmp_path / "logs")
    return tmp_path


def test_pythons_are_found(machine: Path) -> None:
    assert matrix.pythons() == {
        "3.10": machine / "pyenv/versions/3.10.13/bin/python",
        "3.12": machine / "python3.12",
    }


@pytest.mark.parametrize(
    ("last", "counts"),
    [
        ("7428 passed, 5 skipped, 5 warnings in 149.26s (0:02:29)", {"passed": 7428, "skipped": 5}),
        ("== 2 failed, 3 passed, 1 error in 1.00s ==", {"failed": 3, "passed": 3}),
        ("1 error in 0.10s", {"failed": 1}),
        ("Killed", {}),
    ],
)
def test_the_last_line_of_pytest_is_counted(last: str, counts: dict[str, int]) -> None:
    assert matrix.tally(f"1 failed\n{last}\n") == counts


def test_a_row_that_fails_hides_no_other(
    machine: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def install(python: Path, resolution: str, environment: Path) -> str:
        if resolution == "oldest":
            raise subprocess.CalledProcessError(1, "uv", output="no such version")
        (environment / "bin").mkdir(parents=True, exist_ok=True)
        program = '#!/bin/sh\necho "4 passed, 1 skipped in 1s"\n'
        (environment / "bin/python").write_text(program)
        (environment / "bin/python").chmod(0o755)
        return "typer 9"

    monkeypatch.setattr(matrix, "install", install)
    assert matrix.main(["3.10"]) == 1
    header, oldest, newest = capsys.readouterr().out.splitlines()[-3:]
    assert header.split() == ["Python", "versions", "passed", "failed", "skipped", "result", "dependencies"]
    assert oldest.split()[:7] == ["3.10", "oldest", "0", "0", "0", "not", "installed:"]
    assert (machine / "logs/3.10-oldest.log").read_text() == "no such version"
    assert newest.split() == ["3.10", "newest", "4", "0", "1", "ok", "typer", "9"]
    assert matrix.main(["3.10", "newest"]) == 0


def test_a_python_that_is_not_there_is_said(machine: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert matrix.main(["3.11"]) == 1
    assert capsys.readouterr().err == "not found: 3.11; this machine has 3.10, 3.12\n"
