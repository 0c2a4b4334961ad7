"""Fields that describe a network, in both formats of plans: helpers of the rules PG101 to PG104, PG108 and PG115.

The old format is that of nnU-Net before 2.5: keys of the configuration in place of ``architecture``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from plansguard.core.report import Location
from plansguard.nnunet import constants
from plansguard.subjects.plans import Configuration

#: Arguments of a network with one entry per stage; ``n_conv_per_stage_decoder`` has one entry less.
PER_STAGE_AND_AXIS = ("strides", "kernel_sizes")
PER_STAGE = ("features_per_stage", "n_conv_per_stage", "n_blocks_per_stage", "n_conv_per_stage_decoder")
#: Arguments for the number of convolutions or blocks in the encoder: a network has one of the two.
ENCODER_LISTS = frozenset({"n_conv_per_stage", "n_blocks_per_stage"})


def is_count(value: object) -> bool:
    """Return whether the value is a positive integer; True is not."""
    return type(value) is int and value > 0


def are_counts(values: Sequence[Any]) -> bool:
    """Return whether these are positive integers, at least one."""
    return set(map(type, values)) == {int} and min(values) > 0


def written_name(configuration: Configuration, argument: str) -> str:
    """Return the name that an argument of the network has in the configuration's format."""
    return constants.OLD_KEY_OF_KWARG.get(argument, argument) if configuration.has_old_format else argument


def written_fields(configuration: Configuration, *arguments: str) -> tuple[str, ...]:
    """Return the fields of the configuration that determine these arguments of the network."""
    names = [written_name(configuration, argument) for argument in arguments] if configuration.has_old_format else []
    return "architecture", *names


def own_place(configuration: Configuration, *places: Location) -> Location:
    """Return the first of ``places`` that the configuration itself wrote; if there is none, the first.

    Inherited values are valid in the parent, so a fault between several fields is in one that was not inherited.
    """
    own = f"{configuration.at().pointer}/"
    return next((place for place in places if place.pointer.startswith(own)), places[0])


def minority(counts: Mapping[str, int]) -> Iterator[tuple[str, int, list[str], int]]:
    """Yield each field that differs from the most common count (of several, the first).

    Yields the field, its count, the fields of the most common count, and that count.
    """
    if len(set(counts.values())) < 2:
        return
    usual = Counter(counts.values()).most_common(1)[0][0]
    agreeing = [name for name, count in counts.items() if count == usual]
    for name, count in counts.items():
        if count != usual:
            yield name, count, agreeing, usual
