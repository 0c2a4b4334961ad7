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
from plansguard.nnunet.network.parameters import counted_once, shapes_of
from plansguard.nnunet.network.unet import Network, UnknownNetwork, network_of


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
    voxels = [prod(size) for size in sizes]
    deep_supervision, total = bool(kwargs.get("deep_supervision", False)), 0
    for name, shape in counted_once(shapes_of(network, 1, heads)):
        side, kind, number = name.split(".")[:3]
        if not name.endswith(".weight"):
            continue
        if kind == "stem":
            total += shape[0] * voxels[0]
        elif side == "encoder":
            # the first convolution of BottleneckD blocks precedes the stride
            precedes = network.bottleneck is not None and name.endswith(".blocks.0.conv1.conv.weight")
            total += shape[0] * voxels[int(number) if precedes else int(number) + 1]
        elif kind != "seg_layers" or deep_supervision or int(number) == len(network.decoder) - 1:
            features = shape[1] if kind == "transpconvs" else shape[0]
            total += features * voxels[len(network.decoder) - int(number)]
    return total + _pooled_skips(network, sizes)


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


def _pooled_skips(network: Network, sizes: Sequence[tuple[int, ...]]) -> int:
    """Elements of the skips of residual blocks that change only the size: nnU-Net counts them as convolutions."""
    if network.stem is None:
        return 0
    channels = (network.stem, *network.features)
    return sum(
        features * prod(sizes[stage + 1])
        for stage, features in enumerate(network.features)
        if channels[stage] == features and sizes[stage] != sizes[stage + 1]
    )
