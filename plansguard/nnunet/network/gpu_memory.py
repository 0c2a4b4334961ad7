"""GPU memory of a training, estimated as nnU-Net's planners do; without torch.

A planner measures a network by the number of elements in the output of its convolutions for one patch. For one such
number it has the memory in GB at a certain batch size (constants.YARDSTICKS), and it assumes that memory is
proportional to elements and batch size. Nothing else is counted: gradients and optimizer, mixed precision,
torch.compile, cuDNN's workspace and the CUDA context are part of the reference value.

The estimate is rough. For the default plans and the presets M, L and XL it is 8, 8, 24 and 40 GB; their authors
measured 7.7, 9.1, 22.7 and 36.6 GB (documentation/resenc_presets.md; nnU-Net issue 658). It distinguishes plans for
24 GB from plans for 11 GB, but not those for 10 GB from those for 11.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from typing import Any

from plansguard.nnunet.constants import YARDSTICK_OF_NETWORK, YARDSTICKS, Yardstick
from plansguard.nnunet.network.unet import Network, UnknownNetwork, network_of

_Size = tuple[int, ...]


def feature_map_elements(architecture: Mapping[str, Any], patch_size: Sequence[int], heads: int) -> int:
    """Elements in the feature maps of all convolutions for one patch: the network's compute_conv_feature_map_size.

    ``architecture`` is the result of inheritance.modern_architecture, ``patch_size`` is in voxels, per array axis, and
    ``heads`` is parameters.segmentation_heads. Input channels and normalization have no effect. Raises UnknownNetwork
    for other networks than nnU-Net's U-Nets, which have no such method or one that is not implemented (Primus), and
    for a patch of another number of axes. Source: dynamic_network_architectures 0.4.4, building_blocks/.
    """
    kwargs = architecture.get("arch_kwargs")
    kwargs = {**kwargs, "norm_op": None} if isinstance(kwargs, Mapping) else {}
    network = network_of({**architecture, "arch_kwargs": kwargs})
    if len(patch_size) != network.axes:
        raise UnknownNetwork(f"the patch has {len(patch_size)} axes and the network {network.axes}")
    sizes = [tuple(patch_size)]  # before the first stage, then after each
    for stride in network.strides:
        sizes.append(tuple(voxels // factor for voxels, factor in zip(sizes[-1], stride, strict=True)))
    deep_supervision = bool(kwargs.get("deep_supervision", False))
    return _encoder(network, sizes) + _decoder(network, sizes[1:], heads, deep_supervision=deep_supervision)


def yardstick(architecture: Mapping[str, Any], planner: str | None) -> Yardstick:
    """The reference of the planner of these plans, or, where it plans other networks, of the network's own planner.

    ``planner`` is experiment_planner_used. Raises UnknownNetwork where no planner plans such networks.
    """
    name = str(architecture.get("network_class_name")).rpartition(".")[2]
    if name not in YARDSTICK_OF_NETWORK:
        raise UnknownNetwork(f"none of nnU-Net's planners writes plans for the network {name}")
    own = YARDSTICKS[YARDSTICK_OF_NETWORK[name]]
    theirs = YARDSTICKS.get(planner or "", own)
    return theirs if theirs.network == name else own


def estimated_gigabytes(elements: int, batch_size: int, axes: int, by: Yardstick) -> float:
    """The GPU memory, in the planners' GB, for ``elements`` (feature_map_elements) and so many samples on one GPU.

    ``axes`` is the number of axes of the patch: 2 or 3. Source: get_plans_for_configuration in
    experiment_planning/experiment_planners/default_experiment_planner.py, inverted: it chooses patch and batch size so
    that this is near gpu_memory_target_in_gb; rounding of the batch size may exceed that by a fifth.
    """
    elements_2d, batch_2d, elements_3d, batch_3d = by.elements_2d, by.batch_2d, by.elements_3d, by.batch_3d
    reference, samples = (elements_2d, batch_2d) if axes == 2 else (elements_3d, batch_3d)
    return elements / reference * batch_size / samples * by.gigabytes


def _encoder(network: Network, sizes: Sequence[_Size]) -> int:
    """PlainConvEncoder or ResidualEncoder; ``sizes`` of the maps before the first stage, then after each."""
    if network.stem is None:
        stages = zip(network.encoder, network.features, sizes[1:], strict=True)
        return sum(count * features * prod(size) for count, features, size in stages)
    total, channels = network.stem * prod(sizes[0]), network.stem
    for stage, (count, features) in enumerate(zip(network.encoder, network.features, strict=True)):
        inside = network.bottleneck[stage] if network.bottleneck else None
        total += _blocks(count, channels, features, inside, *sizes[stage : stage + 2])
        channels = features
    return total


def _decoder(network: Network, sizes: Sequence[_Size], heads: int, *, deep_supervision: bool) -> int:
    """UNetDecoder or UNetResDecoder; ``sizes`` of the maps after each stage of the encoder.

    Each stage has a transposed convolution, convolutions, and a segmentation layer; without deep supervision only the
    highest resolution has that layer.
    """
    total = 0
    for stage, count in enumerate(reversed(network.decoder)):
        features, size = network.features[stage], sizes[stage]
        total += features * prod(size)
        if network.name == "ResidualUNet":
            total += _blocks(count, 2 * features, features, None, size, size)
        else:
            total += count * features * prod(size)
        if deep_supervision or stage == 0:
            total += heads * prod(size)
    return total


def _blocks(count: int, channels: int, features: int, inside: int | None, before: _Size, after: _Size) -> int:
    """StackedResidualBlocks; ``before`` and ``after`` are the sizes on both sides of the first block's stride.

    ``inside`` is None for BasicBlockD. A skip is counted where it changes the number of channels or the size.
    """
    first_skips = channels != features or before != after
    output = features * prod(after)
    if inside is None:
        return (2 * count + first_skips) * output
    first, others = inside * prod(before), inside * prod(after)
    return first + (count - 1) * others + count * (others + output) + first_skips * output
