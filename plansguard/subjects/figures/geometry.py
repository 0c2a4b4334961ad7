"""Spacings and sizes of the images beside the target spacing and the patch size of a configuration.

Axes are those of arrays after ``transpose_forward``; a 2D configuration has the last two.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from statistics import median

from plansguard.core.errors import Absent
from plansguard.subjects.documents import Fingerprint, columns
from plansguard.subjects.plans import Configuration

#: Bins of a distribution.
_BINS = 32
#: The share of the range that is left free beside the extreme values.
_MARGIN = 0.05

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
    rows = [(name, _ordered(configuration, one.spacings)) for name, one in fingerprints]
    return _figures(rows, spacing)


def size_figures(configuration: Configuration, fingerprints: Sequence[Named]) -> tuple[AxisFigure, ...]:
    """The sizes of the cases after resampling to the target spacing, and the patch size, in voxels. Absent as above."""
    spacing, patch = _spacing(configuration), configuration.require("patch_size")
    rows = []
    for name, fingerprint in fingerprints:
        extents = _ordered(configuration, _extents(fingerprint))
        resampled = zip(extents[-len(spacing) :], spacing, strict=True)
        rows.append((name, [[extent / mm for extent in column] for column, mm in resampled]))
    return _figures(rows, patch)


def patch_figure(configuration: Configuration, dataset: str, fingerprint: Fingerprint) -> PatchFigure:
    """The patch beside the median and the smallest image of a dataset, in mm. Absent when a size is missing."""
    spacing = _spacing(configuration)
    patch = configuration.require("patch_size")
    extents = _ordered(configuration, _extents(fingerprint))[-len(spacing) :]
    smallest = min(zip(*extents, strict=True), key=prod)
    patch_mm = tuple(voxels * mm for voxels, mm in zip(patch, spacing, strict=True))
    return PatchFigure(dataset, patch_mm, tuple(map(median, extents)), smallest)


def _spacing(configuration: Configuration) -> list[float]:
    spacing: list[float] = configuration.require("spacing")
    if not all(mm > 0 for mm in spacing) or len(spacing) != len(configuration.require("patch_size")):
        raise Absent(f"configuration {configuration.name} has no spacing that can be shown (see PG109)")
    return spacing


def _extents(fingerprint: Fingerprint) -> list[list[float]]:
    """The sizes of the cases in mm."""
    spacings, shapes = fingerprint.spacings, fingerprint.shapes
    if len(spacings) != len(shapes) or len(spacings[0]) != len(shapes[0]):
        raise Absent(f"{fingerprint.path.name} does not have a shape for every spacing (see PG303)")
    cases = zip(spacings, shapes, strict=True)
    return [[mm * voxels for mm, voxels in zip(*case, strict=True)] for case in cases]


def _ordered(configuration: Configuration, rows: list[list[float]]) -> list[list[float]]:
    """The columns of the rows, one per array axis after transpose_forward."""
    order, found = configuration.plans.require("transpose_forward"), columns(rows)
    if sorted(order) != list(range(len(found))):
        raise Absent("transpose_forward does not order the axes (see PG105)")
    return [found[axis] for axis in order]


def _figures(rows: Sequence[tuple[str, list[list[float]]]], values: Sequence[float]) -> tuple[AxisFigure, ...]:
    """One figure for each of ``values``, which belong to the last axes."""
    figures = []
    for axis, value in enumerate(values):
        named = [(name, found[axis - len(values)]) for name, found in rows if len(found) >= len(values)]
        if not named:
            raise Absent("no dataset has images with as many axes")
        low = min(value, *(min(column) for _, column in named))
        high = max(value, *(max(column) for _, column in named))
        margin = (high - low or high) * _MARGIN
        low, high = max(0.0, low - margin), high + margin
        distributions = tuple(_distribution(name, column, low, high) for name, column in named)
        figures.append(AxisFigure(axis, low, high, distributions, value))
    return tuple(figures)


def _distribution(dataset: str, values: list[float], low: float, high: float) -> Distribution:
    counts = [0] * _BINS
    for value in values:
        counts[min(_BINS - 1, int((value - low) / (high - low) * _BINS))] += 1
    return Distribution(dataset, min(values), median(values), max(values), tuple(counts))
