"""Describe a checkpoint, trained models or plans.

The artefacts are untrusted: their values are passed on unchanged, whatever their type, and not checked.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from plansguard.artefacts.checkpoint.checkpoint import Checkpoint
from plansguard.artefacts.checkpoint.pickle_values import Global
from plansguard.artefacts.checkpoint.trained_model import (
    StoredModel,
    embedded_dataset_json,
    embedded_plans,
    read_artefact,
)
from plansguard.core.errors import Absent, UnreadableDocument, known
from plansguard.documents import size_limits
from plansguard.documents.file_names import CANONICAL_NAMES
from plansguard.documents.json_document import JsonDocument
from plansguard.documents.models import show_document
from plansguard.documents.recognise import recognise
from plansguard.nnunet import constants
from plansguard.nnunet.intensity import ClippedRange
from plansguard.nnunet.network.inference import inferred_network
from plansguard.nnunet.network.parameters import (
    expected_parameters,
    input_channels,
    number_of_parameters,
    segmentation_heads,
)
from plansguard.nnunet.network.unet import UnknownNetwork, stages
from plansguard.subjects.documents import DatasetJson
from plansguard.subjects.external_plans import ExternalPlans
from plansguard.subjects.plans import Configuration
from plansguard.training.trainer_name import planned_steps

#: Numbers of parameters from here on are left out; Python does not write numbers of more than 4300 digits.
_COUNTABLE = 2**63
#: How many configurations of one plans file are described; of the others only the names are listed.
_MOST = 100


def show(path: Path) -> show_document.Description:
    """Describe the checkpoint, the models or the plans at ``path``.

    Raises UnreadableDocument when it is none of them or cannot be read.
    """
    artefact = read_artefact(path)
    if isinstance(artefact, Checkpoint):
        return show_document.Description(str(path), _with_plans(artefact))
    if isinstance(artefact, JsonDocument):
        return show_document.Description(str(path), _plans(artefact, _dataset_json_beside(path), None))
    return show_document.Description(str(path), [_model(model) for model in artefact])


# --- Weights


def _model(model: StoredModel) -> show_document.ModelDescription:
    checkpoints = [
        _checkpoint_of(model, name, read=not model.zipped or rank == 0) for rank, name in enumerate(model.checkpoints)
    ]
    read = next((each for each in checkpoints if isinstance(each, show_document.CheckpointDescription)), None)
    configuration = model.configuration or (read.configuration if read is not None else None)
    return show_document.ModelDescription(
        name=model.name,
        path=str(model.folder),
        dataset_name=model.dataset_name,
        trainer=model.trainer or (read.trainer if read is not None else None),
        configuration=configuration,
        checkpoints=checkpoints,
        plans=_plans(model.plans, model.dataset_json, configuration),
    )


def _checkpoint_of(
    model: StoredModel, name: str, *, read: bool
) -> show_document.CheckpointDescription | show_document.UnreadCheckpoint:
    """One checkpoint of a model. In a zip each has to be unpacked to be read, so only the first one is read."""
    if not read:
        return show_document.UnreadCheckpoint(name, "it lies packed in the zip")
    try:
        return replace(_checkpoint(model.checkpoint(name)), path=name)
    except UnreadableDocument as error:
        return show_document.UnreadCheckpoint(name, error.reason)


def _checkpoint(checkpoint: Checkpoint) -> show_document.CheckpointDescription:
    shapes = _shapes(checkpoint)
    return show_document.CheckpointDescription(
        sentence=checkpoint.sentence,
        kind_of_checkpoint=checkpoint.kind,
        trainer=checkpoint.trainer,
        configuration=checkpoint.configuration,
        fold=checkpoint.fold,
        training=_training(checkpoint),
        mirroring_axes=checkpoint.mirroring_axes,
        weights=show_document.StoredWeights(
            tensors=len(shapes),
            parameters=number_of_parameters(shapes),
            dtypes=dict(Counter(tensor.dtype for tensor in checkpoint.parameters.values())),
            locations=checkpoint.locations,
            prefix=checkpoint.prefix,
            damage=checkpoint.damage,
        ),
        globals=[str(name) for name in checkpoint.globals],
        suspicious=[str(name) for name in checkpoint.suspicious],
        unknown=[str(name) for name in checkpoint.globals if _unknown(name) and name not in checkpoint.suspicious],
        adaptation_plan=checkpoint.adaptation_plan,
    )


def _shapes(checkpoint: Checkpoint) -> dict[str, tuple[int, ...]]:
    return {name: tensor.shape for name, tensor in checkpoint.parameters.items()}


def _unknown(name: Global) -> bool:
    """Whether checkpoints do not consist of this: neither one of torch's types, nor a function that rebuilds values."""
    return name.build is None and not (name.module == "torch" and name.name.endswith("Storage"))


def _with_plans(checkpoint: Checkpoint) -> show_document.CheckpointDescription:
    """The checkpoint with its plans; without any, why there are none, and the network by the shapes alone."""
    described = _checkpoint(checkpoint)
    try:
        document = embedded_plans(checkpoint)
        plans = _plans(document, embedded_dataset_json(checkpoint), checkpoint.configuration)
        return replace(described, plans=plans)
    except UnreadableDocument as error:
        network = inferred_network(_shapes(checkpoint))
        table = None
        if network is not None:
            stage_table = _stage_table(network.architecture, None)
            table = replace(stage_table, input_channels=network.channels, outputs=network.heads)
        return replace(described, plans=None, why_no_plans=error.reason, network=table)


