"""PG301 to PG303: the fingerprint."""

from __future__ import annotations

from tests.support.variants import (
    DATASET_JSON,
    FINGERPRINT,
    PLANS,
    RESENC,
    Edit,
    Variant,
    drop,
    finding,
    in_both,
    put,
    remove,
)

CT = "Dataset002_FinetuneCT"
CASCADE = "Dataset005_CascadeCT"
#: A fifth case for Dataset005's fingerprint that leaves its medians unchanged.
ONE_MORE = (
    put(FINGERPRINT, "/spacings/-", [1.5, 0.9, 0.9]),
    put(FINGERPRINT, "/shapes_after_crop/-", [210, 320, 316]),
)


def without_case(number: int) -> tuple[Edit, Edit]:
    """Remove a case from the fingerprint."""
    return drop(FINGERPRINT, f"/spacings/{number}"), drop(FINGERPRINT, f"/shapes_after_crop/{number}")


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
        CASCADE,  # without raw images
        ONE_MORE,
        finding("PG303", FINGERPRINT, "/spacings"),
        twin=(*ONE_MORE, *in_both("/numTraining", 5)),
    ),
    Variant(
        "numtraining-alone-is-wrong",
        CT,
        in_both("/numTraining", 9),
        finding("PG303", DATASET_JSON, "/numTraining"),
    ),
)
