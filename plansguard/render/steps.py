"""A schedule in steps as text, with its learning rate as a plot for the terminal."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from plansguard.core.text import counted
from plansguard.documents.models.command_documents import StepsDocument
from plansguard.nnunet.constants import DEFAULT_TRAINER
from plansguard.render import json_text, printable
from plansguard.training.planned_steps import PlannedSteps
from plansguard.training.schedule import (
    GENTLE_RATE,
    STOCK_PER_WINDOW,
    STOCK_RATE,
    STOCK_VALIDATION,
    STOCK_WINDOWS,
    StepSchedule,
)

WIDTH, HEIGHT = 60, 8
_STOCK_STEPS = STOCK_PER_WINDOW * STOCK_WINDOWS


def text(planned: PlannedSteps) -> str:
    """Describe the training, a line for each property, plot the rate, and name the next commands.

    The learning rate of trainers other than nnU-Net's own is unknown here and reported as a multiple of theirs.
    """
    schedule, batch_size, cases = planned.schedule, planned.batch_size, planned.cases
    initial, unit = _initial(planned), "" if _is_known(planned) else f" times that of {planned.base}"
    rows = [("windows", _windows(schedule)), ("validation", _validation(schedule))]
    rows.append(("learning rate", _rate(schedule, initial, unit)))
    rows.append(("beside nnU-Net", f"{_share(schedule.total)} of its {_STOCK_STEPS:,} steps (1,000 epochs of 250)"))
    if batch_size is not None:
        rows.append(("samples", f"{schedule.samples(batch_size):,} patches: {batch_size} in each step"))
        if cases:
            passes = schedule.passes(batch_size, cases)
            times = f"{passes:,.0f}" if passes >= 10 else f"{passes:.2g}"
            rows.append(("passes", f"each of {counted(cases, 'training case')} is drawn {times} times on average"))
    width = max(len(name) for name, _ in rows)
    lines = [_title(schedule), *(f"  {name:<{width}}  {value}" for name, value in rows)]
    lines += ["", *plot(schedule, initial), "", "Next:", *(f"  {command}" for command in planned.commands)]
    if planned.gentle:
        lines += [
            "",
            f"These plans are for pretrained weights: this begins at {GENTLE_RATE:g}. --lr chooses another rate.",
        ]
    elif schedule.rate is None and not schedule.extends:
        lines += ["", _advice(planned)]
    return "".join(f"{printable(line)}\n" for line in lines)


def as_json(planned: PlannedSteps) -> str:
    """Render the same as the JSON that schemas/steps.schema.json describes."""
    schedule, batch_size, cases = planned.schedule, planned.batch_size, planned.cases
    initial = _initial(planned)
    return json_text(
        StepsDocument(
            schema_="plansguard/steps/1",
            trainer=planned.trainer,
            base_trainer=planned.base,
            total=schedule.total,
            extends=schedule.extends,
            windows=schedule.windows,
            per_window=schedule.per_window,
            validation=schedule.validation,
            first_rate=schedule.rate_at(schedule.extends, initial),
            last_rate=schedule.rate_at(schedule.total - 1, initial),
            rate_is_known=_is_known(planned),
            batch_size=batch_size,
            cases=cases,
            samples=None if batch_size is None else schedule.samples(batch_size),
            passes=schedule.passes(batch_size, cases) if batch_size is not None and cases else None,
            commands=list(planned.commands),
        )
    )


def _is_known(planned: PlannedSteps) -> bool:
    """Whether the initial rate is known: it is given, or that of nnU-Net's own trainer."""
    return bool(planned.schedule.rate) or planned.base == DEFAULT_TRAINER


def _initial(planned: PlannedSteps) -> float:
    return planned.schedule.rate or (STOCK_RATE if planned.base == DEFAULT_TRAINER else 1.0)


def _advice(planned: PlannedSteps) -> str:
    """Say which rate is usual for pretrained weights, beside that of the base trainer."""
    example = f"is usual, such as --lr {GENTLE_RATE:g}"
    if _is_known(planned):
        return f"For -pretrained_weights a lower rate {example}: {STOCK_RATE:g} may undo what was learned."
    return f"For -pretrained_weights a low rate {example}; that of {planned.base} is not known."


def _title(schedule: StepSchedule) -> str:
    number = schedule.total - schedule.extends
    steps = "1 optimiser step" if number == 1 else f"{number:,} optimiser steps"
    return f"{steps} after {schedule.extends:,}, so {schedule.total:,} in all" if schedule.extends else steps


def plot(schedule: StepSchedule, initial: float) -> Iterator[str]:
    """Plot the learning rate over the steps, 0 at the bottom; each column is the highest rate of its steps."""
    width = min(WIDTH, schedule.total)
    edges = [schedule.total * column // width for column in range(width + 1)]
    heights = []
    for first, end in pairwise(edges):
        turns = (schedule.warmup, schedule.extends + schedule.restart)
        sampled = {first, end - 1, *(min(max(turn, first), end - 1) for turn in turns)}
        heights.append(max(schedule.rate_at(step, initial) for step in sampled) / initial * HEIGHT)
    top = f"{initial:g}"
    for row in range(HEIGHT, 0, -1):
        label = top if row == HEIGHT else "0" if row == 1 else ""
        bars = "".join("#" if height > row - 0.5 else "." if height > row - 1 else " " for height in heights)
        yield f"  {label:>{len(top)}} |{bars}".rstrip()
    yield f"  {'':>{len(top)}} +{'-' * width}"
    total = f"{schedule.total:,}"
    yield f"  {'':>{len(top)}}  0{total:>{max(width - 1, len(total) + 1)}}"


def _windows(schedule: StepSchedule) -> str:
    per, number = schedule.per_window, schedule.windows
    last = schedule.length_of(number - 1)
    if number == 1:
        return f"1 of {counted(last, 'step')}, which nnU-Net counts as an epoch"
    shorter = f", the last of {last:,}" if last != per else ""
    if schedule.extends % per:
        shorter += f", the one that ends at step {schedule.extends:,} of {schedule.extends % per:,}"
    return f"{number:,} of {per:,} steps{shorter}, which nnU-Net counts as epochs"


def _validation(schedule: StepSchedule) -> str:
    if schedule.validation is None:
        return f"after each window (the base trainer's number of steps: {STOCK_VALIDATION})"
    return f"{counted(schedule.validation, 'step')} after each window"


def _rate(schedule: StepSchedule, initial: float, unit: str) -> str:
    last, then = schedule.rate_at(schedule.total - 1, initial), "falling"
    rise, high = (f"rising for {counted(schedule.warmup, 'step')} to " if schedule.warmup else ""), f"{initial:g}"
    if schedule.extends:
        low, top = (schedule.rate_at(schedule.extends + steps, initial) for steps in (-1, schedule.restart))
        over = f" for {counted(schedule.restart, 'step')}" if schedule.restart else ""
        # by windows, the training before may end far above 0, and the extension goes on below that
        way, then = ("rising again", then) if top > low else ("falling", "then")
        rise, high = f"{way}{over} from {low:.2g} to ", f"{top:.2g}"
        if top == last:  # one window is left
            return f"{rise}{high}{unit}"
    falls = "window" if schedule.by_window else "step"
    return f"{rise}{high}{unit}, {then} with each {falls} to {last:.2g}"


def _share(steps: int) -> str:
    share = steps / _STOCK_STEPS
    return f"{share:.2%}" if share < 0.1 else f"{share:.0%}" if share < 2 else f"{share:.1f} times the number"
