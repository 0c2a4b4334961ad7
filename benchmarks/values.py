"""Compare judging the values of preprocessed arrays with reading the same arrays with Blosc2 alone, in one run.

nnU-Net itself saves the arrays.

Both sides are whole processes over the same folder, one thread each, and take turns, so that whatever else the machine
does hits both alike; the figures are medians, and the ratio is that of the medians.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parents[1]
ROUNDS, CASES = 11, 8
LIMIT = 1.5
PATCH = (64, 160, 160)

OURS = """
import sys
from pathlib import Path
from plansguard.artefacts.data.expectation import Expectation
from plansguard.artefacts.data.values import judge_values
from plansguard.nnunet.intensity import ClippedRange
folder, scheme, masked, channels, cases = Path(sys.argv[1]), sys.argv[2], sys.argv[3] == "True", *map(int, sys.argv[4:])
plans = Expectation(
    channels=channels, spacing=None, transpose_forward=(0, 1, 2), class_keys=None, schemes=(scheme,) * channels,
    masked=(masked,) * channels, intensities=(ClippedRange(-900, 200, 50, 80),) * channels, labels=frozenset((0, 1, 2)),
)
for case in range(cases):
    assert not judge_values(folder, f"case_{case}", plans)[0]
"""
THEIRS = """
import sys
import blosc2
for case in range(int(sys.argv[5])):
    for ending in ("", "_seg"):
        blosc2.open(f"{sys.argv[1]}/case_{case}{ending}.b2nd", mode="r", dparams={"nthreads": 1})[:]
"""


class Kind(NamedTuple):
    """Arrays (channels, z, y, x) of one normalization."""

    title: str
    scheme: str
    masked: bool
    shape: tuple[int, int, int, int]


KINDS = (
    Kind("CT, 1 channel", "CTNormalization", False, (1, 96, 320, 320)),
    Kind("MR, z-scored in the mask, 4 channels", "ZScoreNormalization", True, (4, 144, 180, 150)),
)


def table() -> tuple[list[str], bool]:
    """Return lines of Markdown, and whether every ratio is within its limit."""
    lines = ["| values of | ours (ms) | Blosc2 alone (ms) | ratio | limit |", "|---|---|---|---|---|"]
    worst = 0.0
    for kind in KINDS:
        with tempfile.TemporaryDirectory() as folder:
            for case in range(CASES):
                save(kind, Path(folder) / f"case_{case}", case)
            ours, theirs = measure(kind, folder)
        worst = max(worst, ours / theirs)
        lines.append(f"| {CASES} cases, {kind.title} | {ours:.0f} | {theirs:.0f} | {ours / theirs:.2f} | {LIMIT:.2f} |")
    return lines, worst <= LIMIT


def save(kind: Kind, name: Path, seed: int) -> None:
    """Save one case as nnU-Net does: a body of noise, surrounded by zeros."""
    import numpy as np
    from nnunetv2.training.dataloading.nnunet_dataset import comp_blosc2_params, nnUNetDatasetBlosc2

    rng = np.random.RandomState(seed)
    axes = (np.linspace(-1, 1, length, dtype=np.float32) ** 2 for length in kind.shape[1:])
    body = sum(np.meshgrid(*axes, indexing="ij")) < 1
    image = rng.standard_normal(kind.shape).astype(np.float32)
    segmentation = np.where(body, 0, -1 if kind.masked else 0).astype(np.int16)[None]
    segmentation[0, 40:60, 90:120, 80:110] = 1
    if kind.masked:
        image = np.where(body, (image - image[:, body].mean()) / image[:, body].std(), np.float32(0))
    else:
        image = (np.where(body, image * 30 + 60, -1000).clip(-900, 200) - 50) / np.float32(80)
    layout: dict[str, Any] = {}
    for array, suffix in ((image, ""), (segmentation, "_seg")):
        layout[f"blocks{suffix}"], layout[f"chunks{suffix}"] = comp_blosc2_params(array.shape, PATCH, array.itemsize)
    nnUNetDatasetBlosc2.save_case(image.astype(np.float32), segmentation, {}, str(name), **layout)


def measure(kind: Kind, folder: str) -> tuple[float, float]:
    """Return the milliseconds of both sides. The first round is not counted."""
    arguments = [folder, kind.scheme, str(kind.masked), str(kind.shape[0]), str(CASES)]
    times: tuple[list[float], list[float]] = ([], [])
    for round_number in range(ROUNDS + 1):
        for script, record in zip((OURS, THEIRS), times, strict=True):
            start = time.perf_counter()
            command = [sys.executable, "-c", script, *arguments]
            subprocess.run(command, cwd=ROOT, check=True)
            if round_number:
                record.append(time.perf_counter() - start)
    ours, theirs = (statistics.median(record) * 1000 for record in times)
    return ours, theirs
