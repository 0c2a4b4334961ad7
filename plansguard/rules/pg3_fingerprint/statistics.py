"""PG313, PG314, PG317: intensity statistics and masks that contradict the fingerprint, or that no image can have."""

from __future__ import annotations

from collections.abc import Iterator

from plansguard.core.report import Severity
from plansguard.core.text import brief
from plansguard.nnunet import constants
from plansguard.nnunet.intensity import ClippedRange
from plansguard.rules.engine.declare import Found, found, rule
from plansguard.rules.engine.helpers import plan_commands, reported_before, requested_configurations
from plansguard.rules.engine.needs import PREPROCESSED
from plansguard.subjects.dataset import Dataset
from plansguard.subjects.documents import Fingerprint
from plansguard.subjects.plans import Configuration, Plans

#: Share of the clipped range by which numbers differ that were rounded to whole Hounsfield units.
ROUNDING = 0.01
#: Source: determine_normalization_scheme_and_whether_mask_is_used_for_norm in default_experiment_planner.py.
_MASKED_BELOW = 0.75
_MASKED_SCHEME = "ZScoreNormalization"


@rule(
    "PG313",
    Severity.WARNING,
    message="CT channel {channel}: {key} is {theirs} in the plans, and {ours} in the fingerprint",
    fix="nothing, if the value is meant; else {again}",
    roles=PREPROCESSED | {"loose"},
    follows=("PG540",),
)
def ct_statistics_edited(dataset: Dataset, plans: Plans, fingerprint: Fingerprint) -> Iterator[Found]:
    """A CT statistic in the plans is not that of the fingerprint which the plans were made from.

    What it checks: where the medians in the plans are those of this dataset's fingerprint, the percentiles, the mean
    and the standard deviation of channels with CTNormalization agree with it, to 1 % of the clipped range. In all
    healthy plans of the corpus they are equal. Plans with a migration record keep those of their weights, and PG306
    reports statistics of another scale.

    Why it matters: images are clipped, shifted and scaled by these four numbers, and nothing else shows an edit.

    How to fix: a window that was chosen on purpose is accepted in `plansguard.json`; otherwise plan again.

    Example: `"std": 39.2` where the fingerprint has 19.6.

    Evidence: NO-01; preprocessing/normalization/default_normalization_schemes.py.
    """
    if dataset.migrated_with(plans) is not None or not fingerprint.describes(plans):
        return
    for channel in _ct_channels(dataset, plans):
        theirs = ClippedRange.of(plans.value.get(plans.intensity_key), channel)
        ours = ClippedRange.of(fingerprint.value.get(constants.INTENSITY_KEY), channel)
        if theirs is None or ours is None or theirs.difference(ours):
            continue
        for key, value, own in zip(_KEYS, theirs, ours, strict=True):
            if abs(value - own) > ROUNDING * (ours.high - ours.low):
                at = plans.at(plans.intensity_key, str(channel), key)
                yield found(
                    at,
                    changed=[at],
                    related=[(fingerprint.at(constants.INTENSITY_KEY, str(channel), key), "the fingerprint's")],
                    channel=channel,
                    key=key,
                    theirs=brief(value),
                    ours=brief(own),
                    again=plan_commands(dataset, [plans]),
                )


@rule(
    "PG314",
    Severity.ERROR,
    message="CT channel {channel}: {what}",
    fix="use the statistics of the images that the plans were made for, or plan again",
)
def degenerate_ct_statistics(dataset: Dataset, plans: Plans) -> Iterator[Found]:
    """The statistics of a CT channel make every image useless.

    What it checks: for channels with CTNormalization, `percentile_00_5` is below `percentile_99_5`, and `std` is above
    zero. Statistics of other channels are not used, and may be zero.

    Why it matters: every image becomes a constant, or numbers around 1e9, and the training runs without a message. It
    is a constant without a range to clip to; nnU-Net replaces a `std` of zero or less by 1e-8.

    How to fix: take the numbers from the fingerprint.

    Example: the two percentiles were swapped.

    Evidence: NO-08; measured with nnU-Net 2.8.1.
    """
    for channel in _ct_channels(dataset, plans):
        clipped = ClippedRange.of(plans.value.get(plans.intensity_key), channel)
        if clipped is None:
            continue
        faults = {}
        if clipped.low >= clipped.high:
            bounds = f"percentile_00_5 is {clipped.low:g} and percentile_99_5 {clipped.high:g}"
            faults["percentile_99_5"] = bounds
        if clipped.std <= 0:
            faults["std"] = f"std is {clipped.std:g}, and must be above zero"
        for key, what in faults.items():
            yield found(plans.at(plans.intensity_key, str(channel), key), channel=channel, what=what)


@rule(
    "PG317",
    Severity.WARNING,
    message="use_mask_for_norm of channel {channel} is {flag}, but cropping leaves {share:.0%} of these images",
    mark="the planner writes {other}",
    fix="nothing, if it is meant; else {again}",
    roles=PREPROCESSED | {"loose"},
)
def mask_not_for_this_data(
    dataset: Dataset, plans: Plans, configuration: Configuration, fingerprint: Fingerprint
) -> Iterator[Found]:
    """Images are normalized inside a mask of which they have none, or the reverse.

    What it checks: `use_mask_for_norm` of channels with ZScoreNormalization against the rule of the planner: true where
    cropping to the nonzero voxels leaves less than three quarters of the median image. Plans with a migration record
    keep the flags of their weights, and PG311 reports plans that were made from other data.

    Why it matters: with a mask, mean and standard deviation are those of the nonzero voxels, and all others become 0.
    Images without a zero background lose their darkest voxels; images of brains without a mask are normalized by how
    much background was stored around them.

    How to fix: plan again, or accept the finding with a reason.

    Example: plans of skull-stripped MR with `"use_mask_for_norm": [true]` for MR of the abdomen.

    Evidence: NO-09; determine_normalization_scheme_and_whether_mask_is_used_for_norm in nnU-Net's planner.
    """
    if dataset.migrated_with(plans) is not None or not fingerprint.describes(plans):
        return
    share = fingerprint.require("median_relative_size_after_cropping")
    schemes, flags = configuration.require("normalization_schemes"), configuration.require("use_mask_for_norm")
    channels = enumerate(zip(schemes, flags, strict=False))
    wrong = [
        one for one, (scheme, flag) in channels if scheme == _MASKED_SCHEME and flag is not (share < _MASKED_BELOW)
    ]
    if not wrong or reported_before(dataset, configuration, "normalization_schemes", "use_mask_for_norm"):
        return
    for channel in wrong:
        at, flag = configuration.at("use_mask_for_norm", channel), flags[channel]
        again = plan_commands(dataset, [plans])
        yield found(at, channel=channel, flag=brief(flag), other=brief(not flag), share=share, again=again)


_KEYS = ("percentile_00_5", "percentile_99_5", "mean", "std")


def _ct_channels(dataset: Dataset, plans: Plans) -> list[int]:
    """Return the channels that a requested configuration normalizes as CT."""
    schemes = (one.get("normalization_schemes") or () for one in requested_configurations(dataset, plans))
    return sorted({index for row in schemes for index, scheme in enumerate(row) if scheme == constants.CT})
