"""PG3xx: the fingerprint, and whether plans fit the data it describes."""

from __future__ import annotations

from collections.abc import Iterator

from plansguard.core.errors import known
from plansguard.core.report import Severity
from plansguard.core.text import times
from plansguard.nnunet import constants
from plansguard.rules.engine.declare import Found, found, rule
from plansguard.rules.engine.helpers import number
from plansguard.subjects.dataset import Dataset
from plansguard.subjects.documents import DatasetJson, Fingerprint
from plansguard.subjects.plans import Plans


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
    explained = known(lambda: dataset.migration_record(plans)) is not None or dataset.role == "model"
    if explained or fingerprint.describes(plans):
        return
    order = plans.require("transpose_forward")
    planner = constants.PLANNER_OF_IDENTIFIER.get(plans.identifier, "ExperimentPlanner")
    plan = f"nnUNetv2_plan_experiment -d {number(dataset)} -pl {planner}"
    claim = f"the plans {plans.identifier} come from other data"
    remedy = f"if they were moved here, use plansguard migrate, which keeps a record; if the data changed, {plan}"
    if plans.identifier in constants.PLANNER_OF_IDENTIFIER:  # a planner would have written these medians
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
    if ending in constants.TIFF_ENDINGS and solid and spacing is not None:
        if reader == "SimpleITKIO" and spacing != [1, 1, 1]:
            fault = f"drops the spacing of 3D {ending} files: {times(spacing)} mm would become 1 x 1 x 1"
        elif reader in constants.READERS_OF_2D_IMAGES:
            fault = f"cannot open 3D images, which these {ending} files are"
    if ending in constants.UNREADABLE_ENDINGS.get(reader, ()):
        fault = f"cannot open {ending} files"
    if fault:
        yield found(plans.at("image_reader_writer"), reader=reader, fault=fault, better=_reader_for(ending, solid))


def _image(shape: list[float], spacing: list[float]) -> str:
    return f"{times(shape)} voxels at {times(spacing)} mm"


def _reader_for(ending: str, solid: bool) -> str:
    """The reader that the planner would choose: the first that knows the ending; 2D images are tried first."""
    for reader, endings in constants.READERS.items():
        if ending in endings and not (solid and reader in constants.READERS_OF_2D_IMAGES):
            return reader
    return "SimpleITKIO"
