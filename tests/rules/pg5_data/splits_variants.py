"""PG514 to PG516, PG527: splits against preprocessed cases."""

from __future__ import annotations

import json
from pathlib import Path

from tests.support.data_folders import CT, DATA, DATA_IDENTIFIER, MEMBERS, ONLY, SPLITS, both
from tests.support.variants import PLANS, Edit, Variant, finding, place, put, remove, rewrite


def change_splits(fold: int, side: str, cases: list[str]) -> Edit:
    """Replace one list of one fold by ``cases``."""
    return put(SPLITS, f"/{fold}/{side}", cases)


def without_case(case: str) -> Edit:
    """Remove a case from the splits."""

    def edit(workspace: Path, dataset: str) -> None:
        path = place(workspace, dataset, SPLITS)
        folds = json.loads(path.read_text())
        kept = [
            {side: [name for name in fold[side] if name != case] or ["fine_000", "fine_001"] for side in fold}
            for fold in folds
        ]
        path.write_text(json.dumps(kept))

    return edit


#: Four of the five cases, for the configuration that is checked.
FOUR = tuple(remove(f"preprocessed/{DATA}/fine_004{ending}") for ending in MEMBERS)
TRAIN_ALL = ("3d_fullres", "all", "-device", "cpu")


VARIANTS: tuple[Variant, ...] = (
    Variant(
        "four-cases-for-five-folds",
        CT,
        both(remove(SPLITS), *FOUR),
        finding("PG527", "preprocessed") | finding("PG505", PLANS, DATA_IDENTIFIER),
        twin=both(remove(SPLITS)),
        options=ONLY,
    ),
    Variant(
        "every-fold-is-the-same",
        CT,
        (rewrite(SPLITS, lambda text: json.dumps([json.loads(text)[0]] * 5)),),
        finding("PG528", SPLITS, "/1"),
        twin=(rewrite(SPLITS, lambda text: json.dumps(json.loads(text)[:1])),),
    ),
    Variant(
        "no-fold-in-the-splits",
        CT,
        both(rewrite(SPLITS, lambda _: "[]")),
        finding("PG516", SPLITS),
        twin=both(),
        options=ONLY,
    ),
    Variant(
        "fold-all-of-no-folds",
        CT,
        both(rewrite(SPLITS, lambda _: "[]")),
        finding("PG516", SPLITS),
        twin=both(),
        training=TRAIN_ALL,
    ),
    Variant(
        "unknown-case-in-the-splits",
        CT,
        both(put(SPLITS, "/0/train/-", "fine_777")),
        finding("PG514", SPLITS, "/0/train/4"),
        twin=both(),
        options=ONLY,
    ),
    Variant(
        "case-in-no-fold",
        CT,
        both(without_case("fine_003")),
        finding("PG515", SPLITS) | finding("PG516", SPLITS, "/2/val/0"),
        twin=both(),
        options=ONLY,
    ),
    Variant(
        "fold-trains-on-what-it-validates",
        CT,
        both(change_splits(1, "val", ["fine_000", "fine_001"])),
        finding("PG516", SPLITS, "/1/val/0"),
        twin=both(),
        options=ONLY,
    ),
    Variant(
        "fold-without-validation",
        CT,
        both(change_splits(1, "val", [])),
        finding("PG516", SPLITS, "/1/val"),
        twin=both(),
        options=ONLY,
    ),
)
