"""The commands in fixes: complete, and replaced by what must be done first where they would be refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from plansguard.commands.check import check
from plansguard.nnunet import runtime
from plansguard.rules import RULES
from plansguard.rules.engine.declare import Rule
from tests.support import standin
from tests.support.command import run
from tests.support.data_folders import FLAT, GROUND_TRUTH, append, both, preprocessed
from tests.support.moves import GIVING, MOVED, RECEIVING, move
from tests.support.preprocessing_records import RECORDED
from tests.support.variants import DATASET_JSON, FINGERPRINT, PLANS, RESENC, Edit, drop, place, put, remove


def fix_of(code: str, plans: str | None = None) -> str:
    """The first fix of a rule in a check of Dataset002."""
    findings = check(datasets=["2"], plans=plans).findings
    return next(finding.fix for finding in findings if finding.code == code)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.info.code)
def test_no_fix_preprocesses_without_a_record(rule: Rule) -> None:
    assert "nnUNetv2_preprocess" not in rule.info.fix


COMMAND = "plansguard preprocess -d 2 -p nnUNetPlans"
COMPLETE: dict[str, tuple[str, tuple[Edit, ...], str]] = {
    "dataset.json": ("PG202", (put(DATASET_JSON, "/labels/organ", 3),), f", then {COMMAND} -c 2d -c 3d_fullres; if"),
    "labels": ("PG513", (append(f"{GROUND_TRUTH}/fine_001.nii.gz"),), f"again: {COMMAND} -c 2d -c 3d_fullres"),
    "a folder": ("PG507", (put(PLANS, "/configurations/2d/spacing", [2.4, 2.4]),), f"with them: {COMMAND} -c 2d"),
    "the fingerprint": (
        "PG303",
        (drop(FINGERPRINT, "/spacings/0"), drop(FINGERPRINT, "/shapes_after_crop/0")),
        f"--clean && nnUNetv2_plan_experiment -d 2 -pl ExperimentPlanner && {COMMAND} -c 2d -c 3d_fullres",
    ),
}


@pytest.mark.workspace(RECEIVING, edits=both(remove(RESENC)))
@pytest.mark.parametrize(("code", "edits", "expected"), COMPLETE.values(), ids=list(COMPLETE))
def test_commands_are_complete(workspace: Path, code: str, edits: tuple[Edit, ...], expected: str) -> None:
    for edit in edits:
        edit(workspace, RECEIVING)
    assert expected in fix_of(code)


@pytest.fixture
def installed(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A command for preprocessing, also where nnU-Net is not installed; here it is only judged."""
    program = str(standin.install(workspace))
    monkeypatch.setattr(runtime, "command", lambda name: program)


@pytest.mark.usefixtures("installed")
@pytest.mark.workspace(GIVING, RECEIVING)
def test_migrated_plans_that_were_edited_are_not_to_be_preprocessed(workspace: Path) -> None:
    """`plansguard preprocess` refuses them (PG402); once the edit is undone, the fix is the command again."""
    move()(workspace, RECEIVING)
    preprocessed("PretrainPlans_3d_fullres")(workspace, RECEIVING)
    before = place(workspace, RECEIVING, MOVED).read_bytes()
    put(MOVED, "/configurations/3d_fullres/spacing/0", 9.0)(workspace, RECEIVING)
    fix = fix_of("PG507", plans="PretrainPlans")
    assert fix == "undo the edit of the plans, or preprocess with them: first do what PG402 says"
    assert run("preprocess", "-d", "2", "-p", "PretrainPlans", "-c", "3d_fullres", "--dry-run").code == 1
    place(workspace, RECEIVING, MOVED).write_bytes(before)
    assert "plansguard preprocess -d 2 -p PretrainPlans -c 3d_fullres" in fix_of("PG507", plans="PretrainPlans")


ADDED = {"inherits_from": "3d_fullres", "batch_size": 4}
CONFIGURATIONS_CHANGED = {
    "added": put(MOVED, "/configurations/3d_fullres_bs4", ADDED),
    "removed": drop(MOVED, "/configurations/2d"),
}


@pytest.mark.usefixtures("installed")
@pytest.mark.workspace(GIVING, RECEIVING)
@pytest.mark.parametrize("edit", CONFIGURATIONS_CHANGED.values(), ids=list(CONFIGURATIONS_CHANGED))
def test_migrated_plans_with_other_configurations_can_be_preprocessed(workspace: Path, edit: Edit) -> None:
    """A configuration that was added or removed is no edit: `plansguard preprocess` accepts the plans."""
    move()(workspace, RECEIVING)
    preprocessed(FLAT)(workspace, RECEIVING)
    edit(workspace, RECEIVING)
    fix = fix_of("PG504", plans="PretrainPlans")
    assert fix.startswith("plansguard preprocess -d 2 -p PretrainPlans -c 3d_fullres")
    assert run("preprocess", "-d", "2", "-p", "PretrainPlans", "-c", "3d_fullres", "--dry-run").code == 0


@pytest.mark.workspace(RECEIVING, edits=(*RECORDED[2:], preprocessed(FLAT)))
def test_a_folder_that_other_plans_read_is_not_to_be_preprocessed(workspace: Path) -> None:
    put(PLANS, "/configurations/3d_fullres/spacing/0", 1.0)(workspace, RECEIVING)
    fix = "set it back, or preprocess again: first do what PG501 says"
    assert fix_of("PG540") == fix
    assert fix_of("PG540", plans="nnUNetPlans") == f"{fix}, shown by plansguard check -d 2"
    other = fix_of("PG501", plans="nnUNetPlans")
    assert "then plansguard preprocess -d 2 -p nnUNetResEncUNetMPlans -c 3d_fullres" in other
