"""Names and shapes of the parameters of the network of plans and dataset.json, without torch.

Names and their order are those of ``state_dict()`` of the networks in dynamic_network_architectures 0.4.4. Modules that
a network contains twice have two names there: convolutions also under ``all_modules``, the encoder also under
``decoder``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from math import prod
from typing import Any

from plansguard.nnunet.network.unet import TRACKED, Network, UnknownNetwork, network_of

Shapes = dict[str, tuple[int, ...]]
"""Parameter name -> shape: (features, channels, *kernel) of a convolution, (features, fewer, *stride) of a transposed
one, with kernel and stride in the order of the array axes."""
_Named = Iterator[tuple[str, tuple[int, ...]]]
#: A weight and its momentum, float32 each.
_BYTES_PER_PARAMETER = 8
_BY_POSITION = re.compile(r"(^|\.)all_modules\.(\d+)\.")
_TWICE = re.compile(r"(^|\.)all_modules\.|^decoder\.encoder\.")


def input_channels(configuration: Mapping[str, Any], dataset_json: Mapping[str, Any]) -> int:
    """The number of input channels: those of the images, and in a cascade one more per foreground label.

    ``configuration`` is resolved. Raises UnknownNetwork when dataset.json does not contain them. Source:
    determine_num_input_channels in nnunetv2/utilities/label_handling/label_handling.py.
    """
    names = dataset_json.get("modality" if "modality" in dataset_json else "channel_names")
    if not isinstance(names, (Mapping, list)):
        raise UnknownNetwork("dataset.json does not name its channels")
    if configuration.get("previous_stage") is None:
        return len(names)
    return len(names) + len(_values(_labels(dataset_json)) - {0})


def segmentation_heads(dataset_json: Mapping[str, Any]) -> int:
    """The number of output maps: one per label, background included, or one per region.

    Raises UnknownNetwork when dataset.json does not contain them. Source: LabelManager.num_segmentation_heads, in the
    same file.
    """
    labels = _labels(dataset_json)
    if not has_regions(dataset_json):
        return len(_values(labels))
    regions = (set(value) if isinstance(value, (list, tuple)) else {value} for value in labels.values())
    return sum(region != {0} for region in regions)


def has_regions(dataset_json: Mapping[str, Any]) -> bool:
    """Whether the output maps are regions, each with a sigmoid of its own, and not labels, which share a softmax."""
    return any(isinstance(value, (list, tuple)) and len(value) > 1 for value in _labels(dataset_json).values())


def head_names(dataset_json: Mapping[str, Any]) -> list[str]:
    """The label or the region of each output map, in their order; of labels with the same value, the first.

    Raises UnknownNetwork when dataset.json does not contain them. Source: LabelManager, in the same file.
    """
    labels = _labels(dataset_json)
    if has_regions(dataset_json):
        return [name for name, value in labels.items() if _values({name: value}) != {0}]
    named: dict[int, str] = {}
    for name, value in labels.items():
        for number in _values({name: value}):
            named.setdefault(number, name)
    return [named[number] for number in sorted(named)]


def previous_stage_names(configuration: Mapping[str, Any], dataset_json: Mapping[str, Any]) -> list[str]:
    """The input channels that a cascade adds to those of the images: one for each foreground label, by its value."""
    if configuration.get("previous_stage") is None:
        return []
    labels = _labels(dataset_json)
    if has_regions(dataset_json):
        return [f"previous stage: {value}" for value in sorted(_values(labels) - {0})]
    return [f"previous stage: {name}" for name in head_names(dataset_json) if _values({name: labels[name]}) != {0}]


def _labels(dataset_json: Mapping[str, Any]) -> dict[str, Any]:
    """The labels except ``ignore``, which is not learned."""
    labels = dataset_json.get("labels")
    if not isinstance(labels, Mapping):
        raise UnknownNetwork("dataset.json has no labels")
    return {name: value for name, value in labels.items() if name != "ignore"}


def _values(labels: Mapping[str, Any]) -> set[int]:
    listed = (value if isinstance(value, (list, tuple)) else [value] for value in labels.values())
    try:
        return {int(value) for values in listed for value in values}
    except (TypeError, ValueError, OverflowError) as error:
        raise UnknownNetwork("the labels in dataset.json are not numbers") from error


def expected_parameters(architecture: Mapping[str, Any], channels: int, heads: int) -> Shapes:
    """Names and shapes in ``state_dict()`` of this network, in its order.

    ``architecture`` is the result of inheritance.modern_architecture; ``channels`` and ``heads`` are input_channels and
    segmentation_heads. Raises UnknownNetwork for other networks than nnU-Net's U-Nets, or arguments that they refuse.
    """
    return shapes_of(network_of(architecture), channels, heads)


def shapes_of(network: Network, channels: int, heads: int) -> Shapes:
    """The same for a network that was read before."""
    return dict(_unet(network, channels, heads))


def canonical(name: str) -> str:
    """The name of a parameter without the detours by which it has two: by ``all_modules`` and ``decoder.encoder``.

    The convolution is the first of ``all_modules``; the only other layer with parameters is the normalization.
    """
    name = name.removeprefix("decoder.") if name.startswith("decoder.encoder.") else name
    return _BY_POSITION.sub(lambda match: match[1] + ("conv." if match[2] == "0" else "norm."), name)


def counted_once(shapes: Mapping[str, tuple[int, ...]]) -> Iterator[tuple[str, tuple[int, ...]]]:
    """The parameters under one name each, although many have two."""
    return ((name, shape) for name, shape in shapes.items() if not _TWICE.search(name))


def number_of_parameters(shapes: Mapping[str, tuple[int, ...]]) -> int:
    """The number of learned values."""
    return sum(prod(shape) for name, shape in counted_once(shapes) if not name.endswith(TRACKED))


def checkpoint_bytes(
    resolved: Mapping[str, Any], architecture: Mapping[str, Any], dataset_json: Mapping[str, Any]
) -> int:
    """The bytes of a checkpoint of a resolved configuration, with the momentum of nnU-Net's optimizer.

    Raises UnknownNetwork as the functions above do.
    """
    channels, heads = input_channels(resolved, dataset_json), segmentation_heads(dataset_json)
    return _BYTES_PER_PARAMETER * number_of_parameters(expected_parameters(architecture, channels, heads))


def _unet(network: Network, channels: int, heads: int) -> _Named:
    encoder = dict(_encoder(network, channels))
    yield from _under("encoder", encoder.items())
    yield from _under("decoder.encoder", encoder.items())
    steps = list(enumerate(range(len(network.features) - 2, -1, -1)))  # decoder stage, the encoder stage it joins
    for step, stage in steps:
        yield from _under(f"decoder.stages.{step}", _decoder_stage(network, step, stage))
    for step, stage in steps:
        shape = network.features[stage + 1], network.features[stage], *network.strides[stage + 1]
        yield from _under(f"decoder.transpconvs.{step}", _with_bias(shape, shape[1] if network.bias else None))
    for step, stage in steps:
        shape = heads, network.features[stage], *(1,) * network.axes
        yield from _under(f"decoder.seg_layers.{step}", _with_bias(shape, heads))


def _encoder(network: Network, channels: int) -> _Named:
    """PlainConvEncoder or ResidualEncoder."""
    if network.stem is not None:
        yield from _under("stem", _convolutions(network, 1, channels, network.stem, network.kernels[0]))
        channels = network.stem
    for stage, (features, kernel) in enumerate(zip(network.features, network.kernels, strict=True)):
        count = network.encoder[stage]
        if network.plain:
            yield from _under(f"stages.{stage}.0", _convolutions(network, count, channels, features, kernel))
        else:
            pools = any(factor != 1 for factor in network.strides[stage])
            inside = network.bottleneck[stage] if network.bottleneck else None
            yield from _under(
                f"stages.{stage}", _blocks(network, count, channels, features, kernel, inside=inside, pools=pools)
            )
        channels = features


def _decoder_stage(network: Network, step: int, stage: int) -> _Named:
    """UNetDecoder, or UNetResDecoder, whose blocks are always BasicBlockD.

    The input is the upsampled map and the encoder's.
    """
    features, count, kernel = network.features[stage], network.decoder[step], network.kernels[stage]
    if network.name == "ResidualUNet":
        return _blocks(network, count, 2 * features, features, kernel, inside=None, pools=False)
    return _convolutions(network, count, 2 * features, features, kernel)


def _convolutions(network: Network, count: int, channels: int, features: int, kernel: tuple[int, ...]) -> _Named:
    """StackedConvBlocks."""
    for index in range(count):
        yield from _under(f"convs.{index}", _convolution(network, channels, features, kernel, gap=network.gap))
        channels = features


def _blocks(
    network: Network,
    count: int,
    channels: int,
    features: int,
    kernel: tuple[int, ...],
    *,
    inside: int | None,
    pools: bool,
) -> _Named:
    """StackedResidualBlocks; ``inside`` is None for BasicBlockD, ``pools`` states if the first block has a stride."""
    for index in range(count):
        block = _block(network, channels, features, kernel, inside=inside, pools=pools and index == 0)
        yield from _under(f"blocks.{index}", block)
        channels = features


def _block(
    network: Network, channels: int, features: int, kernel: tuple[int, ...], *, inside: int | None, pools: bool
) -> _Named:
    """BasicBlockD or BottleneckD. Dropout follows only the convolution that may have a stride."""
    point = (1,) * network.axes
    if inside is None:
        yield from _under("conv1", _convolution(network, channels, features, kernel, gap=network.gap))
        yield from _under("conv2", _convolution(network, features, features, kernel, gap=0))
    else:
        yield from _under("conv1", _convolution(network, channels, inside, point, gap=0))
        yield from _under("conv2", _convolution(network, inside, inside, kernel, gap=network.gap))
        yield from _under("conv3", _convolution(network, inside, features, point, gap=0))
    if channels != features:  # after the pooling, where there is one
        skip = _convolution(network, channels, features, point, gap=0, biased=False)
        yield from _under(f"skip.{int(pools)}", skip)


def _convolution(
    network: Network, channels: int, features: int, kernel: tuple[int, ...], *, gap: int, biased: bool = True
) -> _Named:
    """ConvDropoutNormReLU: its layers by name, and again by position."""
    bias = features if biased and network.bias else None
    convolution = dict(_with_bias((features, channels, *kernel), bias))
    norm = {name: () if name == "num_batches_tracked" else (features,) for name in network.norm}
    for first, second in (("conv", "norm"), ("all_modules.0", f"all_modules.{1 + gap}")):
        yield from _under(first, convolution.items())
        yield from _under(second, norm.items())


def _with_bias(weight: tuple[int, ...], bias: int | None) -> _Named:
    yield "weight", weight
    if bias is not None:
        yield "bias", (bias,)


def _under(prefix: str, parameters: Iterable[tuple[str, tuple[int, ...]]]) -> _Named:
    for name, shape in parameters:
        yield f"{prefix}.{name}", shape
