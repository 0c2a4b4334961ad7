"""PG307 to PG310 on plans whose spacing, patch and axes belong to weights."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from plansguard.commands.check import check
from plansguard.core.report import Finding
from tests.rules.pg3_fingerprint.geometry_variants import FOR_SLICES_LAST, MICROSCOPY
from tests.rules.pg3_fingerprint.test_channels import MODEL, TRAINED
from tests.support.command import run
from tests.support.moves import GIVING, MOVED, RECEIVING
from tests.support.variants import PLANS, Edit, place, put

CONFIGURATIONS = "/configurations"
LARGE = [64, 96, 96]  # twice the images along the first axis
MOVE = ("migrate", "-s", "1", "-t", "2", "-sp", "nnUNetPlans", "-tp", "PretrainPlans")

MODEL_PLANS = f"{MODEL}/plans.json"

pytestmark = pytest.mark.workspace(GIVING, RECEIVING)


def too_large(*paths: Path) -> dict[str, Finding]:
    """The findings PG308 of Dataset002 and its migrated plans, or of a folder, by configuration."""
    datasets = [] if paths else [RECEIVING]
    findings = check(paths, datasets=datasets, plans=None if paths else "PretrainPlans").findings
    return {str(one.configuration): one for one in findings if one.code == "PG308"}


@pytest.fixture
def migrated(workspace: Path) -> Path:
    """The workspace after a migration of plans with a large patch, which is for information already then."""
    put(PLANS, f"{CONFIGURATIONS}/3d_fullres/patch_size", LARGE)(workspace, GIVING)
    report = json.loads(run(*MOVE, "--output", "json").out)
    assert ("PG308", "info") in {(one["code"], one["severity"]) for one in report["findings"]}
    return workspace


def test_a_patch_that_was_migrated_is_for_information(migrated: Path) -> None:
    finding = too_large()["3d_fullres"]
    assert finding.severity == "info"
    assert finding.fix == "nothing: it is the patch of the migrated plans"


def test_the_median_image_is_of_as_many_voxels_as_nnunet_makes(workspace: Path) -> None:
    """Rounded as in compute_new_shape: 76.8 mm are 59.1 voxels of 1.3 mm."""
    for field, value in (("spacing", [1.6, 1.3, 1.3]), ("patch_size", [96] * 3)):
        put(PLANS, f"{CONFIGURATIONS}/3d_fullres/{field}", value)(workspace, RECEIVING)
    assert (
        "larger than the median image of 51 x 59 x 59 at 1.6 x 1.3 x 1.3 mm"
        in run("check", "-d", "2", "-p", "nnUNetPlans").out
    )


@pytest.mark.parametrize(
    ("spacing", "shape", "voxels"),
    [
        pytest.param(1.0, 49, 24, id="24.5"),  # half a voxel is rounded to an even number
        pytest.param(1.1, 44, 24, id="24.2"),
        pytest.param(1.2, 41, 25, id="24.6"),
        pytest.param(1.0, 51, 26, id="25.5"),
    ],
)
def test_the_median_image_that_is_shown_decides(workspace: Path, spacing: float, shape: int, voxels: int) -> None:
    fingerprint = place(workspace, RECEIVING, "preprocessed/dataset_fingerprint.json")
    content = json.loads(fingerprint.read_bytes())
    cases = len(content["spacings"])
    content.update(spacings=[[spacing] * 3] * cases, shapes_after_crop=[[shape] * 3] * cases)
    fingerprint.write_text(json.dumps(content))
    put(PLANS, f"{CONFIGURATIONS}/3d_fullres/spacing", [2.0] * 3)(workspace, RECEIVING)
    largest = voxels * 3 // 2

    def found(size: int) -> list[Finding]:
        put(PLANS, f"{CONFIGURATIONS}/3d_fullres/patch_size", [size] * 3)(workspace, RECEIVING)
        findings = check(datasets=[RECEIVING], plans="nnUNetPlans", configuration="3d_fullres").findings
        return [one for one in findings if one.code == "PG308"]

    assert found(largest) == []
    (finding,) = found(largest + 1)
    image = f"{voxels} x {voxels} x {voxels}"
    assert f"the median image of {image} at" in finding.message
    assert f"towards {image} (" in finding.fix


@pytest.mark.parametrize(("spacing", "effect"), [([0.3] * 3, "times as large"), ([24.0] * 3, "keeps one voxel in")])
def test_another_number_of_voxels_is_described_for_both_directions(
    workspace: Path, spacing: list[float], effect: str
) -> None:
    """Preprocessing fails for none of them by necessity, and never for want of voxels."""
    put(PLANS, f"{CONFIGURATIONS}/3d_fullres/spacing", spacing)(workspace, RECEIVING)
    text = " ".join(run("check", "-d", "2", "-p", "nnUNetPlans").out.partition("[PG307]")[2].split())
    assert effect in text
    assert "images of many more voxels may not fit into memory; images of many fewer lose the detail to learn" in text
    assert "6 feet under" not in text


@pytest.mark.parametrize(
    ("name", "value"),
    [
        pytest.param("3d_fullres/patch_size", [80, 96, 96], id="edited"),
        pytest.param("mine", {"inherits_from": "3d_fullres", "patch_size": [80, 96, 96]}, id="added"),
    ],
)
def test_another_patch_is_a_warning(migrated: Path, name: str, value: object) -> None:
    put(MOVED, f"{CONFIGURATIONS}/{name}", value)(migrated, RECEIVING)
    assert too_large()[name.partition("/")[0]].severity == "warning"


def test_a_patch_of_trained_weights_is_not_reported(migrated: Path) -> None:
    for edit in TRAINED:
        edit(migrated, RECEIVING)
    assert too_large(place(migrated, RECEIVING, "results")) == {}


@pytest.mark.parametrize(
    "edit",
    [
        pytest.param(put(MODEL_PLANS, f"{CONFIGURATIONS}/3d_fullres/spacing", [0.3, 0.1, 0.1]), id="spacing"),
        pytest.param(put(MODEL_PLANS, "/transpose_forward", [2, 0, 1]), id="axes"),
    ],
)
def test_plans_of_trained_weights_are_not_to_be_changed(migrated: Path, edit: Edit) -> None:
    for one in (*TRAINED, edit):
        one(migrated, RECEIVING)
    findings = check([place(migrated, RECEIVING, "results")]).findings
    assert not {one.code for one in findings} & {"PG307", "PG308", "PG309", "PG310"}
    assert not any("plan_experiment" in one.fix for one in findings)


@pytest.mark.workspace(GIVING, RECEIVING, MICROSCOPY)
@pytest.mark.parametrize(
    ("spacing", "severity"),
    [
        pytest.param([1.0, 1.0, 1.0], "info", id="as -overwrite_target_spacing 1 1 1"),
        pytest.param([0.5, 3.0, 0.5], "warning", id="as the images"),
    ],
)
def test_axes_of_an_isotropic_target_spacing_are_for_information(
    workspace: Path, spacing: list[float], severity: str
) -> None:
    for edit in (*FOR_SLICES_LAST, put(PLANS, f"{CONFIGURATIONS}/3d_fullres/spacing", spacing)):
        edit(workspace, MICROSCOPY)
    [finding] = [one for one in check([], datasets=[MICROSCOPY]).findings if one.code == "PG310"]
    assert finding.severity == severity