def _training(checkpoint: Checkpoint) -> show_document.TrainingProgress:
    def last(name: str) -> Any:
        return next(iter((checkpoint.logging or {}).get(name, [])[-1:]), None)

    return show_document.TrainingProgress(
        epochs_done=checkpoint.current_epoch,
        epochs_planned=constants.planned_epochs(checkpoint.trainer_of_steps or checkpoint.trainer),
        steps_done=checkpoint.step,
        steps_planned=planned_steps(checkpoint.trainer_of_steps),
        learning_rate=checkpoint.learning_rate,
        train_loss=last("train_losses"),
        val_loss=last("val_losses"),
        ema_pseudo_dice=last("ema_fg_dice"),
    )


# --- Plans


def _dataset_json_beside(path: Path) -> JsonDocument | None:
    try:
        document = size_limits.read(path.parent / CANONICAL_NAMES["dataset.json"])
    except UnreadableDocument:
        return None
    return document if recognise(document.value) == "dataset.json" else None


def _plans(
    document: JsonDocument, dataset_json: JsonDocument | None, only: str | None
) -> show_document.PlansDescription:
    """Plans and the dataset.json that belongs to them; only the configuration ``only``, if it is known."""
    plans = ExternalPlans(document)
    labels: Any = dataset_json.value if dataset_json is not None else {}
    channels = None if dataset_json is None else known(lambda: DatasetJson(dataset_json).channels)
    chosen = [each for each in plans.configurations if only in (None, each.name)] or list(plans.configurations)
    return show_document.PlansDescription(
        plans_name=plans.identifier,
        dataset_name=plans.value.get("dataset_name"),
        experiment_planner_used=plans.value.get("experiment_planner_used"),
        image_reader_writer=plans.value.get("image_reader_writer"),
        transpose_forward=plans.value.get("transpose_forward"),
        channels=channels,
        labels=labels.get("labels"),
        regions_class_order=labels.get("regions_class_order"),
        all_configurations=[each.name for each in plans.configurations],
        configurations=[_configuration(each, channels, dataset_json) for each in chosen[:_MOST]],
    )


def _configuration(
    configuration: Configuration, channels: list[str] | None, dataset_json: JsonDocument | None
) -> show_document.ConfigurationDescription:
    try:
        resolved = configuration.resolved
    except Absent as absent:
        return show_document.ConfigurationDescription(configuration.name, unresolved=absent.reason)
    return show_document.ConfigurationDescription(
        name=configuration.name,
        inherits_from=resolved.get("inherits_from"),
        data_identifier=resolved.get("data_identifier"),
        spacing=resolved.get("spacing"),
        patch_size=resolved.get("patch_size"),
        batch_size=resolved.get("batch_size"),
        batch_dice=resolved.get("batch_dice"),
        previous_stage=resolved.get("previous_stage"),
        normalization=_normalization(configuration, channels),
        network=_network(configuration, dataset_json),
    )


def _normalization(
    configuration: Configuration, channels: list[str] | None
) -> list[show_document.NormalizationDescription]:
    schemes, masks = configuration.get("normalization_schemes"), configuration.get("use_mask_for_norm")
    described = []
    for channel, scheme in enumerate(schemes if isinstance(schemes, list) else []):
        masked = masks[channel] if isinstance(masks, list) and channel < len(masks) else None
        name = channels[channel] if channels and channel < len(channels) else None
        ct = _clipped(configuration, channel) if scheme == constants.CT else None
        described.append(show_document.NormalizationDescription(name, scheme, masked, ct))
    return described


def _clipped(configuration: Configuration, channel: int) -> dict[str, float] | None:
    plans = configuration.plans
    try:
        clipped = ClippedRange.of(plans.value.get(plans.intensity_key), channel)
    except (AttributeError, TypeError):
        return None
    return None if clipped is None else clipped._asdict()


def _network(configuration: Configuration, dataset_json: JsonDocument | None) -> show_document.NetworkDescription:
    try:
        architecture = configuration.architecture
    except Absent as absent:
        return show_document.NetworkDescription(unknown=absent.reason)
    table = _stage_table(architecture, configuration.get("patch_size"))
    if dataset_json is None or DatasetJson(dataset_json).problems or table.unknown:
        return table
    try:
        channels = input_channels(configuration.resolved, dataset_json.value)
        shapes = expected_parameters(architecture, channels, segmentation_heads(dataset_json.value))
    except UnknownNetwork:
        return table
    parameters = number_of_parameters(shapes)
    return replace(table, parameters=parameters) if parameters < _COUNTABLE else table


def _stage_table(architecture: Mapping[str, Any], patch_size: Any) -> show_document.NetworkDescription:
    """The network's class and its stages, or why the stages are unknown."""
    whole = isinstance(patch_size, list) and all(type(voxels) is int for voxels in patch_size)
    network_class = architecture.get("network_class_name")
    try:
        rows = stages(architecture, patch_size if whole else None)
    except UnknownNetwork as error:
        return show_document.NetworkDescription(network_class, unknown=error.reason)
    # A ResidualEncoderUNet has blocks in the encoder only, a ResidualUNet in both.
    name = str(network_class).rpartition(".")[2]
    return show_document.NetworkDescription(
        network_class,
        encoder_unit="convs" if name == "PlainConvUNet" else "blocks",
        decoder_unit="blocks" if name == "ResidualUNet" else "convs",
        stages=[show_document.StageDescription(*row) for row in rows],
    )
