"""PG3xx: the fingerprint, and whether plans fit the data it describes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import ceil, inf, isfinite, prod
from typing import NamedTuple

from plansguard import facts
from plansguard.intensities import FOREIGN_OVERLAP, ClippedRange
from plansguard.parts import Absent, Configuration, DatasetJson, Fingerprint, Plans
from plansguard.report import Location, Severity
from plansguard.rules.common import brief, judged, known, lacks, listed, number, told_before
from plansguard.rules.declare import Found, found, rule
from plansguard.subject import Dataset
from plansguard.words import counted

# All thresholds are those of the failure modes named, kept because no healthy file in the corpus of real plans comes
# near them; where nnU-Net itself has a number, it is nnU-Net's.

#: SP-01. Healthy datasets mix slices of 0.5 and 10 mm; a factor of 50 is a header without a unit, or in metres.
WIDEST_SPACING_RANGE = 50
#: SP-03: factors on the number of voxels: halving every axis is 8, quartering it is 64.
FAR_SPACING, ABSURD_SPACING = 8, 64
#: PL-12. The planner pads a patch up to divisibility, which makes it at most 4/3 of the median image.
LARGEST_PATCH = 1.5
#: PL-07. nnU-Net's network topology treats axes within a factor of 2 of the finest as isotropic.
ANISOTROPIC = 2
_BYTES_PER_VOXEL = 4  # preprocessing computes in float32
_GIB = 2**30


@rule(
    "PG301",
    "invalid-fingerprint-spacing",
    Severity.ERROR,
    message="{trouble}",
    fix="correct the spacing in the headers of these images, then nnUNetv2_extract_fingerprint -d {number} --clean",
    modes=("SP-01",),
)
def invalid_fingerprint_spacing(dataset: Dataset, fingerprint: Fingerprint) -> Iterator[Found]:
    """The fingerprint holds spacings that no image can have.

    What it checks: every spacing is above zero (error), and along no axis the coarsest case is more than 50 times
    coarser than the finest (warning). NaN and infinity are told by PG003. Cases are counted from 0, in the order of
    the sorted case names.

    Why it matters: the planner stops with `Spacing must be > 0!`, or takes a median that some images are far from:
    those are resampled to almost nothing, or to arrays that exhaust the memory.

    How to fix: correct the image headers, and extract the fingerprint again with `--clean`; without it nnU-Net keeps
    the old one.

    Example: one image of a hundred was saved with a spacing in metres, 0.001.

    Evidence: SP-01; nnU-Net issues 538, 2809.
    """
    rows = fingerprint.require("spacings")
    bad = [(case, axis) for case, row in enumerate(rows) for axis, value in enumerate(row) if value <= 0]
    if bad:
        case, axis = bad[0]
        trouble = f"case {case} has a spacing of {brief(rows[case])} mm"
        more = len({case for case, _ in bad}) - 1
        also = f", and {more} more cases have one that is not above zero" if more else ": it must be above zero"
        yield found(fingerprint.at("spacings", case, axis), trouble=trouble + also, number=number(dataset))
        return
    for axis, column in enumerate(zip(*rows, strict=False)):
        if isfinite(sum(column)) and max(column) > WIDEST_SPACING_RANGE * min(column):
            worst = column.index(max(column))
            yield found(
                fingerprint.at("spacings", worst, axis),
                severity=Severity.WARNING,
                trouble=f"along axis {axis} spacings go from {min(column):g} to {max(column):g} mm (case {worst})",
                number=number(dataset),
            )


@rule(
    "PG302",
    "fingerprint-missing",
    Severity.ERROR,
    message="{dataset} has plans but no dataset_fingerprint.json in its preprocessed folder",
    fix="nnUNetv2_extract_fingerprint -d {number}",
    modes=("MV-10",),
)
def fingerprint_missing(dataset: Dataset) -> Iterator[Found]:
    """There is no fingerprint beside the plans.

    What it checks: a folder of `nnUNet_preprocessed` that holds plans also holds `dataset_fingerprint.json`.

    Why it matters: training copies the file into the results folder when it starts, after the data loaders are up,
    and stops with `FileNotFoundError`. And without it nothing can be said about whether plans fit the data.

    How to fix: `nnUNetv2_extract_fingerprint` writes it; this needs the raw images. Where only the preprocessed data
    were carried to another machine, carry this file as well.

    Example: plans and data folders were copied to a cluster, the small files beside them were not.

    Evidence: MV-10; measured with nnU-Net 2.8.1.
    """
    if dataset.role == "preprocessed" and dataset.plans and lacks(dataset, "dataset_fingerprint.json"):
        yield found(Location(str(dataset.folder)), dataset=dataset.name, number=number(dataset))


@rule(
    "PG303",
    "fingerprint-count",
    Severity.ERROR,
    message="{one}, but {other}",
    fix="{remedy}",
    modes=("MV-10", "DS-02", "DS-05"),
)
def fingerprint_count(dataset: Dataset, fingerprint: Fingerprint) -> Iterator[Found]:
    """The fingerprint describes another number of cases than there are.

    What it checks: `spacings` and `shapes_after_crop` have one entry per case; their number is that of the raw cases.
    Where the raw images are not here, `numTraining` of dataset.json stands for it; where they are, a `numTraining` that
    alone is wrong is a warning.

    Why it matters: `nnUNetv2_plan_and_preprocess` takes an existing fingerprint without a question, so plans made
    after cases were added or removed describe the old ones: spacing, patch size and the CT statistics are stale.

    How to fix: extract the fingerprint again with `--clean`, then plan and preprocess again.

    Example: a dataset.json with `"numTraining": 9630` beside a fingerprint of 6900 cases.

    Evidence: DS-02, MV-10, DS-05; nnU-Net issues 331, 1874, 2415, 2580, 2721.
    """
    spacings, shapes = (len(fingerprint.require(key)) for key in ("spacings", "shapes_after_crop"))
    cases, declared = known(lambda: _raw_cases(dataset)), known(lambda: _declared_cases(dataset))
    clean = f"nnUNetv2_extract_fingerprint -d {number(dataset)} --clean"
    again = f"{clean}, then plan and preprocess again"
    described = f"the fingerprint describes {spacings} cases"
    if spacings != shapes:
        one, other = f"the fingerprint holds {spacings} spacings", f"{shapes} shapes"
        yield found(fingerprint.at("shapes_after_crop"), one=one, other=other, remedy=again)
    elif cases is not None and cases != spacings:
        other = f"nnUNet_raw holds {cases}"
        yield found(fingerprint.at("spacings"), one=described, other=other, remedy=again)
    elif declared is not None and declared != spacings:
        at = dataset.dataset_json.at("numTraining")
        if cases is None:
            other = f"dataset.json says numTraining {declared}"
            remedy = f"if dataset.json is right, {again}; else correct numTraining"
            yield found(fingerprint.at("spacings"), related=[(at, other)], one=described, other=other, remedy=remedy)
        else:
            other = f"nnUNet_raw and the fingerprint have {cases} cases"
            remedy = f'write "numTraining": {cases} here and in nnUNet_raw'
            yield found(at, severity=Severity.WARNING, one=f"numTraining is {declared}", other=other, remedy=remedy)


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
        implied = facts.normalization_of(name)
        if scheme == implied or scheme not in facts.NORMALIZATIONS:
            continue
        severe = implied == facts.CT or (
            scheme == facts.CT and _foreign_statistics(dataset, configuration.plans, index)
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
            for part, key in ((fingerprint, facts.INTENSITY_KEY), (plans, plans.intensity_key))
        )
        if ours is None or theirs is None or ours == theirs:
            continue
        because = theirs.strangeness(ours)
        if because:
            kept = _kept_for_weights(dataset, plans)
            keep = "the weights expect the plans' values: keep them, and bring the images to the same intensity scale"
            own = f"use this dataset's own statistics: nnUNetv2_plan_experiment -d {number(dataset)}, then preprocess"
            yield found(
                plans.at(plans.intensity_key, str(channel)),
                severity=None if theirs.overlap(ours) < FOREIGN_OVERLAP else Severity.WARNING,
                related=[(fingerprint.at(facts.INTENSITY_KEY, str(channel)), "this dataset's")],
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


@rule(
    "PG307",
    "spacing-far-from-data",
    Severity.WARNING,
    message="at {spacing} mm a median image, {shape} voxels at {data} mm, {effect}",
    fix="use a spacing nearer to the data; plansguard migrate --workflow graft keeps this dataset's own, and "
    "nnUNetv2_plan_experiment -d {number} plans it",
    modes=("SP-03",),
)
def spacing_far_from_data(
    dataset: Dataset, plans: Plans, configuration: Configuration, fingerprint: Fingerprint
) -> Iterator[Found]:
    """The target spacing is far from the data's own.

    What it checks: by what factor resampling the median image to `spacing` changes its number of voxels. A warning
    above 8 (every axis doubled) or below 1/8, an error above 64 or below 1/64. For a 2d configuration the two axes of
    the plane count; a configuration of low resolution (one with a `next_stage`) is coarser on purpose, so for it only
    more voxels count.

    Why it matters: upsampling by tens ends in `Some background worker is 6 feet under`, which is a worker that ran out
    of memory; downsampling by tens leaves no detail to learn. Both follow from plans that came from data of another
    resolution.

    How to fix: choose weights that were trained nearer to this resolution, or let only the architecture move
    (`--workflow graft`). Fewer preprocessing workers (`-np 2`) help where the factor is meant.

    Example: plans for 0.7 mm used with slices of 5 mm.

    Evidence: SP-03; nnU-Net issues 2592, 2701, 2779.
    """
    grid = _grid(plans, configuration, fingerprint)
    if told_before(dataset, configuration, "spacing"):
        return
    factor = grid.factor
    distance = _distance(grid, configuration)
    if distance > FAR_SPACING:
        channels = len(configuration.get("normalization_schemes") or [None])
        gib = factor * prod(grid.whole_shape) * channels * _BYTES_PER_VOXEL / _GIB
        growth = (
            f"becomes {factor:.0f} times as large: {gib:.2g} GiB in each preprocessing worker, and more while it works"
        )
        yield found(
            configuration.at("spacing"),
            severity=Severity.ERROR if distance > ABSURD_SPACING else None,
            shape=_times(grid.shape),
            data=_times(grid.data),
            spacing=_times(grid.spacing),
            effect=growth if factor > 1 else f"keeps one voxel in {1 / factor:.0f}",
            factor=factor,
            gib=gib,
            number=number(dataset),
        )


@rule(
    "PG308",
    "patch-larger-than-images",
    Severity.WARNING,
    message="the patch of {patch} voxels is larger than the images: at {spacing} mm their median is {image} voxels",
    fix="bring patch_size down towards {fitting} (in steps that the strides divide), or plan this dataset: "
    "nnUNetv2_plan_experiment -d {number}",
    modes=("PL-12",),
)
def patch_larger_than_images(
    dataset: Dataset, plans: Plans, configuration: Configuration, fingerprint: Fingerprint
) -> Iterator[Found]:
    """The patch is larger than the images.

    What it checks: `patch_size` against the median size of the images once they are resampled to `spacing`. More than
    1.5 times as large along one axis is a warning, along all axes an error. The planner itself never goes beyond 4/3:
    it takes the median size and pads it up to a number that the network can halve.

    Why it matters: every sample is filled up with zeros, which costs memory and time and teaches the network that
    images end in black. Along all axes it is the sign of plans that were made for other images.

    How to fix: reduce `patch_size`; it is no part of preprocessing, and weights load with any patch size. Or plan this
    dataset.

    Example: a patch of `[160, 192, 192]` from whole-body CT for cropped kidneys of 64 x 80 x 72 voxels.

    Evidence: PL-12; nnU-Net issue 2779.
    """
    grid, patch = _grid(plans, configuration, fingerprint), configuration.require("patch_size")
    if len(patch) != len(grid.spacing):
        raise Absent(f"patch_size and spacing of {configuration.name} differ in length")
    if grid.factor < 1 and _distance(grid, configuration) > FAR_SPACING:
        raise Absent(f"the spacing of {configuration.name} leaves next to nothing of the images (see PG307)")
    if told_before(dataset, configuration, "patch_size", "spacing"):
        return
    too_large = [size > LARGEST_PATCH * ceil(length) for size, length in zip(patch, grid.image, strict=True)]
    if any(too_large):
        yield found(
            configuration.at("patch_size"),
            severity=Severity.ERROR if all(too_large) else None,
            patch=_times(patch),
            image=_times([ceil(length) for length in grid.image]),
            fitting=_times([min(size, ceil(length)) for size, length in zip(patch, grid.image, strict=True)]),
            spacing=_times(grid.spacing),
            number=number(dataset),
        )


@rule(
    "PG309",
    "3d-configuration-on-2d-data",
    Severity.ERROR,
    message="{configuration} is for {theirs} images, but {because}",
    fix="train a configuration planned for these images: nnUNetv2_plan_experiment -d {number}",
    modes=("D2-01", "MV-15"),
)
def three_d_configuration_on_two_d_data(
    dataset: Dataset, plans: Plans, configuration: Configuration
) -> Iterator[Found]:
    """A configuration is for images of another number of dimensions.

    What it checks: a 3D configuration (a `patch_size` of three axes) is not used with 2D images. Images are 2D where
    the median of the fingerprint has one slice (nnU-Net reads a PNG as one slice with a spacing of 999), or where the
    plans' reader opens 2D images only. The reverse, 2D plans from 2D images for 3D images, is a warning: it can be
    trained, slice by slice, and is hardly ever meant. A 2d configuration of plans from 3D images is always fine.

    Why it matters: the planner makes no 3D configuration for 2D images, so this one was moved or written by hand.
    Moving says nothing; preprocessing skips the configuration with a line that is easily missed, or fails with an
    `IndexError`; padding one slice to a 3D patch would train on zeros.

    How to fix: plan the dataset by itself.

    Example: plans with `"original_median_spacing_after_transp": [999.0, 1, 1]` moved to a CT dataset.

    Evidence: D2-01, MV-15; nnU-Net issues 1707, 2013, 2251.
    """
    axes = len(configuration.require("patch_size"))
    fingerprint = known(lambda: dataset.fingerprint.valid)
    flat = known(fingerprint.is_flat) if fingerprint else None
    reader = plans.value.get("image_reader_writer")
    because = None
    if axes == 3 and flat:
        because = "the median image of this dataset has one slice"
    elif axes == 3 and flat is None and reader in facts.READERS_OF_2D_IMAGES:
        because = f"{reader} opens 2D images only"
    elif axes == 2 and flat is False and plans.are_for_flat_images():
        because = "the median image of this dataset has several slices"
    if because and not told_before(dataset, configuration, "patch_size", "spacing"):
        yield found(
            configuration.at("patch_size"),
            severity=Severity.WARNING if axes == 2 else None,
            configuration=configuration.name,
            theirs=f"{axes}D",
            because=because,
            number=number(dataset),
        )


@rule(
    "PG310",
    "transpose-not-for-this-data",
    Severity.WARNING,
    message="transpose_forward {order} puts slices of {first:g} mm first, but this dataset is coarsest along another "
    "axis, with {coarsest:g} mm",
    fix='for this dataset it is "transpose_forward": {better}, "transpose_backward": {back}; to change it, plan again: '
    "nnUNetv2_plan_experiment -d {number}",
    modes=("PL-07",),
)
def transpose_not_for_this_data(dataset: Dataset, plans: Plans, fingerprint: Fingerprint) -> Iterator[Found]:
    """The coarsest axis of this dataset is not the first one after transposing.

    What it checks: where the median spacing along some axis is at least twice that of the axis that
    `transpose_forward` puts first, as the planner puts the coarsest axis first.

    Why it matters: 2d configurations then cut the images along a coarse axis, anisotropic kernels and strides lie
    along the wrong axes, and weights from other data meet axes that mean something else. Training works all the same.

    How to fix: plan the dataset. Weights that are to be fine-tuned were trained in their own axis order; whether the
    first axis shows the same anatomical direction in both datasets is worth a look before the GPU is booked. Plans made
    with `-overwrite_target_spacing` order the axes by that spacing, and may mean it.

    Example: plans with `[0, 1, 2]` from axial CT for images that are stored with their slices along the last axis.

    Evidence: PL-07; nnU-Net issues 1400, 1661, 2410.
    """
    order = plans.require("transpose_forward")
    spacing = fingerprint.median_spacing(order)
    coarsest = spacing.index(max(spacing))
    if spacing[coarsest] >= ANISOTROPIC * spacing[0]:
        better = [order[coarsest], *sorted(axis for axis in order if axis != order[coarsest])]
        yield found(
            plans.at("transpose_forward"),
            order=order,
            first=spacing[0],
            coarsest=spacing[coarsest],
            better=better,
            back=[better.index(axis) for axis in range(len(better))],
            number=number(dataset),
        )


@rule(
    "PG311",
    "plans-from-other-dataset",
    Severity.WARNING,
    message="{claim}: they were made for images of {theirs}, this dataset's fingerprint says {ours}",
    fix="{remedy}",
    modes=("MV-01", "MV-03"),
)
def plans_from_other_dataset(dataset: Dataset, plans: Plans, fingerprint: Fingerprint) -> Iterator[Found]:
    """The plans were made from another dataset, and no record says so.

    What it checks: the median spacing and shape that the planner wrote into the plans are those of this dataset's
    fingerprint. nnU-Net's move never rewrites them, so they tell where plans come from. Plans that `plansguard
    migrate` moved have a record beside them and are not told; nor are the plans inside a trained model's folder.

    Why it matters: plans that were moved the wrong way, or over the dataset's own, look like any others: a whole
    pretraining runs before anyone sees it. Where this happened to plans with one of nnU-Net's default names, the
    dataset's own plans are gone, and the data and results of that name belong to plans that no longer exist.

    How to fix: move on purpose with `plansguard migrate`, under a name of its own, and the record explains it. Where
    the dataset changed since planning, plan and preprocess again.

    Example: `nnUNetv2_move_plans_between_datasets -s 1 -t 2 -sp nnUNetPlans` without `-tp`.

    Evidence: MV-01, MV-03; nnU-Net issues 1464, 1970, 2440.
    """
    explained = known(lambda: dataset.lineage(plans)) is not None or dataset.role == "model"
    if explained or fingerprint.describes(plans):
        return
    order = plans.require("transpose_forward")
    planner = facts.DEFAULT_PLANS.get(plans.identifier, "ExperimentPlanner")
    plan = f"nnUNetv2_plan_experiment -d {number(dataset)} -pl {planner}"
    claim = f"the plans {plans.identifier} come from other data"
    remedy = f"if they were moved here, use plansguard migrate, which keeps a record; if the data changed, {plan}"
    if plans.identifier in facts.DEFAULT_PLANS:  # a planner would have written these medians
        claim = f"the default plans {plans.identifier} are not this dataset's own any more"
        remedy = f"plan this dataset again: {plan}; move other plans only under a name of their own (-tp)"
    yield found(
        plans.at("original_median_spacing_after_transp"),
        related=[(fingerprint.at("spacings"), "this dataset's")],
        claim=claim,
        theirs=_image(
            plans.require("original_median_shape_after_transp"),
            plans.require("original_median_spacing_after_transp"),
        ),
        ours=_image(fingerprint.median_shape(order), fingerprint.median_spacing(order)),
        remedy=remedy,
    )


@rule(
    "PG312",
    "reader-loses-spacing",
    Severity.ERROR,
    message="{reader} {fault}",
    fix='write "image_reader_writer": "{better}"',
    modes=("IO-01",),
)
def reader_loses_spacing(dataset: Dataset, plans: Plans, dataset_json: DatasetJson) -> Iterator[Found]:
    """The plans' reader cannot read the images, or loses their spacing.

    What it checks: `image_reader_writer` against `file_ending`. Tiff3DIO opens TIFF only, NibabelIO and
    NibabelIOWithReorient NIfTI only, NaturalImage2DIO no volumes. SimpleITKIO opens nearly everything, but 3D TIFF
    without the spacing: where the fingerprint's spacing came from the JSON files beside the images, that is an error.
    Readers that nnU-Net does not have are left alone.

    Why it matters: nnU-Net's own move chooses SimpleITKIO for 3D TIFF, where its planner had chosen Tiff3DIO. Images of
    3 x 0.5 x 0.5 mm then count as 1 x 1 x 1 mm, without a word: preprocessing resamples every case wrongly, and
    prediction does so in the same way. A reader that cannot open the files at least stops preprocessing, after the old
    data have been deleted.

    How to fix: name the reader that the dataset's own plans use. `plansguard migrate` does.

    Example: `"image_reader_writer": "SimpleITKIO"` beside `"file_ending": ".tif"`.

    Evidence: IO-01; measured with nnU-Net 2.8.1.
    """
    reader, ending = plans.require("image_reader_writer"), dataset_json.require("file_ending").lower()
    fingerprint = known(lambda: dataset.fingerprint.valid)
    spacing = known(lambda: fingerprint.median_spacing([0, 1, 2])) if fingerprint else None
    solid = spacing is not None and fingerprint is not None and not known(fingerprint.is_flat)
    fault = None
    if ending in facts.TIFF_ENDINGS and solid and spacing is not None:
        if reader == "SimpleITKIO" and spacing != [1, 1, 1]:
            fault = f"drops the spacing of 3D {ending} files: {_times(spacing)} mm would become 1 x 1 x 1"
        elif reader in facts.READERS_OF_2D_IMAGES:
            fault = f"cannot open 3D images, which these {ending} files are"
    if ending in facts.UNREADABLE_ENDINGS.get(reader, ()):
        fault = f"cannot open {ending} files"
    if fault:
        yield found(plans.at("image_reader_writer"), reader=reader, fault=fault, better=_reader_for(ending, solid))


class _Claim(NamedTuple):
    """A field that has one entry per channel: where it is, what the message calls it, and its number of entries."""

    at: Location
    who: str
    entries: int


def _channel_claims(dataset: Dataset, plans: Plans) -> Iterator[_Claim]:
    for configuration in judged(dataset, plans):
        for key in ("normalization_schemes", "use_mask_for_norm"):
            value = configuration.get(key)
            if value is not None and not told_before(dataset, configuration, key):
                yield _Claim(configuration.at(key), f"{key} of {configuration.name} is", len(value))
    properties = plans.value.get(plans.intensity_key)
    if properties is not None:
        yield _Claim(plans.at(plans.intensity_key), f"{plans.intensity_key} is", len(properties))


def _raw_cases(dataset: Dataset) -> int:
    """How many training cases nnUNet_raw has."""
    dataset_json = dataset.dataset_json.valid
    files = dataset_json.value.get("dataset") or dataset.raw_images.cases(dataset_json.require("file_ending"))
    if not files:
        raise Absent("no raw image has the right name (see PG205)")
    return len(files)


def _declared_cases(dataset: Dataset) -> int:
    """numTraining, of the raw dataset.json where that is known: that the other copy differs is told by PG202."""
    raw = known(lambda: dataset.raw_dataset_json.valid)
    declared: int = (raw or dataset.dataset_json.valid).require("numTraining")
    return declared


def _is_variation(configuration: Configuration) -> bool:
    """Whether somebody wrote these schemes into a configuration that inherits from another, to compare the two."""
    inherits = configuration.get("inherits_from") is not None
    return inherits and configuration.origin("normalization_schemes") == configuration.name


def _kept_for_weights(dataset: Dataset, plans: Plans) -> bool:
    """Whether the plans are on record as those of trained weights: what these saw is then right, whatever the data."""
    lineage = known(lambda: dataset.lineage(plans))
    return lineage is not None and lineage.workflow == "finetune"


def _ct_channels(dataset: Dataset, plans: Plans) -> list[int]:
    """Channels that a configuration normalises as CT, without those where that itself is told as wrong (PG305)."""
    kept = _kept_for_weights(dataset, plans)
    names = [] if kept else known(lambda: dataset.dataset_json.valid.channels) or []
    channels = {
        index
        for configuration in judged(dataset, plans)
        for index, scheme in enumerate(configuration.get("normalization_schemes") or ())
        if scheme == facts.CT and (index >= len(names) or facts.normalization_of(names[index]) == facts.CT)
    }
    return sorted(channels)


def _foreign_statistics(dataset: Dataset, plans: Plans, channel: int) -> bool:
    """Whether the plans' intensity properties of a channel are on record as not this dataset's."""
    fingerprint = known(lambda: dataset.fingerprint.valid)
    if fingerprint is None:
        return False
    ours = ClippedRange.of(fingerprint.value.get(facts.INTENSITY_KEY), channel)
    theirs = ClippedRange.of(plans.valid.value.get(plans.intensity_key), channel)
    return ours is not None and theirs is not None and ours != theirs


class _Grid(NamedTuple):
    """A configuration's target spacing and the data on the same axes: the plane's for a 2d configuration.

    ``data`` and ``shape`` are medians in mm and voxels, ``image`` is the median size in voxels once resampled.
    ``whole_shape`` is the shape along all axes.
    """

    spacing: list[float]
    data: list[float]
    shape: list[float]
    image: list[float]
    whole_shape: list[float]

    @property
    def factor(self) -> float:
        """How many voxels resampling makes of one."""
        return prod(ours / target for ours, target in zip(self.data, self.spacing, strict=True))


def _grid(plans: Plans, configuration: Configuration, fingerprint: Fingerprint) -> _Grid:
    order, spacing = plans.require("transpose_forward"), configuration.require("spacing")
    if not all(value is not None and isfinite(value) and value > 0 for value in spacing):
        raise Absent(f"configuration {configuration.name} has no spacing that images could be resampled to")
    data, shape, extent = (
        get(order) for get in (fingerprint.median_spacing, fingerprint.median_shape, fingerprint.median_extent)
    )
    if len(spacing) not in (len(data), len(data) - 1):
        raise Absent(f"spacing of {configuration.name} has {len(spacing)} axes, the images have {len(data)}")
    if len(spacing) == len(data) and fingerprint.is_flat():
        raise Absent(f"{configuration.name} is a 3D configuration, the images are 2D (see PG309)")
    first = len(data) - len(spacing)
    image = [length / target for length, target in zip(extent[first:], spacing, strict=True)]
    grid = _Grid(spacing, data[first:], shape[first:], image, shape)
    if not 0 < grid.factor < inf or inf in image:
        raise Absent(f"the spacing of configuration {configuration.name} is beyond all computing")
    return grid


def _distance(grid: _Grid, configuration: Configuration) -> float:
    """By what factor resampling changes the number of voxels, either way; 1 where that is what lowres is for."""
    if grid.factor < 1 and configuration.get("next_stage") is not None:
        return 1
    return max(grid.factor, 1 / grid.factor)


def _times(values: Sequence[float]) -> str:
    return " x ".join(str(value) if isinstance(value, int) else f"{value:g}" for value in values)


def _image(shape: list[float], spacing: list[float]) -> str:
    return f"{_times(shape)} voxels at {_times(spacing)} mm"


def _reader_for(ending: str, solid: bool) -> str:
    """The reader that the planner would choose: the first that knows the ending; 2D images are tried first."""
    for reader, endings in facts.READERS.items():
        if ending in endings and not (solid and reader in facts.READERS_OF_2D_IMAGES):
            return reader
    return "SimpleITKIO"
