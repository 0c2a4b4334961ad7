"""PG304: entries that nnU-Net does not read; PG305, PG306: plans that weights or a fine-tuning need as they are."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from plansguard.commands.check import check
from plansguard.core.report import Severity
from tests.rules.pg3_fingerprint.channels_variants import CT, INTENSITIES, statistics
from tests.support.benches import codes, judged
from tests.support.command import run
from tests.support.moves import GIVING, MOVED, move
from tests.support.variants import PLANS, Edit, copy, in_both, place, put

#: The files of a trained model beside the dataset, with the plans that were migrated.
MODEL = "results/nnUNetTrainer__PretrainPlans__3d_fullres"
TRAINED = tuple(
    copy(source, f"{MODEL}/{target}")
    for source, target in (
        (MOVED, "plans.json"),
        ("preprocessed/dataset.json", "dataset.json"),
        ("preprocessed/dataset_fingerprint.json", "dataset_fingerprint.json"),
    )
)


def foreign(plans: str) -> Edit:
    """Give the plans statistics of images on another scale."""
    return put(plans, f"{INTENSITIES}/0", statistics(shift=1024))


def shifted(dataset: Path, shift: int = 1024) -> None:
    """Give a dataset's fingerprint the statistics of images on another scale."""
    path = dataset / "dataset_fingerprint.json"
    value = json.loads(path.read_bytes())
    value[INTENSITIES.removeprefix("/")]["0"] = statistics(shift=shift)
    path.write_text(json.dumps(value))


@pytest.mark.workspace(CT, GIVING)
@pytest.mark.parametrize(
    ("workflow", "fix"), [("finetune", "the weights expect"), ("pretrain", "the fine-tuning expects")]
)
def test_migrated_plans_keep_their_statistics(workspace: Path, workflow: str, fix: str) -> None:
    move(workflow)(workspace, CT)
    shifted(place(workspace, CT, MOVED).parent)
    (finding,) = (one for one in check(datasets=[CT], plans="PretrainPlans").findings if one.code == "PG306")
    assert finding.severity is Severity.ERROR
    assert finding.fix.startswith(f"{fix} the plans' values: keep them")


@pytest.mark.workspace(CT)
@pytest.mark.parametrize("shift", [40, 1024])
def test_the_share_that_is_clipped_is_given(workspace: Path, shift: int) -> None:
    """And no other amount: what becomes constant may be a quarter of an image, or all of it."""
    put(PLANS, f"{INTENSITIES}/0", statistics(shift=shift))(workspace, CT)
    text = " ".join(run("check", "-d", "2", "-p", "nnUNetPlans").out.partition("[PG306]")[2].split())
    assert re.match(r"CT channel 0: the plans' range \S+ \S+ keeps only \d+% of this dataset's", text)
    assert "most of" not in text


@pytest.mark.workspace(CT, GIVING)
def test_with_an_ignore_label_foreign_statistics_are_no_error(workspace: Path) -> None:
    """nnU-Net's fingerprint counts the ignored voxels as foreground, which may be air."""
    for edit in in_both("/labels", {"background": 0, "kidney": 1, "ignore": 2}):
        edit(workspace, CT)
    move()(workspace, CT)
    shifted(place(workspace, CT, MOVED).parent)
    (finding,) = (one for one in check(datasets=[CT], plans="PretrainPlans").findings if one.code == "PG306")
    assert finding.severity is not Severity.ERROR
    assert finding.fix.startswith("nothing, if only the voxels labelled ignore differ")
    assert [(one.location.pointer, one.what) for one in finding.related][1:] == [
        ("/labels/ignore", "counted as foreground")
    ]


@pytest.mark.workspace(CT, GIVING)
@pytest.mark.parametrize("workflow", ["finetune", "pretrain"])
def test_expected_statistics_are_reported_once(workspace: Path, workflow: str) -> None:
    """By a check, for information, and by no command that follows."""
    move(workflow)(workspace, CT)
    shifted(place(workspace, CT, MOVED).parent, 40)
    options = ("-p", "PretrainPlans", "-c", "3d_fullres")
    reports = {
        "check": run("check", "-d", "2", *options, "--output", "json"),
        "gate": judged("nnUNetv2_train", "2", "3d_fullres", "0", *options[:2], "-device", "cpu"),
        "preprocess": judged("nnUNetv2_preprocess", "-d", "2", "-plans_name", "PretrainPlans", "-c", "3d_fullres"),
    }
    found = {
        command: [one["severity"] for one in done.json["findings"] if one["code"] == "PG306"]
        for command, done in reports.items()
    }
    assert found == {"check": ["info"], "gate": [], "preprocess": []}
    put(MOVED, f"{INTENSITIES}/0/mean", 64.0)(workspace, CT)  # no longer those of the migration
    assert "PG306" in {code for code, _ in codes("nnUNetv2_train", "2", "3d_fullres", "0", *options[:2])}


@pytest.mark.workspace(CT, GIVING)
@pytest.mark.parametrize(
    ("edit", "code"),
    [
        pytest.param(foreign(f"{MODEL}/plans.json"), "PG306", id="statistics"),
        pytest.param(put(f"{MODEL}/dataset.json", "/channel_names/0", "MRI"), "PG305", id="channel"),
    ],
)
def test_plans_of_a_trained_model_are_not_planned_again(workspace: Path, edit: Edit, code: str) -> None:
    """What was fine-tuned with a warning is not refused when it predicts."""
    for one in (move(), *TRAINED, foreign(f"{MODEL}/plans.json"), edit):
        one(workspace, CT)
    findings = [one for one in check([place(workspace, CT, MODEL)]).findings if one.code in ("PG305", "PG306")]
    assert code in {one.code for one in findings}
    assert all(one.severity is Severity.WARNING for one in findings)
    assert not any("plan_experiment" in one.fix for one in findings)


@pytest.mark.workspace(CT)
def test_a_scheme_that_only_one_configuration_writes_may_be_kept(workspace: Path) -> None:
    variation = {"inherits_from": "3d_fullres", "normalization_schemes": ["ZScoreNormalization"]}
    put(PLANS, "/configurations/3d_z", {**variation, "data_identifier": "nnUNetPlans_3d_z"})(workspace, CT)
    (finding,) = (one for one in check(datasets=[CT]).findings if one.code == "PG305")
    assert finding.severity is Severity.WARNING
    assert finding.fix == "nothing, if it is chosen; else delete normalization_schemes from 3d_z"


@pytest.mark.workspace(CT)
@pytest.mark.parametrize(
    ("key", "entries", "severity"),
    [
        ("normalization_schemes", ["CTNormalization"] * 2, Severity.WARNING),
        ("normalization_schemes", [], Severity.ERROR),
        ("use_mask_for_norm", [False, False], Severity.WARNING),
        ("use_mask_for_norm", [False, True], Severity.ERROR),  # training masks a channel that is not there
    ],
)
def test_entries_beyond_the_channels(workspace: Path, key: str, entries: list[object], severity: Severity) -> None:
    put("preprocessed/nnUNetPlans.json", f"/configurations/3d_fullres/{key}", entries)(workspace, CT)
    found = [one.severity for one in check(datasets=[CT], plans="nnUNetPlans").findings if one.code == "PG304"]
    assert found == [severity]
