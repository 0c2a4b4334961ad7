"""Inheritance of configurations and translation of old plans, compared with nnU-Net."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from plansguard.documents.models.plans import Plans
from plansguard.documents.recognise import recognise
from plansguard.nnunet.inheritance import InheritanceError, modern_architecture, origins, resolve_configuration
from tests.conftest import ROOT
from tests.documents.test_models import JSON_VALUES
from tests.support.corpus import corpus

# ---------------------------------------------------------------------------------------------------------------------
# Inheritance
# ---------------------------------------------------------------------------------------------------------------------

FAMILY = {
    "grandchild": {"inherits_from": "child", "architecture": {"n": 3}},
    "child": {"batch_size": 3, "inherits_from": "3d_fullres", "extra": [1]},
    "3d_fullres": {"batch_size": 2, "patch_size": [32, 32], "architecture": {"n": 1, "m": 2}},
}


def test_a_child_replaces_whole_keys() -> None:
    resolved = resolve_configuration(FAMILY, "grandchild")
    assert resolved == {
        "batch_size": 3,
        "patch_size": [32, 32],
        "architecture": {"n": 3},
        "inherits_from": "child",
        "extra": [1],
    }
    assert origins(FAMILY, "grandchild") == {
        "batch_size": "child",
        "patch_size": "3d_fullres",
        "architecture": "grandchild",
        "inherits_from": "grandchild",
        "extra": "child",
    }


def test_resolving_changes_nothing() -> None:
    before = deepcopy(FAMILY)
    resolve_configuration(FAMILY, "grandchild")
    assert before == FAMILY


@pytest.mark.parametrize(
    ("configurations", "kind", "chain"),
    [
        ({}, "missing", ("a",)),
        ({"a": {"inherits_from": "b"}}, "missing", ("a", "b")),
        ({"a": {"inherits_from": None}, "None": {}}, "missing", ("a", "None")),
        ({"a": {"inherits_from": ["b"]}, "b": {}}, "missing", ("a", "['b']")),
        ({"a": {"inherits_from": "a"}}, "cycle", ("a", "a")),
        ({"a": {"inherits_from": "b"}, "b": {"inherits_from": "b"}}, "cycle", ("a", "b", "b")),
    ],
)
def test_broken_inheritance(configurations: dict[str, Any], kind: str, chain: tuple[str, ...]) -> None:
    for function in (resolve_configuration, origins):
        with pytest.raises(InheritanceError) as caught:
            function(configurations, "a")
        assert (caught.value.kind, caught.value.chain) == (kind, chain)
        assert " -> ".join(chain) in caught.value.reason


NAMES = ("a", "b", "c", "d")
CONFIGURATIONS: st.SearchStrategy[dict[str, Any]] = st.dictionaries(
    st.sampled_from(NAMES),
    st.fixed_dictionaries(
        {"architecture": st.just({})},
        optional={"inherits_from": st.sampled_from(NAMES) | st.none(), "x": JSON_VALUES, "y": JSON_VALUES},
    ),
)


def ours(configurations: dict[str, Any], name: str) -> dict[str, Any] | Literal["missing", "cycle"]:
    try:
        return resolve_configuration(configurations, name)
    except InheritanceError as error:
        return error.kind


@given(CONFIGURATIONS, st.sampled_from(NAMES))
def test_origins_name_who_wrote_what(configurations: dict[str, Any], name: str) -> None:
    resolved = ours(configurations, name)
    if isinstance(resolved, dict):
        found = {key: configurations[origin][key] for key, origin in origins(configurations, name).items()}
        assert repr(found) == repr(resolved)  # NaN equals itself here, and the order counts


@pytest.fixture(scope="session")
def nnunet() -> Any:
    """nnU-Net's plans handler."""
    return pytest.importorskip(
        "nnunetv2.utilities.plans_handling.plans_handler", reason="needs nnunetv2 (plansguard[train])"
    )


def theirs(nnunet: Any, configurations: dict[str, Any], name: str) -> dict[str, Any] | Literal["missing", "cycle"]:
    manager = nnunet.PlansManager({"configurations": configurations})
    try:
        return manager._internal_resolve_configuration_inheritance(name)  # type: ignore[no-any-return]
    except ValueError:
        return "missing"
    except RuntimeError:
        return "cycle"


