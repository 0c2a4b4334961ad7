"""PG315, PG316, PG319: the order of axes, spacings that headers have lost, and flat volumes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import permutations
from math import fsum, isfinite, log
from operator import sub

from plansguard.core.errors import known
from plansguard.core.report import Severity
from plansguard.core.text import times
from plansguard.nnunet import constants, printed_commands
from plansguard.rules.engine.declare import Found, found, rule
from plansguard.rules.engine.helpers import NUMBER, reported_before
from plansguard.rules.engine.needs import PREPROCESSED
from plansguard.subjects.dataset import Dataset
from plansguard.subjects.documents import Fingerprint
from plansguard.subjects.plans import Configuration, Plans

#: PL-06. How much better another order must fit, as the product of the factors between two spacings.
BETTER = 1.5
#: Ratio of spacings from which on PG310 reports that the coarsest axis is not the first.
ANISOTROPIC = 2
#: SP-02. A spacing that is not 1 mm, in any direction.
_NOT_ONE = 1.05
#: D2-02. Share of the cases from which on they are flat.
_MOST = 0.5


@rule(
    "PG315",
    Severity.WARNING,
    message="spacing {spacing} mm fits these images only in another order: along its axes their median is {data} mm",
    fix='if the order is a mistake, write "spacing": {better}, and preprocess again',
    roles=PREPROCESSED | {"loose"},
)
def spacing_axes_permuted(
    dataset: Dataset, plans: Plans, configuration: Configuration, fingerprint: Fingerprint
) -> Iterator[Found]:
    """The axes of the spacing are probably in the wrong order.

    What it checks: whether the same numbers in another order are nearer to the median spacing of the images, by more
    than a factor of 1.5 over all axes. Only in plans that were made for this dataset, and not in migrated ones.

    Why it matters: the coarse axis becomes fine and the fine axes coarse, and training does not notice. `spacing` is in
    the order of the arrays on disk after `transpose_forward`, mostly z, y, x, while image viewers and some of nnU-Net's
    documents name x first.

    How to fix: write it in the order of the arrays, slices first.

    Example: `[0.8, 0.8, 3.0]` for images of 3 mm slices.

    Evidence: PL-06; nnU-Net issues 1661, 1748, 2410, 2701, MOOSE pull request 170.
    """
    order, spacing = plans.require("transpose_forward"), configuration.require("spacing")
    data = fingerprint.median_spacing(order)
    usable = len(spacing) == len(data) and None not in spacing and all(map(isfinite, spacing)) and min(spacing) > 0
    if not usable or dataset.migrated_with(plans) or not fingerprint.describes(plans):
        return
    if max(data) >= ANISOTROPIC * data[0]:
        return  # PG310 reports the order of the axes themselves
    distance = _distance(spacing, data)
    if distance <= log(BETTER):
        return
    best = min(permutations(spacing), key=lambda other: _distance(other, data))
    is_better = distance - _distance(best, data) > log(BETTER)
    if is_better and not reported_before(dataset, configuration, "spacing"):
        at, values = configuration.at("spacing"), [times(one) for one in (spacing, data)]
        yield found(at, spacing=values[0], data=values[1], order=order, better=[*best])


@rule(
    "PG316",
    Severity.WARNING,
    message="every image has a spacing of exactly 1 x 1 x 1 mm, but {configuration} resamples to {spacing} mm",
    fix="nothing, if the images were resampled to 1 mm; if their headers lost the spacing, correct it, then "
    + printed_commands.extract_fingerprint(NUMBER, clean=True),
    roles=PREPROCESSED | {"loose"},
)
def spacing_lost(
    dataset: Dataset, plans: Plans, configuration: Configuration, fingerprint: Fingerprint
) -> Iterator[Found]:
    """The headers of all images say 1 mm, and the plans are for other images.

    What it checks: whether every spacing in the fingerprint is exactly 1 along all three axes, while a configuration
    (without a `next_stage`, which is coarser on purpose) has another. Plans that were made from this fingerprint are
    not reported: another spacing in them was chosen. Images that were resampled to 1 mm, as those of BraTS, are not
    distinguishable from images that lost their spacing.

    Why it matters: if the headers lost it, images are resampled to a size that has nothing to do with the anatomy.
    Conversions through PNG, NumPy or some viewers drop the spacing. With migrated plans, weights see objects of another
    size than in pretraining.

    How to fix: write the true spacing into the headers, or convert the images again.

    Example: DICOM series that were exported as NIfTI without their slice thickness.

    Evidence: SP-02; nnU-Net issues 538, 2727, TotalSegmentator issue 522.
    """
    spacing = configuration.require("spacing")
    if any(value != 1 for row in fingerprint.require("spacings") for value in row) or configuration.get("next_stage"):
        return
    if fingerprint.is_flat or known(lambda: fingerprint.describes(plans)):
        return
    other = any(value and not 1 / _NOT_ONE < value < _NOT_ONE for value in spacing)
    if other and not reported_before(dataset, configuration, "spacing"):
        yield found(configuration.at("spacing"), spacing=times(spacing))


@rule(
    "PG319",
    Severity.WARNING,
    message="{count} of {total} images are one voxel thick along axis {axis}, and {reader} reads them as volumes",
    fix="save them as 2D images, such as PNG or TIFF, for a reader of nnU-Net that opens 2D images; then "
    + printed_commands.chain(
        printed_commands.extract_fingerprint(NUMBER, clean=True), printed_commands.plan_experiment(NUMBER)
    ),
)
def volumes_one_voxel_thick(plans: Plans, fingerprint: Fingerprint) -> Iterator[Found]:
    """The images are volumes of one slice.

    What it checks: whether more than half of the images have one voxel along an axis that is not the first of 2D
    images: nnU-Net reads those as one slice with a spacing of 999.

    Why it matters: the planner makes 3D configurations with a patch of one voxel, or stops with an `OverflowError`.
    nnU-Net calls images 2D only if the axis of one voxel is also the coarsest. The message is `OverflowError: cannot
    convert float infinity to integer`.

    How to fix: save true 2D images.

    Example: photographs that were converted to NIfTI with the slice axis last and a spacing of 1 mm.

    Evidence: D2-02; nnU-Net issues 1486, 1583, 1587, 2809.
    """
    fingerprint.require("shapes_after_crop")
    reader = plans.value.get("image_reader_writer")
    if reader in constants.READERS_OF_2D_IMAGES or fingerprint.is_flat:
        return
    for axis, sizes in enumerate(fingerprint.shapes):
        count = sizes.count(1)
        if count > _MOST * len(sizes):
            at = fingerprint.at("shapes_after_crop")
            yield found(at, count=count, total=len(sizes), axis=axis, reader=reader)


def _distance(spacing: Sequence[float], data: Sequence[float]) -> float:
    """Return the sum of the factors between two spacings, as logarithms."""
    return fsum(map(abs, map(sub, map(log, spacing), map(log, data))))
