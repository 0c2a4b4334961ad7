"""PG108: number of axes."""

from __future__ import annotations

from tests.rules.pg1_plans.networks import CHILD, FULLRES, HALVED_2D, KWARGS, child, network
from tests.support.variants import PLANS, RESENC, Variant, finding, put, remove

CT = "Dataset002_FinetuneCT"

VARIANTS: tuple[Variant, ...] = (
    # PG108 dimensions-disagree
    Variant(
        "two-dimensional-patch",
        CT,
        (put(PLANS, f"{FULLRES}/patch_size", [64, 64]),),
        finding("PG108", PLANS, f"{FULLRES}/patch_size"),
    ),
    Variant(
        "two-dimensional-spacing",
        CT,
        (remove(RESENC), put(PLANS, f"{FULLRES}/spacing", [1.2, 1.2])),
        finding("PG108", PLANS, f"{FULLRES}/spacing"),
    ),
    Variant(
        "two-dimensional-convolution",
        CT,
        (put(PLANS, f"{KWARGS}/conv_op", "torch.nn.modules.conv.Conv2d"),),
        finding("PG108", PLANS, f"{KWARGS}/conv_op"),
    ),
    Variant(
        "two-dimensional-normalization-layer",
        CT,
        (put(PLANS, f"{KWARGS}/norm_op", "torch.nn.modules.instancenorm.InstanceNorm2d"),),
        finding("PG108", PLANS, f"{KWARGS}/norm_op"),
        twin=(put(PLANS, f"{KWARGS}/norm_op", "torch.nn.modules.batchnorm.BatchNorm3d"),),
    ),
    Variant(
        "two-dimensional-strides",
        CT,
        (put(PLANS, f"{KWARGS}/strides", [[1, 1], [2, 2], [2, 2], [2, 2], [2, 2]]),),
        finding("PG108", PLANS, f"{KWARGS}/strides"),
    ),
    Variant(
        "two-dimensional-network-in-a-child",
        CT,
        (put(PLANS, CHILD, child(architecture=network(HALVED_2D, [3, 3], axes=2))),),
        finding("PG108", PLANS, f"{CHILD}/architecture/arch_kwargs/strides"),
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
        finding("PG108", PLANS, f"{CHILD}/architecture/arch_kwargs/kernel_sizes"),
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
)
