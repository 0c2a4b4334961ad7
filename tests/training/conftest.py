"""The workspace of real trainings."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import stepping


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """nnU-Net's three folders, with one dataset that is preprocessed."""
    return stepping.make_workspace(tmp_path_factory.mktemp("workspace"))


@pytest.fixture
def root(prepared: Path) -> Iterator[Path]:
    """The same, without results of an earlier test."""
    with stepping.without_results(prepared) as folder:
        yield folder
