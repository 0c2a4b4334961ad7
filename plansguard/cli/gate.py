"""``plansguard gate``."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer
from typer import Argument

from plansguard.cli import ADDED_VARIABLES
from plansguard.cli.common_options import (
    FailOn,
    Outputs,
    Quiet,
    SettingsFile,
    Verbose,
    assert_not_mixed,
    parse_outputs,
    print_line,
    typed_words,
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
from plansguard.core.errors import UsageError
from plansguard.core.programs import find_program
from plansguard.nnunet import printed_commands
from plansguard.nnunet.install import trainer_folder
from plansguard.nnunet.workspace import Workspace
from plansguard.training.trainer_name import is_step_name

if TYPE_CHECKING:
    from plansguard.commands.gate import GateResult
    from plansguard.nnunet.command_line import CommandLine, Parsed
    from plansguard.subjects.request import TypedOptions

#: What follows the command belongs to it, with or without -- before it.
CONTEXT = {"allow_interspersed_args": False}
_IS_POSIX = os.name == "posix"
#: Options of the gate that are easily typed after the command: without a value, and all.
_FLAGS = {"--dry-run", "--from-scratch"}
_OURS = {*_FLAGS, "--accept", "--because", "--data", "--gpu-memory", "--output", "--fail-on", "--settings"}

Command = Annotated[
    list[str] | None, Argument(metavar="-- COMMAND", help="A command of nnU-Net with its arguments, also behind srun.")
]


def gate(
    context: typer.Context,
    command: Command = None,
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
    """Check a command of nnU-Net, and start it if it is fit to.

    It goes in front of a line in a job script: nnU-Net's commands that train, plan, preprocess, move plans or predict.
    An error stops it with exit code 1 before nnU-Net is loaded; otherwise the command replaces this process, so signals
    and exit codes are its own.

    Examples:
        plansguard gate -- nnUNetv2_train 2 3d_fullres 0 -p PretrainPlans
        plansguard gate --dry-run -- nnUNetv2_plan_and_preprocess -d 2
        plansguard gate --accept PG715 --because "a quota" -- nnUNetv2_train 2 2d 0
    """
    from plansguard.nnunet import command_line, constants

    outputs = parse_outputs(output, verbose=verbose, quiet=quiet)
    if not dry_run:
        assert_not_mixed(outputs)
    typed = typed_options(context)
    line = command_line.command_line(command or (), typed.of_gate)
    program = None if dry_run else _program(line)
    parsed = command_line.parse(line.name, line.arguments) if line.name in command_line.GRAMMARS else None
    if parsed is not None:
        if from_scratch and line.name != constants.TRAIN:
            raise UsageError(f"--from-scratch is an option for {constants.TRAIN}", hint="leave it out")
        if line.name != constants.TRAIN and (idle := [*typed_words(context, ("data", "gpu_memory"))]):
            _print_note(f"{' '.join(idle)} has no effect on {line.name}")
        weights = getattr(parsed.values, "pretrained_weights", None)
        accepted = accepted_findings(accept, because, from_scratch, weights)
        options = GateOptions(accepted, data, gpu_memory, dry_run, outputs, fail_on, settings, typed)
        steps = _judge(line, parsed, options)
    else:
        why = "is asked for help" if line.name in command_line.GRAMMARS else "is not a command that plansguard judges"
        _print_note(f"{line.name} {why}: not checked")
        steps = any(map(is_step_name, line.words))
    if program is not None:
        _replace_process(program, line.words, _environment(steps=steps))


def _judge(line: CommandLine, parsed: Parsed, options: GateOptions) -> bool:
    """Judge the command; typer.Exit where it is refused. Whether nnU-Net must find trainers of a number of steps."""
    from plansguard.commands.gate import GateRequest, judge
    from plansguard.training.folder_lock import pass_on

    _assert_options(line, parsed, options.typed)
    os.environ.update(line.assignments)  # as env will do it
    with progress_bar("judging the command") as progress:
        request = GateRequest(
            line=line,
            parsed=parsed,
            workspace=Workspace.from_environment(),
            environment=os.environ,
            settings=options.settings_for,
            reading=options.reading(progress),
            gpu_memory=options.gpu_memory,
            accepted=options.accepted,
            typed=options.typed,
        )
        result = judge(request)
    if options.outputs.text_on_screen:
        _print_before(result)
    options.pass_or_exit(result.report, result.settings.fail_on, result.run)
    for hint in result.hints:
        _print_note(hint)
    run = result.run
    if not options.dry_run and run is not None and not run.validates:
        keeps_lock = _IS_POSIX and line.before == 0 and run.gpus == 1  # else other processes will lock
        leave_record(run, result.report, keeps_lock=keeps_lock)
        if keeps_lock and run.schedule is not None:
            pass_on(run.output_folder)
    return result.steps


def _assert_options(line: CommandLine, parsed: Parsed, typed: TypedOptions) -> None:
    """Raise UsageError for an option of the gate after the command; report options that nnU-Net does not have."""
    from plansguard.nnunet.constants import NNUNET_VERSION

    ours = [at for at, word in enumerate(line.words) if word in parsed.unknown and word.partition("=")[0] in _OURS]
    if ours:
        lengths = {at: 1 if "=" in line.words[at] or line.words[at] in _FLAGS else 2 for at in ours}
        moved = [word for at, length in lengths.items() for word in line.words[at : at + length]]
        taken = {at + more for at, length in lengths.items() for more in range(length)}
        kept = [word for at, word in enumerate(line.words) if at not in taken]
        command = printed_commands.gate(kept, [*typed.of_gate, *moved])
        raise UsageError(
            f"{line.name} has no option {line.words[ours[0]]}, which is one of plansguard gate",
            hint=f"put {'it' if len(ours) == 1 else 'such options'} before --: {command}",
        )
    if parsed.unknown:
        _print_note(f"not known to nnU-Net {NNUNET_VERSION}, and so not checked: {' '.join(parsed.unknown)}")


def _print_note(line: str) -> None:
    """Print one line beside the report, on standard error: standard output belongs to the command."""
    print_line(f"plansguard: {line}", err=True)


def _print_before(result: GateResult) -> None:
    """Print what nnU-Net will delete, and what it will skip."""
    if result.jobs:
        from plansguard.cli.preprocess import print_before

        for job in result.jobs:
            print_before(job)
    for remark in result.remarks:
        print_line(remark)


def _program(line: CommandLine) -> str:
    """The path of the program to start. UsageError, before anything is read, if there is none."""
    name = line.words[0]
    program = find_program(name)
    if program is None:
        raise UsageError(
            f"there is no program {name} that could be started",
            hint="activate the environment that nnU-Net is installed in, or correct the path"
            if line.before == 0
            else "correct its name, or PATH",
        )
    return program


def _environment(*, steps: bool) -> dict[str, str]:
    """The command's environment: this process's own, and the folder of our trainers where one of them is named."""
    environment = {name: value for name, value in os.environ.items() if name not in ADDED_VARIABLES}
    if steps:
        environment[trainer_folder.VARIABLE] = trainer_folder.search_path(environment.get(trainer_folder.VARIABLE, ""))
    return environment


def _replace_process(program: str, words: tuple[str, ...], environment: Mapping[str, str]) -> NoReturn:
    """Replace this process by the program; where a system cannot do that, pass its exit code on.

    ``words`` are its name, as it was typed, and its arguments.
    """
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:  # None where it was closed before this process started
            stream.flush()
    if not _IS_POSIX:
        import subprocess

        done = subprocess.run((program, *words[1:]), env=environment, check=False)
        raise typer.Exit(done.returncode)
    for name in ("SIGPIPE", "SIGXFSZ"):  # Python ignores them, and the command would inherit that
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_DFL)
    os.execve(program, words, environment)
