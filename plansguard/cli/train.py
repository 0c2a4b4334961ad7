"""``plansguard train``."""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from plansguard.cli.common_options import FailOn, Outputs, SettingsFile, load_settings, parse_outputs
from plansguard.cli.gate_options import Accept, Because, Depth, GpuMemory, accepted_findings, pass_or_exit, reading_of
from plansguard.cli.progress_bar import progress_bar
from plansguard.cli.schedule_options import (
    Base,
    ByWindow,
    Epochs,
    ExtendTo,
    PerEpoch,
    Rate,
    Validation,
    Warmup,
    schedule_of,
)
from plansguard.core.errors import UsageError
from plansguard.nnunet.constants import DEFAULT_IDENTIFIER, DEFAULT_TRAINER
from plansguard.nnunet.workspace import Workspace
from plansguard.render import printable
from plansguard.training.schedule import STOCK_PER_WINDOW
from plansguard.training.trainer_name import is_step_name, trainer_name

if TYPE_CHECKING:
    from plansguard.commands.train import TrainingRequest
    from plansguard.training.options import Options


def train(
    dataset: Annotated[str, typer.Argument(help="The dataset to train on: id or name.")],
    configuration: Annotated[str, typer.Argument(help="The configuration, such as 3d_fullres.")],
    fold: Annotated[str, typer.Argument(help="The fold: a number, or all.")],
    steps: Annotated[int | None, typer.Option("--steps", metavar="N", help="How many optimiser steps.")] = None,
    extend_to: ExtendTo = None,
    epochs: Epochs = None,
    per_epoch: PerEpoch = STOCK_PER_WINDOW,
    validation: Validation = None,
    rate: Rate = None,
    by_window: ByWindow = False,
    warmup: Warmup = 0,
    trainer: Base = DEFAULT_TRAINER,
    plans: Annotated[str, typer.Option("-p", "--plans", metavar="IDENTIFIER", help="The plans.")] = DEFAULT_IDENTIFIER,
    weights: Annotated[
        Path | None,
        typer.Option(
            "-pretrained_weights", "--weights", metavar="CHECKPOINT", help="Weights to begin with, for fine-tuning."
        ),
    ] = None,
    device: Annotated[str, typer.Option("-device", "--device", help="cuda, cpu or mps.")] = "cuda",
    gpus: Annotated[
        int, typer.Option("-num_gpus", "--num-gpus", metavar="N", help="GPUs of this machine to train on together.")
    ] = 1,
    continues: Annotated[bool, typer.Option("--c", help="Continue from the newest good checkpoint.")] = False,
    validates: Annotated[bool, typer.Option("--val", help="Only run the final validation.")] = False,
    validates_best: Annotated[
        bool, typer.Option("--val_best", help="Validate with checkpoint_best in place of checkpoint_final.")
    ] = False,
    npz: Annotated[
        bool, typer.Option("--npz", help="Save the probabilities of the final validation, for ensembles.")
    ] = False,
    disable_checkpointing: Annotated[
        bool, typer.Option("--disable_checkpointing", help="Write no checkpoints: only to try something out.")
    ] = False,
    save_every: Annotated[
        int | None,
        typer.Option("--save-every", metavar="N", help="Steps between two checkpoints. Default: 2500.", min=0),
    ] = None,
    max_time: Annotated[
        str | None,
        typer.Option(
            "--max-time", metavar="DURATION", help="Stop in time with a checkpoint and exit code 75, such as 23h30m."
        ),
    ] = None,
    portable: Annotated[
        bool, typer.Option("--portable", help="Let others predict from the checkpoints without plansguard.")
    ] = False,
    accept: Accept = [],  # noqa: B006 - typer copies it
    because: Because = [],  # noqa: B006
    data: Depth = None,
    gpu_memory: GpuMemory = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only judge: nothing is started or written.")] = False,
    output: Outputs = [],  # noqa: B006
    fail_on: FailOn = None,
    settings: SettingsFile = None,
) -> None:
    """Check everything, then train for exactly so many optimiser steps.

    Plans, data, weights, environment and what lies in the folder of results are judged first; an error ends it before
    torch is loaded. The training is nnU-Net's own, by a trainer that `plansguard steps` names. Exit code: 0 trained,
    1 refused, 2 the command cannot be carried out, 4 the training failed, 75 stopped in time, to be continued
    with --c.
    """
    from plansguard.commands.train import TrainingRequest, build, judge, prepare, write

    if steps is None and epochs is None and extend_to is None and is_step_name(trainer):
        name = trainer  # says it all
    else:
        schedule = schedule_of(
            steps, epochs, per_epoch, validation, rate, by_window, warmup, extend_to, option="--steps"
        )
        name = trainer_name(trainer, schedule)
    outputs = parse_outputs(output)
    accepted = accepted_findings(accept, because)
    order = TrainingRequest(
        dataset=dataset,
        configuration=configuration,
        fold=fold,
        plans=plans,
        trainer=name,
        weights=weights,
        continues=continues or extend_to is not None,
        validates=validates,
        validates_best=validates_best,
        disables_checkpointing=disable_checkpointing,
        device=device,
        gpus=gpus,
        gpu_memory=gpu_memory,
        options=_options(save_every, max_time, portable),
    )
    if not dry_run:
        _assert_installed()
    with progress_bar("reading cases") as progress:
        run = prepare(Workspace.from_environment(), order, reading_of(data, progress))
        active = load_settings(settings, [run.dataset.folder])
        report = judge(run, "train", active, accepted)
    tells = _tells()
    pass_or_exit(report, outputs, accepted, fail_on or active.fail_on, tells=tells)
    command = _stock_command(order, npz=npz)
    if dry_run:
        typer.echo(printable(f'would run, after eval "$(plansguard env)": {shlex.join(command)}'), err=True)
        return
    if tells and not validates:
        write(run, build(run, report, ["plansguard", *sys.argv[1:]]))
    from plansguard.training.launch import launch

    code = launch(command[1:], order.options)
    if tells and code == 0:
        _say_next(order, run.output_folder)
    raise typer.Exit(code)


