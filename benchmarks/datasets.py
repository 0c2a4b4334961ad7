"""Compare a check of many datasets with json.load of the same files, for 100 to 5,000 datasets.

The datasets are the fixtures, without raw images and results. Each has spacings, intensities and names of cases of its
own; networks and functions recur, as in real workspaces: 60 configurations of the corpus have 18 networks. Times are
of the processor, user and system. The two sides take turns in one process. The ratio is the median over the rounds: of
the best rounds, those of json.load would be better, since a short measurement finds a fast moment more easily.
The process runs in the folder of the datasets: the settings of this project are not those of the check.
The peak of memory is that of the process.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

from memory import OWN_PEAK

ROOT = Path(__file__).resolve().parents[1]
DATASETS = (100, 1_000, 5_000)
CHECKED = 10_000  # at least seven rounds, and so many datasets in all
LIMIT = 8.0  # times as long as json.load
LINEAR = 1.3  # the longest per dataset against the shortest
PEAK = 150  # MiB

#: Checks a folder several times, and prints as JSON the processor seconds of both sides in the round of the median
#: ratio, and the peak of memory in KiB.
MEASURE = """
import json, pathlib, sys, time
from plansguard import check

folder, rounds = pathlib.Path(sys.argv[1]), int(sys.argv[2])
files = sorted(map(str, folder.glob("*/*.json")))

def ours():
    report = check([folder])
    assert (report.documents, report.findings) == (len(files), ()), report.findings[:3]

def theirs():
    for path in files:
        with open(path) as file:
            json.load(file)

def seconds(side):
    start = time.process_time()
    side()
    return time.process_time() - start

times = sorted(((seconds(ours), seconds(theirs)) for _ in range(rounds)), key=lambda round: round[0] / round[1])
print(json.dumps([*times[rounds // 2], OWN_PEAK]))
""".replace("OWN_PEAK", OWN_PEAK)


class Figures(NamedTuple):
    """Processor seconds of both sides for a number of datasets, and the peak of memory in MiB."""

    datasets: int
    ours: float
    theirs: float
    peak: float

    @property
    def ratio(self) -> float:
        return self.ours / self.theirs

    @property
    def row(self) -> str:
        each = self.ours / self.datasets * 1e3
        return (
            f"| {self.datasets:,} | {self.ours:.2f} | {each:.2f} | {self.theirs:.2f} | {self.ratio:.1f} | {LIMIT:.1f} "
            f"| {self.peak:.0f} | {PEAK} |"
        )


HEADER = [
    "| datasets | check (s) | a dataset (ms) | json.load (s) | ratio | limit | peak (MiB) | limit |",
    "|---|---|---|---|---|---|---|---|",
]


def table() -> tuple[list[str], bool]:
    """Return lines of Markdown, and whether ratios and memory are within their limits and the check is linear."""
    figures = []
    for count in DATASETS:
        with tempfile.TemporaryDirectory() as folder:
            figures.append(measure(copy_datasets(Path(folder) / "nnUNet_preprocessed", count), count))
    each = [one.ours / one.datasets for one in figures]
    spread = max(each) / min(each)
    linear = f"The slowest number takes {spread:.2f} times as long a dataset as the fastest (limit {LINEAR:.2f})."
    fine = spread <= LINEAR and all(one.ratio <= LIMIT and one.peak <= PEAK for one in figures)
    return [*HEADER, *(one.row for one in figures), "", linear], fine


def copy_datasets(root: Path, count: int) -> Path:
    """Create ``count`` datasets from the fixtures in turn."""
    sources = sorted((ROOT / "fixtures/workspace/nnUNet_preprocessed").iterdir())
    for number in range(count):
        source, name = sources[number % len(sources)], f"Dataset{number + 1:04d}_Copy"
        shutil.copytree(source, root / name)
        for path in (root / name).iterdir():
            value = json.loads(path.read_text(encoding="utf-8").replace(source.name, name))
            path.write_text(json.dumps(varied(value, number, ""), indent=4), encoding="utf-8")
    return root


#: Fields that are scaled, and statistics that are moved.
SCALED = ("spacing", "spacings", "original_median_spacing_after_transp")
MOVED = ("max", "mean", "median", "min", "percentile_00_5", "percentile_99_5")


def varied(value: Any, number: int, key: str) -> Any:
    """Return a value of a document for the dataset of this number."""
    if isinstance(value, dict):
        return {name: varied(item, number, key if key in SCALED else name) for name, item in value.items()}
    if isinstance(value, list):
        return [varied(item, number, key) for item in value]
    if key in SCALED:
        return value * (1 + number / 10_000)
    if key in MOVED:
        return value + number / 100
    return f"{value}_{number}" if key in ("train", "val") else value


def measure(root: Path, count: int) -> Figures:
    """Return the median round, after the new files are on disk: writing them takes processor time."""
    os.sync()
    rounds = max(7, CHECKED // count)
    variables = ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results")
    environment = {name: value for name, value in os.environ.items() if name not in variables}
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, str(root), str(rounds)],
        cwd=root,
        env={**environment, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    ours, theirs, peak = json.loads(done.stdout)
    return Figures(count, ours, theirs, peak / 1024)


if __name__ == "__main__":
    print(*table()[0], sep="\n")
