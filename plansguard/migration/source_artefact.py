"""Artefacts as the giving side of a migration: their plans, and what they tell of the dataset and of weights."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from plansguard.artefacts.checkpoint.checkpoint import Checkpoint
from plansguard.artefacts.checkpoint.trained_model import (
    StoredModel,
    embedded_dataset_json,
    embedded_plans,
    read_artefact,
)
from plansguard.core.errors import UnreadableDocument, UsageError
from plansguard.documents import size_limits
from plansguard.documents.file_names import CANONICAL_NAMES
from plansguard.documents.json_document import JsonDocument
from plansguard.documents.recognise import recognise
from plansguard.nnunet.constants import DEFAULT_IDENTIFIER
from plansguard.subjects.external_plans import ExternalDataset, ExternalModel, ExternalPlans


def given_by(path: Path, identifier: str | None) -> ExternalDataset:
    """What lies at ``path``, as the giving side of a migration; ``identifier`` says which plans, where it has several.

    Raises UnreadableDocument when it is no artefact or holds no plans, UsageError when it is ambiguous.
    """
    artefact = read_artefact(path)
    if isinstance(artefact, tuple):
        return _given_by_models(path, chosen_models(path, artefact, identifier))
    given = (
        _given_by_checkpoint(path, artefact) if isinstance(artefact, Checkpoint) else _given_by_plans(path, artefact)
    )
    only = given.plans[0].identifier
    if identifier not in (None, only):
        raise UsageError(f"{path} has no plans named {identifier}", hint=f"plans there: {only}; leave -sp out")
    return given


def _given_by_plans(path: Path, document: JsonDocument) -> ExternalDataset:
    """A plans file; what lies beside it under nnU-Net's names is of the same dataset, as everywhere."""
    beside = []
    for kind in ("dataset.json", "fingerprint"):
        with suppress(UnreadableDocument):
            other = size_limits.read(path.parent / CANONICAL_NAMES[kind])
            beside += [other] if recognise(other.value) == kind else []
    return ExternalDataset(path.parent, (document, *beside), artefact=path, dataset_name=_dataset_name(document, path))


def _given_by_checkpoint(path: Path, checkpoint: Checkpoint) -> ExternalDataset:
    plans = embedded_plans(checkpoint)
    dataset_json = embedded_dataset_json(checkpoint)
    model = ExternalModel(
        folder=path.parent,
        trainer=checkpoint.trainer or "",
        plans_name=ExternalPlans(plans).identifier,
        configuration=checkpoint.configuration or "",
        weights=(path,),
    )
    return ExternalDataset(
        path.parent,
        (plans, *([dataset_json] if dataset_json is not None else [])),
        artefact=path,
        dataset_name=_dataset_name(plans, path),
        models=(model,),
        checkpoint=checkpoint,
    )


def _given_by_models(path: Path, models: Sequence[StoredModel]) -> ExternalDataset:
    first = models[0]
    trained = [model for model in models if model.checkpoints]
    documents = [first.plans, first.dataset_json, first.fingerprint]
    given = ExternalDataset(
        first.folder,
        tuple(document for document in documents if document is not None),
        artefact=path,
        dataset_name=first.dataset_name,
    )
    if trained:
        given.checkpoint = trained[0].checkpoint(trained[0].checkpoints[0])
        given.models = tuple(_given_model(model, given) for model in trained)
    return given


def _given_model(model: StoredModel, given: ExternalDataset) -> ExternalModel:
    """A model as one of the giving dataset; where its folder has no name of nnU-Net's, its checkpoint knows."""
    checkpoint = given.checkpoint
    return ExternalModel(
        folder=model.folder,
        trainer=model.trainer,
        plans_name=given.plans[0].identifier,
        configuration=model.configuration or (checkpoint is not None and checkpoint.configuration) or "",
        weights=tuple(model.folder / name for name in model.checkpoints),
        archive=model.path if model.zipped else None,
    )


def chosen_models(
    path: Path, models: Sequence[StoredModel], wanted: str | None, *, option: str = "-sp"
) -> list[StoredModel]:
    """Those models whose plans are meant: ``wanted`` names plans, a model or a configuration.

    Models of several configurations usually have the same plans, and then there is nothing to choose. Without
    ``wanted`` nnU-Net's default plans are meant if they are among several. Raises UsageError when plans are left that
    differ.
    """
    by_name = [[ExternalPlans(one.plans).identifier, one.name, one.configuration] for one in models]
    chosen = list(models)
    if wanted is not None:
        matches = [[names[rank] == wanted for names in by_name] for rank in range(3)]
        best = next((rank for rank in matches if any(rank)), None)
        if best is None:
            raise UsageError(f"{path} has no plans named {wanted}", hint=_choices(models))
        chosen = [model for model, match in zip(models, best, strict=True) if match]
    elif any(names[0] == DEFAULT_IDENTIFIER for names in by_name):
        pairs = zip(models, by_name, strict=True)
        chosen = [model for model, names in pairs if names[0] == DEFAULT_IDENTIFIER]
    if len({model.dataset_name for model in chosen}) > 1:
        names = sorted({model.dataset_name for model in chosen})
        raise UsageError(
            f"{path} holds models of several datasets: {', '.join(names)}", hint="name the folder of one of them"
        )
    if any(model.plans.value != chosen[0].plans.value for model in chosen):
        raise UsageError(f"{path} holds models with different plans: say which with {option}", hint=_choices(models))
    return chosen


def _choices(models: Sequence[StoredModel]) -> str:
    shown = [f"{ExternalPlans(model.plans).identifier} of {model.name}" for model in models]
    return f"plans there: {', '.join(shown)}"


def _dataset_name(plans: JsonDocument, path: Path) -> str:
    name = plans.value.get("dataset_name")
    return name if isinstance(name, str) and name else path.stem
