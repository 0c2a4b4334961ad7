"""The description of an artefact that ``plansguard show`` reports.

A field that is OMITTED has no key in the JSON. Values from the artefact keep the type that they have there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from typing import Any, Final

SCHEMA = "plansguard/show/1"


class _Omitted:
    def __bool__(self) -> bool:
        return False


OMITTED: Final[Any] = _Omitted()


@dataclass(frozen=True)
class StageDescription:
    """A stage of the network, counted from the full resolution; ``size`` is that of the feature map in voxels."""

    stage: int
    features: int
    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    encoder: int
    decoder: int | None
    size: tuple[int, ...] | None


@dataclass(frozen=True)
class NetworkDescription:
    """The network's class and its stages; ``unknown`` is the reason where they are unknown."""

    class_: Any = OMITTED
    unknown: str = OMITTED
    encoder_unit: str = OMITTED
    decoder_unit: str = OMITTED
    stages: Sequence[StageDescription] = OMITTED
    parameters: int = OMITTED
    input_channels: int = OMITTED
    outputs: int | None = OMITTED


@dataclass(frozen=True)
class NormalizationDescription:
    """Normalization of one channel; ``ct`` is the range of CTNormalization."""

    channel: str | None
    scheme: Any
    masked: Any
    ct: Mapping[str, float] | None


@dataclass(frozen=True)
class ConfigurationDescription:
    """A configuration after inheritance; ``unresolved`` is the reason where that is broken, and nothing else is set."""

    name: str
    unresolved: str = OMITTED
    inherits_from: Any = OMITTED
    data_identifier: Any = OMITTED
    spacing: Any = OMITTED
    patch_size: Any = OMITTED
    batch_size: Any = OMITTED
    batch_dice: Any = OMITTED
    previous_stage: Any = OMITTED
    normalization: Sequence[NormalizationDescription] = OMITTED
    network: NetworkDescription = OMITTED


@dataclass(frozen=True)
class PlansDescription:
    """Plans and the dataset.json that belongs to them."""

    plans_name: Any
    dataset_name: Any
    experiment_planner_used: Any
    image_reader_writer: Any
    transpose_forward: Any
    channels: list[str] | None
    labels: Any
    regions_class_order: Any
    all_configurations: Sequence[str]
    configurations: Sequence[ConfigurationDescription]


@dataclass(frozen=True)
class TrainingProgress:
    """The progress of a training, and its losses in the last epoch."""

    epochs_done: Any
    epochs_planned: int | None
    steps_done: Any
    steps_planned: int | None
    learning_rate: Any
    train_loss: Any
    val_loss: Any
    ema_pseudo_dice: Any


@dataclass(frozen=True)
class StoredWeights:
    """The tensors of a checkpoint."""

    tensors: int
    parameters: int
    dtypes: Mapping[str, int]
    locations: Sequence[str]
    prefix: str
    damage: Sequence[str]


@dataclass(frozen=True)
class CheckpointDescription:
    """A checkpoint; ``path`` in its model, or else the plans in it, or why there are none and what the shapes show."""

    sentence: str
    kind_of_checkpoint: str
    trainer: Any
    configuration: Any
    fold: Any
    training: TrainingProgress
    mirroring_axes: Sequence[int] | None
    weights: StoredWeights
    globals: Sequence[str]
    suspicious: Sequence[str]
    unknown: Sequence[str]
    adaptation_plan: Any
    path: str = OMITTED
    plans: PlansDescription | None = OMITTED
    why_no_plans: str = OMITTED
    network: NetworkDescription | None = OMITTED


@dataclass(frozen=True)
class UnreadCheckpoint:
    """A checkpoint of a model that was not read, and why."""

    path: str
    unread: str


@dataclass(frozen=True)
class ModelDescription:
    """A trained model."""

    name: str
    path: str
    dataset_name: str
    trainer: Any
    configuration: Any
    checkpoints: Sequence[CheckpointDescription | UnreadCheckpoint]
    plans: PlansDescription


@dataclass(frozen=True)
class Description:
    """The content of the artefact at ``path``: a checkpoint, trained models, or plans."""

    path: str
    content: CheckpointDescription | Sequence[ModelDescription] | PlansDescription


def as_document(description: Description) -> dict[str, Any]:
    """Return the description as the JSON document plansguard/show/1."""
    head, content = {"schema": SCHEMA, "path": description.path}, description.content
    if isinstance(content, CheckpointDescription):
        return {**head, "kind": "checkpoint", **_plain(content)}
    kind = "plans" if isinstance(content, PlansDescription) else "models"
    return {**head, "kind": kind, kind: _plain(content)}


def _plain(value: Any) -> Any:
    """``value`` with dictionaries in place of descriptions."""
    if is_dataclass(value):
        members = {field.name.rstrip("_"): getattr(value, field.name) for field in fields(value)}
        return {name: _plain(member) for name, member in members.items() if member is not OMITTED}
    return [_plain(item) for item in value] if isinstance(value, (list, tuple)) else value
