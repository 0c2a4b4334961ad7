"""What is said about a migration: the sentence before it and the commands after it."""

from __future__ import annotations

import shlex
from collections.abc import Iterator

from plansguard.direction import dataset_id, trained_with
from plansguard.migration.plan import Migration
from plansguard.parts import Absent
from plansguard.subject import Dataset, Pair
from plansguard.workspace import TrainedModel

_ROLES = {
    "finetune": (
        "the pretraining dataset",
        "the fine-tuning dataset",
        "so that weights of {giving} can be fine-tuned on {receiving} with the network, spacing and normalisation that "
        "they were trained with",
    ),
    "pretrain": (
        "the fine-tuning dataset",
        "the pretraining dataset",
        "so that a network still to be trained on {receiving} fits {giving}",
    ),
    "graft": (
        "the pretraining dataset",
        "the fine-tuning dataset",
        "so that weights of {giving} can be fine-tuned on {receiving}: network and patch size come over, spacing and "
        "normalisation stay those of {receiving}",
    ),
}


def sentence(pair: Pair) -> str:
    """Which way the plans move and what for, in one full sentence."""
    giver, receiver, purpose = _ROLES[pair.workflow]
    giving, receiving = pair.giving.name, pair.receiving.name
    return (
        f"Plans {pair.plans.identifier} come from {giving}, {giver}, and go to {receiving}, {receiver}, "
        f"as {pair.result.identifier}, {purpose.format(giving=giving, receiving=receiving)} "
        f"(--workflow {pair.workflow})."
    )


def next_commands(migration: Migration) -> Iterator[str]:
    """What to type now, with real names, in the right order."""
    pair = migration.pair
    receiving, identifier = dataset_id(pair.receiving.name), shlex.quote(pair.result.identifier)
    configuration = _configuration(pair)
    if not _has_fingerprint(pair.receiving):
        yield f"nnUNetv2_extract_fingerprint -d {receiving}"
    if pair.workflow != "graft" or not _has_data(pair, configuration):
        yield f"nnUNetv2_preprocess -d {receiving} -plans_name {identifier} -c {configuration}"
    yield f"plansguard check -d {receiving} -p {identifier}"
    if pair.workflow == "pretrain":
        giving, own = dataset_id(pair.giving.name), shlex.quote(pair.plans.identifier)
        checkpoint = f"nnUNetTrainer__{pair.result.identifier}__{configuration}/fold_all/checkpoint_final.pth"
        yield f"nnUNetv2_train {receiving} {configuration} all -p {identifier}"
        weights = shlex.quote(
            f"{pair.receiving.workspace.results or '$nnUNet_results'}/{pair.receiving.name}/{checkpoint}"
        )
        yield f"nnUNetv2_train {giving} {configuration} 0 -p {own} -pretrained_weights {weights}"
    else:
        yield f"nnUNetv2_train {receiving} {configuration} 0 -p {identifier} -pretrained_weights {_weights(pair)}"


def _configuration(pair: Pair) -> str:
    """The configuration that was trained, else 3d_fullres, else the first."""
    names = [one.name for one in pair.result.configurations]
    trained = [model.configuration for model in _trained(pair) if model.configuration in names]
    return (trained or [name for name in names if name == "3d_fullres"] or names)[0]


def _weights(pair: Pair) -> str:
    trained = _trained(pair)
    return shlex.quote(str(trained[0].checkpoints[0])) if trained else "PRETRAINED_WEIGHTS.pth"


def _trained(pair: Pair) -> list[TrainedModel]:
    try:
        return trained_with(pair.giving, pair.plans.identifier)
    except Absent:
        return []


def _has_fingerprint(dataset: Dataset) -> bool:
    try:
        return bool(dataset.fingerprint)
    except Absent:
        return False


def _has_data(pair: Pair, configuration: str) -> bool:
    """Whether the folder of preprocessed arrays that the result names is already there."""
    one = next(one for one in pair.result.configurations if one.name == configuration)
    return (pair.receiving.folder / str(one.get("data_identifier"))).is_dir()
