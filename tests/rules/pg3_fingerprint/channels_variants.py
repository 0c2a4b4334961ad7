"""PG304 to PG306: channels, normalization and intensities."""

from __future__ import annotations

import json

from tests.support.variants import FIXTURES, PLANS, RESENC, Edit, Variant, copy, drop, finding, in_both, put, remove

MINE = "preprocessed/MyPlans.json"
INTENSITIES = "/foreground_intensity_properties_per_channel"
CT = "Dataset002_FinetuneCT"
MR = "Dataset003_TwoChannelMR"
#: The ResEnc plans share the default plans' data, so an edit of one file alone would be a conflict as well (PG501).
ALONE = remove(RESENC)


def statistics(shift: float = 0, stretch: float = 1) -> dict[str, float]:
    """Return Dataset002's own intensity properties, shifted and stretched."""
    own = json.loads((FIXTURES / "workspace/nnUNet_preprocessed" / CT / "nnUNetPlans.json").read_bytes())
    properties: dict[str, float] = own["foreground_intensity_properties_per_channel"]["0"]
    middle = properties["median"]
    return {
        key: value * stretch if key == "std" else middle + shift + (value - middle) * stretch
        for key, value in properties.items()
    }


def renamed(edit: Edit) -> tuple[Edit, ...]:
    """Plans under a name that no planner uses, edited."""

    def data(configuration: str) -> Edit:
        return put(MINE, f"/configurations/{configuration}/data_identifier", f"MyPlans_{configuration}")

    return copy(PLANS, MINE), put(MINE, "/plans_name", "MyPlans"), data("2d"), data("3d_fullres"), edit


VARIANTS: tuple[Variant, ...] = (
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
        twin=(ALONE, put(PLANS, "/configurations/3d_fullres/use_mask_for_norm", [True, True])),
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
        in_both("/channel_names/0", "MRI"),
        frozenset({("PG305", file, "/configurations/2d/normalization_schemes/0") for file in (PLANS, RESENC)}),
        twin=in_both("/channel_names/0", "ct"),
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
        twin=(ALONE, put(PLANS, f"{INTENSITIES}/0", statistics(shift=1))),
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
        twin=(ALONE, put(PLANS, f"{INTENSITIES}/0", statistics(stretch=1.01))),
    ),
    Variant(
        "mean-far-away",
        CT,
        (ALONE, put(PLANS, f"{INTENSITIES}/0/mean", 127.9)),
        finding("PG306", PLANS, f"{INTENSITIES}/0"),
    ),
)
