"""Printed commands typed in a shell, with the real nnU-Net: from a dataset without data to a fine-tuning and back.

One workspace, whose name has a blank. Each test begins where the one before it has ended; what a user adds is said.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.support.printed import commands, filled
from tests.support.variants import PLANS, ROOTS, lay_out, place

#: test_situations.py types the same commands with stand-ins for nnU-Net.
pytestmark = [pytest.mark.slow, pytest.mark.nnunet, pytest.mark.long]

GIVING, RECEIVING = "Dataset001_PretrainCT", "Dataset002_FinetuneCT"
SETTINGS = {"nnUNet_n_proc_DA": "0", "nnUNet_def_n_proc": "1", "nnUNet_compile": "f", "CUDA_VISIBLE_DEVICES": ""}
TRAIN = "plansguard train 1 3d_fullres 0 -p SmallPlans --per-epoch 1 --validation 1 -device cpu"


class Shell:
    """A shell in a workspace with nnU-Net's variables."""

    def __init__(self, root: Path) -> None:
        self.root = root
        path = os.pathsep.join((str(root / "bin"), sysconfig.get_path("scripts"), os.environ["PATH"]))
        folders = {name: str(root / name) for name in ROOTS.values()}
        self.environment = {**os.environ, **SETTINGS, **folders, "PATH": path, "PYTHONPATH": str(ROOT)}
        program = root / "bin/plansguard"
        program.parent.mkdir()
        program.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m plansguard "$@"\n')
        program.chmod(0o755)

    def type(self, line: str, code: int = 0) -> str:
        """Type a line; return what it prints, after a look at its exit code."""
        done = subprocess.run(
            ["sh", "-c", line],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            text=True,
            env=self.environment,
            cwd=self.root,
            check=False,
        )
        assert done.returncode == code, f"{line}\n{done.stdout}"
        return done.stdout

    def place(self, file: str, dataset: str) -> Path:
        return place(self.root, dataset, file)


def after_next(printed: str) -> list[str]:
    """The lines after *Next*."""
    lines = printed.rpartition("Next:\n")[2].splitlines()
    return [line.strip() for line in lines if line.startswith("  ")]


def fix_of(code: str, printed: str) -> str:
    """The command in the fix of a finding."""
    finding = printed.partition(f"[{code}]")[2].partition("fix: ")[2].partition("\n")[0]
    ((*_, words),) = commands(finding)
    return shlex.join(words)


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Shell:
    """Two datasets without data and results, and plans for a tiny network and coarse voxels."""
    pytest.importorskip("nnunetv2", reason="runs the real nnunetv2")
    root = lay_out(tmp_path_factory.mktemp("a workspace"), GIVING, RECEIVING)
    shutil.rmtree(root / ROOTS["results"])
    (root / ROOTS["results"]).mkdir()
    plans = json.loads(place(root, GIVING, PLANS).read_bytes())
    configuration = plans["configurations"]["3d_fullres"]
    configuration.update(spacing=[5.0, 3.2, 3.2], patch_size=[16, 32, 32], batch_size=2)
    configuration.update(median_image_size_in_voxels=[16, 24, 24], data_identifier="SmallPlans_3d_fullres")
    kwargs = configuration["architecture"]["arch_kwargs"]
    kwargs.update(n_stages=3, features_per_stage=[4, 8, 8], n_conv_per_stage=[1] * 3, n_conv_per_stage_decoder=[1] * 2)
    kwargs.update(kernel_sizes=[[3, 3, 3]] * 3, strides=[[1, 1, 1], [2, 2, 2], [2, 2, 2]])
    plans.update(plans_name="SmallPlans", configurations={"3d_fullres": configuration})
    place(root, GIVING, "preprocessed/SmallPlans.json").write_text(json.dumps(plans, indent=4))
    return Shell(root)


def test_data_are_made_and_trained(shell: Shell) -> None:
    """PG741 prints the preprocessing; after it the training is not refused."""
    preprocess = fix_of("PG741", shell.type(f"{TRAIN} --steps 2", code=1))
    assert preprocess == "plansguard preprocess -d 1 -p SmallPlans -c 3d_fullres"
    shell.type(preprocess)
    verify, predict = after_next(shell.type(f"{TRAIN} --steps 2"))
    shell.type(verify)
    (shell.root / "IMAGES").mkdir()
    image = next(shell.place("raw/imagesTr", GIVING).iterdir())
    shutil.copy(image, shell.root / "IMAGES")
    shell.type(predict)
    assert [path.name for path in (shell.root / "SEGMENTATIONS").glob("*.nii.gz")] == [
        image.name.replace("_0000.nii.gz", ".nii.gz")
    ]


def test_a_finished_training_is_extended(shell: Shell) -> None:
    """``--c`` with more steps than were made has nothing to continue; the fix extends the training."""
    extend = fix_of("PG722", shell.type(f"{TRAIN} --steps 4 --c", code=1))
    assert "--extend-to 4" in extend
    assert "Starting a new training" not in shell.type(extend)
    (checkpoint,) = shell.place("results", GIVING).glob("*_from2_*/fold_0/checkpoint_final.pth")
    assert "error[" not in shell.type(f"plansguard check {shlex.quote(str(checkpoint.parents[1]))}")


def test_plans_are_moved_and_fine_tuned(shell: Shell) -> None:
    """The user adds ``-device cpu``, as the gate says, and ends the training of 250,000 steps after the first."""
    migrate = "plansguard migrate -s 1 -t 2 -sp SmallPlans -tp PretrainPlans"
    preprocess, check, train = after_next(shell.type(migrate))
    shell.type(preprocess)
    shell.type(check)
    assert "without a GPU: -device cpu" in shell.type(train, code=1)
    words = shlex.split(f"{train} -device cpu")
    training = subprocess.Popen(words, env=shell.environment, cwd=shell.root, stdout=subprocess.PIPE, text=True)
    assert training.stdout is not None
    for line in training.stdout:
        if "Epoch 0" in line:
            training.send_signal(signal.SIGTERM)
    assert training.wait() == 75
    assert len([*shell.place("results", RECEIVING).glob("*/fold_0/checkpoint_latest.pth")]) == 1


def test_plans_are_extracted_and_moved(shell: Shell) -> None:
    """The user names the dataset and the plans."""
    checkpoint = min(shell.place("results", GIVING).glob("*/fold_0/checkpoint_final.pth"))
    show, migrate = after_next(shell.type(f"plansguard extract {shlex.quote(str(checkpoint))} -o 'the plans.json'"))
    shell.type(show)
    shell.type(shlex.join(filled(shlex.split(migrate))))
    assert shell.place("preprocessed/NewPlans.json", RECEIVING).is_file()


def test_a_migration_is_undone(shell: Shell) -> None:
    """PG751 prints it before a planning that would overwrite the plans."""
    plan = "plansguard gate -- nnUNetv2_plan_experiment -d 2 -overwrite_plans_name NewPlans"
    shell.type(fix_of("PG751", shell.type(plan, code=1)))
    assert not shell.place("preprocessed/NewPlans.json", RECEIVING).exists()
