"""Compare a check of a dataset of 100,000 cases that writes a page with the same check without one.

Both are whole processes, which alternate; the figures are medians. Spacings and sizes of the cases all differ.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import commands

CASES, ROUNDS = 100_000, 5
LIMIT, MEGABYTES = 3.0, 2.0
OURS = [sys.executable, "-c", "from plansguard.cli import main; main()", "check", "-d", "900"]
PAGE = "page.html"


def table() -> tuple[list[str], bool]:
    """Return lines of Markdown, and whether ratio and size are within their limits."""
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        environment = commands.prepare(scratch)
        spread(scratch / "workspace/nnUNet_preprocessed" / commands.MANY)
        times: tuple[list[float], list[float]] = ([], [])
        for _ in range(ROUNDS):
            for options, record in zip((["--output", f"html={PAGE}"], []), times, strict=True):
                start = time.perf_counter()
                subprocess.run([*OURS, *options], cwd=scratch, env=environment, check=True, capture_output=True)
                record.append(time.perf_counter() - start)
        size = (scratch / PAGE).stat().st_size / 1e6
    page, alone = map(statistics.median, times)
    row = f"| {CASES:,} | {page:.2f} | {alone:.2f} | {page / alone:.2f} | {LIMIT:.1f} | {size:.2f} | {MEGABYTES:.1f} |"
    head = "| cases | check with a page (s) | check (s) | ratio | limit | page (MB) | limit |"
    return [head, "|---|---|---|---|---|---|---|", row], page / alone <= LIMIT and size <= MEGABYTES


def spread(folder: Path) -> None:
    """Make a dataset of many cases, no two of which have the same spacing and size."""
    commands.repeat_cases(folder, CASES)
    path = folder / "dataset_fingerprint.json"
    fingerprint = json.loads(path.read_text(encoding="utf-8"))
    for index, (spacing, shape) in enumerate(
        zip(fingerprint["spacings"], fingerprint["shapes_after_crop"], strict=True)
    ):
        share = 0.999 + index / CASES / 500
        fingerprint["spacings"][index] = [mm * share for mm in spacing]
        fingerprint["shapes_after_crop"][index] = [voxels + index % 3 - 1 for voxels in shape]
    path.write_text(json.dumps(fingerprint, indent=4), encoding="utf-8")
