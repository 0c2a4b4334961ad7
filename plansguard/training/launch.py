"""nnU-Net's own training command, carried out in this process, on one GPU, on several, or as one of many processes.

torch and nnU-Net are loaded in here and not before. What ``nnUNetv2_train`` does is done by its own functions; what is
ours are the variables that its trainers are found by, processes that torchrun or SLURM has started, signals that must
reach the processes which nnU-Net starts for ``-num_gpus``, and an exit code that says how it ended:

====  ==========================================================
0     done
1     refused, with a message
75    told to stop; continue it with ``--c``
4     the training itself failed, with nnU-Net's own traceback
128+N ended by signal N
====  ==========================================================
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import FrameType, SimpleNamespace
from typing import Any

from plansguard.core.errors import PlansguardError
from plansguard.nnunet import constants
from plansguard.nnunet.install import trainer_folder
from plansguard.training.distributed_env import ProcessPlace, meeting, read_place
from plansguard.training.options import Options, as_environment
from plansguard.training.signals import STOPPING
from plansguard.training.stop_reasons import STOPPED, Refused

FAILED = 4


def launch(words: Sequence[str], options: Options) -> int:
    """Train as ``nnUNetv2_train`` would with these arguments; gives the exit code, and tells all that is to be told."""
    os.environ.update(as_environment(options))
    os.environ[trainer_folder.VARIABLE] = trainer_folder.search_path(os.environ.get(trainer_folder.VARIABLE, ""))
    before, sys.argv = sys.argv, ["nnUNetv2_train", *words]
    try:
        return _judged()
    finally:
        sys.argv = before


def _judged() -> int:
    try:
        _train()
    except PlansguardError as refusal:
        said = refusal if isinstance(refusal, Refused) else Refused(refusal.reason, hint=refusal.hint)
        print(said.code, file=sys.stderr)  # noqa: T201
        return 1
    except SystemExit as ended:
        return _code_of(ended.code)
    except Exception as error:  # noqa: BLE001 - whatever nnU-Net may raise
        return _code_of_failure(error)
    return 0


def _train() -> None:
    place = read_place(os.environ)
    if obstacle := trainer_folder.obstacle():
        raise Refused(obstacle, hint=trainer_folder.REMEDY)
    from nnunetv2.run import run_training as nnunet

    # The command reads its arguments and sets up torch; from there on it would know of no other processes.
    replaced = {"mp": _Spawning} if place is None else {"run_training": partial(_one_of_many, place)}
    with _replaced(vars(nnunet), replaced):
        nnunet.run_training_entry()


@contextmanager
def _replaced(names: dict[str, Any], by: dict[str, Any]) -> Iterator[None]:
    """Within it, these names of a module of nnU-Net mean something else."""
    before = {name: names[name] for name in by}
    names.update(by)
    try:
        yield
    finally:
        names.update(before)


# --- One of many processes


def _one_of_many(
    place: ProcessPlace,
    dataset: str,
    configuration: str,
    fold: str,
    trainer: str,
    plans: str,
    weights: str | None,
    gpus: int,
    npz: bool,
    continues: bool,
    validates: bool,
    disables_checkpointing: bool,
    validates_best: bool,
    *,
    device: Any,
) -> None:
    """What nnU-Net's run_ddp does, for processes on any number of machines, with GPUs or without.

    Source: run_training and run_ddp in run/run_training.py of nnU-Net 2.8.1, whose arguments these are.
    """
    from nnunetv2.run.run_training import get_trainer_from_args, load_pretrained_weights, maybe_load_checkpoint
    from torch import distributed
    from torch.backends import cudnn

    if gpus > 1:
        raise Refused(
            f"{place.world} processes are started already, so each has one GPU", hint="leave the number of GPUs out"
        )
    if continues and validates:
        raise Refused("--c and --val together make no sense", hint="take one of them")
    if validates_best and disables_checkpointing:
        raise Refused("--val_best needs checkpoints, which are disabled", hint="take one of them")
    device = _meet(place, device)
    number = fold if fold == "all" else int(fold)
    made = get_trainer_from_args(dataset, configuration, number, trainer, plans, continues, device)
    made.disable_checkpointing = disables_checkpointing
    with _replaced(load_pretrained_weights.__globals__, {"torch": _loading_onto(device)}):
        maybe_load_checkpoint(made, continues, validates, weights)
    if device.type == "cuda":
        cudnn.deterministic, cudnn.benchmark = False, True
    if not validates:
        made.run_training()
    if validates_best:
        made.load_checkpoint(str(Path(made.output_folder) / constants.CHECKPOINT_BEST))
    made.perform_actual_validation(npz)
    distributed.destroy_process_group()


def _meet(place: ProcessPlace, device: Any) -> Any:
    """Join the other processes; gives the device that is this one's own."""
    import torch
    from torch import distributed

    if device.type == "mps":
        raise Refused("several processes train on GPUs of NVIDIA or AMD, or on CPUs", hint="train with one process")
    if device.type == "cuda":
        count = torch.cuda.device_count()
        if not count:
            raise Refused("torch finds no GPU here", hint="take -device cpu, or look at CUDA_VISIBLE_DEVICES")
        device = torch.device("cuda", place.local % count)  # where each process sees one GPU alone, that is number 0
        torch.cuda.set_device(device)
    os.environ.update(meeting(os.environ))
    backend = "nccl" if device.type == "cuda" else "gloo"
    distributed.init_process_group(backend, rank=place.rank, world_size=place.world)
    return device


