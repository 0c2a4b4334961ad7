"""The mutants of the benchmark in benchmarks/mutation/, which itself needs nnU-Net."""

from __future__ import annotations

import importlib.util
import json
import random
import sys
from types import ModuleType

import pytest

from tests.conftest import ROOT
from tests.support.variants import FIXTURES, resolve

DATASET = FIXTURES / "workspace" / "nnUNet_preprocessed" / "Dataset005_CascadeCT"
DOCUMENTS = {
    "plans": json.loads((DATASET / "nnUNetPlans.json").read_bytes()),
    "dataset.json": json.loads((DATASET / "dataset.json").read_bytes()),
    "fingerprint": json.loads((DATASET / "dataset_fingerprint.json").read_bytes()),
}


@pytest.fixture(scope="module")
def mutants() -> ModuleType:
    specification = importlib.util.spec_from_file_location("mutants", ROOT / "benchmarks" / "mutation" / "mutants.py")
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    sys.modules["mutants"] = module  # named tuples look for it
    specification.loader.exec_module(module)
    return module


@pytest.mark.parametrize("kind", DOCUMENTS)
def test_a_mutant_differs_at_its_place(kind: str, mutants: ModuleType) -> None:
    before = json.dumps(DOCUMENTS[kind])
    for seed in range(200):
        mutant = mutants.mutant(kind, DOCUMENTS[kind], random.Random(seed))
        above = mutants.pointer(mutant.place[:-1])
        assert json.dumps(resolve(mutant.document, above)) != json.dumps(resolve(DOCUMENTS[kind], above))
    assert json.dumps(DOCUMENTS[kind]) == before


def test_a_seed_makes_the_same_mutants(mutants: ModuleType) -> None:
    first, second = (
        [mutants.mutant("plans", DOCUMENTS["plans"], random.Random(seed)) for seed in range(20)] for _ in range(2)
    )
    assert first == second


def test_all_operators_are_used(mutants: ModuleType) -> None:
    used = {mutants.mutant("plans", DOCUMENTS["plans"], random.Random(seed)).operator for seed in range(500)}
    assert used == set(mutants._OPERATORS)
