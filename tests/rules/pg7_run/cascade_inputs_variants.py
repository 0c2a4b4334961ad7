"""PG741 to PG743, PG745: trainings that are about to start without what they read."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from tests.rules.pg7_run.trainings import FULLRES, PLANS, READY, TRAIN, training_variant
from tests.support.data_folders import CASES, DATA, SPLITS, STAGES, trained
from tests.support.variants import Edit, Variant, place, remove
from tests.support.weights import WITH, weights

CT = "Dataset002_FinetuneCT"
CASCADE = ("3d_cascade_fullres", "0", "-device", "cpu")
OF_DATA = f"{FULLRES}/data_identifier"


def emptied(file: str) -> Edit:
    """Nothing is left in the folder."""

    def edit(workspace: Path, dataset: str) -> None:
        for path in place(workspace, dataset, file).iterdir():
            path.unlink()

    return edit


def as_fold_all(workspace: Path, dataset: str) -> None:
    """The first stage was trained with fold all in place of fold 0."""
    model = place(workspace, dataset, "results/nnUNetTrainer__nnUNetPlans__3d_lowres")
    (model / "fold_0").rename(model / "fold_all")


def seen_in_pretraining(workspace: Path, dataset: str) -> None:
    """The first validation case of fold 0 is also a case of the pretraining, under another name."""
    splits = json.loads(place(workspace, dataset, SPLITS).read_bytes())
    image = place(workspace, dataset, f"raw/imagesTr/{splits[0]['val'][0]}_0000.nii.gz")
    shutil.copy(image, place(workspace, "Dataset001_PretrainCT", "raw/imagesTr/pre_900_0000.nii.gz"))


def of_another_dataset(plans: dict[str, Any], dataset_json: dict[str, Any]) -> None:
    plans["dataset_name"] = "Dataset001_PretrainCT"


VARIANTS: tuple[Variant, ...] = (
    training_variant(
        "weights-that-saw-the-validation",
        "PG745",
        weights(change=of_another_dataset),
        seen_in_pretraining,
        training=(*TRAIN, "-tr", "nnUNetTrainer_500steps_lr1en3", *WITH),
        twin=(weights(change=of_another_dataset),),
    ),
    Variant("nothing-is-preprocessed", CT, (), frozenset({("PG741", PLANS, OF_DATA)}), READY, training=TRAIN),
    training_variant(
        "data-folder-is-empty-and-so-is-all-else",
        "PG741",
        emptied(f"preprocessed/{DATA}"),
        remove("preprocessed/gt_segmentations"),
        remove("raw/imagesTr"),
        training=TRAIN,
        at=(PLANS, OF_DATA),
        more=(("PG510", "preprocessed/gt_segmentations", ""), ("PG514", SPLITS, "/0/train/0")),
    ),
    training_variant(
        "first-stage-by-another-trainer",
        "PG742",
        *STAGES,
        trained("3d_lowres", *CASES),
        training=(*CASCADE, "-tr", "nnUNetTrainerNoMirroring"),
        at=(PLANS, "/configurations/3d_cascade_fullres/previous_stage"),
        twin=(*STAGES, trained("3d_lowres", *CASES)),
        twin_training=CASCADE,
    ),
    training_variant(
        "first-stage-of-all-cases",
        "PG743",
        *STAGES,
        trained("3d_lowres", *CASES),
        as_fold_all,
        training=CASCADE,
        at=(PLANS, "/configurations/3d_cascade_fullres/previous_stage"),
        twin=(*STAGES, trained("3d_lowres", *CASES)),
    ),
)
