"""PG3xx."""

from __future__ import annotations

import json
from typing import Any

from tests.rules.pg4_migration.after_move_variants import MOVED, move
from tests.support.variants import FIXTURES, Edit, Variant, copy, drop, put, remove

FINGERPRINT = "preprocessed/dataset_fingerprint.json"
HERE = "preprocessed/dataset.json"
RAW = "raw/dataset.json"
PLANS = "preprocessed/nnUNetPlans.json"
MINE = "preprocessed/MyPlans.json"
RESENC = "preprocessed/nnUNetResEncUNetMPlans.json"
INTENSITIES = "/foreground_intensity_properties_per_channel"
CT = "Dataset002_FinetuneCT"
MR = "Dataset003_TwoChannelMR"
SLIDES = "Dataset004_Slides2D"
CASCADE = "Dataset005_CascadeCT"
MICROSCOPY = "Dataset006_Microscopy3D"

#: The ResEnc plans share the default plans' data, so an edit in one file alone would also be a conflict (PG501).
ALONE = remove(RESENC)


def statistics(shift: float = 0, stretch: float = 1) -> dict[str, float]:
    """Dataset002's own intensity properties, moved and widened."""
    own = json.loads((FIXTURES / "workspace/nnUNet_preprocessed" / CT / "nnUNetPlans.json").read_bytes())
    properties: dict[str, float] = own["foreground_intensity_properties_per_channel"]["0"]
    middle = properties["median"]
    return {
        key: value * stretch if key == "std" else middle + shift + (value - middle) * stretch
        for key, value in properties.items()
    }


def configuration_of(dataset: str, name: str) -> dict[str, Any]:
    """A configuration that nnU-Net planned for another dataset."""
    plans = json.loads((FIXTURES / "workspace/nnUNet_preprocessed" / dataset / "nnUNetPlans.json").read_bytes())
    configuration: dict[str, Any] = plans["configurations"][name]
    return configuration


def both(pointer: str, value: object) -> tuple[Edit, Edit]:
    """The same value in the raw and in the preprocessed dataset.json."""
    return put(HERE, pointer, value), put(RAW, pointer, value)


def without_case(number: int) -> tuple[Edit, Edit]:
    """The fingerprint forgets a case."""
    return drop(FINGERPRINT, f"/spacings/{number}"), drop(FINGERPRINT, f"/shapes_after_crop/{number}")


#: A fifth case for Dataset005's fingerprint that leaves its medians as they are.
ONE_MORE = (
    put(FINGERPRINT, "/spacings/-", [1.5, 0.9, 0.9]),
    put(FINGERPRINT, "/shapes_after_crop/-", [210, 320, 316]),
)


def finding(code: str, file: str, pointer: str = "") -> frozenset[tuple[str, str, str]]:
    return frozenset({(code, file, pointer)})


def renamed(edit: Edit) -> tuple[Edit, ...]:
    """Plans under a name that no planner uses, edited."""

    def data(configuration: str) -> Edit:
        return put(MINE, f"/configurations/{configuration}/data_identifier", f"MyPlans_{configuration}")

    return copy(PLANS, MINE), put(MINE, "/plans_name", "MyPlans"), data("2d"), data("3d_fullres"), edit


FROM_SLIDES = (
    put(PLANS, "/original_median_spacing_after_transp", [999.0, 1.0, 1.0]),
    put(PLANS, "/original_median_shape_after_transp", [1, 96, 136]),
    drop(PLANS, "/configurations/3d_fullres"),
)
FOR_SLICES_LAST = (
    put(PLANS, "/transpose_forward", [1, 0, 2]),
    put(PLANS, "/transpose_backward", [1, 0, 2]),
    put(PLANS, "/original_median_spacing_after_transp", [0.5, 3.0, 0.5]),
    put(PLANS, "/original_median_shape_after_transp", [96, 20, 96]),
)

