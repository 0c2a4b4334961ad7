"""Compare the audit of headers with os.stat and open of the same files, in folders of 1,000 to 20,000 cases.

Ten cases are written as nnU-Net 2.8 writes them: Blosc2 arrays in its chunks, and a pickle with ten thousand locations
per class. Hard links make many of them, so both sides find every file in the cache: what is left is what the audit does
itself, which a slow disk would hide. Times are of the processor, user and system, which is what a clock shows where the
machine does nothing else. The two sides take turns, and the figure of each is its best round.
"""

from __future__ import annotations

import os
import pickle
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import blosc2
import numpy as np

from plansguard.artefacts.data.audit import audit
from plansguard.artefacts.data.expectation import Expectation
from plansguard.artefacts.data.workers import Pool

CASES = (1_000, 5_000, 20_000)
ROUNDS, READ = 9, 60_000  # at least so many rounds, and so many cases read in all
LIMIT = 6.0  # times as long as os.stat and open
LINEAR = 1.3  # the longest per case against the shortest
KINDS = 10
SPACING, TARGET = (3.0, 0.8, 0.8), (2.5, 0.8, 0.8)
CLASSES = (1, 2, 3)


class Figures(NamedTuple):
    """CPU seconds of both sides for a number of cases."""

    cases: int
    ours: float
    theirs: float

    @property
    def ratio(self) -> float:
        return self.ours / self.theirs

    @property
    def row(self) -> str:
        each = self.ours / self.cases * 1e6
        return f"| {self.cases:,} | {self.ours:.3f} | {each:.0f} | {self.theirs:.3f} | {self.ratio:.2f} | {LIMIT:.2f} |"


HEADER = ["| cases | audit (s) | a case (µs) | stat + open (s) | ratio | limit |", "|---|---|---|---|---|---|"]


def table() -> tuple[list[str], bool]:
    """Return lines of Markdown, and whether every ratio is within its limit and the audit is linear."""
    with tempfile.TemporaryDirectory() as folder:
        originals = Path(folder) / "originals"
        originals.mkdir()
        for number in range(KINDS):
            write_case(originals, number)
        figures = [measure(multiply(originals, Path(folder) / str(count), count)) for count in CASES]
    each = [one.ours / one.cases for one in figures]
    spread = max(each) / min(each)
    linear = f"The slowest size takes {spread:.2f} times as long a case as the fastest (limit {LINEAR:.2f})."
    fine = spread <= LINEAR and all(one.ratio <= LIMIT for one in figures)
    return [*HEADER, *(one.row for one in figures), "", linear], fine


def write_case(folder: Path, number: int) -> None:
    """Save one case as nnUNetDatasetBlosc2.save_case does; cropped to (20 + number, 64, 64) voxels, then resampled."""
    random = np.random.default_rng(number)
    cropped = (20 + number, 64, 64)
    shape = tuple(round(own / new * extent) for own, new, extent in zip(SPACING, TARGET, cropped, strict=True))
    image = random.standard_normal((1, *shape), dtype="float32")
    for array, ending in ((image, ""), (random.integers(0, 4, image.shape, "int16"), "_seg")):
        path = str(folder / f"{number}{ending}.b2nd")
        options = {"codec": blosc2.Codec.LZ4HC, "clevel": 5}
        blosc2.asarray(array, urlpath=path, chunks=image.shape, blocks=(1, 16, 32, 32), cparams=options)
    properties = {
        "sitk_stuff": {"spacing": SPACING[::-1], "origin": (0.0, 0.0, 0.0), "direction": (1.0, 0, 0, 0, 1, 0, 0, 0, 1)},
        "spacing": [np.float64(mm) for mm in SPACING],
        "shape_before_cropping": cropped,
        "bbox_used_for_cropping": [[0, extent] for extent in cropped],
        "shape_after_cropping_and_before_resampling": cropped,
        "class_locations": {label: random.integers(0, 20, (10_000, 4)) for label in CLASSES},
    }
    (folder / f"{number}.pkl").write_bytes(pickle.dumps(properties, protocol=4))


def multiply(originals: Path, folder: Path, count: int) -> Path:
    """Create ``count`` cases: hard links to the originals in turn."""
    folder.mkdir()
    for number in range(count):
        for ending in (".b2nd", "_seg.b2nd", ".pkl"):
            os.link(originals / f"{number % KINDS}{ending}", folder / f"case_{number:05d}{ending}")
    return folder


def measure(folder: Path) -> Figures:
    """Return the best round of both sides."""
    paths = sorted(str(path) for path in folder.iterdir())
    expectation = Expectation(1, TARGET, (0, 1, 2), frozenset(CLASSES))

    def ours() -> None:
        result = audit(folder, expectation, pool=Pool())
        assert (result.faults, 3 * result.read) == ({}, len(paths))

    def theirs() -> None:
        for path in paths:
            os.stat(path)  # noqa: PTH116 - what is compared with
            with open(path, "rb"):  # noqa: PTH123
                pass

    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(max(ROUNDS, 3 * READ // len(paths))):
        for side, record in zip((ours, theirs), times, strict=True):
            record.append(seconds(side))
    return Figures(len(paths) // 3, *map(min, times))


def seconds(work: Callable[[], None]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start
