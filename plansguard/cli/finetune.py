"""``plansguard finetune``."""

from __future__ import annotations

import os
import shlex
import sys
from argparse import Namespace
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from enum import Enum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer
from typer import Argument, Option

from plansguard.cli import schedule_options
from plansguard.cli.common_options import (
    OutputTargets,
    Quiet,
    SettingsFile,
    TextOrJson,
    assert_not_mixed,
    at_least,
    emit_text_or_json,
    load_settings,
    print_line,
    print_next,
    print_wrapped,
    screen_width,
    text_or_json,
    weights_option,
)
from plansguard.cli.gate_options import Because, GpuMemory, accepted_pairs
from plansguard.cli.migrate import Onto, ReaderClass, Workflow, WorkflowOption
from plansguard.cli.preprocess import Processes
from plansguard.cli.progress_bar import progress_bar
from plansguard.cli.train import Device, Gpus, MaxTime, Npz, SaveEvery, SaveLimit, assert_installed
from plansguard.core.errors import UsageError
from plansguard.nnunet.workspace import FOLDS, ROOTS, Workspace
from plansguard.training.schedule import STOCK_PER_WINDOW

#: Steps that run where nnU-Net is not installed.
_WITHOUT_NNUNET = ("migrate", "check")

if TYPE_CHECKING:
    from plansguard.commands.finetune.request import RoadRequest
    from plansguard.render import Screen
    from plansguard.rules.engine.acceptance import Accepted
    from plansguard.subjects.road import Road, RoadStep
    from plansguard.training.options import Options
    from plansguard.training.schedule import StepSchedule


class ScriptKind(str, Enum):
    """The values of --print."""

    SH = "sh"
    SLURM = "slurm"


Source = Annotated[
    str,
    Option(
        "-s",
        metavar="DATASET|PATH",
        help="Where the weights come from: a dataset, or the path of a plans file, a checkpoint, a model folder or an "
        "exported model zip.",
    ),
]
Target = Annotated[str, Option("-t", metavar="DATASET", help="The dataset to fine-tune on: id or name.")]
TargetPlans = Annotated[str, Option("-tp", metavar="IDENTIFIER", help="The new name of the migrated plans.")]
Configuration = Annotated[
    str, Option("-c", "--configuration", metavar="CONFIGURATION", help="The configuration, such as 3d_fullres.")
]
Folds = Annotated[
    list[str], Option("-f", "--fold", metavar="FOLD ...", help="The folds: numbers, or all. Default: 0 1 2 3 4.")
]
More = Annotated[list[str] | None, Argument(metavar="[FOLD]...", help="More folds after -f.", hidden=True)]
Steps = Annotated[int | None, Option("--steps", metavar="N", help="How many optimiser steps of each fold.")]
Rate = Annotated[
    float | None, Option("--lr", metavar="X", help="The highest learning rate of the fine-tuning. Default: 0.001.")
]
SourcePlans = Annotated[
    str | None,
    Option(
        "-sp",
        metavar="IDENTIFIER",
        help="The plans to move, as for migrate: those of the weights, for --workflow pretrain those of -t.",
    ),
]
PretrainSteps = Annotated[
    int | None,
    Option("--pretrain-steps", metavar="N", help="Train the weights first, on all cases of -s, for N steps."),
]
Planner = Annotated[str, Option("-pl", metavar="PLANNER", help="nnU-Net's planner for a dataset without its plans.")]
BaseTrainer = Annotated[
    str | None,
    Option("-tr", metavar="TRAINER", help="The trainer that makes the steps. Default: the one that suits the weights."),
]
Weights = Annotated[Path | None, weights_option("The weights, where -s does not lead to them.")]
Accept = Annotated[
    list[str], Option("--accept", metavar="CODE", help="Let this finding through; needs --because. Repeatable.")
]
Verify = Annotated[bool, Option("--verify", help="Let nnU-Net read and verify all images and labels first.")]
DryRun = Annotated[bool, Option("--dry-run", help="Show the road, run nothing.")]
Until = Annotated[str | None, Option("--until", metavar="STEP", help="Stop after this step.")]
Jobs = Annotated[
    int,
    Option("--jobs", metavar="N", callback=at_least(1), help="Folds that train at the same time, each on its own GPU."),
]
Print = Annotated[
    ScriptKind | None,
    Option(
        "--print",
        metavar="sh|slurm",
        help="Run nothing, and print the road as a script of bash, or as one that submits jobs of SLURM.",
    ),
]
Dask = Annotated[
    str | None,
    Option(
        metavar="ADDRESS",
        help="Preprocess, and read preprocessed cases, on the workers of this Dask cluster (plansguard[dask]).",
    ),
]
Yes = Annotated[bool, Option("--yes", "-y", help="Make stale steps again without asking.")]


