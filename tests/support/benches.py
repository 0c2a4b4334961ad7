"""A workspace and stand-ins for nnU-Net's commands, which ``plansguard gate`` judges and starts."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.support.command import Done, run, start
from tests.support.variants import place, put

CT, OTHER_CT, MR, SLIDES = (
    "Dataset001_PretrainCT",
    "Dataset002_FinetuneCT",
    "Dataset003_TwoChannelMR",
    "Dataset004_Slides2D",
)
CASCADE = "Dataset005_CascadeCT"
PLANS = "preprocessed/nnUNetPlans.json"
TRAIN = ("nnUNetv2_train", "2", "3d_fullres", "0", "-device", "cpu")
STEPS = "nnUNetTrainer_500steps"
NAMES = (
    *("nnUNetv2_train", "nnUNetv2_preprocess", "nnUNetv2_plan_experiment", "nnUNetv2_plan_and_preprocess"),
    *("nnUNetv2_extract_fingerprint", "nnUNetv2_move_plans_between_datasets", "nnUNetv2_predict"),
    *("nnUNetv2_predict_from_modelfolder", "nnUNetv2_find_best_configuration"),
)
STAND_IN = """#!{python}
import json, os, pathlib, signal, sys, time
started = {{"argv": sys.argv, "pid": os.getpid(), "environment": dict(os.environ)}}
log = pathlib.Path({log!r})
log.with_suffix(".tmp").write_text(json.dumps(started))
log.with_suffix(".tmp").replace(log)
print("stand-in: started", flush=True)
time.sleep(float(os.environ.get("STAND_IN_SLEEPS", "0")))
sys.exit(int(os.environ.get("STAND_IN_EXITS", "0")))
"""
posix_only = pytest.mark.skipif(os.name == "nt", reason="only there does a command take the place of another")


class Bench:
    """A workspace, and a stand-in for each of nnU-Net's commands."""

    def __init__(self, workspace: Path) -> None:
        self.root, self.bin, self.log = workspace, workspace.with_name("bin"), workspace.with_name("log.json")
        self.bin.mkdir()
        for name in NAMES:
            program = self.bin / name
            program.write_text(STAND_IN.format(python=sys.executable, log=str(self.log)), encoding="utf-8")
            program.chmod(0o755)

    @property
    def started(self) -> dict[str, Any] | None:
        """How the stand-in was started; None if it was not."""
        return json.loads(self.log.read_bytes()) if self.log.exists() else None

    def place(self, file: str, dataset: str = OTHER_CT) -> Path:
        return place(self.root, dataset, file)


def judged(*words: str | Path, options: Sequence[str] = ()) -> Done:
    """The result of the gate, in this process."""
    return run("gate", "--dry-run", "--data", "headers", "--output", "json", *options, "--", *words)


def codes(*words: str | Path, options: Sequence[str] = ()) -> set[tuple[str, str]]:
    """(code, severity) of every finding that is not ignored."""
    done = judged(*words, options=options)
    assert done.code in (0, 1, 2), done.err  # 2: something was not judged, such as a damaged checkpoint
    return {(one["code"], one["severity"]) for one in done.json["findings"] if one["ignored"] is None}


def gate(*words: str | Path, options: Sequence[str] = (), **more: Any) -> subprocess.CompletedProcess[str]:
    """``plansguard gate -- WORDS`` as a process of its own."""
    return start("gate", "--data", "headers", *options, "--", *words, **more)


def spoil(bench: Bench) -> None:
    """A fault that no training of Dataset002 passes: PG101."""
    put(PLANS, "/configurations/3d_fullres/patch_size/1", 70)(bench.root, OTHER_CT)


def images(bench: Bench, *names: str) -> list[str]:
    """-i and -o, with empty files of these names among the images."""
    folder = bench.root.parent / "images"
    folder.mkdir(exist_ok=True)
    for name in names or ("new_000_0000.nii.gz", "new_001_0000.nii.gz"):
        (folder / name).touch()
    return ["-i", str(folder), "-o", "out", "-device", "cpu"]
