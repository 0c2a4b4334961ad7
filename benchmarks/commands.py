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
#: A copy of GIVING whose patch does not fit its network.
DAMAGED = "Dataset901_Damaged"
GIVING, RECEIVING = "Dataset001_PretrainCT", "Dataset002_FinetuneCT"
MODEL = "nnUNetTrainer__nnUNetPlans__3d_fullres"


class Duel(NamedTuple):
    """Two commands to compare; ``limit`` is the highest allowed ratio of ours to theirs.

    Ours ends with ``exit_code``.
    """

    title: str
    ours: list[str]
    theirs: list[str]
    limit: float
    rounds: int = ROUNDS
    exit_code: int = 0


def table() -> tuple[list[str], bool]:
    """Return lines of Markdown, and whether every ratio is within its limit."""
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        environment = prepare(scratch)
        documents = repeat_cases(scratch / "workspace/nnUNet_preprocessed" / MANY)
        damage_patch(scratch / "workspace/nnUNet_preprocessed" / DAMAGED)
        python = sys.executable
        ours, imports = [python, "-c", "from plansguard.__main__ import main; main()"], "import pydantic, typer"
        nnunet = [python, "-c", NNUNET_MOVE]
        duels = [
            Duel(
                "`plansguard migrate` / `nnUNetv2_move_plans_between_datasets`",
                [*ours, "migrate", "-s", "1", "-t", "2", "-sp", "nnUNetPlans", "-tp", "Ours"],
                [*nnunet, "-s", "1", "-t", "2", "-sp", "nnUNetPlans", "-tp", "Theirs"],
                1 / 3,
            ),
            Duel(
                f'`plansguard check` of one dataset without a finding / `python -c "{imports}"`',
                [*ours, "check", "-d", "1"],
                [python, "-c", imports],
                1.5,
            ),
            Duel(
                f'`plansguard check` of one dataset with a finding / `python -c "{imports}"`',
                [*ours, "check", "-d", "901"],
                [python, "-c", imports],
                1.6,
                exit_code=1,
            ),
            *(
                Duel(
                    f"`plansguard {words[0]}` with {CASES:,} cases / `json.loads` of the dataset's documents",
                    [*ours, *words],
                    [python, "-c", PARSE, *documents],
                    limit,
                    rounds=3,
                    exit_code=exit_code,
                )
                for words, exit_code, limit in MANY_CASES
            ),
        ]
        rows = [measure(duel, scratch, environment) for duel in duels]
    return [*HEADER, *(row for row, _ in rows)], all(fine for _, fine in rows)


HEADER = ["| ours / theirs | ours (ms) | theirs (ms) | ratio | limit |", "|---|---|---|---|---|"]
NNUNET_MOVE = (
    "from nnunetv2.experiment_planning.plans_for_pretraining.move_plans_between_datasets "
    "import entry_point_move_plans_between_datasets as main; main()"
)


#: Commands that read the dataset of many cases, their exit codes, and their limits.
MANY_CASES = [
    (["check", "-d", "900"], 0, 8.0),
    (["migrate", "-s", "1", "-t", "900", "-tp", "Ours"], 0, 8.0),
    (["fit", f"workspace/nnUNet_results/{GIVING}/{MODEL}/fold_0/checkpoint_final.pth", "-d", "900"], 1, 8.0),
]
PARSE = "import json, sys; [json.load(open(path)) for path in sys.argv[1:]]"


def repeat_cases(folder: Path, cases: int = CASES) -> list[str]:
    """Copy a dataset and repeat its cases; return the paths of the documents that list them."""
    shutil.copytree(folder.with_name(RECEIVING), folder)
    for plans in folder.glob("*Plans.json"):
        plans.write_text(plans.read_text(encoding="utf-8").replace(RECEIVING, MANY), encoding="utf-8")
    names = [f"case_{index:06d}" for index in range(cases)]
    fingerprint, dataset = (
        json.loads((folder / name).read_text(encoding="utf-8")) for name in ("dataset_fingerprint.json", "dataset.json")
    )
    for key in ("spacings", "shapes_after_crop"):
        rows = fingerprint[key]
        fingerprint[key] = [rows[index % len(rows)] for index in range(cases)]
    dataset["numTraining"] = cases
    parts = [names[fold::5] for fold in range(5)]
    splits = [{"train": sorted(set(names) - set(part)), "val": part} for part in parts]
    documents = {"dataset_fingerprint.json": fingerprint, "dataset.json": dataset, "splits_final.json": splits}
    for name, value in documents.items():
        (folder / name).write_text(json.dumps(value, indent=4), encoding="utf-8")
    return [str(folder / name) for name in documents]


def damage_patch(folder: Path) -> None:
    """Copy a dataset, and enlarge the patch of one configuration by two voxels."""
    shutil.copytree(folder.with_name(GIVING), folder)
    for path in folder.glob("*Plans.json"):
        path.write_text(path.read_text(encoding="utf-8").replace(GIVING, DAMAGED), encoding="utf-8")
    path = folder / "nnUNetPlans.json"
    plans = json.loads(path.read_text(encoding="utf-8"))
    plans["configurations"]["3d_fullres"]["patch_size"][1] += 2
    path.write_text(json.dumps(plans, indent=4), encoding="utf-8")


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
        sides = (duel.ours, duel.exit_code), (duel.theirs, 0)
        for (command, exit_code), record in zip(sides, times, strict=True):
            taken = seconds(command, scratch, environment, exit_code)
            if round_number:
                record.append(taken)
            forget_moves(scratch)
    ours, theirs = (statistics.median(record) * 1000 for record in times)
    ratio = ours / theirs
    return f"| {duel.title} | {ours:.0f} | {theirs:.0f} | {ratio:.2f} | {duel.limit:.2f} |", ratio <= duel.limit


def seconds(command: list[str], scratch: Path, environment: dict[str, str], exit_code: int = 0) -> float:
    """Return the seconds of the whole process, which must end with this exit code."""
    start = time.perf_counter()
    done = subprocess.run(command, cwd=scratch, env=environment, capture_output=True, text=True, check=False)
    taken = time.perf_counter() - start
    if done.returncode != exit_code:
        sys.exit(f"{' '.join(command)} ended with {done.returncode}: {done.stdout}{done.stderr}")
    return taken


def forget_moves(scratch: Path) -> None:
    """Remove the files that a move wrote, so that every round does the same work."""
    for name in ("Ours.json", "Ours.plansguard.json", "Theirs.json"):
        for dataset in (RECEIVING, MANY):
            (scratch / "workspace/nnUNet_preprocessed" / dataset / name).unlink(missing_ok=True)
