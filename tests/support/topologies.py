"""Random networks in the form of plans, and the real networks that nnU-Net builds from them."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from hypothesis import strategies as st

from plansguard.nnunet.constants import NETWORK_PACKAGE
from plansguard.nnunet.network.unet import AFFINE, TRACKED, Network

Architecture = dict[str, Any]

_FEATURES = st.sampled_from([1, 2, 3, 4])
_COUNTS = st.integers(1, 3)


@st.composite
def architectures(draw: st.DrawFn, most_stages: int = 4) -> Architecture:
    """Draw an architecture of one of nnU-Net's U-Nets, with every argument of its classes."""
    name = draw(st.sampled_from(["PlainConvUNet", "ResidualEncoderUNet", "ResidualUNet"]))
    axes, stages = draw(st.sampled_from([1, 2, 3])), draw(st.integers(1, most_stages))
    plain = name == "PlainConvUNet"
    kwargs = {
        "n_stages": stages,
        "features_per_stage": draw(_per_stage(_FEATURES, stages)),
        "conv_op": f"torch.nn.modules.conv.Conv{axes}d",
        "kernel_sizes": draw(_per_stage_and_axis(st.sampled_from([1, 3, 5]), stages, axes)),
        "strides": draw(_per_stage_and_axis(st.sampled_from([1, 2, 3]), stages, axes)),
        "n_conv_per_stage" if plain else "n_blocks_per_stage": draw(_per_stage(_COUNTS, stages)),
        "n_conv_per_stage_decoder": draw(_per_stage(_COUNTS, stages - 1)),
        "deep_supervision": draw(st.booleans()),
        **draw(_operations(axes)),
    }
    if plain:
        kwargs |= draw(st.fixed_dictionaries({}, optional={"nonlin_first": st.booleans()}))
    else:
        kwargs |= draw(st.fixed_dictionaries({}, optional={"stem_channels": st.none() | _FEATURES}))
        kwargs |= draw(_block(stages))
    imports = [key for key in ("conv_op", "norm_op", "dropout_op", "nonlin", "block") if key in kwargs]
    return {
        "network_class_name": f"{NETWORK_PACKAGE}.architectures.unet.{name}",
        "arch_kwargs": kwargs,
        "_kw_requires_import": imports,
    }


def _per_stage(numbers: st.SearchStrategy[int], stages: int) -> st.SearchStrategy[int | list[int]]:
    return numbers | st.lists(numbers, min_size=stages, max_size=stages)


def _per_stage_and_axis(numbers: st.SearchStrategy[int], stages: int, axes: int) -> st.SearchStrategy[Any]:
    one = numbers | st.lists(numbers, min_size=axes, max_size=axes)
    return numbers | st.lists(one, min_size=stages, max_size=stages)


@st.composite
def _operations(draw: st.DrawFn, axes: int) -> dict[str, Any]:
    """Draw the operations between the convolutions; keyword arguments may be absent."""
    norm = draw(st.sampled_from([None, "instancenorm.InstanceNorm", "batchnorm.BatchNorm"]))
    flags = {"eps": st.just(1e-5), "affine": st.booleans(), "track_running_stats": st.booleans()}
    dropout = draw(st.booleans())
    nonlinearity = draw(st.sampled_from([None, "torch.nn.LeakyReLU"]))
    written = {
        "conv_bias": st.booleans(),
        "norm_op": st.just(norm and f"torch.nn.modules.{norm}{axes}d"),
        "norm_op_kwargs": st.none() | st.fixed_dictionaries({}, optional=flags),
        "nonlin": st.just(nonlinearity),
        "nonlin_kwargs": st.none() | st.just({"inplace": True}),
    }
    drops = {"dropout_op": f"torch.nn.modules.dropout.Dropout{axes}d", "dropout_op_kwargs": {"p": 0.5}}
    without: dict[str, Any] = draw(st.sampled_from([{}, {"dropout_op": None, "dropout_op_kwargs": None}]))
    return {**draw(st.fixed_dictionaries({}, optional=written)), **(drops if dropout else without)}


@st.composite
def _block(draw: st.DrawFn, stages: int) -> dict[str, Any]:
    path = f"{NETWORK_PACKAGE}.building_blocks.residual."
    bottleneck = {"block": f"{path}BottleneckD", "bottleneck_channels": draw(_per_stage(_FEATURES, stages))}
    return draw(st.sampled_from([{}, {"block": f"{path}BasicBlockD"}, {"bottleneck_channels": None}, bottleneck]))


