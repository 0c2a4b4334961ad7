"""PG40x: plans edited or not used after a move, which the real `migrate` makes."""

from __future__ import annotations

from pathlib import Path

from tests.support.moves import GIVING, MOVED, RECEIVING, move
from tests.support.variants import PLANS, Edit, Variant, copy, finding, place, put

CONFIGURATION = "/configurations/3d_fullres"
RESULTS = "results/nnUNetTrainer__nnUNetPlans__3d_fullres"


def started_from(dataset: str | None) -> Edit:
    """Write the training record of a training from weights of this dataset, or of one from random weights."""

    def edit(workspace: Path, receiving: str) -> None:
        from tests.support.training_records import leave  # it imports the variants

        weights = None if dataset is None else place(workspace, dataset, f"{RESULTS}/fold_0/checkpoint_final.pth")
        leave(workspace, depth="none", trainer="nnUNetTrainer", weights=weights)

    return edit


VARIANTS: tuple[Variant, ...] = (
    Variant(
        "stride-edited-after-the-move",
        RECEIVING,
        (move(), put(MOVED, f"{CONFIGURATION}/architecture/arch_kwargs/strides/4/0", 1)),
        finding("PG401", MOVED, f"{CONFIGURATION}/architecture/arch_kwargs/strides/4/0"),
        twin=(move(), put(MOVED, "/note", "a key that nnU-Net does not know")),
    ),
    Variant(
        "spacing-edited-after-the-move",
        RECEIVING,
        (move(), put(MOVED, f"{CONFIGURATION}/spacing/0", 2.0)),
        finding("PG402", MOVED, f"{CONFIGURATION}/spacing/0"),
        twin=(move(),),
    ),
    Variant(
        "clip-value-edited-after-the-move",
        RECEIVING,
        (move(), put(MOVED, "/foreground_intensity_properties_per_channel/0/mean", 64.0)),
        finding("PG402", MOVED, "/foreground_intensity_properties_per_channel/0/mean"),
    ),
    Variant(
        "normalization-edited-after-the-move",
        RECEIVING,
        (move(), put(MOVED, f"{CONFIGURATION}/normalization_schemes/0", "RescaleTo01Normalization")),
        finding("PG402", MOVED, f"{CONFIGURATION}/normalization_schemes/0")
        | finding("PG305", MOVED, f"{CONFIGURATION}/normalization_schemes/0"),
    ),
    Variant(
        "patch-edited-after-the-move",
        RECEIVING,
        (move(), put(MOVED, f"{CONFIGURATION}/patch_size/0", 40)),
        finding("PG403", MOVED, f"{CONFIGURATION}/patch_size/0"),
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
        (move(), copy(PLANS, f"{RESULTS}/plans.json"), started_from(GIVING)),
        finding("PG405", MOVED),
        twin=(move(), copy(PLANS, f"{RESULTS}/plans.json"), started_from(None)),
    ),
)
