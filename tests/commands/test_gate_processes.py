"""Numbers of processes that stop nnU-Net after it has begun: the gate reports them before."""

from __future__ import annotations

import os
import shlex
import subprocess
from pathlib import Path

import pytest

from plansguard.nnunet import runtime
from plansguard.nnunet.constants import DA_PROCESSES
from tests.support.command import run

CT = "Dataset002_FinetuneCT"
pytestmark = pytest.mark.workspace(CT, chdir=True)
PLAN = ("nnUNetv2_plan_experiment", "-d", "2", "-overwrite_plans_name", "Mine")


@pytest.mark.parametrize(
    "words",
    [
        ("nnUNetv2_preprocess", "-d", "2", "-c", "2d", "-np", "0"),
        ("nnUNetv2_preprocess", "-d", "2", "-c", "2d", "3d_fullres", "-np", "2", "0"),
        ("nnUNetv2_extract_fingerprint", "-d", "2", "-np", "0"),
        ("nnUNetv2_plan_and_preprocess", "-d", "2", "-npfp", "0"),
        ("nnUNetv2_plan_and_preprocess", "-d", "2", "-np", "-1"),
    ],
)
def test_no_process(workspace: Path, words: tuple[str, ...]) -> None:
    """nnU-Net deletes the old data first, and then opens no pool of processes."""
    done = run("gate", "--dry-run", "--", *words)
    assert (done.code, "nnU-Net works with 1 process or more" in done.err) == (2, True), done.err


@pytest.mark.parametrize(
    ("words", "before"),
    [
        (PLAN, {DA_PROCESSES: "0"}),
        (PLAN, {DA_PROCESSES: "-2"}),
        (PLAN, {DA_PROCESSES: "none"}),
        (("env", f"{DA_PROCESSES}=0", *PLAN), {}),
    ],
)
def test_planning_without_threads(
    workspace: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], before: dict[str, str]
) -> None:
    monkeypatch.delenv(DA_PROCESSES, raising=False)
    for name, value in before.items():
        monkeypatch.setenv(name, value)
    done = run("gate", "--dry-run", "--output", "json", "--", *words)
    (found,) = (one for one in done.json["findings"] if one["code"] == "PG756")
    os.environ.pop(DA_PROCESSES, None)  # as the printed command does
    env, unset, variable, program, *typed = shlex.split(found["fix"].partition(": ")[2])
    assert (env, unset, variable, program) == ("env", "-u", DA_PROCESSES, "plansguard")
    again = run(*typed)
    assert "PG756" not in {one["code"] for one in again.json["findings"]}


def test_extracting_a_fingerprint_needs_no_thread(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(DA_PROCESSES, "0")
    assert run("gate", "--dry-run", "--", "nnUNetv2_extract_fingerprint", "-d", "2").code == 0


@pytest.mark.nnunet
@pytest.mark.slow
@pytest.mark.parametrize("planner", ["ExperimentPlanner", "nnUNetPlannerResEncM"])
def test_nnunet_cannot_plan_then(workspace: Path, planner: str) -> None:
    pytest.importorskip("nnunetv2", reason="runs the real nnunetv2")
    program = runtime.command(PLAN[0])
    assert program is not None
    command = [program, *PLAN[1:], "-pl", planner]
    done = subprocess.run(
        command, env={**os.environ, DA_PROCESSES: "0"}, capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode
    assert "set_num_threads expects a positive integer" in done.stderr
