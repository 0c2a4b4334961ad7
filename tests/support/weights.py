"""Edits that add weights for fine-tuning to a workspace, and plans that belong to them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.support import checkpoints
from tests.support.variants import DATASET_JSON, PLANS, Edit, place

CT, MR, CASCADE = "Dataset002_FinetuneCT", "Dataset003_TwoChannelMR", "Dataset005_CascadeCT"
PRETRAINED = "Dataset001_PretrainCT"
#: Labels of the training that made the weights.
LABELS = {"background": 0, "tumour": 1}
FULLRES = "/configurations/3d_fullres"
MODEL = "results/nnUNetTrainer__nnUNetPlans__3d_fullres"
CHECKPOINT = f"{MODEL}/fold_0/checkpoint_final.pth"
#: The file of the weights in the workspace, and the option that names it.
WEIGHTS = "checkpoint_final.pth"
WITH = ("-pretrained_weights", WEIGHTS)

Change = Callable[[dict[str, Any], dict[str, Any]], object]


def weights(
    configuration: str = "3d_fullres",
    *,
    of: str = PLANS,
    dataset_json: dict[str, Any] | None = None,
    change: Change = lambda plans, dataset_json: None,
    to: str = WEIGHTS,
    **options: Any,
) -> Edit:
    """Write weights of a training with the dataset's own plans, as they are at that moment, but with other labels.

    ``dataset_json`` are other fields of the training's dataset.json; ``change`` edits plans and dataset.json first.
    """

    def edit(workspace: Path, dataset: str) -> None:
        plans = json.loads(place(workspace, dataset, of).read_bytes())
        training_json = json.loads(place(workspace, dataset, DATASET_JSON).read_bytes())
        training_json.update(labels=LABELS)
        training_json.update(dataset_json or {})
        change(plans, training_json)
        path = place(workspace, dataset, to) if to.startswith("results/") else workspace / to
        checkpoints.write(path, plans, training_json, configuration, **options)

    return edit


def saved(content: Callable[[], Any], to: str = WEIGHTS) -> Edit:
    """Write another object as torch saves it."""

    def edit(workspace: Path, dataset: str) -> None:
        checkpoints.save(workspace / to, content())

    return edit


def second_channel(name: str) -> Change:
    """Add a channel of this name to dataset.json."""

    def change(plans: dict[str, Any], dataset_json: dict[str, Any]) -> None:
        dataset_json["channel_names"]["1"] = name

    return change


def beside(file: str, name: str, **changes: Any) -> Edit:
    """Copy plans under another name, with these fields of 3d_fullres changed."""

    def edit(workspace: Path, dataset: str) -> None:
        plans = json.loads(place(workspace, dataset, file).read_bytes())
        plans["plans_name"] = name
        plans["configurations"]["3d_fullres"].update(changes, data_identifier=f"{name}_3d_fullres")
        place(workspace, dataset, f"preprocessed/{name}.json").write_text(json.dumps(plans, indent=4))

    return edit
