"""Plans outside of the workspace that nnU-Net's variables name: printed commands must not act on that one."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from plansguard.commands.check import check
from tests.rules.pg7_run.trainings import CT, READY
from tests.support.data_folders import ONLY
from tests.support.variants import PLANS, RESENC, ROOTS, place, put, remove

#: Commands that change or replace something in the workspace of the variables.
ACTING = ("plansguard preprocess", "nnUNetv2_plan_experiment", "nnUNetv2_plan_and_preprocess")
#: Also far from the spacing of the data, whose fix plans the dataset by its number.
STALE = put(PLANS, "/configurations/3d_fullres/spacing", [0.1, 0.1, 0.1])

pytestmark = pytest.mark.workspace(CT, edits=(*READY, STALE, remove(RESENC)), folder="home")


def fixes(folder: Path) -> dict[str, str]:
    report = check([folder], plans=ONLY[1], configuration=ONLY[3])
    return {finding.code: finding.fix for finding in report.findings}


def test_commands_for_the_workspace_of_the_variables(workspace: Path) -> None:
    found = fixes(place(workspace, CT, PLANS).parent)
    assert "plansguard preprocess -d 2 -p nnUNetPlans -c 3d_fullres" in found["PG507"]
    assert "nnUNetv2_plan_experiment -d 2" in found["PG307"]


@pytest.mark.parametrize("unset", [False, True])
def test_words_for_another_workspace(
    workspace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, unset: bool
) -> None:
    shutil.copytree(workspace, tmp_path / "other")
    if unset:
        for name in ROOTS.values():
            monkeypatch.delenv(name)
    found = fixes(place(tmp_path / "other", CT, PLANS).parent)
    assert "preprocess it where the dataset is" in found["PG507"]
    assert "nnUNetv2_plan_experiment -d DATASET" in found["PG307"]
    assert not [fix for fix in found.values() if any(f"{command} -d 2" in fix for command in ACTING)]
