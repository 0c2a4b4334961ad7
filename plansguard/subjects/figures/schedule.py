"""The learning rate over the steps of a training."""

from __future__ import annotations

from dataclasses import dataclass

from plansguard.training.schedule import STOCK_RATE, StepSchedule

#: Points of the curve, and the most borders of windows that are drawn.
_POINTS, _MOST_BORDERS = 300, 60


@dataclass(frozen=True)
class RateFigure:
    """The curve as (step, learning rate); borders of windows, in steps; none where there are too many to draw.

    ``warmup`` and ``restart`` are the numbers of steps over which the rate rises, ``extends`` the steps of the training
    that is continued; 0 where there is none.
    """

    total: int
    highest: float
    points: tuple[tuple[int, float], ...]
    borders: tuple[int, ...]
    windows: int
    warmup: int
    extends: int
    restart: int


def rate_figure(schedule: StepSchedule, initial: float | None = None) -> RateFigure:
    """The learning rate of a schedule. ``initial`` is the highest rate where the schedule has none of its own."""
    highest = schedule.rate or initial or STOCK_RATE
    turns = {schedule.warmup, schedule.extends, schedule.extends - 1, schedule.extends + schedule.restart}
    even = {index * (schedule.total - 1) // _POINTS for index in range(_POINTS + 1)}
    steps = sorted(step for step in even | turns if 0 <= step < schedule.total)
    borders = [schedule.first_step(window) for window in range(1, schedule.windows)] if _few(schedule) else []
    return RateFigure(
        total=schedule.total,
        highest=highest,
        points=tuple((step, schedule.rate_at(step, highest)) for step in steps),
        borders=tuple(borders),
        windows=schedule.windows,
        warmup=schedule.warmup,
        extends=schedule.extends,
        restart=schedule.restart,
    )


def _few(schedule: StepSchedule) -> bool:
    return schedule.windows <= _MOST_BORDERS
