"""PG510, PG512, PG513: raw files and labels for validation."""

from __future__ import annotations

from tests.support.data_folders import CT, DATA_IDENTIFIER, GROUND_TRUTH, ONLY, append, both, touch
from tests.support.variants import PLANS, Variant, finding, remove

VARIANTS: tuple[Variant, ...] = (
    Variant(
        "labels-for-validation-missing",
        CT,
        both(remove(f"{GROUND_TRUTH}/fine_002.nii.gz")),
        finding("PG510", GROUND_TRUTH),
        twin=both(),
        options=ONLY,
    ),
    Variant(
        "labels-corrected-after-preprocessing",
        CT,
        both(touch("raw/labelsTr/fine_001.nii.gz", 60)),
        finding("PG512", PLANS, DATA_IDENTIFIER),
        twin=both(touch("raw/labelsTr/fine_001.nii.gz", -3600)),
        options=ONLY,
    ),
    Variant(
        "other-labels-for-validation",
        CT,
        both(append(f"{GROUND_TRUTH}/fine_001.nii.gz")),
        finding("PG513", GROUND_TRUTH),
        twin=both(),
        options=ONLY,
    ),
)
