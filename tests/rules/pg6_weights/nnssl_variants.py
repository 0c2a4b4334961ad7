"""PG63x: plans and weights of nnssl."""

from __future__ import annotations

import json
import os
from collections import OrderedDict
from pathlib import Path
from typing import Any

from tests.support import checkpoints
from tests.support.variants import PLANS, Edit, Variant, copy, finding, place, put
from tests.support.weights import CT, FULLRES, MODEL, MR, WEIGHTS, saved, weights


def nnssl(path: str = WEIGHTS, network: str | None = None, **info: Any) -> Edit:
    """Make the plans those of nnssl's planner, with the checkpoint at ``path`` in the workspace."""

    def edit(workspace: Path, dataset: str) -> None:
        file = place(workspace, dataset, PLANS)
        plans = json.loads(file.read_bytes())
        default = {"checkpoint_path": str(workspace / path), "pt_num_in_channels": 1, "pt_used_patchsize": [160] * 3}
        plans["pretrain_info"] = {**default, **info}
        if network is not None:
            plans["configurations"]["3d_fullres"]["architecture"] = {
                "network_class_name": network,
                "arch_kwargs": {},
                "_kw_requires_import": [],
            }
        file.write_text(json.dumps(plans, indent=4))

    return edit


def pretrained(tokens: int = 8000, **adaptation: Any) -> Edit:
    """Write a checkpoint of nnssl with a positional embedding."""

    def content() -> Any:
        embedding = checkpoints.Zeros((1, tokens, 864), checkpoints.Storage("0", "cpu"))
        plan = {"pretrain_num_input_channels": 1, **adaptation}
        return {"network_weights": OrderedDict({"encoder.eva.pos_embed": embedding}), "nnssl_adaptation_plan": plan}

    return saved(content)


def primus(**info: Any) -> Edit:
    """Make the plans those of nnssl for a Primus."""
    return nnssl(network="PrimusM", **info)


VARIANTS: tuple[Variant, ...] = (
    Variant(
        "weights-of-nnssl-elsewhere",
        CT,
        (nnssl("gone.pth"),),
        finding("PG630", PLANS, "/pretrain_info/checkpoint_path"),
        (pretrained(), nnssl()),
    ),
    Variant(
        "ordinary-weights-for-nnssl",
        CT,
        (weights(), nnssl()),
        finding("PG631", PLANS, "/pretrain_info/checkpoint_path"),
        (pretrained(), nnssl()),
    ),
    Variant(
        "unreadable-weights-for-nnssl",
        CT,
        (pretrained(), lambda workspace, _: os.truncate(workspace / WEIGHTS, 200), nnssl()),
        finding("PG631", PLANS, "/pretrain_info/checkpoint_path"),
        (pretrained(), nnssl()),
    ),
    Variant(
        "nnssl-plans-trained-from-scratch",
        CT,
        (pretrained(), nnssl(), copy(PLANS, f"{MODEL}/plans.json")),
        finding("PG632", PLANS, "/pretrain_info"),
        (pretrained(), nnssl(), copy(PLANS, "results/PretrainedTrainer__nnUNetPlans__3d_fullres/plans.json")),
    ),
    Variant(
        "nnssl-weights-of-more-channels",
        CT,
        (pretrained(), nnssl(pt_num_in_channels=2)),
        finding("PG633", PLANS, "/pretrain_info/pt_num_in_channels"),
        (pretrained(), nnssl(pt_num_in_channels=1)),
    ),
    Variant(
        "nnssl-weights-of-two-channels-for-three",
        MR,
        (pretrained(), nnssl(pt_num_in_channels=3)),
        finding("PG633", PLANS, "/pretrain_info/pt_num_in_channels"),
        (pretrained(), nnssl(pt_num_in_channels=2)),
    ),
    Variant(
        "patch-not-of-whole-tokens",
        CT,
        (pretrained(), primus(), put(PLANS, f"{FULLRES}/patch_size", [60, 64, 64])),
        finding("PG634", PLANS, f"{FULLRES}/patch_size"),
        (pretrained(), primus()),
    ),
    Variant(
        "embedding-of-another-patch",
        CT,
        (pretrained(tokens=8000), primus(pt_used_patchsize=[64, 64, 64])),
        finding("PG634", PLANS, f"{FULLRES}/patch_size"),
        (pretrained(tokens=8000, pretrain_patch_size=[160] * 3), primus(pt_used_patchsize=[64, 64, 64])),
    ),
    Variant(
        "embedding-of-an-unknown-patch",
        CT,
        (pretrained(tokens=8000), primus(pt_used_patchsize=None)),
        finding("PG634", PLANS, f"{FULLRES}/patch_size"),
        (pretrained(tokens=7 * 8 * 8), primus(pt_used_patchsize=None)),
    ),
)
