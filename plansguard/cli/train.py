"""``plansguard train``."""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from typer import Argument, Option

from plansguard.cli import schedule_options
from plansguard.cli.common_options import (
    FailOn,
    Outputs,
    Quiet,
    Resume,
    SettingsFile,
    Verbose,
    at_least,
    is_typed,
    parse_outputs,
    print_line,
    print_next,
    typed_words,
    weights_option,
)
from plansguard.cli.gate_options import (
    Accept,
    Because,
    Data,
    DryRun,
    FromScratch,
    GateOptions,
    GpuMemory,
    accepted_findings,
    leave_record,
    typed_options,
)
from plansguard.cli.progress_bar import progress_bar
from plansguard.core.errors import UsageError, known
from plansguard.nnunet.command_line import parse
from plansguard.nnunet.constants import DEFAULT_IDENTIFIER, DEFAULT_TRAINER, TRAIN, base_trainer
from plansguard.nnunet.workspace import Workspace
from plansguard.training.schedule import STOCK_PER_WINDOW
from plansguard.training.trainer_name import is_step_name, trainer_name

if TYPE_CHECKING:
    from plansguard.subjects.request import TypedOptions
    from plansguard.subjects.training_run import TrainingRun
    from plansguard.training.options import Options
    from plansguard.training.schedule import StepSchedule


Steps = Annotated[int | None, Option("--steps", metavar="N", help="How many optimiser steps.")]
Plans = Annotated[str, Option("-p", "--plans", metavar="IDENTIFIER", help="The plans.")]
Weights = Annotated[Path | None, weights_option("Weights to begin with, for fine-tuning.")]
Device = Annotated[str, Option("-device", "--device", metavar="DEVICE", help="cuda, cpu or mps.")]
Gpus = Annotated[int, Option("-num_gpus", "--num-gpus", metavar="N", help="GPUs of this machine to train on together.")]
ValBest = Annotated[bool, Option("--val_best", help="Validate with checkpoint_best in place of checkpoint_final.")]
Npz = Annotated[bool, Option("--npz", help="Save the probabilities of the final validation, for ensembles.")]
NoCheckpoints = Annotated[bool, Option("--disable_checkpointing", help="Write no checkpoints: for trials only.")]
SaveEvery = Annotated[
    int | None,
    Option(
        "--save-every",
        metavar="N",
        callback=at_least(0),
        help="Steps between two checkpoints; 0: only at the end, or when stopped. Default: 2500.",
    ),
]
SaveLimit = Annotated[
    int | None,
    Option(
        "--save-total-limit",
        metavar="N",
        callback=at_least(1),
        help="Keep the newest N of these checkpoints, named by their step. Default: each replaces the last one.",
    ),
]
MaxTime = Annotated[
    str | None,
    Option(
        "--max-time",
        metavar="DURATION",
        help="Stop after this time, such as 23h30m, with a checkpoint and exit code 75.",
    ),
]
Continues = Annotated[bool, Option("--c", help="Continue from the newest good checkpoint.")]
ResumeAuto = Annotated[
    Resume | None,
    Option(
        "--resume",
        metavar="auto",
        help="Begin if there is no checkpoint, continue if there is one, and end with 0 if the training is finished.",
    ),
]
Portable = Annotated[bool, Option("--portable", help="Let others predict from the checkpoints without plansguard.")]


