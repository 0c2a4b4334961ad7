"""Why weights do not load: compared with nnU-Net's own loading, and in messages."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from plansguard.nnunet.constants import NETWORK_PACKAGE
from plansguard.nnunet.network.inference import InferredNetwork, inferred_network, unmet
from plansguard.nnunet.network.mismatch import Obstacle, obstacles
from plansguard.nnunet.network.parameters import Shapes, expected_parameters, shapes_of
from plansguard.nnunet.network.unet import network_of
from tests.support.topologies import Architecture, architectures, real_network, variations

WHOLE = ("dimensions", "network")
"""Obstacles that only another architecture removes."""


@st.composite
def pairs(draw: st.DrawFn) -> tuple[tuple[Architecture, int], tuple[Architecture, int]]:
    """Two networks with their input channels; the second is a variation of the first, or a different network."""
    architecture, channels = draw(architectures()), draw(st.integers(1, 2))
    first = network_of(architecture)
    second = draw(variations(first)) if draw(st.integers(0, 9)) else network_of(draw(architectures()))
    others = channels if draw(st.integers(0, 3)) else draw(st.integers(1, 2))
    sides = [(written(architecture), channels), (InferredNetwork(second, others, None).architecture, others)]
    ours, theirs = draw(st.permutations(sides))
    return ours, theirs


def written(architecture: Architecture) -> Architecture:
    """The same with one list entry per stage, so that settings can be copied one by one."""
    return InferredNetwork(network_of(architecture), 1, None).architecture


# ---------------------------------------------------------------------------------------------------------------------
# Whether they load
# ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.nnunet
@pytest.mark.slow
@settings(max_examples=200, suppress_health_check=[HealthCheck.too_slow])
@given(sides=pairs(), heads=st.integers(2, 3), prefix=st.sampled_from(["", "", "", "module._orig_mod."]))
def test_there_are_obstacles_exactly_when_nnunet_does_not_load(
    sides: tuple[tuple[Architecture, int], tuple[Architecture, int]],
    heads: int,
    prefix: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    (ours, channels), (theirs, others) = sides
    network = real_network(ours, channels, heads)
    weights = {f"{prefix}{name}": value for name, value in real_network(theirs, others, 2).state_dict().items()}
    stored = {name: tuple(value.shape) for name, value in weights.items()}
    found = obstacles(expected_parameters(ours, channels, heads), stored, here=ours, theirs=theirs)
    assert (found == []) == nnunet_loads(network, weights, tmp_path_factory.getbasetemp() / "weights.pth")


def nnunet_loads(network: Any, weights: dict[str, Any], path: Path) -> bool:
    """Whether nnU-Net itself loads the weights from a file."""
    import torch
    from nnunetv2.run.load_pretrained_weights import load_pretrained_weights

    torch.save({"network_weights": weights}, path)
    try:
        load_pretrained_weights(network, path)
    except AssertionError:
        return False
    return True


@pytest.mark.slow
@settings(max_examples=200, suppress_health_check=[HealthCheck.too_slow])
@given(sides=pairs())
def test_copying_the_settings_of_all_obstacles_removes_them_and_no_subset_does(
    sides: tuple[tuple[Architecture, int], tuple[Architecture, int]],
) -> None:
    (ours, channels), (theirs, others) = sides
    assume(first_stride(ours) == first_stride(theirs) and not lacks_decoder(ours) and not lacks_decoder(theirs))
    expected, stored = expected_parameters(ours, channels, 2), expected_parameters(theirs, others, 3)
    found = obstacles(expected, stored, here=ours, theirs=theirs)
    assert bool(found) == bool(unmet(expected, stored))
    assert {one.key for one in found} <= set(unmet(expected, stored))
    assert not unmet(fixed(found, *sides), stored)
    assert "parameters" not in {one.kind for one in found}
    if any("n_stages" in one.settings for one in found):
        return  # then every list changes, and the other obstacles with them
    for one in found:
        rest = [other for other in found if other.kind not in WHOLE and other is not one]
        assert unmet(fixed(rest, *sides, besides=one.settings), stored), f"{one} is none"


def first_stride(architecture: Architecture) -> bool | None:
    """Whether the first stage pools; None where the parameters do not show it."""
    network = network_of(architecture)
    shows = not network.plain and network.stem != network.features[0]
    return any(factor != 1 for factor in network.strides[0]) if shows else None


def lacks_decoder(architecture: Architecture) -> bool:
    """Whether the class is that of a residual decoder although there is none."""
    network = network_of(architecture)
    return network.name == "ResidualUNet" and len(network.features) == 1


def fixed(
    found: list[Obstacle],
    ours: tuple[Architecture, int],
    theirs: tuple[Architecture, int],
    besides: tuple[str, ...] = (),
) -> Shapes:
    """The parameters of the network with the settings of the obstacles copied from the weights."""
    (architecture, channels), (others, their_channels) = ours, theirs
    taken = {setting for one in found for setting in one.settings} - set(besides)
    kinds = {one.kind for one in found}
    kwargs = {key: value for key, value in architecture["arch_kwargs"].items() if key not in taken}
    kwargs |= {key: value for key, value in others["arch_kwargs"].items() if key in taken}
    changed = others if kinds & set(WHOLE) else {**architecture, "arch_kwargs": kwargs}
    return expected_parameters(changed, their_channels if "channels" in kinds else channels, 2)


# ---------------------------------------------------------------------------------------------------------------------
# In messages
# ---------------------------------------------------------------------------------------------------------------------


def network(name: str = "PlainConvUNet", axes: int = 3, **kwargs: Any) -> Architecture:
    """Six stages as nnU-Net's planner writes them for anisotropic images, with some arguments replaced."""
    counts = "n_conv_per_stage" if name == "PlainConvUNet" else "n_blocks_per_stage"
    slices, cubes = [1, 2, 2][-axes:], [2, 2, 2][-axes:]
    given = {
        "n_stages": 6,
        "features_per_stage": [32, 64, 128, 256, 320, 320],
        "conv_op": f"torch.nn.modules.conv.Conv{axes}d",
        "kernel_sizes": [[1, 3, 3][-axes:], *[[3, 3, 3][-axes:]] * 5],
        "strides": [[1, 1, 1][-axes:], slices, cubes, cubes, cubes, slices],
        counts: [2, 2, 2, 2, 2, 2],
        "n_conv_per_stage_decoder": [2, 2, 2, 2, 2],
        "conv_bias": True,
        "norm_op": f"torch.nn.modules.instancenorm.InstanceNorm{axes}d",
        "norm_op_kwargs": {"eps": 1e-05, "affine": True},
        **kwargs,
    }
    return {"network_class_name": f"{NETWORK_PACKAGE}.architectures.unet.{name}", "arch_kwargs": given}


