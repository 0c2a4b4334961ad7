"""``plansguard status``: plans, data and trainings of a workspace, and what is stale, stopped or running."""

from __future__ import annotations

import fcntl
from pathlib import Path

import pytest

from tests.support.command import run
from tests.support.variants import ROOTS, remove

CT, OTHER_CT = "Dataset001_PretrainCT", "Dataset002_FinetuneCT"
pytestmark = [pytest.mark.workspace(CT, OTHER_CT), pytest.mark.usefixtures("workspace")]


def rows(*options: str) -> list[tuple[str, ...]]:
    """Plans, configuration, what, and state of each row."""
    done = run("status", *options, "--output", "json")
    assert done.code == 0, done.err
    return [tuple(row[key] for key in ("plans", "configuration", "what", "state")) for row in done.json["rows"]]


def test_plans_and_trainings() -> None:
    assert rows("-d", "1") == [
        ("nnUNetPlans", None, "plans", "done"),
        ("nnUNetPlans", "3d_fullres", "fold_0", "stopped"),  # it was never validated
        ("nnUNetResEncUNetMPlans", None, "plans", "done"),
    ]


def test_moved_plans_name_their_source() -> None:
    assert run("migrate", "-s", "1", "-t", "2", "-tp", "Moved").code == 0
    assert f"from nnUNetPlans of {CT} (finetune)" in run("status", "-d", "2").out


def test_plans_derived_in_no_datasets_folder_name_no_dataset(workspace: Path, tmp_path: Path) -> None:
    folder, repository = workspace / ROOTS["preprocessed"] / OTHER_CT, tmp_path / "repo"
    repository.mkdir()
    (repository / "nnUNetPlans.json").write_bytes((folder / "nnUNetPlans.json").read_bytes())
    words = ("derive", repository / "nnUNetPlans.json", "-tp", "My", "--set", "3d_fullres.batch_size=4")
    assert run(*words).code == 0
    for name in ("My.json", "My.plansguard.json"):
        (repository / name).rename(folder / name)
    assert "from nnUNetPlans (derive)" in run("status", "-d", "2").out


def test_plans_without_a_record_are_planned_here_only_where_their_images_are(workspace: Path) -> None:
    assert run("migrate", "-s", "1", "-t", "2", "-tp", "Moved").code == 0
    (workspace / ROOTS["preprocessed"] / OTHER_CT / "Moved.plansguard.json").unlink()
    origins = {
        row["plans"]: row["because"]
        for row in run("status", "-d", "2", "--output", "json").json["rows"]
        if row["what"] == "plans"
    }
    assert origins == {
        "Moved": "for other images, without a migration record",
        "nnUNetPlans": "planned",
        "nnUNetResEncUNetMPlans": "planned",
    }


@pytest.mark.parametrize(
    ("giving", "name", "said"),
    [
        (CT, "nnUNetPlans", f'dataset_name is "{CT}"'),
        (CT, "Mine", f'dataset_name is "{CT}"'),
        (OTHER_CT, "Mine", 'plans_name is "nnUNetPlans"'),
    ],
)
def test_plans_copied_by_hand_are_not_called_planned(workspace: Path, giving: str, name: str, said: str) -> None:
    """Also where their medians are those of the images here, or nothing is known of the images."""
    folder = workspace / ROOTS["preprocessed"]
    copied = (folder / giving / "nnUNetPlans.json").read_bytes()
    (folder / OTHER_CT / f"{name}.json").write_bytes(copied)
    for is_known in (True, False):
        if not is_known:
            (folder / OTHER_CT / "dataset_fingerprint.json").unlink()
        shown = run("status", "-d", "2", "--output", "json").json["rows"]
        (because,) = (row["because"] for row in shown if (row["plans"], row["what"]) == (name, "plans"))
        assert because == f"copied or renamed: {said}; no migration record"


def test_every_dataset_without_a_choice() -> None:
    shown = run("status").out
    assert (CT in shown, OTHER_CT in shown) == (True, True)
    assert shown.endswith("4 done, 1 stopped\n")


def test_a_dataset_with_no_more_than_a_fingerprint(workspace: Path) -> None:
    for name in ("nnUNetPlans", "nnUNetResEncUNetMPlans"):
        remove(f"preprocessed/{name}.json")(workspace, OTHER_CT)
    assert run("status", "-d", "2").out == "no plans, data or trainings are there yet\n"


def test_a_road_that_runs(workspace: Path) -> None:
    folder = workspace / ROOTS["preprocessed"] / OTHER_CT
    with (folder / ".nnUNetPlans__3d_fullres.plansguard.lock").open("w") as lock:
        assert ("nnUNetPlans", "3d_fullres", "road", "running") not in rows("-d", "2")
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert ("nnUNetPlans", "3d_fullres", "road", "running") in rows("-d", "2")


def test_a_road_that_still_makes_its_plans(workspace: Path) -> None:
    """While fingerprint, plans and weights are made, which takes longest, there are no plans to list it with."""
    folder = workspace / ROOTS["preprocessed"] / OTHER_CT
    with (folder / ".New__Plans__3d_fullres.plansguard.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert ("New__Plans", "3d_fullres", "road", "running") in rows("-d", "2")
        for plans in folder.glob("*.json"):
            plans.unlink()
        assert rows("-d", "2") == [("New__Plans", "3d_fullres", "road", "running")]
    assert rows("-d", "2") == []


def test_preprocessed_data_that_are_made_are_no_road(workspace: Path) -> None:
    with (workspace / ROOTS["preprocessed"] / OTHER_CT / ".Moved_3d_fullres.plansguard.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert {what for _, _, what, _ in rows("-d", "2")} == {"plans"}


def test_an_unknown_dataset() -> None:
    done = run("status", "-d", "9")
    assert (done.code, done.out) == (2, "")
    assert "no dataset has the id 9" in done.err