def train(
    context: typer.Context,
    dataset: Annotated[str, Argument(help="The dataset to train on: id or name.")],
    configuration: Annotated[str, Argument(help="The configuration, such as 3d_fullres.")],
    fold: Annotated[str, Argument(help="The fold: a number, or all.")],
    steps: Steps = None,
    extend_to: schedule_options.ExtendTo = None,
    epochs: schedule_options.Epochs = None,
    per_epoch: schedule_options.PerEpoch = STOCK_PER_WINDOW,
    validation: schedule_options.Validation = None,
    rate: schedule_options.Rate = None,
    by_window: schedule_options.ByWindow = False,
    warmup: schedule_options.Warmup = 0,
    keep_head: schedule_options.KeepHead = False,
    trainer: schedule_options.Trainer = DEFAULT_TRAINER,
    plans: Plans = DEFAULT_IDENTIFIER,
    weights: Weights = None,
    device: Device = "cuda",
    gpus: Gpus = 1,
    continues: Continues = False,
    resume: ResumeAuto = None,
    validates: Annotated[bool, Option("--val", help="Only run the final validation.")] = False,
    validates_best: ValBest = False,
    npz: Npz = False,
    disable_checkpointing: NoCheckpoints = False,
    save_every: SaveEvery = None,
    save_limit: SaveLimit = None,
    max_time: MaxTime = None,
    portable: Portable = False,
    accept: Accept = [],  # noqa: B006 - typer copies it
    because: Because = [],  # noqa: B006
    from_scratch: FromScratch = False,
    data: Data = None,
    gpu_memory: GpuMemory = None,
    dry_run: DryRun = False,
    output: Outputs = [],  # noqa: B006
    fail_on: FailOn = None,
    settings: SettingsFile = None,
    verbose: Verbose = False,
    quiet: Quiet = False,
) -> None:
    """Check all a training needs, then train for exactly N steps.

    Plans, data, weights, environment and the folder of results are judged first, before torch is loaded. Exit code:
    0 trained, 1 refused, 2 the command is wrong, 4 the training failed, 75 stopped: --c or --resume auto continues it.

    Examples:
        plansguard train 2 3d_fullres 0 -p PretrainPlans --steps 50000 --dry-run
        plansguard train 2 3d_fullres 0 --steps 50000 --max-time 23h30m --resume auto
    """
    typed = (steps, epochs, per_epoch, validation, rate, by_window, warmup, extend_to, keep_head)
    trainer = _step_trainer(context, trainer, partial(schedule_options.schedule_of, *typed, option="--steps"))
    values = {"-pretrained_weights": weights, "-device": device, "-num_gpus": gpus}
    flags = {"--c": continues or (extend_to is not None and not validates), "--val": validates}
    flags |= {"--val_best": validates_best, "--npz": npz, "--disable_checkpointing": disable_checkpointing}
    command = _stock_command([dataset, configuration, fold, "-tr", trainer, "-p", plans], values, flags)
    outputs = parse_outputs(output, verbose=verbose, quiet=quiet)
    accepted = accepted_findings(accept, because, from_scratch, weights)
    gate = GateOptions(accepted, data, gpu_memory, dry_run, outputs, fail_on, settings, typed_options(context))
    _run(command, _options(save_every, save_limit, max_time, portable), gate, _resumes(resume, continues, validates))


def _assert_kept(command: Sequence[str], typed: TypedOptions) -> None:
    """Raise UsageError for an option that asks for checkpoints, where none are to be written."""
    asking = [word for word in typed.stepping if word in ("--max-time", "--save-every")]
    if asking and "--disable_checkpointing" in command:
        raise UsageError(
            f"{asking[0]} asks for a checkpoint, and --disable_checkpointing writes none",
            hint="leave one of the two out",
        )


def _named(trainer: str, schedule: StepSchedule) -> str:
    """The trainer of this schedule. UsageError where ``trainer`` has another number of steps in its name."""
    if trainer == trainer_name(base_trainer(trainer), schedule):
        return trainer
    if is_step_name(trainer):
        raise UsageError(
            f"-tr {trainer} has a number of steps in its name, and --steps gives another one",
            hint=f"leave --steps and its other options out, or name the base trainer: -tr {base_trainer(trainer)}",
        )
    return trainer_name(trainer, schedule)


def _step_trainer(context: typer.Context, trainer: str, schedule: Callable[[], StepSchedule]) -> str:
    """The trainer of the schedule that is typed, or that its name contains; UsageError where both contradict."""
    if any(is_typed(context, name) for name in ("steps", "epochs", "extend_to")) or not is_step_name(trainer):
        return _named(trainer, schedule())
    if words := [*typed_words(context, ("per_epoch", "validation", "rate", "by_window", "warmup", "keep_head"))]:
        raise UsageError(
            f"-tr {trainer} has its schedule in its name, and {' '.join(words)} would change nothing",
            hint=f"name the base trainer and the number of steps: -tr {base_trainer(trainer)} --steps N",
        )
    return trainer


#: Values that are nnU-Net's default and so are left out.
_DEFAULTS = {"-pretrained_weights": None, "-device": "cuda", "-num_gpus": 1}


def _stock_command(words: Sequence[str], values: Mapping[str, object], flags: Mapping[str, bool]) -> list[str]:
    """The same training by nnU-Net's own command, after ``eval "$(plansguard env)"``."""
    given = [word for name, value in values.items() if value != _DEFAULTS[name] for word in (name, str(value))]
    return [TRAIN, *words, *given, *(flag for flag, wanted in flags.items() if wanted)]


