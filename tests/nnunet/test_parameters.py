"""Parameters derived from plans, compared with the networks that nnU-Net builds from the same plans."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from plansguard.core.errors import UsageError
from plansguard.nnunet import runtime
from plansguard.nnunet.inheritance import modern_architecture, resolve_configuration
from plansguard.nnunet.network.parameters import (
    expected_parameters,
    input_channels,
    number_of_parameters,
    segmentation_heads,
)
from plansguard.nnunet.network.unet import Stage, UnknownNetwork, network_of, stages
from tests.conftest import ROOT
from tests.support.topologies import Architecture, architectures, real_network, shapes

PREPROCESSED = ROOT / "fixtures" / "workspace" / "nnUNet_preprocessed"
STOCK_PLANS = sorted(PREPROCESSED.glob("Dataset*/*Plans.json"))

PLAIN: Architecture = {
    "network_class_name": "dynamic_network_architectures.architectures.unet.PlainConvUNet",
    "arch_kwargs": {
        "n_stages": 2,
        "features_per_stage": [4, 8],
        "conv_op": "torch.nn.modules.conv.Conv3d",
        "kernel_sizes": [[1, 3, 3], 3],
        "strides": [1, [1, 2, 2]],
        "n_conv_per_stage": 1,
        "n_conv_per_stage_decoder": [1],
        "conv_bias": True,
        "norm_op": "torch.nn.modules.instancenorm.InstanceNorm3d",
        "norm_op_kwargs": {"eps": 1e-05, "affine": True},
    },
    "_kw_requires_import": ["conv_op", "norm_op"],
}


def changed(**kwargs: Any) -> Architecture:
    return {**PLAIN, "arch_kwargs": {**PLAIN["arch_kwargs"], **kwargs}}


# ---------------------------------------------------------------------------------------------------------------------
# Against the real networks
# ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.nnunet
@pytest.mark.slow
@settings(max_examples=400, suppress_health_check=[HealthCheck.too_slow])
@given(architecture=architectures(), channels=st.integers(1, 3), heads=st.integers(1, 3))
def test_parameters_are_those_of_the_real_network_in_its_order(
    architecture: Architecture, channels: int, heads: int
) -> None:
    derived = expected_parameters(architecture, channels, heads)
    network = real_network(architecture, channels, heads)
    assert list(derived.items()) == shapes(network)
    assert number_of_parameters(derived) == sum(one.numel() for one in network.parameters())


@pytest.mark.nnunet
@pytest.mark.parametrize("path", STOCK_PLANS, ids=[f"{path.parent.name}-{path.stem}" for path in STOCK_PLANS])
def test_every_configuration_of_every_stock_plan(path: Path) -> None:
    from nnunetv2.utilities.label_handling.label_handling import determine_num_input_channels
    from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

    plans, dataset_json = json.loads(path.read_text()), json.loads((path.parent / "dataset.json").read_text())
    manager = PlansManager(plans)
    heads = manager.get_label_manager(dataset_json).num_segmentation_heads
    assert segmentation_heads(dataset_json) == heads
    for name in plans["configurations"]:
        resolved = resolve_configuration(plans["configurations"], name)
        channels = determine_num_input_channels(manager, name, dataset_json)
        assert input_channels(resolved, dataset_json) == channels
        architecture = modern_architecture(resolved)
        real = real_network(architecture, channels, heads)
        assert list(expected_parameters(architecture, channels, heads).items()) == shapes(real)


_VALUES = st.integers(0, 4)
_LABELS = st.dictionaries(
    st.sampled_from("abcde"), _VALUES | st.lists(_VALUES, min_size=1, max_size=3), min_size=1, max_size=5
)


@pytest.mark.nnunet
@given(labels=_LABELS, ignores=st.booleans(), modality=st.booleans(), cascade=st.booleans())
def test_channels_and_heads_are_those_of_nnunet(
    labels: dict[str, Any], ignores: bool, modality: bool, cascade: bool
) -> None:
    from nnunetv2.utilities.label_handling.label_handling import determine_num_input_channels
    from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

    labels = {"background": 0, **labels}
    if ignores:
        listed = [value if isinstance(value, list) else [value] for value in labels.values()]
        labels["ignore"] = max(value for values in listed for value in values) + 1
    regions = [value for name, value in labels.items() if name != "ignore" and value != 0 and set(_list(value)) != {0}]
    names = "modality" if modality else "channel_names"
    dataset_json = {"labels": labels, names: {"0": "T1", "1": "T2"}, "regions_class_order": list(range(len(regions)))}
    configuration = {"architecture": PLAIN, **({"previous_stage": "3d_lowres"} if cascade else {})}
    manager = PlansManager({"configurations": {"one": configuration}, "label_manager": "LabelManager"})
    assert segmentation_heads(dataset_json) == manager.get_label_manager(dataset_json).num_segmentation_heads
    assert input_channels(configuration, dataset_json) == determine_num_input_channels(manager, "one", dataset_json)


def _list(value: Any) -> list[int]:
    return value if isinstance(value, list) else [value]


# ---------------------------------------------------------------------------------------------------------------------
# Without nnU-Net
# ---------------------------------------------------------------------------------------------------------------------


def test_a_small_network_written_out() -> None:
    convolution = {"conv.weight": (4, 2, 1, 3, 3), "conv.bias": (4,), "norm.weight": (4,), "norm.bias": (4,)}
    derived = expected_parameters(PLAIN, 2, 3)
    assert [name for name in derived if name.startswith("encoder.stages.0.")] == [
        f"encoder.stages.0.0.convs.0.{name}"
        for name in (*convolution, *(f"all_modules.{index}.{one}" for index in (0, 1) for one in ("weight", "bias")))
    ]
    for name, shape in convolution.items():
        assert derived[f"encoder.stages.0.0.convs.0.{name}"] == shape
        assert derived[f"decoder.encoder.stages.0.0.convs.0.{name}"] == shape
    assert list(derived.items())[-4:] == [
        ("decoder.transpconvs.0.weight", (8, 4, 1, 2, 2)),
        ("decoder.transpconvs.0.bias", (4,)),
        ("decoder.seg_layers.0.weight", (3, 4, 1, 1, 1)),
        ("decoder.seg_layers.0.bias", (3,)),
    ]
    assert derived["decoder.stages.0.convs.0.conv.weight"] == (4, 8, 1, 3, 3)


def test_plans_of_the_old_format() -> None:
    resolved = {
        "UNet_class_name": "ResidualEncoderUNet",
        "UNet_base_num_features": 32,
        "unet_max_num_features": 40,
        "patch_size": [64, 64],
        "n_conv_per_stage_encoder": [1, 2],
        "n_conv_per_stage_decoder": [1],
        "num_pool_per_axis": [1, 1],
        "pool_op_kernel_sizes": [[1, 1], [2, 2]],
        "conv_kernel_sizes": [[3, 3], [3, 3]],
    }
    derived = expected_parameters(modern_architecture(resolved), 1, 2)
    assert derived["encoder.stages.1.blocks.1.conv2.conv.weight"] == (40, 40, 3, 3)
    assert derived["encoder.stages.1.blocks.0.skip.1.conv.weight"] == (40, 32, 1, 1)


@pytest.mark.parametrize(
    ("labels", "heads", "foreground"),
    [
        ({"background": 0, "liver": 1, "tumour": 2}, 3, 2),
        ({"background": 0, "liver": 1, "ignore": 2}, 2, 1),
        ({"background": 0, "liver": [1, 2], "tumour": 2}, 2, 2),
        ({"background": 0, "liver": [1, 2], "tumour": 2, "ignore": 3}, 2, 2),
        ({"background": 0, "nothing": [0, 0], "liver": [1, 2]}, 1, 2),
        ({"background": 0, "liver": [1], "again": 1}, 2, 1),
        ({"background": "0", "liver": "1"}, 2, 1),
    ],
)
def test_labels_give_heads_and_the_channels_of_a_cascade(labels: dict[str, Any], heads: int, foreground: int) -> None:
    dataset_json = {"labels": labels, "channel_names": {"0": "CT"}}
    assert segmentation_heads(dataset_json) == heads
    assert input_channels({}, dataset_json) == 1
    assert input_channels({"previous_stage": None}, dataset_json) == 1
    assert input_channels({"previous_stage": "3d_lowres"}, dataset_json) == 1 + foreground


def test_modality_takes_precedence_over_channel_names() -> None:
    assert input_channels({}, {"modality": {"0": "T1", "1": "T2"}, "channel_names": {"0": "T1"}}) == 2


@pytest.mark.parametrize(
    ("dataset_json", "reason"),
    [
        ({"labels": {"background": 0}}, "channels"),
        ({"channel_names": {"0": "CT"}}, "no labels"),
        ({"channel_names": {"0": "CT"}, "labels": {"0": "background"}}, "not numbers"),
        ({"channel_names": {"0": "CT"}, "labels": {"background": None}}, "not numbers"),
    ],
)
def test_a_dataset_json_without_channels_or_labels(dataset_json: dict[str, Any], reason: str) -> None:
    with pytest.raises(UnknownNetwork, match=reason):
        input_channels({"previous_stage": "3d_lowres"}, dataset_json)


@pytest.mark.parametrize(
    ("architecture", "reason"),
    [
        ({**PLAIN, "network_class_name": "dynamic_network_architectures.architectures.primus.Primus"}, "Primus"),
        ({**PLAIN, "network_class_name": "my_unets.PlainConvUNet"}, "my_unets.PlainConvUNet"),
        ({"network_class_name": PLAIN["network_class_name"], "arch_kwargs": None}, "arch_kwargs"),
        ({}, "None"),
        (changed(strides=[1, 2, 2]), "strides has 3 entries, not 2"),
        (changed(strides=[1, [2, 2]]), "strides is .* 3 axes"),
        (changed(kernel_sizes=[3, "3"]), "kernel_sizes is '3'"),
        (changed(features_per_stage=0), "features_per_stage is 0"),
        (changed(n_stages=10**9), "n_stages is 1000000000"),
        (changed(n_conv_per_stage=10**9), "no network has that many"),
        (changed(n_blocks_per_stage=1), "takes no argument n_blocks_per_stage"),
        (changed(conv_op="torch.nn.Linear"), "conv_op is torch.nn.Linear"),
        (changed(norm_op="torch.nn.GroupNorm"), "GroupNorm"),
        (changed(norm_op="torch.nn.InstanceNorm2d"), "InstanceNorm2d"),
        (changed(norm_op_kwargs={"num_groups": 4}), "InstanceNorm3d"),
    ],
)
def test_reasons_for_unknown_parameters(architecture: Architecture, reason: str) -> None:
    with pytest.raises(UnknownNetwork, match=reason):
        expected_parameters(architecture, 1, 2)


def test_the_parameters_of_an_unknown_block() -> None:
    kwargs = {key: value for key, value in PLAIN["arch_kwargs"].items() if key != "n_conv_per_stage"}
    name = PLAIN["network_class_name"].replace("PlainConvUNet", "ResidualEncoderUNet")
    architecture = {"network_class_name": name, "arch_kwargs": {**kwargs, "n_blocks_per_stage": 1, "block": "my.Block"}}
    with pytest.raises(UnknownNetwork, match="block Block"):
        expected_parameters(architecture, 1, 2)


def test_a_missing_argument_is_named() -> None:
    kwargs = {key: value for key, value in PLAIN["arch_kwargs"].items() if key != "strides"}
    with pytest.raises(UnknownNetwork, match="needs the argument strides"):
        network_of({**PLAIN, "arch_kwargs": kwargs})


# ---------------------------------------------------------------------------------------------------------------------
# The stage table
# ---------------------------------------------------------------------------------------------------------------------


def test_the_stages_as_rows() -> None:
    assert stages(PLAIN, [16, 64, 48]) == [
        Stage(0, 4, (1, 3, 3), (1, 1, 1), 1, 1, (16, 64, 48)),
        Stage(1, 8, (3, 3, 3), (1, 2, 2), 1, None, (16, 32, 24)),
    ]


def test_there_are_no_sizes_without_a_patch_that_fits() -> None:
    assert [stage.size for stage in stages(PLAIN)] == [None, None]
    assert [stage.size for stage in stages(PLAIN, [64, 64])] == [None, None]


def test_decoders_are_listed_from_the_lowest_stage_up() -> None:
    three = changed(n_stages=3, features_per_stage=4, kernel_sizes=3, strides=1, n_conv_per_stage_decoder=[2, 1])
    assert [stage.decoder for stage in stages(three)] == [1, 2, None]


# ---------------------------------------------------------------------------------------------------------------------
# Networks that only nnU-Net can build
# ---------------------------------------------------------------------------------------------------------------------

ARCHITECTURES = "dynamic_network_architectures.architectures"
PRIMUS: Architecture = {
    "network_class_name": f"{ARCHITECTURES}.primus.Primus",
    "arch_kwargs": {
        "embed_dim": 48,
        "patch_embed_size": [8, 8, 8],
        "eva_depth": 2,
        "eva_numheads": 4,
        "input_shape": [16, 16, 16],
        "decoder_act": "torch.nn.ReLU",
    },
    "_kw_requires_import": ["decoder_act"],
}


@pytest.mark.nnunet
def test_other_networks_are_built_without_output(capfd: pytest.CaptureFixture[str]) -> None:
    derived = runtime.parameters_of(PRIMUS, 2, 3)
    moved = {**PRIMUS, "network_class_name": f"{ARCHITECTURES}.where_it_was.Primus"}
    assert runtime.parameters_of(moved, 2, 3) == derived
    assert capfd.readouterr() == ("", "")
    assert list(derived.items()) == shapes(real_network(PRIMUS, 2, 3))
    assert runtime.parameters_of(PLAIN, 2, 3) == expected_parameters(PLAIN, 2, 3)


@pytest.mark.nnunet
@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"network_class_name": "torch.hub.load"}, "plansguard builds no other networks"),
        ({"network_class_name": f"{ARCHITECTURES}.unet.torch.hub.load"}, "is no network of the installed"),
        ({"network_class_name": f"{ARCHITECTURES}.primus.rearrange"}, "is no network of the installed"),
        ({"network_class_name": f"{ARCHITECTURES}.nothing.Nothing"}, "is no network of the installed"),
        ({"network_class_name": f"{ARCHITECTURES}.primus.PrimusS"}, "cannot be built from its arguments"),
        ({"_kw_requires_import": ["nothing"]}, "cannot be built from its arguments"),
        ({"arch_kwargs": {**PRIMUS["arch_kwargs"], "decoder_act": "torch.nn.init.torch.hub.load"}}, "no layer of"),
        ({"arch_kwargs": {**PRIMUS["arch_kwargs"], "decoder_act": "os.system"}}, "no layer of"),
        ({"arch_kwargs": {**PRIMUS["arch_kwargs"], "rope_kwargs": {"dim": [10**9]}}}, "no network is that large"),
        ({"arch_kwargs": {**PRIMUS["arch_kwargs"], "eva_depth": 10**4}}, "no network is that large"),
    ],
)
def test_nothing_else_is_imported_or_called(change: Architecture, reason: str) -> None:
    with pytest.raises(UnknownNetwork, match=reason):
        runtime.parameters_of({**PRIMUS, **change}, 1, 2)


def test_without_nnunet_the_message_names_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime, "installed", lambda: False)
    with pytest.raises(UsageError) as caught:
        runtime.parameters_of(PRIMUS, 1, 2)
    assert "plansguard[train]" in caught.value.hint
