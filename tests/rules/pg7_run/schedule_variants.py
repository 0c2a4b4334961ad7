"""PG731 to PG737: trainings that are about to start with another schedule, fold or plans than is meant."""

from __future__ import annotations

from tests.rules.pg7_run.trainings import FULLRES, READY, TRAIN, training_variant
from tests.support.data_folders import CASES, SPLITS, preprocessed
from tests.support.moves import GIVING, MOVED, move
from tests.support.variants import Variant, finding, put, remove
from tests.support.weights import WITH, weights

SLOWLY = (*TRAIN, "-tr", "nnUNetTrainer_500steps_lr1en3")
OTHER_FOLD = {"train": list(CASES[:-1]), "val": [CASES[-1]]}
FOLD_5 = ("3d_fullres", "5", "-device", "cpu")
#: Plans of the pretraining dataset, its data under this one's names, and its labels.
MIGRATED = (
    move(),
    *READY,
    preprocessed("PretrainPlans_3d_fullres", of=GIVING),
    *(
        put(f"{root}/dataset.json", "/labels", {"background": 0, "kidney": 1, "cyst": 2})
        for root in ("raw", "preprocessed")
    ),
)

VARIANTS: tuple[Variant, ...] = (
    training_variant(
        "fine-tuned-at-the-stock-rate",
        "PG731",
        weights(),
        training=(*TRAIN, *WITH),
        twin=(weights(),),
        twin_training=(*SLOWLY, *WITH),
    ),
    training_variant(
        "fine-tuned-in-steps-at-the-stock-rate",
        "PG731",
        weights(),
        training=(*TRAIN, "-tr", "nnUNetTrainer_500steps", *WITH),
        twin=(weights(),),
        twin_training=(*SLOWLY, *WITH),
    ),
    training_variant(
        "sixth-fold-of-five", "PG732", training=FOLD_5, at=(SPLITS, ""), twin=(put(SPLITS, "/-", OTHER_FOLD),)
    ),
    training_variant(
        "sixth-fold-of-none", "PG732", remove(SPLITS), training=FOLD_5, twin=(remove(SPLITS),), twin_training=TRAIN
    ),
    training_variant(
        "a-hundred-epochs", "PG734", training=(*TRAIN, "-tr", "nnUNetTrainer_100epochs"), twin_training=TRAIN
    ),
    training_variant(
        "steps-with-a-zero-before-them",
        "PG735",
        training=(*TRAIN, "-tr", "nnUNetTrainer_0500steps"),
        twin_training=(*TRAIN, "-tr", "nnUNetTrainer_500steps"),
    ),
    training_variant("migrated-plans-forgotten", "PG736", move(), training=TRAIN),
    Variant(
        "weights-of-migrated-plans-forgotten",
        "Dataset002_FinetuneCT",
        MIGRATED,
        finding("PG737", MOVED, FULLRES),
        (*MIGRATED, weights(of=MOVED)),
        training=(*TRAIN, "-p", "PretrainPlans"),
        twin_training=(*SLOWLY, "-p", "PretrainPlans", *WITH),
    ),
)
