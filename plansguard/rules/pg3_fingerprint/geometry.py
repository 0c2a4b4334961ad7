"""PG307 to PG310, PG322: spacing, patch and axes against the fingerprint."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from math import inf, isfinite, prod
from operator import truediv
from typing import NamedTuple

from plansguard.core.errors import Absent, known
from plansguard.core.report import Severity
from plansguard.core.text import times
from plansguard.nnunet import constants, printed_commands
from plansguard.rules.engine.declare import Found, found, rule
from plansguard.rules.engine.helpers import NUMBER, number, reported_before
from plansguard.rules.engine.needs import PREPROCESSED
from plansguard.subjects.dataset import Dataset
from plansguard.subjects.documents import Fingerprint
from plansguard.subjects.plans import Configuration, Plans

#: SP-03. Factors of the number of voxels: halving every axis is 8, quartering it is 64.
FAR_SPACING, ABSURD_SPACING = 8, 64
#: PL-12. The planner pads a patch up to divisibility, which makes it at most 4/3 of the median image.
LARGEST_PATCH = 1.5
#: PL-07. nnU-Net's network topology treats axes within a factor of 2 of the finest as isotropic.
ANISOTROPIC = 2
#: CA-05. lowres_creation_threshold in default_experiment_planner.py.
LOWRES_BELOW = 0.25
_BYTES_PER_VOXEL = 4  # preprocessing computes in float32
_GIB = 2**30
#: The plans of a trained model belong to its weights: they are not changed any more.
_NOT_MODELS = PREPROCESSED | {"loose"}
#: The fix of a configuration that is not for the images.
_PLANNED = "train a configuration planned for these images: " + printed_commands.plan_experiment(NUMBER)


@rule(
    "PG307",
    Severity.WARNING,
    message="at {spacing} mm a median image of {shape} voxels at {data} mm {effect}",
    mark="{memory}",
    fix="{remedy}",
    roles=_NOT_MODELS,
)
def spacing_far_from_data(
    dataset: Dataset,
    plans: Plans,
    configuration: Configuration,
    fingerprint: Fingerprint,
    *,
    factor: float = FAR_SPACING,
) -> Iterator[Found]:
    """The target spacing is far from the data's own.

    What it checks: by what factor resampling the median image to `spacing` changes its number of voxels. A warning
    above 8 (every axis doubled) or below 1/8 (the option `factor`), an error above 64 or below 1/64. A 2d configuration
    is compared along the two axes of the plane. A configuration with a `next_stage` is coarser on purpose: only more
    voxels are reported. Models are not judged: their spacing belongs to their weights.

    Why it matters: images of many more voxels may not fit into memory; images of many fewer lose the detail to learn.
    When a worker of preprocessing runs out of memory, nnU-Net stops with `Some background worker is 6 feet under`.
    Plans from data of another resolution cause both.

    How to fix: choose weights that were trained nearer to this resolution, or move only the architecture (`--workflow
    graft`). Plans that were migrated for a pretraining are those of the fine-tuning: pretrain on other images. Fewer
    preprocessing workers (`-np 2`) help where the factor is intended.

    Example: plans for 0.7 mm used with slices of 5 mm.

    Evidence: SP-03; nnU-Net issues 2592, 2701, 2779.
    """
    grid = _grid(plans, configuration, fingerprint)
    growth, distance = grid.factor, _distance(grid, configuration)
    if distance > factor and not reported_before(dataset, configuration, "spacing"):
        channels = len(configuration.get("normalization_schemes") or [None])
        gib = growth * prod(fingerprint.median_shape([0, 1, 2])) * channels * _BYTES_PER_VOXEL / _GIB
        yield found(
            configuration.at("spacing"),
            severity=Severity.ERROR if distance > ABSURD_SPACING else None,
            shape=times(grid.shape),
            data=times(grid.data),
            spacing=times(grid.spacing),
            effect=f"becomes {growth:.0f} times as large" if growth > 1 else f"keeps one voxel in {1 / growth:.0f}",
            memory=f"at least {gib:.2g} GiB in each worker" if growth > 1 else "",
            remedy=_nearer_spacing(dataset, plans),
            factor=growth,
            gib=gib,
        )


@rule(
    "PG308",
    Severity.WARNING,
    message="the patch of {patch} voxels is larger than the median image of {image} at {spacing} mm",
    fix="nothing, if the weights were pretrained with this patch; to save memory, bring it down towards "
    "{fitting} (in steps that the strides divide)",
    roles=_NOT_MODELS,
)
def patch_larger_than_images(
    dataset: Dataset,
    plans: Plans,
    configuration: Configuration,
    fingerprint: Fingerprint,
    *,
    factor: float = LARGEST_PATCH,
) -> Iterator[Found]:
    """The patch is larger than the images.

    What it checks: `patch_size` against the median size of the images once they are resampled to `spacing`. More than
    1.5 times as large (the option `factor`) along one axis is reported. The planner never exceeds 4/3: it pads the
    median size to a number that the network can halve. For information where plans are migrated with this patch. Models
    are not judged: their patch belongs to their weights.

    Why it matters: nnU-Net pads every sample with zeros, which costs memory and time. It trains and predicts, so this
    is a warning, but it can indicate plans that were made for other images. With pretrained weights and small images it
    is normal: the patch is that of the pretraining. Measured with nnU-Net 2.8.1 on a CPU, with small networks and 1.6
    to 2 times the images: weights of a smaller patch, fine-tuned for 40 steps in 2D, kept a Dice above 0.6 on patches
    of the validation cases, and the loss fell from -0.2 to -0.6. In 3D the loss fell in 40 steps from 0.5 to 0.005 and
    from 0.7 to 0.02, but only background was predicted: most of a padded sample is background.

    How to fix: reduce `patch_size`, which preprocessing and weights do not depend on. Or plan this dataset.

    Example: a patch of `[160, 192, 192]` from whole-body CT for cropped kidneys of 64 x 80 x 72 voxels.

    Evidence: PL-12; nnU-Net issue 2779.
    """
    grid, patch = _grid(plans, configuration, fingerprint), configuration.require("patch_size")
    if len(patch) != len(grid.spacing):
        raise Absent(f"patch_size and spacing of {configuration.name} differ in length")
    if grid.factor < 1 and _distance(grid, configuration) > FAR_SPACING:
        raise Absent(f"the spacing of {configuration.name} leaves almost nothing of the images (see PG307)")
    image = [round(length) or 1 for length in grid.image]  # as compute_new_shape in default_resampling.py
    is_too_large = any(size > factor * length for size, length in zip(patch, image, strict=True))
    if is_too_large and not reported_before(dataset, configuration, "patch_size", "spacing"):
        is_meant = _is_as_migrated(dataset, configuration, "patch_size")
        yield found(
            configuration.at("patch_size"),
            severity=Severity.INFO if is_meant else None,
            fix="nothing: it is the patch of the migrated plans" if is_meant else None,
            patch=times(patch),
            image=times(image),
            fitting=times([*map(min, patch, image)]),
            spacing=times(grid.spacing),
        )


def _is_as_migrated(dataset: Dataset, configuration: Configuration, key: str) -> bool:
    """Whether a field that the configuration has or inherits is as a migration wrote it."""
    record = dataset.brought_by(configuration.plans)
    written = None if record is None else record.migrated.get("configurations")
    entry = written.get(configuration.origin(key)) if isinstance(written, dict) else None
    return isinstance(entry, dict) and entry.get(key) == configuration.get(key)


@rule(
    "PG309",
    Severity.ERROR,
    name="3d-configuration-on-2d-data",
    message="{configuration} was planned for {theirs} images, but {because}",
    fix=_PLANNED,
    roles=_NOT_MODELS,
)
def three_d_configuration_on_two_d_data(
    dataset: Dataset, plans: Plans, configuration: Configuration
) -> Iterator[Found]:
    """A configuration is for images of another number of dimensions.

    What it checks: a 3D configuration (a `patch_size` of three axes) is not used with 2D images. Images are 2D where
    the median of the fingerprint has one slice (nnU-Net reads a PNG as one slice with a spacing of 999), or where the
    plans' reader opens 2D images only. For information where the plans have a 2D configuration as well, and this one
    was neither named nor preprocessed. The reverse, plans from 2D images for 3D images, is a warning: they train slice
    by slice, which is rarely meant. A 2d configuration of plans from 3D images is always fine. Models are not judged.

    Why it matters: a 2D network sees volumes slice by slice, and for a 3D one a single slice is repeated hundreds of
    times. A PNG has a spacing of 999 mm, and preprocessing resamples it to that of the plans. The planner makes no 3D
    configuration for 2D images, so this one was moved or written by hand. nnU-Net says nothing.

    How to fix: plan the dataset by itself.

    Example: plans with `"original_median_spacing_after_transp": [999.0, 1, 1]` moved to a CT dataset.

    Evidence: D2-01, MV-15; nnU-Net issues 1707, 2013, 2251.
    """
    axes = len(configuration.require("patch_size"))
    flat = known(lambda: dataset.fingerprint.valid.is_flat)
    reader = plans.value.get("image_reader_writer")
    because = None
    if axes == 3 and flat:
        because = "the median image of this dataset has one slice"
    elif axes == 3 and flat is None and reader in constants.READERS_OF_2D_IMAGES:
        because = f"{reader} opens 2D images only"
    elif axes == 2 and flat is False and plans.are_for_flat_images():
        because = "the median image of this dataset has several slices"
    if because and not reported_before(dataset, configuration, "patch_size", "spacing"):
        severity, fix = None, None
        if axes == 2:
            severity, fix = Severity.WARNING, f"if training slice by slice is meant, nothing; else {_PLANNED}"
        elif _is_beside_2d(dataset, configuration):
            severity, fix = Severity.INFO, f"if only a 2d configuration is trained, nothing; else {_PLANNED}"
        at = configuration.at("patch_size")
        yield found(at, severity=severity, fix=fix, theirs=f"{axes}D", because=because)


def _is_beside_2d(dataset: Dataset, configuration: Configuration) -> bool:
    """Whether a 3D configuration came with a 2D one, as in a migration, and nothing shows that it is to be used."""
    is_named = dataset.request.configuration == configuration.name
    is_preprocessed = known(lambda: dataset.data_folder(configuration)) is not None
    others = configuration.plans.usable_configurations
    return not is_named and not is_preprocessed and any(len(one.get("patch_size", ())) == 2 for one in others)


@rule(
    "PG310",
    Severity.WARNING,
    message="transpose_forward {order} puts an axis of {first:g} mm first, but this dataset's coarsest has "
    "{coarsest:g} mm",
    fix='for this dataset it is "transpose_forward": {better}, "transpose_backward": {back}; to change it, plan again: '
    + printed_commands.plan_experiment(NUMBER),
    roles=_NOT_MODELS,
)
def transpose_not_for_this_data(plans: Plans, fingerprint: Fingerprint) -> Iterator[Found]:
    """The coarsest axis of this dataset is not the first one after transposing.

    What it checks: no axis has at least twice the median spacing of the axis that `transpose_forward` puts first. The
    planner puts the coarsest axis first. For information where plans that were made for this dataset resample it to
    about the same spacing along all axes, as with `-overwrite_target_spacing 1 1 1`. Models are not judged: their axes
    belong to their weights.

    Why it matters: 2d configurations cut the images along a coarse axis, and kernels and strides apply to the wrong
    axes. Those are the anisotropic ones. Weights from other data are used on axes of another meaning. Training does not
    fail.

    How to fix: plan the dataset. Weights that are to be fine-tuned were trained in their own axis order: check whether
    the first axis is the same anatomical direction in both datasets. Plans made with `-overwrite_target_spacing` order
    the axes by that spacing, which may be intended.

    Example: plans with `[0, 1, 2]` from axial CT for images that are stored with their slices along the last axis.

    Evidence: PL-07; nnU-Net issues 1400, 1661, 2410.
    """
    order = plans.require("transpose_forward")
    spacing = fingerprint.median_spacing(order)
    coarsest = spacing.index(max(spacing))
    if spacing[coarsest] >= ANISOTROPIC * spacing[0]:
        is_meant = _is_nearly_isotropic(plans) and known(lambda: fingerprint.describes(plans))
        better = [order[coarsest], *sorted(axis for axis in order if axis != order[coarsest])]
        yield found(
            plans.at("transpose_forward"),
            severity=Severity.INFO if is_meant else None,
            fix="nothing, if no 2d configuration is used: it cuts the images along the coarse axis"
            if is_meant
            else None,
            order=order,
            first=spacing[0],
            coarsest=spacing[coarsest],
            better=better,
            back=[better.index(axis) for axis in range(len(better))],
        )


@rule(
    "PG322",
    Severity.INFO,
    message="the patch of {stage} covers {share:.0%} of this dataset's median image",
    fix="train 3d_fullres alone, unless the weights of the cascade are needed",
)
def cascade_not_needed(
    dataset: Dataset, plans: Plans, configuration: Configuration, fingerprint: Fingerprint
) -> Iterator[Found]:
    """A cascade was migrated to a dataset whose images need none.

    What it checks: of migrated plans, whether the patch of the next stage has a quarter or more of the voxels of the
    median image, as the planner compares them.

    Why it matters: training two stages costs twice the time for the same result: the planner makes one for such images.
    A first stage at low resolution shows the network what lies around its patch. Here the patch shows most of the
    image.

    How to fix: train the full resolution alone.

    Example: plans with a cascade for whole-body CT, moved to images of one organ.

    Evidence: CA-05; lowres_creation_threshold in nnU-Net's planner.
    """
    if dataset.migrated_with(plans) is None:
        return
    for stage in configuration.next_stages:
        grid, patch = _grid(plans, stage, fingerprint), stage.require("patch_size")
        share = prod(patch) / prod(grid.image)
        if len(patch) == len(grid.image) and share >= LOWRES_BELOW:
            yield found(configuration.at("next_stage"), stage=stage.name, share=min(share, 1))


def _is_nearly_isotropic(plans: Plans) -> bool:
    """Whether the plans have 3D configurations, all with about the same spacing along every axis."""
    rows = [one.get("spacing") or () for one in plans.configurations if one.is_usable]
    volumes = [row for row in rows if len(row) == 3 and all(row)]
    return bool(volumes) and all(max(row) < ANISOTROPIC * min(row) for row in volumes)


class _Grid(NamedTuple):
    """Target spacing of a configuration, and the data on the same axes: those of the plane for a 2d configuration.

    ``spacing`` and the median ``data`` spacing are in mm. ``shape`` is the median shape, ``image`` that after
    resampling, both in voxels. ``factor`` is the number of voxels that resampling makes of one.
    """

    spacing: list[float]
    data: list[float]
    shape: list[float]
    image: list[float]
    factor: float


@lru_cache(maxsize=1)  # several rules ask for it
def _grid(plans: Plans, configuration: Configuration, fingerprint: Fingerprint) -> _Grid:
    order, spacing = plans.require("transpose_forward"), configuration.require("spacing")
    if None in spacing or not all(map(isfinite, spacing)) or min(spacing, default=1) <= 0:
        raise Absent(f"configuration {configuration.name} has no spacing that images could be resampled to")
    data, shape, extent = fingerprint.medians(order)
    if len(spacing) not in (len(data), len(data) - 1):
        raise Absent(f"spacing of {configuration.name} has {len(spacing)} axes, the images have {len(data)}")
    if len(spacing) == len(data) and fingerprint.is_flat:
        raise Absent(f"{configuration.name} is a 3D configuration, the images are 2D (see PG309)")
    first = len(data) - len(spacing)
    image = [*map(truediv, extent[first:], spacing)]
    factor = prod(map(truediv, data[first:], spacing))
    if not 0 < factor < inf or inf in image:
        raise Absent(f"resampling to the spacing of configuration {configuration.name} overflows")
    return _Grid(spacing, data[first:], shape[first:], image, factor)


def _distance(grid: _Grid, configuration: Configuration) -> float:
    """Return the factor, at least 1, by which resampling changes the number of voxels; 1 for a coarser lowres."""
    if grid.factor < 1 and configuration.get("next_stage") is not None:
        return 1
    return max(grid.factor, 1 / grid.factor)


def _nearer_spacing(dataset: Dataset, plans: Plans) -> str:
    """Return how spacing and images come nearer to each other."""
    if dataset.migrated_with(plans) == "pretrain":
        return "pretrain on images nearer to this spacing: the plans are those of the fine-tuning"
    plan = printed_commands.plan_experiment(number(dataset))
    return f"use a spacing nearer to the data: --workflow graft keeps this dataset's own; to plan it: {plan}"