CUBES = [1, *[2] * 5]
SEVEN: dict[str, Any] = {
    "n_stages": 7,
    "features_per_stage": [32, 64, 128, 256, 320, 320, 320],
    "kernel_sizes": [[1, 3, 3], *[3] * 6],
    "strides": [1, [1, 2, 2], 2, 2, 2, [1, 2, 2], [1, 2, 2]],
    "n_conv_per_stage": 2,
    "n_conv_per_stage_decoder": 2,
}
BATCH_NORM: dict[str, Any] = {"norm_op": "torch.nn.BatchNorm3d", "norm_op_kwargs": None}
DROPOUT: dict[str, Any] = {"dropout_op": "torch.nn.Dropout3d", "dropout_op_kwargs": {"p": 0.2}}
RESIDUAL = "ResidualEncoderUNet"

SAID: dict[str, tuple[Architecture, Architecture, list[str]]] = {
    "one stride": (
        network(),
        network(strides=[1, [1, 2, 2], 2, 2, 2, 2]),
        [
            "stage 5 pools [1, 2, 2] here and [2, 2, 2] in the weights (strides, axis 0; stages and axes count from 0)",
        ],
    ),
    "strides and kernels": (
        network(),
        network(strides=CUBES, kernel_sizes=3),
        [
            "stage 1 pools [1, 2, 2] here and [2, 2, 2] in the weights; stage 5 differs too "
            "(strides, axis 0; stages and axes count from 0)",
            "stage 0 has kernels of [1, 3, 3] here and [3, 3, 3] in the weights (kernel_sizes, axis 0)",
        ],
    ),
    "a stage more": (network(), network(**SEVEN), ["6 stages here, 7 in the weights (n_stages)"]),
    "features": (
        network(),
        network(features_per_stage=[32, 64, 128, 256, 512, 512]),
        [
            "stage 4 has 320 features here and 512 in the weights; stage 5 differs too "
            "(features_per_stage; stages count from 0)"
        ],
    ),
    "more convolutions": (
        network(n_conv_per_stage=[2, 2, 3, 3, 3, 2], n_conv_per_stage_decoder=[3, 2, 2, 2, 2]),
        network(),
        [
            "stage 2 has 3 convolutions here and 2 in the weights; stages 3 and 4 differ too "
            "(n_conv_per_stage; stages count from 0)",
            "the decoder has 3 convolutions at stage 4 here and 2 in the weights (n_conv_per_stage_decoder)",
        ],
    ),
    "fewer convolutions": (network(n_conv_per_stage=1), network(), []),
    "other class": (
        network(RESIDUAL),
        network(strides=CUBES),
        ["the network is a ResidualEncoderUNet here, a PlainConvUNet in the weights"],
    ),
    "other dimensions": (network(axes=2), network(), ["2D here, 3D in the weights"]),
    "batch normalization": (
        network(**BATCH_NORM),
        network(),
        [
            "normalization layers have affine parameters and running statistics (BatchNorm) here and "
            "affine parameters (InstanceNorm) in the weights (norm_op, norm_op_kwargs)"
        ],
    ),
    "weights of batch normalization": (network(), network(**BATCH_NORM), []),
    "dropout": (
        network(RESIDUAL),
        network(RESIDUAL, **DROPOUT),
        ["0 layers between convolution and normalization here and 1 in the weights (dropout_op)"],
    ),
    "no bias": (
        network(),
        network(conv_bias=False),
        ["convolutions have a bias here and none in the weights (conv_bias)"],
    ),
    "stem": (
        network(RESIDUAL, stem_channels=16),
        network(RESIDUAL),
        ["the stem has 16 features here and 32 in the weights (stem_channels)"],
    ),
    "first stage": (
        network(RESIDUAL, stem_channels=16, strides=[[1, 2, 2], *CUBES[1:]]),
        network(RESIDUAL, stem_channels=16, strides=CUBES),
        ["stage 0 pools here and not in the weights (strides; stages count from 0)"],
    ),
    "blocks": (
        network(RESIDUAL),
        network(RESIDUAL, block="BottleneckD", bottleneck_channels=8),
        ["blocks are BasicBlockD here and BottleneckD in the weights (block)"],
    ),
}


