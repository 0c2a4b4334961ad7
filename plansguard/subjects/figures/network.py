"""The stages of a network, beside those of the weights that it would load."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest

from plansguard.core.errors import Absent, known
from plansguard.nnunet.network.inference import inferred_network
from plansguard.nnunet.network.unet import Stage, UnknownNetwork, stages, stock_name
from plansguard.subjects.plans import Configuration
from plansguard.subjects.weights import Weights

#: The properties of a stage that decide the shapes of its parameters, or what they compute.
_DECIDING = ("features", "kernel", "stride", "encoder", "decoder")


@dataclass(frozen=True)
class StageRow:
    """A stage of the plans and the same one of the weights; None where one of them has fewer stages."""

    ours: Stage | None
    theirs: Stage | None

    @property
    def differing(self) -> tuple[str, ...]:
        """The properties that differ, in two networks that are compared; all if only one of them has this stage."""
        if self.ours is None or self.theirs is None:
            return _DECIDING
        return tuple(key for key in _DECIDING if getattr(self.ours, key) != getattr(self.theirs, key))


@dataclass(frozen=True)
class NetworkFigure:
    """A network.

    ``other`` names what its stages are compared with; empty for nothing. ``obstacles`` say why nnU-Net cannot load the
    weights; empty if it can, or if there are none.
    """

    name: str
    rows: tuple[StageRow, ...]
    other: str = ""
    obstacles: tuple[str, ...] = ()


def network_figure(configuration: Configuration, weights: Weights | None) -> NetworkFigure:
    """The network of a configuration. Absent where it is none of nnU-Net's own U-Nets."""
    ours, name = _stages(configuration), stock_name(configuration.architecture)
    theirs = [] if weights is None else _stages_of(weights)
    if weights is None or not theirs:
        return of_stages(name, ours)
    found = known(lambda: weights.obstacles) or ()
    return NetworkFigure(name, _rows(ours, theirs), "the weights", tuple(obstacle.what for obstacle in found))


def of_stages(name: str, stages: Sequence[Stage]) -> NetworkFigure:
    """A network that is compared with no other."""
    return NetworkFigure(name, tuple(StageRow(stage, None) for stage in stages))


def between(first: Configuration, second: Configuration) -> NetworkFigure:
    """The network of the second configuration, compared with that of the first. Absent as `network_figure` is."""
    name = f"{stock_name(second.architecture)} of {second.name}"
    return NetworkFigure(name, _rows(_stages(second), _stages(first)), "the first plans")


def _rows(ours: Sequence[Stage], theirs: Sequence[Stage]) -> tuple[StageRow, ...]:
    return tuple(StageRow(*pair) for pair in zip_longest(ours, theirs))


def _stages(configuration: Configuration) -> list[Stage]:
    try:
        return stages(configuration.architecture, configuration.require("patch_size"))
    except UnknownNetwork as error:
        raise Absent(error.reason) from error


def _stages_of(weights: Weights) -> list[Stage]:
    """The stages of the network that the weights belong to; none where it is unknown."""
    theirs = known(lambda: _stages(weights.theirs))
    if theirs is not None:
        return theirs
    inferred = inferred_network(weights.checkpoint.shapes)
    return [] if inferred is None else stages(inferred.architecture)
