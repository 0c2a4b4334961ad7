"""Intensity properties of a channel as CTNormalization uses them, and when two channels' are far apart.

The thresholds are those of NO-01. No healthy file in the corpus of real plans comes near them.
"""

from __future__ import annotations

from sys import float_info
from typing import Any, NamedTuple

#: Share of one range of intensities that clipping to the other keeps.
FOREIGN_OVERLAP, DOUBTFUL_OVERLAP = 0.3, 0.8
#: Distance of the means in standard deviations, and ratio of the standard deviations.
FARTHEST_MEAN, WIDEST_STD_RATIO = 2, 3


class ClippedRange(NamedTuple):
    """Normalization of a channel as CT, in the image's own intensities (HU).

    Clipped to ``low`` and ``high`` (0.5 and 99.5 percentile of the foreground), minus ``mean``, divided by ``std``.
    """

    low: float
    high: float
    mean: float
    std: float

    @classmethod
    def of(cls, properties: Any, channel: int) -> ClippedRange | None:
        """The range of a channel; None where properties are missing or not finite (PG003 reports NaN)."""
        entry = (properties or {}).get(str(channel), {})
        values = [entry.get(key) for key in ("percentile_00_5", "percentile_99_5", "mean", "std")]
        return cls(*values) if all(value is not None and abs(value) <= float_info.max for value in values) else None

    def overlap(self, ours: ClippedRange) -> float:
        """The share of ``ours`` that clipping to this range keeps."""
        if ours.high <= ours.low:
            return float(self.low <= ours.low <= self.high)
        return max(0.0, min(self.high, ours.high) - max(self.low, ours.low)) / (ours.high - ours.low)

    @property
    def bounds(self) -> str:
        """The range, in short."""
        return f"[{self.low:.4g}, {self.high:.4g}]"

    def difference(self, ours: ClippedRange) -> str:
        """A clause about what is too far apart; empty when nothing is."""
        overlap = self.overlap(ours)
        if overlap < DOUBTFUL_OVERLAP:
            return f"the plans' range {self.bounds} keeps only {overlap:.0%} of this dataset's, {ours.bounds}"
        if abs(self.mean - ours.mean) > FARTHEST_MEAN * ours.std:
            return f"the plans' mean is {self.mean:.4g}, this dataset's {ours.mean:.4g}, with a std of {ours.std:.4g}"
        narrow, wide = sorted((self.std, ours.std))
        if wide > WIDEST_STD_RATIO * narrow:
            return f"the plans' std is {self.std:.4g}, this dataset's {ours.std:.4g}"
        return ""

    def __str__(self) -> str:
        return f"{self.bounds}, mean {self.mean:.4g}, std {self.std:.4g}"