def finetune(
    source: Source,
    target: Target,
    target_plans: TargetPlans,
    configuration: Configuration,
    fold: Folds = [],  # noqa: B006 - typer copies it
    more: More = None,
    steps: Steps = None,
    epochs: schedule_options.Epochs = None,
    per_epoch: schedule_options.PerEpoch = STOCK_PER_WINDOW,
    validation: schedule_options.Validation = None,
    rate: Rate = None,
    by_window: schedule_options.ByWindow = False,
    warmup: schedule_options.Warmup = 0,
    keep_head: schedule_options.KeepHead = False,
    workflow: WorkflowOption = Workflow.FINETUNE,
    pretrain_steps: PretrainSteps = None,
    source_plans: SourcePlans = None,
    onto: Onto = None,
    reader: ReaderClass = None,
    planner: Planner = "ExperimentPlanner",
    weights: Weights = None,
    trainer: BaseTrainer = None,
    device: Device = "cuda",
    gpus: Gpus = 1,
    processes: Processes = None,
    dask: Dask = None,
    npz: Npz = False,
    save_every: SaveEvery = None,
    save_limit: SaveLimit = None,
    max_time: MaxTime = None,
    verify: Verify = False,
    gpu_memory: GpuMemory = None,
    accept: Accept = [],  # noqa: B006
    because: Because = [],  # noqa: B006
    until: Until = None,
    jobs: Jobs = 1,
    dry_run: DryRun = False,
    prints: Print = None,
    yes: Yes = False,
    output: TextOrJson = [],  # noqa: B006
    settings: SettingsFile = None,
    quiet: Quiet = False,
) -> None:
    """Run the whole road, from raw images to fine-tuned folds.

    First all steps are shown and judged: what is done and still valid, what is needed, and which finding would stop a
    later step. Then each needed step runs by its own command, behind its gate, with its record. The same command
    continues after an interruption. Exit code: 0 done, 1 a step is blocked or was refused, 2 the command is wrong,
    4 a step failed, 75 stopped in time.

    Examples:
        plansguard finetune -s 1 -t 2 -tp PretrainPlans -c 3d_fullres -f 0 1 2 3 4 --steps 50000 --dry-run
        plansguard finetune -s model.zip -t 2 -tp PretrainPlans -c 3d_fullres -f all --steps 50000
        plansguard finetune -s 1 -t 2 -tp PretrainPlans -c 3d_fullres --steps 50000 --print slurm
    """
    _run(Namespace(**locals()))


def _run(typed: Namespace) -> NoReturn:
    """Survey the road, show it, and run what is needed. ``typed`` are the options, by the names of the parameters."""
    from plansguard.commands.finetune.execution import slots_of, up_to
    from plansguard.commands.finetune.request import steps_of
    from plansguard.commands.finetune.survey import survey

    steps = steps_of(typed.workflow.value)
    if typed.until is not None and typed.until not in steps:
        raise UsageError(f"--until {typed.until} is no step of a road", hint=f"steps: {', '.join(steps)}")
    outputs = replace(text_or_json(typed.output), quiet=typed.quiet)
    if typed.prints is not None:
        _assert_printable(typed)
    else:
        _assert_answers(typed.dask)
        if not typed.dry_run:
            assert_not_mixed(outputs)
    request, workspace = _request(typed), Workspace.from_environment()
    seconds = _options_of_training(typed.max_time, typed.save_every, typed.save_limit).max_time
    jobs = min(typed.jobs, len(request.folds))
    slots = [{}] if typed.dry_run or typed.prints else slots_of(typed.device, typed.gpus, jobs)
    with progress_bar("judging the road"):
        road = survey(workspace, request)
    _assert_apart(road, outputs)
    _show(road, outputs, err=typed.prints is not None)
    if road.is_blocked:
        typer.echo("", err=True)
        print_wrapped("Nothing was started. Fix what blocks the road, and start it again.", err=True)
        raise typer.Exit(1)
    if typed.prints is not None:
        _print_script(typed, road, workspace, seconds)
    if typed.dry_run or typed.prints is not None:
        raise typer.Exit(0)
    if any(step.name not in _WITHOUT_NNUNET for step in up_to(road, typed.until)):
        assert_installed()
    _confirm(road, typed.until, yes=typed.yes)
    _drive(workspace, road, partial(survey, workspace, request), typed.until, slots, seconds)


