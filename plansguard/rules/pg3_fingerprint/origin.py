"""PG311, PG312: origin of the plans, and their reader."""

from __future__ import annotations

from collections.abc import Iterator

from plansguard.core.errors import known
from plansguard.core.report import Severity
from plansguard.core.text import times
from plansguard.nnunet import constants, printed_commands
from plansguard.rules.engine.declare import Found, found, rule
from plansguard.subjects.dataset import Dataset
from plansguard.subjects.documents import DatasetJson, Fingerprint
from plansguard.subjects.plans import Plans


@rule(
    "PG311",
    Severity.WARNING,
    message="{claim}: they were made for images of {theirs}",
    mark="{ours} in the fingerprint",
    fix="{remedy}",
)
def plans_from_other_dataset(dataset: Dataset, plans: Plans, fingerprint: Fingerprint) -> Iterator[Found]:
    """The plans were made from another dataset, and no migration record explains it.

    What it checks: the median spacing and shape that the planner wrote into the plans are those of this dataset's
    fingerprint. nnU-Net's move does not change them, so they identify the origin of plans. Plans with a migration
    record of `plansguard migrate` are not reported, nor are plans in the folder of a trained model.

    Why it matters: a move in the wrong direction, or over the dataset's own plans, costs a whole pretraining. It is not
    recognised before that has run. Under one of nnU-Net's default names such plans have replaced the dataset's own, and
    the data and results of that name belong to plans that no longer exist.

    How to fix: the same move with `plansguard migrate`, under the name that they have, leaves the plans as they are and
    writes the migration record that explains them. Rules about migrated plans do not run without it. Where the dataset
    changed since planning, plan and preprocess again.

    Example: `nnUNetv2_move_plans_between_datasets -s 1 -t 2 -sp nnUNetPlans` without `-tp`.

    Evidence: MV-01, MV-03; nnU-Net issues 1464, 1970, 2440.
    """
    explained = dataset.migrated_with(plans) is not None or dataset.role == "model"
    if explained or fingerprint.describes(plans):
        return
    order = plans.require("transpose_forward")
    is_default = plans.identifier in constants.PLANNER_OF_IDENTIFIER
    name = None if is_default else plans.identifier
    plan = printed_commands.plan_experiment(dataset.name, _planner(plans), name=name)
    claim = f"{plans.identifier} come from other data"
    migrate = printed_commands.migrate(
        *(printed_commands.SOURCE, dataset.name, plans.identifier), plans=printed_commands.SOURCE_PLANS
    )
    remedy = f"if they were moved here, this writes their record: {migrate}; if the data changed, {plan}"
    if is_default:  # a planner would have written these medians
        claim = f"{plans.identifier} are no longer this dataset's own plans"
        remedy = f"plan this dataset again: {plan}; move other plans only under a name of their own (-tp)"
    yield found(
        plans.at("original_median_spacing_after_transp"),
        related=[(fingerprint.at("spacings"), "this dataset's")],
        claim=claim,
        theirs=_image(
            plans.require("original_median_shape_after_transp"), plans.require("original_median_spacing_after_transp")
        ),
        ours=_image(fingerprint.median_shape(order), fingerprint.median_spacing(order)),
        remedy=remedy,
    )


def _planner(plans: Plans) -> str:
    """Return the planner that writes plans of this name, else the one that made these, if it is one of nnU-Net's."""
    made_by = str(plans.value.get("experiment_planner_used"))
    planner = constants.PLANNER_OF_IDENTIFIER.get(plans.identifier, made_by)
    return planner if planner in constants.PLANNER_OF_IDENTIFIER.values() else "ExperimentPlanner"


@rule(
    "PG312",
    Severity.ERROR,
    message="{reader} {fault}",
    fix='write "image_reader_writer": "{better}"',
)
def reader_loses_spacing(dataset: Dataset, plans: Plans, dataset_json: DatasetJson) -> Iterator[Found]:
    """The plans' reader cannot read the images, or loses their spacing.

    What it checks: `image_reader_writer` against `file_ending`. Tiff3DIO opens TIFF only, NibabelIO and
    NibabelIOWithReorient NIfTI only, NaturalImage2DIO no volumes. SimpleITKIO opens nearly everything, but loses the
    spacing of 3D TIFF: an error where the fingerprint has the spacing of the JSON files beside the images. Unknown
    readers are not checked.

    Why it matters: every case is silently resampled wrongly, or preprocessing stops after it deleted the old data.
    nnU-Net's own move chooses SimpleITKIO for 3D TIFF, where its planner chose Tiff3DIO. Images of 3 x 0.5 x 0.5 mm
    then silently count as 1 x 1 x 1 mm: preprocessing and prediction resample every case wrongly. A reader that cannot
    open the files stops preprocessing.

    How to fix: name the reader that the dataset's own plans use, as `plansguard migrate` does.

    Example: `"image_reader_writer": "SimpleITKIO"` beside `"file_ending": ".tif"`.

    Evidence: IO-01; measured with nnU-Net 2.8.1.
    """
    reader, ending = plans.require("image_reader_writer"), dataset_json.require("file_ending").lower()
    fault = None
    if ending in constants.TIFF_ENDINGS and (spacing := _spacing_of_volumes(dataset)) is not None:
        if reader == "SimpleITKIO" and spacing != [1, 1, 1]:
            fault = f"drops the spacing of 3D {ending} files: {times(spacing)} mm would become 1 x 1 x 1"
        elif reader in constants.READERS_OF_2D_IMAGES:
            fault = f"cannot open 3D images, which these {ending} files are"
    if ending in constants.UNREADABLE_ENDINGS.get(reader, ()):
        fault = f"cannot open {ending} files"
    if fault:
        better = _reader_for(ending, _spacing_of_volumes(dataset) is not None)
        yield found(plans.at("image_reader_writer"), reader=reader, fault=fault, better=better)


def _spacing_of_volumes(dataset: Dataset) -> list[float] | None:
    """Return the median spacing of the images; None where they are 2D, or it is not known."""
    spacing = known(lambda: dataset.fingerprint.valid.median_spacing([0, 1, 2]))
    return None if known(lambda: dataset.fingerprint.valid.is_flat) else spacing


def _image(shape: list[float], spacing: list[float]) -> str:
    return f"{times(shape)} voxels at {times(spacing)} mm"


def _reader_for(ending: str, solid: bool) -> str:
    """Return the planner's reader: the first that supports the ending, with readers of 2D images before others."""
    for reader, endings in constants.READERS.items():
        if ending in endings and not (solid and reader in constants.READERS_OF_2D_IMAGES):
            return reader
    return "SimpleITKIO"