@pytest.mark.nnunet
@given(configurations=CONFIGURATIONS, name=st.sampled_from(NAMES))
@settings(deadline=None, max_examples=500)
def test_inheritance_is_nnunets(nnunet: Any, configurations: dict[str, Any], name: str) -> None:
    assert repr(ours(configurations, name)) == repr(theirs(nnunet, configurations, name))


def plans_of_fixtures() -> Iterator[Any]:
    """Parameters: all readable plans among the project's fixtures, healthy and broken."""
    for path in sorted((ROOT / "fixtures").rglob("*.json")) + sorted((ROOT / "tests").rglob("*.json")):
        try:
            value = json.loads(path.read_bytes())
        except ValueError:
            continue
        if recognise(value) == "plans":
            yield pytest.param(path, "plans", id=path.relative_to(ROOT).as_posix())


@pytest.mark.nnunet
@pytest.mark.parametrize(("path", "kind"), [*corpus("plans"), *plans_of_fixtures()])
def test_real_plans_resolve_as_nnunet_does(nnunet: Any, path: Path, kind: str) -> None:
    configurations = json.loads(path.read_bytes()).get("configurations")
    try:
        Plans.model_validate({"configurations": configurations})
    except ValidationError:
        pytest.skip("its configurations are no objects")
    for name in configurations:
        resolved = ours(configurations, name)
        assert repr(resolved) == repr(theirs(nnunet, configurations, name))
        if isinstance(resolved, dict):
            assert our_architecture(resolved) == their_architecture(nnunet, resolved)


# ---------------------------------------------------------------------------------------------------------------------
# The old format
# ---------------------------------------------------------------------------------------------------------------------

OLD: dict[str, Any] = {
    "patch_size": [64, 64, 32],
    "UNet_class_name": "PlainConvUNet",
    "UNet_base_num_features": 32,
    "unet_max_num_features": 100,
    "n_conv_per_stage_encoder": [2, 2, 2],
    "n_conv_per_stage_decoder": [2, 2],
    "num_pool_per_axis": [2, 2, 1],
    "pool_op_kernel_sizes": [[1, 1, 1], [2, 2, 2], [2, 2, 1]],
    "conv_kernel_sizes": [[3, 3, 3]] * 3,
}


def our_architecture(resolved: dict[str, Any]) -> dict[str, Any] | None:
    try:
        return modern_architecture(resolved)
    except (KeyError, ValueError):
        return None


def their_architecture(nnunet: Any, resolved: dict[str, Any]) -> dict[str, Any] | None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            manager = nnunet.ConfigurationManager(deepcopy(resolved))
        except (KeyError, ValueError, RuntimeError):
            return None
    return manager.configuration["architecture"]  # type: ignore[no-any-return]


def old_variants() -> Iterator[Any]:
    """Parameters: configurations of the old format, and whether nnU-Net can translate them."""
    yield pytest.param(OLD, True, id="plain")
    yield pytest.param({**OLD, "UNet_class_name": "ResidualEncoderUNet"}, True, id="residual")
    yield pytest.param({**OLD, "patch_size": [64, 64]}, True, id="2d")
    yield pytest.param({**OLD, "patch_size": [64] * 4}, False, id="4d")
    yield pytest.param({**OLD, "UNet_class_name": "Forked"}, False, id="fork")
    for missing in OLD:
        yield pytest.param({key: OLD[key] for key in OLD if key != missing}, False, id=f"no {missing}")


@pytest.mark.parametrize(("resolved", "translatable"), [*old_variants()])
def test_old_plans_are_translated(resolved: dict[str, Any], translatable: bool) -> None:
    assert (our_architecture(resolved) is not None) is translatable


@pytest.mark.nnunet
@pytest.mark.parametrize(("resolved", "translatable"), [*old_variants()])
def test_old_plans_are_translated_as_nnunet_does(nnunet: Any, resolved: dict[str, Any], translatable: bool) -> None:
    assert our_architecture(resolved) == their_architecture(nnunet, resolved)
