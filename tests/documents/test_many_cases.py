"""Documents of 200,000 cases: every command reads them in less than 500 MB."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from plansguard.core.errors import UnreadableDocument
from plansguard.documents import json_document, size_limits
from tests.conftest import ROOT
from tests.support.models import CHECKPOINT
from tests.support.variants import FIXTURES, ROOTS, place

CT, OTHER_CT = "Dataset001_PretrainCT", "Dataset002_FinetuneCT"
CASES = 200_000
MOST_MB = 500
COMMANDS = {
    "check": ("check", "-d", "2"),
    "migrate": ("migrate", "-s", "1", "-t", "2", "-tp", "Moved"),
    "show": ("show", "{folder}/nnUNetPlans.json"),
    "diff": ("diff", "{folder}/nnUNetPlans.json", "{folder}/nnUNetPlans.json"),
    "fit": ("fit", str(CHECKPOINT), "-d", "2"),
}

pytestmark = [pytest.mark.slow, pytest.mark.workspace(CT, OTHER_CT)]


def write(path: Path, value: Any) -> None:
    """Write a document as nnU-Net does."""
    path.write_text(json.dumps(value, indent=4), encoding="utf-8")


@pytest.fixture(scope="module")
def many_cases(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the documents of a dataset whose cases are repeated."""
    folder, source = tmp_path_factory.mktemp("many"), FIXTURES / "workspace" / ROOTS["preprocessed"] / OTHER_CT
    names = [f"case_{index:06d}" for index in range(CASES)]
    fingerprint = json.loads((source / "dataset_fingerprint.json").read_text(encoding="utf-8"))
    for key in ("spacings", "shapes_after_crop"):
        rows = fingerprint[key]
        fingerprint[key] = [rows[index % len(rows)] for index in range(CASES)]
    dataset = json.loads((source / "dataset.json").read_text(encoding="utf-8"))
    dataset["numTraining"] = CASES
    dataset["training"] = [{"image": f"imagesTr/{name}.nii.gz", "label": f"labelsTr/{name}.nii.gz"} for name in names]
    parts = [names[fold::5] for fold in range(5)]
    rests = [[name for index, name in enumerate(names) if index % 5 != fold] for fold in range(5)]
    folds = [{"train": rest, "val": part} for rest, part in zip(rests, parts, strict=True)]
    write(folder / "dataset_fingerprint.json", fingerprint)
    write(folder / "dataset.json", dataset)
    write(folder / "splits_final.json", folds)
    return folder


@pytest.fixture
def many(workspace: Path, many_cases: Path) -> None:
    """Put these documents into the dataset; no command changes them."""
    for made in many_cases.iterdir():
        path = place(workspace, OTHER_CT, f"preprocessed/{made.name}")
        path.unlink(missing_ok=True)
        path.hardlink_to(made)


#: Runs a command and prints its exit code and its peak memory in KiB. The memory of a child counts that of the process
#: that started it, so this one is small.
MEASURE = """
import resource, subprocess, sys
done = subprocess.run([sys.executable, "-m", "plansguard", *sys.argv[1:]], capture_output=True, text=True)
print(done.returncode, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
print(done.stdout[-2000:], done.stderr[-2000:])
"""


@pytest.mark.skipif(sys.platform != "linux", reason="other systems count memory otherwise")
@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.usefixtures("many")
def test_every_command_reads_many_cases(command: str, workspace: Path) -> None:
    folder = place(workspace, OTHER_CT, "preprocessed/dataset.json").parent
    arguments = [part.format(folder=folder) for part in COMMANDS[command]]
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, *arguments],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    figures, _, printed = done.stdout.partition("\n")
    exit_code, memory = map(int, figures.split())
    assert exit_code in (0, 1), printed
    assert "larger than" not in printed
    assert "PG001" not in printed
    assert memory / 1024 < MOST_MB


def test_plans_do_not_grow_by_naming_a_key_of_cases() -> None:
    plans = {"configurations": {}, "plans_name": "nnUNetPlans", "spacings": "x" * (json_document.MAX_BYTES + 1)}
    with pytest.raises(UnreadableDocument, match="larger than 16 MiB"):
        size_limits.parse(json.dumps(plans).encode(), "plans.json")


def test_commas_are_counted_before_values_are_made() -> None:
    raw = b'{"spacings": [' + b"0," * (json_document.MAX_VALUES + 1) + b"0]}"
    with pytest.raises(UnreadableDocument, match="more than 4,000,000 commas"):
        json_document.parse(raw, "fingerprint.json")
