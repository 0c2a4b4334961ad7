"""PG401 to PG403: what is an edit of migrated plans, and what is not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.command import run
from tests.support.moves import GIVING, MOVED, RECEIVING, move
from tests.support.variants import drop, put

FULLRES = "/configurations/3d_fullres"
KWARGS = f"{FULLRES}/architecture/arch_kwargs"
ADDED = "/configurations/3d_small"
OWN = {"PG401", "PG402", "PG403"}

pytestmark = [pytest.mark.deep, pytest.mark.workspace(GIVING, RECEIVING, chdir=True)]


def edits(*arguments: str) -> set[tuple[str, str]]:
    """Code and place of every finding about an edit of the migrated plans."""
    report = json.loads(run("check", "-d", "2", "-p", "PretrainPlans", *arguments, "--output", "json").out)
    return {(one["code"], one["pointer"]) for one in report["findings"] if one["code"] in OWN}


@pytest.mark.parametrize("options", [(), ("-c", "3d_fullres"), ("-c", "3d_small")])
@pytest.mark.parametrize(
    ("pointer", "value"),
    [
        (ADDED, {"inherits_from": "3d_fullres", "batch_size": 4}),
        (ADDED, {"inherits_from": "3d_fullres", "spacing": [3.0, 1.5, 1.5], "data_identifier": "PretrainPlans_small"}),
        (ADDED, "a copy of 3d_fullres"),
        (f"{FULLRES}/next_stage", None),
        (f"{FULLRES}/previous_stage", None),
        (f"{KWARGS}/nonlin_first", False),
        (f"{KWARGS}/dropout_op", None),
        ("/note", "a key that nnU-Net does not know"),
    ],
)
def test_additions_are_no_edits(workspace: Path, pointer: str, value: Any, options: tuple[str, ...]) -> None:
    """Configurations, unknown keys, and keys with the value that nnU-Net uses without them."""
    move()(workspace, RECEIVING)
    if value == "a copy of 3d_fullres":
        plans = json.loads((workspace / "nnUNet_preprocessed" / RECEIVING / "PretrainPlans.json").read_bytes())
        value = {**plans["configurations"]["3d_fullres"], "batch_size": 7}
    put(MOVED, pointer, value)(workspace, RECEIVING)
    if options == ("-c", "3d_small") and pointer != ADDED:
        put(MOVED, ADDED, {"inherits_from": "3d_fullres"})(workspace, RECEIVING)
    assert edits(*options) == set()


@pytest.mark.parametrize("configuration", ["2d", "3d_fullres"])
@pytest.mark.parametrize(
    ("key", "value", "code"),
    [
        ("batch_size", 9, "PG403"),
        ("spacing", [3.0] * 3, "PG402"),
        ("architecture/arch_kwargs/features_per_stage/0", 16, "PG401"),
        ("architecture/arch_kwargs/nonlin_first", True, "PG401"),
    ],
)
def test_edits_of_another_configuration(workspace: Path, configuration: str, key: str, value: Any, code: str) -> None:
    """They are reported for all configurations and for the edited one, and not with ``-c`` of another."""
    move()(workspace, RECEIVING)
    fitting = value[:2] if key == "spacing" and configuration == "2d" else value
    put(MOVED, f"/configurations/{configuration}/{key}", fitting)(workspace, RECEIVING)
    other = {"2d": "3d_fullres", "3d_fullres": "2d"}[configuration]
    assert {one for one, _ in edits()} == {code}
    assert edits("-c", configuration) == edits()
    assert edits("-c", other) == set()


def test_a_configuration_that_inherits_from_an_added_one(workspace: Path) -> None:
    """The added one is no edit, but what a migrated configuration takes over from it is."""
    move()(workspace, RECEIVING)
    put(MOVED, ADDED, {"batch_size": 7})(workspace, RECEIVING)
    put(MOVED, f"{FULLRES}/inherits_from", "3d_small")(workspace, RECEIVING)
    drop(MOVED, f"{FULLRES}/batch_size")(workspace, RECEIVING)
    assert edits() == {("PG403", f"{ADDED}/batch_size")}


def test_a_removed_configuration_is_no_edit_of_the_others(workspace: Path) -> None:
    move()(workspace, RECEIVING)
    drop(MOVED, "/configurations/2d")(workspace, RECEIVING)
    assert edits() == set()


@pytest.mark.parametrize(
    ("pointer", "value"),
    [
        (f"{FULLRES}/spacing/1", 0.7),
        (f"{FULLRES}/spacing", [1.0, 1.0, 1.0]),
        ("/foreground_intensity_properties_per_channel/0/mean", 64.0),
        (f"{FULLRES}/batch_size", 9),
        (f"{KWARGS}/features_per_stage/0", 16),
        (f"{FULLRES}/normalization_schemes/0", "ZScoreNormalization"),
    ],
)
def test_the_value_to_set_back(workspace: Path, pointer: str, value: Any) -> None:
    """It is printed with all digits: 0.8 for 0.800000011920929 is an edit as well."""
    move()(workspace, RECEIVING)
    put(MOVED, pointer, value)(workspace, RECEIVING)
    report = json.loads(run("check", "-d", "2", "-p", "PretrainPlans", "--output", "json").out)
    found = [(one["pointer"], one["fix"]) for one in report["findings"] if one["code"] in OWN]
    assert found
    for place, fix in found:
        put(MOVED, place, json.loads(fix.removeprefix("set it back to ").partition(", or ")[0]))(workspace, RECEIVING)
    assert edits() == set()
