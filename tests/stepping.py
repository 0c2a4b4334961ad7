"""Real trainings, small enough for a test: nnU-Net itself on the CPU, in processes that can be killed.

Importing torch and nnU-Net takes seconds, so one server process does it and every training is forked from it. torch is
used in none but the forked ones, which is what makes forking safe.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from plansguard.training import EXTENSION
from tests.variants import FIXTURES, ROOTS

DATASET = "Dataset003_TwoChannelMR"
CONFIGURATION = "2d"
PLANS = "Tiny"
SEED = 1234
ENVIRONMENT = {"nnUNet_n_proc_DA": "0", "nnUNet_def_n_proc": "1", "nnUNet_compile": "f", "OMP_NUM_THREADS": "1"}

Change = Callable[[Any], None]
"""Is done to the trainer before it trains."""


@dataclass(frozen=True)
class Ended:
    """How a training ended: its exit code (-9 when killed) and all that it printed."""

    code: int
    said: str


def make_workspace(root: Path) -> Path:
    """nnU-Net's three folders with one dataset, planned for a tiny network and preprocessed by nnU-Net."""
    for variable in ("raw", "preprocessed"):
        shutil.copytree(FIXTURES / "workspace" / ROOTS[variable] / DATASET, root / ROOTS[variable] / DATASET)
    (root / ROOTS["results"]).mkdir()
    folder = root / ROOTS["preprocessed"] / DATASET
    plans = json.loads((folder / "nnUNetPlans.json").read_bytes())
    configuration = plans["configurations"][CONFIGURATION]
    configuration.update(batch_size=2, patch_size=[32, 32], data_identifier=f"{PLANS}_{CONFIGURATION}")
    arguments = configuration["architecture"]["arch_kwargs"]
    arguments.update(n_stages=3, features_per_stage=[4, 8, 8], n_conv_per_stage=[1] * 3)
    arguments.update(n_conv_per_stage_decoder=[1] * 2, kernel_sizes=[[3, 3]] * 3, strides=[[1, 1], [2, 2], [2, 2]])
    plans.update(plans_name=PLANS, configurations={CONFIGURATION: configuration})
    (folder / f"{PLANS}.json").write_text(json.dumps(plans, indent=4))
    shutil.copytree(root / ROOTS["raw"] / DATASET / "labelsTr", folder / "gt_segmentations")
    ended = _wait(_start(_preprocess, root, {}))
    assert ended.code == 0, ended.said
    return root


def fold(root: Path, trainer: str) -> Path:
    """Where a trainer's fold 0 leaves its results."""
    return root / ROOTS["results"] / DATASET / f"{trainer}__{PLANS}__{CONFIGURATION}" / "fold_0"


def train(
    root: Path,
    trainer: str,
    *,
    go_on: bool = False,
    change: Change | None = None,
    environment: Mapping[str, str] | None = None,
) -> Ended:
    """``nnUNetv2_train`` of fold 0 without the final validation, from fixed seeds, to its end."""
    return _wait(begin(root, trainer, go_on=go_on, change=change, environment=environment))


def begin(
    root: Path,
    trainer: str,
    *,
    go_on: bool = False,
    change: Change | None = None,
    environment: Mapping[str, str] | None = None,
) -> Process:
    """The same, without waiting."""
    return _start(_train, root, environment or {}, trainer, go_on, change)


def train_in_two(root: Path, trainer: str, *, go_on: bool = False, change: Change | None = None) -> tuple[Ended, Ended]:
    """Two processes that train together."""
    meeting = root / "meeting"
    meeting.unlink(missing_ok=True)
    two = [_start(_two_of_them, root, {}, rank, str(meeting), trainer, go_on, change) for rank in range(2)]
    return _wait(two[0]), _wait(two[1])


def wait(process: Process) -> Ended:
    """Until it ends."""
    return _wait(process)


@dataclass(frozen=True)
class Process:
    """A training that runs."""

    process: Any
    log: Path

    @property
    def said(self) -> str:
        """What it printed so far."""
        return self.log.read_text(encoding="utf-8", errors="replace") if self.log.exists() else ""


