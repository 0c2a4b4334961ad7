"""What nnU-Net's normalisation leaves behind in an array, and whether a channel looks like it.

nnU-Net crops, normalises, then resamples. Its resampling functions stay within the range of what they are given, so a
range holds in every case. Mean and standard deviation hold exactly without resampling and roughly after it; how roughly
was measured on what nnU-Net itself made (docs/calibration.md).
Source: preprocessing/normalization/default_normalization_schemes.py, preprocessors/default_preprocessor.py of nnU-Net.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from math import inf, isfinite, nan, sqrt
from typing import NamedTuple, Protocol

from plansguard.nnunet.intensity import ClippedRange

CT, ZSCORE = "CTNormalization", "ZScoreNormalization"
RESCALE, RGB = "RescaleTo01Normalization", "RGBTo01Normalization"
#: The schemes that do something else where ``use_mask_for_norm`` is set.
MASKABLE = frozenset({ZSCORE})
#: Values this close to 0 count as 0.
QUIET = 0.01

#: Rounding leads at most this far beyond a bound, in units of the array.
ROUNDING = 1e-4
#: Without resampling, mean and standard deviation are this close to 0 and 1, and as large a share of what is said to be
#: 0 is not.
EXACT = 0.05
#: With resampling: how far the mean may be from 0, and how much larger the mean square than 1 ...
MEAN, SQUARE = 0.15, 1.5
#: ... and how many voxels there must be to judge them, or what lies outside the mask.
FEWEST_VOXELS = 30
#: The share of what lies outside the mask that is 0: at most this if it was normalised, at least that if it was not.
#: Between the two only the edge of the mask is seen.
NORMALISED_QUIET, MASKED_QUIET = 0.05, 0.25
#: Fewer cases are no evidence of a dataset; nor are cases of fewer voxels, or what fewer than half of the cases share.
FEWEST_CASES, FEWEST_TELLING = 4, 1000

#: The mean inside the mask, at least, of what was constant there and became -1 or 1, before its edge was resampled.
CONSTANT = 0.8
#: The share of the largest variance within a range from which on an image counts as one of two values.
TWO_VALUED = 0.75

#: A kind ("range" or "moments") and a clause.
Found = tuple[str, str]


class Normalization(Protocol):
    """What plans say of the values, per channel; `plansguard.artefacts.data.expectation.Expectation` is one."""

    @property
    def schemes(self) -> tuple[str, ...]:
        """``normalization_schemes``."""

    @property
    def masked(self) -> tuple[bool, ...]:
        """``use_mask_for_norm``."""

    @property
    def intensities(self) -> tuple[ClippedRange | None, ...]:
        """What CTNormalization clips to, in the image's own intensities."""


# ---------------------------------------------------------------------------------------------------------------------
# Figures
# ---------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Sums:
    """Count, sum and sum of squares of some voxels."""

    voxels: int = 0
    total: float = 0.0
    squares: float = 0.0

    def __add__(self, other: Sums) -> Sums:
        return Sums(self.voxels + other.voxels, self.total + other.total, self.squares + other.squares)

    def __sub__(self, other: Sums) -> Sums:
        return Sums(self.voxels - other.voxels, self.total - other.total, self.squares - other.squares)

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


NOTHING = Sums()


@dataclass(frozen=True)
class Channel:
    """What was measured in one channel of one case.

    ``outside`` are the voxels where the segmentation is negative: those outside the mask within which nnU-Net may
    normalise. ``quiet`` of them are within QUIET of 0.
    """

    low: float = inf
    high: float = -inf
    everywhere: Sums = NOTHING
    outside: Sums = NOTHING
    quiet: int = 0

    @property
    def inside(self) -> Sums:
        """The voxels inside the mask."""
        return self.everywhere - self.outside

    @property
    def constant(self) -> bool:
        """Whether all voxels are the same: what a scheme does to them is a matter of rounding."""
        return self.low == self.high

    @property
    def constant_inside(self) -> bool:
        """Whether it was constant inside the mask, so that rounding alone decided whether that became 0, -1 or 1."""
        farthest = max(-self.low, self.high)
        within = abs(farthest - 1) <= ROUNDING and abs(self.high - self.low - 1) <= ROUNDING
        return within and abs(self.inside.mean) >= CONSTANT

    @property
    def two_valued(self) -> bool:
        """Whether nearly all voxels are at one end or the other; no values vary more within the same range."""
        sums = self.everywhere
        return sums.std**2 >= TWO_VALUED * (sums.mean - self.low) * (self.high - sums.mean)


