"""PG1xx: the network of a configuration: patch, stages, dimensions, arguments."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping

from plansguard.core.report import Location
from plansguard.nnunet import constants
from plansguard.subjects.plans import Configuration

#: Arguments of a network with one entry per stage; the decoder has one stage fewer.
PER_STAGE_AND_AXIS = ("strides", "kernel_sizes")
PER_STAGE = ("features_per_stage", "n_conv_per_stage", "n_blocks_per_stage", "n_conv_per_stage_decoder")
#: What the two kinds of encoder are called inside: a network takes one of them.
ENCODER_LISTS = frozenset({"n_conv_per_stage", "n_blocks_per_stage"})


def is_count(value: object) -> bool:
    """Whether the value is a positive integer."""
    return type(value) is int and value > 0  # True is no count


def blamed(configuration: Configuration, *places: Location) -> Location:
    """Of the places that a fault lies between, the first that this configuration wrote itself.

    What it inherits serves its parent well. If it wrote none of them, the first.
    """
    own = f"{configuration.at().pointer}/"
    return next((place for place in places if place.pointer.startswith(own)), places[0])


def is_old_format(configuration: Configuration) -> bool:
    """Whether the network is described by the keys of nnU-Net before 2.5."""
    return "architecture" not in configuration.resolved


def written_fields(configuration: Configuration, *arguments: str) -> tuple[str, ...]:
    """The configuration's fields that decide these arguments of the network, in either format."""
    return ("architecture", *(spelt(configuration, one) for one in arguments if is_old_format(configuration)))


def spelt(configuration: Configuration, key: str) -> str:
    """What this format calls an argument of the network."""
    return constants.OLD_KEY_OF_KWARG.get(key, key) if is_old_format(configuration) else key


def dissenters(claims: Mapping[str, int]) -> Iterator[tuple[str, int, list[str], int]]:
    """Who differs from what most say (of a tie, the first); what it says, who the others are and what they say."""
    meant = Counter(claims.values()).most_common(1)[0][0] if claims else 0
    agreeing = [name for name, value in claims.items() if value == meant]
    for name, value in claims.items():
        if value != meant:
            yield name, value, agreeing, meant
