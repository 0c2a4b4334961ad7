"""The main outputs on a terminal are the stored ones, and fit every width."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.support.outputs import OUTPUTS, STORED, prepare, shown

pytestmark = pytest.mark.slow

COLORS = re.compile(r"\x1b\[[\d;]*m")
#: Lines that are wider than a terminal, so that they can be copied: commands, paths, and rows of tables.
WHOLE = re.compile(r"^\s*(plansguard|nnUNetv2_|to see why:|wrote|would write|see \S+$|\S+$|Dataset\d|\d+ \|)")


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    folder = tmp_path_factory.mktemp("outputs")
    return folder, prepare(folder)


@pytest.mark.parametrize("name", OUTPUTS)
def test_an_output_is_the_stored_one(name: str, workspace: tuple[Path, dict[str, str]]) -> None:
    """``python -m tests.support.outputs`` stores it."""
    assert shown(name, *workspace, 80, NO_COLOR="1") == (STORED / f"{name}.txt").read_text(encoding="utf-8")


@pytest.mark.parametrize("columns", [80, 100, 140])
@pytest.mark.parametrize("name", ["check", "migrate", "fit", "explain", "an-error"])
def test_lines_fit_the_terminal(name: str, columns: int, workspace: tuple[Path, dict[str, str]]) -> None:
    text = COLORS.sub("", shown(name, *workspace, columns))
    assert [line for line in text.splitlines() if len(line) > min(columns, 100) and not WHOLE.match(line)] == []


def test_every_output_is_stored() -> None:
    assert {path.stem for path in STORED.glob("*.txt")} == set(OUTPUTS)
