"""Compare preprocessing on two Dask workers with nnU-Net's own command and two processes, as whole commands.

The cases are hard links to a few small ones. The commands take turns, and the one that begins changes with each pair;
the pace is the median over the pairs. The workers have loaded nnU-Net before, as those of a cluster have; nnU-Net's
command loads it itself. The time per case is that of the command without that of ``--dry-run``, which lists the cases
and compares the workers as well.
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
sys.path.append(str(ROOT))

from tests.support.dask_workers import dask_cluster  # noqa: E402

DATASET, PLANS, CONFIGURATION = "Dataset002_FinetuneCT", "nnUNetPlans", "3d_fullres"
FOLDERS = ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results")
#: Number of cases: pairs of commands.
SIZES = {50: 3, 500: 3}
PACE = 0.9  # of nnU-Net's own, at least
#: Dask would return freed memory at once, as docs/howto/dask.md explains.
MEMORY = {"MALLOC_TRIM_THRESHOLD_": "134217728", "MALLOC_MMAP_THRESHOLD_": "33554432"}
CONSTANT = 1.3  # the time per case of the most cases against that of the fewest


class Figures(NamedTuple):
    """Seconds of ours, theirs and a dry run; the median of the paces; milliseconds per case."""

    ours: float
    theirs: float
    pace: float
    per_case: float


def table() -> tuple[list[str], bool]:
    """Return lines of Markdown, and whether the pace and the time per case are within their limits."""
    with tempfile.TemporaryDirectory() as folder, dask_cluster(Path(folder), MEMORY) as address:
        figures = {cases: measure(workspace(Path(folder, str(cases)), cases), cases, address) for cases in SIZES}
    lines = [
        "| cases | two workers (s) | `nnUNetv2_preprocess -np 2` (s) | pace | limit | a case (ms) |",
        "|---|---|---|---|---|---|",
    ]
    for cases, one in figures.items():
        lines.append(
            f"| {cases:,} | {one.ours:.1f} | {one.theirs:.1f} | {one.pace:.2f} | >= {PACE:.2f} | {one.per_case:.0f} |"
        )
    fewest, *_, most = figures.values()
    growth = most.per_case / fewest.per_case
    lines += [
        "",
        f"Of the most cases, one takes {growth:.2f} times as long as of the fewest (limit {CONSTANT:.2f}).",
    ]
    return lines, growth <= CONSTANT and all(one.pace >= PACE for one in figures.values())


def workspace(root: Path, cases: int) -> dict[str, str]:
    """Make a workspace whose dataset has so many cases; return the environment that names it."""
    shutil.copytree(ROOT / "fixtures/workspace", root)
    raw, preprocessed = root / "nnUNet_raw" / DATASET, root / "nnUNet_preprocessed" / DATASET
    names = [f"case_{number:04d}" for number in range(cases)]
    for folder, ending in (("imagesTr", "_0000.nii.gz"), ("labelsTr", ".nii.gz")):
        given = sorted((raw / folder).iterdir())
        for number, name in enumerate(names):
            os.link(given[number % len(given)], raw / folder / f"{name}{ending}")
        for path in given:
            path.unlink()
    for place in (raw, preprocessed):
        replace(place / "dataset.json", numTraining=cases)
    fingerprint = json.loads((preprocessed / "dataset_fingerprint.json").read_bytes())
    repeated = {key: [fingerprint[key][0]] * cases for key in ("spacings", "shapes_after_crop")}
    replace(preprocessed / "dataset_fingerprint.json", **repeated)
    (preprocessed / "splits_final.json").unlink()
    return {**os.environ, **{name: str(root / name) for name in FOLDERS}, "PYTHONPATH": str(ROOT)}


def replace(path: Path, **fields: object) -> None:
    """Replace values in a JSON document."""
    path.write_text(json.dumps({**json.loads(path.read_bytes()), **fields}))


def measure(environment: Mapping[str, str], cases: int, address: str) -> Figures:
    """Measure pairs of commands. The first pair is not counted."""
    ours = [sys.executable, "-m", "plansguard", "preprocess", "-d", "2", "-p", PLANS, "-c", CONFIGURATION]
    ours += ["--dask", address, "--yes"]
    theirs = [str(Path(sys.executable).with_name("nnUNetv2_preprocess")), "-d", "2", "-plans_name", PLANS]
    theirs += ["-c", CONFIGURATION, "-np", "2"]
    times: list[dict[str, float]] = []
    for number in range(SIZES[cases] + 1):
        sides = {"ours": ours, "theirs": theirs, "start": [*ours, "--dry-run"]}
        names = sorted(sides, reverse=bool(number % 2))
        times.append({name: seconds(sides[name], environment) for name in names})
    del times[0]
    middle = {name: statistics.median(one[name] for one in times) for name in times[0]}
    pace = statistics.median(one["theirs"] / one["ours"] for one in times)
    per_case = statistics.median(one["ours"] - one["start"] for one in times) / cases * 1000
    return Figures(middle["ours"], middle["theirs"], pace, per_case)


def seconds(command: Sequence[str], environment: Mapping[str, str]) -> float:
    """Run a command, and return how long it took."""
    start = time.perf_counter()
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    taken = time.perf_counter() - start
    assert done.returncode == 0, done.stdout + done.stderr
    return taken


if __name__ == "__main__":
    print(*table()[0], sep="\n")
