"""Segmentation layers of pretrained weights, which nnU-Net's own loader leaves as they are.

A trainer with ``keephead`` in its name loads them after it. The gate asks before, whether they fit.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from plansguard.core.text import listed, times
from plansguard.nnunet.network.parameters import has_regions, head_names
from plansguard.nnunet.network.unet import UnknownNetwork
from plansguard.training.stop_reasons import Refused

_HEAD = ".seg_layers."


def misfit(
    expected: Mapping[str, tuple[int, ...]],
    stored: Mapping[str, tuple[int, ...]],
    dataset_json: Mapping[str, Any],
    theirs: Mapping[str, Any] | None,
) -> str:
    """Why segmentation layers of weights cannot be kept, as a clause; empty if they can.

    ``expected`` and ``stored`` are parameters and their shapes. ``theirs`` is the dataset.json of the weights; classes
    are compared by their names where it is known.
    """
    for name, shape in expected.items():
        if _HEAD in name and stored.get(name) != shape:
            there = f"{times(stored[name])} in the weights" if name in stored else "missing in the weights"
            return f"{name} is {times(shape)} here and {there}"
    return "" if theirs is None else other_classes(dataset_json, theirs, "the weights")


def other_classes(dataset_json: Mapping[str, Any], theirs: Mapping[str, Any], where: str) -> str:
    """How the classes differ by their names and order, as a clause; empty if they do not, or are not known.

    ``where`` is what ``theirs`` is the dataset.json of.
    """
    try:
        ours, other = (_classes(side) for side in (dataset_json, theirs))
    except UnknownNetwork:
        return ""
    return (
        "" if ours == other else f"the classes are {listed(ours, shown=8)} here and {listed(other, shown=8)} in {where}"
    )


def _classes(dataset_json: Mapping[str, Any]) -> list[str]:
    kind = "region " if has_regions(dataset_json) else ""
    return [f"{kind}{name.casefold()}" for name in head_names(dataset_json)]


def load_after_stock(trainer: Any) -> None:
    """Let nnU-Net's command load the segmentation layers into this trainer's network, after all other weights.

    The command passes the path of the weights to one function only, which is replaced; ``trainer.keeps_head`` is set
    when it has run. Source: maybe_load_checkpoint in run/run_training.py of nnU-Net 2.8.1.
    """
    from nnunetv2.run import run_training as nnunet

    stock = getattr(nnunet.load_pretrained_weights, "stock", nnunet.load_pretrained_weights)

    def load(network: Any, path: str, verbose: bool = False) -> None:
        stock(network, path, verbose=verbose)
        if network is trainer.network:  # another trainer of this process may keep no head
            _load(network, path, trainer.dataset_json)
            trainer.keeps_head = True

    load.stock = stock  # type: ignore[attr-defined]
    vars(nnunet).update(load_pretrained_weights=load)


def _load(network: Any, path: str, dataset_json: Mapping[str, Any]) -> None:
    """Copy the segmentation layers of a checkpoint, which nnU-Net has loaded before, into a network."""
    import torch

    checkpoint = torch.load(path, map_location="cpu", weights_only=False)
    stored = checkpoint["network_weights"]
    network = getattr(network, "module", network)  # that of DistributedDataParallel
    own = getattr(network, "_orig_mod", network).state_dict()  # that of torch.compile
    theirs = (checkpoint.get("init_args") or {}).get("dataset_json")
    expected, there = ({name: tuple(value.shape) for name, value in side.items()} for side in (own, stored))
    if reason := misfit(expected, there, dataset_json, theirs):
        hint = "adapt the weights to the classes of this dataset with plansguard adapt, or train without keephead"
        raise Refused(f"the segmentation layers of {path} cannot be kept: {reason}", hint=hint)
    with torch.no_grad():
        for name, value in own.items():
            if _HEAD in name:
                value.copy_(stored[name])
