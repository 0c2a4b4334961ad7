"""Tab in bash, zsh and fish, in a terminal, after ``plansguard --install-completion``."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.support.terminals import Terminal, terminal

CT, OTHER_CT = "Dataset001_PretrainCT", "Dataset002_FinetuneCT"
#: Erases the line that is being typed, and Tab.
KILL, TAB = "\x15", "\t"
#: On a busy machine the program may not answer in its second.
ATTEMPTS = 20

START = {
    "bash": ["bash", "--noprofile", "-i"],
    "zsh": ["zsh", "-i"],
    "fish": ["fish", "--private"],
}

#: What is typed before Tab, what the line then contains, and the help text that zsh and fish show.
ONE = {
    "check -d Dataset002": OTHER_CT,
    "check -d 2 -p nnUNetR": "nnUNetResEncUNetMPlans",
    "check -d 2 -p nnUNetPlans -c 3d": "3d_fullres",
    "migrate -s 1 -t 2 -sp nnUNetR": "nnUNetResEncUNetMPlans",
    "train 2 3d_": "3d_fullres",
    "derive -d 2 -p nnUNetPlans --set 3d_fullres.batch_s": "3d_fullres.batch_size=",
    "derive -d 2 -p nnUNetPlans --set 3d_fullres.resampling_fn_seg=resample_t": "_seg=resample_torch_fornnunet",
    "train 2 3d_fullres a": "all",
    "explain reversed-d": "reversed-direction",
    "steps -tr nnUNetTrainer_500s": "nnUNetTrainer_500steps",
    "check --output con": "concise",
    "diff a b --fail-on weights,inp": "weights,input",
    "schema fing": "fingerprint",
}
MANY = {
    "check -d ": (["1", "2", CT, OTHER_CT], []),
    "check -d 2 -p ": (["nnUNetPlans", "nnUNetResEncUNetMPlans"], ["2d, 3d_fullres"]),
    "explain PG40": (["PG401", "PG405"], ["migrated-input-field-edited: "]),
    "train 2 2d ": (["0", "4", "all"], ["every case to train on"]),
}

pytestmark = [pytest.mark.slow, pytest.mark.workspace(CT, OTHER_CT)]


@pytest.fixture(params=list(START))
def shell(request: pytest.FixtureRequest, workspace: Path, tmp_path: Path) -> Iterator[tuple[str, Terminal]]:
    """A shell in which completion was installed, in an empty home, with ``plansguard`` on its path."""
    name = str(request.param)
    if shutil.which(name) is None:
        pytest.skip(f"{name} is not installed; on Debian and Ubuntu: make install-programs")
    (workspace / "nnUNet_results" / OTHER_CT / "nnUNetTrainer_500steps__nnUNetPlans__2d").mkdir(parents=True)
    home = tmp_path / "home"
    programs = home / "bin"
    programs.mkdir(parents=True)
    program = programs / "plansguard"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m plansguard "$@"\n', encoding="utf-8")
    program.chmod(0o755)
    (home / ".zshrc").touch()  # zsh asks a new user what to write into it
    environment = {
        **{variable: value for variable, value in os.environ.items() if not variable.startswith(("ZDOTDIR", "XDG_"))},
        "HOME": str(home),
        "PATH": f"{programs}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "LC_ALL": "C.UTF-8",
    }
    with terminal(START[name], environment, cwd=workspace) as installing:
        installing.type("plansguard --install-completion\r")
        assert installing.shows([f"{name} completion installed in"], 60), installing.text
    with terminal(START[name], environment, cwd=workspace) as started:
        started.type("echo rea''dy\r")
        assert started.shows(["ready"], 60), started.text
        yield name, started


def pressed(started: Terminal, line: str, tabs: str, expected: list[str]) -> str:
    """Type a line and Tab until all is shown that is expected; return what is shown."""
    for _ in range(ATTEMPTS):
        started.type(KILL)
        started.read(0.2)
        started.clear()
        started.type(f"plansguard {line}{tabs}")
        if started.shows(expected, 3):
            break
    else:
        pytest.fail(f"{line!r} shows no {expected}:\n{started.text}")
    return started.text


def test_tab_completes_values(shell: tuple[str, Terminal]) -> None:
    name, started = shell
    for line, completed in ONE.items():
        shown = pressed(started, line, TAB, [completed])
        assert "Traceback" not in shown
    for line, (values, helps) in MANY.items():
        tabs = TAB * 3 if name == "bash" else TAB * 2  # the first completes what is common to all
        shown = pressed(started, line, tabs, [*values, *(helps if name != "bash" else [])])
        assert "Traceback" not in shown


def test_files_are_completed_where_we_know_no_value(shell: tuple[str, Terminal], workspace: Path) -> None:
    _, started = shell
    (workspace / "checkpoint_final.pth").touch()
    pressed(started, "show checkp", TAB, ["checkpoint_final.pth"])
    pressed(started, "migrate -t 2 -tp New -s checkp", TAB, ["checkpoint_final.pth"])


def test_names_of_folders_are_not_evaluated(shell: tuple[str, Terminal], workspace: Path) -> None:
    _, started = shell
    for name in ("Dataset007_$(touch evaluated)", "Dataset008_\\$(touch evaluated)", "Dataset009_`touch evaluated`"):
        (workspace / "nnUNet_preprocessed" / name).mkdir()
    pressed(started, "check -d ", TAB * 2, [CT, OTHER_CT])
    assert not (workspace / "evaluated").exists()
