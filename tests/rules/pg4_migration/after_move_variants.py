"""PG40x: plans edited or not used after a move, which the real `migrate` makes."""

from __future__ import annotations

import os

from tests.support.moves import GIVING, MOVED, RECEIVING, move
from tests.support.variants import PLANS, Edit, Variant, copy, finding, place, put

CONFIGURATION = "/configurations/3d_fullres"
RESULTS = "results/nnUNetTrainer__nnUNetPlans__3d_fullres"
#: Seconds since 1970, before and after any migration: in 2001 and in 2096.
EARLIER, LATER = 10**9, 4 * 10**9


def written_at(file: str, seconds: int) -> Edit:
    """Set the file's time."""
    return lambda workspace, dataset: os.utime(place(workspace, dataset, file), (seconds, seconds))


VARIANTS: tuple[Variant, ...] = (
    Variant(
        "stride-edited-after-the-move",
        RECEIVING,
        (move(), put(MOVED, f"{CONFIGURATION}/architecture/arch_kwargs/strides/4/0", 1)),
        finding("PG401", MOVED, f"{CONFIGURATION}/architecture/arch_kwargs/strides"),
        twin=(move(), put(MOVED, "/note", "a key that nnU-Net does not know")),
    ),
    Variant(
        "spacing-edited-after-the-move",
        RECEIVING,
        (move(), put(MOVED, f"{CONFIGURATION}/spacing/0", 2.0)),
        finding("PG402", MOVED, f"{CONFIGURATION}/spacing"),
        twin=(move(),),
    ),
    Variant(
        "clip-value-edited-after-the-move",
        RECEIVING,
        (move(), put(MOVED, "/foreground_intensity_properties_per_channel/0/mean", 64.0)),
        finding("PG402", MOVED, "/foreground_intensity_properties_per_channel"),
    ),
    Variant(
        "normalization-edited-after-the-move",
        RECEIVING,
        (move(), put(MOVED, f"{CONFIGURATION}/normalization_schemes/0", "RescaleTo01Normalization")),
        finding("PG402", MOVED, f"{CONFIGURATION}/normalization_schemes")
        | finding("PG305", MOVED, f"{CONFIGURATION}/normalization_schemes/0"),
    ),
    Variant(
        "patch-edited-after-the-move",
        RECEIVING,
        (move(), put(MOVED, f"{CONFIGURATION}/patch_size/0", 40)),
        finding("PG403", MOVED, f"{CONFIGURATION}/patch_size"),
        twin=(move(), put(MOVED, f"{CONFIGURATION}/patch_size/0", 32)),
    ),
    Variant(
        "trained-before-planning-again",
        GIVING,
        (put(PLANS, f"{CONFIGURATION}/batch_size", 3),),
        finding("PG404", PLANS),
        twin=(put(PLANS, "/configurations/2d/batch_size", 3),),
    ),
    Variant(
        "p-forgotten-in-the-last-command",
        RECEIVING,
        (
            move(),
            copy(PLANS, f"{RESULTS}/plans.json"),
            written_at(f"{RESULTS}/plans.json", LATER),
        ),
        finding("PG405", MOVED),
        twin=(
            move(),
            copy(PLANS, f"{RESULTS}/plans.json"),
            written_at(f"{RESULTS}/plans.json", EARLIER),
        ),
    ),
)