def _assert_answers(dask: str | None) -> None:
    """Raise UsageError where the cluster cannot be used, before hours of other steps."""
    if dask is not None:
        from plansguard.core.cluster import connected

        with connected(dask):
            pass


def _request(typed: Namespace) -> RoadRequest:
    from plansguard.commands.finetune.request import RoadRequest

    length = (typed.steps, typed.epochs, typed.per_epoch, typed.validation, typed.rate, typed.by_window, typed.warmup)
    return RoadRequest(
        source=typed.source,
        target=typed.target,
        plans=typed.target_plans,
        configuration=typed.configuration,
        folds=(*typed.fold, *(typed.more or ())) or tuple(map(str, range(FOLDS))),
        schedule=schedule_options.schedule_of(*length, None, typed.keep_head, option="--steps"),
        settings=lambda folder: load_settings(typed.settings, [folder]),
        workflow=typed.workflow.value,
        pretraining=_pretraining(typed.pretrain_steps, typed.per_epoch, typed.validation),
        source_plans=typed.source_plans,
        onto=typed.onto,
        reader=typed.reader,
        planner=typed.planner,
        weights=typed.weights,
        trainer=typed.trainer,
        device=typed.device,
        gpus=typed.gpus,
        processes=typed.processes,
        dask=typed.dask,
        gpu_memory=typed.gpu_memory,
        keeps_probabilities=typed.npz,
        verifies=typed.verify,
        save_every=typed.save_every,
        save_limit=typed.save_limit,
        elsewhere=typed.prints is ScriptKind.SLURM,
        accepted=_accepted(typed.accept, typed.because),
        settings_file=typed.settings,
    )


def _accepted(accept: list[str], because: list[str]) -> list[Accepted]:
    """The findings to accept; UsageError for one that the migration does not accept."""
    pairs = accepted_pairs(accept, because)
    if {entry.code for entry in pairs} & {"PG412", "would-overwrite"}:
        raise UsageError("PG412 cannot be accepted", hint="choose another name with -tp")
    return pairs


def _pretraining(steps: int | None, per_epoch: int, validation: int | None) -> StepSchedule | None:
    from plansguard.training.schedule import StepSchedule

    return None if steps is None else StepSchedule(steps, per_epoch, validation)


def _options_of_training(max_time: str | None, *numbers: int | None) -> Options:
    """The options that do not change what is trained; UsageError for values that a training would refuse."""
    from plansguard.training.options import MAX_TIME, SAVE_EVERY, SAVE_LIMIT, read_options

    texts = ["" if number is None else str(number) for number in numbers]
    return read_options({}, {MAX_TIME: max_time or "", **dict(zip((SAVE_EVERY, SAVE_LIMIT), texts, strict=True))})


def _assert_apart(road: Road, outputs: OutputTargets) -> None:
    """Raise UsageError for an output in the place of a file, or in a folder, that a step writes."""
    from plansguard.core import disk

    written = {disk.real(path) for step in road.steps for path in step.writes}
    for _, output in outputs.files:
        if output is not None and written & {disk.real(output), *disk.real(output).parents}:
            raise UsageError(f"--output: a step of this road writes {output}", hint="give the report another name")


def _show(road: Road, outputs: OutputTargets, *, err: bool) -> None:
    """Show the steps; with ``err`` on standard error, because standard output is for a script."""
    from plansguard.render import Screen, render
    from plansguard.render import road as rendering

    def text(screen: Screen) -> str:
        findings = render(road.report, "text", replace(screen, quiet=True)).removesuffix("\n")
        return "\n".join(filter(None, [rendering.text(road, screen), findings, f"{rendering.counts(road)}\n"]))

    if err:
        typer.echo(text(Screen(quiet=outputs.quiet, width=screen_width(sys.stderr))), nl=False, err=True)
    else:
        emit_text_or_json(outputs, text, lambda: rendering.as_json(road))


