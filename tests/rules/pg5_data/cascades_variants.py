"""PG517, PG518: data and predictions of the stages of a cascade."""

from __future__ import annotations

from tests.support.data_folders import CASES, CT, STAGES, both, preprocessed, trained
from tests.support.variants import PLANS, Variant, finding

VARIANTS: tuple[Variant, ...] = (
    Variant(
        "nothing-to-predict-for",
        CT,
        (preprocessed("nnUNetPlans_3d_lowres"), *STAGES),
        finding("PG517", PLANS, "/configurations/3d_lowres/next_stage"),
        twin=both(preprocessed("nnUNetPlans_3d_lowres"), *STAGES),
        options=("-p", "nnUNetPlans", "-c", "3d_lowres"),
    ),
    Variant(
        "predictions-of-the-first-stage-deleted",
        CT,
        both(*STAGES, trained("3d_lowres", *CASES[:3])),
        finding("PG518", PLANS, "/configurations/3d_cascade_fullres/previous_stage"),
        twin=both(*STAGES, trained("3d_lowres", *CASES)),
        options=("-p", "nnUNetPlans", "-c", "3d_cascade_fullres"),
    ),
    Variant(
        "first-stage-not-trained",
        CT,
        both(*STAGES),
        finding("PG518", PLANS, "/configurations/3d_cascade_fullres/previous_stage"),
        twin=both(*STAGES, trained("3d_lowres", *CASES)),
        options=("-p", "nnUNetPlans", "-c", "3d_cascade_fullres"),
    ),
)
