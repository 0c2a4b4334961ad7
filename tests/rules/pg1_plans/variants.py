"""PG1xx."""

from __future__ import annotations

from typing import Any

from tests.support.variants import Variant, copy, drop, put, remove

PLANS = "preprocessed/nnUNetPlans.json"
RESENC = "preprocessed/nnUNetResEncUNetMPlans.json"
FULLRES = "/configurations/3d_fullres"
CHILD = "/configurations/3d_child"
KWARGS = f"{FULLRES}/architecture/arch_kwargs"
CT = "Dataset002_FinetuneCT"  # patch 56 x 64 x 64, strides multiply to 8 x 16 x 16
CASCADE = "Dataset005_CascadeCT"


def child(**fields: Any) -> dict[str, Any]:
    """A configuration that inherits from 3d_fullres."""
    return {"inherits_from": "3d_fullres", **fields}


def network(strides: list[Any], kernel: list[int], axes: int = 3) -> dict[str, Any]:
    """A whole PlainConvUNet with these strides."""
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
    """A whole 2d configuration as nnU-Net wrote it in 2023, for the data of Dataset002's 2d."""
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


def without(value: dict[str, Any], *keys: str) -> dict[str, Any]:
    """The object without these keys."""
    return {key: item for key, item in value.items() if key not in keys}


def one(code: str, pointer: str, file: str = PLANS) -> frozenset[tuple[str, str, str]]:
    """A single finding."""
    return frozenset({(code, file, pointer)})


HALVED = [[1, 1, 1], [2, 2, 2], [2, 2, 2], [2, 2, 2]]
HALVED_2D = [[1, 1], [2, 2], [2, 2], [2, 2]]
OLD = "/configurations/2d_old"
OLD_WARNING = ("PG110", PLANS, f"{OLD}/UNet_class_name")

