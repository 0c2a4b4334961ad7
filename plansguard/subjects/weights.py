"""A checkpoint as one configuration would load it with ``-pretrained_weights``."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property
from typing import TYPE_CHECKING, Any

from plansguard.core.errors import Absent, UnreadableDocument
from plansguard.documents import size_limits
from plansguard.nnunet import constants, runtime
from plansguard.nnunet.network.mismatch import Obstacle, obstacles, obstacles_by_plans
from plansguard.nnunet.network.parameters import Shapes, expected_parameters, input_channels, segmentation_heads
from plansguard.nnunet.network.unet import UnknownNetwork
from plansguard.subjects.documents import AnyPart, DatasetJson
from plansguard.subjects.plans import Configuration, Plans

if TYPE_CHECKING:
    from plansguard.artefacts.checkpoint.checkpoint import Checkpoint


class Weights:
    """The two sides of a fine-tuning: what the checkpoint holds, and the configuration that is to be trained.

    ``trainer`` is the one that will train, where that is known. Absent when a document of this side has fields of a
    wrong type, which PG005 tells.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        configuration: Configuration,
        dataset_json: DatasetJson,
        trainer: str | None = None,
    ) -> None:
        self.checkpoint = checkpoint
        self.trainer = trainer
        self.configuration = configuration.usable
        self.dataset_json = dataset_json.valid
        configuration.plans.valid  # noqa: B018 - raises Absent with the reason

    @cached_property
    def theirs(self) -> Configuration:
        """The configuration that the weights were trained with; Absent when the checkpoint does not hold it."""
        plans = plans_in(self.checkpoint)
        name = self.checkpoint.configuration
        for configuration in plans.configurations:
            if configuration.name == name and configuration.is_usable:
                return configuration
        trouble = "cannot be read" if name in plans.written else "is not in them"
        raise Absent(f"of the plans in {plans.path.name} the weights were trained as {name}, which {trouble}")

    @cached_property
    def their_dataset_json(self) -> DatasetJson:
        """The dataset.json of the training that made the weights; Absent when the checkpoint holds none."""
        if not isinstance(self.checkpoint.dataset_json, dict):
            raise Absent(f"{self.checkpoint.path} holds no dataset.json")
        return _carried(DatasetJson, self.checkpoint.dataset_json, self.checkpoint.path)

    @cached_property
    def expected(self) -> Shapes:
        """Names and shapes of the parameters of the network to be trained; Absent when they cannot be known."""
        architecture = self.configuration.architecture
        try:
            channels = input_channels(self.configuration.resolved, self.dataset_json.value)
            heads = segmentation_heads(self.dataset_json.value)
        except UnknownNetwork as error:
            raise Absent(error.reason) from error
        try:
            return expected_parameters(architecture, channels, heads)
        except UnknownNetwork as error:
            if not runtime.installed():
                raise Absent(f"{error.reason}; with plansguard[train] it would be built and looked at") from error
        try:
            return runtime.parameters_of(architecture, channels, heads)
        except UnknownNetwork as error:
            raise Absent(error.reason) from error

    @cached_property
    def obstacles(self) -> tuple[Obstacle, ...]:
        """Why nnU-Net could not load the weights, the cause to be mended first in front; empty when it can.

        Networks whose parameters cannot be known are compared by the plans, where the plans decide the network. Absent
        when that is not possible either.
        """
        if self.trainer is not None and _builds_another_network(self.trainer):
            raise Absent(f"{self.trainer} builds a network of its own, and not the one that the plans name")
        here = self.configuration.architecture
        try:
            expected = self.expected
        except Absent:
            if self.checkpoint.trainer in constants.TRAINERS_WITH_OWN_NETWORK:
                raise
            return tuple(obstacles_by_plans(here, self.theirs.architecture))
        stored = {name: tensor.shape for name, tensor in self.checkpoint.parameters.items()}
        return tuple(
            obstacles(
                expected,
                stored,
                here=here,
                theirs=self._their_architecture,
                cascade=bool(self.configuration.get("previous_stage")),
            )
        )

    @property
    def load(self) -> bool:
        """Whether nnU-Net would load them: every parameter but the segmentation layers is there, in the same shape."""
        return not self.obstacles

    @property
    def _their_architecture(self) -> dict[str, Any] | None:
        try:
            return self.theirs.architecture
        except Absent:
            return None


def _builds_another_network(trainer: str) -> bool:
    if trainer in constants.STOCK_TRAINERS:
        return trainer in constants.TRAINERS_WITH_OWN_NETWORK
    from plansguard.nnunet.install.trainer_search import find_trainer

    found = find_trainer(trainer)
    return found is not None and found.own_network


def plans_in(checkpoint: Checkpoint) -> Plans:
    """The plans that a checkpoint carries; Absent when it carries none, or damaged ones."""
    if not isinstance(checkpoint.plans, dict):
        raise Absent(f"{checkpoint.path} holds no plans")
    return _carried(Plans, checkpoint.plans, checkpoint.path)


def meant_for(checkpoint: Checkpoint, configurations: Iterable[Configuration]) -> tuple[Configuration, ...]:
    """Those that would load the weights: the one they were trained as; else all of as many axes; else all."""
    every = tuple(configurations)
    same = tuple(one for one in every if one.name == checkpoint.configuration)
    return same or with_axes(every, axes_of(checkpoint)) or every


def axes_of(checkpoint: Checkpoint) -> int | None:
    """2 or 3, as the convolutions in a checkpoint have it; None when there is none."""
    return next((len(one.shape) - 2 for one in checkpoint.parameters.values() if len(one.shape) in (4, 5)), None)


def with_axes(configurations: Iterable[Configuration], axes: int | None) -> tuple[Configuration, ...]:
    """Those whose patches have so many axes."""
    return tuple(one for one in configurations if one.is_usable and len(one.get("patch_size", ())) == axes)


def _carried(kind: type[AnyPart], value: dict[str, Any], path: str) -> AnyPart:
    """A document that a checkpoint carries; Absent when a field has a wrong type, or nnU-Net never wrote such a one."""
    try:
        part = kind(size_limits.written(value, path))
    except UnreadableDocument as error:
        raise Absent(f"what {path} carries cannot be read: {error.reason}") from error
    if part.problems:
        raise Absent(f"the {kind.file_name or 'plans'} in {path}: fields have a wrong type")
    return part
