"""Folders that cannot be listed: each is named, and no command takes what is in it for absent."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.rules.pg7_run.trainings import READY
from tests.support.benches import TRAIN, gate
from tests.support.command import start
from tests.support.data_folders import DATA, ONLY, trained
from tests.support.models import copy_of_model
from tests.support.permissions import bound_by_permissions, closed, posix_permissions
from tests.support.variants import ROOTS

CT = "Dataset002_FinetuneCT"
BESIDE = "nnUNetTrainer__nnUNetPlans__2d"

pytestmark = [
    pytest.mark.slow,
    posix_permissions,
    pytest.mark.workspace(CT, edits=(*READY, trained("2d")), folder="workspace"),
]

#: Folders in the workspace that a check of Dataset002 lists.
LISTED = (
    f"{ROOTS['preprocessed']}/{CT}/{DATA}",
    f"{ROOTS['preprocessed']}/{CT}/gt_segmentations",
    f"{ROOTS['raw']}/{CT}",
    f"{ROOTS['raw']}/{CT}/imagesTr",
    f"{ROOTS['raw']}/{CT}/labelsTr",
    f"{ROOTS['results']}/{CT}",
    f"{ROOTS['results']}/{CT}/{BESIDE}",
)
#: Of these, the folders in which something has a known name.
ENTERED = (f"{ROOTS['raw']}/{CT}", f"{ROOTS['results']}/{CT}/{BESIDE}")
#: Folders without which no command finds the dataset.
ROOT_OF_ALL = (*ROOTS.values(), f"{ROOTS['preprocessed']}/{CT}")


def refused_folders(done: subprocess.CompletedProcess[str]) -> dict[str, str]:
    """The folders that PG001 names, and why."""
    findings = json.loads(done.stdout)["findings"]
    return {one["path"]: one["message"] for one in findings if one["code"] == "PG001"}


@pytest.mark.parametrize("mode", [0o000, 0o111])
@pytest.mark.parametrize("folder", LISTED)
def test_check_names_the_folder(folder: str, mode: int, workspace: Path) -> None:
    before = bound_by_permissions()
    with closed(workspace / folder, mode=mode):
        done = start("check", "-d", "2", "--output", "json", before=before)
    if folder in ENTERED and mode == 0o111:  # what is in it can be read
        assert (done.returncode, refused_folders(done)) == (0, {})
        return
    assert done.returncode == 2, done.stderr
    what = "entered" if folder in ENTERED else "listed"
    message = f"the folder cannot be {what}: Permission denied"
    assert refused_folders(done) == {str(workspace / folder): message}


@pytest.mark.parametrize("options", [("-d", "2"), ("-d", CT)])
@pytest.mark.parametrize("folder", ROOT_OF_ALL)
def test_check_finds_no_dataset(folder: str, options: tuple[str, ...], workspace: Path) -> None:
    before = bound_by_permissions()
    with closed(workspace / folder):
        done = start("check", *options, before=before)
    assert done.returncode == 2
    assert f"{workspace / folder}" in done.stdout + done.stderr
    assert "Permission denied" in done.stdout + done.stderr


@pytest.mark.parametrize("folder", ROOT_OF_ALL)
def test_the_gate_before_planning(folder: str, workspace: Path) -> None:
    before = bound_by_permissions()
    with closed(workspace / folder):
        done = gate("nnUNetv2_plan_and_preprocess", "-d", "2", options=("--dry-run",), before=before)
    assert done.returncode == 2
    assert "fit to start" not in done.stderr
    assert f"{workspace / folder}: the folder cannot be" in done.stderr


@pytest.mark.parametrize("folder", LISTED)
def test_the_gate_before_a_training(folder: str, workspace: Path) -> None:
    """Raw images and the models beside its own are not what a training reads."""
    before = bound_by_permissions()
    with closed(workspace / folder):
        done = gate(*TRAIN, options=("--dry-run", "--output", "json"), before=before)
    needed = folder.startswith(ROOTS["preprocessed"]) or folder == f"{ROOTS['results']}/{CT}"
    assert (done.returncode == 2) == needed, done.stderr
    assert set(refused_folders(done)) == ({str(workspace / folder)} if needed else set())
    reasons = [entry["reason"] for entry in json.loads(done.stdout)["not_checked"]]
    assert needed or any(f"{workspace / folder}: the folder cannot be" in reason for reason in reasons)


@pytest.mark.nnunet  # its command has to be there
def test_preprocessing_does_not_replace_what_it_cannot_list(workspace: Path) -> None:
    before = bound_by_permissions()
    folder = workspace / ROOTS["preprocessed"] / CT / DATA
    with closed(folder):
        done = start("preprocess", "-d", "2", *ONLY, "--yes", before=before)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"plansguard: {folder}: the folder cannot be listed: Permission denied\n")


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A trained model of another folder."""
    return copy_of_model(tmp_path)


def test_a_model_with_a_closed_fold(model: Path) -> None:
    before = bound_by_permissions()
    shutil.copytree(model / "fold_0", model / "fold_1")
    with closed(model / "fold_1"):
        done = start("check", model, "--output", "json", before=before)
    assert (done.returncode, set(refused_folders(done))) == (2, {str(model / "fold_1")})


def test_a_prediction_of_a_closed_fold(model: Path, tmp_path: Path) -> None:
    before = bound_by_permissions()
    (tmp_path / "images").mkdir()
    words = ("nnUNetv2_predict_from_modelfolder", "-m", model, "-i", tmp_path / "images", "-o", "out", "-f", "0")
    with closed(model / "fold_0"):
        done = gate(*words, "-device", "cpu", options=("--dry-run", "--output", "json"), before=before)
    assert (done.returncode, set(refused_folders(done))) == (2, {str(model / "fold_0")})
    assert "PG753" not in {finding["code"] for finding in json.loads(done.stdout)["findings"]}
