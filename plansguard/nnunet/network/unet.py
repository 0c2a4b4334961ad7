"""nnU-Net's own U-Nets, read from an ``architecture``, and their stages as a table.

Source: dynamic_network_architectures (dna) 0.4.4, architectures/unet.py and its building blocks. Stages count from 0 at
the full resolution, like the lists in plans; kernels and strides have one value per array axis.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from plansguard.core.errors import PlansguardError
from plansguard.nnunet import constants

PER_STAGE: Final = ("features_per_stage", "kernel_sizes", "strides")
"""Arguments with one entry per stage, except those that count convolutions or blocks."""
AFFINE: Final = ("weight", "bias")
TRACKED: Final = ("running_mean", "running_var", "num_batches_tracked")
"""Parameters and buffers of a normalization layer, in torch's order."""
#: Layer -> (affine, track_running_stats) unless norm_op_kwargs set them.
_NORMS = {"InstanceNorm": (False, False), "BatchNorm": (True, True)}
_NORM_ARGUMENTS = {"eps", "momentum", "affine", "track_running_stats"}
#: nnU-Net plans 3 to 8 stages. Plans are untrusted, and larger numbers would fill the memory.
_MOST_STAGES, _MOST_CONVOLUTIONS = 100, 2000


class UnknownNetwork(PlansguardError):
    """The parameters of a network cannot be derived, for ``reason``."""


@dataclass(frozen=True)
class Network:
    """The properties of a U-Net that decide the names and shapes of its parameters.

    ``encoder`` counts convolutions (PlainConvUNet) or residual blocks per stage; ``decoder`` counts convolutions
    (ResidualUNet: blocks) per stage from the lowest resolution up, one stage fewer. ``stem`` is the number of features
    before the first stage, ``bottleneck`` the number inside BottleneckD blocks, per stage; both are None in a
    PlainConvUNet, and ``bottleneck`` with BasicBlockD. ``norm`` names the parameters and buffers of a normalization
    layer, and ``gap`` counts the layers between a convolution and it; () and 0 where there is none.
    """

    name: str
    axes: int
    features: tuple[int, ...]
    kernels: tuple[tuple[int, ...], ...]
    strides: tuple[tuple[int, ...], ...]
    encoder: tuple[int, ...]
    decoder: tuple[int, ...]
    bias: bool
    norm: tuple[str, ...]
    gap: int
    stem: int | None
    bottleneck: tuple[int, ...] | None

    @property
    def plain(self) -> bool:
        """Whether the encoder has plain convolutions, not residual blocks."""
        return self.name == "PlainConvUNet"

    @property
    def counted_by(self) -> str:
        """The name of ``encoder`` in plans."""
        return "n_conv_per_stage" if self.plain else "n_blocks_per_stage"


class Stage(NamedTuple):
    """A row of the table of stages.

    ``encoder`` and ``decoder`` count convolutions or residual blocks; the lowest stage has no decoder. ``size`` is that
    of the feature map in voxels, per array axis.
    """

    stage: int
    features: int
    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    encoder: int
    decoder: int | None
    size: tuple[int, ...] | None


