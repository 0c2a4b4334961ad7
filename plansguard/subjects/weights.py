"""A checkpoint that one configuration would load with ``-pretrained_weights``."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from plansguard.core.errors import Absent, UnreadableDocument, known
from plansguard.core.lazy import cached_property
from plansguard.documents import size_limits
from plansguard.nnunet import constants, runtime
from plansguard.nnunet.network.mismatch import Obstacle, obstacles, obstacles_by_plans
from plansguard.nnunet.network.parameters import Shapes, expected_parameters, input_channels, segmentation_heads
from plansguard.nnunet.network.unet import UnknownNetwork
from plansguard.subjects.documents import AnyDocument, DatasetJson
from plansguard.subjects.plans import Configuration, Plans

if TYPE_CHECKING:
    from plansguard.artefacts.checkpoint.checkpoint import Checkpoint


class Weights:
    """A checkpoint, and the configuration that is to be fine-tuned from it.

    ``trainer`` is the one that will train, where it is known. Creating the object raises Absent when the configuration,
    its plans or ``dataset_json`` have fields of a wrong type, which PG005 reports.
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
        """The configuration that the weights were trained with; Absent when the checkpoint does not contain it."""
        plans = plans_in(self.checkpoint)
        name = self.checkpoint.configuration
        for configuration in plans.configurations:
            if configuration.name == name and configuration.is_usable:
                return configuration
        problem = "cannot be read" if name in plans.written else "is not in them"
        raise Absent(f"the weights were trained with {name} of the plans in {plans.path.name}, which {problem}")

    @cached_property
    def their_dataset_json(self) -> DatasetJson:
        """The dataset.json of the training that made the weights; Absent when the checkpoint contains none."""
        if not isinstance(self.checkpoint.dataset_json, dict):
            raise Absent("the checkpoint contains no dataset.json to compare")
        return _embedded(DatasetJson, self.checkpoint.dataset_json, self.checkpoint.path)

    @cached_property
    def expected(self) -> Shapes:
        """Names and shapes of the parameters of the network to be trained; Absent when they cannot be known."""
        architecture = self.configuration.architecture
        try:
            channels = input_channels(self.configuration.resolved, self.dataset_json.value)
            heads = segmentation_heads(self.dataset_json.value)
            try:
                return expected_parameters(architecture, channels, heads)
            except UnknownNetwork as error:
                if not runtime.installed():
                    raise Absent(f"{error.reason}; plansguard[train] would build it to find out") from error
            return runtime.parameters_of(architecture, channels, heads)
        except UnknownNetwork as error:
            raise Absent(error.reason) from error

    @cached_property
    def obstacles(self) -> tuple[Obstacle, ...]:
        """Why nnU-Net could not load the weights, the cause to be fixed first at the front; empty when it can.

        Networks whose parameters are not known are compared by the plans, where the plans decide the network. Absent
        when that is not possible either.
        """
        if self.trainer is not None and _builds_another_network(self.trainer):
            raise Absent(f"{self.trainer} builds a network of its own instead of the one in the plans")
        here = self.configuration.architecture
        try:
            expected = self.expected
        except Absent:
            if self.checkpoint.trainer in constants.TRAINERS_WITH_OWN_NETWORK:
                raise
            return tuple(obstacles_by_plans(here, self.theirs.architecture))
        stored = self.checkpoint.shapes
        return tuple(
            obstacles(
                expected,
                stored,
                here=here,
                theirs=known(lambda: self.theirs.architecture),
                cascade=bool(self.configuration.get("previous_stage")),
            )
        )

    @property
    def load(self) -> bool:
        """Whether nnU-Net would load them: they have all parameters but the segmentation layers, in the same shapes."""
        return not self.obstacles


def _builds_another_network(trainer: str) -> bool:
    if trainer in constants.STOCK_TRAINERS:
        return trainer in constants.TRAINERS_WITH_OWN_NETWORK
    from plansguard.nnunet.install.trainer_search import find_trainer

    found = find_trainer(trainer)
    return found is not None and found.own_network


def plans_in(checkpoint: Checkpoint) -> Plans:
    """The plans in a checkpoint; Absent when it contains none, or damaged ones."""
    if not isinstance(checkpoint.plans, dict):
        raise Absent("the checkpoint contains no plans: ask for the plans.json of these weights")
    return _embedded(Plans, checkpoint.plans, checkpoint.path)


def meant_for(checkpoint: Checkpoint, configurations: Iterable[Configuration]) -> tuple[Configuration, ...]:
    """The configurations that would load the weights.

    The one that they were adapted to, else the one that they were trained as, else those with the same number of axes,
    else all.
    """
    every = tuple(configurations)
    named = (tuple(one for one in every if one.name == name) for name in names_for(checkpoint))
    return next(filter(None, named), ()) or with_axes(every, axes_of(checkpoint)) or every


def names_for(checkpoint: Checkpoint) -> list[str]:
    """The names of the configuration that weights were adapted to, and of the one that they were trained as.

    Fewer where one is not known. The network of the first is that of the weights.
    """
    return [*dict.fromkeys(filter(None, (checkpoint.adapted_to, checkpoint.configuration)))]


def axes_of(checkpoint: Checkpoint) -> int | None:
    """The number of axes of the convolutions in a checkpoint, 2 or 3; None when there is none."""
    ranks = (len(parameter.shape) for parameter in checkpoint.parameters.values())
    return next((rank - 2 for rank in ranks if rank in (4, 5)), None)


def with_axes(configurations: Iterable[Configuration], axes: int | None) -> tuple[Configuration, ...]:
    """The configurations whose patches have this number of axes."""
    usable = (configuration for configuration in configurations if configuration.is_usable)
    return tuple(configuration for configuration in usable if len(configuration.get("patch_size", ())) == axes)


def _embedded(kind: type[AnyDocument], value: dict[str, Any], path: str) -> AnyDocument:
    """A document in a checkpoint; Absent when a field has a wrong type, or when it is no document of nnU-Net."""
    name = f"the {kind.file_name or 'plans'} in {path}"
    try:
        document = kind(size_limits.written(value, path))
    except UnreadableDocument as error:
        raise Absent(f"{name} cannot be read: {error.reason}") from error
    if document.problems:
        raise Absent(f"{name}: fields have a wrong type")
    return document
