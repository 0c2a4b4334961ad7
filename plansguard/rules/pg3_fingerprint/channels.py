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
from plansguard.rules.engine.helpers import plan_commands, reported_before, requested_configurations
from plansguard.subjects.dataset import Dataset
from plansguard.subjects.documents import DatasetJson, Fingerprint
from plansguard.subjects.plans import Configuration, Plans

#: The fix of what a migration record explains.
_CHOSEN = "nothing: it was set by plansguard derive, whose record is beside the plans"


@rule(
    "PG304",
    Severity.ERROR,
    message="{who} for {count}, but dataset.json names {expected}: {channels}",
    fix="{remedy}",
    follows=("PG414",),
)
def channel_count_mismatch(dataset: Dataset, plans: Plans, dataset_json: DatasetJson) -> Iterator[Found]:
    """The plans are for another number of channels than dataset.json names.

    What it checks: `normalization_schemes` and `use_mask_for_norm` of every configuration, and the intensity
    properties, have one entry for each channel of dataset.json. The same wrong number is reported once. More entries in
    one of these fields are a warning, because nnU-Net reads only the first ones, except for masks that are true.

    Why it matters: preprocessing deletes the old data and stops, or training silently uses other channels than the
    plans describe. With too few entries the error is `IndexError: list index out of range` or `KeyError: '1'`. With too
    many it silently trains. The network is built for the channels of dataset.json, so weights of the plans' own
    training do not load.

    How to fix: plan this dataset: another's plans do not fit. After a manual edit, give the list one entry per channel.

    Example: plans of a one-channel dataset beside a dataset.json that names two.

    Evidence: MV-15, NO-03; nnU-Net issues 2252, 2442.
    """
    channels = dataset_json.channels
    fields = list(_fields_per_channel(dataset, plans))
    if all(field.entries == len(channels) for field in fields):
        return
    fields = [field for field in fields if not field.is_reported_before(dataset)]
    wrong = [field for field in fields if field.entries != len(channels)]
    remedy = f"give it one entry for each of: {', '.join(channels)}"
    if len(wrong) == len(fields) > 1 and len({field.entries for field in fields}) == 1:
        wrong = [wrong[0]._replace(replaces_who="these plans are")]
        remedy = f"plan this dataset by itself: {plan_commands(dataset, [plans])}"
    for field in wrong:
        yield found(
            field.at,
            severity=Severity.WARNING if len(wrong) < len(fields) and not field.matters_beyond(len(channels)) else None,
            related=[(dataset_json.at(dataset_json.channels_key), "the channels")],
            changed=[field.at],
            who=field.who,
            count=counted(field.entries, "channel"),
            expected=len(channels),
            channels=listed(channels, shown=6),
            remedy=remedy,
        )


