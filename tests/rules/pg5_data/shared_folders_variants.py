"""PG5xx."""

from __future__ import annotations

from pathlib import Path

from tests.support.variants import Edit, Variant, place, put

PLANS = "preprocessed/nnUNetPlans.json"
RESENC = "preprocessed/nnUNetResEncUNetMPlans.json"
CT = "Dataset002_FinetuneCT"
MR = "Dataset003_TwoChannelMR"
CASCADE = "Dataset005_CascadeCT"
MEAN = "/foreground_intensity_properties_per_channel/0/mean"
CHILD = {"inherits_from": "3d_fullres", "spacing": [1.0, 1.0, 1.0]}
STAGE = "/configurations/3d_cascade_fullres/data_identifier"


def folder(name: str) -> Edit:
    """An empty folder of preprocessed data."""

    def edit(workspace: Path, dataset: str) -> None:
        place(workspace, dataset, f"preprocessed/{name}").mkdir()

    return edit


def finding(code: str, file: str, pointer: str) -> frozenset[tuple[str, str, str]]:
    return frozenset({(code, file, pointer)})


VARIANTS: tuple[Variant, ...] = (
    Variant(
        "shared-folder-of-another-spacing",
        CT,
        (put(RESENC, "/configurations/3d_fullres/spacing", [1.0, 1.0, 1.0]),),
        finding("PG501", RESENC, "/configurations/3d_fullres/data_identifier"),
        # the same to the arrays
        twin=(put(RESENC, "/configurations/3d_fullres/spacing", [1.5, 1.2, 1.2]),),
    ),
    Variant(
        "shared-folder-of-other-statistics",
        CT,
        (put(RESENC, MEAN, 80.0),),
        frozenset(
            {("PG501", RESENC, f"/configurations/{name}/data_identifier") for name in ("2d", "3d_fullres")},
        ),
        twin=(put(RESENC, "/configurations/3d_fullres/batch_size", 3),),
    ),
    Variant(
        "shared-folder-with-another-reader",
        MR,
        (put(RESENC, "/image_reader_writer", "NibabelIO"),),
        frozenset(
            {("PG501", RESENC, f"/configurations/{name}/data_identifier") for name in ("2d", "3d_fullres")},
        ),
        # statistics are not used with z-scores
        twin=(put(RESENC, MEAN, 80.0),),
    ),
    Variant(
        "shared-folder-asked-for-one-configuration",
        CT,
        (put(RESENC, MEAN, 80.0),),
        finding("PG501", PLANS, "/configurations/2d/data_identifier"),
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
        (put(PLANS, "/configurations/2d/data_identifier", "nnUNetPlans_3d_fullres"),),
        finding("PG502", PLANS, "/configurations/2d/data_identifier"),
        twin=(put(PLANS, "/configurations/2d/data_identifier", "MyOwnFolder"),),
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
)