class Bounds(NamedTuple):
    """The range that a scheme leaves, and how far rounding may lead beyond it."""

    low: float
    high: float
    slack: float = ROUNDING

    @classmethod
    def of(cls, scheme: str, clipped: ClippedRange | None) -> Bounds | None:
        """None where the scheme leaves any values, or the plans do not say which."""
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
        """Whether the channel has values beyond them."""
        return channel.low < self.low - self.slack or channel.high > self.high + self.slack


# ---------------------------------------------------------------------------------------------------------------------
# One case
# ---------------------------------------------------------------------------------------------------------------------


def judge_channels(
    channels: Sequence[Channel], plans: Normalization, *, resampled: bool
) -> tuple[list[Found], Evidence]:
    """What is wrong with one case, and what it adds to the evidence of its dataset.

    ``resampled`` says whether its shape was changed after it was normalised. Channels for which the plans have no
    scheme, and schemes that are not nnU-Net's, are not judged.
    """
    found: list[Found] = []
    seen = []
    for index, (channel, scheme) in enumerate(zip(channels, plans.schemes, strict=False)):
        masked = index < len(plans.masked) and plans.masked[index]
        bounds = Bounds.of(scheme, plans.intensities[index] if index < len(plans.intensities) else None)
        for kind, what in _judge(channel, scheme, bounds, masked=masked, resampled=resampled):
            found.append((kind, f"channel {index} {what}"))
        seen.append(Seen.of(channel, bounds))
    return found, Evidence(tuple(seen))


def _judge(channel: Channel, scheme: str, bounds: Bounds | None, *, masked: bool, resampled: bool) -> Iterator[Found]:
    """At most one fault: the first is the reason of the others."""
    if not (isfinite(channel.low) and isfinite(channel.high)):
        yield "range", "holds NaN or infinite values"
    elif bounds and bounds.broken(channel):
        yield "range", f"holds {channel.low:.6g} to {channel.high:.6g}, {_left(scheme, bounds)}"
    elif channel.constant or (masked and channel.constant_inside):
        return
    elif scheme == RESCALE and bounds and not resampled and channel.high - channel.low < 1 - bounds.slack:
        yield "range", f"holds only {channel.low:.6g} to {channel.high:.6g}, {_left(scheme, bounds)}"
    elif scheme == ZSCORE:
        what = _mask_fault(channel, masked, resampled) or _moments_fault(channel, masked, resampled)
        if what:
            yield "moments", what


def _left(scheme: str, bounds: Bounds) -> str:
    return f"{scheme} of these plans leaves {bounds.low:.6g} to {bounds.high:.6g}"


def _mask_fault(channel: Channel, masked: bool, resampled: bool) -> str:
    """Whether values outside the mask tell that z-scoring took the mask into account, or did not, unlike the plans."""
    outside = channel.outside
    if outside.voxels < FEWEST_VOXELS:
        return ""
    quiet = channel.quiet / outside.voxels
    if masked:
        # at the mask's edge resampling mixes in values of all kinds; what was normalised is one value everywhere
        uniform = outside.std < abs(outside.mean) / 2
        if quiet < NORMALISED_QUIET and uniform if resampled else quiet < 1 - EXACT:
            return f"is {outside.mean:.3g} on average outside the mask, where use_mask_for_norm of these plans leaves 0"
    # where the whole image was normalised and just comes to 0 outside, its mean square is not that small
    elif (
        quiet >= MASKED_QUIET and channel.everywhere.square <= 1.05 * channel.inside.voxels / channel.everywhere.voxels
    ):
        return f"is 0 in {quiet:.0%} of what is outside the mask, and these plans do not set use_mask_for_norm"
    return ""


