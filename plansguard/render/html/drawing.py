"""Coordinates of pictures: scales, ticks and paths. Templates decide what is drawn with them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from math import floor, log10

#: About how many ticks an axis has.
_TICKS = 4
_STEPS = (1, 2, 5, 10)

Scale = Callable[[float], float]


def scale(low: float, high: float, start: float, end: float) -> Scale:
    """Return the linear function that maps ``low`` to ``start`` and ``high`` to ``end``; values beyond stay there."""
    span = (high - low) or 1.0

    def place(value: float) -> float:
        share = min(1.0, max(0.0, (value - low) / span))
        return round(start + share * (end - start), 1)

    return place


def log_scale(most: float, start: float, end: float) -> Scale:
    """Return the logarithmic scale from 1 / ``most`` to ``most``; 1 is in the middle."""
    place = scale(-log10(most), log10(most), start, end)
    return lambda factor: place(log10(factor))


def ticks(low: float, high: float) -> list[float]:
    """Round numbers between ``low`` and ``high``, about four."""
    rough = (high - low) / _TICKS
    if not rough > 0:
        return [low]
    power = 10.0 ** floor(log10(rough))
    step = next(power * factor for factor in _STEPS if power * factor >= rough)
    first = -floor(-low / step)
    return [round(index * step, 12) for index in range(first, floor(high / step) + 1)]


def bars(counts: Sequence[int], left: float, right: float, bottom: float, height: float) -> str:
    """Return the path of a histogram: bars of equal width between ``left`` and ``right``, the highest of ``height``."""
    width, most = (right - left) / len(counts), max(counts) or 1
    parts = []
    for index, count in enumerate(counts):
        if count:
            # A single case among thousands must still be seen.
            tall = max(1.5, height * count / most)
            x = left + index * width
            parts.append(f"M{x:.1f} {bottom:.1f}v{-tall:.1f}h{width:.1f}v{tall:.1f}z")
    return "".join(parts)


def line(points: Iterable[tuple[float, float]], horizontal: Scale, vertical: Scale) -> str:
    """Return the path through points."""
    places = (f"{horizontal(x):.1f} {vertical(y):.1f}" for x, y in points)
    return "M" + "L".join(places)


def planes(axes: int) -> list[tuple[int, int]]:
    """Return the pairs of axes (vertical, horizontal) that are shown: the three planes of a volume, or the only one."""
    return [(0, 1)] if axes == 2 else [(1, 2), (0, 2), (0, 1)]
