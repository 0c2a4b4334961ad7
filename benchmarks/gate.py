"""Compare the gate before a training on 1,000 cases with nnU-Net's own start, as whole processes.

The cases are hard links to a few that nnU-Net saved, in a complete dataset; the gate must have no finding. The commands
alternate, and the figures are medians.
"""

from __future__ import annotations

import json
import os
import pickle
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from commands import prepare

CASES, KINDS, ROUNDS = 1_000, 10, 7
LIMIT = 0.4  # of nnU-Net's own start, which takes about 5 s: 2 s
DATASET, PLANS, CONFIGURATION = "Dataset002_FinetuneCT", "nnUNetPlans", "3d_fullres"
DATA = f"{PLANS}_{CONFIGURATION}"
SHAPE = (96, 256, 256)

OURS = ["-c", "from plansguard.cli import main; main()", "train", "2", CONFIGURATION, "0", "--steps", "50000"]
OURS += ["-device", "cpu", "--dry-run"]
THEIRS = ["-c", "import nnunetv2.run.run_training"]


def table() -> tuple[list[str], bool]:
    """Return lines of Markdown, and whether the ratio is within its limit."""
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        environment = {**prepare(scratch), "CUDA_VISIBLE_DEVICES": ""}
        fill(scratch / "workspace")
        ours, theirs = measure(scratch, environment)
    ratio = ours / theirs
    row = f"| {CASES:,} | {ours:.0f} | {theirs:.0f} | {ratio:.2f} | {LIMIT:.2f} |"
    return [
        "| cases | gate (ms) | nnU-Net's start (ms) | ratio | limit |",
        "|---|---|---|---|---|",
        row,
    ], ratio <= LIMIT


def measure(scratch: Path, environment: dict[str, str]) -> tuple[float, float]:
    """Return the milliseconds of both sides. The first round is not counted."""
    times: tuple[list[float], list[float]] = ([], [])
    for round_number in range(ROUNDS + 1):
        for arguments, record in zip((OURS, THEIRS), times, strict=True):
            start = time.perf_counter()
            done = subprocess.run(
                [sys.executable, *arguments], cwd=scratch, env=environment, capture_output=True, text=True, check=False
            )
            taken = time.perf_counter() - start
            assert done.returncode == 0, done.stdout + done.stderr
            if round_number:
                record.append(taken)
    ours, theirs = (statistics.median(record) * 1000 for record in times)
    return ours, theirs


def fill(workspace: Path) -> None:
    """Give the dataset 1,000 cases, raw and preprocessed, and documents that declare them."""
    raw, preprocessed = workspace / "nnUNet_raw" / DATASET, workspace / "nnUNet_preprocessed" / DATASET
    names = [f"case_{number:04d}" for number in range(CASES)]
    image, label = next((raw / "imagesTr").iterdir()), next((raw / "labelsTr").iterdir())
    for folder, first in ((raw / "imagesTr", image), (raw / "labelsTr", label)):
        olds = list(folder.iterdir())
        for name in names:
            os.link(first, folder / (f"{name}_0000.nii.gz" if folder.name == "imagesTr" else f"{name}.nii.gz"))
        for old in olds:
            old.unlink()
    (preprocessed / "gt_segmentations").mkdir()
    for name in names:
        os.link(raw / f"labelsTr/{name}.nii.gz", preprocessed / f"gt_segmentations/{name}.nii.gz")
    for place in (raw, preprocessed):
        change(place / "dataset.json", numTraining=CASES)
    plans = json.loads((preprocessed / f"{PLANS}.json").read_bytes())
    spacing = plans["configurations"][CONFIGURATION]["spacing"]
    fingerprint = json.loads((preprocessed / "dataset_fingerprint.json").read_bytes())
    same = {key: [fingerprint[key][0]] * CASES for key in ("spacings", "shapes_after_crop")}
    change(preprocessed / "dataset_fingerprint.json", **same)
    folds = [{"train": [n for n in names if n not in val], "val": val} for val in (names[i::5] for i in range(5))]
    (preprocessed / "splits_final.json").write_text(json.dumps(folds))
    data = preprocessed / DATA
    data.mkdir()
    for kind in range(KINDS):
        save(data / names[kind], plans, spacing, kind)
    for number, name in enumerate(names[KINDS:], KINDS):
        for ending in (".b2nd", "_seg.b2nd", ".pkl"):
            os.link(data / f"{names[number % KINDS]}{ending}", data / f"{name}{ending}")


def change(path: Path, **fields: Any) -> None:
    """Replace values in a JSON document."""
    path.write_text(json.dumps({**json.loads(path.read_bytes()), **fields}))


def save(name: Path, plans: dict[str, Any], spacing: list[float], seed: int) -> None:
    """Save one case as nnU-Net does for these plans: a body of noise, surrounded by air."""
    import numpy as np
    from nnunetv2.training.dataloading.nnunet_dataset import comp_blosc2_params, nnUNetDatasetBlosc2

    rng = np.random.RandomState(seed)
    intensities = plans["foreground_intensity_properties_per_channel"]["0"]
    low, high, mean, std = (intensities[key] for key in ("percentile_00_5", "percentile_99_5", "mean", "std"))
    axes = (np.linspace(-1, 1, length, dtype=np.float32) ** 2 for length in SHAPE)
    body = sum(np.meshgrid(*axes, indexing="ij")) < 1
    image = np.where(body, rng.normal(mean, std, SHAPE), -1000).clip(low, high)
    image = ((image - mean) / std).astype(np.float32)[None]
    segmentation = np.zeros((1, *SHAPE), dtype=np.int16)
    segmentation[0, 40:60, 90:120, 80:110] = 1
    where = np.argwhere(segmentation == 1)
    properties = {
        "sitk_stuff": {"spacing": spacing[::-1], "origin": (0.0, 0.0, 0.0), "direction": (1.0, 0, 0, 0, 1, 0, 0, 0, 1)},
        "spacing": spacing,
        "shape_before_cropping": SHAPE,
        "bbox_used_for_cropping": [[0, extent] for extent in SHAPE],
        "shape_after_cropping_and_before_resampling": SHAPE,
        "class_locations": {1: where[rng.choice(len(where), 10_000)]},
    }
    patch = plans["configurations"][CONFIGURATION]["patch_size"]
    layout: dict[str, Any] = {}
    for array, suffix in ((image, ""), (segmentation, "_seg")):
        layout[f"blocks{suffix}"], layout[f"chunks{suffix}"] = comp_blosc2_params(array.shape, patch, array.itemsize)
    nnUNetDatasetBlosc2.save_case(image, segmentation, properties, str(name), **layout)
    assert pickle.loads(name.with_suffix(".pkl").read_bytes())["spacing"] == spacing


if __name__ == "__main__":
    print(*table()[0], sep="\n")
