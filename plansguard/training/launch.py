"""Run nnU-Net's training command in this process, on one GPU, on several, or as one of many processes.

torch and nnU-Net are loaded here and not before. nnU-Net's own functions train; this adds the variables by which it
finds our trainers, processes that torchrun or SLURM has started, signals for the processes that nnU-Net starts for
``-num_gpus``, and an exit code:

====  ==========================================================
0     done
1     refused, with a message
75    stopped; continue it with ``--c``
4     the training itself failed, with nnU-Net's own traceback
128+N ended by signal N
====  ==========================================================
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from types import FrameType, SimpleNamespace
from typing import Any

from plansguard.core import disk
from plansguard.core.errors import PlansguardError, UnreadableFolder
from plansguard.core.signals import handle_signals
from plansguard.nnunet import constants
from plansguard.nnunet.command_line import parse
from plansguard.nnunet.constants import TRAIN
from plansguard.nnunet.install import trainer_folder
from plansguard.training.distributed_env import ProcessPlace, read_place, rendezvous
from plansguard.training.options import Options, as_environment
from plansguard.training.replacing_names import replaced
from plansguard.training.signals import STOPPING
from plansguard.training.stop_reasons import STOPPED, Refused
from plansguard.training.trainer_name import is_step_name

FAILED = 4


def launch(words: Sequence[str], options: Options) -> int:
    """Train as ``nnUNetv2_train`` does with these arguments; print errors and return the exit code."""
    os.environ.update(as_environment(options))
    os.environ[trainer_folder.VARIABLE] = trainer_folder.search_path(os.environ.get(trainer_folder.VARIABLE, ""))
    before, sys.argv = sys.argv, [TRAIN, *words]
    try:
        _train()
    except PlansguardError as refusal:
        return _exit_code(Refused(refusal.reason, hint=refusal.hint).code)
    except SystemExit as ended:
        return _exit_code(ended.code)
    except Exception as error:  # noqa: BLE001 - whatever nnU-Net may raise
        return _exit_code_of_failure(error)
    finally:
        sys.argv = before
    return 0


def _train() -> None:
    place = read_place(os.environ)
    if obstacle := trainer_folder.obstacle():
        raise Refused(obstacle, hint=trainer_folder.REMEDY)
    from nnunetv2.run import run_training as nnunet

    # The command reads its arguments and sets up torch; it does not know of other processes.
    ours: dict[str, Any] = {"maybe_load_checkpoint": partial(_load, nnunet.maybe_load_checkpoint)}
    if place is None:
        ours["mp"] = SimpleNamespace(spawn=_spawn)
    else:
        ours["run_training"] = partial(_one_of_many, place)
    with replaced(vars(nnunet), ours):
        nnunet.run_training_entry()


def _load(load: Any, trainer: Any, continues: bool, validates: bool, weights: str | None = None) -> None:
    """Load what the options of the command ask for, by nnU-Net's function if it is not a step trainer that continues.

    That trainer chooses its checkpoint itself. nnU-Net looks in its folder only, and prints "Starting a new training"
    where an extension continues the training that it extends.
    """
    if continues and weights is None and is_step_name(type(trainer).__name__):
        trainer.load_checkpoint(None)
    else:
        load(trainer, continues, validates, weights)


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
    """Do what nnU-Net's run_ddp does, for processes on any number of machines, with GPUs or without.

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
        raise Refused("--c and --val exclude each other", hint="leave one of them out")
    if validates_best and disables_checkpointing:
        raise Refused("--val_best needs checkpoints, which are disabled", hint="leave one of the two out")
    device = _join(place, device)
    number = fold if fold == "all" else int(fold)
    made = get_trainer_from_args(dataset, configuration, number, trainer, plans, continues, device)
    made.disable_checkpointing = disables_checkpointing
    with replaced(load_pretrained_weights.__globals__, {"torch": _loading_onto(device)}):
        maybe_load_checkpoint(made, continues, validates, weights)
    if device.type == "cuda":
        cudnn.deterministic, cudnn.benchmark = False, True
    if not validates:
        made.run_training()
    if validates_best:
        made.load_checkpoint(str(Path(made.output_folder) / constants.CHECKPOINT_BEST))
    made.perform_actual_validation(npz)
    distributed.destroy_process_group()


def _join(place: ProcessPlace, device: Any) -> Any:
    """Join the other processes; return the device of this one."""
    import torch
    from torch import distributed

    if device.type == "mps":
        raise Refused("several processes train on GPUs of NVIDIA or AMD, or on CPUs", hint="train with one process")
    if device.type == "cuda":
        count = torch.cuda.device_count()
        if not count:
            raise Refused("torch finds no GPU", hint="take -device cpu, or check CUDA_VISIBLE_DEVICES")
        device = torch.device("cuda", place.local % count)  # number 0 if each process sees one GPU alone
        torch.cuda.set_device(device)
    os.environ.update(rendezvous(os.environ))
    backend = "nccl" if device.type == "cuda" else "gloo"
    distributed.init_process_group(backend, rank=place.rank, world_size=place.world)
    return device


def _loading_onto(device: Any) -> Any:
    """What load_pretrained_weights uses of torch; it would load onto the GPU whose number is the rank.

    Source: run/load_pretrained_weights.py of nnU-Net 2.8.1.
    """
    import torch

    def load(name: str, **_: Any) -> Any:
        return torch.load(name, map_location=device, weights_only=False)

    return SimpleNamespace(load=load, device=torch.device)


# --- Processes that nnU-Net starts


def _spawn(*arguments: Any, **options: Any) -> None:
    """Call torch's spawn for ``-num_gpus``, and forward signals to the processes that train, which then end.

    Ctrl-C reaches them without that, and a second one would end them at once, so it is forwarded as SIGTERM.
    """
    import multiprocessing

    from torch.multiprocessing import spawn

    def forward(number: int, _: FrameType | None) -> None:
        for child in multiprocessing.active_children():
            child.terminate() if number == signal.SIGINT else os.kill(child.pid or 0, number)

    with handle_signals(STOPPING, forward):
        spawn(*arguments, **options)


# --- How it ended


def _exit_code(code: Any) -> int:
    """Of a SystemExit: a number is the code, None is success, and a text is printed."""
    if code is None or isinstance(code, int):
        return int(code or 0)
    print(code, file=sys.stderr)  # noqa: T201
    return 1


def _exit_code_of_failure(error: Exception) -> int:
    """The exit code after what nnU-Net raised. An error of loading torch itself is raised: nothing began."""
    if "torch" not in sys.modules and isinstance(error, ImportError | OSError | MemoryError):
        raise error  # importing torch again would only say that it was tried before
    from torch.multiprocessing import ProcessExitedException, ProcessRaisedException

    if isinstance(error, ProcessExitedException) and error.exit_code in (1, STOPPED):
        return int(error.exit_code)  # one of nnU-Net's processes has printed why
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
    """The newest log of nnU-Net in the results folder of the command."""
    command = parse(TRAIN, sys.argv[1:])
    if command is None:
        return None
    typed = command.values
    dataset = typed.dataset_name_or_id
    name = f"Dataset{int(dataset):03d}_*" if dataset.isdigit() else dataset
    folder = f"{name}/{typed.tr}__{typed.p}__{typed.configuration}/fold_{typed.fold}"
    logs: list[Path] = []
    with suppress(UnreadableFolder):
        logs = disk.matching(os.environ.get("nnUNet_results", "."), f"{folder}/training_log_*.txt")
    return max(logs, key=lambda path: disk.modified(path) or 0, default=None)
