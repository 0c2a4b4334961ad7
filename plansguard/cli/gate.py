"""``plansguard gate``."""

from __future__ import annotations

import os
import shutil
import signal
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from plansguard.cli import ADDED_VARIABLES
from plansguard.cli.common_options import FailOn, Outputs, SettingsFile, load_settings, parse_outputs
from plansguard.cli.gate_options import Accept, Because, Depth, GpuMemory, accepted_findings, pass_or_exit, reading_of
from plansguard.cli.progress_bar import progress_bar
from plansguard.core.errors import UsageError
from plansguard.nnunet.install import trainer_folder
from plansguard.nnunet.workspace import Workspace
from plansguard.render import printable
from plansguard.training.trainer_name import is_step_name

if TYPE_CHECKING:
    from plansguard.commands.gate import GateResult
    from plansguard.nnunet.command_line import CommandLine

#: What stands behind the command belongs to it, with or without -- before it.
CONTEXT = {"allow_interspersed_args": False}
_IS_POSIX = os.name == "posix"
#: Options of the gate that are easily typed behind the command.
_OURS = {"--dry-run", "--accept", "--because", "--data", "--gpu-memory", "--output", "--fail-on", "--settings"}


def gate(
    command: Annotated[
        list[str] | None,
        typer.Argument(metavar="-- COMMAND", help="A command of nnU-Net with its arguments, also behind srun."),
    ] = None,
    accept: Accept = [],  # noqa: B006 - typer copies it
    because: Because = [],  # noqa: B006
    data: Depth = None,
    gpu_memory: GpuMemory = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only judge, do not start the command.")] = False,
    output: Outputs = [],  # noqa: B006
    fail_on: FailOn = None,
    settings: SettingsFile = None,
) -> None:
    """Check whether a command of nnU-Net is fit to start, and start it.

    For example: plansguard gate -- nnUNetv2_train 2 3d_fullres 0 -p PretrainPlans.

    One word in front of the line in a job script, for nnU-Net's commands that train, plan, preprocess, move plans or
    predict. What is wrong stops it with exit code 1 before nnU-Net is loaded; else the command takes the place of this
    process, so signals and exit codes are its own.
    """
    from plansguard.commands.gate import GateRequest, judge
    from plansguard.commands.train import build, write
    from plansguard.nnunet import command_line, constants

    outputs = parse_outputs(output)
    if not dry_run and any(name != "text" and path is None for name, path in outputs):
        raise UsageError(
            "on the screen, a report for programs would be mixed with what the command prints",
            hint="give it a file, such as --output json=report.json, or add --dry-run",
        )
    line = command_line.command_line(command or ())
    if not dry_run:
        _assert_found(line)
    parsed = command_line.parsed(line) if line.name in command_line.GRAMMARS else None
    if parsed is None:
        why = "is asked for help" if line.name in command_line.GRAMMARS else "is no command that plansguard judges"
        _say(f"{line.name} {why}: not checked")
        if not dry_run:
            _become(line.words, _environment(steps=any(map(is_step_name, line.words))))
        return
    ours = [word for word in parsed.unknown if word.partition("=")[0] in _OURS]
    if ours:
        raise UsageError(
            f"{line.name} has no option {ours[0]}, which is one of plansguard gate",
            hint=f"put it before --: plansguard gate {ours[0]} ... -- {line.name} ...",
        )
    if parsed.unknown:
        _say(f"not known to nnU-Net {constants.NNUNET_VERSION}, and so not checked: {' '.join(parsed.unknown)}")
    os.environ.update(line.assignments)  # as env will do it
    accepted = accepted_findings(accept, because)
    with progress_bar("reading cases") as progress:
        question = GateRequest(
            line=line,
            parsed=parsed,
            workspace=Workspace.from_environment(),
            environment=os.environ,
            settings=lambda folder: load_settings(settings, [folder]),
            reading=reading_of(data, progress),
            gpu_memory=gpu_memory,
            accepted=accepted,
        )
        verdict = judge(question)
    on_screen = any(name == "text" and path is None for name, path in outputs)
    if on_screen:
        _say_before(verdict)
    pass_or_exit(verdict.report, outputs, accepted, fail_on or verdict.settings.fail_on)
    for hint in verdict.hints:
        _say(hint)
    if dry_run:
        return
    if verdict.run is not None and not verdict.run.validates:
        write(verdict.run, build(verdict.run, verdict.report, ["plansguard", *sys.argv[1:]]))
    _become(line.words, _environment(steps=verdict.steps))


def _say(line: str) -> None:
    """One line beside the report; standard output belongs to the command that comes."""
    typer.echo(printable(f"plansguard: {line}"), err=True)


def _say_before(verdict: GateResult) -> None:
    """What nnU-Net will delete, and what it will pass over."""
    if verdict.jobs:
        from plansguard.cli.preprocess import say_before

        for job in verdict.jobs:
            say_before(job)
    for remark in verdict.remarks:
        typer.echo(printable(remark))


def _assert_found(line: CommandLine) -> None:
    """That there is such a program: nothing is read for one that is not there."""
    program = line.words[0]
    if shutil.which(program) is None:
        raise UsageError(
            f"there is no program {program} that could be started",
            hint="activate the environment that nnU-Net is installed in, or correct the path"
            if line.before == 0
            else "correct its name, or PATH",
        )


def _environment(*, steps: bool) -> dict[str, str]:
    """What the command is given: what we were given, and the folder of our trainers where one of them is named."""
    environment = {name: value for name, value in os.environ.items() if name not in ADDED_VARIABLES}
    if steps:
        environment[trainer_folder.VARIABLE] = trainer_folder.search_path(environment.get(trainer_folder.VARIABLE, ""))
    return environment


def _become(words: tuple[str, ...], environment: Mapping[str, str]) -> NoReturn:
    """The command takes the place of this process; where a system knows no such thing, its exit code is passed on."""
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:  # None where it was closed before we began
            stream.flush()
    if not _IS_POSIX:
        import subprocess

        raise typer.Exit(subprocess.run(words, env=environment, check=False).returncode)
    for name in ("SIGPIPE", "SIGXFSZ"):  # Python ignores them, and so would whatever we become
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_DFL)
    os.execvpe(words[0], words, environment)