@pytest.mark.parametrize("case", SAID)
def test_causes_are_reported_in_terms_of_plans(case: str) -> None:
    ours, theirs, said = SAID[case]
    expected, stored = expected_parameters(ours, 1, 2), expected_parameters(theirs, 1, 2)
    assert [one.what for one in obstacles(expected, stored)] == said


@pytest.mark.parametrize(
    ("cascade", "reason"),
    [
        (False, "channel_names of dataset.json"),
        (True, "channel_names, and one more per foreground label"),
    ],
)
def test_channels_do_not_depend_on_plans(cascade: bool, reason: str) -> None:
    architecture = network()
    expected, stored = expected_parameters(architecture, 2, 2), expected_parameters(architecture, 1, 5)
    what = f"2 input channels here, 1 in the weights ({reason})"
    key = "encoder.stages.0.0.convs.0.conv.weight"
    assert obstacles(expected, stored, cascade=cascade) == [Obstacle("channels", what, key=key)]


def test_a_bottleneck_with_the_parameters_of_a_basic_block_is_no_obstacle() -> None:
    features, kernels = [32, 64, 128, 256, 320, 320], [[1, 1, 1]] * 6
    ours = network("ResidualEncoderUNet", kernel_sizes=kernels)
    block = f"{NETWORK_PACKAGE}.building_blocks.residual.BottleneckD"
    theirs = network("ResidualEncoderUNet", kernel_sizes=kernels, block=block, bottleneck_channels=features)
    assert obstacles(expected_parameters(ours, 1, 2), expected_parameters(theirs, 1, 2)) == []
    (obstacle,) = obstacles(expected_parameters(theirs, 1, 2), expected_parameters(ours, 1, 2))
    assert obstacle.settings == ("block", "bottleneck_channels")
    # Here only the kernels differ, although the blocks do too.
    wide = network("ResidualEncoderUNet")
    (obstacle,) = obstacles(expected_parameters(wide, 1, 2), expected_parameters(theirs, 1, 2))
    assert (obstacle.kind, obstacle.settings) == ("topology", ("kernel_sizes",))


