"""Which way do plans move? What lies on the disk, heard as witnesses against the declared workflow."""

from __future__ import annotations

from dataclasses import dataclass

from plansguard import changes
from plansguard.parts import Absent, Plans
from plansguard.subject import Dataset, Pair
from plansguard.workspace import TrainedModel


@dataclass(frozen=True)
class Direction:
    """The witnesses' verdict.

    ``against`` are the reasons why the direction is wrong, and ``instead`` the way out. Without any, ``open_question``
    says what nobody could testify (empty when the direction is proven) and ``settle`` what would.
    """

    against: tuple[str, ...] = ()
    instead: str = ""
    open_question: str = ""
    settle: str = ""


def judge_direction(pair: Pair) -> Direction:
    """Hear all witnesses for ``pair``."""
    return _judge_pretrain(pair) if pair.workflow == "pretrain" else _judge_finetune(pair)


def trained_with(dataset: Dataset, plans_name: str | None = None) -> list[TrainedModel]:
    """Models of a dataset that have a checkpoint, of one plans name or of any; Absent when results are not known."""
    models = [model for model in dataset.trained if model.checkpoints]
    return [model for model in models if plans_name in (None, model.plans_name)]


def own_plans_like(pair: Pair) -> str | None:
    """The identifier of plans in the receiving folder that do the same as those that would be written, if any."""
    wanted = changes.digests(pair.result.value)
    for plans in pair.receiving.plans:
        if plans.identifier != pair.result.identifier:
            have = changes.digests(plans.value)
            if all(have[facet] == wanted[facet] for facet in ("weights", "input", "training")):
                return plans.identifier
    return None


def _judge_finetune(pair: Pair) -> Direction:
    """finetune and graft: weights of the giving dataset exist."""
    giving, receiving = pair.giving.name, pair.receiving.name
    weights = _weights(pair.giving, pair.plans.identifier)
    if weights:
        return Direction()
    against = list(_origin(pair))
    if weights is not None and (theirs := _weights(pair.receiving, None)):
        against.append(f"{receiving} has trained weights ({theirs[0].folder.name}), {giving} has none with these plans")
    if against:
        pretrain = _command(pair.giving, pair.receiving, pair, workflow="pretrain")
        swapped = _command(pair.receiving, pair.giving, pair)
        return Direction(
            tuple(against),
            f"to fine-tune the weights of {receiving} on {giving}: {swapped}; "
            f"to pretrain {receiving} anew with the plans of {giving}: {pretrain}",
        )
    where = "nnUNet_results is not set" if weights is None else f"no trained weights of {giving} with these plans"
    return Direction(
        open_question=where,
        settle=f"if {giving} was pretrained elsewhere, go on; "
        f"if it is still to be pretrained: {_command(pair.receiving, pair.giving, pair, workflow='pretrain')}",
    )


def _judge_pretrain(pair: Pair) -> Direction:
    """pretrain: the fine-tuning dataset gives its own plans to the dataset that will be pretrained."""
    giving, receiving = pair.giving.name, pair.receiving.name
    against = list(_origin(pair))
    if against:
        swapped = _command(pair.receiving, pair.giving, pair)
        return Direction(tuple(against), f"let the plans come from the dataset that will be fine-tuned on: {swapped}")
    theirs = _weights(pair.receiving, None)
    if theirs:
        return Direction(
            open_question=f"{receiving} already has trained weights ({theirs[0].folder.name}), "
            "which do not fit these plans",
            settle=f"if {receiving} is to be pretrained anew, go on; "
            f"to use its weights: {_command(pair.receiving, pair.giving, pair, workflow='finetune')}",
        )
    if _describes(pair.giving, pair.plans):
        return Direction()
    return Direction(
        open_question=f"these plans were not made from the fingerprint of {giving}",
        settle=f"if {giving} is the dataset you will fine-tune on, go on",
    )


def _origin(pair: Pair) -> list[str]:
    """Witnesses that the plans came from the very dataset they would go to."""
    try:
        record = pair.giving.lineage(pair.plans)
        if record.giving == pair.receiving.name:
            return [f"they were migrated from {pair.receiving.name} to {pair.giving.name} before ({record.workflow})"]
        return []
    except Absent:
        pass
    if _describes(pair.receiving, pair.plans) and _describes(pair.giving, pair.plans) is False:
        return [f"their medians are those of {pair.receiving.name}'s fingerprint, not of {pair.giving.name}'s"]
    return []


def _describes(dataset: Dataset, plans: Plans) -> bool | None:
    """Whether the dataset's fingerprint made the plans; None when that cannot be told."""
    try:
        return dataset.fingerprint.describes(plans)
    except Absent:
        return None


def _weights(dataset: Dataset, plans_name: str | None) -> list[TrainedModel] | None:
    """Trained models, or None when nobody knows where results are."""
    try:
        return trained_with(dataset, plans_name)
    except Absent:
        return None


def _command(giving: Dataset, receiving: Dataset, pair: Pair, workflow: str | None = None) -> str:
    """The command line for a move between the same two datasets."""
    option = f" --workflow {workflow or pair.workflow}" if (workflow or pair.workflow) != "finetune" else ""
    return (
        f"plansguard migrate -s {dataset_id(giving.name)} -t {dataset_id(receiving.name)} "
        f"-tp {pair.result.identifier}{option}"
    )


def dataset_id(name: str) -> str:
    """``2`` for ``Dataset002_Name``: what nnU-Net's commands take; the name itself if it has no id."""
    digits = name[len("Dataset") :].partition("_")[0]
    return str(int(digits)) if name.startswith("Dataset") and digits.isascii() and digits.isdigit() else name
