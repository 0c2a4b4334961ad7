"""Plans with a value of another kind at one place: every command answers with findings or one message."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support import checkpoints
from tests.support.command import run
from tests.support.models import CHECKPOINT
from tests.support.variants import FIXTURES, place

CT, OTHER_CT = "Dataset001_PretrainCT", "Dataset002_FinetuneCT"
PLANS = "preprocessed/nnUNetPlans.json"
FULLRES = "3d_fullres"
ODD: list[Any] = [None, True, 5, "x", [5], [0, 64, 64], {"0": 5}]
COMMANDS: dict[str, tuple[str, ...]] = {
    "preprocess": ("preprocess", "-d", "2", "-p", "nnUNetPlans", "-c", FULLRES, "-c", "2d", "--dry-run"),
    "check": ("check", "-d", "2", "-p", "nnUNetPlans", "-c", FULLRES, "-pretrained_weights", "weights.pth"),
    "fit": ("fit", str(CHECKPOINT), "-d", "2"),
}

pytestmark = [pytest.mark.workspace(CT, OTHER_CT, chdir=True), pytest.mark.slow]


def _places() -> Iterator[tuple[str, ...]]:
    plans = json.loads((FIXTURES / "workspace/nnUNet_preprocessed" / OTHER_CT / "nnUNetPlans.json").read_bytes())
    yield from ((key,) for key in plans)
    yield from (("configurations", FULLRES, key) for key in plans["configurations"][FULLRES])
    yield ("foreground_intensity_properties_per_channel", "0")
    yield ("foreground_intensity_properties_per_channel", "0", "mean")


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("keys", [*_places()], ids=".".join)
def test_odd_values(command: str, keys: tuple[str, ...], workspace: Path) -> None:
    path = place(workspace, OTHER_CT, PLANS)
    healthy = path.read_bytes()
    dataset_json = json.loads(path.with_name("dataset.json").read_bytes())
    checkpoints.write(Path("weights.pth"), json.loads(healthy), dataset_json)
    for odd in ODD:
        plans = json.loads(healthy)
        *parents, last = keys
        owner = plans
        for key in parents:
            owner = owner[key]
        owner[last] = odd
        path.write_text(json.dumps(plans))
        done = run(*COMMANDS[command])  # raises what is not caught
        assert "PG000" not in done.out + done.err
        assert done.code in (0, 1, 2)
