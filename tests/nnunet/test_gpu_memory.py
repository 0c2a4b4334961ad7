"""The estimate of GPU memory without torch, compared with nnU-Net's networks and planners."""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Callable
from math import prod
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from plansguard.nnunet import constants
from plansguard.nnunet.inheritance import InheritanceError, modern_architecture, resolve_configuration
from plansguard.nnunet.network.gpu_memory import estimated_gigabytes, feature_map_elements, yardstick
from plansguard.nnunet.network.parameters import segmentation_heads
from plansguard.nnunet.network.unet import UnknownNetwork, network_of
from tests.nnunet.test_constants import real_planner
from tests.nnunet.test_parameters import PREPROCESSED, PRIMUS, STOCK_PLANS, changed
from tests.support.topologies import Architecture, architectures, real_network

#: Of the presets.
_SIZES = ("M", "L", "XL")


def estimate(architecture: Architecture, patch: list[int], heads: int) -> int:
    """The result of the real network."""
    return int(real_network(architecture, 1, heads).compute_conv_feature_map_size(patch))


def configurations(path: Path) -> dict[str, tuple[Architecture, dict[str, Any]]]:
    """Name -> architecture and resolved configuration, of those in plans that nnU-Net itself can read."""
    plans = json.loads(path.read_text(encoding="utf-8"))
    found = {}
    for name in plans.get("configurations", {}) if isinstance(plans, dict) else {}:
        try:
            resolved = resolve_configuration(plans["configurations"], name)
            found[name] = (modern_architecture(resolved), resolved)
        except (InheritanceError, ValueError, KeyError):
            continue
    return found


def of_fixture(dataset: str, plans: str, name: str) -> tuple[Architecture, dict[str, Any]]:
    return configurations(PREPROCESSED / dataset / f"{plans}.json")[name]


# ---------------------------------------------------------------------------------------------------------------------
# Against the real networks
# ---------------------------------------------------------------------------------------------------------------------


@st.composite
def patches(draw: st.DrawFn, architecture: Architecture) -> list[int]:
    """A patch with at least one voxel in every stage; its sides need not be multiples of the strides."""
    network = network_of(architecture)
    least = [prod(stride[axis] for stride in network.strides) for axis in range(network.axes)]
    return [draw(st.integers(size, 3 * size + 5)) for size in least]


@pytest.mark.nnunet
@pytest.mark.slow
@settings(max_examples=300, suppress_health_check=[HealthCheck.too_slow])
@given(architecture=architectures(), heads=st.integers(1, 4), data=st.data())
def test_elements_are_those_of_the_real_network(architecture: Architecture, heads: int, data: st.DataObject) -> None:
    patch = data.draw(patches(architecture))
    assert feature_map_elements(architecture, patch, heads) == estimate(architecture, patch, heads)


@pytest.mark.nnunet
@pytest.mark.parametrize("path", STOCK_PLANS, ids=[f"{path.parent.name}-{path.stem}" for path in STOCK_PLANS])
def test_every_configuration_of_every_stock_plan(path: Path) -> None:
    heads = segmentation_heads(json.loads((path.parent / "dataset.json").read_text()))
    for architecture, resolved in configurations(path).values():
        patch = resolved["patch_size"]
        assert feature_map_elements(architecture, patch, heads) == estimate(architecture, patch, heads)


@pytest.mark.nnunet
@pytest.mark.slow
def test_every_configuration_of_the_corpus(corpus: Path) -> None:
    known = 0
    for path in sorted(corpus.rglob("*lans*.json")):
        for architecture, resolved in configurations(path).values():
            try:
                found = feature_map_elements(architecture, resolved["patch_size"], 3)
            except UnknownNetwork:
                continue
            assert found == estimate(architecture, resolved["patch_size"], 3), path
            known += 1
    assert known > 100


@pytest.mark.nnunet
def test_normalization_has_no_effect() -> None:
    """Not even where the parameters of its layers are unknown."""
    grouped = changed(norm_op="torch.nn.GroupNorm", norm_op_kwargs={"num_groups": 1})
    assert feature_map_elements(grouped, [8, 8, 8], 2) == feature_map_elements(changed(), [8, 8, 8], 2)
    plain = changed(norm_op="torch.nn.InstanceNorm3d", norm_op_kwargs={})
    assert estimate(plain, [8, 8, 8], 2) == feature_map_elements(plain, [8, 8, 8], 2)


@pytest.mark.nnunet
def test_primus_has_no_estimate() -> None:
    with pytest.raises(NotImplementedError):
        estimate(PRIMUS, [16, 16, 16], 2)


# ---------------------------------------------------------------------------------------------------------------------
# Against the planners
# ---------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def planner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, float], Any]:
    """nnU-Net's planner of a name, with a target in GB, for a dataset of one channel and three labels."""
    return lambda name, target: real_planner(name, tmp_path, monkeypatch, gpu_memory_target_in_gb=target)


@pytest.mark.parametrize("plans", ["nnUNetPlans", "nnUNetResEncUNetMPlans"])
@pytest.mark.parametrize("name", ["2d", "3d_lowres", "3d_fullres"])
def test_plans_are_near_the_memory_target_of_their_planner(plans: str, name: str) -> None:
    """8 GB. Images are large and numerous, so nothing else limits patch and batch size."""
    architecture, resolved = of_fixture("Dataset005_CascadeCT", plans, name)
    axes, by = len(resolved["patch_size"]), yardstick(architecture, constants.PLANNER_OF_IDENTIFIER[plans])
    elements = feature_map_elements(architecture, resolved["patch_size"], 3)
    needed = estimated_gigabytes(elements, resolved["batch_size"], axes, by)
    assert 7.5 < needed < 8.2
    assert resolved["batch_size"] == round(8 / estimated_gigabytes(elements, 1, axes, by))


