"""Intensities of the foreground of each channel beside the range that the plans clip to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite

from plansguard.nnunet import constants
from plansguard.nnunet.intensity import ClippedRange
from plansguard.subjects.documents import Fingerprint
from plansguard.subjects.plans import Configuration

_KEYS = ("min", "percentile_00_5", "median", "mean", "percentile_99_5", "max")


@dataclass(frozen=True)
class IntensityRange:
    """Intensities of the foreground of a channel of a dataset.

    ``low`` and ``high`` are the 0.5 and the 99.5 percentile; ``channel`` is its name, empty where it is not known.
    """

    dataset: str
    channel: str
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
    configuration: Configuration,
    dataset: str,
    fingerprints: Sequence[tuple[str, Fingerprint]],
    channels: Mapping[str, Sequence[str]],
) -> tuple[ChannelFigure, ...]:
    """One figure for each channel of ``dataset`` of which any dataset has statistics.

    ``channels`` are the names of the channels by dataset. Absent without ``normalization_schemes``.
    """
    statistics = configuration.plans.value.get(configuration.plans.intensity_key)
    figures = []
    for channel, scheme in enumerate(configuration.require("normalization_schemes")):
        name = _name(channels, dataset, channel) or f"channel {channel}"
        clipped = ClippedRange.of(statistics, channel) if scheme == constants.CT else None
        ranges = [
            _range(other, _name(channels, other, channel), fingerprint, channel) for other, fingerprint in fingerprints
        ]
        found = tuple(one for one in ranges if one is not None)
        if found or clipped is not None:
            figures.append(ChannelFigure(name, scheme, clipped, found))
    return tuple(figures)


def _name(channels: Mapping[str, Sequence[str]], dataset: str, channel: int) -> str:
    names = channels.get(dataset, ())
    return names[channel] if channel < len(names) else ""


def _range(dataset: str, name: str, fingerprint: Fingerprint, channel: int) -> IntensityRange | None:
    entry = (fingerprint.value.get(constants.INTENSITY_KEY) or {}).get(str(channel))
    values = [entry.get(key) for key in _KEYS] if isinstance(entry, dict) else []
    usable = [float(value) for value in values if isinstance(value, (int, float)) and isfinite(value)]
    return IntensityRange(dataset, name, *usable) if len(usable) == len(_KEYS) else None
