"""An nnU-Net in a few lines, and a folder of trainers, for tests that read their sources."""

from __future__ import annotations

from pathlib import Path

import pytest

from plansguard.nnunet.install.trainer_folder import VARIABLE
from tests.support.nnunets import install


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An nnU-Net in front of any other in ``sys.path``."""
    monkeypatch.delenv(VARIABLE, raising=False)
    return install(tmp_path / "site", monkeypatch)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder in nnUNet_extTrainer. It does not exist yet."""
    monkeypatch.setenv(VARIABLE, str(tmp_path / "mine"))
    return tmp_path / "mine"