@rule(
    "PG305",
    Severity.WARNING,
    message="channel {index} is {name} in dataset.json, which means {implied}, but the plans have {scheme}",
    fix="{remedy}",
)
def normalization_differs_from_channels(
    dataset: Dataset, dataset_json: DatasetJson, configuration: Configuration
) -> Iterator[Found]:
    """The normalization is not the one of the channel's name.

    What it checks: each entry of `normalization_schemes` is what the planner gives to a channel of that name in
    dataset.json (`CT` means CTNormalization, any unknown name ZScoreNormalization). A channel called CT without
    CTNormalization is an error, and so is CTNormalization for another channel with statistics that are not this
    dataset's. Anything else is a warning, because a scheme may be chosen by hand; so is any scheme that a configuration
    writes while it inherits the rest. What `plansguard derive` set is for information. A PET channel that is declared
    `CT` on purpose is fine. Schemes that nnU-Net does not have are not checked.

    Why it matters: CT images lose their absolute scale, or MR images most of their contrast; nnU-Net checks neither.
    The scheme is set when plans are made. A later edit of `channel_names` has no effect, and plans of other images
    bring their own scheme. CT images with a z-score lose their absolute scale; MR images that are clipped to Hounsfield
    bounds lose most of their contrast.

    How to fix: plan again if dataset.json is right, or name the channel as the plans treat it. In plans that were
    migrated to fine-tune, by their migration record, and in those of a trained model the scheme must stay that of the
    weights: a warning, to decide whether the weights suit. Plans that were migrated for a pretraining keep the scheme
    of the fine-tuning.

    Example: `"channel_names": {"0": "MRI"}` was corrected from `CT` after planning.

    Evidence: NO-02, NO-04; NO-10, nnU-Net issues 2174, 2845, 2916, TotalSegmentator issue 358.
    """
    schemes, names = configuration.require("normalization_schemes"), dataset_json.channels
    if len(schemes) != len(names):
        numbers = f"{counted(len(schemes), 'scheme')} for {counted(len(names), 'channel')}"
        raise Absent(f"{configuration.name} has {numbers} (see PG304)")
    implied_schemes = [constants.normalization_of(name) for name in names]
    if schemes == implied_schemes or reported_before(dataset, configuration, "normalization_schemes"):
        return
    keep = _belongs_to_weights(dataset, configuration.plans)
    for index, (name, scheme, implied) in enumerate(zip(names, schemes, implied_schemes, strict=True)):
        if scheme == implied or scheme not in constants.NORMALIZATIONS:
            continue
        foreign = scheme == constants.CT and _foreign_statistics(dataset, configuration.plans, index)
        severe = (implied == constants.CT or foreign) and not (keep or _is_variation(configuration))
        chosen = not foreign and _is_chosen(dataset, configuration)
        yield found(
            configuration.at("normalization_schemes", index),
            severity=Severity.INFO if chosen else Severity.ERROR if severe else Severity.WARNING,
            related=[(dataset_json.at(dataset_json.channels_key), "the channels")],
            index=index,
            name=brief(name),
            implied=implied,
            scheme=scheme,
            remedy=_CHOSEN if chosen else _remedy_for_scheme(dataset, configuration, keep=keep),
        )


@rule(
    "PG306",
    Severity.ERROR,
    message="CT channel {channel}: {because}",
    fix="{remedy}",
)
def intensity_properties_foreign(dataset: Dataset, plans: Plans, fingerprint: Fingerprint) -> Iterator[Found]:
    """The CT statistics in the plans are far from this dataset's.

    What it checks: for each channel with CTNormalization, the plans' percentiles, mean and standard deviation against
    the fingerprint's. An error where the plans' range covers less than 30 % of this dataset's (a warning in a trained
    model's folder); a warning below 80 %, or where the means are more than two standard deviations apart or the
    standard deviations differ by more than a factor of 3. Usually the values are equal. Plans that were migrated for
    weights or for a fine-tuning, and those of a trained model, are expected to have others: above 30 % this is for
    information, and not repeated before every training or preprocessing. With an `ignore` label nothing is an error:
    nnU-Net counts ignored voxels, which may be air, as foreground. PG305 reports channels that dataset.json does not
    call CT, unless the plans belong to trained weights: in a model's folder, or by a migration record.

    Why it matters: CTNormalization clips images to the plans' percentiles, and scales them by their mean and deviation.
    What lies outside silently becomes a constant: of data on another scale (CBCT, SUV, 0 to 4095), most of an
    image.

    How to fix: trained weights, and a fine-tuning that plans were migrated for, expect the plans' values: keep them,
    and bring the images to the same scale, in Hounsfield units. Otherwise plan this dataset.

    Example: plans with a range of [-1000, 1500] for images stored as 0 to 4095.

    Evidence: NO-01; nnU-Net issues 163, 177, 1383, Merlin issue 26.
    """
    for channel in _ct_channels(dataset, plans):
        theirs, ours = _clipped_ranges(plans, fingerprint, channel)
        because = theirs.difference(ours) if ours and theirs and ours != theirs else ""
        if ours and theirs and because:
            expected, ignored = _is_expected(dataset, plans), _ignored_voxels(dataset)
            foreign = theirs.overlap(ours) < FOREIGN_OVERLAP
            if expected and not foreign and dataset.request.starts:
                continue
            yield found(
                plans.at(plans.intensity_key, str(channel)),
                severity=_severity(dataset, foreign=foreign and not ignored, expected=expected),
                related=[(fingerprint.at(constants.INTENSITY_KEY, str(channel)), "this dataset's"), *ignored],
                channel=channel,
                theirs=theirs.bounds,
                their_mean=theirs.mean,
                their_std=theirs.std,
                ours=ours.bounds,
                our_mean=ours.mean,
                our_std=ours.std,
                because=because,
                remedy=_same_statistics(dataset, plans, ignores=bool(ignored)),
            )


