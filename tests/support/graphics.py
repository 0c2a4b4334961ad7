"""Machines with GPUs, as reported by nvidia-smi."""

from __future__ import annotations

import os
from pathlib import Path

from tests.support.variants import Edit

TURING = "Disabled, {uuid}, 11264, 1, NVIDIA GeForce RTX 2080 Ti"
ADA = "Disabled, {uuid}, 24564, 394, NVIDIA GeForce RTX 4090"
AMPERE = "[N/A], {uuid}, 40960, 4, NVIDIA A100-PCIE-40GB"
PARTED = "Enabled, {uuid}, 40960, 4, NVIDIA A100-PCIE-40GB"
SMALL = "Disabled, {uuid}, 512, 0, NVIDIA NVS 315"


def uuid(number: int) -> str:
    """Return the UUID of a GPU by its index."""
    return f"GPU-{number}a1f0c4e-7b1d-4c35-9f0e-2d8a6b3c4e5f"


def install(folder: Path, *rows: str, after: str = "") -> Path:
    """Write an nvidia-smi into ``folder``/bin that prints these rows and then runs ``after`` (POSIX only)."""
    program = folder / "bin" / ("nvidia-smi.bat" if os.name == "nt" else "nvidia-smi")
    program.parent.mkdir(parents=True, exist_ok=True)
    answers = [row.format(uuid=uuid(number)) for number, row in enumerate(rows)]
    lines = ["#!/bin/sh", "cat <<'END'", *answers, "END", after]
    if os.name == "nt":
        lines = ["@echo off", *(f"echo {answer}" for answer in answers)]
    program.write_text("\n".join([*lines, ""]))
    program.chmod(0o755)
    return program


def graphics(*rows: str) -> Edit:
    """Give the machine these GPUs. The test that uses this edit restores CUDA_VISIBLE_DEVICES and has bin in PATH."""

    def edit(workspace: Path, dataset: str) -> None:
        install(workspace, *rows)
        os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(str(number) for number in range(len(rows)))

    return edit
