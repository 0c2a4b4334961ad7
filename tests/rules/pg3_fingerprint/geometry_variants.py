"""PG307 to PG310: spacing, patch and axes."""

from __future__ import annotations

import json
from typing import Any

from tests.support.data_folders import CASCADE as STAGE
from tests.support.data_folders import LOWRES, STAGES
from tests.support.moves import MOVED, move
from tests.support.variants import FINGERPRINT, FIXTURES, PLANS, Variant, drop, finding, put, remove

CT = "Dataset002_FinetuneCT"
MR = "Dataset003_TwoChannelMR"
SLIDES = "Dataset004_Slides2D"
CASCADE = "Dataset005_CascadeCT"
MICROSCOPY = "Dataset006_Microscopy3D"
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


def configuration_of(dataset: str, name: str) -> dict[str, Any]:
    """Return a configuration that nnU-Net planned for another dataset."""
    plans = json.loads((FIXTURES / "workspace/nnUNet_preprocessed" / dataset / "nnUNetPlans.json").read_bytes())
    configuration: dict[str, Any] = plans["configurations"][name]
    return configuration


VARIANTS: tuple[Variant, ...] = (
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
        "cascade-for-small-images",
        CT,
        (
            move(),
            put(MOVED, "/configurations/3d_lowres", LOWRES),
            put(MOVED, "/configurations/3d_cascade_fullres", STAGE),
        ),
        finding("PG322", MOVED, "/configurations/3d_lowres/next_stage"),
        # a cascade that was planned or written for this dataset
        twin=(move(), *STAGES),
    ),
    Variant(
        "slices-along-another-axis",
        MICROSCOPY,
        FOR_SLICES_LAST,
        finding("PG310", PLANS, "/transpose_forward"),
    ),
)
