"""Intensities of the foreground of each channel beside the range that the plans clip to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite

from plansguard.core.errors import known
from plansguard.nnunet import constants
from plansguard.nnunet.intensity import ClippedRange
from plansguard.subjects.documents import DatasetJson, Fingerprint
from plansguard.subjects.plans import Configuration

_KEYS = ("min", "percentile_00_5", "median", "mean", "percentile_99_5", "max")


@dataclass(frozen=True)
class IntensityRange:
    """Intensities of the foreground of a dataset; ``low`` and ``high`` are the 0.5 and the 99.5 percentile."""

    dataset: str
    smallest: float
    low: float
    median: float
    mean: float
    high: float
    largest: float


@dataclass(frozen=True)
class ChannelFigure:
    """A channel, its normalization, and its intensities in each dataset.

    ``clipped`` is the range of CTNormalization, None with other schemes.
    """

    channel: str
    scheme: str
    clipped: ClippedRange | None
    ranges: tuple[IntensityRange, ...]


def channel_figures(
    configuration: Configuration, dataset_json: DatasetJson | None, fingerprints: Sequence[tuple[str, Fingerprint]]
) -> tuple[ChannelFigure, ...]:
    """One figure for each channel of which any dataset has statistics. Absent without ``normalization_schemes``."""
    names = (known(lambda: dataset_json.channels) if dataset_json is not None else None) or []
    statistics = configuration.plans.value.get(configuration.plans.intensity_key)
    figures = []
    for channel, scheme in enumerate(configuration.require("normalization_schemes")):
        name = names[channel] if channel < len(names) else f"channel {channel}"
        clipped = ClippedRange.of(statistics, channel) if scheme == constants.CT else None
        ranges = [_range(dataset, fingerprint, channel) for dataset, fingerprint in fingerprints]
        found = tuple(one for one in ranges if one is not None)
        if found or clipped is not None:
            figures.append(ChannelFigure(name, scheme, clipped, found))
    return tuple(figures)


def _range(dataset: str, fingerprint: Fingerprint, channel: int) -> IntensityRange | None:
    entry = (fingerprint.value.get(constants.INTENSITY_KEY) or {}).get(str(channel))
    values = [entry.get(key) for key in _KEYS] if isinstance(entry, dict) else []
    usable = [float(value) for value in values if isinstance(value, (int, float)) and isfinite(value)]
    return IntensityRange(dataset, *usable) if len(usable) == len(_KEYS) else None
