"""The weights that a migration names in its next commands, and a road takes."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.support.command import run
from tests.support.variants import ROOTS, place, put

GIVING, CASCADE = "Dataset001_PretrainCT", "Dataset005_CascadeCT"
PLANS = "preprocessed/nnUNetPlans.json"

pytestmark = pytest.mark.workspace(chdir=True)


@pytest.mark.usefixtures("workspace")
def test_next_commands_name_no_weights_of_another_dimension() -> None:
    """3d_fullres alone was trained: its weights do not load into 2d."""
    out = run("migrate", "-s", "1", "-t", "2", "-tp", "PretrainPlans", "-c", "2d", "--dry-run").out
    command = out.splitlines()[-1]
    assert command.startswith("  plansguard gate -- nnUNetv2_train 2 2d 0 -p PretrainPlans ")
    assert command.endswith(" -pretrained_weights CHECKPOINT")


@pytest.mark.parametrize(
    ("trained", "wanted", "fits"),
    [
        ("3d_fullres", "3d_fullres", True),
        ("3d_fullres_large_batch", "3d_fullres", True),
        ("3d_fullres", "3d_fullres_large_batch", True),
        ("3d_lowres", "3d_lowres", True),
        ("3d_lowres", "3d_fullres", False),
        ("3d_fullres", "3d_lowres", False),
        ("3d_cascade_fullres", "3d_fullres", False),
        ("3d_fullres", "3d_cascade_fullres", False),
        ("2d", "3d_fullres", False),
    ],
)
def test_next_commands_name_weights_of_another_configuration_that_fit(
    workspace: Path, trained: str, wanted: str, fits: bool
) -> None:
    """Of the same network, stage and input: the gate refuses a training with others."""
    added = {"inherits_from": "3d_fullres", "batch_size": 4}
    put(PLANS, "/configurations/3d_fullres_large_batch", added)(workspace, CASCADE)
    checkpoint = workspace / ROOTS["results"] / CASCADE / f"nnUNetTrainer__nnUNetPlans__{trained}/fold_0"
    shutil.copytree(next((workspace / ROOTS["results"] / GIVING).glob("nnUNetTrainer__*/fold_0")), checkpoint)
    shutil.copy(place(workspace, CASCADE, PLANS), checkpoint.with_name("plans.json"))
    lungs = ("--accept", "PG306", "--because", "other organs")
    done = run("migrate", "-s", "5", "-t", "1", "-tp", "PretrainPlans", "-c", wanted, *lungs, "--dry-run")
    assert done.code == 0, done.out + done.err
    (command,) = (line for line in done.out.splitlines() if f" nnUNetv2_train 1 {wanted} 0 " in line)
    weights = str(checkpoint / "checkpoint_final.pth") if fits else "CHECKPOINT"
    assert command.endswith(f" -pretrained_weights {weights}")
