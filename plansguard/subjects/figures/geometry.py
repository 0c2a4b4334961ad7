"""Spacings and sizes of the images beside the target spacing and the patch size of a configuration.

Axes are those of arrays after ``transpose_forward``; a 2D configuration has the last two.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TypeVar

from plansguard.core.errors import Absent
from plansguard.subjects.documents import Fingerprint, median_of
from plansguard.subjects.plans import Configuration

#: Bins of a distribution; an odd number, so that a value that all cases have is in the middle.
_BINS = 31
#: The share of the range that is left free beside the extreme values.
_MARGIN = 0.05

Item = TypeVar("Item")
#: The name of a dataset, and its fingerprint.
Named = tuple[str, Fingerprint]


@dataclass(frozen=True)
class Distribution:
    """Values of all cases of a dataset. ``counts`` are the numbers of cases in bins of equal width."""

    dataset: str
    smallest: float
    median: float
    largest: float
    counts: tuple[int, ...]


@dataclass(frozen=True)
class AxisFigure:
    """The distributions of one quantity along one axis, and the value in the plans.

    The bins of all distributions divide the range from ``low`` to ``high``, which contains the value of the plans.
    """

    axis: int
    low: float
    high: float
    distributions: tuple[Distribution, ...]
    plans: float

    @property
    def is_below(self) -> bool:
        """Whether the value of the plans is below those of all cases."""
        return self.plans < min(one.smallest for one in self.distributions)

    @property
    def is_above(self) -> bool:
        """Whether the value of the plans is above those of all cases."""
        return self.plans > max(one.largest for one in self.distributions)


@dataclass(frozen=True)
class PatchFigure:
    """Sizes in mm, per array axis: of the patch, of the median image, and of the image with the smallest volume."""

    dataset: str
    patch: tuple[float, ...]
    median: tuple[float, ...]
    smallest: tuple[float, ...]


def spacing_figures(configuration: Configuration, fingerprints: Sequence[Named]) -> tuple[AxisFigure, ...]:
    """The spacings of the cases and the target spacing, in mm. Absent when one of them is missing."""
    spacing = _spacing(configuration)
    rows = [(name, _ordered(configuration, one.sorted_spacings)) for name, one in fingerprints]
    return _figures(rows, spacing)


def size_figures(configuration: Configuration, fingerprints: Sequence[Named]) -> tuple[AxisFigure, ...]:
    """The sizes of the cases after resampling to the target spacing, and the patch size, in voxels. Absent as above.

    nnU-Net rounds to whole voxels.
    """
    spacing, patch = _spacing(configuration), configuration.require("patch_size")
    rows = []
    for name, fingerprint in fingerprints:
        extents = _ordered(configuration, fingerprint.sorted_extents)[-len(spacing) :]
        resampled = zip(extents, spacing[-len(extents) :], strict=True)
        rows.append((name, [[float(round(extent / mm)) for extent in column] for column, mm in resampled]))
    return _figures(rows, patch)


def patch_figure(configuration: Configuration, dataset: str, fingerprint: Fingerprint) -> PatchFigure:
    """The patch beside the median and the smallest image of a dataset, in mm. Absent when a size is missing."""
    spacing, axes = _spacing(configuration), len(_spacing(configuration))
    patch = (voxels * mm for voxels, mm in zip(configuration.require("patch_size"), spacing, strict=True))
    *_, median = fingerprint.medians(configuration.plans.require("transpose_forward"))
    smallest = _ordered(configuration, fingerprint.smallest_extent)
    if len(smallest) < axes:
        raise Absent("the images have fewer axes than the patch")
    return PatchFigure(dataset, tuple(patch), tuple(median[-axes:]), tuple(smallest[-axes:]))


def _spacing(configuration: Configuration) -> list[float]:
    spacing: list[float] = configuration.require("spacing")
    if not all(mm > 0 for mm in spacing) or len(spacing) != len(configuration.require("patch_size")):
        raise Absent(f"configuration {configuration.name} has no spacing that can be shown (see PG109)")
    return spacing


def _ordered(configuration: Configuration, axes: Sequence[Item]) -> list[Item]:
    """The items of the reader's axes, in the order of array axes after transpose_forward."""
    order = configuration.plans.require("transpose_forward")
    if sorted(order) != list(range(len(axes))):
        raise Absent("transpose_forward does not order the axes (see PG105)")
    return [axes[axis] for axis in order]


def _figures(rows: Sequence[tuple[str, list[list[float]]]], values: Sequence[float]) -> tuple[AxisFigure, ...]:
    """One figure for each of ``values``, which belong to the last axes; the columns of the rows are sorted."""
    figures = []
    for axis, value in enumerate(values):
        named = [(name, found[axis - len(values)]) for name, found in rows if len(found) >= len(values)]
        if not named:
            raise Absent("no dataset has images with as many axes")
        low = min(value, *(column[0] for _, column in named))
        high = max(value, *(column[-1] for _, column in named))
        margin = (high - low or high) * _MARGIN
        low, high = max(0.0, low - margin), high + margin
        distributions = tuple(_distribution(name, column, low, high) for name, column in named)
        figures.append(AxisFigure(axis, low, high, distributions, value))
    return tuple(figures)


def _distribution(dataset: str, ordered: list[float], low: float, high: float) -> Distribution:
    ends = [bisect_left(ordered, low + (high - low) * index / _BINS) for index in range(1, _BINS)]
    counts = (end - start for start, end in pairwise([0, *ends, len(ordered)]))
    return Distribution(dataset, ordered[0], median_of(ordered), ordered[-1], tuple(counts))
