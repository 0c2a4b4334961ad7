"""PG501 to PG503, PG530: shared folders of preprocessed data."""

from __future__ import annotations

from pathlib import Path

from tests.support.data_folders import both
from tests.support.variants import PLANS, RESENC, Edit, Variant, finding, place, put, remove

CT = "Dataset002_FinetuneCT"
MR = "Dataset003_TwoChannelMR"
CASCADE = "Dataset005_CascadeCT"
MEAN = "/foreground_intensity_properties_per_channel/0/mean"
CHILD = {"inherits_from": "3d_fullres", "spacing": [1.0, 1.0, 1.0]}
IDENTIFIER = "/configurations/3d_fullres/data_identifier"
IDENTIFIER_2D = "/configurations/2d/data_identifier"
STAGE = "/configurations/3d_cascade_fullres/data_identifier"


def folder(name: str) -> Edit:
    """Add an empty folder of preprocessed data."""

    def edit(workspace: Path, dataset: str) -> None:
        place(workspace, dataset, f"preprocessed/{name}").mkdir()

    return edit


VARIANTS: tuple[Variant, ...] = (
    Variant(
        "shared-folder-of-another-spacing",
        CT,
        (put(RESENC, "/configurations/3d_fullres/spacing", [1.0, 1.0, 1.0]),),
        finding("PG501", RESENC, IDENTIFIER),
        # the arrays do not change
        twin=(put(RESENC, "/configurations/3d_fullres/spacing", [1.5, 1.2, 1.2]),),
    ),
    Variant(
        "shared-folder-of-other-statistics",
        CT,
        (put(RESENC, MEAN, 80.0),),
        finding("PG501", RESENC, IDENTIFIER_2D) | finding("PG501", RESENC, IDENTIFIER),
        twin=(put(RESENC, "/configurations/3d_fullres/batch_size", 3),),
    ),
    Variant(
        "shared-folder-with-another-reader",
        MR,
        (put(RESENC, "/image_reader_writer", "NibabelIO"),),
        finding("PG501", RESENC, IDENTIFIER_2D) | finding("PG501", RESENC, IDENTIFIER),
        # statistics are not used with z-scores
        twin=(put(RESENC, MEAN, 80.0),),
    ),
    Variant(
        "shared-folder-asked-for-one-configuration",
        CT,
        (put(RESENC, MEAN, 80.0),),
        finding("PG501", PLANS, IDENTIFIER_2D),
        options=("-p", "nnUNetPlans", "-c", "2d"),
    ),
    Variant(
        "child-with-another-spacing",
        CT,
        (put(PLANS, "/configurations/3d_fine", CHILD),),
        finding("PG502", PLANS, "/configurations/3d_fine/spacing"),
        twin=(put(PLANS, "/configurations/3d_fine", {**CHILD, "data_identifier": "nnUNetPlans_3d_fine"}),),
    ),
    Variant(
        "child-of-a-conflicting-child",
        CT,
        (
            put(PLANS, "/configurations/3d_fine", CHILD),
            put(PLANS, "/configurations/3d_fine_bs4", {"inherits_from": "3d_fine", "batch_size": 4}),
        ),
        finding("PG502", PLANS, "/configurations/3d_fine/spacing"),
        twin=(put(PLANS, "/configurations/3d_bs4", {"inherits_from": "3d_fullres", "batch_size": 4}),),
    ),
    Variant(
        "2d-with-3d-data",
        CT,
        (put(PLANS, IDENTIFIER_2D, "nnUNetPlans_3d_fullres"),),
        finding("PG502", PLANS, IDENTIFIER_2D),
        twin=(put(PLANS, IDENTIFIER_2D, "MyOwnFolder"),),
    ),
    Variant(
        "cascade-with-missing-data-of-its-own",
        CASCADE,
        (put(PLANS, STAGE, "nnUNetPlans_3d_cascade_fullres"),),
        finding("PG503", PLANS, STAGE),
        twin=(put(PLANS, STAGE, "nnUNetPlans_3d_fullres"),),
    ),
    Variant(
        "cascade-with-data-of-its-own",
        CASCADE,
        (put(PLANS, STAGE, "nnUNetPlans_3d_cascade_fullres"), folder("nnUNetPlans_3d_cascade_fullres")),
        finding("PG503", PLANS, STAGE),
        twin=(put(PLANS, STAGE, "nnUNetPlans_3d_fullres"), folder("nnUNetPlans_3d_fullres")),
        options=("-p", "nnUNetPlans"),
    ),
    Variant(
        "data-folder-misspelt",
        CT,
        both(remove(RESENC), put(PLANS, IDENTIFIER, "nnUNetPlans_3d_fulres")),
        finding("PG530", PLANS, IDENTIFIER),
        # other plans name the folder
        twin=both(put(PLANS, IDENTIFIER, "nnUNetPlans_3d_fulres")),
    ),
)
