"""Run the steps of a road, one after the other, each by the command that the road shows."""

from __future__ import annotations

import shlex
import signal
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import monotonic

from plansguard.commands.finetune.request import STEPS
from plansguard.core.atomic_files import occupied
from plansguard.core.child_process import execute
from plansguard.core.errors import UsageError
from plansguard.core.programs import find_program
from plansguard.nnunet.workspace import Workspace
from plansguard.subjects.road import Road, RoadStep, StepState, road_name
from plansguard.training.stop_reasons import STOPPED

#: A shell reports a process that a signal ended as 128 and the signal's number.
_SIGNALLED = 128
_TRAINING = ("pretrain", "train")
_OURS = "plansguard"


@dataclass(frozen=True)
class RoadEnd:
    """How the steps ended: the exit code, and the step that did not succeed, if any."""

    code: int
    failed: RoadStep | None = None


def drive(
    workspace: Workspace,
    road: Road,
    again: Callable[[], Road],
    announce: Callable[[RoadStep, str], None],
    *,
    until: str | None = None,
    seconds: int | None = None,
) -> RoadEnd:
    """Run all steps that wait, up to ``until``. ``announce`` is called before each with its command.

    ``again`` surveys the road anew, after a step without which later ones could not be judged. Within ``seconds``, if
    given, trainings stop with a checkpoint, and no step starts later. WriteRefused while another process is on this
    road, or while a step that it started still runs.
    """
    deadline = None if seconds is None else monotonic() + seconds
    folder = workspace.preprocessed_folder(road.target)
    folder.mkdir(exist_ok=True)
    busy = f"{road.plans} of {road.target} is worked on by another such command, or by a step that it has started"
    with occupied(folder / road_name(road.plans, road.configuration), busy) as lock:
        done: list[str] = []
        while waiting := _up_to(road.waiting(done), until):
            step = waiting[0]
            if road.is_blocked:
                return RoadEnd(1, next(iter(road.of_state(StepState.BLOCKED)), step))
            code = _run(step, lock, deadline, announce)
            if code:
                return RoadEnd(code, step)
            done.append(step.title)
            if any(later.unjudged == step.name for later in road.steps):
                road = again()
        return RoadEnd(0)


def _up_to(steps: Sequence[RoadStep], until: str | None) -> list[RoadStep]:
    last = len(STEPS) if until is None else STEPS.index(until)
    return [step for step in steps if STEPS.index(step.name) <= last]


def _run(step: RoadStep, lock: Sequence[int], deadline: float | None, announce: Callable[[RoadStep, str], None]) -> int:
    words = shlex.split(step.command)
    if deadline is not None:
        left = int(deadline - monotonic())
        if left <= 0:
            return STOPPED
        words += ["--max-time", f"{left}s"] if step.name in _TRAINING else []
    announce(step, shlex.join(words))
    sys.stdout.flush()  # the step writes to the same stream
    sys.stderr.flush()
    code, received = execute([*_program(words[0]), *words[1:]], lock)
    if code < 0:
        return _SIGNALLED - code
    if code == 0 and received is not None:  # the step ended as if nothing had happened: the next one must not start
        return STOPPED if received != signal.SIGINT else _SIGNALLED + received
    return code


def _program(name: str) -> list[str]:
    """The program as the system starts it: from the environment of this process, wherever that is."""
    found = find_program(name, str(Path(sys.executable).parent))
    if found is not None:
        return [found]
    if name == _OURS:
        return [sys.executable, "-m", _OURS]
    raise UsageError(f"there is no program {name} that could be started", hint="activate the environment of nnU-Net")
