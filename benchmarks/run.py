"""Run every benchmark, each side by side with what it is compared with.

``make bench`` prints the tables and writes them to benchmarks/results.md. Needs the extras ``train``, ``data`` and
``dask``.
"""

from __future__ import annotations

import os
import platform
import sys
from importlib.metadata import version
from pathlib import Path

import checkpoint
import commands
import datasets
import gate
import headers
import pages
import preprocess
import saving
import trainer
import values

RESULTS = Path(__file__).resolve().parent / "results.md"
BENCHMARKS = {
    "Commands": commands.table,
    "Many datasets": datasets.table,
    "Reading a checkpoint": checkpoint.table,
    "Headers of preprocessed cases": headers.table,
    "Values of preprocessed cases": values.table,
    "The gate before a training": gate.table,
    "Steps of a training": trainer.table,
    "Writing a checkpoint": saving.table,
    "Pages with pictures": pages.table,
    "Preprocessing on a cluster": preprocess.table,
}


def main() -> int:
    """Run all benchmarks; return 1 if one exceeds a limit."""
    kept = True
    text = f"{preamble()}\n"
    for title, table in BENCHMARKS.items():
        lines, fine = table()
        kept = kept and fine
        text += f"\n## {title}\n\n" + "\n".join(lines) + "\n"
        print(f"{title}: {'within its limits' if fine else 'OVER A LIMIT'}", *lines, sep="\n", flush=True)
    RESULTS.write_text(text, encoding="utf-8")
    return 0 if kept else 1


def preamble() -> str:
    """Return the versions that were used."""
    names = ("nnunetv2", "torch", "blosc2", "numpy", "pydantic", "typer", "deepdiff")
    versions = ", ".join(f"{name} {version(name)}" for name in names)
    return f"Python {platform.python_version()} on {platform.system()}, {os.cpu_count()} cores; {versions}."


if __name__ == "__main__":
    sys.exit(main())
