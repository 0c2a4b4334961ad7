"""PG746, PG747: trainings that are to begin with the segmentation layers of pretrained weights."""

from __future__ import annotations

import json
from typing import Any

from tests.rules.pg7_run.trainings import FULLRES, TRAIN, training_variant
from tests.support.checkpoints import shapes
from tests.support.variants import DATASET_JSON, PLANS, Edit, Variant, place
from tests.support.weights import WITH, weights

KEEPING = (*TRAIN, "-tr", "nnUNetTrainer_500steps_lr1en3_keephead")
NEW = (*TRAIN, "-tr", "nnUNetTrainer_500steps_lr1en3")
OWN = {"background": 0, "kidney": 1}


def of_labels(labels: dict[str, Any]) -> Edit:
    """Write weights of a training with these labels."""
    return weights(dataset_json={"labels": labels})


def of_an_encoder(workspace: Any, dataset: str) -> None:
    """Write weights whose segmentation layers are missing."""
    plans, dataset_json = (json.loads(place(workspace, dataset, name).read_bytes()) for name in (PLANS, DATASET_JSON))
    stored = {name: shape for name, shape in shapes(plans, dataset_json).items() if ".seg_layers." not in name}
    of_labels(OWN)(workspace, dataset)
    weights(dataset_json={"labels": OWN}, parameters=stored)(workspace, dataset)


def misfit(name: str, edit: Edit, *more: tuple[str, str, str]) -> Variant:
    """A variant whose weights have other segmentation layers than this dataset, and ``more`` findings."""
    return training_variant(
        name,
        "PG747",
        edit,
        training=(*KEEPING, *WITH),
        at=(DATASET_JSON, "/labels"),
        more=more,
        twin=(of_labels(OWN),),
        twin_training=(*KEEPING, *WITH),
    )


VARIANTS: tuple[Variant, ...] = (
    training_variant("head-without-weights", "PG746", training=KEEPING, twin_training=NEW),
    misfit("head-of-another-label", of_labels({"background": 0, "liver": 1})),
    misfit("head-of-more-labels", of_labels({"background": 0, "kidney": 1, "cyst": 2})),
    misfit("head-of-regions", of_labels({"background": 0, "whole": [1, 2], "kidney": 2})),
    misfit("head-that-is-missing", of_an_encoder),
    misfit(
        "head-of-another-label-and-channel",
        weights(dataset_json={"labels": {"background": 0, "liver": 1}, "channel_names": {"0": "T2"}}),
        ("PG625", PLANS, FULLRES),
    ),
)
