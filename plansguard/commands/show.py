"""What an artefact says of itself, as data: a checkpoint, trained models, plans. ``render/show.py`` words it.

Everything in it is a stranger's: values are passed on as they stand, whatever their type, and judged by nobody.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
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
from plansguard.core.errors import Absent, UnreadableDocument
from plansguard.documents import size_limits
from plansguard.documents.file_names import CANONICAL_NAMES
from plansguard.documents.json_document import JsonDocument
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
from plansguard.nnunet.network.unet import Stage, UnknownNetwork, stages
from plansguard.subjects.documents import DatasetJson
from plansguard.subjects.external_plans import ExternalPlans
from plansguard.subjects.plans import Configuration
from plansguard.training.trainer_name import planned_steps

SCHEMA = "plansguard/show/1"
#: Networks with more parameters are none; Python does not even write numbers of more than 4300 digits.
_COUNTABLE = 2**63
#: How many configurations of one plans file are described; of the others only the names are told.
_MOST = 100
Shown = dict[str, Any]


def show(path: Path) -> Shown:
    """What lies at ``path``; its key ``kind`` is checkpoint, models or plans.

    UnreadableDocument when it is none of them or cannot be read.
    """
    artefact = read_artefact(path)
    head = {"schema": SCHEMA, "path": str(path)}
    if isinstance(artefact, Checkpoint):
        return {**head, "kind": "checkpoint", **_checkpoint(artefact, with_plans=True)}
    if isinstance(artefact, JsonDocument):
        return {**head, "kind": "plans", "plans": _plans(artefact, _beside(path), None)}
    return {**head, "kind": "models", "models": [_model(model) for model in artefact]}


# --- Weights ---------------------------------------------------------------------


def _model(model: StoredModel) -> Shown:
    checkpoints = [
        _of_model(model, name, read=not model.zipped or rank == 0) for rank, name in enumerate(model.checkpoints)
    ]
    read = next((one for one in checkpoints if "kind_of_checkpoint" in one), {})
    configuration = model.configuration or read.get("configuration")
    return {
        "name": model.name,
        "path": str(model.folder),
        "dataset_name": model.dataset_name,
        "trainer": model.trainer or read.get("trainer"),
        "configuration": configuration,
        "checkpoints": checkpoints,
        "plans": _plans(model.plans, model.dataset_json, configuration),
    }


def _of_model(model: StoredModel, name: str, *, read: bool) -> Shown:
    """One checkpoint of a model. In a zip each has to be unpacked on the way, so only the first one is read."""
    if not read:
        return {"path": name, "unread": "it lies packed in the zip"}
    try:
        return {**_checkpoint(model.checkpoint(name), with_plans=False), "path": name}
    except UnreadableDocument as error:
        return {"path": name, "unread": error.reason}


def _checkpoint(checkpoint: Checkpoint, *, with_plans: bool) -> Shown:
    shapes = {name: tensor.shape for name, tensor in checkpoint.parameters.items()}
    shown: Shown = {
        "sentence": checkpoint.sentence,
        "kind_of_checkpoint": checkpoint.kind,
        "trainer": checkpoint.trainer,
        "configuration": checkpoint.configuration,
        "fold": checkpoint.fold,
        "training": _training(checkpoint),
        "mirroring_axes": None if checkpoint.mirroring_axes is None else list(checkpoint.mirroring_axes),
        "weights": {
            "tensors": len(shapes),
            "parameters": number_of_parameters(shapes),
            "dtypes": dict(Counter(tensor.dtype for tensor in checkpoint.parameters.values())),
            "locations": list(checkpoint.locations),
            "prefix": checkpoint.prefix,
            "damage": list(checkpoint.damage),
        },
        "globals": [str(one) for one in checkpoint.globals],
        "suspicious": [str(one) for one in checkpoint.suspicious],
        "unknown": [str(one) for one in checkpoint.globals if _unknown(one) and one not in checkpoint.suspicious],
        "adaptation_plan": checkpoint.adaptation_plan,
    }
    return {**shown, **_embedded(checkpoint, shapes)} if with_plans else shown


def _unknown(named: Global) -> bool:
    """Whether a name stands for nothing that checkpoints are made of: torch's types, and what rebuilds its values."""
    return named.build is None and not (named.module == "torch" and named.name.endswith("Storage"))


def _embedded(checkpoint: Checkpoint, shapes: Mapping[str, tuple[int, ...]]) -> Shown:
    """The plans in a checkpoint; without any, why not, and what the shapes alone tell of the network."""
    try:
        plans = embedded_plans(checkpoint)
        return {"plans": _plans(plans, embedded_dataset_json(checkpoint), checkpoint.configuration)}
    except UnreadableDocument as error:
        return {"plans": None, "why_no_plans": error.reason, "network": _inferred(shapes)}


def _training(checkpoint: Checkpoint) -> Shown:
    def last(name: str) -> Any:
        return next(iter((checkpoint.logging or {}).get(name, [])[-1:]), None)

    return {
        "epochs_done": checkpoint.current_epoch,
        "epochs_planned": constants.planned_epochs(checkpoint.trainer_of_steps or checkpoint.trainer),
        "steps_done": checkpoint.step,
        "steps_planned": planned_steps(checkpoint.trainer_of_steps),
        "learning_rate": checkpoint.learning_rate,
        "train_loss": last("train_losses"),
        "val_loss": last("val_losses"),
        "ema_pseudo_dice": last("ema_fg_dice"),
    }


