"""PG311, PG312: origin of plans, and their reader."""

from __future__ import annotations

from tests.support.moves import MOVED, move
from tests.support.variants import PLANS, RESENC, Edit, Variant, copy, finding, put, remove

MINE = "preprocessed/MyPlans.json"
CT = "Dataset002_FinetuneCT"
MICROSCOPY = "Dataset006_Microscopy3D"
#: The ResEnc plans share the default plans' data, so an edit of one file alone would be a conflict as well (PG501).
ALONE = remove(RESENC)


def renamed(edit: Edit) -> tuple[Edit, ...]:
    """Copy the plans to a name that no planner uses, and edit the copy."""

    def data(configuration: str) -> Edit:
        return put(MINE, f"/configurations/{configuration}/data_identifier", f"MyPlans_{configuration}")

    return copy(PLANS, MINE), put(MINE, "/plans_name", "MyPlans"), data("2d"), data("3d_fullres"), edit


VARIANTS: tuple[Variant, ...] = (
    Variant(
        "default-plans-of-other-data",
        CT,
        (put(PLANS, "/original_median_spacing_after_transp", [2.5, 0.8, 0.8]),),
        finding("PG311", PLANS, "/original_median_spacing_after_transp"),
        twin=(put(PLANS, "/original_median_spacing_after_transp", [1.5, 1.2, 1.2]),),
    ),
    Variant(
        "own-plans-of-other-data",
        CT,
        renamed(put(MINE, "/original_median_shape_after_transp", [32, 96, 96])),
        finding("PG311", MINE, "/original_median_spacing_after_transp"),
        twin=renamed(put(MINE, "/original_median_shape_after_transp", [54, 64, 64])),
    ),
    Variant(
        "moved-without-a-record",
        CT,
        (move(), remove("preprocessed/PretrainPlans.plansguard.json")),
        finding("PG311", MOVED, "/original_median_spacing_after_transp"),
        twin=(move(),),
    ),
    Variant(
        "3d-tiff-without-its-spacing",
        MICROSCOPY,
        (put(PLANS, "/image_reader_writer", "SimpleITKIO"),),
        finding("PG312", PLANS, "/image_reader_writer"),
        twin=(put(PLANS, "/image_reader_writer", "Tiff3DIO"),),
    ),
    Variant(
        "3d-tiff-with-2d-reader",
        MICROSCOPY,
        (put(PLANS, "/image_reader_writer", "NaturalImage2DIO"),),
        finding("PG312", PLANS, "/image_reader_writer"),
    ),
    Variant(
        "nifti-with-tiff-reader",
        CT,
        (ALONE, put(PLANS, "/image_reader_writer", "Tiff3DIO")),
        finding("PG312", PLANS, "/image_reader_writer"),
        twin=(ALONE, put(PLANS, "/image_reader_writer", "NibabelIOWithReorient")),
    ),
)
