"""The mutants of the benchmark in benchmarks/mutation/, which itself needs nnU-Net."""

from __future__ import annotations

import copy
import importlib.util
import json
import random
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from plansguard.documents import json_document
from plansguard.nnunet.inheritance import modern_architecture, resolve_configuration
from tests.conftest import ROOT
from tests.support.variants import FIXTURES, ROOTS, resolve, set_value

pytestmark = pytest.mark.deep

DATASET = FIXTURES / "workspace" / "nnUNet_preprocessed" / "Dataset005_CascadeCT"
DOCUMENTS = {
    "plans": json.loads((DATASET / "nnUNetPlans.json").read_bytes()),
    "dataset.json": json.loads((DATASET / "dataset.json").read_bytes()),
    "fingerprint": json.loads((DATASET / "dataset_fingerprint.json").read_bytes()),
}


def module(name: str) -> ModuleType:
    """Load a module of the benchmark."""
    specification = importlib.util.spec_from_file_location(name, ROOT / "benchmarks" / "mutation" / f"{name}.py")
    assert specification is not None
    assert specification.loader is not None
    loaded = importlib.util.module_from_spec(specification)
    sys.modules[name] = loaded  # named tuples look for it
    specification.loader.exec_module(loaded)
    return loaded


@pytest.fixture(scope="module")
def mutants() -> ModuleType:
    return module("mutants")


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


def test_old_plans_describe_the_same_networks() -> None:
    old = module("bases").in_old_format(DOCUMENTS["plans"])
    for name in DOCUMENTS["plans"]["configurations"]:
        now, then = (
            modern_architecture(resolve_configuration(plans["configurations"], name))["arch_kwargs"]
            for plans in (DOCUMENTS["plans"], old)
        )
        for key in ("strides", "kernel_sizes", "features_per_stage", "n_conv_per_stage", "n_conv_per_stage_decoder"):
            assert then[key] == now[key]
    assert "architecture" not in json.dumps(old)


def test_a_corpus_that_is_absent_has_no_bases(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bases = module("bases")
    monkeypatch.setattr(bases, "CORPUS", tmp_path / "corpus")
    assert list(bases.corpus()) == []


def test_the_documents_of_the_corpus_are_complete(corpus: Path) -> None:
    bases = list(module("bases").corpus())
    origins = [base.origin for base in bases]
    assert len(origins) == len(set(origins)) == len([1 for base in bases if (corpus / base.origin).is_file()])
    assert {kind for base in bases for kind in base.kinds} == {"plans", "dataset.json", "fingerprint", "splits"}
    assert all(base.documents[kind] is not None for base in bases for kind in ("plans", "dataset.json", "fingerprint"))
    assert any("UNet_class_name" in json.dumps(base.documents["plans"]) for base in bases)


@pytest.mark.parametrize(
    ("operator", "place", "found", "expected"),
    [
        ("number", "/batch_size", "/batch_size", True),
        ("number", "/labels", "/labels/kidney", True),
        ("number", "/labels/kidney", "/labels", False),
        ("delete", "/labels/kidney", "/labels", True),
        ("number", "/batch_size", "/batch_sizes", False),
    ],
)
def test_an_error_at_the_place(operator: str, place: str, found: str, expected: bool, mutants: ModuleType) -> None:
    findings = [("PG005", "error", [found], ""), ("PG208", "warning", [place], "")]
    judged = {"operator": operator, "place": place, "places": [place], "findings": findings}
    assert module("table").at_place(judged) is expected


def test_the_reason_of_an_error_where_nothing_changes() -> None:
    table = module("table")
    findings = [("PG303", "error", ["/spacings", "/numTraining"], ""), ("PG005", "info", ["/labels"], "")]
    assert table.reason({"findings": findings}) == table.REASONS["PG303", "numTraining"]
    assert table.reason({"findings": findings[1:]}) == "no reason is known"


@pytest.mark.slow
@pytest.mark.nnunet
@pytest.mark.parametrize(
    ("pointer", "value", "outcome", "code"),
    [
        ("/configurations/2d/batch_size", "2", "refused", "PG005"),
        ("/configurations/2d/architecture/arch_kwargs/nonlin_kwargs", {"in_place": True}, "refused", "PG117"),
        ("/configurations/2d/architecture/arch_kwargs/nonlin", "torch.nn.LeakyRELU", "changed", "PG116"),
        ("/configurations/2d/median_image_size_in_voxels", "x", "same", "PG005"),
        ("/original_median_spacing_after_transp", [1.0, 1.0, 1.0], "same", "PG311"),
    ],
)
def test_the_judge(
    pointer: str,
    value: Any,
    outcome: str,
    code: str,
    tmp_path: Path,
    mutants: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pytest.importorskip("nnunetv2", reason="needs nnunetv2 (plansguard[train])")
    for variable in (*ROOTS.values(), "nnUNet_n_proc_DA"):
        monkeypatch.setenv(variable, "")  # the judge sets them
    [base] = [one for one in module("bases").fixtures() if one.dataset == "Dataset004_Slides2D" and len(one.kinds) > 1]
    source = module("run").Source(base, tmp_path)
    document = copy.deepcopy(source.documents["plans"])
    set_value(document, pointer, value)
    place = tuple(json_document.tokens(pointer))
    judged = source.judged(mutants.Mutant("plans", place, "retype", value, document, (pointer,)))
    assert judged["outcome"] == outcome
    assert code in [one[0] for one in judged["findings"]]