def _is_expected(dataset: Dataset, plans: Plans) -> bool:
    """Return whether the plans' statistics are to stay those of other data: a trained model's, or as migrated."""
    record = dataset.brought_by(plans)
    if record is None or record.workflow == "graft":
        return dataset.role == "model"
    written = record.migrated.get(constants.INTENSITY_KEY, record.migrated.get(constants.OLD_INTENSITY_KEY))
    return bool(written == plans.value.get(plans.intensity_key))


def _ignored_voxels(dataset: Dataset) -> list[tuple[Location, str]]:
    """Return the place of the label that the fingerprint counts as foreground; empty where there is none."""
    labels = known(lambda: dataset.dataset_json)
    is_there = labels is not None and labels.has_ignore_label
    return [(labels.at("labels", "ignore"), "counted as foreground")] if labels is not None and is_there else []


def _severity(dataset: Dataset, *, foreign: bool, expected: bool) -> Severity:
    if foreign:
        return Severity.WARNING if dataset.role == "model" else Severity.ERROR
    return Severity.INFO if expected else Severity.WARNING


def _same_statistics(dataset: Dataset, plans: Plans, *, ignores: bool) -> str:
    """Return how plans and images get the same statistics.

    ``ignores`` is whether the fingerprint counts ignored voxels as foreground, which may be air.
    """
    if ignores:
        remedy = _same_statistics(dataset, plans, ignores=False)
        return f"nothing, if only the voxels labelled ignore differ, which nnU-Net counts as foreground; else {remedy}"
    keep = "keep them, and bring the images to the same intensity scale"
    if _belongs_to_weights(dataset, plans):
        return f"the weights expect the plans' values: {keep}"
    if dataset.migrated_with(plans) == "pretrain":
        return f"the fine-tuning expects the plans' values: {keep}"
    return f"use this dataset's own statistics: {plan_commands(dataset, [plans])}"


class _FieldPerChannel(NamedTuple):
    """A field with one entry per channel: who writes it, its key, and its entries.

    ``flags`` are those that training applies to every channel, whatever the number of channels. ``replaces_who`` is
    said in messages in place of the field.
    """

    owner: Plans | Configuration
    key: str
    entries: int
    flags: tuple[bool, ...] = ()
    replaces_who: str = ""

    @property
    def at(self) -> Location:
        """Return the place of the field."""
        return self.owner.at(self.key)

    @property
    def who(self) -> str:
        """Return the name of the field in messages."""
        of = f" of {self.owner.name}" if isinstance(self.owner, Configuration) else ""
        return self.replaces_who or f"{self.key}{of} is"

    def is_reported_before(self, dataset: Dataset) -> bool:
        """Return whether a configuration that is checked earlier has the same entries."""
        return isinstance(self.owner, Configuration) and reported_before(dataset, self.owner, self.key)

    def matters_beyond(self, channels: int) -> bool:
        """Return whether nnU-Net fails or differs because of the entries beyond the channels, or lacks some."""
        return self.entries < channels or any(self.flags[channels:])


