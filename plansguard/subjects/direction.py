"""Infer the direction of a migration from files on disk."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass

from plansguard.core.errors import known
from plansguard.core.text import listed, quoted
from plansguard.nnunet import plans_diff, printed_commands
from plansguard.nnunet.constants import DEFAULT_IDENTIFIER
from plansguard.nnunet.printed_commands import CHECKPOINT, Word
from plansguard.nnunet.workspace import TrainedModel
from plansguard.records.migration import DERIVE, MigrationRecord
from plansguard.records.training import recorded_weights
from plansguard.subjects.dataset import Dataset
from plansguard.subjects.external_plans import ExternalDataset
from plansguard.subjects.pair import Pair
from plansguard.subjects.plans import Plans
from plansguard.subjects.pretraining import Pretraining, pretraining_among, usual_fold
from plansguard.subjects.trained_models import trained_with, trained_with_equal


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
    """Compare the direction of ``pair`` with trained weights, migration records and fingerprints.

    Plans that are derived do not move.
    """
    if pair.workflow == DERIVE:
        return Direction()
    return _judge_pretrain(pair) if pair.workflow == "pretrain" else _judge_finetune(pair)


def own_plans_like(pair: Pair) -> list[str]:
    """The identifiers of the plans in the receiving folder that are equivalent to the result."""
    wanted = plans_diff.digests(pair.result.value)
    if pair.existing == pair.result.document.raw and pair.replaced is None:
        return [pair.result.identifier]  # the same file, which no migration has written
    return [
        plans.identifier
        for plans in pair.receiving.plans
        if plans.identifier != pair.result.identifier and _are_equivalent(plans_diff.digests(plans.value), wanted)
    ]


def use_one_of(identifiers: Sequence[str]) -> str:
    """``-p NAME`` of the only plans, or that the user has to choose one of several."""
    return f"-p {quoted(identifiers[0])}" if len(identifiers) == 1 else "-p and one of these names"


def _are_equivalent(one: Mapping[str, str], other: Mapping[str, str]) -> bool:
    return all(one[facet] == other[facet] for facet in ("weights", "input", "training"))


def _judge_finetune(pair: Pair) -> Direction:
    """finetune and graft: weights of the giving dataset exist."""
    weights = known(lambda: _weights(pair))
    twins, receiving = own_plans_like(pair), pair.receiving.name
    if (record := _brought_from_receiving(pair)) is not None:
        # Weights that were trained with plans of this dataset need them here, also if they were replaced meanwhile.
        return Direction() if weights and not twins else _moved_back(pair, record, twins)
    if weights or _recorded_before(pair, ("finetune", "graft")):
        return Direction()
    if _is_made_for_receiving(pair):
        because = f"their medians are those of {receiving}'s fingerprint, not of {pair.giving.name}'s"
        return Direction((because,), _use_own(pair, twins))
    if (model := _pretrained_on_receiving(pair)) is not None:
        because = f"{receiving} has weights of these plans, {pair.giving.name} has none"
        return Direction((because,), _fine_tune_on_giving(pair, model))
    return _open_finetune(pair)


def _judge_pretrain(pair: Pair) -> Direction:
    """pretrain: the fine-tuning dataset gives its own plans to the dataset that will be pretrained."""
    giving, receiving = pair.giving.name, pair.receiving.name
    if (record := _brought_from_receiving(pair)) is not None:
        return _moved_back(pair, record, own_plans_like(pair))
    if _recorded_before(pair, ("pretrain",)) or _describes(pair.giving, pair.plans):
        return Direction()
    if _is_made_for_receiving(pair):
        because = f"their medians are those of {receiving}'s fingerprint, not of {giving}'s"
        return Direction((because,), _use_own(pair, own_plans_like(pair)))
    if known(lambda: trained_with(pair.giving, pair.plans.identifier)):
        return Direction(
            open_question=f"{giving} has trained weights with these plans, as if {giving} were the pretraining dataset",
            settle=f"if {giving} is the dataset you will fine-tune on, go on; "
            f"to fine-tune its weights on {receiving}: {_command(pair, 'finetune')}",
        )
    return Direction(
        open_question=f"these plans were not made from the fingerprint of {giving}",
        settle=f"if {giving} is the dataset you will fine-tune on, go on",
    )


def _weights(pair: Pair) -> list[TrainedModel]:
    """Trained models of the giving dataset with these plans; Absent when its models are not known."""
    return trained_with(pair.giving, pair.plans.identifier) or trained_with_equal(pair.giving, pair.plans)


def _brought_from_receiving(pair: Pair) -> MigrationRecord | None:
    """The record of the giving dataset by which the plans came from the receiving dataset, other than by a graft."""
    record = pair.giving.brought_by(pair.plans)
    brought = record is not None and record.giving == pair.receiving.name and record.workflow != "graft"
    return record if brought else None


def _recorded_before(pair: Pair, workflows: Container[str]) -> bool:
    """Whether the receiving dataset has plans that came from the giving dataset for one of these workflows."""
    receiving = pair.receiving
    present = [plans for plans in receiving.plans if plans.path != pair.result.path and receiving.has_record(plans)]
    records = [receiving.brought_by(plans) for plans in present]
    return any(
        record.giving == pair.giving.name and record.workflow in workflows
        for record in (pair.replaced, *records)
        if record is not None
    )


def _is_made_for_receiving(pair: Pair) -> bool:
    """Whether the plans were made from the fingerprint of the receiving dataset, and not from that of the giving."""
    return _describes(pair.receiving, pair.plans) is True and _describes(pair.giving, pair.plans) is False


def _pretrained_on_receiving(pair: Pair) -> TrainedModel | None:
    """A model of the receiving dataset with these plans, where neither side shows that the plans are the giver's.

    A model that was itself fine-tuned is no pretraining. None as well where the giver's models are not known.
    """
    if isinstance(pair.giving, ExternalDataset) or _describes(pair.giving, pair.plans):
        return None
    models = known(lambda: trained_with_equal(pair.receiving, pair.plans)) or []
    return next((model for model in models if not recorded_weights(model.folder)), None)


def _moved_back(pair: Pair, record: MigrationRecord, twins: Sequence[str]) -> Direction:
    receiving = pair.receiving.name
    because = f"they were migrated from {receiving} before ({record.workflow})"
    origin = record.value["from"]["plans"]
    if origin in twins:
        return Direction((because,), _use_own(pair, [origin]))
    if not twins and origin in {plans.identifier for plans in pair.receiving.plans}:
        has = f"{receiving} has the plans that they came from, as {origin} (-p {quoted(origin)})"
        return Direction((because,), has)
    return Direction((because,), _use_own(pair, twins))


def _use_own(pair: Pair, twins: Sequence[str]) -> str:
    """What to do where the receiving dataset is the origin of the plans."""
    if twins:
        names = listed(twins)
        return f"{pair.receiving.name} needs no migration: it has these plans, as {names} ({use_one_of(twins)})"
    return (
        f"{pair.receiving.name} no longer has these plans, and {pair.giving.name} no weights with them: "
        f"use other plans of {pair.receiving.name}, or name the weights: {command_from(pair)}"
    )


def _fine_tune_on_giving(pair: Pair, model: TrainedModel) -> str:
    """The training that fine-tunes a model of the receiving dataset on the giving one, which has its plans."""
    giving, name = pair.giving, model.configuration
    weights = pretraining_among([model], pair.receiving.name, name) or Pretraining(CHECKPOINT)
    training = weights.in_one_line(giving, pair.plans, name, usual_fold(giving))
    return f"to fine-tune these weights on {giving.name}, which has their plans already{training}"


def _open_finetune(pair: Pair) -> Direction:
    """The question that is left where neither weights nor records decide, and how to answer it."""
    giving, receiving = pair.giving.name, pair.receiving.name
    artefact = pair.giving.artefact if isinstance(pair.giving, ExternalDataset) else None
    missing = f"nnUNet_results has no weights of {giving} with these plans"
    if known(lambda: pair.giving.trained) is None:
        missing = f"there are no weights with {artefact}" if artefact else "nnUNet_results is not set"
    ways = [f"if weights of {giving} lie elsewhere, name them: {command_from(pair)}"]
    if not artefact and (own := _models_of_own_plans(pair.receiving)):
        swapped = _command(pair, pair.workflow, swap=True, plans=own[0].plans_name)
        ways.append(f"to fine-tune the weights of {receiving} on {giving}: {swapped}")
    if giving in pair.receiving.workspace.dataset_names():
        ways.append(f"if {giving} is still to be pretrained: {_command(pair, 'pretrain', swap=True)}")
    return Direction(open_question=missing, settle="; ".join(ways))


def _models_of_own_plans(dataset: Dataset) -> list[TrainedModel]:
    """Trained models of a dataset with plans that it has and that were not migrated to it."""
    own = {plans.identifier for plans in dataset.plans if dataset.migrated_with(plans) is None}
    return [model for model in known(lambda: trained_with(dataset)) or () if model.plans_name in own]


def _describes(dataset: Dataset, plans: Plans) -> bool | None:
    """Whether the plans were made from the dataset's fingerprint; None when that is not known."""
    return known(lambda: dataset.fingerprint.describes(plans))


def _command(pair: Pair, workflow: str, *, swap: bool = False, plans: str | None = None) -> str:
    """The command line of a migration between the same two datasets; with ``swap``, in the other direction."""
    giving, receiving = (pair.receiving, pair.giving) if swap else (pair.giving, pair.receiving)
    plans = plans if swap else pair.plans.identifier
    named = plans if plans != DEFAULT_IDENTIFIER and len(giving.plans) > 1 else None
    to = pair.result.identifier
    return printed_commands.migrate(source_of(giving), receiving.name, to, plans=named, workflow=workflow)


def command_from(pair: Pair, weights: Word = CHECKPOINT) -> str:
    """The command line of the same migration with weights as the source."""
    workflow = "graft" if pair.workflow == "graft" else "finetune"
    return printed_commands.migrate(weights, pair.receiving.name, pair.result.identifier, workflow=workflow)


def source_of(giving: Dataset) -> str:
    """The argument of ``-s`` for the giving dataset."""
    return str(giving.artefact) if isinstance(giving, ExternalDataset) else printed_commands.source(giving.name)
