"""Comparison of plans by meaning: inheritance resolved, the old format translated, each field with its facet."""

from __future__ import annotations

import json
from collections.abc import Container, Iterator
from typing import Any, NamedTuple

from plansguard.core.digest import digest_of
from plansguard.nnunet import constants
from plansguard.nnunet.inheritance import InheritanceError, modern_architecture, resolve_configuration

#: Facet -> the consequence of a difference for weights and data made with the other plans.
CONSEQUENCES = {
    "weights": "weights trained with one do not load into the other's network",
    "input": "preprocessed data of one are not those of the other: preprocess again",
    "training": "another training: data and weights stay valid",
    "bookkeeping": "nothing that is trained or preprocessed",
}
FACETS = tuple(CONSEQUENCES)


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


class Change(NamedTuple):
    """A field that differs; ``details`` has one line for each place inside it."""

    field: Field
    before: Any
    after: Any
    details: tuple[str, ...] = ()


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


def edited_fields(
    then: dict[str, Any], now: dict[str, Any], facets: Container[str], configuration: str | None
) -> list[str]:
    """Names of the fields of these facets that differ, at the top level and in one configuration."""
    changed = [change.field for change in edited(then, now) if change.field.facet in facets]
    return [str(field) for field in changed if field.configuration in (None, configuration)]


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
    """Every field in which two plans differ, with the places inside it, compared by deepdiff.

    Integers and equal floats are the same number (1 and 1.0), as in nnU-Net's arithmetic.
    """
    from deepdiff import DeepDiff

    old, new = fields(before), fields(after)
    tree = DeepDiff(
        old,
        new,
        view="tree",
        ignore_nan_inequality=True,
        ignore_private_variables=False,  # a key like __x counts
        threshold_to_diff_deeper=0,  # compare plans with little in common field by field
    )
    details: dict[Field, list[str]] = {}
    for levels in tree.values():
        for level in levels:
            if level.t1 != level.t2:  # equal numbers of two types
                field, *inside = level.path(output_format="list")
                details.setdefault(field, []).append(_detail(inside, level))
    order = [field for field in dict.fromkeys([*old, *new]) if field in details]
    return [Change(field, old.get(field), new.get(field), tuple(sorted(details[field]))) for field in order]


def _detail(inside: list[Any], level: Any) -> str:
    """``/5/0: 2 -> 1``; an absent side is written as (nothing)."""
    place = "".join(f"/{token}" for token in inside)
    sides = (("" if type(side).__name__ == "NotPresent" else json.dumps(side)) for side in (level.t1, level.t2))
    return f"{place}: {' -> '.join(side or '(nothing)' for side in sides)}"