def _assert_printable(typed: Namespace) -> None:
    """Raise UsageError for options that a printed script would not have."""
    if typed.dry_run:
        raise UsageError("--print and --dry-run exclude each other", hint="--print runs nothing either")
    if typed.output:
        raise UsageError("--print has no other format", hint="leave --output out, or take --dry-run --output json")
    if typed.jobs > 1:
        raise UsageError("--jobs is for trainings of this command", hint="--print slurm makes a job for each fold")
    if typed.max_time is not None and typed.prints is ScriptKind.SH:
        raise UsageError(
            "a script of --print sh has no time limit",
            hint="--print slurm makes --max-time the limit of the jobs; in a job of your own, type finetune itself",
        )


def _print_script(typed: Namespace, road: Road, workspace: Workspace, seconds: int | None) -> None:
    """Print the steps that wait as a script that runs as this command does: same folder, programs and variables."""
    from plansguard.commands.finetune.execution import up_to
    from plansguard.render.job_script import JobSize, ScriptPlace, shell_script, slurm_script
    from plansguard.subjects.road import IN_ROAD

    steps = up_to(road, typed.until)
    if not steps:
        done = "every step is done" if typed.until is None else f"every step up to {typed.until} is done"
        typer.echo(f"\nplansguard: {done}: there is no script to print", err=True)
        return
    roots = dict(zip(ROOTS, (workspace.raw, workspace.preprocessed, workspace.results), strict=True))
    variables = {name: str(root.absolute()) for name, root in roots.items() if root is not None}
    others = {name: value for name, value in os.environ.items() if name.startswith("nnUNet_") and name not in ROOTS}
    place = ScriptPlace(
        command=shlex.join(["plansguard", *sys.argv[1:]]),
        folder=str(Path.cwd()),
        programs=str(Path(sys.executable).parent),
        variables={**variables, **dict(sorted(others.items())), IN_ROAD: "1"},
    )
    if typed.prints is ScriptKind.SH:
        typer.echo(shell_script(road, steps, place), nl=False)
    else:
        size = JobSize(typed.device, typed.gpus, typed.processes, seconds)
        typer.echo(slurm_script(road, steps, place, size), nl=False)


def _confirm(road: Road, until: str | None, *, yes: bool) -> None:
    """Before something is made again that is there, require ``--yes`` or a yes on the terminal."""
    from plansguard.commands.finetune.execution import up_to
    from plansguard.subjects.road import StepState

    stale = [step for step in up_to(road, until) if step.state is StepState.STALE]
    if yes or not stale:
        return
    names = ", ".join(step.title for step in stale)
    if not sys.stdin.isatty():
        raise UsageError(
            f"{names} would be made again, and there is no terminal to ask on",
            hint="add --yes if that is meant, or --dry-run to see everything first",
        )
    if not typer.confirm(f"\nMake {names} again?"):
        typer.echo("Nothing was started.")
        raise typer.Exit(1)


def _drive(
    workspace: Workspace,
    road: Road,
    again: Callable[[], Road],
    until: str | None,
    slots: Sequence[Mapping[str, str]],
    seconds: int | None,
) -> NoReturn:
    from plansguard.commands.finetune.execution import Driver

    total = len(road.steps)
    place = {step.title: number for number, step in enumerate(road.steps, 1)}

    def announce(step: RoadStep, command: str) -> None:
        typer.echo("", err=True)
        print_line(f"plansguard: step {place[step.title]} of {total}, {step.title}: {command}", err=True)

    ended = Driver(workspace, again, announce, slots=slots, seconds=seconds).drive(road, until)
    typer.echo("", err=True)
    if ended.code == 0:
        what = f"done up to {until}" if until else "every step is done"
        print_line(f"plansguard: {what}", err=True)
        print_next(ended.next, err=True)
    elif ended.failed is not None:
        first = "corrected or accepted, " if ended.code == 1 else ""
        how = f"{_how(ended.code)}: {ended.failed.title}"
        print_line(f"plansguard: {how}; {first}the same command continues", err=True)
    raise typer.Exit(ended.code)


def _how(code: int) -> str:
    return {1: "refused", 75: "stopped in time"}.get(code, f"ended with exit code {code}")
