"""The README shows what the demos print."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.support.command import run
from tests.support.demos import BLOCKS, README, SCRIPTS, Session, assert_shown, play
from tests.support.variants import ROOTS, lay_out

#: All demos except the whole road, which test_road.py runs.
every_script = pytest.mark.parametrize(
    "session",
    [
        "demo.py",
        "released_model.py",
        pytest.param("preprocessed_data.py", marks=[pytest.mark.nnunet, pytest.mark.slow]),
    ],
    indirect=True,
)


@pytest.fixture(scope="module")
def session(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Session:
    """Run one of the demos."""
    return play(request.param, tmp_path_factory.mktemp("checkout"))


@pytest.mark.parametrize("session", ["demo.py"], indirect=True)
def test_the_demo_shows_the_main_workflow(session: Session) -> None:
    """The road, migrated, no findings, a finding after an edit, the reversed move refused."""
    assert [(command.split()[1], code) for command, _, code in session.played] == [
        ("finetune", 0),
        ("migrate", 0),
        ("check", 0),
        ("check", 1),
        ("migrate", 1),
    ]
    _, migrated, green, red, refused = (output for _, output, _ in session.played)
    assert "Next:\n" in migrated
    assert "no findings in " in green.splitlines()[-1]
    assert re.search(r"PretrainPlans\.json:\d+:\d+\n", red)
    assert re.search(r'"spacing": \[1\.0, .*\n.* \^\^\^ 2\.5 when migrated', red)
    assert "fix: " in red
    assert "\nNothing was written." in refused


def test_the_readme_shows_every_demo() -> None:
    assert {script for script, _ in BLOCKS} == set(SCRIPTS.values())


@pytest.mark.slow
@every_script
def test_the_readme_shows_what_the_demos_print(session: Session) -> None:
    assert_shown(session)


@pytest.mark.parametrize("command", re.findall(r"run: plansguard (.+)", README))
def test_the_readmes_commands_for_ci_run(command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lay_out(tmp_path, "Dataset002_FinetuneCT")
    monkeypatch.chdir(tmp_path)
    assert run(*command.split()).code == 0


def test_the_readmes_python_runs(tmp_path: Path) -> None:
    (example,) = re.findall(r"^```python\n(.*?)^```$", README, re.DOTALL | re.MULTILINE)
    lay_out(tmp_path, "Dataset002_FinetuneCT")
    plans = tmp_path / ROOTS["preprocessed"] / "Dataset002_FinetuneCT" / "nnUNetPlans.json"
    document = json.loads(plans.read_bytes())
    document["configurations"]["3d_fullres"]["patch_size"][1] = 70
    plans.write_text(json.dumps(document))
    done = subprocess.run(
        [sys.executable, "-c", example],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        cwd=tmp_path,
        check=False,
    )
    assert done.stderr == ""
    assert done.stdout.startswith("error PG101 /configurations/3d_fullres/patch_size/1 patch_size [56, 70, 64] is not ")