def test_obstacles_point_to_parameters_and_settings() -> None:
    expected = expected_parameters(network(), 1, 2)
    stored = expected_parameters(network(strides=[1, [1, 2, 2], 2, 2, 1, [1, 2, 2]], conv_bias=False), 1, 2)
    found = obstacles(expected, stored)
    assert [(one.kind, one.settings, one.key) for one in found] == [
        ("topology", ("strides",), "decoder.transpconvs.1.weight"),
        ("layers", ("conv_bias",), "encoder.stages.0.0.convs.0.conv.bias"),
    ]


def test_prefixes_are_reported_first_and_hide_nothing() -> None:
    expected = expected_parameters(network(), 1, 2)
    for architecture, others in ((network(), []), (network(**SEVEN), ["6 stages here, 7 in the weights (n_stages)"])):
        bare = expected_parameters(architecture, 1, 2)
        stored = {f"module.{name}": shape for name, shape in bare.items()}
        said = [one.what for one in obstacles(expected, stored)]
        assert said == ["all names in the weights begin with module., which nnU-Net does not take off", *others]


def test_an_encoder_without_a_decoder() -> None:
    expected = expected_parameters(network(), 1, 2)
    stored = {name: shape for name, shape in expected.items() if name.startswith("encoder.")}
    (obstacle,) = obstacles(expected, stored)
    assert obstacle.kind == "parameters"
    assert obstacle.what == (
        "the weights have an encoder without a decoder; decoder.encoder.stages.0.0.convs.0.conv.weight is "
        f"32 x 1 x 1 x 3 x 3 here and missing in the weights; {len(unmet(expected, stored)) - 1} more parameters do "
        "not fit either"
    )


def test_unknown_layers_are_reported_by_parameter() -> None:
    stored = expected_parameters(network(), 1, 2)
    expected = {**stored, "decoder.attention.weight": (1, 320), "decoder.count": ()}
    assert [one.what for one in obstacles(expected, stored)] == [
        "decoder.attention.weight is 1 x 320 here and missing in the weights; 1 more parameter does not fit either"
    ]
    other = {**expected_parameters(network(conv_bias=False), 1, 2), "decoder.count": (1,)}
    assert [one.what for one in obstacles(expected, other)] == [
        "convolutions have a bias here and none in the weights (conv_bias)",
        "decoder.attention.weight is 1 x 320 here and missing in the weights; 1 more parameter does not fit either",
    ]
    assert obstacles(stored, expected) == []


