"""What `plansguard check` expects of a folder: by its place and its content, not by its name."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from plansguard.core.report import Report
from plansguard.rules import RULES
from plansguard.rules.engine.needs import NEEDS
from plansguard.subjects.discovery import dataset_in
from tests.support.command import run
from tests.support.variants import FIXTURES, ROOTS, place, point_to, remove

CT, OTHER_CT, CASCADE = "Dataset001_PretrainCT", "Dataset002_FinetuneCT", "Dataset005_CascadeCT"
PREPROCESSED = FIXTURES / "workspace" / ROOTS["preprocessed"] / OTHER_CT
MODEL = "results/nnUNetTrainer__nnUNetPlans__3d_fullres"

pytestmark = [pytest.mark.usefixtures("nowhere"), pytest.mark.workspace(CT, OTHER_CT, folder="w", variables=False)]

#: Where a clone may hold plans; the folder's name says nothing about a training.
PLACES = ["plans", OTHER_CT, f"{ROOTS['preprocessed']}/{OTHER_CT}", f"nested/{OTHER_CT}"]
CONTENTS = {
    "plans": ["nnUNetPlans.json"],
    "plans and dataset.json": ["nnUNetPlans.json", "dataset.json"],
    "several plans": ["nnUNetPlans.json", "nnUNetResEncUNetMPlans.json", "dataset.json"],
    "with splits": ["nnUNetPlans.json", "dataset.json", "splits_final.json"],
}


@pytest.mark.parametrize("where", PLACES)
@pytest.mark.parametrize("names", CONTENTS.values(), ids=list(CONTENTS))
def test_plans_in_a_repository_need_nothing_beside_them(where: str, names: list[str]) -> None:
    folder = Path("clone", where)
    folder.mkdir(parents=True)
    for name in names:
        shutil.copy(PREPROCESSED / name, folder / name)
    raw = Path("clone", ROOTS["raw"], OTHER_CT)  # beside nnUNet_preprocessed, and without images
    raw.mkdir(parents=True)
    shutil.copy(PREPROCESSED / "dataset.json", raw)
    for arguments in ([folder], ["clone"], [folder / "nnUNetPlans.json"], [folder / name for name in names]):
        done = run("check", *arguments, "--output", "json", "--fail-on", "info")
        assert (done.code, done.json["findings"]) == (0, []), done.out + done.err


def _variable(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ROOTS["preprocessed"], str(root))


def _data(root: Path, _: pytest.MonkeyPatch) -> None:
    (root / OTHER_CT / "nnUNetPlans_3d_fullres").mkdir()


def _labels(root: Path, _: pytest.MonkeyPatch) -> None:
    (root / OTHER_CT / "gt_segmentations").mkdir()


@pytest.mark.parametrize("prove", [_variable, _data, _labels])
@pytest.mark.parametrize(("missing", "code"), [("dataset.json", "PG201"), ("dataset_fingerprint.json", "PG302")])
def test_a_folder_that_nnunet_trains_on_needs_them(
    prove: Callable[[Path, pytest.MonkeyPatch], None], missing: str, code: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(PREPROCESSED, f"anywhere/{OTHER_CT}")
    Path("anywhere", OTHER_CT, missing).unlink()
    prove(Path("anywhere").absolute(), monkeypatch)
    done = run("check", f"anywhere/{OTHER_CT}", "--data", "none", "--output", "json")
    assert code in {finding["code"] for finding in done.json["findings"]}


# --- not checked ---


def _skipped(*arguments: str | Path) -> dict[str, set[str]]:
    """The reasons of skipped rules, by code."""
    skipped: dict[str, set[str]] = {}
    for entry in run("check", *arguments, "--output", "json").json["not_checked"]:
        skipped.setdefault(entry["code"], set()).add(entry["reason"])
    return skipped


def test_only_rules_that_the_role_can_need_are_not_checked(workspace: Path) -> None:
    """A rule that can never apply to a role is not listed; one that could with more input is."""
    loose = Path("plans")
    loose.mkdir()
    shutil.copy(PREPROCESSED / "nnUNetPlans.json", loose)
    for role, folder in {
        "loose": loose,
        "model": place(workspace, CT, MODEL),
        "raw": place(workspace, CT, "raw"),
        "preprocessed": place(workspace, CT, "preprocessed"),
    }.items():
        assert dataset_in(folder).role == role
        allowed = {
            rule.info.code
            for rule in RULES
            if role in rule.roles and all(role in NEEDS[need].roles for need in rule.needs)
        }
        assert set(_skipped(folder)) <= allowed, role


def test_what_a_folder_could_still_get_is_not_checked(workspace: Path) -> None:
    shutil.copytree(PREPROCESSED, "plans")
    for name in ("dataset.json", "dataset_fingerprint.json"):
        Path("plans", name).unlink()
    skipped = _skipped("plans")
    assert "there is no dataset.json beside the plans: put it there" in skipped["PG304"]
    assert "there is no dataset_fingerprint.json beside the plans: put it there" in skipped["PG306"]
    assert not {"PG202", "PG205", "PG404", "PG504", "PG514"} & set(skipped)
    skipped = _skipped(place(workspace, OTHER_CT, "preprocessed"))
    assert "PG504" in skipped  # could be preprocessed


def test_a_model_folder_lacks_no_data(workspace: Path) -> None:
    skipped = _skipped(place(workspace, CT, MODEL))
    reasons = set().union(*skipped.values()) if skipped else set()
    assert not any("preprocessed" in reason or "raw" in reason for reason in reasons)


# --- no plans ---


def test_no_plans_is_not_no_findings(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    point_to(workspace, monkeypatch)
    for name in ("nnUNetPlans.json", "nnUNetResEncUNetMPlans.json"):
        remove(f"preprocessed/{name}")(workspace, OTHER_CT)
    shutil.rmtree(place(workspace, CT, "preprocessed"))
    raw = place(workspace, CT, "raw")
    for arguments in (["-d", "2"], ["-d", "1"], [raw], [raw / "dataset.json"]):
        done = run("check", *arguments)
        assert done.code == 3, done.out
        assert done.out.splitlines()[-1].startswith("there are no plans to check: no findings in ")
        assert run("check", *arguments, "--allow-empty").code == 0
        assert "no plans to check" in run("check", *arguments, "--output", "github").out


def test_what_planning_writes_is_not_asked_for(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After the fingerprint there is nothing else yet; dataset.json is copied by the planning."""
    point_to(workspace, monkeypatch)
    for file in place(workspace, OTHER_CT, "preprocessed").iterdir():
        if file.name != "dataset_fingerprint.json":
            file.unlink()
    done = run("check", "-d", "2")
    assert (done.code, "put it there" in done.out) == (3, False)
    assert "not checked: there is no dataset.json yet: nnU-Net's planning writes it (" in done.out


def test_a_fault_without_plans_is_a_fault(workspace: Path) -> None:
    raw = place(workspace, CT, "raw")
    (raw / "dataset.json").write_text('{"labels": {"0": "background", "1": "heart"}, "numTraining": 7}')
    assert run("check", raw, "--allow-empty").code == 1


def test_a_library_report_says_it_too(workspace: Path) -> None:
    from plansguard.commands.check import check

    report: Report = check([place(workspace, CT, "raw")])
    assert (report.lacks_plans, report.exit_code()) == (True, 3)
    assert not check([workspace]).lacks_plans