def _loading_onto(device: Any) -> Any:
    """What load_pretrained_weights needs of torch: it would load onto the GPU whose number is the rank.

    Source: run/load_pretrained_weights.py of nnU-Net 2.8.1.
    """
    import torch

    def load(name: str, **_: Any) -> Any:
        return torch.load(name, map_location=device, weights_only=False)

    return SimpleNamespace(load=load, device=torch.device)


# --- Processes that nnU-Net starts


class _Spawning:
    """torch.multiprocessing, as far as nnU-Net needs it for ``-num_gpus``: this process starts the others and waits.

    What asks it to stop is for those that train, who end it then. Ctrl-C reaches them by itself, and a second one means
    at once, so they are sent something else for it.
    """

    @staticmethod
    def spawn(*arguments: Any, **options: Any) -> None:
        """As torch does it, with signals handed on."""
        import multiprocessing

        from torch.multiprocessing import spawn

        def hand_on(number: int, _: FrameType | None) -> None:
            for child in multiprocessing.active_children():
                child.terminate() if number == signal.SIGINT else os.kill(child.pid or 0, number)

        before = {number: signal.signal(number, hand_on) for number in STOPPING}
        try:
            spawn(*arguments, **options)
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


# --- How it ended


def _code_of(code: Any) -> int:
    """Of a SystemExit: a number is one, nothing is success, and a text is to be told."""
    if code is None or isinstance(code, int):
        return int(code or 0)
    print(code, file=sys.stderr)  # noqa: T201
    return 1


def _code_of_failure(error: Exception) -> int:
    from torch.multiprocessing import ProcessExitedException, ProcessRaisedException

    if isinstance(error, ProcessExitedException) and error.exit_code in (1, STOPPED):
        return int(error.exit_code)  # one of nnU-Net's processes has said why
    if isinstance(error, ProcessExitedException) and error.exit_code < 0:
        print(f"plansguard: a process of this training was ended by {error.signal_name}", file=sys.stderr)  # noqa: T201
        return 128 - int(error.exit_code)
    if isinstance(error, ProcessRaisedException):
        print(error, file=sys.stderr)  # noqa: T201 - the traceback of that process
    else:
        import traceback

        traceback.print_exception(error)
    log = _log_file()
    where = f"; its log is {log}" if log else ""
    last = str(error).strip().splitlines()[-1:] or [type(error).__name__]
    print(f"plansguard: the training itself failed: {last[0]}{where}", file=sys.stderr)  # noqa: T201
    return FAILED


def _log_file() -> Path | None:
    """What nnU-Net logged last, in the results folder of the arguments."""
    import argparse

    reader = argparse.ArgumentParser(add_help=False)
    reader.add_argument("dataset")
    reader.add_argument("configuration")
    reader.add_argument("fold")
    reader.add_argument("-tr", default="nnUNetTrainer")
    reader.add_argument("-p", default="nnUNetPlans")
    typed, _ = reader.parse_known_args(sys.argv[1:])
    name = f"Dataset{int(typed.dataset):03d}_*" if typed.dataset.isdigit() else typed.dataset
    model = f"{typed.tr}__{typed.p}__{typed.configuration}"
    results = Path(os.environ.get("nnUNet_results", "."))
    logs = results.glob(f"{name}/{model}/fold_{typed.fold}/training_log_*.txt")
    return max(logs, key=lambda path: path.stat().st_mtime, default=None)
