"""Which way do plans move? What lies on the disk, heard as witnesses against the declared workflow."""

from __future__ import annotations

import shlex
from dataclasses import dataclass

from plansguard.core.errors import Absent
from plansguard.nnunet import plans_diff
from plansguard.nnunet.constants import DEFAULT_IDENTIFIER
from plansguard.nnunet.workspace import TrainedModel, dataset_id
from plansguard.subjects.dataset import Dataset
from plansguard.subjects.external_plans import ExternalDataset
from plansguard.subjects.pair import Pair
from plansguard.subjects.plans import Plans


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
    wanted = plans_diff.digests(pair.result.value)
    for plans in pair.receiving.plans:
        if plans.identifier != pair.result.identifier:
            have = plans_diff.digests(plans.value)
            if all(have[facet] == wanted[facet] for facet in ("weights", "input", "training")):
                return plans.identifier
    return None


def _judge_finetune(pair: Pair) -> Direction:
    """finetune and graft: weights of the giving dataset exist."""
    giving, receiving = pair.giving.name, pair.receiving.name
    weights = _weights(pair.giving, pair.plans.identifier)
    if weights:
        return Direction()
    origin, theirs = _origin(pair), _weights(pair.receiving, None)
    pretrain = f"to pretrain {receiving} with the plans of {giving}: {_command(pair, 'pretrain')}"
    if origin:
        return Direction(tuple(origin), f"{receiving} needs no move: it has these plans already")
    if weights is not None and theirs:
        because = f"{receiving} has trained weights ({theirs[0].folder.name}), {giving} has none with these plans"
        finetune = f"to fine-tune the weights of {receiving} on {giving}: {_back(pair, theirs[0])}"
        return Direction((because,), f"{finetune}; {pretrain}")
    nobody = f"no trained weights of {giving} with these plans"
    if weights is None:
        artefact = pair.giving.artefact if isinstance(pair.giving, ExternalDataset) else None
        nobody = f"no weights lie with {artefact}" if artefact else "nnUNet_results is not set"
    return Direction(
        open_question=nobody,
        settle=f"if {giving} was pretrained elsewhere, go on; "
        f"if it is still to be pretrained: {_command(pair, 'pretrain', swap=True)}",
    )


def _judge_pretrain(pair: Pair) -> Direction:
    """pretrain: the fine-tuning dataset gives its own plans to the dataset that will be pretrained."""
    giving, receiving = pair.giving.name, pair.receiving.name
    if origin := _origin(pair):
        swapped = _command(pair, "pretrain", swap=True)
        return Direction(tuple(origin), f"let the plans come from the dataset that will be fine-tuned on: {swapped}")
    if theirs := _weights(pair.receiving, None):
        return Direction(
            open_question=f"{receiving} already has trained weights ({theirs[0].folder.name}), "
            "which do not fit these plans",
            settle=f"if {receiving} is to be pretrained anew, go on; to use its weights: {_back(pair, theirs[0])}",
        )
    if _weights(pair.giving, pair.plans.identifier):
        return Direction(
            open_question=f"{giving} has trained weights with these plans and {receiving} has none, "
            f"as if {giving} were the pretraining dataset",
            settle=f"if {giving} is the dataset you will fine-tune on, go on; "
            f"to fine-tune its weights on {receiving}: {_command(pair, 'finetune')}",
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
        record = pair.giving.migration_record(pair.plans)
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
        return None if dataset.fingerprint.problems else dataset.fingerprint.describes(plans)
    except Absent:
        return None


def _weights(dataset: Dataset, plans_name: str | None) -> list[TrainedModel] | None:
    """Trained models, or None when nobody knows where results are."""
    try:
        return trained_with(dataset, plans_name)
    except Absent:
        return None


def _back(pair: Pair, model: TrainedModel) -> str:
    """The command that moves the plans of this model of the receiving dataset, so that its weights are fine-tuned."""
    workflow = "finetune" if pair.workflow == "pretrain" else pair.workflow
    return _command(pair, workflow, swap=True, plans=model.plans_name)


def _command(pair: Pair, workflow: str, *, swap: bool = False, plans: str | None = None) -> str:
    """The command line for a move between the same two datasets; with ``swap``, the other way round."""
    giving, receiving = (pair.receiving, pair.giving) if swap else (pair.giving, pair.receiving)
    plans = plans if swap else pair.plans.identifier
    named = plans not in (None, DEFAULT_IDENTIFIER) and len(giving.plans) > 1
    options = [
        f"-s {source_of(giving)} -t {shlex.quote(dataset_id(receiving.name) or receiving.name)}",
        *([f"-sp {shlex.quote(str(plans))}"] if named else []),
        f"-tp {shlex.quote(pair.result.identifier)}",
        *([f"--workflow {workflow}"] if workflow != "finetune" else []),
    ]
    return " ".join(["plansguard migrate", *options])


def source_of(giving: Dataset) -> str:
    """What ``-s`` takes for the giving side, as one types it in a shell."""
    if isinstance(giving, ExternalDataset):
        return shlex.quote(str(giving.artefact))
    return shlex.quote(dataset_id(giving.name) or giving.name)
