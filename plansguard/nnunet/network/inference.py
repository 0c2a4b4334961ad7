"""Inference of a U-Net from the names and shapes of its parameters, for weights without plans."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import count
from typing import Any, NamedTuple

from plansguard.nnunet.constants import NETWORK_PACKAGE
from plansguard.nnunet.network.parameters import shapes_of
from plansguard.nnunet.network.unet import AFFINE, TRACKED, Network, UnknownNetwork, network_of

Stored = Mapping[str, tuple[int, ...]]
"""Parameter name -> shape, as in a checkpoint; there may be more than the network needs."""


class InferredNetwork(NamedTuple):
    """A network, its input channels and heads; ``heads`` is None when no segmentation layer is stored."""

    network: Network
    channels: int
    heads: int | None

    @property
    def architecture(self) -> dict[str, Any]:
        """The network as an ``architecture`` of plans, with one list entry per stage.

        Arguments that no parameter depends on have the values that nnU-Net's planners write: the first stage's stride
        of 1, the nonlinearity, the numbers in keyword arguments. A layer between convolution and normalization counts
        as dropout; in a PlainConvUNet it could also be a nonlinearity.
        """
        return _as_written(self.network)


def inferred_network(stored: Stored) -> InferredNetwork | None:
    """The U-Net with these parameters; None when they belong to no U-Net of nnU-Net, or some are missing.

    Every property that decides names and shapes is inferred, except the stride of the first stage, which no transposed
    convolution reverses. It is 1, as in plans of nnU-Net's planners, or 2 where a residual network shows that there is
    one. With a single stage, a ResidualUNet looks like a ResidualEncoderUNet.
    """
    try:
        network, channels = _read(stored)
        heads = next(iter(stored.get(f"decoder.seg_layers.{len(network.features) - 2}.weight") or ()), None)
        is_valid = network_of(_as_written(network)) == network
    except (KeyError, IndexError, ValueError, UnknownNetwork):
        return None
    is_complete = is_valid and not unmet(shapes_of(network, channels, heads or 1), stored)
    return InferredNetwork(network, channels, heads) if is_complete else None


def unmet(expected: Stored, stored: Stored) -> list[str]:
    """The expected parameters that are not stored under the same name and in the same shape, in nnU-Net's order.

    nnU-Net loads no weights if there is one. It ignores segmentation layers and additional parameters. Source:
    nnunetv2/run/load_pretrained_weights.py.
    """
    return [name for name, shape in expected.items() if ".seg_layers." not in name and stored.get(name) != shape]


def _read(stored: Stored) -> tuple[Network, int]:
    """The network and its input channels; raises an exception where names or shapes are not those of a U-Net."""
    plain = "encoder.stem.convs.0.conv.weight" not in stored
    entry = "encoder.stages.0.0.convs.0" if plain else "encoder.stem.convs.0"
    # A block's kernel is in its second convolution; its last one decides the number of output features.
    inner = "0.convs.{}.conv.weight" if plain else "blocks.{}.conv2.conv.weight"
    units = [f"encoder.stages.{stage}.{inner}" for stage in range(_how_many(stored, f"encoder.stages.{{}}.{inner}"))]
    shapes = [stored[unit.format(0)] for unit in units]
    narrow = "encoder.stages.0.blocks.0.conv3.conv.weight" in stored
    wide = [stored[unit.format(0).replace("conv2", "conv3")] for unit in units] if narrow else shapes
    entering, channels = stored[f"{entry}.conv.weight"][:2]
    norm, gap = _norm(stored, entry)
    blocks_up = "decoder.stages.0.blocks.0.conv1.conv.weight" in stored
    up = "blocks.{}.conv1" if blocks_up else "convs.{}"
    network = Network(
        name="PlainConvUNet" if plain else "ResidualUNet" if blocks_up else "ResidualEncoderUNet",
        axes=len(shapes[0]) - 2,
        features=tuple(shape[0] for shape in wide),
        kernels=tuple(shape[2:] for shape in shapes),
        strides=_strides(stored, len(units), len(shapes[0]) - 2),
        encoder=tuple(_how_many(stored, unit) for unit in units),
        decoder=tuple(_how_many(stored, f"decoder.stages.{step}.{up}.conv.weight") for step in range(len(units) - 1)),
        bias=f"{entry}.conv.bias" in stored,
        norm=norm,
        gap=gap,
        stem=None if plain else entering,
        bottleneck=tuple(shape[0] for shape in shapes) if narrow else None,
    )
    return network, channels


def _how_many(stored: Stored, name: str) -> int:
    """The number of parameters of this name, which has braces for a number counted from 0."""
    first, *others = name.split("{}")
    rest = "0".join(others)
    return next(index for index in count() if f"{first}{index}{rest}" not in stored)


def _norm(stored: Stored, layer: str) -> tuple[tuple[str, ...], int]:
    """The parameters of a normalization layer, and the number of layers between the convolution and it."""
    norm = tuple(name for names in (AFFINE, TRACKED) if f"{layer}.norm.{names[0]}" in stored for name in names)
    positions = [gap for gap in range(3) if norm and f"{layer}.all_modules.{1 + gap}.{norm[0]}" in stored]
    return norm, positions[0] if positions else 0


def _strides(stored: Stored, stages: int, axes: int) -> tuple[tuple[int, ...], ...]:
    """The strides, which the decoder's transposed convolutions reverse, that of the lowest stage first."""
    # In a residual network pooling precedes the convolution of a skip, which so becomes the second layer.
    pools = "encoder.stages.0.blocks.0.skip.1.conv.weight" in stored
    steps = range(stages - 2, -1, -1)
    return (2 if pools else 1,) * axes, *(stored[f"decoder.transpconvs.{step}.weight"][2:] for step in steps)


def _as_written(network: Network) -> dict[str, Any]:
    axes, tracks, affine = network.axes, "running_mean" in network.norm, "weight" in network.norm
    kind = f"batchnorm.BatchNorm{axes}d" if tracks else f"instancenorm.InstanceNorm{axes}d"
    kwargs = {
        "n_stages": len(network.features),
        "features_per_stage": list(network.features),
        "conv_op": f"torch.nn.modules.conv.Conv{axes}d",
        "kernel_sizes": [list(kernel) for kernel in network.kernels],
        "strides": [list(stride) for stride in network.strides],
        network.counted_by: list(network.encoder),
        "n_conv_per_stage_decoder": list(network.decoder),
        "conv_bias": network.bias,
        "norm_op": f"torch.nn.modules.{kind}" if network.norm else None,
        "norm_op_kwargs": {"eps": 1e-05, "affine": affine},
        "dropout_op": f"torch.nn.modules.dropout.Dropout{axes}d" if network.gap else None,
        "dropout_op_kwargs": {} if network.gap else None,
        "nonlin": "torch.nn.LeakyReLU",
        "nonlin_kwargs": {"inplace": True},
    }
    imports = ["conv_op", "norm_op", "dropout_op", "nonlin"]
    if network.gap > 1:
        kwargs["nonlin_first"] = True
    if network.stem not in (None, network.features[0]):
        kwargs["stem_channels"] = network.stem
    if network.bottleneck:
        kwargs["block"] = f"{NETWORK_PACKAGE}.building_blocks.residual.BottleneckD"
        kwargs["bottleneck_channels"] = list(network.bottleneck)
        imports.append("block")
    return {
        "network_class_name": f"{NETWORK_PACKAGE}.architectures.unet.{network.name}",
        "arch_kwargs": kwargs,
        "_kw_requires_import": imports,
    }
