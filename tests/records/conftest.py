"""Fixtures of the tests of records."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.training_records import leave
from tests.support.variants import FIXTURES

_WEIGHTS = FIXTURES / "workspace/nnUNet_results/Dataset001_PretrainCT/nnUNetTrainer__nnUNetPlans__3d_fullres/fold_0"


@pytest.fixture
def weights(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Weights in the current folder, removed after the test: those of all tests together would fill a disk."""
    monkeypatch.chdir(workspace)
    path = workspace / "weights.pth"
    with zipfile.ZipFile(_WEIGHTS / "checkpoint_final.pth") as fixture, zipfile.ZipFile(path, "w") as archive:
        for name in fixture.namelist():  # not deflated, as torch writes them
            archive.writestr(name, fixture.read(name))
    yield path
    path.unlink(missing_ok=True)


@pytest.fixture
def record(workspace: Path, weights: Path) -> Path:
    """The record of a training that started with these weights."""
    return leave(workspace, weights=weights)
