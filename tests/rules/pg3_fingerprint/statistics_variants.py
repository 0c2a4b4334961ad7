"""PG313, PG314, PG317: intensity statistics and masks."""

from __future__ import annotations

from tests.rules.pg3_fingerprint.channels_variants import ALONE, CT, INTENSITIES, MR
from tests.support.moves import move
from tests.support.variants import PLANS, Variant, finding, put

OWN = f"{INTENSITIES}/0"
MASKS = "/configurations/3d_fullres/use_mask_for_norm"

VARIANTS: tuple[Variant, ...] = (
    Variant(
        "ct-deviation-edited",
        CT,
        (ALONE, put(PLANS, f"{OWN}/std", 39.2)),
        finding("PG313", PLANS, f"{OWN}/std"),
        twin=(ALONE, put(PLANS, f"{OWN}/std", 23.9), put(PLANS, f"{OWN}/percentile_99_5", 129)),
    ),
    Variant(
        "ct-window-moved",
        CT,
        (ALONE, put(PLANS, f"{OWN}/percentile_00_5", 8), put(PLANS, f"{OWN}/mean", 60)),
        finding("PG313", PLANS, f"{OWN}/percentile_00_5") | finding("PG313", PLANS, f"{OWN}/mean"),
        # statistics of the weights
        twin=(ALONE, move()),
    ),
    Variant(
        "percentiles-swapped",
        CT,
        (ALONE, put(PLANS, f"{OWN}/percentile_00_5", 124), put(PLANS, f"{OWN}/percentile_99_5", 20)),
        finding("PG306", PLANS, OWN) | finding("PG314", PLANS, f"{OWN}/percentile_99_5"),
    ),
    Variant(
        "no-deviation",
        CT,
        (ALONE, put(PLANS, f"{OWN}/std", 0)),
        finding("PG306", PLANS, OWN) | finding("PG314", PLANS, f"{OWN}/std"),
    ),
    Variant(
        "mask-edited",
        MR,
        (ALONE, put(PLANS, f"{MASKS}/1", False)),
        finding("PG317", PLANS, f"{MASKS}/1"),
        twin=(ALONE, put(PLANS, f"{MASKS}/1", True)),
    ),
)
