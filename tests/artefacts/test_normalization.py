"""Checks of measured values against the normalization of the plans."""

from __future__ import annotations

import math
import pickle
from functools import reduce
from operator import add

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plansguard.artefacts.data.expectation import Expectation
from plansguard.artefacts.data.normalization import (
    CT,
    RESCALE,
    RGB,
    ZSCORE,
    Channel,
    ChannelEvidence,
    Evidence,
    Extreme,
    Moments,
    evidence_faults,
    judge_channels,
)
from plansguard.artefacts.data.values import undeclared_labels
from plansguard.nnunet.intensity import ClippedRange
from tests.support.arrays import expectation

VOXELS = 10_000


def moments(voxels: int, mean: float, std: float) -> Moments:
    return Moments(voxels, voxels * mean, voxels * (std**2 + mean**2))


def channel(low: float, high: float, mean: float = 0.0, std: float = 1.0, voxels: int = VOXELS) -> Channel:
    return Channel(low, high, moments(voxels, mean, std))


def with_outside(mean: float, std: float, quiet: float, inside: Moments) -> Channel:
    """A channel of which 2000 voxels lie outside the mask, this share of them near 0."""
    outside = moments(2000, mean, std)
    return Channel(-3, 3, inside + outside, outside, round(2000 * quiet))


def fault(one: Channel, expectation: Expectation, *, resampled: bool = True) -> str:
    faults, _ = judge_channels([one], expectation, resampled=resampled)
    assert len(faults) <= 1
    return ": ".join(faults[0]) if faults else ""


# --- One case


@pytest.mark.parametrize(
    ("scheme", "low", "high", "expected"),
    [
        (CT, -9.5, 1.5, ""),
        (CT, -9.50005, 1.50005, ""),
        (CT, -2.0, 0.5, ""),
        (CT, -9.6, 1.5, "range: channel 0 holds -9.6 to 1.5, CTNormalization of these plans leaves -9.5 to 1.5"),
        (CT, -9.5, 1.501, "range: channel 0 holds -9.5 to 1.501, CTNormalization of these plans leaves -9.5 to 1.5"),
        (RESCALE, 0.1, 0.9, ""),
        (RGB, 0.0, 1.0, ""),
        (RGB, 0.0, 255.0, "range: channel 0 holds 0 to 255, RGBTo01Normalization of these plans leaves 0 to 1"),
        (RESCALE, -0.5, 1.0, "range: channel 0 holds -0.5 to 1, RescaleTo01Normalization of these plans leaves 0 to 1"),
        ("NoNormalization", -1e6, 1e6, ""),
        ("SomeonesNormalization", -1e6, 1e6, ""),
        ("NoNormalization", math.nan, 1.0, "range: channel 0 holds NaN or infinite values"),
        ("NoNormalization", -1.0, math.inf, "range: channel 0 holds NaN or infinite values"),
    ],
)
def test_ranges(scheme: str, low: float, high: float, expected: str) -> None:
    assert fault(channel(low, high), expectation(scheme)) == expected


def test_rescaled_images_that_were_not_resampled_reach_both_ends() -> None:
    one = channel(0.1, 0.9)
    assert "holds only 0.1 to 0.9" in fault(one, expectation(RESCALE), resampled=False)
    assert fault(channel(0.0, 1.0), expectation(RESCALE), resampled=False) == ""
    assert fault(channel(0.0, 0.0), expectation(RESCALE), resampled=False) == ""
    assert fault(one, expectation(RGB), resampled=False) == ""


def test_without_statistics_ct_is_not_judged() -> None:
    assert fault(channel(-1000, 3000), expectation(CT, clipped=None)) == ""


def test_large_intensities_leave_room_for_float32() -> None:
    """A range of 100 around ten million: nnU-Net's own float32 is a whole unit off there."""
    clipped = ClippedRange(1e7, 1e7 + 100, 1e7 + 50, 20)
    assert fault(channel(-2.54, 2.5), expectation(CT, clipped=clipped)) == ""
    assert fault(channel(-4.0, 2.5), expectation(CT, clipped=clipped)) != ""


@pytest.mark.parametrize(
    ("mean", "std", "sharp", "rough"),
    [(0.0, 1.0, True, True), (0.1, 0.8, False, True), (0.4, 1.0, False, False), (0.0, 0.3, False, True)],
)
def test_moments(mean: float, std: float, sharp: bool, rough: bool) -> None:
    """Whether they pass without and with resampling."""
    one = channel(-3, 3, mean, std)
    assert (fault(one, expectation(ZSCORE), resampled=False) == "") is sharp
    assert (fault(one, expectation(ZSCORE)) == "") is rough


def test_moments_name_both_sides() -> None:
    assert fault(channel(-3, 3, 1.25, 2), expectation(ZSCORE)) == (
        "moments: channel 0 has mean 1.25 and standard deviation 2, ZScoreNormalization of these plans leaves 0 and 1"
    )


def test_values_on_one_side_of_zero_were_not_z_scored() -> None:
    assert fault(channel(0.0, 1.0, 0.1, 0.1), expectation(ZSCORE)) != ""


def test_a_constant_channel_is_not_judged() -> None:
    assert fault(channel(1.0, 1.0, 1.0, 0.0), expectation(ZSCORE), resampled=False) == ""


