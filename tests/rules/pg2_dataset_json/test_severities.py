"""Severities of a file ending without raw images."""

from __future__ import annotations

from pathlib import Path

import pytest

from plansguard.commands.check import check
from plansguard.core.report import Severity
from tests.support.variants import DATASET_JSON, put, remove

CT = "Dataset002_FinetuneCT"
pytestmark = pytest.mark.workspace(CT, edits=(remove("raw"),))


@pytest.mark.parametrize(
    ("ending", "severity"),
    [
        ("", Severity.ERROR),
        ("nii.gz", Severity.ERROR),
        (".nii.gz ", Severity.ERROR),
        (".n.iigz", Severity.ERROR),
        (".npy", Severity.WARNING),
        (".mhd", Severity.WARNING),
    ],
)
def test_unknown_file_ending(workspace: Path, ending: str, severity: Severity) -> None:
    put(DATASET_JSON, "/file_ending", ending)(workspace, CT)
    assert [one.severity for one in check(datasets=["2"]).findings if one.code == "PG210"] == [severity]
