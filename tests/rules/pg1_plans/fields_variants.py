"""PG105, PG106, PG107, PG109, PG111 to PG114: fields of one plans file."""

from __future__ import annotations

from tests.rules.pg1_plans.networks import CHILD, FULLRES, child
from tests.support.variants import PLANS, RESENC, Variant, copy, finding, put, remove

CT = "Dataset002_FinetuneCT"
CASCADE = "Dataset005_CascadeCT"

VARIANTS: tuple[Variant, ...] = (
    # PG105 transposes-not-inverse
    Variant(
        "transpose-with-an-axis-twice",
        CT,
        (remove(RESENC), put(PLANS, "/transpose_forward", [0, 1, 1])),
        finding("PG105", PLANS, "/transpose_forward/2"),
    ),
    Variant(
        "transpose-with-an-axis-that-images-lack",
        CT,
        (remove(RESENC), put(PLANS, "/transpose_forward", [0, 3, 2])),
        finding("PG105", PLANS, "/transpose_forward/1"),
    ),
    Variant(
        "transposes-of-two-axes",
        CT,
        (remove(RESENC), put(PLANS, "/transpose_forward", [0, 1])),
        finding("PG105", PLANS, "/transpose_forward"),
    ),
    Variant(
        "transposes-do-not-undo-each-other",
        CT,
        (put(PLANS, "/transpose_backward", [1, 2, 0]),),
        finding("PG105", PLANS, "/transpose_backward"),
        twin=(
            remove(RESENC),
            put(PLANS, "/transpose_forward", [0, 2, 1]),
            put(PLANS, "/transpose_backward", [0, 2, 1]),
        ),
    ),
    # PG106 inheritance-broken
    Variant(
        "parent-missing",
        CASCADE,
        (put(PLANS, "/configurations/3d_cascade_fullres/inherits_from", "3d_fulres"),),
        finding("PG106", PLANS, "/configurations/3d_cascade_fullres/inherits_from"),
    ),
    Variant(
        "grandparent-missing-is-reported-once",
        CT,
        (
            put(PLANS, CHILD, {"inherits_from": "3d_old"}),
            put(PLANS, f"{CHILD}_bs4", {"inherits_from": "3d_child", "batch_size": 4}),
        ),
        finding("PG106", PLANS, f"{CHILD}/inherits_from"),
        twin=(
            put(PLANS, CHILD, {"inherits_from": "3d_fullres"}),
            put(PLANS, f"{CHILD}_bs4", {"inherits_from": "3d_child", "batch_size": 4}),
        ),
    ),
    Variant(
        "inheritance-in-a-circle",
        CT,
        (
            put(PLANS, "/configurations/2d_a", {"inherits_from": "2d_b"}),
            put(PLANS, "/configurations/2d_b", {"inherits_from": "2d_a"}),
        ),
        finding("PG106", PLANS, "/configurations/2d_b/inherits_from"),
        # a child may stand before its parent
        twin=(
            put(PLANS, "/configurations/2d_a", {"inherits_from": "2d_b"}),
            put(PLANS, "/configurations/2d_b", {"inherits_from": "2d", "batch_size": 4}),
        ),
    ),
    # PG107 configuration-not-found
    Variant(
        "configuration-dropped-by-the-planner",
        CT,
        (),
        finding("PG107", PLANS, "/configurations"),
        twin=(put(PLANS, "/configurations/3d_lowres", child()),),
        options=("-c", "3d_lowres"),
    ),
    Variant(
        "configuration-misspelt",
        "Dataset004_Slides2D",
        (),
        finding("PG107", PLANS, "/configurations"),
        twin=(put(PLANS, "/configurations/2d_bs4", {"inherits_from": "2d", "batch_size": 4}),),
        options=("-p", "nnUNetPlans", "-c", "2d_bs4"),
    ),
    # PG109 invalid-spacing
    Variant(
        "spacing-zero",
        CT,
        (remove(RESENC), put(PLANS, f"{FULLRES}/spacing/0", 0)),
        finding("PG109", PLANS, f"{FULLRES}/spacing/0"),
        twin=(remove(RESENC), put(PLANS, f"{FULLRES}/spacing/0", 2)),
    ),
    Variant(
        "spacing-negative",
        CT,
        (remove(RESENC), put(PLANS, f"{FULLRES}/spacing/1", -1.2)),
        finding("PG109", PLANS, f"{FULLRES}/spacing/1"),
    ),
    Variant(
        "spacing-null-for-a-preprocessor-that-resamples",
        CT,
        (remove(RESENC), put(PLANS, f"{FULLRES}/spacing", [None, None, None])),
        finding("PG109", PLANS, f"{FULLRES}/spacing"),
    ),
    # PG111 unknown-normalization
    Variant(
        "normalization-by-its-channel-name",
        CT,
        (remove(RESENC), put(PLANS, f"{FULLRES}/normalization_schemes/0", "noNorm")),
        finding("PG111", PLANS, f"{FULLRES}/normalization_schemes/0"),
        twin=(remove(RESENC), put(PLANS, f"{FULLRES}/normalization_schemes/0", "CTNormalization")),
    ),
    Variant(
        "normalization-none",
        "Dataset003_TwoChannelMR",
        (remove(RESENC), put(PLANS, f"{FULLRES}/normalization_schemes/1", "None")),
        finding("PG111", PLANS, f"{FULLRES}/normalization_schemes/1"),
    ),
    Variant(
        "normalization-of-a-fork",
        "Dataset003_TwoChannelMR",
        (remove(RESENC), put(PLANS, f"{FULLRES}/normalization_schemes/1", "PercentileNormalization")),
        finding("PG111", PLANS, f"{FULLRES}/normalization_schemes/1"),
    ),
    # PG112 plans-name-differs
    Variant(
        "plans-copied-without-their-name",
        CT,
        (copy(PLANS, "preprocessed/nnUNetPlans_bs4.json"),),
        finding("PG112", "preprocessed/nnUNetPlans_bs4.json", "/plans_name"),
        twin=(
            copy(PLANS, "preprocessed/nnUNetPlans_bs4.json"),
            put("preprocessed/nnUNetPlans_bs4.json", "/plans_name", "nnUNetPlans_bs4"),
        ),
    ),
    # PG113 dataset-name-differs
    Variant(
        "plans-of-another-dataset-by-name",
        CT,
        (put(PLANS, "/dataset_name", "Dataset001_PretrainCT"),),
        finding("PG113", PLANS, "/dataset_name"),
        twin=(put(PLANS, "/dataset_name", CT),),
    ),
    # PG114 plans-not-found
    Variant(
        "plans-not-found",
        CT,
        (),
        finding("PG114", "preprocessed", ""),
        twin=(
            copy(PLANS, "preprocessed/PretrainPlans.json"),
            put("preprocessed/PretrainPlans.json", "/plans_name", "PretrainPlans"),
        ),
        options=("-p", "PretrainPlans"),
    ),
)