def _fields_per_channel(dataset: Dataset, plans: Plans) -> Iterator[_FieldPerChannel]:
    for configuration in requested_configurations(dataset, plans):
        for key in ("normalization_schemes", "use_mask_for_norm"):
            value = configuration.get(key)
            if value is not None:
                flags = tuple(value) if key == "use_mask_for_norm" else ()
                yield _FieldPerChannel(configuration, key, len(value), flags)
    properties = plans.value.get(plans.intensity_key)
    if properties is not None:
        yield _FieldPerChannel(plans, plans.intensity_key, len(properties))


def _other_scheme(dataset: Dataset, plans: Plans) -> str:
    """Return how images get the scheme of their channel's name: never by changing plans that a fine-tuning needs."""
    if dataset.migrated_with(plans) == "pretrain":
        return ", pretrain on images that the plans suit"
    return f": {plan_commands(dataset, [plans])}"


def _belongs_to_weights(dataset: Dataset, plans: Plans) -> bool:
    """Return whether the plans must stay those of trained weights: migrated to fine-tune, or a trained model's."""
    return dataset.role == "model" or dataset.migrated_with(plans) == "finetune"


def _remedy_for_scheme(dataset: Dataset, configuration: Configuration, *, keep: bool) -> str:
    """Return what to do about a scheme; ``keep`` is whether it belongs to weights."""
    if keep:
        return "keep it while the weights are used; decide whether weights trained this way suit these images"
    if _is_variation(configuration):
        return f"nothing, if it is chosen; else delete normalization_schemes from {configuration.name}"
    again = _other_scheme(dataset, configuration.plans)
    return f"if dataset.json is right{again}; if the plans are, name the channel accordingly"


def _is_chosen(dataset: Dataset, configuration: Configuration) -> bool:
    """Return whether `plansguard derive` set the schemes, and they are still what it wrote."""
    record = known(lambda: dataset.migration_record(configuration.plans))
    owner, key = configuration.origin("normalization_schemes"), "normalization_schemes"
    written = None if record is None else record.migrated["configurations"].get(owner)
    return (
        record is not None
        and record.sets(owner, key)
        and isinstance(written, dict)
        and written.get(key) == configuration.get(key)
    )


def _is_variation(configuration: Configuration) -> bool:
    """Return whether a configuration writes these schemes and inherits the rest, as for a comparison."""
    inherits = configuration.get("inherits_from") is not None
    return inherits and configuration.origin("normalization_schemes") == configuration.name


def _ct_channels(dataset: Dataset, plans: Plans) -> list[int]:
    """Return the channels that a configuration normalizes as CT, without those that PG305 reports."""
    named = known(lambda: dataset.dataset_json.valid.channels) or []
    names = [] if _belongs_to_weights(dataset, plans) else named
    channels = {
        index
        for configuration in requested_configurations(dataset, plans)
        for index, scheme in enumerate(configuration.get("normalization_schemes") or ())
        if scheme == constants.CT and (index >= len(names) or constants.normalization_of(names[index]) == constants.CT)
    }
    return sorted(channels)


def _clipped_ranges(
    plans: Plans, fingerprint: Fingerprint, channel: int
) -> tuple[ClippedRange | None, ClippedRange | None]:
    """Return the clipped range of a channel in the plans and in the fingerprint."""
    theirs = ClippedRange.of(plans.valid.value.get(plans.intensity_key), channel)
    return theirs, ClippedRange.of(fingerprint.value.get(constants.INTENSITY_KEY), channel)


def _foreign_statistics(dataset: Dataset, plans: Plans, channel: int) -> bool:
    """Return whether the plans' intensity properties of a channel are known to be those of other data."""
    fingerprint = known(lambda: dataset.fingerprint.valid)
    theirs, ours = _clipped_ranges(plans, fingerprint, channel) if fingerprint is not None else (None, None)
    return ours is not None and theirs is not None and ours != theirs
