"""Options that would change nothing are refused or reported: none is silently ignored."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.rules.pg7_run.trainings import CT, READY
from tests.support.command import run
from tests.support.models import CHECKPOINT
from tests.support.moves import GIVING
from tests.support.variants import ROOTS

pytestmark = pytest.mark.workspace(CT, GIVING, edits=READY, chdir=True)

PLANS = f"{ROOTS['preprocessed']}/{GIVING}/nnUNetPlans.json"
IN_NAME = "train 2 3d_fullres 0 -tr nnUNetTrainer_80steps"
UNDO = "migrate -t 2 --undo"
REFUSED = {
    "steps --total 100 -p nnUNetPlans": "-p nnUNetPlans is of a dataset, and none is named",
    "steps --total 100 -c 3d_fullres": "-c 3d_fullres is of a dataset, and none is named",
    "steps --total 100 -f 0": "-f 0 is of a dataset, and none is named",
    "check -d 2 --seed 1": "--seed 1 selects the cases of --data sample",
    "check -d 2 --data all --seed 12345": "--seed 12345 selects the cases of --data sample",
    "check -d 2 --data none --dask tcp://x": "--data none leaves nothing to read on tcp://x",
    "preprocess -d 2 -c 2d -np 2 --dask tcp://x": "-np 2 is for processes of this machine",
    "check -d 2 --fix --diff": "--fix writes what --diff only shows",
    "check -d 2 --verbose --quiet": "--verbose and --quiet exclude each other",
    "extract weights.pth --force": "--force replaces a file, and none is named",
    "extract weights.pth -p another": "weights.pth has no plans named another",
    "migrate -s 1 -t 2 -tp X --onto nnUNetPlans": "--onto is for --workflow graft",
    "migrate -s 1 -t 2 -tp X --workflow graft --reader SimpleITKIO": "a graft keeps the reader",
    f"migrate -s {PLANS} -t 2 -tp X -sp Other": "Other",
    "migrate -s weights.pth -t 2 -tp X -sp Other": "Other",
    "migrate -s 1 -t 2 -tp X --because reason": "each needs the other",
    **{
        f"{UNDO} {option}": "--undo takes only -t, -tp and --force"
        for option in (
            *(
                "-s 1",
                "-sp nnUNetPlans",
                "--workflow finetune",
                "--onto X",
                "--reader X",
                "-c 2d",
                "--dry-run",
                "--quiet",
            ),
            *("--accept PG308", "--because x", "--output json=undo.json", "--settings x.json", "--verbose"),
        )
    },
    f"{IN_NAME} --lr 0.001": "--lr 0.001 would change nothing",
    f"{IN_NAME} --per-epoch 250": "--per-epoch 250 would change nothing",
    f"{IN_NAME} --warmup 5 --window-lr": "--window-lr --warmup 5 would change nothing",
    f"{IN_NAME} --validation 10": "--validation 10 would change nothing",
    "train 2 3d_fullres 0 --steps 100 --epochs 5": "name either --steps or --epochs",
    "train 2 3d_fullres 0 --steps 100 --disable_checkpointing --max-time 1h": "--max-time asks for a checkpoint",
    "train 2 3d_fullres 0 --steps 100 --disable_checkpointing --save-every 5": "--save-every asks for a checkpoint",
    "fit weights.pth": "name the datasets with -d, or give --all",
    "fit weights.pth -d 2 --all": "name the datasets with -d, or give --all",
    "gate --dry-run --from-scratch -- nnUNetv2_plan_experiment -d 2": "--from-scratch is an option for nnUNetv2_train",
    "gate --dry-run --because x -- nnUNetv2_train 2 3d_fullres 0": "each needs the other",
}


@pytest.mark.parametrize("command", REFUSED)
def test_refused(workspace: Path, command: str) -> None:
    shutil.copy(CHECKPOINT, "weights.pth")
    done = run(*command.split())
    assert (done.code, REFUSED[command] in done.err) == (2, True), done.err
    assert not Path("undo.json").exists()


@pytest.mark.parametrize("option", ["--data headers", "--gpu-memory 24"])
def test_reported_by_the_gate(workspace: Path, option: str) -> None:
    """Before every command of a script they do no harm."""
    done = run("gate", "--dry-run", *option.split(), "--", "nnUNetv2_plan_experiment", "-d", "1")
    assert f"plansguard: {option} has no effect on nnUNetv2_plan_experiment\n" in done.err
    done = run("gate", "--dry-run", *option.split(), "--", "nnUNetv2_train", "2", "3d_fullres", "0")
    assert "has no effect" not in done.err