def test_other_networks_are_compared_by_plans() -> None:
    primus: Architecture = {"network_class_name": "dynamic_network_architectures.architectures.primus.Primus"}
    small, large = ({**primus, "arch_kwargs": {"embed_dim": size, "eva_depth": 12}} for size in (396, 864))
    expected, stored = {"eva.pos_embed": (1, 8, 396)}, {"eva.pos_embed": (1, 8, 864)}
    ours = expected_parameters(network(), 1, 2)
    said = ["the network is a PlainConvUNet here, a Primus in the weights"]
    assert [one.what for one in obstacles(ours, stored, theirs=large)] == said
    other_size = {**large, "arch_kwargs": {**large["arch_kwargs"], "input_shape": list(range(99))}}
    (obstacle,) = obstacles(expected, stored, here=small, theirs=other_size)
    assert obstacle.what.startswith("embed_dim is 396 here and 864 in the weights; input_shape differs; eva.pos_embed")
    assert [one.what for one in obstacles(expected, stored, here=small, theirs=large)] == [
        "embed_dim is 396 here and 864 in the weights; eva.pos_embed is 1 x 8 x 396 here and 1 x 8 x 864 in the weights"
    ]
    assert [one.what for one in obstacles(expected, stored)] == [
        "eva.pos_embed is 1 x 8 x 396 here and 1 x 8 x 864 in the weights"
    ]


# ---------------------------------------------------------------------------------------------------------------------
# Networks inferred from their parameters
# ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@settings(max_examples=300, suppress_health_check=[HealthCheck.too_slow])
@given(architecture=architectures(), channels=st.integers(1, 3), heads=st.integers(1, 3))
def test_a_network_is_inferred_from_its_parameters(architecture: Architecture, channels: int, heads: int) -> None:
    network, parameters = network_of(architecture), expected_parameters(architecture, channels, heads)
    inferred = inferred_network(parameters)
    assert inferred is not None
    one_stage = len(network.features) == 1
    assert (inferred.channels, inferred.heads) == (channels, None if one_stage else heads)
    first = inferred.network.strides[:1]
    assert first in [((1,) * network.axes,), ((2,) * network.axes,)]
    as_inferred = replace(network, strides=first + network.strides[1:])
    if one_stage and network.name == "ResidualUNet":
        as_inferred = replace(as_inferred, name="ResidualEncoderUNet")
    assert inferred.network == as_inferred
    assert network_of(inferred.architecture) == inferred.network
    assert list(expected_parameters(inferred.architecture, channels, heads).items()) == list(parameters.items())


def test_additional_parameters_do_not_matter() -> None:
    parameters = expected_parameters(network(), 1, 2)
    inferred = inferred_network({"mask_token": (1,), **parameters, "decoder.attention.weight": (1, 320)})
    assert inferred is not None
    assert inferred == inferred_network(parameters)


@pytest.mark.parametrize(
    "stored",
    [
        {},
        {"eva.pos_embed": (1, 8, 864)},
        {"encoder.stages.0.0.convs.0.conv.weight": ()},
        {"encoder.stages.0.0.convs.0.conv.weight": (32, 1)},
        {"encoder.stem.convs.0.conv.weight": (32, 1, 3, 3)},
        {name: shape for name, shape in expected_parameters(network(), 1, 2).items() if "transpconvs.2" not in name},
        {name: shape for name, shape in expected_parameters(network(), 1, 2).items() if ".norm.bias" not in name},
        shapes_of(replace(network_of(network()), kernels=((3, 3, 3), *((3, 3),) * 5)), 1, 2),
        shapes_of(replace(network_of(network()), features=(0,) * 6), 1, 2),
        shapes_of(
            replace(
                network_of(
                    network(
                        n_stages=1,
                        features_per_stage=4,
                        kernel_sizes=3,
                        strides=1,
                        n_conv_per_stage=1,
                        n_conv_per_stage_decoder=1,
                    )
                ),
                axes=4,
                kernels=((3,) * 4,),
            ),
            1,
            2,
        ),
    ],
)
def test_an_incomplete_unet_is_not_inferred(stored: Shapes) -> None:
    assert inferred_network(stored) is None
