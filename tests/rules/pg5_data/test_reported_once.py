"""A fault of a whole dataset, or of a data folder that several configurations read, is reported once."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from plansguard.commands.check import check
from plansguard.core import disk
from plansguard.core.report import Finding
from tests.support.data_folders import CT, DATA, FLAT, GROUND_TRUTH, MEMBERS, SPLITS, append, both, touch
from tests.support.variants import PLANS, Edit, place, put, remove

#: Data for both configurations of both plans of Dataset002, as preprocessing leaves them.
pytestmark = pytest.mark.workspace(CT, edits=both())


def findings_of(workspace: Path, code: str, *edits: Edit) -> list[Finding]:
    for edit in edits:
        edit(workspace, CT)
    return [finding for finding in check(datasets=["2"]).findings if finding.code == code]


def test_missing_labels_are_reported_once(workspace: Path) -> None:
    (finding,) = findings_of(workspace, "PG510", remove(f"{GROUND_TRUTH}/fine_002.nii.gz"))
    assert finding.values["missing"] == "fine_002.nii.gz"


def test_labels_that_only_another_folder_needs_are_reported_for_it(workspace: Path) -> None:
    """Without splits the cases of each folder are validated: each folder lacks other labels."""
    edits = [remove(SPLITS), remove(f"{GROUND_TRUTH}/fine_002.nii.gz"), remove(f"{GROUND_TRUTH}/fine_003.nii.gz")]
    findings = findings_of(
        workspace, "PG510", *edits, *(remove(f"preprocessed/{FLAT}/fine_002{ending}") for ending in MEMBERS)
    )
    assert sorted(finding.values["missing"] for finding in findings) == ["fine_002.nii.gz", "fine_003.nii.gz"]


def test_other_labels_are_reported_once(workspace: Path) -> None:
    (finding,) = findings_of(workspace, "PG513", append(f"{GROUND_TRUTH}/fine_001.nii.gz"))
    assert finding.values["cases"] == "fine_001.nii.gz"


def test_newer_files_are_reported_once_for_each_folder(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    edits = [put(PLANS, "/configurations/child", {"inherits_from": "3d_fullres", "batch_size": 3})]
    examined: list[Path] = []
    status = disk.status

    def noting_status(path: Path) -> os.stat_result | None:
        examined.append(path)
        return status(path)

    monkeypatch.setattr(disk, "status", noting_status)
    findings = findings_of(workspace, "PG512", *edits, touch("raw/labelsTr/fine_001.nii.gz", 60))
    assert sorted(finding.values["folder"] for finding in findings) == [FLAT, DATA]
    other = place(workspace, CT, "raw/labelsTr/fine_000.nii.gz")
    assert examined.count(other) == 2  # for its time, and to compare its size with its copy


def test_plans_without_data_are_reported_in_one_line(workspace: Path) -> None:
    """Those that were named in one of their own."""
    for name in ("Aaa", "Bbb", "Ccc"):
        content = place(workspace, CT, PLANS).read_text().replace("nnUNetPlans", name)
        place(workspace, CT, f"preprocessed/{name}.json").write_text(content)
    reports = [check(datasets=[CT], plans=plans) for plans in (None, "Bbb")]
    found = [[one.message for one in report.findings if one.code == "PG504"] for report in reports]
    missing = '_3d_fullres" does not exist: 3d_fullres was '
    assert found == [
        [f'"Aaa{missing}preprocessed with none of Aaa, Bbb, Ccc'],
        [f'"Bbb{missing}not preprocessed with these plans'],
    ]
