"""A road as a script: all steps in one shell, or as jobs of SLURM."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

from plansguard.nnunet.printed_commands import DEFAULT_DEVICE, shell
from plansguard.render import printable
from plansguard.subjects.road import Road, RoadStep, StepState
from plansguard.training.stop_reasons import STOPPED

#: What each step does. A name of a fold follows, where only one fold is trained.
_SENTENCES = {
    "unpack": "Unpack the weights",
    "fingerprint": "Extract the fingerprint of {target}",
    "plan": "Plan {target}",
    "fingerprint-source": "Extract the fingerprint of {source}",
    "plan-source": "Plan {source}",
    "migrate": "Move the plans",
    "preprocess-source": "Preprocess {source}",
    "pretrain": "Train the weights on all cases of {source}",
    "preprocess": "Preprocess {target}",
    "check": "Check plans, data and weights together",
    "train": "Fine-tune {folds}",
    "find-best": "Join the validations of the folds, and determine the postprocessing",
}
_INDENT = "    "
#: Usual time limits in seconds.
_TRAINING, _PREPARATION = 24 * 3600, 12 * 3600
#: Cores of a job: as many processes as nnU-Net starts to preprocess, and to augment for one GPU.
_PROCESSES, _CORES_OF_GPU = 8, 12


@dataclass(frozen=True)
class ScriptPlace:
    """What a script needs to run as the command that printed it: the folder, the programs, the variables."""

    command: str
    folder: str
    programs: str
    variables: Mapping[str, str]


@dataclass(frozen=True)
class JobSize:
    """What the jobs take; ``seconds`` is the time limit of a training, None for the usual one."""

    device: str
    gpus: int
    processes: int | None
    seconds: int | None


def shell_script(road: Road, steps: Sequence[RoadStep], place: ScriptPlace) -> str:
    """Render a script that makes these steps of the road in order."""
    head = ["Run again, it continues: what is done is not done again."]
    return _joined([*_head(road, place, head), "", *_setting(place), *_body(road, steps)])


def slurm_script(road: Road, steps: Sequence[RoadStep], place: ScriptPlace, size: JobSize) -> str:
    """Render a script that submits itself as jobs: the preparation, each training, the end."""
    jobs = _jobs(steps)
    head = [
        "Run with bash on a login node: it submits the jobs. Each starts after the one before has succeeded.",
        "Run again after a failure, it continues: what is done is not done again.",
    ]
    return _joined(
        [
            *_head(road, place, head),
            *_sizes(size),
            "",
            'script=$(realpath "${BASH_SOURCE[0]}")',
            *_setting(place),
            *(line for name, made in jobs.items() for line in _function(road, name, made)),
            *(_RUN_TRAINING.splitlines() if any(step.is_training for step in steps) else ()),
            *_submission(jobs),
            *_choice(jobs),
        ]
    )


# --- Parts of both


def _joined(lines: Iterable[str]) -> str:
    return "".join(f"{_spelled(line)}\n" for line in lines)


def _spelled(line: str) -> str:
    """One line with control characters as bash reads them; `shlex.quote` puts them between single quotes.

    On a terminal they would act, and click removes them elsewhere: the script would name another folder.
    """
    if line.isprintable():
        return line
    return "".join(char if char.isprintable() else f"'$'{_octal(char)}''" for char in line)


def _octal(char: str) -> str:
    return "".join(f"\\{byte:03o}" for byte in os.fsencode(char))


def _comment(text: str) -> str:
    """One line of a comment, whatever is in the text."""
    return f"# {printable(text)}"


def _head(road: Road, place: ScriptPlace, sentences: Iterable[str]) -> list[str]:
    title = f"{road.target}: {road.configuration} with {road.plans}, from {road.source} ({road.workflow})."
    comments = [title, f"Printed by: {place.command}", *sentences]
    return ["#!/usr/bin/env bash", *map(_comment, comments), "set -euo pipefail"]


def _setting(place: ScriptPlace) -> list[str]:
    variables = [f"export {name}={shlex.quote(value)}" for name, value in place.variables.items()]
    return [f"export PATH={shlex.quote(place.programs)}:$PATH", *variables, f"cd {shlex.quote(place.folder)}"]


def _body(road: Road, steps: Sequence[RoadStep]) -> list[str]:
    """A comment and a command for each step, and a loop for folds that differ in nothing else."""
    lines: list[str] = []
    for _, group in groupby(steps, lambda step: step.of_folds or step.title):
        alike = list(group)
        lines += ["", _comment(_sentence(road, alike))]
        if len(alike) == 1:
            lines += _command(alike[0])
        else:
            folds = " ".join(shlex.quote(step.fold) for step in alike)
            lines += [f"for fold in {folds}; do", f"{_INDENT}{alike[0].of_folds}", "done"]
    return lines


def _sentence(road: Road, steps: Sequence[RoadStep]) -> str:
    first, *others = steps
    source = road.source if road.source.startswith("Dataset") else f"dataset {road.source}"
    folds = "each fold" if others else f"fold {first.fold}"
    text = _SENTENCES[first.name].format(target=road.target, source=source, folds=folds)
    again = f", again: {first.because}" if first.state is StepState.STALE else ""
    return f"{text}{again}."


def _command(step: RoadStep) -> list[str]:
    """The command; where it would do again what is done, behind a condition."""
    if step.result is None:
        return [step.command]
    if not step.made_from:
        return [f"[ -e {shell(step.result)} ] ||", f"{_INDENT}{step.command}"]
    older = [f"[ ! {shell(step.result)} -nt {shell(path)} ]" for path in step.made_from]
    before = [f"{one} ||" for one in older[:-1]]
    first, *others = [*before, f"{older[-1]}; then"]
    return [f"if {first}", *(f"{_INDENT}{line}" for line in others), f"{_INDENT}{step.command}", "fi"]


# --- Jobs of SLURM

_RUN_TRAINING = f"""
# Train in a step of the job. SLURM sends SIGUSR1 to it two minutes before the time limit: then the training saves a
# checkpoint and ends with {STOPPED}, and this task is queued again.
run_training() {{
    local code=0 task=$SLURM_JOB_ID
    srun --cpus-per-task="${{SLURM_CPUS_PER_TASK:-1}}" --kill-on-bad-exit=1 "$@" || code=$?
    if [ "$code" -eq {STOPPED} ]; then
        # One task of an array has the number of the whole array.
        if [ -n "${{SLURM_ARRAY_TASK_ID:-}}" ]; then task=${{SLURM_ARRAY_JOB_ID}}_$SLURM_ARRAY_TASK_ID; fi
        scontrol requeue "$task"
    fi
    exit "$code"
}}"""

_SUBMIT = """
# Submit this script as a job, and print its number.
submit() {
    local number
    number=$(sbatch --parsable --requeue --open-mode=append --kill-on-invalid-dep=yes "$@")
    echo "${number%%;*}"
}
"""


def _jobs(steps: Sequence[RoadStep]) -> dict[str, list[RoadStep]]:
    """The steps by the name of their job, in order: neighbours that are no trainings share one."""
    own = {"pretrain": "pretrain", "train": "train", "find-best": "find_best"}
    trains_first = any(step.name == "pretrain" for step in steps)
    jobs: dict[str, list[RoadStep]] = {}
    for step in steps:
        before = "prepare_pretraining" if trains_first and "pretrain" not in jobs else "prepare"
        jobs.setdefault(own.get(step.name, before), []).append(step)
    return jobs


def _sizes(size: JobSize) -> list[str]:
    """The options of sbatch that differ between clusters, as variables."""
    cores, gres = _CORES_OF_GPU * size.gpus, f" --gres=gpu:{size.gpus}" if size.device == DEFAULT_DEVICE else ""
    processes = _PROCESSES if size.processes is None else size.processes
    limit = _time(_TRAINING if size.seconds is None else size.seconds)
    several = [
        "Several nodes: --nodes=2 --ntasks-per-node=4 --gres=gpu:4, for example. srun starts a process for each GPU."
    ]
    several += ["Then remove -num_gpus from the trainings."] * (size.gpus > 1)
    return [
        "",
        "# What a job is given: edit this for the cluster. Some need --partition=NAME or --account=NAME as well.",
        f"preparation_job=(--cpus-per-task={processes} --mem=32G --time={_time(_PREPARATION)})",
        f"training_job=(--cpus-per-task={cores} --mem={64 * size.gpus}G --time={limit}{gres})",
        *map(_comment, several if size.device == DEFAULT_DEVICE else ()),
    ]


def _time(seconds: int) -> str:
    minutes, rest = divmod(seconds, 60)
    return f"{minutes // 60:02}:{minutes % 60:02}:{rest:02}"


def _function(road: Road, name: str, steps: Sequence[RoadStep]) -> list[str]:
    """The function that a job runs."""
    if not steps[0].is_training:
        body = _body(road, steps)[1:]
    else:
        array = _array(steps)
        fold = [] if array is None else ["local fold=$SLURM_ARRAY_TASK_ID"]
        command = steps[0].command if array is None else steps[0].of_folds
        body = [_comment(_sentence(road, steps)), *fold, f"run_training {command}"]
    return ["", f"{name}() {{", *(f"{_INDENT}{line}" if line else "" for line in body), "}"]


def _array(steps: Sequence[RoadStep]) -> str | None:
    """The folds as the tasks of an array; None for a job that is none, as of all cases."""
    folds = [step.fold for step in steps]
    return ",".join(folds) if steps[0].is_training and all(fold.isdecimal() for fold in folds) else None


def _submission(jobs: Mapping[str, Sequence[RoadStep]]) -> list[str]:
    lines, before = [*_SUBMIT.splitlines(), "", "submit_all() {", f"{_INDENT}local {' '.join(jobs)}"], ""
    for name, steps in jobs.items():
        array = _array(steps)
        log = f"{name}-%j.log" if array is None else f"{name}-%A_%a.log"
        options = [f"--job-name={name}", f"--output={log}"]
        options += [f'--dependency="afterok:${before}"'] * bool(before)
        options += [] if array is None else [f"--array={array}"]
        options += ["--signal=USR1@120"] * steps[0].is_training
        kind = "training_job" if steps[0].is_training else "preparation_job"
        lines.append(f"{_INDENT}{name}=$(submit {' '.join(options)} \\")
        lines.append(f'{_INDENT * 2}"${{{kind}[@]}}" "$script" {name})')
        before = name
    numbers = ", ".join(f"{name} ${name}" for name in jobs)
    return [*lines, f'{_INDENT}echo "submitted: {numbers}"', "}"]


def _choice(jobs: Iterable[str]) -> list[str]:
    chosen = [f"{_INDENT}{name}) {name} ;;" for name in jobs]
    return ["", 'case "${1:-}" in', f'{_INDENT}"") submit_all ;;', *chosen, "esac"]
