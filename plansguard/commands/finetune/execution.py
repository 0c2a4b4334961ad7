"""Run the steps of a road, one after the other, each by the command that the road shows."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import monotonic

from plansguard.commands.finetune.request import steps_of
from plansguard.core.atomic_files import occupied
from plansguard.core.child_process import Child, execute, execute_together
from plansguard.core.errors import UsageError
from plansguard.core.programs import find_program
from plansguard.nnunet.install import gpus as gpu_list
from plansguard.nnunet.workspace import Workspace
from plansguard.subjects.road import IN_ROAD, Road, RoadStep, StepState, road_name
from plansguard.training.stop_reasons import STOPPED

#: A shell reports a process that a signal ended as 128 and the signal's number.
_SIGNALLED = 128
_OURS = "plansguard"


@dataclass(frozen=True)
class RoadEnd:
    """How the steps ended: the exit code, the step that did not succeed, if any, and what to type after all steps."""

    code: int
    failed: RoadStep | None = None
    next: tuple[str, ...] = ()


class Driver:
    """Runs the steps of a road.

    ``again`` surveys the road again, after a step without which later ones could not be judged. ``announce`` is called
    before each step with its command. ``slots`` are the variables of the trainings that run at the same time, one entry
    each. Within ``seconds``, if given, trainings stop with a checkpoint, and no step starts later.
    """

    def __init__(
        self,
        workspace: Workspace,
        again: Callable[[], Road],
        announce: Callable[[RoadStep, str], None],
        *,
        slots: Sequence[Mapping[str, str]] = ({},),
        seconds: int | None = None,
    ) -> None:
        self._workspace, self._again, self._announce, self._slots = workspace, again, announce, slots
        self._deadline = None if seconds is None else monotonic() + seconds
        self._lock: Sequence[int] = ()

    def drive(self, road: Road, until: str | None = None) -> RoadEnd:
        """Run all steps that wait, up to the kind of step ``until``.

        WriteRefused while another process is on this road, or while a step that it started still runs.
        """
        folder = self._workspace.preprocessed_folder(road.target)
        folder.mkdir(exist_ok=True)
        busy = f"{road.plans} of {road.target}: another process is on this road, or a step that it started still runs"
        with occupied(folder / road_name(road.plans, road.configuration), busy) as self._lock:
            done: list[str] = []
            while waiting := up_to(road, until, done):
                if road.is_blocked:
                    return RoadEnd(1, next(iter(road.of_state(StepState.BLOCKED)), waiting[0]))
                together = _alike(waiting) if len(self._slots) > 1 else waiting[:1]
                code, last = self._run(together)
                if code:
                    return RoadEnd(code, last)
                done += [step.title for step in together]
                # Whether the validations can be joined is known once all folds are trained.
                joins = [step.name for step in up_to(road, until, done)] == ["find-best"]
                if joins or any(step.unjudged == last.name for step in road.steps):
                    road = self._again()
            return RoadEnd(0, next=() if road.waiting(done) else road.next)

    def _run(self, steps: Sequence[RoadStep]) -> tuple[int, RoadStep]:
        """Run one step, or several trainings side by side; the exit code, and the step that it belongs to."""
        left = None if self._deadline is None else int(self._deadline - monotonic())
        if left is not None and left <= 0:
            return STOPPED, steps[0]
        commands = []
        for step in steps:
            words = [*shlex.split(step.command)]
            words += ["--max-time", f"{left}s"] if left is not None and step.is_training else []
            self._announce(step, shlex.join(words))
            commands.append([*_program(words[0]), *words[1:]])
        sys.stdout.flush()  # the steps write to the same streams
        sys.stderr.flush()
        slots = [{**slot, IN_ROAD: "1"} for slot in self._slots]
        if len(steps) == 1 and not self._slots[0]:
            code, received = execute(commands[0], self._lock, slots[0])
            codes: list[int | None] = [code]
        else:
            children = [Child(step.title, command) for step, command in zip(steps, commands, strict=True)]
            codes, received = execute_together(children, self._lock, slots)
        failed = [(code, step) for code, step in zip(codes, steps, strict=True) if code]
        if failed:
            code, step = failed[0]
            return (_SIGNALLED - code if code < 0 else code), step
        # Steps may end as if nothing had happened; the next one must not start.
        return (0 if received is None else _SIGNALLED + received), steps[-1]


def _alike(waiting: Sequence[RoadStep]) -> Sequence[RoadStep]:
    """The steps that may run side by side with the first one: the folds."""
    return [step for step in waiting if step.name == waiting[0].name and step.fold] or waiting[:1]


def slots_of(device: str, gpus: int, jobs: int) -> list[dict[str, str]]:
    """The variables of trainings that run at the same time: each has a GPU of its own.

    UsageError where the GPUs of this machine are too few, or are not known.
    """
    if jobs == 1 or device != "cuda":
        return [{} for _ in range(jobs)]
    if gpus > 1:
        raise UsageError("--jobs is for trainings on one GPU each", hint="leave --jobs or -num_gpus out")
    visible = gpu_list.visible()
    if visible is None or len(visible) < jobs:
        found = "are not known" if visible is None else f"are {len(visible)}"
        raise UsageError(f"--jobs {jobs} needs as many GPUs, and those of this machine {found}", hint="--jobs 1")
    return [{"CUDA_VISIBLE_DEVICES": gpu.uuid} for gpu in visible[:jobs]]


def up_to(road: Road, until: str | None, done: Sequence[str] = ()) -> list[RoadStep]:
    """The steps that are still to be run, up to the kind of step ``until``, without those of the titles ``done``."""
    order = steps_of(road.workflow)
    last = len(order) if until is None else order.index(until)
    return [step for step in road.waiting(done) if order.index(step.name) <= last]


def _program(name: str) -> list[str]:
    """The program as the system starts it: from the environment of this process, wherever that is."""
    found = find_program(name, str(Path(sys.executable).parent))
    if found is not None:
        return [found]
    if name == _OURS:
        return [sys.executable, "-m", _OURS]
    raise UsageError(f"there is no program {name} that could be started", hint="activate the environment of nnU-Net")
