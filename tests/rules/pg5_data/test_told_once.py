"""What a whole dataset shows, or a data folder that several configurations read, is told once."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from plansguard.commands.check import check
from plansguard.core.report import Finding
from tests.support.data_folders import CT, DATA, FLAT, GROUND_TRUTH, MEMBERS, SPLITS, append, preprocessed, touch
from tests.support.variants import PLANS, ROOTS, Edit, lay_out, place, put, remove


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The fixtures, and data for both configurations of both plans of Dataset002, as preprocessing leaves them."""
    for variable, folder in ROOTS.items():
        monkeypatch.setenv(f"nnUNet_{variable}", str(tmp_path / folder))
    lay_out(tmp_path)
    preprocessed(DATA, FLAT)(tmp_path, CT)
    return tmp_path


def found(workspace: Path, code: str, *edits: Edit) -> list[Finding]:
    for edit in edits:
        edit(workspace, CT)
    return [finding for finding in check(datasets=["2"]).findings if finding.code == code]


def test_labels_that_are_missing_are_told_once(workspace: Path) -> None:
    (finding,) = found(workspace, "PG510", remove(f"{GROUND_TRUTH}/fine_002.nii.gz"))
    assert finding.values["missing"] == "fine_002.nii.gz"


def test_labels_that_only_another_folder_asks_for_are_told_for_it(workspace: Path) -> None:
    """Without splits the cases of each folder are validated: what the first lacks the second has."""
    edits = [remove(SPLITS), remove(f"{GROUND_TRUTH}/fine_002.nii.gz"), remove(f"{GROUND_TRUTH}/fine_003.nii.gz")]
    told = found(workspace, "PG510", *edits, *(remove(f"preprocessed/{FLAT}/fine_002{ending}") for ending in MEMBERS))
    assert sorted(finding.values["missing"] for finding in told) == ["fine_002.nii.gz", "fine_003.nii.gz"]


def test_other_labels_are_told_once(workspace: Path) -> None:
    (finding,) = found(workspace, "PG513", append(f"{GROUND_TRUTH}/fine_001.nii.gz"))
    assert finding.values["cases"] == "fine_001.nii.gz"


def test_newer_files_are_told_once_for_each_folder(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    edits = [put(PLANS, "/configurations/child", {"inherits_from": "3d_fullres", "batch_size": 3})]
    looked_at: list[Path] = []
    stat = Path.stat

    def noted(path: Path, **options: bool) -> os.stat_result:
        looked_at.append(path)
        return stat(path, **options)

    monkeypatch.setattr(Path, "stat", noted)
    told = found(workspace, "PG512", *edits, touch("raw/labelsTr/fine_001.nii.gz", 60))
    assert sorted(finding.values["folder"] for finding in told) == [FLAT, DATA]
    other = place(workspace, CT, "raw/labelsTr/fine_000.nii.gz")
    assert looked_at.count(other) == 2  # for its time, and for its size beside that of its copy
