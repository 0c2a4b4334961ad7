"""PG104, PG110: arguments of the network, and the old format."""

from __future__ import annotations

from typing import Any

from tests.rules.pg1_plans.networks import (
    CHILD,
    FULLRES,
    HALVED,
    KWARGS,
    OLD,
    OLD_WARNING,
    child,
    network,
    old_2d,
)
from tests.support.variants import PLANS, Variant, drop, finding, put

CT = "Dataset002_FinetuneCT"


def without(value: dict[str, Any], *keys: str) -> dict[str, Any]:
    """Return the object without these keys."""
    return {key: item for key, item in value.items() if key not in keys}


VARIANTS: tuple[Variant, ...] = (
    # PG104 incomplete-architecture
    Variant(
        "architecture-in-part",
        CT,
        (put(PLANS, CHILD, child(architecture={"arch_kwargs": {"n_stages": 4}})),),
        finding("PG104", PLANS, f"{CHILD}/architecture"),
        twin=(put(PLANS, CHILD, child(architecture=network(HALVED, [3, 3, 3]))),),
    ),
    Variant(
        "import-of-no-argument",
        CT,
        (put(PLANS, f"{FULLRES}/architecture/_kw_requires_import/-", "pool_op"),),
        finding("PG104", PLANS, KWARGS),
        # an argument that is null is not missing
        twin=(put(PLANS, f"{KWARGS}/dropout_op", None), put(PLANS, f"{KWARGS}/nonlin_first", False)),
    ),
    Variant(
        "argument-missing",
        CT,
        (drop(PLANS, f"{KWARGS}/features_per_stage"),),
        finding("PG104", PLANS, KWARGS),
        twin=(drop(PLANS, f"{KWARGS}/conv_bias"),),
    ),
    Variant(
        "old-kernels-missing",
        CT,
        (put(PLANS, OLD, without(old_2d(), "conv_kernel_sizes")),),
        frozenset({OLD_WARNING, ("PG104", PLANS, OLD)}),
    ),
    Variant(
        "old-kernels-misspelt",
        CT,
        (
            put(PLANS, OLD, without(old_2d(), "conv_kernel_sizes")),
            put(PLANS, f"{OLD}/conv_kernel_size", old_2d()["conv_kernel_sizes"]),
        ),
        frozenset({OLD_WARNING, ("PG104", PLANS, f"{OLD}/conv_kernel_size")}),
    ),
    Variant(
        "resampling-arguments-lost",
        CT,
        (put(PLANS, CHILD, child(data_identifier="nnUNetPlans_child", resampling_fn_seg_kwargs={"order": 0})),),
        finding("PG104", PLANS, f"{CHILD}/resampling_fn_seg_kwargs"),
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
    # PG110 old-plans-format
    Variant(
        "old-format",
        CT,
        (put(PLANS, OLD, old_2d()),),
        frozenset({OLD_WARNING}),
        twin=(put(PLANS, OLD, {"inherits_from": "2d"}),),
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
)
