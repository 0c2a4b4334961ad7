"""A workspace for whole roads with the real nnU-Net: tiny networks, seeded trainings, processes that are killed."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from plansguard.nnunet.install import trainer_folder
from tests.conftest import ROOT
from tests.support import stepping
from tests.support.variants import FIXTURES, ROOTS

if TYPE_CHECKING:
    import psutil

SOURCE, TARGET = stepping.DATASET, "Dataset013_Target"
#: nnU-Net sets no seed, and blurs by whichever of two algorithms is faster at the moment. This trainer of the user does
#: neither, so that two roads can be compared bit by bit. Without mirroring, the validation takes a quarter of the time.
TRAINER = "SeededTrainer"
_SEEDED = f"""
import random

import numpy
import torch
from batchgeneratorsv2.transforms.noise.gaussian_blur import GaussianBlurTransform, blur_dimension
from nnunetv2.training.nnUNetTrainer.variants.data_augmentation.nnUNetTrainerNoMirroring import nnUNetTrainerNoMirroring


class {TRAINER}(nnUNetTrainerNoMirroring):
    def __init__(self, plans, configuration, fold, dataset_json, device=torch.device("cuda")):
        random.seed(1)
        numpy.random.seed(1)
        torch.manual_seed(1)
        GaussianBlurTransform._benchmark_wrapper = lambda self, *arguments: blur_dimension(*arguments)
        super().__init__(plans, configuration, fold, dataset_json, device)
"""


def make_workspace(root: Path) -> Path:
    """Create nnU-Net's three folders with raw images of two datasets, and plans of a tiny network for the first."""
    raw = FIXTURES / "workspace" / ROOTS["raw"] / SOURCE
    for name in (SOURCE, TARGET):
        shutil.copytree(raw, root / ROOTS["raw"] / name)
    folder = root / ROOTS["preprocessed"] / SOURCE
    shutil.copytree(FIXTURES / "workspace" / ROOTS["preprocessed"] / SOURCE, folder)
    (folder / f"{stepping.PLANS}.json").write_text(json.dumps(stepping.tiny(folder / "nnUNetPlans.json"), indent=4))
    (root / ROOTS["results"]).mkdir()
    (root / "trainers").mkdir()
    (root / "trainers" / f"{TRAINER}.py").write_text(_SEEDED)
    return root


def environment(root: Path) -> dict[str, str]:
    """Return the variables of a road in this workspace."""
    variables = {name: str(root / name) for name in ROOTS.values()}
    trainers = {trainer_folder.VARIABLE: str(root / "trainers"), "CUDA_VISIBLE_DEVICES": ""}
    return {**os.environ, **stepping.ENVIRONMENT, **variables, **trainers, "PYTHONPATH": str(ROOT)}


def begin(root: Path, *words: str, **variables: str) -> subprocess.Popen[str]:
    """Start ``plansguard finetune`` in the workspace, with these variables as well."""
    return subprocess.Popen(
        [sys.executable, "-m", "plansguard", "finetune", *words],
        env={**environment(root), **variables},
        cwd=root,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )


def finish(root: Path, *words: str, **variables: str) -> tuple[int, str]:
    """Run ``plansguard finetune`` to its end; return the exit code and all output."""
    process = begin(root, *words, **variables)
    output, _ = process.communicate()
    return process.returncode, output


def kill(process: subprocess.Popen[str]) -> None:
    """Kill the process and all that it has started, as a reboot does."""
    import psutil  # comes with nnU-Net, and this module is also imported where that is not installed

    tree = [*_tree(process.pid)]
    for one in tree:
        one.kill()
    psutil.wait_procs(tree)
    process.communicate()


def _tree(pid: int) -> Iterator[psutil.Process]:
    import psutil

    try:
        parent = psutil.Process(pid)
        yield from [parent, *parent.children(recursive=True)]
    except psutil.NoSuchProcess:
        return