VARIANTS: tuple[Variant, ...] = (
    # PG101 patch-not-divisible
    Variant(
        "patch-not-divisible",
        CT,
        (put(PLANS, f"{FULLRES}/patch_size/2", 72),),
        one("PG101", f"{FULLRES}/patch_size/2"),
        twin=(put(PLANS, f"{FULLRES}/patch_size/2", 80),),
    ),
    Variant(
        "patch-not-divisible-by-the-childs-strides",
        CT,
        (put(PLANS, CHILD, child(architecture=network([*HALVED, [2, 2, 2]], [3, 3, 3]))),),
        one("PG101", f"{CHILD}/architecture/arch_kwargs/strides"),
        twin=(put(PLANS, CHILD, child(architecture=network(HALVED, [3, 3, 3]))),),
    ),
    Variant(
        "patch-not-divisible-and-inherited",
        CASCADE,
        (put(PLANS, f"{FULLRES}/patch_size/0", 100),),
        one("PG101", f"{FULLRES}/patch_size/0"),
        twin=(put(PLANS, f"{FULLRES}/patch_size/0", 112),),
    ),
    Variant(
        "patch-not-divisible-and-only-the-child-asked-for",
        CASCADE,
        (put(PLANS, f"{FULLRES}/patch_size/0", 100),),
        one("PG101", f"{FULLRES}/patch_size/0"),
        twin=(put(PLANS, f"{FULLRES}/patch_size/0", 112),),
        options=("-p", "nnUNetPlans", "-c", "3d_cascade_fullres"),
    ),
    Variant(
        "patch-not-divisible-in-the-old-format",
        CT,
        (put(PLANS, OLD, old_2d(patch_size=[64, 72])),),
        frozenset({OLD_WARNING, ("PG101", PLANS, f"{OLD}/patch_size/1")}),
        twin=(put(PLANS, "/configurations/2d/patch_size/1", 80),),
    ),
    # PG102 bottleneck-too-small
    Variant(
        "bottleneck-of-two",
        CT,
        (put(PLANS, f"{FULLRES}/patch_size/2", 32),),
        one("PG102", f"{FULLRES}/patch_size/2"),
        twin=(put(PLANS, f"{FULLRES}/patch_size", [32, 64, 64]),),
    ),
    Variant(
        "bottleneck-below-one",
        CT,
        (put(PLANS, f"{FULLRES}/patch_size/2", 8),),
        one("PG102", f"{FULLRES}/patch_size/2"),
    ),
    Variant(
        "bottleneck-of-a-single-voxel",
        CT,
        (put(PLANS, f"{FULLRES}/patch_size", [8, 16, 16]),),
        one("PG102", f"{FULLRES}/patch_size"),
        # thin, and never pooled: the planner writes such plans for a stack of three slices
        twin=(
            put(
                PLANS,
                CHILD,
                child(
                    patch_size=[3, 64, 64],
                    architecture=network([[1, 1, 1], [1, 2, 2], [1, 2, 2], [1, 2, 2]], [1, 3, 3]),
                ),
            ),
        ),
    ),
    # PG103 stage-lists-disagree
    Variant(
        "strides-too-few",
        CT,
        (drop(PLANS, f"{KWARGS}/strides/4"),),
        one("PG103", f"{KWARGS}/strides"),
        # numbers instead of lists are fine
        twin=(
            put(PLANS, f"{KWARGS}/kernel_sizes", 3),
            put(PLANS, f"{KWARGS}/strides", [1, 2, 2, 2, [1, 2, 2]]),
            put(PLANS, f"{KWARGS}/n_conv_per_stage", 2),
            put(PLANS, f"{KWARGS}/n_conv_per_stage_decoder", 2),
        ),
    ),
    Variant(
        "strides-too-many",
        CT,
        (put(PLANS, f"{KWARGS}/strides/-", [2, 2, 2]),),
        one("PG103", f"{KWARGS}/strides"),
    ),
    Variant(
        "strides-without-the-first",
        CT,
        (drop(PLANS, f"{KWARGS}/strides/0"),),
        one("PG103", f"{KWARGS}/strides"),
    ),
    Variant(
        "n-stages-alone-changed",
        CT,
        (put(PLANS, f"{KWARGS}/n_stages", 4),),
        one("PG103", f"{KWARGS}/n_stages"),
        twin=(put(PLANS, f"{FULLRES}/architecture", network(HALVED, [3, 3, 3])),),
    ),
    Variant(
        "decoder-as-long-as-encoder",
        CT,
        (put(PLANS, f"{KWARGS}/n_conv_per_stage_decoder/-", 2),),
        one("PG103", f"{KWARGS}/n_conv_per_stage_decoder"),
    ),
    Variant(
        "stride-of-two-axes-in-one-stage",
        CT,
        (put(PLANS, f"{KWARGS}/strides/3", [2, 2]),),
        one("PG103", f"{KWARGS}/strides/3"),
    ),
    Variant(
        "even-kernel",
        CT,
        (put(PLANS, f"{KWARGS}/kernel_sizes/2", [2, 2, 2]),),
        one("PG103", f"{KWARGS}/kernel_sizes/2"),
        twin=(put(PLANS, f"{KWARGS}/kernel_sizes/2", [5, 5, 5]),),
    ),
    Variant(
        "features-as-float",
        CT,
        (put(PLANS, f"{KWARGS}/features_per_stage/0", 32.0),),
        one("PG103", f"{KWARGS}/features_per_stage/0"),
        twin=(put(PLANS, f"{KWARGS}/features_per_stage/0", 24),),
    ),
    Variant(
        "plain-network-renamed-to-residual",
        CT,
        (
            put(
                PLANS,
                f"{FULLRES}/architecture/network_class_name",
                "dynamic_network_architectures.architectures.unet.ResidualEncoderUNet",
            ),
        ),
        one("PG103", f"{KWARGS}/n_conv_per_stage"),
    ),
    Variant(
        "old-strides-too-few",
        CT,
        (put(PLANS, OLD, old_2d(pool_op_kernel_sizes=HALVED_2D)),),
        frozenset({OLD_WARNING, ("PG103", PLANS, f"{OLD}/pool_op_kernel_sizes")}),
    ),
    Variant(
        "old-encoder-too-short",
        CT,
        (put(PLANS, OLD, old_2d(n_conv_per_stage_encoder=[2, 2, 2, 2])),),
        frozenset({OLD_WARNING, ("PG103", PLANS, f"{OLD}/n_conv_per_stage_encoder")}),
    ),
    # PG104 incomplete-architecture
    Variant(
        "architecture-in-part",
        CT,
        (put(PLANS, CHILD, child(architecture={"arch_kwargs": {"n_stages": 4}})),),
        one("PG104", f"{CHILD}/architecture"),
        twin=(put(PLANS, CHILD, child(architecture=network(HALVED, [3, 3, 3]))),),
    ),
    Variant(
        "import-of-no-argument",
        CT,
        (put(PLANS, f"{FULLRES}/architecture/_kw_requires_import/-", "pool_op"),),
        one("PG104", KWARGS),
        # an argument that is null is not missing
        twin=(put(PLANS, f"{KWARGS}/dropout_op", None), put(PLANS, f"{KWARGS}/nonlin_first", False)),
    ),
    Variant(
        "argument-missing",
        CT,
        (drop(PLANS, f"{KWARGS}/features_per_stage"),),
        one("PG104", KWARGS),
        twin=(drop(PLANS, f"{KWARGS}/conv_bias"),),
    ),
    Variant(
        "old-kernels-missing",
        CT,
        (put(PLANS, OLD, without(old_2d(), "conv_kernel_sizes")),),
        frozenset({OLD_WARNING, ("PG104", PLANS, f"{OLD}/UNet_class_name")}),
    ),
    Variant(
        "resampling-arguments-lost",
        CT,
        (put(PLANS, CHILD, child(data_identifier="nnUNetPlans_child", resampling_fn_seg_kwargs={"order": 0})),),
        one("PG104", f"{CHILD}/resampling_fn_seg_kwargs"),
        twin=(
            put(
                PLANS,
                CHILD,
                child(
                    data_identifier="nnUNetPlans_child",
                    resampling_fn_seg_kwargs={"is_seg": True, "order": 0, "order_z": 0, "force_separate_z": None},
                ),
            ),
        ),
    ),
    # PG105 transposes-not-inverse
    Variant(
        "transpose-with-an-axis-twice",
        CT,
        (remove(RESENC), put(PLANS, "/transpose_forward", [0, 1, 1])),
        one("PG105", "/transpose_forward"),
    ),
    Variant(
        "transposes-do-not-undo-each-other",
        CT,
        (put(PLANS, "/transpose_backward", [1, 2, 0]),),
        one("PG105", "/transpose_backward"),
        twin=(
            remove(RESENC),
            put(PLANS, "/transpose_forward", [0, 2, 1]),
            put(PLANS, "/transpose_backward", [0, 2, 1]),
        ),
    ),
    # PG106 inheritance-broken
    Variant(
        "parent-missing",
        CASCADE,
        (put(PLANS, "/configurations/3d_cascade_fullres/inherits_from", "3d_fulres"),),
        one("PG106", "/configurations/3d_cascade_fullres/inherits_from"),
    ),
    Variant(
        "grandparent-missing-is-told-once",
        CT,
        (
            put(PLANS, CHILD, {"inherits_from": "3d_old"}),
            put(PLANS, f"{CHILD}_bs4", {"inherits_from": "3d_child", "batch_size": 4}),
        ),
        one("PG106", f"{CHILD}/inherits_from"),
        twin=(
            put(PLANS, CHILD, {"inherits_from": "3d_fullres"}),
            put(PLANS, f"{CHILD}_bs4", {"inherits_from": "3d_child", "batch_size": 4}),
        ),
    ),
    Variant(
        "inheritance-in-a-circle",
        CT,
        (
            put(PLANS, "/configurations/2d_a", {"inherits_from": "2d_b"}),
            put(PLANS, "/configurations/2d_b", {"inherits_from": "2d_a"}),
        ),
        one("PG106", "/configurations/2d_b/inherits_from"),
        # a child may stand before its parent
        twin=(
            put(PLANS, "/configurations/2d_a", {"inherits_from": "2d_b"}),
            put(PLANS, "/configurations/2d_b", {"inherits_from": "2d", "batch_size": 4}),
        ),
    ),
    # PG107 configuration-not-found
    Variant(
        "configuration-dropped-by-the-planner",
        CT,
        (),
        one("PG107", "/configurations"),
        twin=(put(PLANS, "/configurations/3d_lowres", child()),),
        options=("-c", "3d_lowres"),
    ),
    Variant(
        "configuration-misspelt",
        "Dataset004_Slides2D",
        (),
        one("PG107", "/configurations"),
        twin=(put(PLANS, "/configurations/2d_bs4", {"inherits_from": "2d", "batch_size": 4}),),
        options=("-p", "nnUNetPlans", "-c", "2d_bs4"),
    ),
    # PG108 dimensions-disagree
    Variant(
        "two-dimensional-patch",
        CT,
        (put(PLANS, f"{FULLRES}/patch_size", [64, 64]),),
        one("PG108", f"{FULLRES}/patch_size"),
    ),
    Variant(
        "two-dimensional-spacing",
        CT,
        (remove(RESENC), put(PLANS, f"{FULLRES}/spacing", [1.2, 1.2])),
        one("PG108", f"{FULLRES}/spacing"),
    ),
    Variant(
        "two-dimensional-convolution",
        CT,
        (put(PLANS, f"{KWARGS}/conv_op", "torch.nn.modules.conv.Conv2d"),),
        one("PG108", f"{KWARGS}/conv_op"),
    ),
    Variant(
        "two-dimensional-normalization-layer",
        CT,
        (put(PLANS, f"{KWARGS}/norm_op", "torch.nn.modules.instancenorm.InstanceNorm2d"),),
        one("PG108", f"{KWARGS}/norm_op"),
        twin=(put(PLANS, f"{KWARGS}/norm_op", "torch.nn.modules.batchnorm.BatchNorm3d"),),
    ),
    Variant(
        "two-dimensional-strides",
        CT,
        (put(PLANS, f"{KWARGS}/strides", [[1, 1], [2, 2], [2, 2], [2, 2], [2, 2]]),),
        one("PG108", f"{KWARGS}/strides"),
    ),
    Variant(
        "two-dimensional-network-in-a-child",
        CT,
        (put(PLANS, CHILD, child(architecture=network(HALVED_2D, [3, 3], axes=2))),),
        one("PG108", f"{CHILD}/architecture/arch_kwargs/strides"),
        twin=(put(PLANS, CHILD, {"inherits_from": "2d", "architecture": network(HALVED_2D, [3, 3], axes=2)}),),
    ),
    Variant(
        "kernels-reach-along-an-axis-of-one-voxel",
        CT,
        (
            put(
                PLANS,
                CHILD,
                child(
                    patch_size=[1, 64, 64],
                    architecture=network([[1, 1, 1], [1, 2, 2], [1, 2, 2], [1, 2, 2]], [3, 3, 3]),
                ),
            ),
        ),
        one("PG108", f"{CHILD}/architecture/arch_kwargs/kernel_sizes"),
        twin=(
            put(
                PLANS,
                CHILD,
                child(
                    patch_size=[1, 64, 64],
                    architecture=network([[1, 1, 1], [1, 2, 2], [1, 2, 2], [1, 2, 2]], [1, 3, 3]),
                ),
            ),
        ),
    ),
    # PG109 invalid-spacing
    Variant(
        "spacing-zero",
        CT,
        (remove(RESENC), put(PLANS, f"{FULLRES}/spacing/0", 0)),
        one("PG109", f"{FULLRES}/spacing/0"),
        twin=(remove(RESENC), put(PLANS, f"{FULLRES}/spacing/0", 2)),
    ),
    Variant(
        "spacing-negative",
        CT,
        (remove(RESENC), put(PLANS, f"{FULLRES}/spacing/1", -1.2)),
        one("PG109", f"{FULLRES}/spacing/1"),
    ),
    Variant(
        "spacing-null-for-a-preprocessor-that-resamples",
        CT,
        (remove(RESENC), put(PLANS, f"{FULLRES}/spacing", [None, None, None])),
        one("PG109", f"{FULLRES}/spacing"),
    ),
    # PG110 old-plans-format
    Variant(
        "old-format",
        CT,
        (put(PLANS, OLD, old_2d()),),
        frozenset({OLD_WARNING}),
        # beside an architecture the old name means nothing
        twin=(put(PLANS, OLD, old_2d(architecture=network(HALVED_2D, [3, 3], axes=2))),),
    ),
    Variant(
        "old-format-with-a-misspelt-network",
        CT,
        (put(PLANS, OLD, old_2d(UNet_class_name="PlainConvUnet")),),
        frozenset({OLD_WARNING}),
    ),
    Variant(
        "old-format-with-a-network-of-a-fork",
        CT,
        (
            put(PLANS, OLD, old_2d(UNet_class_name="PlainConvUNetMissing")),
            put(PLANS, f"{OLD}_bs4", {"inherits_from": "2d_old", "batch_size": 4}),
        ),
        frozenset({OLD_WARNING}),
    ),
    # PG111 unknown-normalization
    Variant(
        "normalization-by-its-channel-name",
        CT,
        (remove(RESENC), put(PLANS, f"{FULLRES}/normalization_schemes/0", "noNorm")),
        one("PG111", f"{FULLRES}/normalization_schemes/0"),
        twin=(remove(RESENC), put(PLANS, f"{FULLRES}/normalization_schemes/0", "CTNormalization")),
    ),
    Variant(
        "normalization-none",
        "Dataset003_TwoChannelMR",
        (remove(RESENC), put(PLANS, f"{FULLRES}/normalization_schemes/1", "None")),
        one("PG111", f"{FULLRES}/normalization_schemes/1"),
    ),
    Variant(
        "normalization-of-a-fork",
        "Dataset003_TwoChannelMR",
        (remove(RESENC), put(PLANS, f"{FULLRES}/normalization_schemes/1", "PercentileNormalization")),
        one("PG111", f"{FULLRES}/normalization_schemes/1"),
    ),
    # PG112 plans-name-differs
    Variant(
        "plans-copied-without-their-name",
        CT,
        (copy(PLANS, "preprocessed/nnUNetPlans_bs4.json"),),
        one("PG112", "/plans_name", "preprocessed/nnUNetPlans_bs4.json"),
        twin=(
            copy(PLANS, "preprocessed/nnUNetPlans_bs4.json"),
            put("preprocessed/nnUNetPlans_bs4.json", "/plans_name", "nnUNetPlans_bs4"),
        ),
    ),
    # PG113 dataset-name-differs
    Variant(
        "plans-of-another-dataset-by-name",
        CT,
        (put(PLANS, "/dataset_name", "Dataset001_PretrainCT"),),
        one("PG113", "/dataset_name"),
        twin=(put(PLANS, "/dataset_name", CT),),
    ),
    # PG114 plans-not-found
    Variant(
        "plans-not-found",
        CT,
        (),
        one("PG114", "", "preprocessed"),
        twin=(
            copy(PLANS, "preprocessed/PretrainPlans.json"),
            put("preprocessed/PretrainPlans.json", "/plans_name", "PretrainPlans"),
        ),
        options=("-p", "PretrainPlans"),
    ),
    # PG115 first-stage-downsamples
    Variant(
        "first-stage-downsamples",
        CT,
        (put(PLANS, f"{KWARGS}/strides/0", [1, 2, 2]), put(PLANS, f"{KWARGS}/strides/4", [1, 1, 1])),
        one("PG115", f"{KWARGS}/strides/0"),
        twin=(put(PLANS, f"{KWARGS}/strides/1", [1, 2, 2]), put(PLANS, f"{KWARGS}/strides/4", [2, 2, 2])),
    ),
)
