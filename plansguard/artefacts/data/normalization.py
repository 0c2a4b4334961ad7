"""Check whether the values of a channel can be the result of a normalization of nnU-Net.

nnU-Net crops, normalizes, then resamples. Its resampling functions keep the range of their input, so ranges are exact
in every case. Mean and standard deviation are exact without resampling and approximate after it; the tolerances were
measured on data that nnU-Net made (docs/calibration.md).
Source: preprocessing/normalization/default_normalization_schemes.py, preprocessors/default_preprocessor.py of nnU-Net.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from math import inf, isfinite, nan, sqrt
from typing import NamedTuple

from plansguard.artefacts.data.expectation import Expectation

CT, ZSCORE = "CTNormalization", "ZScoreNormalization"
RESCALE, RGB = "RescaleTo01Normalization", "RGBTo01Normalization"
#: The schemes that do something else where ``use_mask_for_norm`` is set.
MASKABLE = frozenset({ZSCORE})
#: Values this close to 0 count as 0.
QUIET = 0.01

#: Rounding exceeds a bound by at most this, in units of the array.
ROUNDING = 1e-4
#: Without resampling, mean and standard deviation are this close to 0 and 1, and at most this share of the voxels that
#: should be 0 is not.
EXACT = 0.05
#: With resampling: how far the mean may be from 0, and how much larger the mean square than 1 ...
MEAN, SQUARE = 0.15, 1.5
#: ... and how many voxels are needed to check them, or the values outside the mask.
FEWEST_VOXELS = 30
#: The share of 0 outside the mask: at most this if those voxels were normalized, at least that if they were not. A
#: share between the two can result from the edge of the mask.
NORMALIZED_QUIET, MASKED_QUIET = 0.05, 0.25
#: Fewer cases, or cases of fewer voxels, are no evidence about a dataset.
FEWEST_CASES, FEWEST_CASE_VOXELS = 4, 1000

#: The least mean inside the mask of a channel that was constant there, became -1 or 1, and was resampled at the edge.
CONSTANT = 0.8
#: The least share of the largest variance possible within its range that an image of two values has.
TWO_VALUED = 0.75

#: A kind ("range" or "moments") and a clause.
ChannelFault = tuple[str, str]


# --- Measurements


@dataclass(frozen=True)
class Moments:
    """Count, sum and sum of squares of some voxels."""

    voxels: int = 0
    total: float = 0.0
    squares: float = 0.0

    def __add__(self, other: Moments) -> Moments:
        return Moments(self.voxels + other.voxels, self.total + other.total, self.squares + other.squares)

    def __sub__(self, other: Moments) -> Moments:
        return Moments(self.voxels - other.voxels, self.total - other.total, self.squares - other.squares)

    @property
    def mean(self) -> float:
        """NaN of no voxels."""
        return self.total / self.voxels if self.voxels else nan

    @property
    def square(self) -> float:
        """The mean square; NaN of no voxels."""
        return self.squares / self.voxels if self.voxels else nan

    @property
    def std(self) -> float:
        """NaN of no voxels, and where the sums are not finite."""
        variance = self.square - self.mean**2
        return sqrt(max(0.0, variance)) if isfinite(variance) else nan


NO_VOXELS = Moments()


@dataclass(frozen=True)
class Channel:
    """Measurements of one channel of one case.

    ``outside`` are the voxels where the segmentation is negative, which are outside the mask of ``use_mask_for_norm``.
    ``quiet`` of them are within QUIET of 0.
    """

    low: float = inf
    high: float = -inf
    everywhere: Moments = NO_VOXELS
    outside: Moments = NO_VOXELS
    quiet: int = 0

    @property
    def inside(self) -> Moments:
        """The voxels inside the mask."""
        return self.everywhere - self.outside

    @property
    def constant(self) -> bool:
        """Whether all voxels are equal, so that their normalized value depends on rounding."""
        return self.low == self.high

    @property
    def constant_inside(self) -> bool:
        """Whether it was constant inside the mask, so that rounding made it 0, -1 or 1 there."""
        farthest = max(-self.low, self.high)
        within = abs(farthest - 1) <= ROUNDING and abs(self.high - self.low - 1) <= ROUNDING
        return within and abs(self.inside.mean) >= CONSTANT

    @property
    def two_valued(self) -> bool:
        """Whether nearly all voxels are at one end of the range or the other."""
        mean, std = self.everywhere.mean, self.everywhere.std
        return std**2 >= TWO_VALUED * (mean - self.low) * (self.high - mean)


class Bounds(NamedTuple):
    """The range of normalized values, and by how much rounding can exceed it."""

    low: float
    high: float
    slack: float = ROUNDING

    @classmethod
    def of(cls, expectation: Expectation, channel: int) -> Bounds | None:
        """Return the bounds of a channel; None where its scheme has none, or the plans do not contain them."""
        scheme = expectation.schemes[channel]
        clipped = expectation.intensities[channel] if channel < len(expectation.intensities) else None
        if scheme in (RESCALE, RGB):
            return cls(0.0, 1.0)
        if scheme != CT or clipped is None:
            return None
        std = max(clipped.std, 1e-8)
        # nnU-Net computes in float32, of which each step loses up to 6e-8 of the intensity
        largest = max(abs(clipped.low), abs(clipped.high), abs(clipped.mean))
        low, high = ((bound - clipped.mean) / std for bound in (clipped.low, clipped.high))
        return cls(low, high, ROUNDING + 5e-7 * largest / std)

    def broken(self, channel: Channel) -> bool:
        """Whether the channel has values beyond the bounds."""
        return channel.low < self.low - self.slack or channel.high > self.high + self.slack


# --- One case


def judge_channels(
    channels: Sequence[Channel], expectation: Expectation, *, resampled: bool
) -> tuple[list[ChannelFault], Evidence]:
    """Return the faults of one case, and its evidence about the dataset.

    ``resampled`` is whether its shape was changed after it was normalized. Channels without a scheme in the plans, and
    schemes that are not nnU-Net's, are not checked.
    """
    faults: list[ChannelFault] = []
    evidence = []
    for index, (channel, scheme) in enumerate(zip(channels, expectation.schemes, strict=False)):
        masked = index < len(expectation.masked) and expectation.masked[index]
        bounds = Bounds.of(expectation, index)
        for kind, what in _judge(channel, scheme, bounds, masked=masked, resampled=resampled):
            faults.append((kind, f"channel {index} {what}"))
        evidence.append(ChannelEvidence.of(channel, bounds))
    return faults, Evidence(tuple(evidence))


def _judge(
    channel: Channel, scheme: str, bounds: Bounds | None, *, masked: bool, resampled: bool
) -> Iterator[ChannelFault]:
    """Yield at most one fault: the first is the reason for the others."""
    if not (isfinite(channel.low) and isfinite(channel.high)):
        yield "range", "holds NaN or infinite values"
    elif bounds and bounds.broken(channel):
        yield "range", f"holds {channel.low:.6g} to {channel.high:.6g}, {_allowed(scheme, bounds)}"
    elif channel.constant or (masked and channel.constant_inside):
        return
    elif scheme == RESCALE and bounds and not resampled and channel.high - channel.low < 1 - bounds.slack:
        yield "range", f"holds only {channel.low:.6g} to {channel.high:.6g}, {_allowed(scheme, bounds)}"
    elif scheme == ZSCORE:
        what = _mask_fault(channel, masked, resampled) or _moments_fault(channel, masked, resampled)
        if what:
            yield "moments", what


def _allowed(scheme: str, bounds: Bounds) -> str:
    return f"{scheme} of these plans leaves {bounds.low:.6g} to {bounds.high:.6g}"


def _mask_fault(channel: Channel, masked: bool, resampled: bool) -> str:
    """Return a clause if the values outside the mask contradict ``use_mask_for_norm`` of the plans."""
    outside = channel.outside
    if outside.voxels < FEWEST_VOXELS:
        return ""
    quiet = channel.quiet / outside.voxels
    if masked:
        # resampling mixes values at the mask's edge; if those outside were normalized, they are one value elsewhere
        uniform = outside.std < abs(outside.mean) / 2
        if quiet < NORMALIZED_QUIET and uniform if resampled else quiet < 1 - EXACT:
            return f"is {outside.mean:.3g} on average outside the mask, where use_mask_for_norm of these plans leaves 0"
    # where the whole image was normalized and happens to be 0 outside, its mean square is not that small
    elif (
        quiet >= MASKED_QUIET and channel.everywhere.square <= 1.05 * channel.inside.voxels / channel.everywhere.voxels
    ):
        return f"is 0 in {quiet:.0%} of what is outside the mask, and these plans do not set use_mask_for_norm"
    return ""


def _moments_fault(channel: Channel, masked: bool, resampled: bool) -> str:
    """Return a clause if mean and standard deviation are not those after z-scoring."""
    moments = channel.inside if masked else channel.everywhere
    mean, std, voxels = moments.mean, moments.std, moments.voxels
    if resampled:
        if voxels < FEWEST_VOXELS:
            return ""
        farthest = max(abs(channel.low), abs(channel.high))
        one_sided = channel.low >= 0 or channel.high <= 0
        usual = abs(mean) <= MEAN + 2 / sqrt(voxels) and moments.square <= SQUARE + 2 * farthest**2 / voxels
        fine = usual and not one_sided
    else:
        fine = (abs(mean) <= EXACT and abs(std - 1) <= EXACT) or std <= ROUNDING
    if fine:
        return ""
    where = " inside the mask" if masked else ""
    return f"has mean {mean:.3g} and standard deviation {std:.3g}{where}, {ZSCORE} of these plans leaves 0 and 1"


# --- All cases


class Extreme(NamedTuple):
    """The lowest end of a range among some cases, to four digits, and the number of cases with exactly this end."""

    value: float = inf
    cases: int = 0

    def join(self, other: Extreme) -> Extreme:
        """Return the lower of two extremes, or one for the cases of both."""
        if self.value == other.value:
            return Extreme(self.value, self.cases + other.cases)
        return min(self, other)


NO_EXTREME = Extreme()


@dataclass(frozen=True)
class ChannelEvidence:
    """One channel of some cases, without cases of two values or of very few voxels.

    ``floor`` and ``ceiling`` are the ends of their ranges, the ceiling with its sign changed. ``at_low`` and
    ``at_high`` cases reach the bounds of the plans; ``standard`` have mean 0 and standard deviation 1.
    """

    cases: int = 0
    floor: Extreme = NO_EXTREME
    ceiling: Extreme = NO_EXTREME
    at_low: int = 0
    at_high: int = 0
    standard: int = 0

    @classmethod
    def of(cls, channel: Channel, bounds: Bounds | None) -> ChannelEvidence:
        """Return the evidence of one case."""
        mean, std = channel.everywhere.mean, channel.everywhere.std
        few = channel.everywhere.voxels < FEWEST_CASE_VOXELS
        if bounds is None or few or channel.two_valued or not isfinite(std):
            return cls()
        return cls(
            cases=1,
            floor=Extreme(float(f"{channel.low:.4g}"), 1),
            ceiling=Extreme(float(f"{-channel.high:.4g}"), 1),
            at_low=int(channel.low <= bounds.low + bounds.slack),
            at_high=int(channel.high >= bounds.high - bounds.slack),
            standard=int(abs(mean) <= EXACT and abs(std - 1) <= EXACT),
        )

    def __add__(self, other: ChannelEvidence) -> ChannelEvidence:
        return ChannelEvidence(
            self.cases + other.cases,
            self.floor.join(other.floor),
            self.ceiling.join(other.ceiling),
            self.at_low + other.at_low,
            self.at_high + other.at_high,
            self.standard + other.standard,
        )


@dataclass(frozen=True)
class Evidence:
    """Properties that a single case may have, but not all of a dataset. Sums are as small as their terms."""

    channels: tuple[ChannelEvidence, ...] = ()

    def __add__(self, other: Evidence) -> Evidence:
        pairs = zip_longest(self.channels, other.channels, fillvalue=ChannelEvidence())
        return Evidence(tuple(own + others for own, others in pairs))


def evidence_faults(evidence: Evidence, expectation: Expectation) -> list[ChannelFault]:
    """Return what all cases together show against the plans, for CTNormalization only.

    Either most cases begin and end at the same values and none at the bounds of the plans, as if clipped to other
    bounds; raw images can be like that, so this is no proof. Or every case has mean 0 and standard deviation 1, as if
    z-scored.
    """
    faults = []
    for index, (channel, scheme) in enumerate(zip(evidence.channels, expectation.schemes, strict=False)):
        bounds = Bounds.of(expectation, index)
        if scheme == CT and bounds is not None and channel.cases >= FEWEST_CASES:
            faults += [(kind, f"channel {index} {what}") for kind, what in _suspicions(channel, bounds)]
    return faults


def _suspicions(evidence: ChannelEvidence, bounds: Bounds) -> Iterator[ChannelFault]:
    every = f"{evidence.cases} cases"
    floor, ceiling = evidence.floor, evidence.ceiling
    if evidence.standard == evidence.cases:
        yield "moments", f"has mean 0 and standard deviation 1 in each of {every}, as after {ZSCORE}"
    # One end alone may be an end of the raw images: air, or the largest value that a scanner stores.
    elif not (evidence.at_low or evidence.at_high) and 2 * min(floor.cases, ceiling.cases) > evidence.cases:
        ends = f"{floor.value:g} to {-ceiling.value:g}"
        yield "range", f"holds {ends} in most of {every}, as if clipped there; {_allowed(CT, bounds)}"