def _inferred(shapes: Mapping[str, tuple[int, ...]]) -> Shown | None:
    found = inferred_network(shapes)
    if found is None:
        return None
    return {**_stage_table(found.architecture, None), "input_channels": found.channels, "outputs": found.heads}


# --- Plans -----------------------------------------------------------------------


def _beside(path: Path) -> JsonDocument | None:
    """The dataset.json beside a plans file."""
    try:
        document = size_limits.read(path.parent / CANONICAL_NAMES["dataset.json"])
    except UnreadableDocument:
        return None
    return document if recognise(document.value) == "dataset.json" else None


def _plans(document: JsonDocument, dataset_json: JsonDocument | None, only: str | None) -> Shown:
    """Plans and the dataset.json that goes with them; of configurations ``only`` one, where it is known."""
    plans = ExternalPlans(document)
    labels: Any = dataset_json.value if dataset_json is not None else {}
    channels = _channels(dataset_json)
    chosen = [one for one in plans.configurations if only in (None, one.name)] or list(plans.configurations)
    return {
        "plans_name": plans.identifier,
        "dataset_name": plans.value.get("dataset_name"),
        "experiment_planner_used": plans.value.get("experiment_planner_used"),
        "image_reader_writer": plans.value.get("image_reader_writer"),
        "transpose_forward": plans.value.get("transpose_forward"),
        "channels": channels,
        "labels": labels.get("labels"),
        "regions_class_order": labels.get("regions_class_order"),
        "all_configurations": [one.name for one in plans.configurations],
        "configurations": [_configuration(one, channels, dataset_json) for one in chosen[:_MOST]],
    }


def _channels(dataset_json: JsonDocument | None) -> list[str] | None:
    try:
        return None if dataset_json is None else DatasetJson(dataset_json).channels
    except Absent:
        return None


def _configuration(
    configuration: Configuration, channels: list[str] | None, dataset_json: JsonDocument | None
) -> Shown:
    try:
        resolved = configuration.resolved
    except Absent as absent:
        return {"name": configuration.name, "unresolved": absent.reason}
    plain = ("inherits_from", "data_identifier", "spacing", "patch_size", "batch_size", "batch_dice", "previous_stage")
    return {
        "name": configuration.name,
        **{key: resolved.get(key) for key in plain},
        "normalization": _normalization(configuration, channels),
        "network": _network(configuration, dataset_json),
    }


def _normalization(configuration: Configuration, channels: list[str] | None) -> list[Shown]:
    schemes, masks = configuration.get("normalization_schemes"), configuration.get("use_mask_for_norm")
    shown = []
    for channel, scheme in enumerate(schemes if isinstance(schemes, list) else []):
        masked = masks[channel] if isinstance(masks, list) and channel < len(masks) else None
        name = channels[channel] if channels and channel < len(channels) else None
        clipped = _clipped(configuration, channel) if scheme == constants.CT else None
        shown.append({"channel": name, "scheme": scheme, "masked": masked, "ct": clipped})
    return shown


def _clipped(configuration: Configuration, channel: int) -> Shown | None:
    plans = configuration.plans
    try:
        found = ClippedRange.of(plans.value.get(plans.intensity_key), channel)
    except (AttributeError, TypeError):
        return None
    return None if found is None else found._asdict()


def _network(configuration: Configuration, dataset_json: JsonDocument | None) -> Shown:
    try:
        architecture = configuration.architecture
    except Absent as absent:
        return {"unknown": absent.reason}
    table = _stage_table(architecture, configuration.get("patch_size"))
    if dataset_json is None or DatasetJson(dataset_json).problems or "stages" not in table:
        return table
    try:
        channels = input_channels(configuration.resolved, dataset_json.value)
        shapes = expected_parameters(architecture, channels, segmentation_heads(dataset_json.value))
    except UnknownNetwork:
        return table
    parameters = number_of_parameters(shapes)
    return {**table, "parameters": parameters} if parameters < _COUNTABLE else table


def _stage_table(architecture: Mapping[str, Any], patch_size: Any) -> Shown:
    """The network's class and its stages, from the full resolution down; why not, where it is none of nnU-Net's own."""
    network = {"class": architecture.get("network_class_name")}
    whole = isinstance(patch_size, list) and all(type(voxels) is int for voxels in patch_size)
    try:
        rows = stages(architecture, patch_size if whole else None)
    except UnknownNetwork as error:
        return {**network, "unknown": error.reason}
    # A ResidualEncoderUNet has blocks on the way down only, a ResidualUNet both ways.
    name = str(network["class"]).rpartition(".")[2]
    return {
        **network,
        "encoder_unit": "convs" if name == "PlainConvUNet" else "blocks",
        "decoder_unit": "blocks" if name == "ResidualUNet" else "convs",
        "stages": [{"stage": row.number, **_unnumbered(row)} for row in rows],
    }


def _unnumbered(row: Stage) -> Shown:
    return {key: value for key, value in row._asdict().items() if key != "number"}
