"""``plansguard preprocess`` on Dataset002, in this process or as one of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from plansguard.commands.check import check
from plansguard.nnunet import runtime
from tests.conftest import ROOT
from tests.support.command import Done, run
from tests.support.preprocessing_records import CT, FOLDER
from tests.support.variants import Edit, place

NAMES = ("nnUNetPlans_2d", FOLDER)
posix_only = pytest.mark.skipif(os.name == "nt", reason="signals are those of POSIX")


def preprocess(*arguments: str) -> Done:
    return run("preprocess", "-d", "2", *arguments)


def both() -> Done:
    done = preprocess("-p", "nnUNetPlans", "-c", "3d_fullres", "2d", "--yes")
    assert done.code == 0, done.err
    return done


def edited(workspace: Path, *edits: Edit) -> None:
    for edit in edits:
        edit(workspace, CT)


def record_of(workspace: Path, name: str = FOLDER) -> dict[str, Any]:
    value: dict[str, Any] = json.loads(place(workspace, CT, f"preprocessed/{name}.stamp.json").read_bytes())
    return value


def codes() -> list[str]:
    return [finding.code for finding in check(datasets=[CT]).findings]


def contents(workspace: Path) -> dict[str, bytes]:
    """Every file but the locks."""
    files = (path for path in sorted(workspace.rglob("*")) if path.is_file() and path.suffix != ".lock")
    return {str(path.relative_to(workspace)): path.read_bytes() for path in files}


def process(*arguments: str, **options: Any) -> subprocess.Popen[bytes]:
    """``plansguard preprocess`` as a process of its own, with the stand-in that this process knows."""
    code = (
        "from plansguard.nnunet import runtime; "
        f"runtime.command = lambda name: {runtime.command('nnUNetv2_preprocess')!r}; "
        "from plansguard.cli import main; main()"
    )
    return subprocess.Popen(
        [sys.executable, "-c", code, "preprocess", "-d", "2", *arguments],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        **{"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, **options},
    )


def wait_for(condition: Callable[[], Any]) -> Any:
    for _ in range(3000):
        if result := condition():
            return result
        time.sleep(0.02)
    raise AssertionError("it did not happen within a minute")
