"""Documents of 200,000 cases: every command reads them, in seconds and in less than 500 MB."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from plansguard.core.errors import UnreadableDocument
from plansguard.documents import json_document, size_limits
from tests.conftest import ROOT
from tests.support.models import CHECKPOINT
from tests.support.variants import place

CT, OTHER_CT = "Dataset001_PretrainCT", "Dataset002_FinetuneCT"
CASES = 200_000
MOST_MB = 500
#: How many times as long a command may take as parsing the three documents.
MOST_TIMES = 20
COMMANDS = {
    "check": ("check", "-d", "2"),
    "migrate": ("migrate", "-s", "1", "-t", "2", "-tp", "Moved"),
    "show": ("show", "{folder}/nnUNetPlans.json"),
    "diff": ("diff", "{folder}/nnUNetPlans.json", "{folder}/nnUNetPlans.json"),
    "fit": ("fit", str(CHECKPOINT), "-d", "2"),
}

pytestmark = [pytest.mark.slow, pytest.mark.workspace(CT, OTHER_CT)]


def write(path: Path, value: Any) -> float:
    """Write a document as nnU-Net does; return the seconds that parsing it takes."""
    content = json.dumps(value, indent=4)
    path.write_text(content, encoding="utf-8")
    start = time.perf_counter()
    json.loads(content)
    return time.perf_counter() - start


@pytest.fixture
def many(workspace: Path) -> float:
    """Repeat the cases of a dataset; return the seconds that parsing its documents takes."""
    folder = place(workspace, OTHER_CT, "preprocessed/dataset.json").parent
    names = [f"case_{index:06d}" for index in range(CASES)]
    fingerprint = json.loads((folder / "dataset_fingerprint.json").read_text(encoding="utf-8"))
    for key in ("spacings", "shapes_after_crop"):
        rows = fingerprint[key]
        fingerprint[key] = [rows[index % len(rows)] for index in range(CASES)]
    dataset = json.loads((folder / "dataset.json").read_text(encoding="utf-8"))
    dataset["numTraining"] = CASES
    dataset["training"] = [{"image": f"imagesTr/{name}.nii.gz", "label": f"labelsTr/{name}.nii.gz"} for name in names]
    parts = [names[fold::5] for fold in range(5)]
    rests = [[name for index, name in enumerate(names) if index % 5 != fold] for fold in range(5)]
    folds = [{"train": rest, "val": part} for rest, part in zip(rests, parts, strict=True)]
    return (
        write(folder / "dataset_fingerprint.json", fingerprint)
        + write(folder / "dataset.json", dataset)
        + write(folder / "splits_final.json", folds)
    )


@pytest.mark.skipif(not hasattr(os, "wait4"), reason="this system does not report the memory of a child")
@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_reads_many_cases(command: str, workspace: Path, many: float) -> None:
    folder = place(workspace, OTHER_CT, "preprocessed/dataset.json").parent
    arguments = [part.format(folder=folder) for part in COMMANDS[command]]
    output = workspace / "output"
    start = time.perf_counter()
    with output.open("wb") as stream:
        child = os.posix_spawn(
            sys.executable,
            [sys.executable, "-m", "plansguard", *arguments],
            {**os.environ, "PYTHONPATH": str(ROOT)},
            file_actions=[(os.POSIX_SPAWN_DUP2, stream.fileno(), 1), (os.POSIX_SPAWN_DUP2, stream.fileno(), 2)],
        )
        _, status, usage = os.wait4(child, 0)
    seconds = time.perf_counter() - start
    printed = output.read_text(encoding="utf-8")
    assert os.waitstatus_to_exitcode(status) in (0, 1), printed[-2000:]
    assert "larger than" not in printed
    assert "PG001" not in printed
    assert usage.ru_maxrss / 1024 < MOST_MB
    assert seconds < MOST_TIMES * many + 5


def test_plans_do_not_grow_by_naming_a_key_of_cases() -> None:
    plans = {"configurations": {}, "plans_name": "nnUNetPlans", "spacings": "x" * (json_document.MAX_BYTES + 1)}
    with pytest.raises(UnreadableDocument, match="larger than 16 MiB"):
        size_limits.parse(json.dumps(plans).encode(), "plans.json")


def test_commas_are_counted_before_values_are_made() -> None:
    raw = b'{"spacings": [' + b"0," * (json_document.MAX_VALUES + 1) + b"0]}"
    with pytest.raises(UnreadableDocument, match="more than 4,000,000 commas"):
        json_document.parse(raw, "fingerprint.json")
