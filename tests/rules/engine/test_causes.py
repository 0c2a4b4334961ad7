"""One cause, one finding: an edit of the plans, an edit of the labels, and what follows from them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from plansguard.commands.check import check
from plansguard.render import render
from plansguard.rules import RULES
from plansguard.rules.engine.acceptance import Accepted, accept
from tests.support.command import run
from tests.support.data_folders import FLAT, GROUND_TRUTH, append, preprocessed, touch
from tests.support.moves import GIVING, MOVED, RECEIVING, move
from tests.support.preprocessing_records import RECORDED
from tests.support.variants import PLANS, in_both, place, put
from tests.support.weights import CHECKPOINT

PATCH = put(MOVED, "/configurations/3d_fullres/patch_size/0", 40)
IGNORE = {"rule": "PG403", "reason": "smaller GPU"}


@pytest.fixture
def patch_edited(workspace: Path) -> list[str]:
    """Edit the patch size of migrated plans after two trainings; return the arguments of a check with their weights."""
    move()(workspace, RECEIVING)
    for trainer in ("nnUNetTrainer", "nnUNetTrainer_100epochs"):
        model = place(workspace, RECEIVING, f"results/{trainer}__PretrainPlans__3d_fullres")
        model.mkdir(parents=True)
        shutil.copy(place(workspace, RECEIVING, MOVED), model / "plans.json")
    PATCH(workspace, RECEIVING)
    weights = place(workspace, GIVING, CHECKPOINT)
    return ["-d", "2", "-p", "PretrainPlans", "-c", "3d_fullres", "-pretrained_weights", str(weights)]


@pytest.mark.workspace(GIVING, RECEIVING)
def test_an_edit_of_the_patch_is_one_finding(patch_edited: list[str]) -> None:
    done = run("check", *patch_edited)
    blocks = [line for line in done.out.splitlines() if line.startswith(("error[", "warning[", "info["))]
    assert sorted(block[:14] for block in blocks) == ["warning[PG403]", "warning[PG606]"]
    assert done.out.count("  also PG404") == 2
    assert done.out.count("  also PG625") == 1
    assert done.out.splitlines()[-1].startswith("2 warnings in ")


@pytest.mark.workspace(GIVING, RECEIVING)
def test_consequences_are_in_the_json_and_come_back_with_an_ignored_cause(
    patch_edited: list[str], workspace: Path
) -> None:
    report = run("check", *patch_edited, "--output", "json").json
    (cause,) = (finding for finding in report["findings"] if finding["code"] == "PG403")
    assert cause["consequence_of"] is None
    followers = [finding["code"] for finding in report["findings"] if finding["consequence_of"] == cause["fingerprint"]]
    assert sorted(followers) == ["PG404", "PG404", "PG625"]
    settings = place(workspace, RECEIVING, "preprocessed/plansguard.json")
    settings.write_text(json.dumps({"ignore": [IGNORE]}))
    ignored = run("check", *patch_edited, "--output", "json").json
    shown = {finding["code"] for finding in ignored["findings"] if finding["consequence_of"] is None}
    assert shown == {"PG403", "PG404", "PG606", "PG625"}
    assert "warning[PG404]" in run("check", *patch_edited).out


@pytest.mark.workspace(GIVING, RECEIVING)
def test_an_accepted_cause_lets_no_consequence_through(patch_edited: list[str]) -> None:
    report = check(datasets=["2"], plans="PretrainPlans", configuration="3d_fullres", weights=patch_edited[-1])
    accepted = accept(report, [Accepted("PG403", "smaller GPU")])
    assert "PG404" in {cause.finding.code for cause in accepted.causes}
    assert "warning[PG404]" in render(accepted, "text")


@pytest.mark.workspace(GIVING, RECEIVING)
def test_a_forgotten_p_is_one_finding(workspace: Path) -> None:
    """The default plans neither fit the weights nor have data, for the one reason that they are not meant."""
    for edit in (move(), preprocessed("PretrainPlans_3d_fullres")):
        edit(workspace, RECEIVING)
    training = ["nnUNetv2_train", "2", "3d_fullres", "0", "-device", "cpu"]
    training += ["-pretrained_weights", str(place(workspace, GIVING, CHECKPOINT))]
    done = run("gate", "--dry-run", "--data", "headers", "--", *training)
    blocks = [line for line in done.out.splitlines() if line.startswith("error[")]
    assert (done.code, [block[:12] for block in blocks]) == (1, ["error[PG624]"])
    assert [done.out.count(f"  also {code}") for code in ("PG623", "PG504")] == [1, 1]
    assert "fix: add -p PretrainPlans\n" in done.out
    with_p = run("gate", "--dry-run", "--data", "headers", "--", *training, "-p", "PretrainPlans")
    assert not [code for code in ("PG504", "PG623", "PG624") if code in with_p.out]


@pytest.mark.workspace(GIVING, RECEIVING)
@pytest.mark.parametrize(
    ("edits", "fields"),
    [
        ((("3d_fullres/spacing/0", 1.0),), "spacing"),
        ((("3d_fullres/spacing/0", 1.0), ("3d_fullres/patch_size/0", 8)), "spacing"),
        ((("3d_fullres/use_mask_for_norm/0", True), ("3d_fullres/patch_size/0", 24)), "use_mask_for_norm"),
        ((("3d_fullres/resampling_fn_data_kwargs/order", 1),), "resampling_fn_data_kwargs.order"),
    ],
)
def test_weights_that_saw_other_input_are_a_consequence_of_the_edits(
    workspace: Path, edits: tuple[tuple[str, object], ...], fields: str
) -> None:
    """Each edit is named by PG402 or PG403, also where several differ, and where other files name other channels."""
    for edit in (move(), *in_both("/channel_names/0", "ct"), *in_both("/channel_names/0", "CT")):
        edit(workspace, RECEIVING)
    for pointer, value in edits:
        put(MOVED, f"/configurations/{pointer}", value)(workspace, RECEIVING)
    weights = place(workspace, GIVING, CHECKPOINT)
    report = check(datasets=["2"], plans="PretrainPlans", configuration="3d_fullres", weights=str(weights))
    (finding,) = (one for one in report.findings if one.code == "PG625")
    assert f"were trained on other input: {fields}" in finding.message
    (cause,) = (one for one in report.causes if finding in one.consequences)
    assert cause.finding.code in ("PG402", "PG403")


@pytest.mark.workspace(GIVING, RECEIVING)
def test_the_patch_alone_does_not_make_the_same_input(workspace: Path) -> None:
    """Where more than the patch differs, its correction is not said to be enough."""
    weights = str(place(workspace, GIVING, CHECKPOINT))
    changed = {"inherits_from": "3d_fullres", "patch_size": [8, 32, 32], "spacing": [2.2, 0.8, 0.8]}
    move()(workspace, RECEIVING)
    put(MOVED, "/configurations/mine", changed)(workspace, RECEIVING)
    report = check(datasets=["2"], plans="PretrainPlans", configuration="mine", weights=weights)
    (finding,) = (one for one in report.findings if one.code == "PG625")
    rows = {row[0]: row[3] for row in finding.values["table"][1:]}
    assert rows == {"spacing": "info", "patch_size": "warning"}
    assert not finding.fix.startswith("for the same input: set patch_size")
    assert "plansguard migrate" in finding.fix


@pytest.mark.workspace(RECEIVING, edits=(*RECORDED, preprocessed(FLAT)))
def test_a_label_added_is_one_finding(workspace: Path) -> None:
    """The record of the data, two configurations, the labels' copies and the times of the files show one change."""
    for edit in (
        *in_both("/labels", {"background": 0, "kidney": 1, "tumour": 2, "cyst": 3}),
        append(f"{GROUND_TRUTH}/fine_001.nii.gz"),
        touch("raw/labelsTr/fine_001.nii.gz", 60),
        put(PLANS, "/configurations/again", {"inherits_from": "3d_fullres", "batch_size": 3}),
    ):
        edit(workspace, RECEIVING)
    report = check(datasets=["2"], plans="nnUNetPlans")
    assert [cause.finding.code for cause in report.causes if cause.severity.rank > 0] == ["PG540"]
    codes = sorted(finding.code for finding in report.causes[0].consequences)
    assert set(codes) == {"PG509", "PG512", "PG513"}
    assert codes.count("PG509") >= 2


@pytest.mark.workspace(RECEIVING, edits=RECORDED)
def test_a_new_name_is_not_the_cause_of_other_labels(workspace: Path) -> None:
    """The fix of the one is to leave the data as they are, that of the other to preprocess again."""
    for edit in (
        *in_both("/labels", {"background": 0, "renal": 1}),
        append(f"{GROUND_TRUTH}/fine_001.nii.gz"),
    ):
        edit(workspace, RECEIVING)
    report = check(datasets=["2"], plans="nnUNetPlans")
    assert {(cause.finding.code, str(cause.severity)) for cause in report.causes} == {
        ("PG540", "info"),
        ("PG513", "error"),
    }


def test_rules_follow_rules_that_there_are() -> None:
    """Otherwise a renamed code would bring back every consequence in silence. No two rules follow each other."""
    follows = {rule.info.code: set(rule.follows) for rule in RULES}
    for code, others in follows.items():
        assert others <= follows.keys()
        for other in others - {code}:
            assert code not in follows[other]
