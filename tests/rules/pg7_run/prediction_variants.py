"""PG753 to PG755: predictions that are about to start."""

from __future__ import annotations

import json
from pathlib import Path

from tests.support import checkpoints
from tests.support.variants import DATASET_JSON, PLANS, Variant, finding, place, written

CT, CASCADE = "Dataset001_PretrainCT", "Dataset005_CascadeCT"
MODEL = "results/nnUNetTrainer__nnUNetPlans__3d_fullres"
CASCADE_MODEL = "results/nnUNetTrainer__nnUNetPlans__3d_cascade_fullres"
IMAGE = written("images/new_0000.nii.gz", "")
FOLDERS = ("-i", "{workspace}/images", "-o", "{workspace}/out", "-device", "cpu")
PREDICT = ("nnUNetv2_predict", "-d", "1", "-c", "3d_fullres", *FOLDERS)
PREDICT_CASCADE = ("nnUNetv2_predict", "-d", "5", "-c", "3d_cascade_fullres", "-f", "0", *FOLDERS)


def cascade_model(workspace: Path, dataset: str) -> None:
    """Write a model of the second stage of the cascade."""
    plans, dataset_json = (json.loads(place(workspace, dataset, file).read_bytes()) for file in (PLANS, DATASET_JSON))
    folder = place(workspace, dataset, CASCADE_MODEL)
    checkpoints.write(folder / "fold_0/checkpoint_final.pth", plans, dataset_json, "3d_cascade_fullres")
    for name, value in (("plans", plans), ("dataset", dataset_json)):
        (folder / f"{name}.json").write_text(json.dumps(value, indent=4))


VARIANTS: tuple[Variant, ...] = (
    Variant(
        "prediction-with-a-fold-that-is-not-there",
        CT,
        (IMAGE,),
        finding("PG753", MODEL),
        twin=(IMAGE,),
        command=(*PREDICT, "-f", "all"),
        twin_command=(*PREDICT, "-f", "0"),
    ),
    Variant(
        "prediction-for-images-without-a-channel",
        CT,
        (written("images/new.nii.gz", ""),),
        finding("PG754", "images"),
        twin=(IMAGE,),
        command=(*PREDICT, "-f", "0"),
    ),
    Variant(
        "prediction-of-a-cascade-by-itself",
        CASCADE,
        (cascade_model, IMAGE),
        finding("PG755", f"{CASCADE_MODEL}/plans.json", "/configurations/3d_cascade_fullres/previous_stage"),
        twin=(cascade_model, IMAGE, written("before/new.nii.gz", "")),
        command=PREDICT_CASCADE,
        twin_command=(*PREDICT_CASCADE, "-prev_stage_predictions", "{workspace}/before"),
    ),
)