def _run(command: Sequence[str], options: Options, gate: GateOptions, resumes: bool) -> None:
    """Judge a training, and start it."""
    from plansguard.commands.train import judge, prepare

    _assert_kept(command, gate.typed)
    if not gate.dry_run:
        assert_installed()
    parsed = parse(TRAIN, command[1:])
    assert parsed is not None  # the command has no --help
    prints = _is_first_process()
    with progress_bar("judging the training", shown=prints) as progress:
        run = prepare(
            Workspace.from_environment(),
            parsed.values,
            gate.reading(progress),
            gpu_memory=gate.gpu_memory,
            options=options,
            typed=gate.typed,
            launcher=None,
            resumes=resumes,
        )
        active = gate.settings_for(run.dataset.folder)
        report = judge(run, "train", active, gate.accepted)
    if resumes and run.continues:
        command = _continuing(command)
    would_run = _would_run(command, options) if gate.dry_run else ""
    if resumes and run.is_finished:
        gate.end_without_start(report, prints=prints)
    gate.pass_or_exit(report, active.fail_on, run, prints=prints, would_run=would_run)
    if resumes and prints:
        print_line(f"plansguard: {_where(run, weights=parsed.values.pretrained_weights)}", err=True)
    if would_run:
        print_line(would_run, err=True)
        return
    if prints and not run.validates:
        leave_record(run, report, keeps_lock=run.gpus == 1)  # else nnU-Net starts the processes that lock
    from plansguard.training.launch import launch

    code = launch(command[1:], options)
    if prints and code == 0:
        _print_next(run)
    raise typer.Exit(code)


def _resumes(resume: Resume | None, continues: bool, validates: bool) -> bool:
    """Return whether --resume auto is typed; UsageError where a flag beside it decides as well."""
    decided = [flag for flag, given in (("--c", continues), ("--val", validates)) if given]
    if resume is not None and decided:
        raise UsageError(f"--resume auto and {decided[0]} exclude each other", hint="leave one of the two out")
    return resume is not None


def _continuing(command: Sequence[str]) -> list[str]:
    """The command with --c; weights to begin with exclude it."""
    at = command.index("-pretrained_weights") if "-pretrained_weights" in command else len(command)
    words = [*command[:at], *command[at + 2 :]]
    return words if "--c" in words else [*words, "--c"]


def _where(run: TrainingRun, *, weights: str | None) -> str:
    """Where the training goes on, or that it begins; ``weights`` are those that were typed to begin with."""
    point = known(lambda: run.resume_point)
    if point is None or run.schedule is None:
        return "there is no checkpoint: a new training begins"
    unread = f"; {weights} is not read again" if weights is not None else ""
    if point.is_complete:
        return f"{point.path.name} has all {run.schedule.total:,} steps: only the final validation is left{unread}"
    if point.state.step >= run.schedule.total:
        left = "the validation of the last window and the final one are left"
        return f"{point.path.name} has all {run.schedule.total:,} steps: {left}{unread}"
    return f"{point.path.name} is continued, at step {point.state.step:,} of {run.schedule.total:,}{unread}"


def _print_next(run: TrainingRun) -> None:
    """Print the commands that verify the training record and use the results."""
    from plansguard.commands.train import next_commands

    print_next(next_commands(run))


def _is_first_process() -> bool:
    """Whether this process prints and writes: all that torchrun or SLURM has started judge, only the first reports."""
    from plansguard.training.distributed_env import read_place

    place = read_place(os.environ)
    return place is None or place.rank == 0


def assert_installed() -> None:
    """Raise UsageError, before minutes are spent on judging, where nothing can be trained."""
    from plansguard.nnunet.install import trainer_folder

    if obstacle := trainer_folder.obstacle():
        raise UsageError(obstacle, hint=f"{trainer_folder.REMEDY}; --dry-run only judges, and needs none of it")


def _would_run(command: Sequence[str], options: Options) -> str:
    """The command of nnU-Net, with the options that it takes from the environment."""
    from plansguard.training.options import Options, as_environment

    usual = as_environment(Options())
    variables = [f"{name}={value}" for name, value in as_environment(options).items() if value != usual[name]]
    return f'would run, after eval "$(plansguard env)": {" ".join([*variables, shlex.join(command)])}'


def _options(save_every: int | None, save_limit: int | None, max_time: str | None, portable: bool) -> Options:
    """The options that were typed, else those of the environment."""
    from plansguard.training.options import MAX_TIME, PORTABLE, SAVE_EVERY, SAVE_LIMIT, read_options

    typed = {SAVE_EVERY: save_every, SAVE_LIMIT: save_limit, MAX_TIME: max_time, PORTABLE: 1 if portable else None}
    return read_options(os.environ, {name: str(value) for name, value in typed.items() if value is not None})