def real_network(architecture: Architecture, channels: int, heads: int) -> Any:
    """Build the network with nnU-Net on torch's meta device, where parameters have shapes and no values."""
    import torch
    from nnunetv2.utilities.get_network_from_plans import get_network_from_plans

    with contextlib.redirect_stdout(io.StringIO()), torch.device("meta"):
        return get_network_from_plans(
            architecture["network_class_name"],
            architecture["arch_kwargs"],
            architecture["_kw_requires_import"],
            channels,
            heads,
            allow_init=False,
        )


def shapes(network: Any) -> list[tuple[str, tuple[int, ...]]]:
    """Return names and shapes of the parameters of a real network, in its order."""
    return [(name, tuple(value.shape)) for name, value in network.state_dict().items()]


@st.composite
def variations(draw: st.DrawFn, network: Network) -> Network:
    """Draw the same network with one to three settings changed."""
    for change in draw(st.lists(st.sampled_from(_CHANGES), min_size=1, max_size=3)):
        network = change(draw, network)
    return network


def _one(draw: st.DrawFn, values: tuple[Any, ...], other: st.SearchStrategy[Any]) -> tuple[Any, ...]:
    """Draw the list with one value changed."""
    index = draw(st.integers(0, len(values) - 1)) if values else 0
    return (*values[:index], *([draw(other)] if values else []), *values[index + 1 :])


def _topology(draw: st.DrawFn, network: Network) -> Network:
    axes = st.tuples(*[st.sampled_from([1, 2, 3])] * network.axes)
    return replace(network, strides=_one(draw, network.strides, axes))


def _kernels(draw: st.DrawFn, network: Network) -> Network:
    axes = st.tuples(*[st.sampled_from([1, 3])] * network.axes)
    return replace(network, kernels=_one(draw, network.kernels, axes))


def _features(draw: st.DrawFn, network: Network) -> Network:
    return replace(network, features=_one(draw, network.features, _FEATURES))


def _encoder(draw: st.DrawFn, network: Network) -> Network:
    return replace(network, encoder=_one(draw, network.encoder, _COUNTS))


def _decoder(draw: st.DrawFn, network: Network) -> Network:
    return replace(network, decoder=_one(draw, network.decoder, _COUNTS))


def _stem(draw: st.DrawFn, network: Network) -> Network:
    return network if network.plain else replace(network, stem=draw(_FEATURES))


def _bottleneck(draw: st.DrawFn, network: Network) -> Network:
    features = st.lists(_FEATURES, min_size=len(network.features), max_size=len(network.features))
    return network if network.plain else replace(network, bottleneck=draw(st.none() | features.map(tuple)))


def _name(draw: st.DrawFn, network: Network) -> Network:
    name = draw(st.sampled_from(["PlainConvUNet", "ResidualEncoderUNet", "ResidualUNet"]))
    plain = name == "PlainConvUNet"
    stem = None if plain else network.stem or network.features[0]
    gap = network.gap if plain else min(network.gap, 1)
    return replace(network, name=name, stem=stem, gap=gap, bottleneck=None if plain else network.bottleneck)


def _axes(draw: st.DrawFn, network: Network) -> Network:
    axes = draw(st.sampled_from([1, 2, 3]))
    kernels, strides = (tuple((*one, 1, 1)[:axes] for one in lists) for lists in (network.kernels, network.strides))
    return replace(network, axes=axes, kernels=kernels, strides=strides)


def _stages(draw: st.DrawFn, network: Network) -> Network:
    """Draw one stage fewer, or the lowest stage repeated."""
    fewer = len(network.features) > 1 and draw(st.booleans())

    def lowest(values: tuple[Any, ...]) -> tuple[Any, ...]:
        return values[:-1] if fewer else (*values, values[-1])

    decoder = network.decoder[1:] if fewer else (1, *network.decoder)
    lists: dict[str, Any] = {
        name: lowest(getattr(network, name)) for name in ("features", "kernels", "strides", "encoder")
    }
    return replace(network, decoder=decoder, bottleneck=network.bottleneck and lowest(network.bottleneck), **lists)


def _bias(draw: st.DrawFn, network: Network) -> Network:
    return replace(network, bias=draw(st.booleans()))


def _norm(draw: st.DrawFn, network: Network) -> Network:
    norm = draw(st.sampled_from([(), AFFINE, TRACKED, (*AFFINE, *TRACKED)]))
    gap = draw(st.integers(0, 2 if network.plain else 1)) if norm else 0
    return replace(network, norm=norm, gap=gap)


_CHANGES: list[Callable[[st.DrawFn, Network], Network]] = [
    *(_topology, _kernels, _features, _encoder, _decoder, _stem),
    *(_bottleneck, _name, _axes, _stages, _bias, _norm),
]