def _start(function: Callable[..., None], root: Path, environment: Mapping[str, str], *arguments: Any) -> Process:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.stepping_imports"])
    log = root / f"log-{len(list(root.glob('log-*')))}"
    folders = {name: str(root / name) for name in ROOTS.values()}
    everything = {**ENVIRONMENT, **folders, "nnUNet_extTrainer": str(EXTENSION), **environment}
    process = context.Process(target=_in_process, args=(function, str(log), everything, *arguments))
    process.start()
    return Process(process, log)


def _wait(running: Process) -> Ended:
    running.process.join(120)
    if running.process.is_alive():
        running.process.kill()
        raise AssertionError(f"still running after two minutes:\n{running.said}")
    return Ended(running.process.exitcode, running.said)


# --- In the forked process


def _in_process(function: Callable[..., None], log: str, environment: dict[str, str], *arguments: Any) -> None:
    stream = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(stream, 1)
    os.dup2(stream, 2)
    sys.stdout = os.fdopen(1, "w", buffering=1)
    sys.stderr = os.fdopen(2, "w", buffering=1)
    os.environ.update(environment)
    os.setsid()  # a group of its own: what a test sends to all of it does not reach the test
    function(*arguments)


def _preprocess() -> None:
    """Case by case, without the pool of processes that nnU-Net's command starts: each would load torch again."""
    from nnunetv2.preprocessing.preprocessors.default_preprocessor import DefaultPreprocessor
    from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

    raw, folder = (Path(os.environ[ROOTS[one]]) / DATASET for one in ("raw", "preprocessed"))
    dataset_json = json.loads((folder / "dataset.json").read_bytes())
    manager = PlansManager(str(folder / f"{PLANS}.json"))
    configuration = manager.get_configuration(CONFIGURATION)
    target = folder / configuration.data_identifier
    target.mkdir()
    for label in sorted((raw / "labelsTr").iterdir()):
        case = label.name.partition(".")[0]
        images = [str(path) for path in sorted((raw / "imagesTr").glob(f"{case}_*"))]
        DefaultPreprocessor(verbose=False).run_case_save(
            str(target / case), images, str(label), manager, configuration, dataset_json
        )


def _seed(rank: int = 0) -> None:
    import random

    import numpy as np
    import torch

    random.seed(SEED + rank)
    np.random.seed(SEED + rank)
    torch.manual_seed(SEED)


def _two_of_them(rank: int, meeting: str, trainer: str, go_on: bool, change: Change | None) -> None:
    """One of two processes on the CPU; nnU-Net itself knows several only on GPUs, which is what is changed here."""
    import torch
    from nnunetv2.run.run_training import get_trainer_from_args, maybe_load_checkpoint
    from nnunetv2.training.nnUNetTrainer import nnUNetTrainer as module
    from torch import distributed

    torch.set_num_threads(1)
    distributed.init_process_group("gloo", init_method=f"file://{meeting}", rank=rank, world_size=2)
    parallel = module.DDP
    module.DDP = lambda network, device_ids: parallel(network)
    _seed(rank)
    made = get_trainer_from_args("3", CONFIGURATION, 0, trainer, PLANS, go_on, torch.device("cpu"))
    made.device, made.grad_scaler = torch.device("cpu"), None
    if change is not None:
        change(made)
    maybe_load_checkpoint(made, go_on, False, None)
    made.run_training()
    torch.save(made.network.module.state_dict(), Path(made.output_folder) / f"rank-{rank}.pt")
    print(f"steps of rank {rank}: {made._state.step}")
    distributed.destroy_process_group()


def _train(trainer: str, go_on: bool, change: Change | None) -> None:
    import torch
    from nnunetv2.run.run_training import get_trainer_from_args, maybe_load_checkpoint

    torch.set_num_threads(1)
    _seed()
    made = get_trainer_from_args("3", CONFIGURATION, 0, trainer, PLANS, go_on, torch.device("cpu"))
    if change is not None:
        change(made)
    maybe_load_checkpoint(made, go_on, False, None)
    made.run_training()


def weights(folder: Path, name: str = "checkpoint_final.pth") -> dict[str, Any]:
    """A checkpoint's weights as bytes by name."""
    import torch

    checkpoint = torch.load(folder / name, map_location="cpu", weights_only=False)
    return {key: bytes(value.numpy().tobytes()) for key, value in checkpoint["network_weights"].items()}
