"""External plans from artefacts: a plans file, a checkpoint or trained models as the source of a migration."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from plansguard.artefacts.checkpoint import trained_model
from plansguard.artefacts.checkpoint.checkpoint import Checkpoint
from plansguard.core.errors import UnreadableDocument, UnreadableFolder, UsageError
from plansguard.documents import size_limits
from plansguard.documents.file_names import CANONICAL_NAMES
from plansguard.documents.json_document import JsonDocument
from plansguard.documents.recognise import recognise
from plansguard.nnunet import plans_diff
from plansguard.nnunet.constants import DEFAULT_IDENTIFIER
from plansguard.nnunet.workspace import TrainedModel, is_folder_name, trained_models
from plansguard.subjects.external_plans import ExternalDataset, ExternalModel, ExternalPlans
from plansguard.subjects.plans import Plans
from plansguard.subjects.trained_models import differing_fields
from plansguard.subjects.weights import names_for


def external_dataset(path: Path, identifier: str | None, results: Path | None) -> ExternalDataset:
    """The artefact at ``path`` as a dataset; ``identifier`` names its plans, needed where it has several.

    ``results`` is the folder that may have models of plans which come without weights.

    Raises UnreadableDocument when it is no artefact or contains no plans, UsageError when it is ambiguous.
    """
    artefact = trained_model.read_artefact(path)
    if isinstance(artefact, tuple):
        return _from_models(path, chosen_models(path, artefact, identifier))
    external = (
        _from_checkpoint(path, artefact) if isinstance(artefact, Checkpoint) else _from_plans(path, artefact, results)
    )
    only = external.plans[0].identifier
    if identifier not in (None, only):
        raise UsageError(f"{path} has no plans named {identifier}", hint=f"plans there: {only}; leave -sp out")
    return external


def _from_plans(path: Path, document: JsonDocument, results: Path | None) -> ExternalDataset:
    """A plans file, with the dataset.json and fingerprint beside it, and the models that were trained with it."""
    beside = []
    for kind in ("dataset.json", "fingerprint"):
        with suppress(UnreadableDocument):
            other = size_limits.read(path.parent / CANONICAL_NAMES[kind])
            beside += [other] if recognise(other.value) == kind else []
    name = _dataset_name(document, path)
    external = ExternalDataset(path.parent, (document, *beside), artefact=path, dataset_name=name)
    if results is not None and is_folder_name(name):
        with suppress(UnreadableFolder):
            external.in_results = tuple(_trained_with_these(trained_models(results, name), external.plans[0]))
    return external


def _trained_with_these(models: Iterable[TrainedModel], plans: Plans) -> Iterator[TrainedModel]:
    for model in models:
        is_named = model.plans_name == plans.identifier and bool(model.checkpoints)
        if is_named and differing_fields(model, plans, ("weights", "input")) == []:
            yield model


def _from_checkpoint(path: Path, checkpoint: Checkpoint) -> ExternalDataset:
    plans = trained_model.embedded_plans(checkpoint)
    dataset_json = trained_model.embedded_dataset_json(checkpoint)
    written = plans_diff.configuration_names(plans.value)
    model = ExternalModel(
        folder=path,  # a plans.json beside a loose checkpoint may be that of another one
        trainer=checkpoint.trainer or "",
        plans_name=ExternalPlans(plans).identifier,
        # the one that the weights load into
        configuration=next((name for name in names_for(checkpoint) if name in written), checkpoint.configuration or ""),
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


def _from_models(path: Path, models: Sequence[trained_model.StoredModel]) -> ExternalDataset:
    first = models[0]
    trained = [model for model in models if model.checkpoints]
    documents = [first.plans, first.dataset_json, first.fingerprint]
    external = ExternalDataset(
        first.folder,
        tuple(document for document in documents if document is not None),
        artefact=path,
        dataset_name=first.dataset_name,
    )
    if trained:
        external.checkpoint = checkpoint = trained[0].checkpoint(trained[0].checkpoints[0])
        external.models = tuple(
            ExternalModel(
                folder=model.folder,
                trainer=model.trainer,
                plans_name=external.plans[0].identifier,
                # from the checkpoint where the folder's name is not one of nnU-Net's
                configuration=model.configuration or checkpoint.configuration or "",
                weights=tuple(model.folder / name for name in model.checkpoints),
                archive=model.path if model.zipped else None,
            )
            for model in trained
        )
    return external


def chosen_models(
    path: Path, models: Sequence[trained_model.StoredModel], wanted: str | None, *, option: str = "-sp"
) -> list[trained_model.StoredModel]:
    """The models whose plans are meant: ``wanted`` names plans, a model or a configuration, in this order.

    Without ``wanted``, nnU-Net's default plans are meant if there are any, else all models. These usually have the same
    plans, and then there is nothing to choose. Raises UsageError when plans that differ are left.
    """

    def named(name: str) -> list[trained_model.StoredModel]:
        by_plans = [model for model in models if ExternalPlans(model.plans).identifier == name]
        by_model = [model for model in models if model.name == name]
        return by_plans or by_model or [model for model in models if model.configuration == name]

    if wanted is not None:
        chosen = named(wanted)
        if not chosen:
            raise UsageError(f"{path} has no plans named {wanted}", hint=_choices(models))
    else:
        default = [model for model in models if ExternalPlans(model.plans).identifier == DEFAULT_IDENTIFIER]
        chosen = default or list(models)
    if len({model.dataset_name for model in chosen}) > 1:
        names = sorted({model.dataset_name for model in chosen})
        raise UsageError(
            f"{path} contains models of several datasets: {', '.join(names)}", hint="name the folder of one of them"
        )
    if any(model.plans.value != chosen[0].plans.value for model in chosen):
        raise UsageError(f"{path} contains models with different plans: name one with {option}", hint=_choices(models))
    return chosen


def _choices(models: Sequence[trained_model.StoredModel]) -> str:
    shown = [f"{ExternalPlans(model.plans).identifier} of {model.name}" for model in models]
    return f"plans there: {', '.join(shown)}"


def _dataset_name(plans: JsonDocument, path: Path) -> str:
    name = plans.value.get("dataset_name")
    return name if isinstance(name, str) and name else path.stem
