"""Describe a checkpoint, trained models or plans.

The artefacts are untrusted: their values are passed on unchanged, whatever their type, and not checked.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from plansguard.artefacts.checkpoint import trained_model
from plansguard.artefacts.checkpoint.checkpoint import Checkpoint
from plansguard.artefacts.description import (
    CheckpointDescription,
    ConfigurationDescription,
    Description,
    ModelDescription,
    NetworkDescription,
    NormalizationDescription,
    PlansDescription,
)
from plansguard.core.errors import Absent, UnreadableDocument, known
from plansguard.documents import size_limits
from plansguard.documents.file_names import CANONICAL_NAMES
from plansguard.documents.json_document import JsonDocument
from plansguard.documents.recognise import recognise
from plansguard.nnunet import constants
from plansguard.nnunet.intensity import ClippedRange
from plansguard.nnunet.network.inference import inferred_network
from plansguard.nnunet.network.parameters import (
    Shapes,
    expected_parameters,
    input_channels,
    number_of_parameters,
    segmentation_heads,
)
from plansguard.nnunet.network.unet import UnknownNetwork, stages
from plansguard.subjects.documents import DatasetJson
from plansguard.subjects.external_plans import ExternalPlans
from plansguard.subjects.plans import Configuration

#: Numbers of parameters from here on are left out; Python does not write numbers of more than 4300 digits.
_COUNTABLE = 2**63
#: How many configurations of one plans file are described; of the others only the names are listed.
_MOST = 100
#: Fields that are copied unchanged.
_OF_PLANS = ("dataset_name", "experiment_planner_used", "image_reader_writer", "transpose_forward")
_OF_CONFIGURATION = (
    *("inherits_from", "data_identifier", "spacing", "patch_size", "batch_size", "batch_dice", "previous_stage"),
)


def show(path: str | Path) -> Description:
    """Describe the checkpoint, the models or the plans at ``path``.

    Spacings are in mm; spacings, patches and strides have the order of the array axes, after transpose_forward. Raises
    UnreadableDocument when it is none of them or cannot be read.
    """
    path = Path(path)
    artefact = trained_model.read_artefact(path)
    if isinstance(artefact, Checkpoint):
        return Description(str(path), _checkpoint(artefact))
    if isinstance(artefact, JsonDocument):
        return Description(str(path), _plans(artefact, _dataset_json_beside(path), []))
    return Description(str(path), [_model(model) for model in artefact])


# --- Weights


def _model(model: trained_model.StoredModel) -> ModelDescription:
    # In a zip each checkpoint has to be unpacked to be read, so only the first one is read.
    checkpoints = {
        name: "it lies packed in the zip" if model.zipped and rank else _checkpoint_of(model, name)
        for rank, name in enumerate(model.checkpoints)
    }
    read = next((each for each in checkpoints.values() if isinstance(each, Checkpoint)), None)
    configuration = model.configuration or (read.configuration if read is not None else None)
    return ModelDescription(
        model=model,
        trainer=model.trainer or (read.trainer if read is not None else None),
        configuration=configuration,
        checkpoints=checkpoints,
        plans=_plans(model.plans, model.dataset_json, [] if configuration is None else [configuration]),
    )


def _checkpoint_of(model: trained_model.StoredModel, name: str) -> Checkpoint | str:
    """One checkpoint of a model, or why it cannot be read."""
    try:
        return model.checkpoint(name)
    except UnreadableDocument as error:
        return error.reason


def _checkpoint(checkpoint: Checkpoint) -> CheckpointDescription:
    try:
        document = trained_model.embedded_plans(checkpoint)
        dataset_json = trained_model.embedded_dataset_json(checkpoint)
        return CheckpointDescription(
            checkpoint, _plans(document, dataset_json, _names(checkpoint, document, dataset_json))
        )
    except UnreadableDocument as error:
        network = inferred_network(checkpoint.shapes)
        table = None
        if network is not None:
            stage_table = _stage_table(network.architecture, None)
            table = replace(stage_table, input_channels=network.channels, outputs=network.heads)
        return CheckpointDescription(checkpoint, why_no_plans=error.reason, network=table)


def _names(checkpoint: Checkpoint, document: JsonDocument, dataset_json: JsonDocument | None) -> list[str]:
    """The configuration of the training, and the one that the weights were adapted to.

    The plans are those of the training: their configuration of that name is left out if it has another network.
    """
    names = [] if checkpoint.configuration is None else [checkpoint.configuration]
    adapted = (one for one in ExternalPlans(document).configurations if one.name == checkpoint.adapted_to)
    for configuration in adapted:
        shapes = _shapes(configuration, dataset_json)
        if shapes is not None and shapes.items() <= checkpoint.shapes.items() and configuration.name not in names:
            names.append(configuration.name)
    return names


# --- Plans


def _dataset_json_beside(path: Path) -> JsonDocument | None:
    try:
        document = size_limits.read(path.parent / CANONICAL_NAMES["dataset.json"])
    except UnreadableDocument:
        return None
    return document if recognise(document.value) == "dataset.json" else None


def _plans(document: JsonDocument, dataset_json: JsonDocument | None, names: Sequence[str]) -> PlansDescription:
    """Plans and the dataset.json that belongs to them; only the configurations ``names``, if they have any of these."""
    plans = ExternalPlans(document)
    labels: Any = dataset_json.value if dataset_json is not None else {}
    channels = None if dataset_json is None else known(lambda: DatasetJson(dataset_json).channels)
    chosen = [each for each in plans.configurations if each.name in names] or list(plans.configurations)
    return PlansDescription(
        plans_name=plans.identifier,
        **{key: plans.value.get(key) for key in _OF_PLANS},
        channels=channels,
        labels=labels.get("labels"),
        regions_class_order=labels.get("regions_class_order"),
        all_configurations=[each.name for each in plans.configurations],
        configurations=[_configuration(each, channels, dataset_json) for each in chosen[:_MOST]],
    )


def _configuration(
    configuration: Configuration, channels: list[str] | None, dataset_json: JsonDocument | None
) -> ConfigurationDescription:
    try:
        resolved = configuration.resolved
    except Absent as absent:
        return ConfigurationDescription(configuration.name, unresolved=absent.reason)
    copied: dict[str, Any] = {key: resolved.get(key) for key in _OF_CONFIGURATION}
    return ConfigurationDescription(
        name=configuration.name,
        **copied,
        normalization=_normalization(configuration, channels),
        network=_network(configuration, dataset_json),
    )


def _normalization(configuration: Configuration, channels: list[str] | None) -> list[NormalizationDescription]:
    schemes, masks = configuration.get("normalization_schemes"), configuration.get("use_mask_for_norm")
    described = []
    for channel, scheme in enumerate(schemes if isinstance(schemes, list) else []):
        masked = masks[channel] if isinstance(masks, list) and channel < len(masks) else None
        name = channels[channel] if channels and channel < len(channels) else None
        ct = _clipped(configuration, channel) if scheme == constants.CT else None
        described.append(NormalizationDescription(name, scheme, masked, ct))
    return described


def _clipped(configuration: Configuration, channel: int) -> ClippedRange | None:
    plans = configuration.plans
    try:
        return ClippedRange.of(plans.value.get(plans.intensity_key), channel)
    except (AttributeError, TypeError):
        return None


def _network(configuration: Configuration, dataset_json: JsonDocument | None) -> NetworkDescription:
    try:
        architecture = configuration.architecture
    except Absent as absent:
        return NetworkDescription(unknown=absent.reason)
    table = _stage_table(architecture, configuration.get("patch_size"))
    shapes = None if table.unknown else _shapes(configuration, dataset_json)
    if shapes is None:
        return table
    parameters = number_of_parameters(shapes)
    return replace(table, parameters=parameters) if parameters < _COUNTABLE else table


def _shapes(configuration: Configuration, dataset_json: JsonDocument | None) -> Shapes | None:
    """The shapes of the network's parameters, as far as they are known without building it."""
    if dataset_json is None or DatasetJson(dataset_json).problems:
        return None
    try:
        channels = input_channels(configuration.resolved, dataset_json.value)
        return expected_parameters(configuration.architecture, channels, segmentation_heads(dataset_json.value))
    except (UnknownNetwork, Absent):
        return None


def _stage_table(architecture: Mapping[str, Any], patch_size: Any) -> NetworkDescription:
    """The network's class and its stages, or why the stages are unknown."""
    whole = isinstance(patch_size, list) and all(type(voxels) is int for voxels in patch_size)
    network_class = architecture.get("network_class_name")
    try:
        rows = stages(architecture, patch_size if whole else None)
    except UnknownNetwork as error:
        return NetworkDescription(network_class, unknown=error.reason)
    # A ResidualEncoderUNet has blocks in the encoder only, a ResidualUNet in both.
    name = str(network_class).rpartition(".")[2]
    return NetworkDescription(
        network_class,
        encoder_unit="convs" if name == "PlainConvUNet" else "blocks",
        decoder_unit="blocks" if name == "ResidualUNet" else "convs",
        stages=rows,
    )
