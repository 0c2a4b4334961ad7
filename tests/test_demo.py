"""The README's story is what the demo really prints: neither can go its own way."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.command import run
from tests.conftest import ROOT
from tests.variants import FIXTURES, ROOTS, lay_out

README = (ROOT / "README.md").read_text(encoding="utf-8")
#: Heading in the README -> the demo whose session is shown there.
SCRIPTS = {
    "Three minutes": "demo.py",
    "Weights from elsewhere": "released_model.py",
    "What the arrays say": "preprocessed_data.py",
}
BLOCKS = [
    (SCRIPTS[section.partition("\n")[0]], block)
    for section in README.split("\n## ")
    for block in re.findall(r"^```console\n(.*?)^```$", section, re.DOTALL | re.MULTILINE)
]
every_script = pytest.mark.parametrize(
    "session",
    [
        "demo.py",
        "released_model.py",
        pytest.param("preprocessed_data.py", marks=[pytest.mark.nnunet, pytest.mark.slow]),
    ],
    indirect=True,
)


class Session(NamedTuple):
    """A demo and what it played: command, output, exit code."""

    script: str
    played: list[tuple[str, str, int]]


def steps(text: str) -> list[tuple[str, str]]:
    """(command, what it printed) of a session in which every command begins with ``$ ``."""
    parts = re.split(r"^\$ (.*)\n", text, flags=re.MULTILINE)[1:]
    return list(zip(parts[::2], parts[1::2], strict=True))


@pytest.fixture(scope="module")
def session(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Session:
    """(command, output, exit code) of a demo, run on a copy: it writes beside itself."""
    here = tmp_path_factory.mktemp("checkout")
    shutil.copytree(ROOT / "demo", here / "demo", ignore=shutil.ignore_patterns("workspace"))
    shutil.copytree(FIXTURES / "workspace", here / "fixtures" / "workspace")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("nnUNet_")}
    done = subprocess.run(
        [sys.executable, here / "demo" / request.param],
        capture_output=True,
        text=True,
        encoding="utf-8",
        env={**environment, "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "utf-8"},
        cwd=here,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    played = []
    for command, printed in steps(done.stdout):
        output, ending, _ = printed.partition("(exit code ")
        if ending:
            played.append((command, output, int(printed[len(output) + len(ending)])))
    return Session(request.param, played)


def as_pattern(printed: str) -> str:
    """What the README shows, as a pattern in which a line ``...`` stands for any lines."""
    return "".join(r"(?:.*\n)+?" if line == "...\n" else re.escape(line) for line in printed.splitlines(keepends=True))


@pytest.mark.parametrize("session", ["demo.py"], indirect=True)
def test_the_demo_tells_the_whole_story(session: Session) -> None:
    """Migrated, green, red after a hand edit, the reversed move refused."""
    assert [(command.split()[1], code) for command, _, code in session.played] == [
        ("migrate", 0),
        ("check", 0),
        ("check", 1),
        ("migrate", 1),
    ]
    migrated, green, red, refused = (output for _, output, _ in session.played)
    assert "Next:\n" in migrated
    assert "no findings in " in green.splitlines()[-1]
    assert re.search(r"PretrainPlans\.json:\d+:\d+\n", red)
    assert re.search(r"was \[2\.5, .*and is \[1\.0, .*\n", red)
    assert "fix: " in red
    assert "\nNothing was written." in refused


def test_the_readme_shows_every_demo() -> None:
    assert {script for script, _ in BLOCKS} == set(SCRIPTS.values())


@every_script
def test_the_readme_shows_what_the_demos_print(session: Session) -> None:
    """Letter by letter, in the same order; only a line ``...`` may stand for lines that are left out."""
    blocks = [block for script, block in BLOCKS if script == session.script]
    for block in blocks:
        assert steps(block), "a console block begins with a command"
        for command, printed in steps(block):
            outputs = [output for one, output, _ in session.played if one == command]
            assert any(re.fullmatch(as_pattern(printed), output) for output in outputs), f"$ {command}\n{outputs}"


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
