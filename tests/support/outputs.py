"""The main outputs of the commands on a terminal, in one workspace, to be compared with stored ones.

``python -m tests.support.outputs`` stores them in tests/render/outputs: look at what changed before you commit it.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from pathlib import Path

from tests.conftest import ROOT
from tests.support.command import start
from tests.support.models import CHECKPOINT, FIXTURE, pack
from tests.support.terminal import on_terminal
from tests.support.variants import FIXTURES, ROOTS, put

GIVING, RECEIVING = "Dataset001_PretrainCT", "Dataset002_FinetuneCT"
STORED = ROOT / "tests/render/outputs"
MOVED = "preprocessed/PretrainPlans.json"
PREPROCESSED = f"{ROOTS['preprocessed']}/{RECEIVING}"
#: name -> the command. Those of the machine (doctor, env) and of trainings are left out.
OUTPUTS = {
    "help": ("--help",),
    "help-of-check": ("check", "--help"),
    "check-healthy": ("check", "-d", "3"),
    "check": ("check", "-d", "2", "-p", "PretrainPlans"),
    "check-all": ("check", "--fail-on", "info"),
    "check-concise": ("check", "-d", "2", "-p", "PretrainPlans", "--output", "concise"),
    "check-markdown": ("check", "-d", "2", "-p", "PretrainPlans", "--output", "markdown"),
    "check-gitlab": ("check", "-d", "2", "-p", "PretrainPlans", "--output", "gitlab"),
    "check-verbose": ("check", "-d", "2", "-p", "PretrainPlans", "--verbose"),
    "migrate": ("migrate", "-s", "1", "-t", "2", "-tp", "Other", "--dry-run"),
    "migrate-refused": ("migrate", "-s", "2", "-t", "1", "-sp", "PretrainPlans", "-tp", "Back"),
    "fit": ("fit", "checkpoint_final.pth", "-d", "2", "-d", "3"),
    "fit-all": ("fit", "checkpoint_final.pth", "model.zip", "--all"),
    "show": ("show", "model.zip"),
    "show-plans": ("show", f"{PREPROCESSED}/nnUNetPlans.json"),
    "diff": ("diff", f"{PREPROCESSED}/nnUNetPlans.json", f"{PREPROCESSED}/PretrainPlans.json"),
    "steps": ("steps", "--total", "50000", "-d", "2", "-c", "3d_fullres"),
    "explain": ("explain", "PG101"),
    "gate": ("gate", "--dry-run", "--", "nnUNetv2_train", "2", "3d_fullres", "0", "-device", "cpu"),
    "an-error": ("check", "-d", "9"),
}


def prepare(folder: Path) -> dict[str, str]:
    """Lay out the workspace in a folder: migrated plans with an edit, weights, a model. Return nnU-Net's variables."""
    shutil.copytree(FIXTURES / "workspace", folder, dirs_exist_ok=True)
    variables = {name: name for name in ROOTS.values()}
    start("migrate", "-s", "1", "-t", "2", "-tp", "PretrainPlans", cwd=folder, environment=variables)
    put(MOVED, "/configurations/3d_fullres/spacing/0", 1.0)(folder, RECEIVING)
    put("preprocessed/nnUNetPlans.json", "/configurations/3d_fullres/patch_size/1", 42)(folder, RECEIVING)
    shutil.copy(CHECKPOINT, folder / "checkpoint_final.pth")
    pack(folder / "model.zip", FIXTURE)
    return variables


def shown(name: str, folder: Path, variables: dict[str, str], columns: int, **environment: str) -> str:
    """Run one of the commands in the workspace and return what the terminal shows."""
    return on_terminal(*OUTPUTS[name], columns=columns, environment={**variables, **environment}, folder=folder)


def main() -> None:
    """Store all outputs: 80 columns without colours."""
    os.environ["PATH"] = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))
    STORED.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        variables = prepare(Path(folder))
        for name in OUTPUTS:
            text = shown(name, Path(folder), variables, 80, NO_COLOR="1")
            (STORED / f"{name}.txt").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
