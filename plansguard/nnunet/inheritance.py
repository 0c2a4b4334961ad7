"""Resolution of configurations as in nnU-Net 2.8.1: inheritance, and the network of plans in the old format.

Source: nnunetv2/utilities/plans_handling/plans_handler.py. Separate from the models, so that a check of healthy plans
does not load pydantic.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from plansguard.core.errors import PlansguardError
from plansguard.nnunet.constants import NETWORK_PACKAGE


class InheritanceError(PlansguardError):
    """A configuration cannot be resolved.

    ``chain`` names the configurations in the order of the visit, the requested one first. Its last name does not exist
    (``kind`` is "missing") or occurs in it before ("cycle").
    """

    def __init__(self, kind: Literal["missing", "cycle"], chain: tuple[str, ...]) -> None:
        path = " -> ".join(chain)
        if kind == "cycle":
            super().__init__(f"inherits_from goes in a circle: {path}", hint="remove inherits_from from one of them")
        else:
            super().__init__(f"there is no configuration {chain[-1]}: {path}", hint="correct the name")
        self.kind = kind
        self.chain = chain


def resolve_configuration(configurations: Mapping[str, Any], name: str) -> dict[str, Any]:
    """The configuration with everything it inherits, as PlansManager resolves it.

    A key of the child replaces the parent's whole value; ``inherits_from`` remains. The values are those of
    ``configurations``, not copies. Raises InheritanceError when an ancestor is missing or its own ancestor.
    """
    resolved: dict[str, Any] = {}
    for ancestor in reversed(_ancestors(configurations, name)):
        resolved.update(configurations[ancestor])
    return resolved


def origins(configurations: Mapping[str, Any], name: str) -> dict[str, str]:
    """For every key of the resolved configuration, the configuration that defines it. InheritanceError as above."""
    return {
        key: ancestor for ancestor in reversed(_ancestors(configurations, name)) for key in configurations[ancestor]
    }


def _ancestors(configurations: Mapping[str, Any], name: str) -> tuple[str, ...]:
    """The configuration and its ancestors, nearest first."""
    visited: dict[str, None] = {}
    parent: Any = name
    while True:
        if not isinstance(parent, str) or parent not in configurations:
            raise InheritanceError("missing", (*visited, str(parent)))
        if parent in visited:
            raise InheritanceError("cycle", (*visited, parent))
        visited[parent] = None
        if "inherits_from" not in configurations[parent]:
            return tuple(visited)
        parent = configurations[parent]["inherits_from"]


def modern_architecture(resolved: Mapping[str, Any]) -> dict[str, Any]:
    """The ``architecture`` of a resolved configuration; for the old format, the one that nnU-Net derives from its keys.

    Raises KeyError when a key of the old format is missing, ValueError for a network that nnU-Net cannot translate, or
    a patch of more than three axes. Source: ConfigurationManager.
    """
    if "architecture" in resolved:
        return dict(resolved["architecture"])

    network = resolved["UNet_class_name"]
    if network not in _OLD_NETWORKS:
        raise ValueError(f"unknown network {network}: nnU-Net translates only {' and '.join(_OLD_NETWORKS)}")
    module, convolutions_or_blocks = _OLD_NETWORKS[network]
    axes = len(resolved["patch_size"])
    if axes not in (1, 2, 3):
        raise ValueError(f"the patch has {axes} axes; networks have 1, 2 or 3")
    stages = len(resolved["n_conv_per_stage_encoder"])
    resolved["num_pool_per_axis"]  # never used, but nnU-Net deletes it and so fails without it
    arch_kwargs = {
        "n_stages": stages,
        "features_per_stage": [
            min(resolved["UNet_base_num_features"] * 2**stage, resolved["unet_max_num_features"])
            for stage in range(stages)
        ],
        "conv_op": f"torch.nn.modules.conv.Conv{axes}d",
        "kernel_sizes": resolved["conv_kernel_sizes"],
        "strides": resolved["pool_op_kernel_sizes"],
        convolutions_or_blocks: resolved["n_conv_per_stage_encoder"],
        "n_conv_per_stage_decoder": resolved["n_conv_per_stage_decoder"],
        "conv_bias": True,
        "norm_op": f"torch.nn.modules.instancenorm.InstanceNorm{axes}d",
        "norm_op_kwargs": {"eps": 1e-05, "affine": True},
        "dropout_op": None,
        "dropout_op_kwargs": None,
        "nonlin": "torch.nn.LeakyReLU",
        "nonlin_kwargs": {"inplace": True},
    }
    return {
        "network_class_name": f"{NETWORK_PACKAGE}.architectures.{module}.{network}",
        "arch_kwargs": arch_kwargs,
        "_kw_requires_import": ["conv_op", "norm_op", "dropout_op", "nonlin"],
    }


#: Class name in the old format -> its module at that time, and the argument for n_conv_per_stage_encoder.
_OLD_NETWORKS = {
    "PlainConvUNet": ("unet", "n_conv_per_stage"),
    "ResidualEncoderUNet": ("residual_unet", "n_blocks_per_stage"),
}
