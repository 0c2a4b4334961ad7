"""Which U-Net some parameters belong to, told by their names and shapes alone: for weights that came without plans."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import count
from typing import Any, NamedTuple

from plansguard.nnunet.network.parameters import shapes_of
from plansguard.nnunet.network.unet import AFFINE, PACKAGE, TRACKED, Network, UnknownNetwork, network_of

Stored = Mapping[str, tuple[int, ...]]
"""Parameter name -> shape, as a checkpoint holds them; there may be more than the network needs."""


class Inferred(NamedTuple):
    """A network and what is no part of its architecture; ``heads`` is None when no segmentation layer is stored."""

    network: Network
    channels: int
    heads: int | None

    @property
    def architecture(self) -> dict[str, Any]:
        """The same as an ``architecture`` of plans, with lists written out.

        What no parameter depends on is filled in as nnU-Net's planners write it: the first stage's stride of 1, the
        nonlinearity, the numbers in keyword arguments. A layer between convolution and normalisation counts as dropout;
        in a PlainConvUNet it could be a nonlinearity as well.
        """
        return _as_written(self.network)


def inferred_network(stored: Stored) -> Inferred | None:
    """The U-Net of nnU-Net that these are the parameters of; None when they are of none, or some are missing.

    Everything that decides names and shapes is found, but for the stride of the first stage: no transposed convolution
    undoes it. nnU-Net's planners always write 1 there, and so does this (2 where a residual network shows that the
    stage has one). Of a single stage a ResidualUNet cannot be told from a ResidualEncoderUNet.
    """
    try:
        network, channels = _read(stored)
        heads = _heads(stored, network)
        sound = network_of(_as_written(network)) == network
    except (KeyError, IndexError, ValueError, UnknownNetwork):
        return None
    whole = sound and not unmet(shapes_of(network, channels, heads or 1), stored)
    return Inferred(network, channels, heads) if whole else None


def unmet(expected: Stored, stored: Stored) -> list[str]:
    """The parameters for which nnU-Net would not load the stored ones, in its order.

    It looks for everything but the segmentation layers under the same name and in the same shape, and does not mind
    what is stored besides. Source: nnunetv2/run/load_pretrained_weights.py.
    """
    return [name for name, shape in expected.items() if ".seg_layers." not in name and stored.get(name) != shape]


def _read(stored: Stored) -> tuple[Network, int]:
    """The network and its input channels; an exception where names or shapes are not a U-Net's."""
    plain = "encoder.stem.convs.0.conv.weight" not in stored
    entry = "encoder.stages.0.0.convs.0" if plain else "encoder.stem.convs.0"
    # A block's kernel sits in its second convolution; its last decides how many features it puts out.
    inner = "0.convs.{}.conv.weight" if plain else "blocks.{}.conv2.conv.weight"
    units = [f"encoder.stages.{stage}.{inner}" for stage in range(_how_many(stored, f"encoder.stages.{{}}.{inner}"))]
    shapes = [stored[unit.format(0)] for unit in units]
    narrow = "encoder.stages.0.blocks.0.conv3.conv.weight" in stored
    wide = [stored[unit.format(0).replace("conv2", "conv3")] for unit in units] if narrow else shapes
    entering, channels = stored[f"{entry}.conv.weight"][:2]
    norm, gap = _norm(stored, entry)
    blocks_up = "decoder.stages.0.blocks.0.conv1.conv.weight" in stored
    network = Network(
        name="PlainConvUNet" if plain else "ResidualUNet" if blocks_up else "ResidualEncoderUNet",
        axes=len(shapes[0]) - 2,
        features=tuple(shape[0] for shape in wide),
        kernels=tuple(shape[2:] for shape in shapes),
        strides=_strides(stored, len(units), len(shapes[0]) - 2),
        encoder=tuple(_how_many(stored, unit) for unit in units),
        decoder=_decoder(stored, len(units) - 1, "blocks.{}.conv1" if blocks_up else "convs.{}"),
        bias=f"{entry}.conv.bias" in stored,
        norm=norm,
        gap=gap,
        stem=None if plain else entering,
        bottleneck=tuple(shape[0] for shape in shapes) if narrow else None,
    )
    return network, channels


def _how_many(stored: Stored, name: str) -> int:
    """How many parameters of this name there are, which has braces for a number counted from 0."""
    first, *others = name.split("{}")
    rest = "0".join(others)
    return next(index for index in count() if f"{first}{index}{rest}" not in stored)


def _norm(stored: Stored, layer: str) -> tuple[tuple[str, ...], int]:
    """What a normalisation layer holds, and how many layers stand between the convolution and it."""
    norm = tuple(name for names in (AFFINE, TRACKED) if f"{layer}.norm.{names[0]}" in stored for name in names)
    positions = [gap for gap in range(3) if norm and f"{layer}.all_modules.{1 + gap}.{norm[0]}" in stored]
    return norm, positions[0] if positions else 0


def _strides(stored: Stored, stages: int, axes: int) -> tuple[tuple[int, ...], ...]:
    """The decoder's transposed convolutions undo the strides, that of the lowest stage first."""
    # In a residual network pooling comes before the convolution of a skip, and moves that to the second place.
    pools = "encoder.stages.0.blocks.0.skip.1.conv.weight" in stored
    steps = range(stages - 2, -1, -1)
    return (2 if pools else 1,) * axes, *(stored[f"decoder.transpconvs.{step}.weight"][2:] for step in steps)


def _decoder(stored: Stored, steps: int, unit: str) -> tuple[int, ...]:
    return tuple(_how_many(stored, f"decoder.stages.{step}.{unit}.conv.weight") for step in range(steps))


def _heads(stored: Stored, network: Network) -> int | None:
    layer = stored.get(f"decoder.seg_layers.{len(network.features) - 2}.weight")
    return layer[0] if layer else None


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
        kwargs["block"] = f"{PACKAGE}.building_blocks.residual.BottleneckD"
        kwargs["bottleneck_channels"] = list(network.bottleneck)
        imports.append("block")
    return {
        "network_class_name": f"{PACKAGE}.architectures.unet.{network.name}",
        "arch_kwargs": kwargs,
        "_kw_requires_import": imports,
    }
