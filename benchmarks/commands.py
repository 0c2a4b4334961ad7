"""Compare plansguard's commands with nnU-Net's, and with plansguard's imports, as whole processes.

plansguard is installed from a wheel, with compiled bytecode, into a folder of its own. The commands alternate, so that
other load affects all of them equally. The figures are medians, and the ratio is that of the medians.
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
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
ROUNDS = 21
#: Cases of the dataset MANY, a copy of RECEIVING.
CASES = 200_000
MANY = "Dataset900_ManyCases"
GIVING, RECEIVING = "Dataset001_PretrainCT", "Dataset002_FinetuneCT"


class Duel(NamedTuple):
    """Two commands to compare; ``limit`` is the highest allowed ratio of ours to theirs."""

    title: str
    ours: list[str]
    theirs: list[str]
    limit: float
    rounds: int = ROUNDS


def table() -> tuple[list[str], bool]:
    """Return lines of Markdown, and whether every ratio is within its limit."""
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        environment = prepare(scratch)
        documents = repeat_cases(scratch / "workspace/nnUNet_preprocessed" / MANY)
        python = sys.executable
        move = [python, "-c", "from plansguard.cli import main; main()", "migrate"]
        nnunet = [python, "-c", NNUNET_MOVE]
        duels = [
            Duel(
                "`plansguard migrate` / `nnUNetv2_move_plans_between_datasets`",
                [*move, "-s", "1", "-t", "2", "-sp", "nnUNetPlans", "-tp", "Ours"],
                [*nnunet, "-s", "1", "-t", "2", "-sp", "nnUNetPlans", "-tp", "Theirs"],
                1 / 3,
            ),
            Duel(
                '`plansguard check` of one dataset / `python -c "import pydantic, typer"`',
                [python, "-c", "from plansguard.cli import main; main()", "check", "-d", "1"],
                [python, "-c", "import pydantic, typer"],
                1.6,
            ),
            *(
                Duel(
                    f"`plansguard {words[0]}` with {CASES:,} cases / `json.loads` of the dataset's documents",
                    [python, "-c", "from plansguard.cli import main; main()", *words],
                    [python, "-c", PARSE, *documents],
                    limit,
                    rounds=3,
                )
                for words, limit in MANY_CASES
            ),
        ]
        rows = [measure(duel, scratch, environment) for duel in duels]
    return [*HEADER, *(row for row, _ in rows)], all(fine for _, fine in rows)


HEADER = ["| ours / theirs | ours (ms) | theirs (ms) | ratio | limit |", "|---|---|---|---|---|"]
NNUNET_MOVE = (
    "from nnunetv2.experiment_planning.plans_for_pretraining.move_plans_between_datasets "
    "import entry_point_move_plans_between_datasets as main; main()"
)


#: Commands that read the dataset of many cases, and their limits.
MANY_CASES = [
    (["check", "-d", "900"], 8.0),
    (["migrate", "-s", "1", "-t", "900", "-tp", "Ours"], 8.0),
]
PARSE = "import json, sys; [json.load(open(path)) for path in sys.argv[1:]]"


def repeat_cases(folder: Path) -> list[str]:
    """Copy a dataset and repeat its cases; return the paths of the documents that list them."""
    shutil.copytree(folder.with_name(RECEIVING), folder)
    for plans in folder.glob("*Plans.json"):
        plans.write_text(plans.read_text(encoding="utf-8").replace(RECEIVING, MANY), encoding="utf-8")
    names = [f"case_{index:06d}" for index in range(CASES)]
    fingerprint, dataset = (
        json.loads((folder / name).read_text(encoding="utf-8")) for name in ("dataset_fingerprint.json", "dataset.json")
    )
    for key in ("spacings", "shapes_after_crop"):
        rows = fingerprint[key]
        fingerprint[key] = [rows[index % len(rows)] for index in range(CASES)]
    dataset["numTraining"] = CASES
    parts = [names[fold::5] for fold in range(5)]
    splits = [{"train": sorted(set(names) - set(part)), "val": part} for part in parts]
    documents = {"dataset_fingerprint.json": fingerprint, "dataset.json": dataset, "splits_final.json": splits}
    for name, value in documents.items():
        (folder / name).write_text(json.dumps(value, indent=4), encoding="utf-8")
    return [str(folder / name) for name in documents]


def prepare(scratch: Path) -> dict[str, str]:
    """Create a workspace and install plansguard in ``scratch``; return the environment that finds both."""
    shutil.copytree(ROOT / "fixtures/workspace", scratch / "workspace")
    site = scratch / "site"
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--disable-pip-version-check"]
    subprocess.run([*install, "--target", str(site), str(ROOT)], check=True)
    subprocess.run([sys.executable, "-m", "compileall", "-q", str(site)], check=True)
    folders = {
        name: str(scratch / "workspace" / name) for name in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results")
    }
    return {**os.environ, **folders, "PYTHONPATH": str(site)}


def measure(duel: Duel, scratch: Path, environment: dict[str, str]) -> tuple[str, bool]:
    """Return a row of the table, and whether the ratio is within its limit. The first round is not counted."""
    times: tuple[list[float], list[float]] = ([], [])
    for round_number in range(duel.rounds + 1):
        for command, record in zip((duel.ours, duel.theirs), times, strict=True):
            taken = seconds(command, scratch, environment)
            if round_number:
                record.append(taken)
            forget_moves(scratch)
    ours, theirs = (statistics.median(record) * 1000 for record in times)
    ratio = ours / theirs
    return f"| {duel.title} | {ours:.0f} | {theirs:.0f} | {ratio:.2f} | {duel.limit:.2f} |", ratio <= duel.limit


def seconds(command: list[str], scratch: Path, environment: dict[str, str]) -> float:
    """Return the seconds of the whole process; it must succeed."""
    start = time.perf_counter()
    subprocess.run(command, cwd=scratch, env=environment, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    return time.perf_counter() - start


def forget_moves(scratch: Path) -> None:
    """Remove the files that a move wrote, so that every round does the same work."""
    for name in ("Ours.json", "Ours.plansguard.json", "Theirs.json"):
        for dataset in (RECEIVING, MANY):
            (scratch / "workspace/nnUNet_preprocessed" / dataset / name).unlink(missing_ok=True)
