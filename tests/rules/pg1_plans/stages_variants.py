"""PG101, PG102, PG103, PG115: patch and stages."""

from __future__ import annotations

from tests.rules.pg1_plans.networks import (
    CHILD,
    FULLRES,
    HALVED,
    HALVED_2D,
    KWARGS,
    OLD,
    OLD_WARNING,
    child,
    network,
    old_2d,
)
from tests.support.variants import PLANS, Variant, drop, finding, put

CT = "Dataset002_FinetuneCT"  # patch 56 x 64 x 64, strides multiply to 8 x 16 x 16
CASCADE = "Dataset005_CascadeCT"

VARIANTS: tuple[Variant, ...] = (
    # PG101 patch-not-divisible
    Variant(
        "patch-not-divisible",
        CT,
        (put(PLANS, f"{FULLRES}/patch_size/2", 72),),
        finding("PG101", PLANS, f"{FULLRES}/patch_size/2"),
        twin=(put(PLANS, f"{FULLRES}/patch_size/2", 80),),
    ),
    Variant(
        "patch-not-divisible-by-the-childs-strides",
        CT,
        (put(PLANS, CHILD, child(architecture=network([*HALVED, [2, 2, 2]], [3, 3, 3]))),),
        finding("PG101", PLANS, f"{CHILD}/architecture/arch_kwargs/strides"),
        twin=(put(PLANS, CHILD, child(architecture=network(HALVED, [3, 3, 3]))),),
    ),
    Variant(
        "patch-not-divisible-and-inherited",
        CASCADE,
        (put(PLANS, f"{FULLRES}/patch_size/0", 100),),
        finding("PG101", PLANS, f"{FULLRES}/patch_size/0"),
        twin=(put(PLANS, f"{FULLRES}/patch_size/0", 112),),
    ),
    Variant(
        "patch-not-divisible-and-only-the-child-asked-for",
        CASCADE,
        (put(PLANS, f"{FULLRES}/patch_size/0", 100),),
        finding("PG101", PLANS, f"{FULLRES}/patch_size/0"),
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
        finding("PG102", PLANS, f"{FULLRES}/patch_size/2"),
        twin=(put(PLANS, f"{FULLRES}/patch_size", [32, 64, 64]),),
    ),
    Variant(
        "bottleneck-below-one",
        CT,
        (put(PLANS, f"{FULLRES}/patch_size/2", 8),),
        finding("PG102", PLANS, f"{FULLRES}/patch_size/2"),
    ),
    Variant(
        "bottleneck-of-a-single-voxel",
        CT,
        (put(PLANS, f"{FULLRES}/patch_size", [8, 16, 16]),),
        finding("PG102", PLANS, f"{FULLRES}/patch_size"),
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
        "stride-for-all-axes",
        CT,
        (put(PLANS, f"{KWARGS}/strides/3", 2),),
        finding("PG103", PLANS, f"{KWARGS}/strides/3"),
        twin=(put(PLANS, f"{KWARGS}/kernel_sizes/4", 3),),
    ),
    Variant(
        "strides-too-few",
        CT,
        (drop(PLANS, f"{KWARGS}/strides/4"),),
        finding("PG103", PLANS, f"{KWARGS}/strides"),
        # numbers instead of lists are fine, besides strides
        twin=(
            put(PLANS, f"{KWARGS}/kernel_sizes", 3),
            put(PLANS, f"{KWARGS}/n_conv_per_stage", 2),
            put(PLANS, f"{KWARGS}/n_conv_per_stage_decoder", 2),
        ),
    ),
    Variant(
        "strides-too-many",
        CT,
        (put(PLANS, f"{KWARGS}/strides/-", [2, 2, 2]),),
        finding("PG103", PLANS, f"{KWARGS}/strides"),
    ),
    Variant(
        "strides-without-the-first",
        CT,
        (drop(PLANS, f"{KWARGS}/strides/0"),),
        finding("PG103", PLANS, f"{KWARGS}/strides"),
    ),
    Variant(
        "n-stages-alone-changed",
        CT,
        (put(PLANS, f"{KWARGS}/n_stages", 4),),
        finding("PG103", PLANS, f"{KWARGS}/n_stages"),
        twin=(put(PLANS, f"{FULLRES}/architecture", network(HALVED, [3, 3, 3])),),
    ),
    Variant(
        "decoder-as-long-as-encoder",
        CT,
        (put(PLANS, f"{KWARGS}/n_conv_per_stage_decoder/-", 2),),
        finding("PG103", PLANS, f"{KWARGS}/n_conv_per_stage_decoder"),
    ),
    Variant(
        "stride-of-two-axes-in-one-stage",
        CT,
        (put(PLANS, f"{KWARGS}/strides/3", [2, 2]),),
        finding("PG103", PLANS, f"{KWARGS}/strides/3"),
    ),
    Variant(
        "even-kernel",
        CT,
        (put(PLANS, f"{KWARGS}/kernel_sizes/2", [2, 2, 2]),),
        finding("PG103", PLANS, f"{KWARGS}/kernel_sizes/2/0"),
        twin=(put(PLANS, f"{KWARGS}/kernel_sizes/2", [5, 5, 5]),),
    ),
    Variant(
        "features-as-float",
        CT,
        (put(PLANS, f"{KWARGS}/features_per_stage/0", 32.0),),
        finding("PG103", PLANS, f"{KWARGS}/features_per_stage/0"),
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
        finding("PG103", PLANS, f"{KWARGS}/n_conv_per_stage"),
    ),
    Variant(
        "old-strides-too-few",
        CT,
        (put(PLANS, OLD, old_2d(pool_op_kernel_sizes=HALVED_2D)),),
        frozenset({OLD_WARNING, ("PG103", PLANS, f"{OLD}/pool_op_kernel_sizes")}),
    ),
    Variant(
        "old-kernels-and-convolutions-of-one-number",
        CT,
        (put(PLANS, OLD, old_2d(conv_kernel_sizes=[3] * 5, n_conv_per_stage_decoder=2)),),
        frozenset({OLD_WARNING}),
    ),
    Variant(
        "old-strides-of-one-number",
        CT,
        (put(PLANS, OLD, old_2d(pool_op_kernel_sizes=[1, 2, 2, 2, 2])),),
        frozenset({OLD_WARNING, ("PG103", PLANS, f"{OLD}/pool_op_kernel_sizes/0")}),
    ),
    Variant(
        "old-encoder-too-short",
        CT,
        (put(PLANS, OLD, old_2d(n_conv_per_stage_encoder=[2, 2, 2, 2])),),
        frozenset({OLD_WARNING, ("PG103", PLANS, f"{OLD}/n_conv_per_stage_encoder")}),
    ),
    # PG115 first-stage-downsamples
    Variant(
        "first-stage-downsamples",
        CT,
        (put(PLANS, f"{KWARGS}/strides/0", [1, 2, 2]), put(PLANS, f"{KWARGS}/strides/4", [1, 1, 1])),
        finding("PG115", PLANS, f"{KWARGS}/strides/0"),
        twin=(put(PLANS, f"{KWARGS}/strides/1", [1, 2, 2]), put(PLANS, f"{KWARGS}/strides/4", [2, 2, 2])),
    ),
)
