"""Comparison of plans by meaning: inheritance resolved, the old format translated, each field with its facet."""

from __future__ import annotations

import sys
from collections.abc import Callable, Container, Iterator
from itertools import accumulate, zip_longest
from typing import Any, NamedTuple

from plansguard.core.digest import digest_of
from plansguard.core.text import both_or
from plansguard.nnunet import constants
from plansguard.nnunet.inheritance import InheritanceError, modern_architecture, resolve_configuration

#: Facet -> the consequence of a difference for weights and data made with the other plans.
CONSEQUENCES = {
    "weights": "weights trained with one do not load into the other's network",
    "input": "preprocessed data of one are not those of the other: preprocess for each",
    "training": "another training: data and weights stay valid",
    "bookkeeping": "nothing that is trained or preprocessed",
}
FACETS = tuple(CONSEQUENCES)
#: Parts of values that deepdiff compares, which takes seconds for more.
MAX_COMPARED = 1000
ABSENT = object()


class Field(NamedTuple):
    """A field of the plans: ``configuration`` is None at the top level; a network's arguments have dotted keys."""

    configuration: str | None
    key: str

    def __str__(self) -> str:
        return ".".join(part for part in self if part)

    @property
    def facet(self) -> str:
        """weights, input, training or bookkeeping."""
        return constants.facet(self.key)


class Part(NamedTuple):
    """A part of a field that differs: its place by keys and indices, and both values, of which one may be ABSENT."""

    place: tuple[str | int, ...]
    before: Any
    after: Any


class Change(NamedTuple):
    """A field that differs, and which parts of it; of a long value, ``summary`` is their number and the first.

    ``is_unread``: nnU-Net reads none of these parts.
    """

    field: Field
    before: Any
    after: Any
    parts: tuple[Part, ...] = ()
    summary: str = ""
    is_unread: bool = False

    @property
    def facet(self) -> str:
        """That of the field, or bookkeeping."""
        return "bookkeeping" if self.is_unread else self.field.facet


def fields(plans: dict[str, Any]) -> dict[Field, Any]:
    """Every field of ``plans`` by meaning: plans with equal dictionaries have the same effect.

    A configuration with broken inheritance is used as written. A value that should be an object and is none is one
    field.
    """
    modern = {constants.OLD_INTENSITY_KEY: constants.INTENSITY_KEY}
    result = {Field(None, modern.get(key, key)): value for key, value in plans.items() if key != "configurations"}
    written = plans.get("configurations", {})
    if not isinstance(written, dict):
        return {**result, Field(None, "configurations"): written}
    configurations = {name: entry for name, entry in written.items() if isinstance(entry, dict)}
    for name, entry in written.items():
        own = _configuration_fields(configurations, name) if name in configurations else [("", entry)]
        result.update({Field(name, key): value for key, value in own})
    return result


def edited(then: dict[str, Any], now: dict[str, Any]) -> Iterator[Change]:
    """The fields in which plans differ from an earlier state, in file order, with both values.

    An absent field has the value that nnU-Net uses then.
    """
    before, after = fields(then), fields(now)
    for field in dict.fromkeys([*before, *after]):
        default = False if field.key in constants.FALSE_WHERE_ABSENT else None
        old, new = before.get(field, default), after.get(field, default)
        if old != new:
            yield Change(field, old, new)


def edited_since_migration(migrated: dict[str, Any], now: dict[str, Any]) -> Iterator[Change]:
    """The fields in which plans differ from those that a migration wrote.

    A configuration that was added or removed since is no edit of those that were migrated.
    """
    present = configuration_names(migrated) & configuration_names(now)
    yield from (change for change in edited(migrated, now) if change.field.configuration in {None, *present})


def configuration_names(plans: dict[str, Any]) -> set[str]:
    """Names of the configurations that are objects."""
    written = plans.get("configurations")
    return {name for name, entry in written.items() if isinstance(entry, dict)} if isinstance(written, dict) else set()


def added_configurations(before: dict[str, Any], after: dict[str, Any]) -> set[str]:
    """Names of the configurations that are new. One that was no object before is damaged, not absent."""
    written = before.get("configurations")
    return configuration_names(after) - written.keys() if isinstance(written, dict) else set()


