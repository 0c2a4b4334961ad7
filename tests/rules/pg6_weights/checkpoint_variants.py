"""PG60x, PG61x: checkpoints in model folders, and what a file of weights contains."""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path
from typing import Any

from tests.support import checkpoints
from tests.support.variants import PLANS, Edit, Variant, finding, place, put, truncate
from tests.support.weights import CHECKPOINT, CT, FULLRES, MODEL, PRETRAINED, WEIGHTS, WITH, saved, weights


def bare() -> Any:
    """A bare state dict."""
    storage = checkpoints.Storage("0", "cpu")
    return OrderedDict({"encoder.weight": checkpoints.Zeros((8, 1, 3, 3, 3), storage)})


def rewritten(file: str, content: bytes) -> Edit:
    """Replace the bytes of the file."""

    def edit(workspace: Path, dataset: str) -> None:
        place(workspace, dataset, file).write_bytes(content)

    return edit


def without_storage(file: str) -> Edit:
    """Remove a storage from the zip archive, as a repair does that does not find all members."""
    return lambda workspace, dataset: checkpoints.without(place(workspace, dataset, file), "data/0")


def fault(
    name: str, code: str, edit: Edit, *more: Edit, twin: tuple[Edit, ...] = (weights(),), at: str = "", file: str = ""
) -> Variant:
    """A variant with one finding about weights for Dataset002's 3d_fullres, by default at the checkpoint."""
    return Variant(name, CT, (edit, *more), finding(code, file or WEIGHTS, at), twin, WITH)


VARIANTS: tuple[Variant, ...] = (
    Variant(
        "checkpoint-cut-short",
        PRETRAINED,
        (truncate(CHECKPOINT, 100_000),),
        finding("PG601", CHECKPOINT),
        model=MODEL,
    ),
    Variant(
        "checkpoint-is-a-web-page",
        PRETRAINED,
        (rewritten(CHECKPOINT, b"<!DOCTYPE html><title>404</title>"),),
        finding("PG601", CHECKPOINT),
        model=MODEL,
    ),
    Variant(
        "checkpoint-without-a-storage",
        PRETRAINED,
        (without_storage(CHECKPOINT),),
        finding("PG602", CHECKPOINT),
        model=MODEL,
    ),
    Variant(
        "checkpoint-from-before-the-plans-were-edited",
        PRETRAINED,
        (put(f"{MODEL}/plans.json", f"{FULLRES}/batch_size", 3),),
        finding("PG610", CHECKPOINT),
        twin=(put(f"{MODEL}/plans.json", "/configurations/2d/batch_size", 3),),
        model=MODEL,
    ),
    fault("weights-under-data-parallel", "PG603", weights(prefix="module.")),
    fault("weights-under-compile-under-ddp", "PG603", weights(prefix="module._orig_mod.")),
    Variant(
        "bare-state-dict",
        CT,
        (saved(bare),),
        finding("PG603", WEIGHTS) | finding("PG607", WEIGHTS) | finding("PG623", PLANS, f"{FULLRES}/architecture"),
        (weights(),),
        (*WITH, "-c", "3d_fullres"),
    ),
    fault("weights-that-run-a-command", "PG604", weights(extra=checkpoints.Named("posix", "system")("true"))),
    fault("weights-from-a-gpu", "PG605", weights(location="cuda:0"), twin=(weights(location="cpu"),)),
    fault("weights-of-an-early-epoch", "PG606", weights(epoch=40), twin=(weights(epoch=1000),)),
    fault(
        "epochs-in-the-name",
        "PG606",
        weights(epoch=249, trainer="nnUNetTrainer_250epochs"),
        twin=(weights(epoch=250, trainer="nnUNetTrainer_250epochs"),),
    ),
    fault(
        "weights-of-an-early-step",
        "PG606",
        weights(epoch=2, trainer="nnUNetTrainer", steps={"trainer": "nnUNetTrainer_900steps", "step": 500}),
        twin=(weights(epoch=4, trainer="nnUNetTrainer", steps={"trainer": "nnUNetTrainer_900steps", "step": 900}),),
    ),
    Variant(
        "best-beside-final",
        CT,
        (weights(), weights(to="checkpoint_best.pth", epoch=990)),
        finding("PG606", "checkpoint_best.pth"),
        (weights(to="checkpoint_best.pth"),),
        ("-pretrained_weights", "checkpoint_best.pth"),
    ),
    fault("weights-without-plans", "PG607", weights(init_args=None, trainer_name=None)),
    fault(
        "weights-of-a-diverged-training",
        "PG611",
        weights(value=b"\0\0\xc0\x7f"),
        twin=(weights(value=b"\0\0\x80\x3f"),),
    ),
    fault("custom-trainer", "PG608", weights(trainer="nnUNetTrainer_ofAChallenge")),
    fault("batch-normalization", "PG609", weights(trainer="nnUNetTrainerBN")),
)