@pytest.mark.nnunet
@pytest.mark.slow
@pytest.mark.parametrize(
    "name", [*constants.YARDSTICK_OF_NETWORK.values(), *(f"nnUNetPlannerResEnc{size}" for size in _SIZES)]
)
@pytest.mark.parametrize(("spacing", "shape"), [((0.5, 0.5), (900, 800)), ((2.0, 1.0, 1.0), (300, 500, 500))])
@pytest.mark.filterwarnings("ignore:.*non-standard gpu_memory_target")
def test_planners_stop_where_the_estimate_reaches_their_target(
    name: str, spacing: tuple[float, ...], shape: tuple[int, ...], planner: Callable[..., Any]
) -> None:
    """For images so large and numerous that nothing else limits the batch."""
    import torch

    by = constants.YARDSTICKS[name]
    target = 1.5 * by.gigabytes
    with torch.device("meta"), contextlib.redirect_stdout(io.StringIO()):
        plan = planner(name, target).get_plans_for_configuration(spacing, shape, "data", 1e12, {})
    architecture, patch = plan["architecture"], [int(size) for size in plan["patch_size"]]
    assert yardstick(architecture, name) == by
    elements = feature_map_elements(architecture, patch, 3)
    assert int(plan["batch_size"]) == round(target / estimated_gigabytes(elements, 1, len(spacing), by))


# ---------------------------------------------------------------------------------------------------------------------
# Without nnU-Net
# ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("dataset", "plans", "name", "elements"),
    [
        ("Dataset001_PretrainCT", "nnUNetPlans", "2d", 2_829_312),
        ("Dataset001_PretrainCT", "nnUNetPlans", "3d_fullres", 79_128_576),
        ("Dataset001_PretrainCT", "nnUNetResEncUNetMPlans", "2d", 4_432_896),
        ("Dataset001_PretrainCT", "nnUNetResEncUNetMPlans", "3d_fullres", 108_536_832),
        ("Dataset005_CascadeCT", "nnUNetPlans", "3d_cascade_fullres", 530_668_800),
        ("Dataset005_CascadeCT", "nnUNetResEncUNetMPlans", "3d_fullres", 653_539_200),
    ],
)
def test_results_of_the_real_networks(dataset: str, plans: str, name: str, elements: int) -> None:
    architecture, resolved = of_fixture(dataset, plans, name)
    assert feature_map_elements(architecture, resolved["patch_size"], 3) == elements


def test_a_small_network_written_out() -> None:
    voxels, below = 8 * 8 * 8, 8 * 4 * 4
    encoder, upsampled, decoder, heads = 4 * voxels + 8 * below, 4 * voxels, 4 * voxels, 3 * voxels
    assert feature_map_elements(changed(), [8, 8, 8], 3) == encoder + upsampled + decoder + heads


def test_deep_supervision_adds_a_segmentation_per_stage() -> None:
    three = changed(n_stages=3, features_per_stage=4, kernel_sizes=3, strides=[1, 2, 2], n_conv_per_stage_decoder=1)
    supervised = {**three, "arch_kwargs": {**three["arch_kwargs"], "deep_supervision": True}}
    added = feature_map_elements(supervised, [8, 8, 8], 3) - feature_map_elements(three, [8, 8, 8], 3)
    assert added == 3 * 4 * 4 * 4


def test_reasons_for_no_estimate() -> None:
    with pytest.raises(UnknownNetwork, match="the patch has 2 axes and the network 3"):
        feature_map_elements(changed(), [8, 8], 2)
    for unknown in (PRIMUS, {**PRIMUS, "arch_kwargs": None}, {}):
        with pytest.raises(UnknownNetwork, match="not known"):
            feature_map_elements(unknown, [16, 16, 16], 2)
        with pytest.raises(UnknownNetwork, match="none of nnU-Net's planners"):
            yardstick(unknown, "ExperimentPlanner")


def test_the_planners_yardstick_is_used_for_its_network() -> None:
    residual = changed()
    residual["network_class_name"] = residual["network_class_name"].replace("PlainConvUNet", "ResidualEncoderUNet")
    assert yardstick(changed(), None).elements_3d == 560_000_000
    assert yardstick(changed(), "nnUNetPlannerResEncL").elements_3d == 560_000_000
    assert yardstick(residual, "ExperimentPlanner").gigabytes == 8
    assert yardstick(residual, "nnUNetPlannerResEncXL").gigabytes == 40
    assert yardstick(residual, "MyPlanner").elements_2d == 135_000_000


def test_gigabytes_are_proportional_to_elements_and_batch() -> None:
    by = constants.YARDSTICKS["ExperimentPlanner"]
    assert estimated_gigabytes(560_000_000, 2, 3, by) == 8
    assert estimated_gigabytes(560_000_000, 3, 3, by) == 12
    assert estimated_gigabytes(280_000_000, 2, 3, by) == 4
    assert estimated_gigabytes(85_000_000, 12, 2, by) == 8
