"""`verify-receipt` of all results of a dataset or of a workspace, and of a copy of them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from plansguard.documents.file_names import TRAINING_RECORD_NAME
from plansguard.records.verify import DocumentState
from tests.rules.pg7_run.trainings import CT, READY
from tests.support.command import Done, run, start
from tests.support.data_folders import SPLITS
from tests.support.permissions import bound_by_permissions, closed, posix_permissions
from tests.support.training_records import MODEL, leave, states
from tests.support.variants import ROOTS, put

#: Each writes records of a dataset with its data, and verifies them.
pytestmark = [pytest.mark.slow, pytest.mark.workspace(CT, edits=READY, folder="home")]

RESULTS = ROOTS["results"]
OTHER = "nnUNetTrainer_100steps"
GIVING = "Dataset001_PretrainCT/nnUNetTrainer__nnUNetPlans__3d_fullres/fold_0/checkpoint_final.pth"


def verified(folder: Path, *options: str) -> Done:
    return run("verify-receipt", folder, *options)


@pytest.fixture
def trainings(workspace: Path) -> list[Path]:
    """The folders of two trainings, of which the second has another split today."""
    folders = [leave(workspace).parent, leave(workspace, fold="1", trainer=OTHER).parent]
    put(SPLITS, "/1/val/0", "other")(workspace, CT)
    return folders


@pytest.mark.parametrize("below", ["", CT])
def test_a_line_for_each_training(trainings: list[Path], workspace: Path, below: str) -> None:
    done = verified(workspace / RESULTS / below)
    assert (done.code, done.err) == (1, "")
    second, first = trainings  # 50steps is sorted after 100steps
    assert done.out.splitlines() == [
        f"{first}: splits changed",
        f"{second}: everything is unchanged",
        "",
        "Next:",
        f"  plansguard verify-receipt {first}",
    ]
    document = verified(workspace / RESULTS / below, "--output", "json").json
    assert [one["holds"] for one in document["receipts"]] == [False, True]


def test_a_damaged_record_is_named_beside_the_others(trainings: list[Path], workspace: Path) -> None:
    (trainings[1] / TRAINING_RECORD_NAME).write_text("{}")
    done = verified(workspace / RESULTS)
    assert (done.code, done.out) == (2, f"{trainings[0]}: everything is unchanged\n")
    assert str(trainings[1]) in done.err


@posix_permissions
def test_a_closed_folder_is_named_beside_the_others(trainings: list[Path], workspace: Path) -> None:
    before = bound_by_permissions()
    with closed(trainings[1].parent):
        done = start("verify-receipt", workspace / RESULTS, before=before)
    assert (done.returncode, done.stdout) == (2, f"{trainings[0]}: everything is unchanged\n")
    assert f"{trainings[1].parent}: the folder cannot be listed: Permission denied" in done.stderr


def test_results_without_a_record(workspace: Path) -> None:
    (workspace / RESULTS / CT).mkdir(parents=True)
    done = verified(workspace / RESULTS)
    assert (done.code, done.out) == (3, "")
    assert "there is no training record" in done.err


@pytest.fixture
def fine_tuned(workspace: Path, weights: Path) -> Path:
    """The record of a training that began with weights in the results."""
    present = workspace / RESULTS / GIVING
    present.parent.mkdir(parents=True)
    shutil.move(weights, present)
    return leave(workspace, weights=present)


def test_weights_in_a_copy_of_the_results(fine_tuned: Path, workspace: Path) -> None:
    copy = Path(shutil.copytree(workspace / RESULTS, workspace.parent / "backup"))
    (workspace / RESULTS / GIVING).unlink()
    record = copy / fine_tuned.relative_to(workspace / RESULTS)
    assert states(fine_tuned)["weights"] is DocumentState.GONE
    assert states(record)["weights"] is DocumentState.SAME
    assert f"weights                   unchanged (the copy {copy / GIVING})\n" in verified(record.parent).out
    with (copy / GIVING).open("r+b") as stream:
        stream.truncate(9999)
    assert states(record)["weights"] is DocumentState.GONE


def test_weights_in_a_copy_of_the_workspace(fine_tuned: Path, workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The variables name the copy, and the file at the recorded path is in the original, which is still there."""
    copy = Path(shutil.copytree(workspace, workspace.parent / "copy"))
    for name in ROOTS.values():
        monkeypatch.setenv(name, str(copy / name))
    monkeypatch.chdir(copy)
    record = copy / fine_tuned.relative_to(workspace)
    done = verified(record.parent)
    assert (done.code, done.err) == (0, "")
    assert f"weights                   unchanged (the copy {copy / RESULTS / GIVING})\n" in done.out
    with (copy / RESULTS / GIVING).open("r+b") as stream:  # another model of a dataset with this name
        stream.truncate(9999)
    assert states(record)["weights"] is DocumentState.OUTSIDE


def test_weights_of_the_same_dataset_in_a_copy_of_it(workspace: Path, weights: Path) -> None:
    """The folder of the dataset may have another name."""
    below = Path("nnUNetTrainer__nnUNetPlans__3d_fullres/fold_0/checkpoint_final.pth")
    present = workspace / RESULTS / CT / below
    present.parent.mkdir(parents=True)
    shutil.move(weights, present)
    original = leave(workspace, weights=present)
    copy = Path(shutil.copytree(workspace / RESULTS / CT, workspace.parent / "old"))
    present.unlink()
    assert states(copy / MODEL / "fold_0" / TRAINING_RECORD_NAME)["weights"] is DocumentState.SAME
    assert states(original)["weights"] is DocumentState.GONE


def test_a_copy_leads_nowhere_else(fine_tuned: Path, workspace: Path) -> None:
    """Neither by a link nor by the path in the record."""
    copy = Path(shutil.copytree(workspace / RESULTS, workspace.parent / "backup"))
    record = copy / fine_tuned.relative_to(workspace / RESULTS)
    outside = workspace.parent / "outside.pth"
    shutil.move(workspace / RESULTS / GIVING, outside)
    (copy / GIVING).unlink()
    (copy / GIVING).symlink_to(outside)
    assert states(record)["weights"] is DocumentState.GONE
    content = json.loads(record.read_bytes())
    content["starts"][0]["weights"]["path"] = f"/gone/{CT}/../../outside.pth"
    record.write_text(json.dumps(content))
    assert states(record)["weights"] is DocumentState.GONE