VARIANTS: tuple[Variant, ...] = (
    Variant(
        "spacing-of-zero",
        CT,
        (put(FINGERPRINT, "/spacings/3/0", 0),),
        finding("PG301", FINGERPRINT, "/spacings/3/0"),
        twin=(put(FINGERPRINT, "/spacings/3/0", 2.5),),
    ),
    Variant(
        "spacing-in-micrometres",
        CT,
        (put(FINGERPRINT, "/spacings/1/1", 1150.0),),
        finding("PG301", FINGERPRINT, "/spacings/1/1"),
        twin=(put(FINGERPRINT, "/spacings/1/1", 11.5),),
    ),
    Variant(
        "fingerprint-missing",
        CT,
        (remove(FINGERPRINT),),
        finding("PG302", "preprocessed"),
        twin=(remove(FINGERPRINT), remove(PLANS), remove(RESENC)),
    ),
    Variant(
        "shape-missing",
        CT,
        (drop(FINGERPRINT, "/shapes_after_crop/0"),),
        finding("PG303", FINGERPRINT, "/shapes_after_crop"),
    ),
    Variant(
        "case-added-after-the-fingerprint",
        CT,
        without_case(0),
        finding("PG303", FINGERPRINT, "/spacings"),
    ),
    Variant(
        "fingerprint-and-numtraining-differ",
        CASCADE,  # whose raw images are not here
        ONE_MORE,
        finding("PG303", FINGERPRINT, "/spacings"),
        twin=(*ONE_MORE, *both("/numTraining", 5)),
    ),
    Variant(
        "numtraining-alone-is-wrong",
        CT,
        both("/numTraining", 9),
        finding("PG303", HERE, "/numTraining"),
    ),
    Variant(
        "plans-for-one-channel",
        MR,
        (
            ALONE,
            drop(PLANS, f"{INTENSITIES}/1"),
            *(
                put(PLANS, f"/configurations/{name}/{key}", [value])
                for name in ("2d", "3d_fullres")
                for key, value in (("normalization_schemes", "ZScoreNormalization"), ("use_mask_for_norm", True))
            ),
        ),
        finding("PG304", PLANS, "/configurations/2d/normalization_schemes"),
        twin=(ALONE,),
    ),
    Variant(
        "one-mask-flag-too-few",
        MR,
        (ALONE, put(PLANS, "/configurations/3d_fullres/use_mask_for_norm", [True])),
        finding("PG304", PLANS, "/configurations/3d_fullres/use_mask_for_norm"),
        twin=(ALONE, put(PLANS, "/configurations/3d_fullres/use_mask_for_norm", [True, False])),
    ),
    Variant(
        "one-scheme-too-many",
        MR,
        (ALONE, put(PLANS, "/configurations/2d/normalization_schemes/-", "ZScoreNormalization")),
        finding("PG304", PLANS, "/configurations/2d/normalization_schemes"),
    ),
    Variant(
        "statistics-of-one-channel-missing",
        MR,
        (drop(PLANS, f"{INTENSITIES}/1"),),
        finding("PG304", PLANS, INTENSITIES),
    ),
    Variant(
        "channel-renamed-after-planning",
        CT,
        both("/channel_names/0", "MRI"),
        frozenset({("PG305", file, "/configurations/2d/normalization_schemes/0") for file in (PLANS, RESENC)}),
        twin=both("/channel_names/0", "ct"),
    ),
    Variant(
        "ct-with-z-score",
        CT,
        (ALONE, put(PLANS, "/configurations/3d_fullres/normalization_schemes/0", "ZScoreNormalization")),
        finding("PG305", PLANS, "/configurations/3d_fullres/normalization_schemes/0"),
    ),
    Variant(
        "mr-with-ct-of-other-data",
        MR,
        (
            ALONE,
            put(PLANS, "/configurations/3d_fullres/normalization_schemes/1", "CTNormalization"),
            put(PLANS, f"{INTENSITIES}/1", statistics()),
        ),
        finding("PG305", PLANS, "/configurations/3d_fullres/normalization_schemes/1"),
        # statistics of channels that are not CT are not used
        twin=(ALONE, put(PLANS, f"{INTENSITIES}/1", statistics())),
    ),
    Variant(
        "statistics-on-another-scale",
        CT,
        (ALONE, put(PLANS, f"{INTENSITIES}/0", statistics(shift=1024))),
        finding("PG306", PLANS, f"{INTENSITIES}/0"),
        twin=(ALONE, put(PLANS, f"{INTENSITIES}/0", statistics(shift=5))),
    ),
    Variant(
        "statistics-that-clip-a-third",
        CT,
        (ALONE, put(PLANS, f"{INTENSITIES}/0", statistics(shift=40))),
        finding("PG306", PLANS, f"{INTENSITIES}/0"),
    ),
    Variant(
        "standard-deviation-four-times-as-large",
        CT,
        (ALONE, put(PLANS, f"{INTENSITIES}/0", statistics(stretch=4))),
        finding("PG306", PLANS, f"{INTENSITIES}/0"),
        twin=(ALONE, put(PLANS, f"{INTENSITIES}/0", statistics(stretch=1.2))),
    ),
    Variant(
        "mean-far-away",
        CT,
        (ALONE, put(PLANS, f"{INTENSITIES}/0/mean", 127.9)),
        finding("PG306", PLANS, f"{INTENSITIES}/0"),
    ),
    Variant(
        "spacing-much-finer",
        MICROSCOPY,
        (put(PLANS, "/configurations/3d_fullres/spacing", [1.0, 0.2, 0.2]),),
        finding("PG307", PLANS, "/configurations/3d_fullres/spacing"),
        twin=(put(PLANS, "/configurations/3d_fullres/spacing", [2.0, 0.4, 0.4]),),
    ),
    Variant(
        "spacing-much-coarser",
        MICROSCOPY,
        (put(PLANS, "/configurations/3d_fullres/spacing", [9.0, 2.0, 2.0]),),
        finding("PG307", PLANS, "/configurations/3d_fullres/spacing"),
    ),
    Variant(
        "spacing-much-finer-in-plane",
        MICROSCOPY,
        (put(PLANS, "/configurations/2d/spacing", [0.05, 0.05]),),
        finding("PG307", PLANS, "/configurations/2d/spacing"),
    ),
    Variant(
        "low-resolution-much-finer",
        CASCADE,
        (put(PLANS, "/configurations/3d_lowres/spacing", [0.5, 0.3, 0.3]),),
        finding("PG307", PLANS, "/configurations/3d_lowres/spacing"),
        # coarser is what low resolution is for
        twin=(put(PLANS, "/configurations/3d_lowres/spacing", [3.9, 2.35, 2.35]),),
    ),
    Variant(
        "child-inherits-far-spacing",
        MICROSCOPY,
        (
            put(PLANS, "/configurations/3d_fullres/spacing", [1.0, 0.2, 0.2]),
            put(PLANS, "/configurations/3d_bs4", {"inherits_from": "3d_fullres", "batch_size": 4}),
        ),
        finding("PG307", PLANS, "/configurations/3d_fullres/spacing"),
        twin=(put(PLANS, "/configurations/3d_bs4", {"inherits_from": "3d_fullres", "batch_size": 4}),),
    ),
    Variant(
        "only-the-child-is-asked-for",
        MICROSCOPY,
        (
            put(PLANS, "/configurations/3d_fullres/spacing", [1.0, 0.2, 0.2]),
            put(PLANS, "/configurations/3d_bs4", {"inherits_from": "3d_fullres", "batch_size": 4}),
        ),
        finding("PG307", PLANS, "/configurations/3d_fullres/spacing"),
        twin=(put(PLANS, "/configurations/3d_bs4", {"inherits_from": "3d_fullres", "batch_size": 4}),),
        options=("-c", "3d_bs4"),
    ),
    Variant(
        "patch-larger-along-one-axis",
        MICROSCOPY,
        (put(PLANS, "/configurations/3d_fullres/patch_size", [64, 96, 96]),),
        finding("PG308", PLANS, "/configurations/3d_fullres/patch_size"),
        twin=(put(PLANS, "/configurations/3d_fullres/patch_size", [24, 112, 112]),),
    ),
    Variant(
        "patch-larger-along-all-axes",
        MICROSCOPY,
        (put(PLANS, "/configurations/2d/patch_size", [192, 256]),),
        finding("PG308", PLANS, "/configurations/2d/patch_size"),
    ),
    Variant(
        "3d-configuration-for-slides",
        SLIDES,
        (
            put(
                PLANS,
                "/configurations/3d_fullres",
                {
                    **configuration_of(MR, "3d_fullres"),
                    "normalization_schemes": ["ZScoreNormalization"] * 3,
                    "use_mask_for_norm": [False] * 3,
                },
            ),
        ),
        finding("PG309", PLANS, "/configurations/3d_fullres/patch_size"),
    ),
    Variant(
        "2d-plans-for-volumes",
        MICROSCOPY,
        FROM_SLIDES,
        frozenset(
            {
                ("PG309", PLANS, "/configurations/2d/patch_size"),
                ("PG311", PLANS, "/original_median_spacing_after_transp"),
            }
        ),
        twin=FROM_SLIDES[2:],
    ),
    Variant(
        "3d-configuration-with-2d-reader",
        MICROSCOPY,
        (remove(FINGERPRINT), put(PLANS, "/image_reader_writer", "NaturalImage2DIO")),
        frozenset(
            {("PG302", "preprocessed", ""), ("PG309", PLANS, "/configurations/3d_fullres/patch_size")},
        ),
    ),
    Variant(
        "slices-along-another-axis",
        MICROSCOPY,
        FOR_SLICES_LAST,
        finding("PG310", PLANS, "/transpose_forward"),
    ),
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
