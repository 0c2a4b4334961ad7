"""Fixtures of the tests of commands."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from plansguard.nnunet.install.trainer_folder import VARIABLE
from tests.rules.pg7_run.trainings import READY
from tests.support.benches import OTHER_CT, Bench


@pytest.fixture
def bench(workspace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    """The workspace, of which Dataset002 is ready to be trained, with stand-ins for nnU-Net's commands in PATH."""
    for edit in READY:
        edit(workspace, OTHER_CT)
    made = Bench(workspace)
    monkeypatch.setenv("PATH", str(made.bin), prepend=os.pathsep)
    monkeypatch.delenv(VARIABLE, raising=False)
    monkeypatch.chdir(tmp_path)
    return made
