"""PG320, PG321: entries of intensity properties, and rows of the fingerprint."""

from __future__ import annotations

from tests.support.variants import FINGERPRINT, PLANS, Variant, drop, finding, put

#: Without ResEnc plans, which would have to be edited alike.
CT, MR = "Dataset005_CascadeCT", "Dataset003_TwoChannelMR"
PROPERTIES = "/foreground_intensity_properties_per_channel"

VARIANTS: tuple[Variant, ...] = (
    # PG320 intensity-property-missing
    Variant(
        "no-standard-deviation",
        CT,
        (drop(PLANS, f"{PROPERTIES}/0/std"),),
        finding("PG320", PLANS, f"{PROPERTIES}/0"),
        twin=(drop(PLANS, f"{PROPERTIES}/0/median"),),
    ),
    Variant(
        "percentile-misspelt",
        CT,
        (drop(PLANS, f"{PROPERTIES}/0/percentile_99_5"), put(PLANS, f"{PROPERTIES}/0/percentile_995", 1000.0)),
        finding("PG320", PLANS, f"{PROPERTIES}/0/percentile_995"),
    ),
    Variant(
        "statistics-of-no-channel",
        MR,
        (drop(PLANS, f"{PROPERTIES}/1"), put(PLANS, f"{PROPERTIES}/2", {})),
        finding("PG320", PLANS, PROPERTIES),
        twin=(put(PLANS, f"{PROPERTIES}/1", {}),),  # a z-score reads none
    ),
    # PG321 damaged-fingerprint
    Variant(
        "row-of-two-numbers",
        CT,
        (put(FINGERPRINT, "/spacings/1", [0.9, 0.9]),),
        finding("PG321", FINGERPRINT, "/spacings/1"),
    ),
    Variant(
        "shape-of-zero",
        CT,
        (put(FINGERPRINT, "/shapes_after_crop/2/0", 0),),
        finding("PG321", FINGERPRINT, "/shapes_after_crop/2"),
    ),
    Variant(
        "fingerprint-without-percentile",
        CT,
        (drop(FINGERPRINT, f"{PROPERTIES}/0/percentile_00_5"),),
        finding("PG321", FINGERPRINT, f"{PROPERTIES}/0"),
        twin=(drop(FINGERPRINT, f"{PROPERTIES}/0/max"),),
    ),
)
