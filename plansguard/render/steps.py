"""A schedule in steps as text: what it comes to, and its learning rate as a plot for the terminal."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

from plansguard.core.text import counted
from plansguard.nnunet.constants import DEFAULT_TRAINER
from plansguard.training.schedule import STOCK_PER_WINDOW, STOCK_RATE, STOCK_VALIDATION, STOCK_WINDOWS, StepSchedule

WIDTH, HEIGHT = 60, 8
_STOCK_STEPS = STOCK_PER_WINDOW * STOCK_WINDOWS


@dataclass(frozen=True)
class Data:
    """What the steps are made on: the batch size of all GPUs together, and the cases that the fold trains on."""

    batch_size: int
    cases: int | None


def text(base: str, schedule: StepSchedule, data: Data | None = None) -> str:
    """What the schedule comes to with this trainer of nnU-Net, a line for each thing, and the rate as a plot.

    Of trainers other than nnU-Net's own the learning rate is not known here; it is told as a share of theirs.
    """
    initial = schedule.rate or (STOCK_RATE if base == DEFAULT_TRAINER else 1.0)
    unit = "" if schedule.rate or base == DEFAULT_TRAINER else f" times that of {base}"
    rows = [("windows", _windows(schedule)), ("validation", _validation(schedule))]
    rows.append(("learning rate", _rate(schedule, initial, unit)))
    rows.append(("beside nnU-Net", f"{_share(schedule.total)} of its {_STOCK_STEPS:,} steps (1,000 epochs of 250)"))
    if data is not None:
        rows.append(("samples", f"{schedule.samples(data.batch_size):,} patches: {data.batch_size} in each step"))
        if data.cases:
            passes = schedule.passes(data.batch_size, data.cases)
            often = f"{passes:,.0f}" if passes >= 10 else f"{passes:.2g}"
            rows.append(("passes", f"each of {counted(data.cases, 'training case')} is drawn {often} times on average"))
    width = max(len(name) for name, _ in rows)
    lines = [_title(schedule), *(f"  {name:<{width}}  {value}" for name, value in rows)]
    return "\n".join([*lines, "", *plot(schedule, initial)]) + "\n"


def counted_steps(steps: int) -> str:
    """``1 optimiser step``, ``50,000 optimiser steps``."""
    return "1 optimiser step" if steps == 1 else f"{steps:,} optimiser steps"


def _title(schedule: StepSchedule) -> str:
    steps = counted_steps(schedule.total - schedule.extends)
    return f"{steps} after {schedule.extends:,}, so {schedule.total:,} in all" if schedule.extends else steps


def plot(schedule: StepSchedule, initial: float) -> Iterator[str]:
    """The learning rate over the steps, 0 at the bottom; each column is the highest rate of its steps."""
    width = min(WIDTH, schedule.total)
    edges = [schedule.total * column // width for column in range(width + 1)]
    heights = []
    for first, end in pairwise(edges):
        turns = (schedule.warmup, schedule.extends + schedule.restart)
        some = {first, end - 1, *(min(max(turn, first), end - 1) for turn in turns)}
        heights.append(max(schedule.rate_at(step, initial) for step in some) / initial * HEIGHT)
    top = f"{initial:g}"
    for row in range(HEIGHT, 0, -1):
        label = top if row == HEIGHT else "0" if row == 1 else ""
        bars = "".join("#" if height > row - 0.5 else "." if height > row - 1 else " " for height in heights)
        yield f"  {label:>{len(top)}} |{bars}".rstrip()
    yield f"  {'':>{len(top)}} +{'-' * width}"
    yield f"  {'':>{len(top)}}  0{schedule.total:>{max(width - 1, 1)},}"


def _windows(schedule: StepSchedule) -> str:
    *_, last = schedule.lengths()
    per, number = schedule.per_window, schedule.windows
    if number == 1:
        return f"1 of {counted(last, 'step')}, which nnU-Net counts as an epoch"
    shorter = f", the last of {last:,}" if last != per else ""
    if schedule.extends % per:
        shorter += f", the one that ends at step {schedule.extends:,} of {schedule.extends % per:,}"
    return f"{number:,} of {per:,} steps{shorter}, which nnU-Net counts as epochs"


def _validation(schedule: StepSchedule) -> str:
    steps = "" if schedule.validation is None else f"{counted(schedule.validation, 'step')} "
    whose = "" if schedule.validation is not None else f" (the base trainer's number of steps: {STOCK_VALIDATION})"
    return f"{steps}after each window{whose}"


def _rate(schedule: StepSchedule, initial: float, unit: str) -> str:
    last = schedule.rate_at(schedule.total - 1, initial)
    rise, high = (f"rising for {counted(schedule.warmup, 'step')} to " if schedule.warmup else ""), f"{initial:g}"
    if schedule.extends:
        low = schedule.rate_at(schedule.extends - 1, initial)
        high = f"{schedule.rate_at(schedule.extends + schedule.restart, initial):.2g}"
        rise = f"rising again for {counted(schedule.restart, 'step')} from {low:.2g} to "
    falls = "window" if schedule.by_window else "step"
    return f"{rise}{high}{unit}, falling with each {falls} to {last:.2g}"


def _share(steps: int) -> str:
    share = steps / _STOCK_STEPS
    return f"{share:.2%}" if share < 0.1 else f"{share:.0%}" if share < 2 else f"{share:.1f} times the number"
