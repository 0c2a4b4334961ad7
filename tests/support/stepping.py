"""Small real trainings of nnU-Net on the CPU, in processes that can be killed.

Importing torch and nnU-Net takes seconds, so one server process imports them and every training is forked from it. Only
the forked processes use torch, so forking is safe.
"""

from __future__ import annotations

import itertools
import json
import multiprocessing
import os
import shutil
import signal
import socket
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from plansguard.artefacts.checkpoint.checkpoint import read_checkpoint
from plansguard.nnunet.install.trainer_folder import FOLDER as EXTENSION
from tests.support.variants import FIXTURES, ROOTS

DATASET = "Dataset003_TwoChannelMR"
CONFIGURATION = "2d"
PLANS = "Tiny"
SEED = 1234
ENVIRONMENT = {"nnUNet_n_proc_DA": "0", "nnUNet_def_n_proc": "1", "nnUNet_compile": "f", "OMP_NUM_THREADS": "1"}

_numbers = itertools.count()

Change = Callable[[Any], None]
"""Is done to the trainer before it trains."""


@dataclass(frozen=True)
class Ended:
    """Result of a training: exit code (-9 if killed) and output."""

    code: int
    said: str


def make_workspace(root: Path) -> Path:
    """Create nnU-Net's three folders with one dataset, planned for a tiny network and preprocessed by nnU-Net."""
    for variable in ("raw", "preprocessed"):
        shutil.copytree(FIXTURES / "workspace" / ROOTS[variable] / DATASET, root / ROOTS[variable] / DATASET)
    (root / ROOTS["results"]).mkdir()
    folder = root / ROOTS["preprocessed"] / DATASET
    plans = tiny(folder / "nnUNetPlans.json")
    (folder / f"{PLANS}.json").write_text(json.dumps(plans, indent=4))
    shutil.copytree(root / ROOTS["raw"] / DATASET / "labelsTr", folder / "gt_segmentations")
    ended = _wait(_start(_preprocess, root, {}))
    assert ended.code == 0, ended.said
    return root


def tiny(path: Path) -> dict[str, Any]:
    """Return plans of a tiny network, with one configuration of the plans at ``path``."""
    plans: dict[str, Any] = json.loads(path.read_bytes())
    configuration = plans["configurations"][CONFIGURATION]
    configuration.update(batch_size=2, patch_size=[32, 32], data_identifier=f"{PLANS}_{CONFIGURATION}")
    arguments = configuration["architecture"]["arch_kwargs"]
    arguments.update(n_stages=3, features_per_stage=[4, 8, 8], n_conv_per_stage=[1] * 3)
    arguments.update(n_conv_per_stage_decoder=[1] * 2, kernel_sizes=[[3, 3]] * 3, strides=[[1, 1], [2, 2], [2, 2]])
    plans.update(plans_name=PLANS, configurations={CONFIGURATION: configuration})
    return plans


def preprocess(root: Path, plans: str, configuration: str) -> Ended:
    """Preprocess a configuration of other plans by nnU-Net."""
    return _wait(_start(_preprocess, root, {}, plans, configuration))


@contextmanager
def without_results(prepared: Path) -> Iterator[Path]:
    """Empty the folder of results, and restore it afterwards."""
    folder = prepared / ROOTS["preprocessed"] / DATASET
    before = {path: path.read_bytes() for path in folder.glob("*.json")}
    yield prepared
    for path, content in before.items():
        path.write_bytes(content)
    shutil.rmtree(prepared / ROOTS["results"])
    (prepared / ROOTS["results"]).mkdir()


def fold(root: Path, trainer: str) -> Path:
    """Return the folder of results of a trainer's fold 0."""
    return root / ROOTS["results"] / DATASET / f"{trainer}__{PLANS}__{CONFIGURATION}" / "fold_0"


def train(
    root: Path,
    trainer: str,
    *,
    go_on: bool = False,
    change: Change | None = None,
    environment: Mapping[str, str] | None = None,
) -> Ended:
    """Run ``nnUNetv2_train`` of fold 0 with fixed seeds, without the final validation."""
    return _wait(begin(root, trainer, go_on=go_on, change=change, environment=environment))