def _say_next(order: TrainingRequest, folder: Path) -> None:
    """The folder of the results, and the command that predicts with them; it finds trainers of a number of steps."""
    words = ["-d", order.dataset, "-c", order.configuration, "-f", order.fold, "-p", order.plans, "-tr", order.trainer]
    words += ["-device", order.device] if order.device != "cuda" else []
    typer.echo("\nNext:")
    typer.echo(printable(f"  plansguard verify-receipt {shlex.quote(str(folder))}"))
    typer.echo(printable(f"  plansguard gate -- nnUNetv2_predict -i IMAGES -o SEGMENTATIONS {shlex.join(words)}"))


def _tells() -> bool:
    """Of the processes that torchrun or SLURM has started all judge, and the first one speaks and writes."""
    from plansguard.training.distributed_env import read_place

    place = read_place(os.environ)
    return place is None or place.rank == 0


def _assert_installed() -> None:
    """Before minutes are spent on judging what cannot be trained here."""
    from plansguard.nnunet.install import trainer_folder

    if obstacle := trainer_folder.obstacle():
        raise UsageError(obstacle, hint=f"{trainer_folder.REMEDY}; --dry-run only judges, and needs none of it")


def _stock_command(order: TrainingRequest, *, npz: bool) -> list[str]:
    """The same training by nnU-Net's own command, after ``eval "$(plansguard env)"``."""
    words = ["nnUNetv2_train", order.dataset, order.configuration, order.fold, "-tr", order.trainer, "-p", order.plans]
    words += ["-pretrained_weights", str(order.weights)] if order.weights is not None else []
    words += ["-device", order.device] if order.device != "cuda" else []
    words += ["-num_gpus", str(order.gpus)] if order.gpus > 1 else []
    flags = {
        "--c": order.continues,
        "--val": order.validates,
        "--val_best": order.validates_best,
        "--npz": npz,
        "--disable_checkpointing": order.disables_checkpointing,
    }
    return words + [flag for flag, wanted in flags.items() if wanted]


def _options(save_every: int | None, max_time: str | None, portable: bool) -> Options:
    """What the environment says, unless it was typed."""
    from plansguard.training.options import MAX_TIME, PORTABLE, SAVE_EVERY, read_options

    typed = {SAVE_EVERY: save_every, MAX_TIME: max_time, PORTABLE: 1 if portable else None}
    return read_options({**os.environ, **{name: str(value) for name, value in typed.items() if value is not None}})
