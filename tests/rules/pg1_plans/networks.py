"""Configurations and networks that the variants of PG1xx write into plans."""

from __future__ import annotations

from typing import Any

from tests.support.variants import PLANS

FULLRES = "/configurations/3d_fullres"
CHILD = "/configurations/3d_child"
KWARGS = f"{FULLRES}/architecture/arch_kwargs"
OLD = "/configurations/2d_old"
OLD_WARNING = ("PG110", PLANS, f"{OLD}/UNet_class_name")
HALVED = [[1, 1, 1], [2, 2, 2], [2, 2, 2], [2, 2, 2]]
HALVED_2D = [[1, 1], [2, 2], [2, 2], [2, 2]]


def child(**fields: Any) -> dict[str, Any]:
    """Return a configuration that inherits from 3d_fullres."""
    return {"inherits_from": "3d_fullres", **fields}


def network(strides: list[Any], kernel: list[int], axes: int = 3) -> dict[str, Any]:
    """Return the architecture of a PlainConvUNet with these strides."""
    stages = len(strides)
    return {
        "network_class_name": "dynamic_network_architectures.architectures.unet.PlainConvUNet",
        "arch_kwargs": {
            "n_stages": stages,
            "features_per_stage": 32,
            "conv_op": f"torch.nn.modules.conv.Conv{axes}d",
            "kernel_sizes": [kernel] * stages,
            "strides": strides,
            "n_conv_per_stage": 2,
            "n_conv_per_stage_decoder": 2,
            "conv_bias": True,
            "norm_op": f"torch.nn.modules.instancenorm.InstanceNorm{axes}d",
            "norm_op_kwargs": {"eps": 1e-05, "affine": True},
            "dropout_op": None,
            "nonlin": "torch.nn.LeakyReLU",
            "nonlin_kwargs": {"inplace": True},
        },
        "_kw_requires_import": ["conv_op", "norm_op", "dropout_op", "nonlin"],
    }


def old_2d(**fields: Any) -> dict[str, Any]:
    """Return a 2d configuration as nnU-Net wrote it in 2023, for the data of Dataset002's 2d."""
    return {
        "data_identifier": "nnUNetPlans_2d",
        "preprocessor_name": "DefaultPreprocessor",
        "batch_size": 14,
        "patch_size": [64, 64],
        "median_image_size_in_voxels": [64.0, 64.0],
        "spacing": [1.2000000476837158, 1.2000000476837158],
        "normalization_schemes": ["CTNormalization"],
        "use_mask_for_norm": [False],
        "UNet_class_name": "PlainConvUNet",
        "UNet_base_num_features": 32,
        "n_conv_per_stage_encoder": [2, 2, 2, 2, 2],
        "n_conv_per_stage_decoder": [2, 2, 2, 2],
        "num_pool_per_axis": [4, 4],
        "pool_op_kernel_sizes": [[1, 1], [2, 2], [2, 2], [2, 2], [2, 2]],
        "conv_kernel_sizes": [[3, 3], [3, 3], [3, 3], [3, 3], [3, 3]],
        "unet_max_num_features": 512,
        "resampling_fn_data": "resample_data_or_seg_to_shape",
        "resampling_fn_seg": "resample_data_or_seg_to_shape",
        "resampling_fn_data_kwargs": {"is_seg": False, "order": 3, "order_z": 0, "force_separate_z": None},
        "resampling_fn_seg_kwargs": {"is_seg": True, "order": 1, "order_z": 0, "force_separate_z": None},
        "resampling_fn_probabilities": "resample_data_or_seg_to_shape",
        "resampling_fn_probabilities_kwargs": {"is_seg": False, "order": 1, "order_z": 0, "force_separate_z": None},
        "batch_dice": True,
        **fields,
    }