def begin(
    root: Path,
    trainer: str,
    *,
    go_on: bool = False,
    change: Change | None = None,
    environment: Mapping[str, str] | None = None,
) -> Process:
    """Start the same without waiting."""
    return _start(_train, root, environment or {}, trainer, go_on, change)


def launch_in_two(
    root: Path,
    trainer: str,
    *,
    srun: bool = False,
    go_on: bool = False,
    weights: Path | None = None,
    change: Change | None = None,
) -> tuple[Ended, Ended]:
    """Start two processes that train together, as torchrun or srun does, without the final validation."""
    names = ("SLURM_PROCID", "SLURM_STEP_NUM_TASKS", "SLURM_LOCALID") if srun else ("RANK", "WORLD_SIZE", "LOCAL_RANK")
    shared = {"MASTER_ADDR": "localhost", "MASTER_PORT": str(free_port())}
    if srun:
        shared.update(SLURM_STEP_NODELIST="localhost", SLURM_JOB_ID="7")
    places = [dict(zip(names, (str(rank), "2", str(rank)), strict=True)) for rank in range(2)]
    arguments = [*words(trainer, go_on=go_on), *(["-pretrained_weights", str(weights)] if weights else [])]
    two = [_start(_launch, root, {**shared, **place}, arguments, change, True) for place in places]
    return _wait(two[0]), _wait(two[1])


def free_port() -> int:
    """Return a free port."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        return int(free.getsockname()[1])


def words(trainer: str, *, go_on: bool = False) -> list[str]:
    """Return the arguments of ``nnUNetv2_train``."""
    return ["3", CONFIGURATION, "0", "-tr", trainer, "-p", PLANS, "-device", "cpu", *(["--c"] if go_on else [])]


def begun(trainer: str) -> Any:
    """Return the trainer of a training in this process, before its first step; nnU-Net's variables name the folders."""
    import torch
    from nnunetv2.run.run_training import get_trainer_from_args

    training = get_trainer_from_args("3", CONFIGURATION, 0, trainer, PLANS, device=torch.device("cpu"))
    training.on_train_start()
    training.on_epoch_start()
    training.on_train_epoch_start()
    return training


def train_with_wandb(root: Path, trainer: str) -> Ended:
    """Train with nnU-Net's logger for Weights & Biases; its package is an object that accepts every call."""
    return _wait(_start(_train_with_wandb, root, {"nnUNet_wandb_enabled": "1"}, trainer))


def predict(root: Path, trainer: str, images: Path, target: Path, *, finds_trainers: bool) -> Ended:
    """Run nnU-Net's prediction with fold 0 on the CPU, with or without the folder of plansguard's trainers."""
    return _wait(_start(_predict, root, {}, str(fold(root, trainer).parent), str(images), str(target), finds_trainers))


def begin_launch(
    root: Path, arguments: list[str], *, environment: Mapping[str, str] | None = None, change: Change | None = None
) -> Process:
    """Start ``plansguard.training.launch`` with these arguments."""
    return _start(_launch, root, environment or {}, arguments, change, False)


def wait(process: Process) -> Ended:
    """Wait for the end."""
    return _wait(process)


@dataclass(frozen=True)
class Process:
    """A running training."""

    process: Any
    log: Path

    @property
    def said(self) -> str:
        """Output so far."""
        return self.log.read_text(encoding="utf-8", errors="replace") if self.log.exists() else ""


def _start(function: Callable[..., None], root: Path, environment: Mapping[str, str], *arguments: Any) -> Process:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.support.stepping_imports"])
    log = root / f"log-{next(_numbers)}"
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


# --- Changes of a trainer


def with_log(trainer: Any) -> None:
    """Write every step and its learning rate into a file beside the checkpoints."""

    def note(optimizer: Any, *_: Any) -> None:
        rate = float(optimizer.param_groups[0]["lr"]).hex()
        with (Path(trainer.output_folder) / "rates.log").open("a") as stream:
            stream.write(f"{trainer._state.step} {rate}\n")

    ours = trainer.configure_optimizers

    def configure() -> Any:
        optimizer, scheduler = ours()
        optimizer.register_step_post_hook(note)
        return optimizer, scheduler

    trainer.configure_optimizers = configure


