"""Learning rates of a training in steps."""

from __future__ import annotations

import torch

from plansguard.training.schedule import StepSchedule


class StepRates:
    """Learning rates of each step, in place of nnU-Net's scheduler, which has one for each epoch."""

    def __init__(self, optimizer: torch.optim.Optimizer, schedule: StepSchedule, initial: float, exponent: float):
        self.optimizer = optimizer
        self.schedule = schedule
        self.initial = initial
        self.exponent = exponent

    def step(self, current_step: int) -> None:
        """Set the rate of a window's first step, which is logged; nnU-Net calls this at its beginning."""
        self.set(self.schedule.first_step(current_step))

    def set(self, step: int) -> None:
        """Set the optimizer's rate for the step after ``step`` steps."""
        rate = self.schedule.rate_at(step, self.initial, self.exponent)
        for group in self.optimizer.param_groups:
            group["lr"] = rate

    def get_last_lr(self) -> list[float]:
        """Return the current rates, as torch's schedulers do."""
        return [group["lr"] for group in self.optimizer.param_groups]
