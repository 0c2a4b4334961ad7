"""Fingerprints: what changes them, and what does not."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from plansguard.core.fingerprint import dataset_in, fingerprint, place
from plansguard.core.report import Finding, Location, Severity

PLANS = "/data/nnUNet_preprocessed/Dataset002_FinetuneCT/nnUNetPlans.json"
FINDING = Finding("PG101", "x", Severity.ERROR, "m", "f", Location(PLANS, "/a", 3, 1), values={"was": [1, 2]})


def of(path: str = PLANS, **values: Any) -> str:
    return fingerprint("PG101", path, "/configurations/2d", "2d", values)


@pytest.mark.parametrize(
    "change",
    [
        {"location": Location(PLANS, "/a", 9, 4)},
        {"message": "in other words"},
        {"severity": Severity.INFO},
        {"location": Location(PLANS.replace("/data", "/somewhere else"), "/a")},
        {"values": {"was": [1, 2], "command": "plansguard migrate -tp PretrainPlans2"}, "remedial": {"command"}},
    ],
)
def test_it_stays_the_same(change: dict[str, Any]) -> None:
    assert replace(FINDING, **change).fingerprint == FINDING.fingerprint


@pytest.mark.parametrize(
    "change",
    [
        {"code": "PG102"},
        {"location": Location(PLANS, "/b")},
        {"location": Location(PLANS.replace("002_F", "003_F"), "/a")},
        {"location": Location(PLANS.replace("nnUNetPlans", "Other"), "/a")},
        {"configuration": "2d"},
        {"values": {"was": [1, 3]}},
    ],
)
def test_it_changes(change: dict[str, Any]) -> None:
    assert replace(FINDING, **change).fingerprint != FINDING.fingerprint


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("/data/nnUNet_raw/Dataset001_A/dataset.json", "/x/y/Dataset001_A/dataset.json"),
        ("nnUNet_raw/Dataset001_A/dataset.json", "$nnUNet_raw/Dataset001_A/dataset.json"),
        ("see /data/nnUNet_raw/Dataset001_A/b.json: gone", "see Dataset001_A/b.json: gone"),
        ("mv /scratch/one/a.pth /scratch/one/b.pth", "mv /home/two/a.pth /home/two/b.pth"),
        ("mv '/data/a b.pth' c", "mv /data/a b.pth c"),
        (Path("/data/a.pth"), "a.pth"),
        (["/data/a.pth", {"k": "/elsewhere/b.pth"}], ["/other/a.pth", {"k": "b.pth"}]),
    ],
)
def test_paths_in_values_count_from_the_dataset_on(one: object, other: object) -> None:
    assert of(value=one) == of(value=other)


def test_a_folder_is_not_cut_out_of_a_longer_name() -> None:
    assert of(value="/data/x/dataset.json, /dataset.json") == of(value="x/dataset.json, dataset.json")
    assert of(value="a/data.json") != of(value="a.json")


@pytest.mark.parametrize(
    ("path", "expected", "dataset"),
    [
        (PLANS, "Dataset002_FinetuneCT/nnUNetPlans.json", "Dataset002_FinetuneCT"),
        ("/r/Dataset001_A/T__P__2d/fold_0/c.pth", "Dataset001_A/T__P__2d/fold_0/c.pth", "Dataset001_A"),
        ("/r/Dataset001_A/sub/Dataset002_B/P.json", "Dataset002_B/P.json", "Dataset002_B"),
        ("/clone/plans/P.json", "P.json", None),
        ("P.json", "P.json", None),
        ("Dataset1_short/P.json", "P.json", None),
        ("/", "/", None),
    ],
)
def test_places(path: str, expected: str, dataset: str | None) -> None:
    assert (place(path), dataset_in(path)) == (expected, dataset)
