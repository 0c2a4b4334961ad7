"""PG315, PG316, PG319: axes, lost spacings, flat volumes."""

from __future__ import annotations

import json
from collections.abc import Callable

from tests.support.moves import move
from tests.support.variants import FINGERPRINT, PLANS, RESENC, Edit, Variant, finding, put, remove, rewrite

CT = "Dataset002_FinetuneCT"
MICROSCOPY = "Dataset006_Microscopy3D"
SPACING = "/configurations/3d_fullres/spacing"
MEDIAN = "/original_median_spacing_after_transp"
MOVED = "preprocessed/PretrainPlans.json"


def of_every_case(key: str, change: Callable[[list[float]], list[float]]) -> Edit:
    """Change the row of every case in the fingerprint."""

    def changed(text: str) -> str:
        fingerprint = json.loads(text)
        return json.dumps({**fingerprint, key: [change(row) for row in fingerprint[key]]})

    return rewrite(FINGERPRINT, changed)


VARIANTS: tuple[Variant, ...] = (
    Variant(
        "spacing-of-x-first",
        MICROSCOPY,
        (put(PLANS, SPACING, [0.4, 0.4, 2.0]),),
        finding("PG315", PLANS, SPACING) | finding("PG308", PLANS, "/configurations/3d_fullres/patch_size"),
        twin=(put(PLANS, SPACING, [1.0, 0.5, 0.4]),),
    ),
    Variant(
        "spacing-of-y-first",
        MICROSCOPY,
        (put(PLANS, SPACING, [0.4, 2.0, 0.4]),),
        finding("PG315", PLANS, SPACING) | finding("PG308", PLANS, "/configurations/3d_fullres/patch_size"),
        twin=(put(PLANS, SPACING, [2.0, 0.4, 5e-324]),),  # not judged: images of infinite size
    ),
    Variant(
        "headers-without-spacing",
        CT,
        (move(), remove(PLANS), remove(RESENC), of_every_case("spacings", lambda row: [1.0, 1.0, 1.0])),
        finding("PG316", MOVED, SPACING) | finding("PG316", MOVED, "/configurations/2d/spacing"),
        twin=(move(), remove(PLANS), remove(RESENC), of_every_case("spacings", lambda row: [1.0, 1.0, 1.1])),
    ),
    Variant(
        "headers-without-spacing-and-plans-of-other-images",
        CT,
        (
            remove(RESENC),
            of_every_case("spacings", lambda row: [1.0, 1.0, 1.0]),
            put(PLANS, SPACING, [1.2, 1.2, 1.2]),
            put(PLANS, MEDIAN, [2.0, 1.0, 1.0]),
        ),
        frozenset(
            {
                ("PG311", PLANS, MEDIAN),
                ("PG316", PLANS, SPACING),
                ("PG316", PLANS, "/configurations/2d/spacing"),
            }
        ),
        # images of 1 mm, and another spacing that was chosen when they were planned
        twin=(
            remove(RESENC),
            of_every_case("spacings", lambda row: [1.0, 1.0, 1.0]),
            put(PLANS, SPACING, [1.2, 1.2, 1.2]),
            put(PLANS, MEDIAN, [1.0, 1.0, 1.0]),
        ),
    ),
    Variant(
        "volumes-of-one-slice",
        CT,
        (move(), remove(PLANS), remove(RESENC), of_every_case("shapes_after_crop", lambda row: [*row[:2], 1])),
        frozenset(
            {
                ("PG308", MOVED, "/configurations/2d/patch_size"),
                ("PG308", MOVED, "/configurations/3d_fullres/patch_size"),
                ("PG319", FINGERPRINT, "/shapes_after_crop"),
            }
        ),
        twin=(move(), remove(PLANS), remove(RESENC)),
    ),
)
