"""Validation by JSON Schema: what it accepts, the models accept, and valid documents need no model."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from plansguard.documents import json_document
from plansguard.documents.recognise import recognise
from plansguard.documents.validation import model_class, problems, surely_valid
from tests.support.variants import FIXTURES

MODELS = {"plans": "Plans", "dataset.json": "DatasetJson", "fingerprint": "Fingerprint", "splits": "Splits"}
DOCUMENTS = [
    (MODELS[kind], document.value)
    for path in sorted((FIXTURES / "workspace").rglob("*.json"))
    if (kind := recognise((document := json_document.read(path)).value)) in MODELS
]
ODD = st.sampled_from(
    [None, True, False, 0, 1, -1, 2.0, 2.5, "", "2", [], {}, [1], [1.5], ["a"], [None], [[1]], {"a": 1}, float("nan")]
)


def accepts(model: str, value: Any) -> bool:
    """Whether the pydantic model takes the value."""
    try:
        model_class(model).model_validate(value)
    except ValidationError:
        return False
    return True


def places(value: Any) -> list[tuple[Any, Any]]:
    """Every (container, key) in a JSON value."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [place for key, item in items for place in ((value, key), *places(item))]


def test_healthy_fixtures_need_no_model() -> None:
    assert len(DOCUMENTS) > 20
    for model, value in DOCUMENTS:
        assert surely_valid(model, value)
        for configuration in value.get("configurations", {}).values() if model == "Plans" else ():
            assert surely_valid("Configuration", configuration)


def test_most_of_the_corpus_needs_no_model(corpus: Path) -> None:
    parsed = [json_document.read(path).value for path in sorted(corpus.rglob("*.json"))]
    healthy = [(MODELS[kind], value) for value in parsed if (kind := recognise(value)) in MODELS]
    healthy = [(model, value) for model, value in healthy if accepts(model, value)]
    assert sum(surely_valid(model, value) for model, value in healthy) > 0.9 * len(healthy)


@given(data=st.data(), document=st.sampled_from(DOCUMENTS), value=ODD)
def test_what_is_surely_valid_is_valid(data: st.DataObject, document: tuple[str, Any], value: Any) -> None:
    """One odd value anywhere in a good document, also as a configuration by itself."""
    model, good = document
    broken = copy.deepcopy(good)
    container, key = data.draw(st.sampled_from(places(broken)))
    container[key] = value
    if surely_valid(model, broken):
        assert accepts(model, broken)
    if model == "Plans":
        for configuration in broken["configurations"].values() if isinstance(broken["configurations"], dict) else ():
            if surely_valid("Configuration", configuration):
                assert accepts("Configuration", configuration)


@pytest.mark.parametrize("value", [None, 3, "x", [], {}, {"configurations": []}, {"configurations": {"2d": 5}}])
def test_values_that_are_not_documents(value: Any) -> None:
    for model in ("Plans", "Configuration", "Splits"):
        assert not surely_valid(model, value) or accepts(model, value)


def test_unknown_models_are_left_to_pydantic() -> None:
    assert not surely_valid("MigrationRecord", {})


@pytest.mark.parametrize(
    ("model", "value", "places"),
    [
        ("Plans", {"\ud800": 1, "plans_name": 5, "configurations": {}}, {("plans_name",)}),
        (
            "Plans",
            {"plans_name": "a", "configurations": {"\ud800": 5}},
            {("configurations", "\ud800")},
        ),
        ("DatasetJson", {"\ud800": 1, "numTraining": []}, {("numTraining",)}),
    ],
    ids=["beside-a-fault", "above-a-fault", "dataset.json"],
)
def test_half_a_surrogate_pair_in_a_key_hides_no_fault(model: str, value: Any, places: set[Any]) -> None:
    assert {problem.tokens for problem in problems(model, value)} >= places
