"""PG304 to PG306: channels, normalization and intensities."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from plansguard.core.errors import Absent, known
from plansguard.core.report import Location, Severity
from plansguard.core.text import brief, counted, listed
from plansguard.nnunet import constants
from plansguard.nnunet.intensity import FOREIGN_OVERLAP, ClippedRange
from plansguard.rules.engine.declare import Found, found, rule
from plansguard.rules.engine.helpers import judged, number, told_before
from plansguard.subjects.dataset import Dataset
from plansguard.subjects.documents import DatasetJson, Fingerprint
from plansguard.subjects.plans import Configuration, Plans


@rule(
    "PG304",
    "channel-count-mismatch",
    Severity.ERROR,
    message="{who} for {count}, but dataset.json names {expected}: {channels}",
    fix="{remedy}",
    modes=("MV-15", "NO-03"),
)
def channel_count_mismatch(dataset: Dataset, plans: Plans, dataset_json: DatasetJson) -> Iterator[Found]:
    """The plans are for another number of channels than dataset.json names.

    What it checks: `normalization_schemes` and `use_mask_for_norm` of every configuration, and the intensity
    properties, have one entry for each channel of dataset.json. Where the whole file agrees on another number, that is
    told once.

    Why it matters: with too few entries preprocessing deletes the old data and then stops with `IndexError: list index
    out of range` or `KeyError: '1'`. With too many it says nothing, and trains on other channels than the plans
    describe. The network itself is built for the channels that dataset.json names, so weights of the plans' own
    training will not load.

    How to fix: plans of another dataset cannot be used here; plan this one. After a hand edit, give the list one entry
    per channel.

    Example: plans of a one-channel dataset beside a dataset.json that names two.

    Evidence: MV-15, NO-03; nnU-Net issues 2252, 2442.
    """
    channels = dataset_json.channels
    claims = list(_channel_claims(dataset, plans))
    wrong = [claim for claim in claims if claim.entries != len(channels)]
    remedy = f"give it one entry for each of: {', '.join(channels)}"
    if len(wrong) == len(claims) > 1 and len({claim.entries for claim in claims}) == 1:
        wrong = [wrong[0]._replace(who="these plans are")]
        remedy = f"plan this dataset by itself: nnUNetv2_plan_experiment -d {number(dataset)}"
    for claim in wrong:
        yield found(
            claim.at,
            related=[(dataset_json.at(dataset_json.channels_key), "the channels")],
            who=claim.who,
            count=counted(claim.entries, "channel"),
            expected=len(channels),
            channels=listed(channels, shown=6),
            remedy=remedy,
        )


@rule(
    "PG305",
    "normalization-differs-from-channels",
    Severity.WARNING,
    message="channel {index} is {name} in dataset.json, which means {implied}, but the plans say {scheme}",
    fix="{remedy}",
    modes=("NO-02", "NO-04"),
)
def normalization_differs_from_channels(
    dataset: Dataset, dataset_json: DatasetJson, configuration: Configuration
) -> Iterator[Found]:
    """The normalisation is not the one that the channel's name stands for.

    What it checks: each entry of `normalization_schemes` is what the planner gives to a channel of that name in
    dataset.json (`CT` means CTNormalization, any unknown name ZScoreNormalization). A channel called CT without
    CTNormalization is an error, and so is CTNormalization for another channel with statistics that are not this
    dataset's. Anything else is a warning: whoever chose a scheme by hand may mean it, and so may whoever wrote another
    one into a configuration that inherits the rest. A PET channel that was declared `CT` on purpose agrees with its
    plans and is fine, and so are normalisations that nnU-Net does not know.

    Why it matters: the scheme is fixed when plans are made. Editing `channel_names` afterwards changes nothing; plans
    from a dataset with other images bring their own scheme. CT images that are z-scored lose their absolute scale; MR
    images that are clipped to Hounsfield bounds lose most of their contrast. nnU-Net compares neither.

    How to fix: plan again if dataset.json is right, or name the channel as the plans treat it. In plans that were
    migrated to fine-tune (their record says so) the scheme must stay what the weights saw, so this is a warning there:
    ask whether these weights suit these images.

    Example: `"channel_names": {"0": "MRI"}` was corrected from `CT` after planning.

    Evidence: NO-02, NO-04, NO-10; nnU-Net issues 2174, 2845, 2916, TotalSegmentator issue 358.
    """
    schemes, names = configuration.require("normalization_schemes"), dataset_json.channels
    if len(schemes) != len(names):
        raise Absent(f"{configuration.name} has {len(schemes)} schemes for {len(names)} channels (see PG304)")
    if told_before(dataset, configuration, "normalization_schemes"):
        return
    kept = _kept_for_weights(dataset, configuration.plans)
    for index, (name, scheme) in enumerate(zip(names, schemes, strict=True)):
        implied = constants.normalization_of(name)
        if scheme == implied or scheme not in constants.NORMALIZATIONS:
            continue
        severe = implied == constants.CT or (
            scheme == constants.CT and _foreign_statistics(dataset, configuration.plans, index)
        )
        remedy = "keep it while the weights are used; ask whether weights trained this way suit these images"
        plan = f"if dataset.json is right: nnUNetv2_plan_experiment -d {number(dataset)}, then preprocess again"
        yield found(
            configuration.at("normalization_schemes", index),
            severity=Severity.ERROR if severe and not (kept or _is_variation(configuration)) else Severity.WARNING,
            related=[(dataset_json.at(dataset_json.channels_key), "the channels")],
            index=index,
            name=brief(name),
            implied=implied,
            scheme=scheme,
            remedy=remedy if kept else f"{plan}; if the plans are, name the channel accordingly",
        )


@rule(
    "PG306",
    "intensity-properties-foreign",
    Severity.ERROR,
    message="CT channel {channel}: the plans clip to {theirs} (mean {their_mean:g}, std {their_std:g}), this dataset "
    "has {ours} (mean {our_mean:g}, std {our_std:g}): {because}",
    fix="{remedy}",
    modes=("NO-01",),
)
def intensity_properties_foreign(dataset: Dataset, plans: Plans, fingerprint: Fingerprint) -> Iterator[Found]:
    """The CT statistics in the plans are far from this dataset's.

    What it checks: for each channel with CTNormalization, the plans' percentiles, mean and standard deviation against
    the fingerprint's. An error where the plans' range covers less than 30 % of this dataset's; a warning below 80 %,
    where the means are more than two standard deviations apart or the standard deviations differ by more than a factor
    of 3. Equal values are the normal case. Channels with another scheme do not use them. A channel that dataset.json
    does not call CT is told by PG305 alone, unless the plans are on record as those of trained weights.

    Why it matters: CTNormalization clips to the plans' percentiles. Values that travelled with plans from data on
    another scale (CBCT, SUV, 0 to 4095) turn most of an image into a constant, silently.

    How to fix: weights that are to be fine-tuned expect the plans' values: keep them, and bring the images to the same
    scale, in Hounsfield units. Without weights, plan this dataset.

    Example: plans with a range of [-1000, 1500] for images stored as 0 to 4095.

    Evidence: NO-01; nnU-Net issues 163, 177, 1383, Merlin issue 26.
    """
    for channel in _ct_channels(dataset, plans):
        ours, theirs = (
            ClippedRange.of(part.value.get(key), channel)
            for part, key in ((fingerprint, constants.INTENSITY_KEY), (plans, plans.intensity_key))
        )
        if ours is None or theirs is None or ours == theirs:
            continue
        because = theirs.difference(ours)
        if because:
            kept = _kept_for_weights(dataset, plans)
            keep = "the weights expect the plans' values: keep them, and bring the images to the same intensity scale"
            own = f"use this dataset's own statistics: nnUNetv2_plan_experiment -d {number(dataset)}, then preprocess"
            yield found(
                plans.at(plans.intensity_key, str(channel)),
                severity=None if theirs.overlap(ours) < FOREIGN_OVERLAP else Severity.WARNING,
                related=[(fingerprint.at(constants.INTENSITY_KEY, str(channel)), "this dataset's")],
                channel=channel,
                theirs=f"[{theirs.low:g}, {theirs.high:g}]",
                their_mean=theirs.mean,
                their_std=theirs.std,
                ours=f"[{ours.low:g}, {ours.high:g}]",
                our_mean=ours.mean,
                our_std=ours.std,
                because=because,
                remedy=keep if kept else own,
            )


class _ChannelClaim(NamedTuple):
    """A field that has one entry per channel: where it is, what the message calls it, and its number of entries."""

    at: Location
    who: str
    entries: int


def _channel_claims(dataset: Dataset, plans: Plans) -> Iterator[_ChannelClaim]:
    for configuration in judged(dataset, plans):
        for key in ("normalization_schemes", "use_mask_for_norm"):
            value = configuration.get(key)
            if value is not None and not told_before(dataset, configuration, key):
                yield _ChannelClaim(configuration.at(key), f"{key} of {configuration.name} is", len(value))
    properties = plans.value.get(plans.intensity_key)
    if properties is not None:
        yield _ChannelClaim(plans.at(plans.intensity_key), f"{plans.intensity_key} is", len(properties))


def _is_variation(configuration: Configuration) -> bool:
    """Whether somebody wrote these schemes into a configuration that inherits from another, to compare the two."""
    inherits = configuration.get("inherits_from") is not None
    return inherits and configuration.origin("normalization_schemes") == configuration.name


def _kept_for_weights(dataset: Dataset, plans: Plans) -> bool:
    """Whether the plans are on record as those of trained weights: what these saw is then right, whatever the data."""
    migration_record = known(lambda: dataset.migration_record(plans))
    return migration_record is not None and migration_record.workflow == "finetune"


def _ct_channels(dataset: Dataset, plans: Plans) -> list[int]:
    """Channels that a configuration normalises as CT, without those where that itself is told as wrong (PG305)."""
    kept = _kept_for_weights(dataset, plans)
    names = [] if kept else known(lambda: dataset.dataset_json.valid.channels) or []
    channels = {
        index
        for configuration in judged(dataset, plans)
        for index, scheme in enumerate(configuration.get("normalization_schemes") or ())
        if scheme == constants.CT and (index >= len(names) or constants.normalization_of(names[index]) == constants.CT)
    }
    return sorted(channels)


def _foreign_statistics(dataset: Dataset, plans: Plans, channel: int) -> bool:
    """Whether the plans' intensity properties of a channel are on record as not this dataset's."""
    fingerprint = known(lambda: dataset.fingerprint.valid)
    if fingerprint is None:
        return False
    ours = ClippedRange.of(fingerprint.value.get(constants.INTENSITY_KEY), channel)
    theirs = ClippedRange.of(plans.valid.value.get(plans.intensity_key), channel)
    return ours is not None and theirs is not None and ours != theirs
