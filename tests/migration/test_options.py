"""`migrate -c`, `--accept` and output that cannot be written."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.command import run
from tests.support.moves import GIVING, MOVED, RECEIVING
from tests.support.variants import PLANS, place, put

RECORD = "preprocessed/PretrainPlans.plansguard.json"
MOVE = ("migrate", "-s", "1", "-t", "2", "-sp", "nnUNetPlans", "-tp", "PretrainPlans")

pytestmark = pytest.mark.workspace(GIVING, RECEIVING, chdir=True)


@pytest.mark.parametrize(("named", "code"), [((), 1), (("2d",), 1), (("3d_fullres",), 0), (("2d", "3d_fullres"), 1)])
def test_only_named_configurations_are_judged(workspace: Path, named: tuple[str, ...], code: int) -> None:
    """The file has all of them."""
    put(PLANS, "/configurations/2d/normalization_schemes", [])(workspace, GIVING)
    assert run(*MOVE, *[word for name in named for word in ("-c", name)]).code == code
    if code == 0:
        written = json.loads(place(workspace, RECEIVING, MOVED).read_bytes())
        assert {"2d", "3d_fullres"} <= set(written["configurations"])


def test_the_written_file_does_not_depend_on_c(workspace: Path) -> None:
    assert run(*MOVE).code == 0
    whole = place(workspace, RECEIVING, MOVED).read_bytes()
    assert run("migrate", "-t", "2", "--undo").code == 0
    done = run(*MOVE, "-c", "2d")
    assert "-c 2d" in done.out.partition("Next:")[2]
    assert place(workspace, RECEIVING, MOVED).read_bytes() == whole


def test_the_data_of_every_named_configuration_are_preprocessed(workspace: Path) -> None:
    """One of them is trained first; the data of the others were left out."""
    done = run(*MOVE, "-c", "2d", "-c", "3d_fullres")
    assert "plansguard preprocess -d 2 -p PretrainPlans -c 3d_fullres -c 2d\n" in done.out.partition("Next:")[2]


def test_unknown_configuration(workspace: Path) -> None:
    assert run(*MOVE, "-c", "4d").code == 2
    assert not place(workspace, RECEIVING, MOVED).exists()


def test_accepted_findings_are_recorded(workspace: Path) -> None:
    put(PLANS, "/configurations/3d_fullres/spacing/0", 2.0)(workspace, GIVING)
    assert run(*MOVE).code == 1
    assert run(*MOVE, "--accept", "PG418", "--because", "the weights are others").code == 0
    record = json.loads(place(workspace, RECEIVING, RECORD).read_bytes())
    assert {one["because"] for one in record["accepted"]} == {"the weights are others"}
    assert run("check", "-d", "2", "-p", "PretrainPlans").code == 0
    assert run("migrate", "-t", "2", "--undo").code == 0


@pytest.mark.parametrize("code", ["PG412", "would-overwrite", "PG000", "PG001", "PG999"])
def test_what_cannot_be_accepted(workspace: Path, code: str) -> None:
    before = place(workspace, RECEIVING, PLANS).read_bytes()
    done = run("migrate", "-s", "1", "-t", "2", "-tp", "nnUNetPlans", "--accept", code, "--because", "x")
    assert done.code == 2
    assert place(workspace, RECEIVING, PLANS).read_bytes() == before


@pytest.mark.parametrize("word", ["PG412", "would-overwrite"])
@pytest.mark.parametrize("how", ["ignore", "severity"])
def test_settings_do_not_let_plans_be_overwritten(workspace: Path, word: str, how: str) -> None:
    entry = {"ignore": [{"rule": word, "reason": "on purpose"}]} if how == "ignore" else {"severity": {word: "info"}}
    place(workspace, RECEIVING, "preprocessed/plansguard.json").write_text(json.dumps(entry))
    before = place(workspace, RECEIVING, PLANS).read_bytes()
    done = run("migrate", "-s", "1", "-t", "2", "-tp", "nnUNetPlans")
    assert done.code == 2
    assert f"{word} can neither be ignored nor have another severity here" in done.err
    assert "--force replaces the plans and keeps a backup" in done.err
    assert place(workspace, RECEIVING, PLANS).read_bytes() == before


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize("undoing", [False, True])
def test_output_that_cannot_be_written(workspace: Path, undoing: bool) -> None:
    """What was done is reported on standard error, exit code 2."""
    arguments = ["migrate", "-t", "2", "--undo"] if undoing else [*MOVE]
    if undoing:
        assert run(*MOVE).code == 0
    with Path("/dev/full").open("w") as full:
        command = [sys.executable, "-m", "plansguard", *arguments]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, env=os.environ, check=False)
    assert place(workspace, RECEIVING, MOVED).is_file() is not undoing
    assert ("was undone" if undoing else "the plans were written") in done.stderr
    assert "Traceback" not in done.stderr
    assert done.returncode == 2


def test_a_report_that_cannot_be_written(workspace: Path) -> None:
    done = run(*MOVE, "--output", "json=no/such/folder/report.json")
    assert done.code == 2
    assert place(workspace, RECEIVING, MOVED).is_file() is ("the plans were written" in done.err)