def rates(folder: Path) -> list[tuple[int, float]]:
    """Return the learning rates that ``with_log`` wrote."""
    rows = (line.split() for line in (folder / "rates.log").read_text().splitlines())
    return [(int(step), float.fromhex(rate)) for step, rate in rows]


def at(step: int, number: int, *, validating: bool = False) -> Change:
    """Send itself a signal after a step, or in the validation that follows it."""
    return partial(_signalled, step=step, number=number, validating=validating)


def _signalled(trainer: Any, step: int, number: int, *, validating: bool) -> None:
    with_log(trainer)
    name = "validation_step" if validating else "train_step"
    ours = getattr(trainer, name)

    def stepped(batch: Any) -> Any:
        if validating and trainer._state.step == step:
            os.kill(os.getpid(), number)
        outputs = ours(batch)
        if not validating and trainer._state.step == step:
            if number == signal.SIGKILL:
                trainer._background.wait()  # what was due before this step is written
            os.kill(os.getpid(), number)
        return outputs

    setattr(trainer, name, stepped)


def in_the_final_validation(trainer: Any) -> None:
    """Run the final validation as well, and send itself the signal of a time limit when it begins."""
    ours, training = trainer.set_deep_supervision_enabled, trainer.run_training

    def trained() -> None:
        training()
        trainer.perform_actual_validation(False)

    def switched(enabled: bool) -> Any:
        if not enabled:
            os.kill(os.getpid(), signal.SIGUSR1)
        return ours(enabled)

    trainer.set_deep_supervision_enabled, trainer.run_training = switched, trained


def second_stops(trainer: Any) -> None:
    """Send the second of two processes a signal to stop after step 3."""
    if trainer.local_rank == 1:
        at(3, signal.SIGTERM)(trainer)


def until_it_trains(running: Process, folder: Path) -> None:
    """Wait for the first step of a training that was changed ``with_log``."""
    while running.process.is_alive() and not (folder / "rates.log").exists():
        running.process.join(0.1)


# --- Results of a training


def steps_noted(folder: Path, name: str = "checkpoint_final.pth") -> dict[str, Any]:
    """Return the state of the step trainer in a checkpoint."""
    notes = read_checkpoint(folder / name).steps
    assert notes is not None
    return notes


def log_lists(folder: Path) -> dict[str, list[Any]]:
    """Return nnU-Net's log of each epoch."""
    import torch

    lists: dict[str, list[Any]] = torch.load(folder / "checkpoint_final.pth", weights_only=False)["logging"]
    return lists


# --- In the forked process


def _in_process(function: Callable[..., None], log: str, environment: dict[str, str], *arguments: Any) -> None:
    stream = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(stream, 1)
    os.dup2(stream, 2)
    sys.stdout = os.fdopen(1, "w", buffering=1)
    sys.stderr = os.fdopen(2, "w", buffering=1)
    os.environ.update(environment)
    if sys.platform == "linux":
        multiprocessing.set_start_method("fork", force=True)  # as in nnU-Net's own command, for loader workers
    os.setsid()  # a group of its own, so that signals to it do not reach the test
    function(*arguments)


def _preprocess(plans: str = PLANS, name: str = CONFIGURATION) -> None:
    """Preprocess case by case, without nnU-Net's pool: each of its processes would load torch again."""
    from nnunetv2.preprocessing.preprocessors.default_preprocessor import DefaultPreprocessor
    from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

    raw, folder = (Path(os.environ[ROOTS[one]]) / DATASET for one in ("raw", "preprocessed"))
    dataset_json = json.loads((folder / "dataset.json").read_bytes())
    manager = PlansManager(str(folder / f"{plans}.json"))
    configuration = manager.get_configuration(name)
    target = folder / configuration.data_identifier
    target.mkdir()
    for label in sorted((raw / "labelsTr").iterdir()):
        case = label.name.partition(".")[0]
        images = [str(path) for path in sorted((raw / "imagesTr").glob(f"{case}_*"))]
        DefaultPreprocessor(verbose=False).run_case_save(
            str(target / case), images, str(label), manager, configuration, dataset_json
        )


