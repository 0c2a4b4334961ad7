"""PG130, PG131: plans that were copied or edited by hand."""

from __future__ import annotations

import shutil
from pathlib import Path

from tests.rules.pg1_plans.networks import CHILD
from tests.support.variants import PLANS, Edit, Variant, finding, place, put

CT = "Dataset002_FinetuneCT"
RESIDUAL = {"inherits_from": "3d_fullres", "UNet_class_name": "ResidualEncoderUNet"}
PLAIN = {"inherits_from": "3d_fullres", "batch_size": 4}


def collected(batch_size: int, name: str = "nnUNetPlans") -> Edit:
    """Copy the plans into a folder of a repository, and once more with another batch size and this name."""

    def edit(workspace: Path, dataset: str) -> None:
        folder = place(workspace, dataset, "results/plans")
        folder.mkdir(parents=True)
        shutil.copy(place(workspace, dataset, PLANS), folder / "A_plans.json")
        shutil.copy(place(workspace, dataset, PLANS), folder / "B_plans.json")
        put("results/plans/B_plans.json", "/configurations/3d_fullres/batch_size", batch_size)(workspace, dataset)
        put("results/plans/B_plans.json", "/plans_name", name)(workspace, dataset)

    return edit


VARIANTS: tuple[Variant, ...] = (
    Variant(
        "residual-network-by-an-old-key",
        CT,
        (put(PLANS, CHILD, RESIDUAL),),
        finding("PG130", PLANS, f"{CHILD}/UNet_class_name"),
        twin=(put(PLANS, CHILD, PLAIN),),
    ),
    Variant(
        "old-key-that-agrees",
        CT,
        (put(PLANS, CHILD, {**PLAIN, "network_arch_class_name": "PlainConvUNet"}),),
        finding("PG130", PLANS, f"{CHILD}/network_arch_class_name"),
    ),
    Variant(
        "plans-of-one-name-in-a-repository",
        CT,
        (collected(7),),
        finding("PG131", "results/plans/B_plans.json", "/plans_name"),
        twin=(collected(7, "Other"),),
        model="results/plans",
    ),
)
