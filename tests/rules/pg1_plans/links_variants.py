"""PG119 to PG121: links of cascades, misspelt keys, and counts of training."""

from __future__ import annotations

from tests.rules.pg1_plans.networks import FULLRES
from tests.support.variants import PLANS, RESENC, Variant, drop, finding, put

CT, CASCADE = "Dataset002_FinetuneCT", "Dataset005_CascadeCT"
FIRST, SECOND = "/configurations/3d_lowres", "/configurations/3d_cascade_fullres"

VARIANTS: tuple[Variant, ...] = (
    # PG119 broken-cascade
    Variant(
        "first-stage-of-another-name",
        CASCADE,
        (put(PLANS, f"{SECOND}/previous_stage", "3d_low"),),
        frozenset({("PG119", PLANS, f"{SECOND}/previous_stage"), ("PG119", PLANS, f"{FIRST}/next_stage")}),
        twin=(put(PLANS, f"{FIRST}/next_stage", ["3d_cascade_fullres"]),),
    ),
    Variant(
        "first-stage-without-next",
        CASCADE,
        (drop(PLANS, f"{FIRST}/next_stage"),),
        finding("PG119", PLANS, f"{SECOND}/previous_stage"),
    ),
    Variant(
        "next-stage-unknown",
        CASCADE,
        (put(PLANS, f"{FIRST}/next_stage", ["3d_cascade_fullres", "3d_cascade"]),),
        finding("PG119", PLANS, f"{FIRST}/next_stage/1"),
    ),
    # PG120 misspelt-key
    Variant(
        "previous-stage-misspelt",
        CASCADE,
        (drop(PLANS, f"{SECOND}/previous_stage"), put(PLANS, f"{SECOND}/previous_stagee", "3d_lowres")),
        frozenset({("PG120", PLANS, f"{SECOND}/previous_stagee"), ("PG119", PLANS, f"{FIRST}/next_stage")}),
        twin=(put(PLANS, f"{SECOND}/previous_stagee", "3d_lowres"),),  # beside the right one
    ),
    Variant(
        "median-misspelt",
        CT,
        (
            drop(PLANS, f"{FULLRES}/median_image_size_in_voxels"),
            put(PLANS, f"{FULLRES}/median_image_size_in_voxel", [1, 1, 1]),
        ),
        finding("PG120", PLANS, f"{FULLRES}/median_image_size_in_voxel"),
        twin=(put(PLANS, f"{FULLRES}/pretrained_checkpoint", "x"), drop(RESENC, "/label_manager")),
    ),
    # PG121 invalid-count
    Variant(
        "batch-of-nothing",
        CT,
        (put(PLANS, f"{FULLRES}/batch_size", 0),),
        finding("PG121", PLANS, f"{FULLRES}/batch_size"),
        twin=(put(PLANS, f"{FULLRES}/batch_size", 1),),
    ),
    Variant(
        "patch-below-zero",
        CT,
        (put(PLANS, f"{FULLRES}/patch_size/1", -64),),
        finding("PG121", PLANS, f"{FULLRES}/patch_size/1"),
    ),
)