def _seed(rank: int = 0) -> None:
    """Make trainings reproducible: nnU-Net sets no seed, and blurs by the algorithm that is faster at the moment."""
    import random

    import numpy as np
    import torch
    from batchgeneratorsv2.transforms.noise.gaussian_blur import GaussianBlurTransform, blur_dimension

    GaussianBlurTransform._benchmark_wrapper = lambda _, *arguments: blur_dimension(*arguments)
    random.seed(SEED + rank)
    np.random.seed(SEED + rank)
    torch.manual_seed(SEED)


def _launch(arguments: list[str], change: Change | None, keeps: bool) -> None:
    import torch
    from nnunetv2.run import run_training as module

    from plansguard.training.launch import launch
    from plansguard.training.options import read_options

    rank = int(os.environ.get("RANK") or os.environ.get("SLURM_PROCID") or 0)
    made = module.get_trainer_from_args

    def changed(*given: Any, **named: Any) -> Any:
        torch.set_num_threads(1)
        _seed(rank)
        trainer = made(*given, **named)
        if change is not None:
            change(trainer)
        trainer.perform_actual_validation = lambda _: _keep(trainer, rank) if keeps else None
        return trainer

    module.get_trainer_from_args = changed
    sys.exit(launch(arguments, read_options(os.environ)))


def begin_num_gpus(root: Path, trainer: str) -> Process:
    """Start ``-num_gpus 2`` without GPUs: the launcher, and two processes of nnU-Net, which train on the CPU."""
    arguments = [*words(trainer), "-num_gpus", "2"]
    arguments[arguments.index("cpu")] = "cuda"
    return _start(_launch_num_gpus, root, {}, arguments)


def _launch_num_gpus(arguments: list[str]) -> None:
    import torch.multiprocessing
    from nnunetv2.run import run_training as module

    module.run_ddp = _run_ddp_on_cpu
    # Forked, since a new process would load torch for many seconds.
    torch.multiprocessing.spawn = partial(torch.multiprocessing.start_processes, start_method="fork")
    _launch(arguments, None, keeps=False)


def _run_ddp_on_cpu(rank: int, dataset: str, configuration: str, fold: int, trainer: str, plans: str, *_: Any) -> None:
    import torch
    from nnunetv2.run.run_training import get_trainer_from_args
    from torch import distributed

    distributed.init_process_group("gloo", rank=rank, world_size=2)
    made = get_trainer_from_args(dataset, configuration, fold, trainer, plans, False, torch.device("cpu"))
    with_log(made)
    made.run_training()


def _keep(trainer: Any, rank: int) -> None:
    import torch

    torch.save(trainer.network.module.state_dict(), Path(trainer.output_folder) / f"rank-{rank}.pt")
    print(f"steps of rank {rank}: {trainer._state.step}")


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


def _train_with_wandb(trainer: str) -> None:
    from unittest.mock import MagicMock

    from nnunetv2.training.logging import nnunet_logger

    nnunet_logger.wandb = MagicMock()
    _train(trainer, False, None)


def _predict(model: str, images: str, target: str, finds_trainers: bool) -> None:
    import torch
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

    if not finds_trainers:
        del os.environ["nnUNet_extTrainer"]
    torch.set_num_threads(1)
    Path(target).mkdir()
    predictor = nnUNetPredictor(perform_everything_on_device=False, device=torch.device("cpu"), allow_tqdm=False)
    predictor.initialize_from_trained_model_folder(model, (0,), "checkpoint_final.pth")
    predictor.predict_from_files_sequential(images, target)


def without_checkpoints(folder: Path) -> None:
    """Delete the checkpoints of a fold, so that the training can begin again."""
    for path in folder.glob("checkpoint_*"):
        path.unlink()


def weights(folder: Path, name: str = "checkpoint_final.pth") -> dict[str, Any]:
    """Return a checkpoint's weights as bytes by name."""
    import torch

    checkpoint = torch.load(folder / name, map_location="cpu", weights_only=False)
    return {key: bytes(value.numpy().tobytes()) for key, value in checkpoint["network_weights"].items()}
