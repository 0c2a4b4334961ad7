"""Reasons for which a training does not begin, or ends before its last step."""

from __future__ import annotations

from enum import Enum

from plansguard.core.errors import PlansguardError

STOPPED = 75
"""Exit code of a training that was stopped and left a checkpoint: continue it with ``--c``.

EX_TEMPFAIL of sysexits.h: not done, try again later. Neither nnU-Net nor a shell uses it.
"""


class TrainingObstacle(str, Enum):
    """What a trainer of a number of steps refuses, by the code of the rule that reports it before the start."""

    RESULTS_PRESENT = "PG721"
    NOTHING_TO_CONTINUE = "PG722"
    CHECKPOINTS_DAMAGED = "PG726"
    FINISHED = "PG727"
    SCHEDULE_CHANGED = "PG728"
    PLANS_CHANGED = "PG729"
    SPLIT_CHANGED = "PG730"
    NAME_UNREADABLE = "PG735"
    FOLDER_IN_USE = "PG739"


class Refused(PlansguardError, SystemExit):
    """A training that must not begin or continue, and why; ``obstacle`` is set where a rule reports the same.

    As SystemExit it ends nnU-Net's own commands with its message on standard error, exit code 1 and no traceback.
    """

    def __init__(self, reason: str, *, hint: str = "", obstacle: TrainingObstacle | None = None) -> None:
        super().__init__(reason, hint=hint)
        self.obstacle = obstacle
        self.code = f"plansguard: {reason}" + (f"\n  {hint}" if hint else "")


class Stopped(SystemExit):
    """A training that was stopped, and left a checkpoint of its last step."""

    def __init__(self) -> None:
        super().__init__(STOPPED)
