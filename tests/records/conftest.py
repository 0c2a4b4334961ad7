"""Fixtures of the tests of records."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.training_records import leave
from tests.support.variants import FIXTURES

_WEIGHTS = FIXTURES / "workspace/nnUNet_results/Dataset001_PretrainCT/nnUNetTrainer__nnUNetPlans__3d_fullres/fold_0"


@pytest.fixture(scope="session")
def unpacked_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights of 130 MB, not deflated, as torch writes them."""
    path = tmp_path_factory.mktemp("unpacked") / "weights.pth"
    with zipfile.ZipFile(_WEIGHTS / "checkpoint_final.pth") as fixture, zipfile.ZipFile(path, "w") as archive:
        for name in fixture.namelist():
            archive.writestr(name, fixture.read(name))
    return path


@pytest.fixture
def weights(workspace: Path, unpacked_weights: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Weights in the current folder: a hard link to those of all tests, which a test replaces to change them."""
    monkeypatch.chdir(workspace)
    path = workspace / "weights.pth"
    path.hardlink_to(unpacked_weights)
    before = unpacked_weights.stat()
    yield path
    after = unpacked_weights.stat()
    assert (after.st_size, after.st_mtime_ns) == (before.st_size, before.st_mtime_ns), "this changes other tests"


@pytest.fixture
def record(workspace: Path, weights: Path) -> Path:
    """The record of a training that started with these weights."""
    return leave(workspace, weights=weights)