def edited_fields(
    then: dict[str, Any], now: dict[str, Any], facets: Container[str], configuration: str | None
) -> list[str]:
    """Names of the fields of these facets that differ, at the top level and in one configuration."""
    channels = {one for plans in (then, now) for one in _channels_by_statistics(fields(plans), configuration)}
    changes = [one._replace(is_unread=_is_unread(one, channels)) for one in edited(then, now)]
    changed = [change.field for change in changes if change.facet in facets]
    return [str(field) for field in changed if field.configuration in (None, configuration)]


def networks(plans: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The fields of the facet weights, by configuration."""
    result: dict[str, dict[str, Any]] = {name: {} for name in configuration_names(plans)}
    for field, value in fields(plans).items():
        if field.configuration in result and field.facet == "weights":
            result[field.configuration][field.key] = value
    return result


def digests(plans: dict[str, Any]) -> dict[str, str]:
    """SHA-256 per facet of the fields' canonical JSON."""
    by_facet: dict[str, list[list[Any]]] = {facet: [] for facet in FACETS}
    for field, value in fields(plans).items():
        by_facet[field.facet].append([field.configuration or "", field.key, value])
    return {facet: digest_of(sorted(rows, key=lambda row: row[:2])) for facet, rows in by_facet.items()}


def _configuration_fields(configurations: dict[str, dict[str, Any]], name: str) -> Iterator[tuple[str, Any]]:
    try:
        configuration = resolve_configuration(configurations, name)
    except InheritanceError:
        configuration = configurations[name]
    try:
        architecture = modern_architecture(configuration)
    except (KeyError, ValueError, TypeError, ArithmeticError):
        yield from configuration.items()
        return
    skipped = {"architecture", "inherits_from", *constants.OLD_CONFIGURATION_KEYS}
    yield from ((key, value) for key, value in configuration.items() if key not in skipped)
    for key, value in architecture.items():
        if key == "arch_kwargs" and isinstance(value, dict):
            yield from ((f"architecture.arch_kwargs.{name}", _class_name(name, part)) for name, part in value.items())
        else:
            yield f"architecture.{key}", _class_name(key, value)


def _class_name(key: str, value: Any) -> Any:
    """The last part of a class path: classes have several paths (``torch.nn.Conv3d``, ``...conv.Conv3d``)."""
    is_class = key in ("network_class_name", "nonlin") or key.endswith("_op")
    return value.rpartition(".")[2] if is_class and isinstance(value, str) else value


def compare(before: dict[str, Any], after: dict[str, Any]) -> list[Change]:
    """Every field in which two plans differ, with the parts that do; deepdiff compares short values.

    The longest values, of more than MAX_COMPARED parts together, are compared part by part, and summarised. Integers
    and equal floats are the same number (1 and 1.0), as in nnU-Net's arithmetic. Intensity statistics of channels whose
    normalization reads none are bookkeeping.
    """
    old, new = fields(before), fields(after)
    every = dict.fromkeys([*old, *new])
    differing = [field for field in every if _differ(old.get(field, ABSENT), new.get(field, ABSENT))]
    sizes = {field: max(_size(old.get(field)), _size(new.get(field))) for field in differing}
    short = _first_within(sizes, MAX_COMPARED)
    parts = _compared(*({field: side[field] for field in short if field in side} for side in (old, new)))
    channels = _channels_by_statistics(old) | _channels_by_statistics(new)
    changes: list[Change] = []
    for field in differing:
        sides = old.get(field), new.get(field)
        if field in parts:
            change = Change(field, *sides, tuple(sorted(parts[field], key=lambda part: _pointer(part.place))))
            changes.append(change._replace(is_unread=_is_unread(change, channels)))
        elif field not in short:
            summary = _summary(old.get(field, ABSENT), new.get(field, ABSENT))
            changes.append(Change(field, *sides, summary=summary))
    return changes


def _channels_by_statistics(every: dict[Field, Any], configuration: str | None = None) -> set[str]:
    """The channels that this configuration, or any, normalizes by the statistics, or by what is not nnU-Net's."""
    normalized = {field.configuration: value for field, value in every.items() if field.key == "normalization_schemes"}
    schemes = [normalized.get(configuration)] if configuration is not None else normalized.values()
    unread = {*constants.NORMALIZATIONS} - {constants.CT}
    return {
        str(channel)
        for of_configuration in schemes
        if isinstance(of_configuration, list)
        for channel, scheme in enumerate(of_configuration)
        if not isinstance(scheme, str) or scheme not in unread
    }


def _is_unread(change: Change, channels: set[str]) -> bool:
    """Whether only statistics of other channels than these differ."""
    before, after = change.before, change.after
    if change.field.key != constants.INTENSITY_KEY or not isinstance(before, dict) or not isinstance(after, dict):
        return False
    return not any(before.get(channel, ABSENT) != after.get(channel, ABSENT) for channel in channels)


def is_long(value: Any) -> bool:
    """Whether a value has more than MAX_COMPARED parts."""
    return _size(value) > MAX_COMPARED


def _first_within(sizes: dict[Field, int], most: int) -> list[Field]:
    """The fields, shortest first, whose sizes have a sum of at most ``most``."""
    ordered = sorted(sizes, key=sizes.__getitem__)
    sums = accumulate(sizes[field] for field in ordered)
    return [field for field, total in zip(ordered, sums, strict=True) if total <= most]


def _compared(old: dict[Field, Any], new: dict[Field, Any]) -> dict[Field, list[Part]]:
    """The differences inside each field, by deepdiff, which also finds what was inserted into a list."""
    if not old and not new:
        return {}
    tree = _deepdiff()(
        old,
        new,
        view="tree",
        ignore_nan_inequality=True,
        ignore_private_variables=False,  # a key like __x counts
        threshold_to_diff_deeper=0,  # compare plans with little in common field by field
    )
    parts: dict[Field, list[Part]] = {}
    for levels in tree.values():
        for level in levels:
            if level.t1 != level.t2:  # equal numbers of two types
                field, *inside = level.path(output_format="list")
                sides = (ABSENT if type(side).__name__ == "NotPresent" else side for side in (level.t1, level.t2))
                parts.setdefault(field, []).append(Part(tuple(inside), *sides))
    return parts


def _deepdiff() -> Callable[..., Any]:
    """Return deepdiff's class, without pandas, for data frames.

    It takes a fifth of a second to load, and loads numexpr, which fails where OMP_NUM_THREADS is more than one number.
    """
    modules: dict[str, Any] = sys.modules
    hides = "pandas" not in modules
    if hides:
        modules["pandas"] = None
    try:
        from deepdiff import DeepDiff
    finally:
        if hides:
            del modules["pandas"]
    return DeepDiff


def _size(value: Any) -> int:
    """The number of numbers, texts and empty containers in a value."""
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return sum(map(_size, parts)) or 1


def _differ(one: Any, other: Any) -> bool:
    """Whether two values differ; NaN equals NaN."""
    return next(_differences(one, other, ""), None) is not None


def _differences(one: Any, other: Any, place: str) -> Iterator[tuple[str, Any, Any]]:
    """Place and both values of each part that differs; items of lists are compared by their index."""
    if isinstance(one, dict) and isinstance(other, dict):
        for key in dict.fromkeys([*one, *other]):
            yield from _differences(one.get(key, ABSENT), other.get(key, ABSENT), f"{place}/{key}")
    elif isinstance(one, list) and isinstance(other, list):
        for index, pair in enumerate(zip_longest(one, other, fillvalue=ABSENT)):
            yield from _differences(*pair, f"{place}/{index}")
    elif one != other and (one == one or other == other):
        yield place, one, other


def _summary(one: Any, other: Any) -> str:
    """``7 of 100,000 values differ, first at /3: 1 -> 2``."""
    number, (place, *sides) = 0, ("", one, other)
    for difference in _differences(one, other, ""):
        place, *sides = difference if not number else (place, *sides)
        number += 1
    first = " -> ".join(texts(*sides))
    if not place:
        return first
    total = max(_size(one), _size(other))
    return f"{number:,} of {total:,} values differ, first at {place}: {first}"


def texts(before: Any, after: Any) -> tuple[str, str]:
    """Both values as short text; an absent one is (nothing)."""
    return both_or(before, after, ABSENT, "(nothing)")


def _pointer(place: tuple[str | int, ...]) -> str:
    return "".join(f"/{token}" for token in place)
