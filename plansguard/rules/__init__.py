"""Every rule, listed by family. A rule is added to its family's module and is then found here."""

from __future__ import annotations

from plansguard.rules import (
    cascades,
    checkpoint,
    data,
    dataset_json,
    environment,
    fit,
    gpus,
    inputs,
    migrated,
    network,
    nnssl,
    output_folder,
    pair,
    planned,
    plans,
    predicted,
    raw_files,
    reading,
    schedules,
    settings,
    shared_data,
    splits,
    stamped,
    trainers,
    values,
    weights,
)
from plansguard.rules.declare import Rule

FAMILIES = (
    reading,
    plans,
    network,
    dataset_json,
    fit,
    migrated,
    pair,
    shared_data,
    data,
    raw_files,
    splits,
    cascades,
    values,
    stamped,
    checkpoint,
    weights,
    nnssl,
    trainers,
    gpus,
    output_folder,
    schedules,
    inputs,
    planned,
    predicted,
    environment,
    settings,
)

RULES: tuple[Rule, ...] = tuple(
    sorted(
        (one for family in FAMILIES for one in vars(family).values() if isinstance(one, Rule)),
        key=lambda rule: rule.info.code,
    )
)


def find(word: str) -> Rule | None:
    """The rule with this code or name, in any case."""
    return next((one for one in RULES if word.casefold() in (one.info.code.casefold(), one.info.name)), None)