@pytest.mark.parametrize("sign", [1, -1])
def test_a_channel_that_was_constant_inside_the_mask_is_not_judged(sign: int) -> None:
    """nnU-Net's rounding makes it 0, -1 or 1 there."""
    inside, outside = moments(8000, sign * 0.95, 0.1), moments(2000, sign * 0.05, 0.1)
    low, high = sorted((0.0, float(sign)))
    assert fault(Channel(low, high, inside + outside, outside, 1500), expectation(ZSCORE, masked=True)) == ""
    assert fault(Channel(low - 1, high, inside + outside, outside, 1500), expectation(ZSCORE, masked=True)) != ""


def test_few_voxels_are_not_judged_once_resampled() -> None:
    assert fault(channel(-3, 3, 0.9, 0.4, voxels=29), expectation(ZSCORE)) == ""


def test_moments_overflow_is_a_fault() -> None:
    assert fault(Channel(-1e30, 1e30, Moments(VOXELS, math.inf, math.inf)), expectation(ZSCORE)) != ""


INSIDE = moments(8000, 0, 1)


def test_the_mask_of_the_plans() -> None:
    in_the_mask = with_outside(0.0, 0.1, 0.6, INSIDE)
    whole_image = with_outside(-1.4, 0.2, 0.0, moments(8000, 0.35, 0.7))
    assert fault(in_the_mask, expectation(ZSCORE, masked=True)) == fault(whole_image, expectation(ZSCORE)) == ""
    assert "is -1.4 on average outside the mask" in fault(whole_image, expectation(ZSCORE, masked=True))
    assert "is 0 in 60% of what is outside the mask" in fault(in_the_mask, expectation(ZSCORE))


def test_the_edge_of_a_mask_is_no_proof() -> None:
    """Of a thin shell resampling leaves only mixtures; not resampled they cannot be."""
    shell = with_outside(-0.2, 0.6, 0.02, INSIDE)
    assert fault(shell, expectation(ZSCORE, masked=True)) == ""
    assert fault(shell, expectation(ZSCORE, masked=True), resampled=False) != ""


def test_moments_count_inside_the_mask() -> None:
    one = with_outside(0.0, 0.0, 1.0, moments(8000, 0.5, 1))
    assert "mean 0.5 and standard deviation 1 inside the mask" in fault(one, expectation(ZSCORE, masked=True))


def test_channels_without_a_scheme_are_not_judged() -> None:
    faults, _ = judge_channels([channel(-1e9, 1e9)] * 3, expectation(CT), resampled=True)
    assert [what.split()[1] for _, what in faults] == ["0"]


def test_undeclared_labels_are_named() -> None:
    assert undeclared_labels((3.0, 7.0), {0, 1, 2}) == "the segmentation holds 3, 7, dataset.json declares 0 to 2"
    assert undeclared_labels((1.5,), {0, 2, 5}) == "the segmentation holds 1.5, dataset.json declares 0, 2, 5"
    assert undeclared_labels(tuple(range(3, 40)), {0, 1, 2}).startswith("the segmentation holds 3, 4, 5, 6, 7, ...,")


# --- All cases

FEW = st.integers(0, 3)
EXTREMES = st.builds(Extreme, st.sampled_from((-1.0, 0.0, 2.5)), st.integers(1, 3))
EVIDENCE = st.builds(
    Evidence, st.lists(st.builds(ChannelEvidence, FEW, EXTREMES, EXTREMES, FEW, FEW, FEW), max_size=3).map(tuple)
)


@given(EVIDENCE, EVIDENCE, EVIDENCE)
def test_evidence_can_be_folded_in_any_way(one: Evidence, two: Evidence, three: Evidence) -> None:
    assert (one + two) + three == one + (two + three)
    assert one + two == two + one
    assert one + Evidence() == one == pickle.loads(pickle.dumps(one))


def evidence(*cases: Channel) -> list[tuple[str, str]]:
    return evidence_faults(
        reduce(add, (judge_channels([one], expectation(), resampled=True)[1] for one in cases)), expectation()
    )


NARROWER = channel(-4.0, 1.0, -0.3, 0.5)


def test_cases_clipped_to_a_narrower_range_are_evidence() -> None:
    assert evidence(*[NARROWER] * 4) == [
        (
            "range",
            "channel 0 holds -4 to 1 in most of 4 cases, as if clipped there; "
            "CTNormalization of these plans leaves -9.5 to 1.5",
        )
    ]


@pytest.mark.parametrize(
    "cases",
    [
        [NARROWER] * 3,
        [*[NARROWER] * 4, channel(-9.5, 0.5, -0.3, 0.5)],
        [*[NARROWER] * 4, channel(-4.0, 1.5, -0.3, 0.5)],
        [channel(-4.0, 1.0 - n / 10, -0.3, 0.5) for n in range(8)],
        [channel(-4.0, 1.0, -0.3, 2.4)] * 8,
        [channel(-4.0, 1.0, -0.3, 0.5, voxels=99)] * 8,
    ],
    ids=["too few cases", "one at the low end", "one at the high end", "one end varies", "two values", "tiny"],
)
def test_what_is_no_evidence(cases: list[Channel]) -> None:
    assert evidence(*cases) == []


def test_cases_that_were_all_z_scored_are_evidence() -> None:
    z_scored = [channel(-1.5 - n / 10, 1.2, 0.01, 0.99) for n in range(4)]
    ((kind, what),) = evidence(*z_scored)
    assert kind == "moments"
    assert what == "channel 0 has mean 0 and standard deviation 1 in each of 4 cases, as after ZScoreNormalization"
    assert evidence(*z_scored, channel(-1.5, 1.2, -0.5, 0.7)) == []
