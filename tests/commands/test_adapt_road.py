"""From adapted weights to fine-tuned folds, by ``plansguard finetune`` and the real nnU-Net."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from plansguard.nnunet.inheritance import modern_architecture, resolve_configuration
from tests.support import roads
from tests.support.command import start
from tests.support.stepping import CONFIGURATION, tiny
from tests.support.variants import FIXTURES, ROOTS

pytestmark = [
    pytest.mark.nnunet,
    pytest.mark.slow,
    pytest.mark.long,
    pytest.mark.skipif(os.name == "nt", reason="POSIX processes"),
]
LENGTH = ("--steps", "2", "--per-epoch", "2", "--validation", "1", "-device", "cpu", "-np", "1")
TRAINER = "nnUNetTrainer_2steps_2per_1val_lr1en3_keephead"


def weights_of_one_channel(path: Path) -> dict[str, Any]:
    """Save weights for T2 and a lesion, as nnU-Net's trainer does; return the state of their network."""
    import torch
    from nnunetv2.utilities.get_network_from_plans import get_network_from_plans

    folder = FIXTURES / "workspace" / ROOTS["preprocessed"] / roads.SOURCE
    plans, dataset_json = tiny(folder / "nnUNetPlans.json"), json.loads((folder / "dataset.json").read_bytes())
    dataset_json["channel_names"] = {"0": "T2"}
    for key in ("normalization_schemes", "use_mask_for_norm"):
        plans["configurations"][CONFIGURATION][key] = plans["configurations"][CONFIGURATION][key][1:]
    built = modern_architecture(resolve_configuration(plans["configurations"], CONFIGURATION))
    network = get_network_from_plans(
        built["network_class_name"], built["arch_kwargs"], built["_kw_requires_import"], 1, 2, deep_supervision=True
    )
    arguments = {"plans": plans, "configuration": CONFIGURATION, "fold": 0, "dataset_json": dataset_json}
    content = {"network_weights": network.state_dict(), "init_args": arguments, "trainer_name": "nnUNetTrainer"}
    torch.save({**content, "current_epoch": 1000, "inference_allowed_mirroring_axes": (0, 1)}, path)
    state: dict[str, Any] = network.state_dict()
    return state


def test_one_channel_and_two_classes_more_are_trained_to_the_end(tmp_path: Path) -> None:
    """Nothing but raw images of the dataset is there before."""
    root = roads.make_workspace(tmp_path)
    weights_of_one_channel(root / "old.pth")
    file = root / ROOTS["raw"] / roads.TARGET / "dataset.json"
    dataset_json = json.loads(file.read_bytes())
    dataset_json["labels"] = {"background": 0, "lesion": 1, "core": 2, "oedema": 3}
    file.write_text(json.dumps(dataset_json))
    adapt = ("adapt", "old.pth", "-d", "13", "-o", "adapted.pth")
    refused = start(*adapt, environment=roads.environment(root), cwd=root)
    assert refused.returncode == 2
    assert "extract the fingerprint first: nnUNetv2_extract_fingerprint -d 13" in refused.stderr
    for words in (("gate", "--", "nnUNetv2_extract_fingerprint", "-d", "13", "-np", "1"), adapt):
        done = start(*words, environment=roads.environment(root), cwd=root)
        assert done.returncode == 0, done.stderr + done.stdout
    road = ("-s", "adapted.pth", "-t", "13", "-tp", "Moved", "-c", CONFIGURATION, "-f", "0", *LENGTH, "--keep-head")
    code, output = roads.finish(root, *road)
    assert code == 0, output
    folder = root / ROOTS["results"] / roads.TARGET / f"{TRAINER}__Moved__{CONFIGURATION}"
    assert (folder / "fold_0/validation/summary.json").is_file()
    receipt = json.loads((folder / "fold_0/plansguard_receipt.json").read_bytes())
    assert receipt["starts"][0]["schedule"]["keep_head"] is True
    assert receipt["starts"][0]["weights"]["path"].endswith("adapted.pth")