def stages(architecture: Mapping[str, Any], patch_size: Sequence[int] | None = None) -> list[Stage]:
    """The stages of a U-Net, from the full resolution down.

    ``architecture`` is the result of inheritance.modern_architecture; ``patch_size`` is in voxels, per array axis.
    Sizes are exact where the strides divide the patch, as nnU-Net requires, and otherwise rounded down. Raises
    UnknownNetwork when it is none of nnU-Net's own U-Nets, or its lists have different lengths.
    """
    network = network_of(architecture)
    size = tuple(patch_size) if patch_size is not None and len(patch_size) == network.axes else None
    rows = []
    for index, stride in enumerate(network.strides):
        size = size and tuple(voxels // factor for voxels, factor in zip(size, stride, strict=True))
        decoder = network.decoder[::-1][index] if index < len(network.decoder) else None
        shape = network.features[index], network.kernels[index], stride
        rows.append(Stage(index, *shape, network.encoder[index], decoder, size))
    return rows


def network_of(architecture: Mapping[str, Any]) -> Network:
    """The network of an ``architecture``; UnknownNetwork where it is none of nnU-Net's U-Nets, or cannot be built.

    A number for all stages or all axes is repeated for each.
    """
    name = stock_name(architecture)
    kwargs = architecture.get("arch_kwargs")
    if not isinstance(kwargs, Mapping):
        raise UnknownNetwork("arch_kwargs has no arguments")
    _check_arguments(name, kwargs)
    plain = name == "PlainConvUNet"
    axes, count = _axes(kwargs["conv_op"]), _positive("n_stages", kwargs["n_stages"])
    if count > _MOST_STAGES:
        raise UnknownNetwork(f"n_stages is {count}: no network has that many")
    features = _numbers(kwargs, "features_per_stage", count)
    encoder = _numbers(kwargs, "n_conv_per_stage" if plain else "n_blocks_per_stage", count)
    decoder = _numbers(kwargs, "n_conv_per_stage_decoder", count - 1)
    if sum(encoder) + sum(decoder) > _MOST_CONVOLUTIONS:
        raise UnknownNetwork(f"more than {_MOST_CONVOLUTIONS} convolutions or blocks: no network has that many")
    norm = _norm(kwargs.get("norm_op"), kwargs.get("norm_op_kwargs") or {}, axes)
    stem = kwargs.get("stem_channels")
    return Network(
        name=name,
        axes=axes,
        features=features,
        kernels=_per_axis(kwargs, "kernel_sizes", count, axes),
        strides=_per_axis(kwargs, "strides", count, axes),
        encoder=encoder,
        decoder=decoder,
        bias=bool(kwargs.get("conv_bias", False)),
        norm=norm,
        gap=_gap(kwargs) if norm else 0,
        stem=None if plain else features[0] if stem is None else _positive("stem_channels", stem),
        bottleneck=None if plain else _bottleneck(kwargs, count),
    )


def stock_name(architecture: Mapping[str, Any]) -> str:
    """The class name of one of nnU-Net's own U-Nets; UnknownNetwork for any other.

    A class of another package may be a different network of the same name.
    """
    path = str(architecture.get("network_class_name"))
    name = path.rpartition(".")[2]
    if name not in constants.STOCK_ARCHITECTURES or path.partition(".")[0] != constants.NETWORK_PACKAGE:
        raise UnknownNetwork(f"the parameters of the network {path} are not known to plansguard")
    return name


def _check_arguments(name: str, kwargs: Mapping[str, Any]) -> None:
    stock = constants.STOCK_ARCHITECTURES[name]
    missing = [key for key in stock.required if key not in kwargs]
    unknown = [key for key in kwargs if key not in (*stock.required, *stock.optional)]
    if missing:
        raise UnknownNetwork(f"{name} needs the argument {missing[0]}")
    if unknown:
        raise UnknownNetwork(f"{name} takes no argument {unknown[0]}")


def _axes(conv_op: Any) -> int:
    for axes in (1, 2, 3):
        if _is_layer(conv_op, f"Conv{axes}d"):
            return axes
    raise UnknownNetwork(f"conv_op is {conv_op}, none of torch's convolutions")


def _norm(norm_op: Any, arguments: Any, axes: int) -> tuple[str, ...]:
    """The parameters and buffers of a normalization layer."""
    if norm_op is None:
        return ()
    for name, (affine, tracks) in _NORMS.items():
        if (
            _is_layer(norm_op, f"{name}{axes}d")
            and isinstance(arguments, Mapping)
            and set(arguments) <= _NORM_ARGUMENTS
        ):
            affine, tracks = arguments.get("affine", affine), arguments.get("track_running_stats", tracks)
            return (*AFFINE * bool(affine), *TRACKED * bool(tracks))
    raise UnknownNetwork(f"the parameters of norm_op {norm_op} are not known to plansguard")


def _is_layer(value: Any, name: str) -> bool:
    """Whether a Python path is one of this class of torch: torch.nn.Conv3d, torch.nn.modules.conv.Conv3d."""
    return isinstance(value, str) and value.startswith("torch.nn.") and value.endswith(f".{name}")


def _gap(kwargs: Mapping[str, Any]) -> int:
    """Layers between a convolution and its normalization: dropout, and a nonlinearity with nonlin_first."""
    nonlinearity = bool(kwargs.get("nonlin_first")) and kwargs.get("nonlin") is not None
    return int(kwargs.get("dropout_op") is not None) + int(nonlinearity)


def _bottleneck(kwargs: Mapping[str, Any], count: int) -> tuple[int, ...] | None:
    block = str(kwargs.get("block", "BasicBlockD")).rpartition(".")[2]
    if block == "BottleneckD":
        return _numbers(kwargs, "bottleneck_channels", count)
    if block != "BasicBlockD":
        raise UnknownNetwork(f"the parameters of the block {block} are not known to plansguard")
    return None


def _numbers(kwargs: Mapping[str, Any], key: str, count: int) -> tuple[int, ...]:
    """One positive number per stage."""
    return tuple(_positive(key, value) for value in _per_stage(kwargs, key, count))


def _per_axis(kwargs: Mapping[str, Any], key: str, count: int, axes: int) -> tuple[tuple[int, ...], ...]:
    """One positive number per stage and axis."""
    rows = []
    for value in _per_stage(kwargs, key, count):
        row = value if isinstance(value, (list, tuple)) else [value] * axes
        if len(row) != axes:
            raise UnknownNetwork(f"{key} is {value} for a network of {axes} axes")
        rows.append(tuple(_positive(key, number) for number in row))
    return tuple(rows)


def _per_stage(kwargs: Mapping[str, Any], key: str, count: int) -> Sequence[Any]:
    values = kwargs.get(key)
    if not isinstance(values, (list, tuple)):
        return [values] * count
    if len(values) != count:
        raise UnknownNetwork(f"{key} has {len(values)} entries, not {count}")
    return values


def _positive(key: str, value: Any) -> int:
    if type(value) is not int or value < 1:
        raise UnknownNetwork(f"{key} is {value!r}, not a positive number")
    return value
