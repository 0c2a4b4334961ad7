"""A training of a number of optimiser steps, as ``plansguard steps`` describes it."""

from __future__ import annotations

from dataclasses import dataclass

from plansguard.training.schedule import StepSchedule


@dataclass(frozen=True)
class PlannedSteps:
    """A training in steps.

    ``batch_size`` is that of all GPUs together, ``cases`` the number of training cases of the fold; None if they are
    not known. ``commands`` train by the schedule; ``gentle`` is whether their rate was lowered for pretrained weights.
    """

    base: str
    schedule: StepSchedule
    trainer: str
    batch_size: int | None
    cases: int | None
    commands: tuple[str, ...]
    gentle: bool