def _moments_fault(channel: Channel, masked: bool, resampled: bool) -> str:
    """Whether mean and standard deviation are not what z-scoring leaves."""
    sums = channel.inside if masked else channel.everywhere
    mean, std = sums.mean, sums.std
    if resampled:
        if sums.voxels < FEWEST_VOXELS:
            return ""
        farthest = max(abs(channel.low), abs(channel.high))
        one_sided = channel.low >= 0 or channel.high <= 0
        usual = abs(mean) <= MEAN + 2 / sqrt(sums.voxels) and sums.square <= SQUARE + 2 * farthest**2 / sums.voxels
        fine = usual and not one_sided
    else:
        fine = (abs(mean) <= EXACT and abs(std - 1) <= EXACT) or std <= ROUNDING
    if fine:
        return ""
    where = " inside the mask" if masked else ""
    return f"has mean {mean:.3g} and standard deviation {std:.3g}{where}, {ZSCORE} of these plans leaves 0 and 1"


# ---------------------------------------------------------------------------------------------------------------------
# All cases
# ---------------------------------------------------------------------------------------------------------------------


class Extreme(NamedTuple):
    """The farthest end that any case has, to four digits, and how many cases end exactly there."""

    value: float = inf
    cases: int = 0

    def join(self, other: Extreme) -> Extreme:
        """Of both; the lower value counts."""
        if self.value == other.value:
            return Extreme(self.value, self.cases + other.cases)
        return min(self, other)


NOWHERE = Extreme()


@dataclass(frozen=True)
class Seen:
    """One channel over some cases, those left out that are of two values or of very few voxels.

    ``floor`` and ``ceiling`` are where the cases end, the ceiling with its sign changed. ``at_low`` and ``at_high``
    cases reach the bounds of the plans; ``standard`` have mean 0 and standard deviation 1.
    """

    cases: int = 0
    floor: Extreme = NOWHERE
    ceiling: Extreme = NOWHERE
    at_low: int = 0
    at_high: int = 0
    standard: int = 0

    @classmethod
    def of(cls, channel: Channel, bounds: Bounds | None) -> Seen:
        """One case."""
        mean, std = channel.everywhere.mean, channel.everywhere.std
        few = channel.everywhere.voxels < FEWEST_TELLING
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

    def __add__(self, other: Seen) -> Seen:
        return Seen(
            self.cases + other.cases,
            self.floor.join(other.floor),
            self.ceiling.join(other.ceiling),
            self.at_low + other.at_low,
            self.at_high + other.at_high,
            self.standard + other.standard,
        )


@dataclass(frozen=True)
class Evidence:
    """What single cases may legally show, but not a whole dataset. Adding is associative, and grows nothing."""

    channels: tuple[Seen, ...] = ()

    def __add__(self, other: Evidence) -> Evidence:
        return Evidence(tuple(one + two for one, two in zip_longest(self.channels, other.channels, fillvalue=Seen())))


def evidence_faults(evidence: Evidence, plans: Normalization) -> list[Found]:
    """What all cases together tell against the plans.

    Only of CTNormalization: most cases begin and end at the same values and none at the bounds of the plans, so they
    were clipped to other bounds, unless the raw images are like that: these are clues, no proof. Or every case has mean
    0 and standard deviation 1, so each was z-scored.
    """
    found = []
    for index, (seen, scheme) in enumerate(zip(evidence.channels, plans.schemes, strict=False)):
        bounds = Bounds.of(scheme, plans.intensities[index] if index < len(plans.intensities) else None)
        if scheme == CT and bounds is not None and seen.cases >= FEWEST_CASES:
            found += [(kind, f"channel {index} {what}") for kind, what in _suspicions(seen, bounds)]
    return found


def _suspicions(seen: Seen, bounds: Bounds) -> Iterator[Found]:
    every = f"{seen.cases} cases"
    if seen.standard == seen.cases:
        yield "moments", f"has mean 0 and standard deviation 1 in each of {every}, as after {ZSCORE}"
    # One end alone may be where the raw images end: air, or the most that a scanner stores.
    elif not (seen.at_low or seen.at_high) and 2 * min(seen.floor.cases, seen.ceiling.cases) > seen.cases:
        ends = f"{seen.floor.value:g} to {-seen.ceiling.value:g}"
        yield "range", f"holds {ends} in most of {every}, as if clipped there; {_left(CT, bounds)}"
