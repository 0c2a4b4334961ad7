"""Infer the direction of a migration from files on disk."""

from __future__ import annotations

import shlex
from dataclasses import dataclass

from plansguard.core.errors import Absent, known
from plansguard.nnunet import plans_diff
from plansguard.nnunet.constants import DEFAULT_IDENTIFIER
from plansguard.nnunet.workspace import TrainedModel, dataset_id
from plansguard.subjects.dataset import Dataset
from plansguard.subjects.external_plans import ExternalDataset
from plansguard.subjects.pair import Pair
from plansguard.subjects.plans import Plans


@dataclass(frozen=True)
class Direction:
    """The evidence about a direction.

    ``against`` are the reasons why it is wrong, and ``instead`` is what to do. Without reasons, ``open_question`` is
    the missing evidence (empty when the direction is proven) and ``settle`` how to decide.
    """

    against: tuple[str, ...] = ()
    instead: str = ""
    open_question: str = ""
    settle: str = ""


def judge_direction(pair: Pair) -> Direction:
    """Compare the direction of ``pair`` with trained weights, migration records and fingerprints."""
    return _judge_pretrain(pair) if pair.workflow == "pretrain" else _judge_finetune(pair)


def trained_with(dataset: Dataset, plans_name: str | None = None) -> list[TrainedModel]:
    """Models of a dataset that have a checkpoint, of one plans name or of any; Absent when results are not known."""
    models = [model for model in dataset.trained if model.checkpoints]
    return [model for model in models if plans_name in (None, model.plans_name)]


def own_plans_like(pair: Pair) -> str | None:
    """The identifier of plans in the receiving folder that are equivalent to the result, if any."""
    wanted = plans_diff.digests(pair.result.value)
    for plans in pair.receiving.plans:
        if plans.identifier != pair.result.identifier:
            present = plans_diff.digests(plans.value)
            if all(present[facet] == wanted[facet] for facet in ("weights", "input", "training")):
                return plans.identifier
    return None


def _judge_finetune(pair: Pair) -> Direction:
    """finetune and graft: weights of the giving dataset exist."""
    giving, receiving = pair.giving.name, pair.receiving.name
    weights = known(lambda: trained_with(pair.giving, pair.plans.identifier))
    if weights:
        return Direction()
    origin, theirs = _origin(pair), known(lambda: trained_with(pair.receiving))
    pretrain = f"to pretrain {receiving} with the plans of {giving}: {_command(pair, 'pretrain')}"
    if origin:
        return Direction((origin,), f"{receiving} needs no migration: it has these plans already")
    if weights is not None and theirs:
        because = f"{receiving} has trained weights ({theirs[0].folder.name}), {giving} has none with these plans"
        finetune = f"to fine-tune the weights of {receiving} on {giving}: {_reverse(pair, theirs[0])}"
        return Direction((because,), f"{finetune}; {pretrain}")
    missing = f"no trained weights of {giving} with these plans"
    if weights is None:
        artefact = pair.giving.artefact if isinstance(pair.giving, ExternalDataset) else None
        missing = f"there are no weights with {artefact}" if artefact else "nnUNet_results is not set"
    return Direction(
        open_question=missing,
        settle=f"if {giving} was pretrained elsewhere, go on; "
        f"if it is still to be pretrained: {_command(pair, 'pretrain', swap=True)}",
    )


def _judge_pretrain(pair: Pair) -> Direction:
    """pretrain: the fine-tuning dataset gives its own plans to the dataset that will be pretrained."""
    giving, receiving = pair.giving.name, pair.receiving.name
    if origin := _origin(pair):
        swapped = _command(pair, "pretrain", swap=True)
        return Direction((origin,), f"let the plans come from the dataset that will be fine-tuned on: {swapped}")
    if theirs := known(lambda: trained_with(pair.receiving)):
        return Direction(
            open_question=f"{receiving} already has trained weights ({theirs[0].folder.name}), "
            "which do not fit these plans",
            settle=f"if {receiving} is to be pretrained again, go on; to use its weights: {_reverse(pair, theirs[0])}",
        )
    if known(lambda: trained_with(pair.giving, pair.plans.identifier)):
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


def _origin(pair: Pair) -> str | None:
    """Evidence that the plans came from the receiving dataset."""
    giving, receiving = pair.giving.name, pair.receiving.name
    record = known(lambda: pair.giving.migration_record(pair.plans))
    if record is not None:
        migrated = f"they were migrated from {receiving} to {giving} before ({record.workflow})"
        return migrated if record.giving == receiving else None
    if _describes(pair.receiving, pair.plans) and _describes(pair.giving, pair.plans) is False:
        return f"their medians are those of {receiving}'s fingerprint, not of {giving}'s"
    return None


def _describes(dataset: Dataset, plans: Plans) -> bool | None:
    """Whether the plans were made from the dataset's fingerprint; None when that is not known."""
    try:
        return None if dataset.fingerprint.problems else dataset.fingerprint.describes(plans)
    except Absent:
        return None


def _reverse(pair: Pair, model: TrainedModel) -> str:
    """The command that migrates the plans of this model of the receiving dataset, to fine-tune its weights."""
    workflow = "finetune" if pair.workflow == "pretrain" else pair.workflow
    return _command(pair, workflow, swap=True, plans=model.plans_name)


def _command(pair: Pair, workflow: str, *, swap: bool = False, plans: str | None = None) -> str:
    """The command line of a migration between the same two datasets; with ``swap``, in the other direction."""
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
    """The argument of ``-s`` for the giving dataset, quoted for a shell."""
    if isinstance(giving, ExternalDataset):
        return shlex.quote(str(giving.artefact))
    return shlex.quote(dataset_id(giving.name) or giving.name)
