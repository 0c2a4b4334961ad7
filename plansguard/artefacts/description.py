"""The description of an artefact that ``plansguard show`` reports.

A field that is OMITTED is unknown and has no key in the JSON. Values from the artefact keep the type that they have
there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from plansguard.artefacts.checkpoint.checkpoint import Checkpoint
from plansguard.artefacts.checkpoint.trained_model import StoredModel
from plansguard.nnunet.intensity import ClippedRange
from plansguard.nnunet.network.unet import Stage


class _Omitted:
    def __bool__(self) -> bool:
        return False


OMITTED: Final[Any] = _Omitted()


@dataclass(frozen=True)
class NetworkDescription:
    """The network's class and its stages; ``unknown`` is the reason where they are unknown."""

    class_: Any = OMITTED
    unknown: str = OMITTED
    encoder_unit: str = OMITTED
    decoder_unit: str = OMITTED
    stages: Sequence[Stage] = OMITTED
    parameters: int = OMITTED
    input_channels: int = OMITTED
    outputs: int | None = OMITTED


@dataclass(frozen=True)
class NormalizationDescription:
    """Normalization of one channel; ``ct`` is the range of CTNormalization."""

    channel: str | None
    scheme: Any
    masked: Any
    ct: ClippedRange | None


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
class CheckpointDescription:
    """A checkpoint and the plans in it; without plans the reason, and the network that its shapes show."""

    checkpoint: Checkpoint
    plans: PlansDescription | None = None
    why_no_plans: str = ""
    network: NetworkDescription | None = None


@dataclass(frozen=True)
class ModelDescription:
    """A trained model. ``checkpoints`` are by name; one that was not read is replaced by the reason."""

    model: StoredModel
    trainer: Any
    configuration: Any
    checkpoints: Mapping[str, Checkpoint | str]
    plans: PlansDescription


@dataclass(frozen=True)
class Description:
    """The content of the artefact at ``path``: a checkpoint, trained models, or plans."""

    path: str
    content: CheckpointDescription | Sequence[ModelDescription] | PlansDescription
