"""The road from raw images to fine-tuned folds: its steps, in order, and the state of each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Final

from plansguard.core.report import Report
from plansguard.nnunet.printed_commands import ShellText

#: The variable that is set for the commands of a road: they print no *Next*, because the road itself continues.
IN_ROAD: Final = "PLANSGUARD_IN_ROAD"
#: Between plans and configuration in the name of a road's lock.
_BETWEEN = "__"


class StepState(str, Enum):
    """The state of a step of the road.

    A stale step was made from something that has changed since. A blocked one cannot succeed.
    """

    DONE = "done"
    NEEDED = "needed"
    STALE = "stale"
    BLOCKED = "blocked"

    def __str__(self) -> str:
        return self.value


_TRAININGS = ("pretrain", "train")


@dataclass(frozen=True)
class RoadStep:
    """One step: a command, and why it is to be run, or need not be.

    ``name`` is the kind of the step, ``fold`` that of a training. ``because`` is the reason for the state, and ``hint``
    what to type where that is not in the findings. ``of_folds`` is the command of a training with the shell's variable
    ``fold`` in place of the fold. ``unjudged`` names the earlier step after which the rules can judge this one.
    ``disk`` are the bytes that the step writes, at most, and ``gpu_memory`` the memory of one GPU in GB (10^9 bytes);
    both are None where they are not known. ``next`` is what to type after a road that ends with this training.
    ``result`` is the file that shows that the step is done, for a command that would do it again; it must be newer than
    the files ``made_from``.
    """

    name: str
    state: StepState
    because: str
    command: ShellText
    fold: str = ""
    hint: str = ""
    of_folds: ShellText | None = None
    unjudged: str = ""
    reads: tuple[Path, ...] = ()
    writes: tuple[Path, ...] = ()
    disk: int | None = None
    gpu_memory: float | None = None
    next: tuple[str, ...] = ()
    result: Path | None = None
    made_from: tuple[Path, ...] = ()

    @property
    def title(self) -> str:
        """The name, with the fold of a training."""
        return f"{self.name} fold {self.fold}" if self.fold else self.name

    @property
    def waits(self) -> bool:
        """Whether the step is still to be run."""
        return self.state in (StepState.NEEDED, StepState.STALE)

    @property
    def is_training(self) -> bool:
        """Whether the step trains, and so takes a GPU, may be stopped in time and is continued."""
        return self.name in _TRAININGS


def road_name(plans: str, configuration: str) -> str:
    """The name under which a road is locked, in the folder of its dataset."""
    return f"{plans}{_BETWEEN}{configuration}"


def names_of_road(name: str) -> tuple[str, str] | None:
    """The plans and the configuration that `road_name` was made of; None for another name."""
    plans, between, configuration = name.rpartition(_BETWEEN)
    return (plans, configuration) if between else None


@dataclass(frozen=True)
class Road:
    """All steps in order. ``report`` has the findings of all of them, each once.

    ``source`` is what ``-s`` names, and ``target`` the dataset that is fine-tuned, with these ``plans`` and this
    ``configuration``.
    """

    source: str
    target: str
    plans: str
    configuration: str
    workflow: str
    steps: tuple[RoadStep, ...]
    report: Report

    def of_state(self, state: StepState) -> list[RoadStep]:
        """The steps in a state, in order."""
        return [step for step in self.steps if step.state is state]

    @property
    def is_blocked(self) -> bool:
        """Whether a step cannot succeed: no step is run then."""
        return bool(self.of_state(StepState.BLOCKED)) or self.report.exit_code() == 1

    @property
    def next(self) -> tuple[str, ...]:
        """What to type when every step is done."""
        return next((step.next for step in reversed(self.steps) if step.next), ())

    def waiting(self, done: Sequence[str] = ()) -> list[RoadStep]:
        """The steps that are still to be run, without those of these titles."""
        return [step for step in self.steps if step.waits and step.title not in done]
