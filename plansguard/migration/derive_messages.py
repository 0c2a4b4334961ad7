"""The messages of a derivation: what is set and what follows, and the commands to run after it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from plansguard.core.text import both_or, listed
from plansguard.migration.assignments import ARGUMENTS
from plansguard.migration.derive import Derivation
from plansguard.migration.files import dataset_name
from plansguard.migration.messages import has_data
from plansguard.nnunet import plans_diff, printed_commands
from plansguard.nnunet.constants import USUAL_CONFIGURATION
from plansguard.nnunet.inheritance import resolve_configuration
from plansguard.nnunet.workspace import displayed
from plansguard.subjects.discovery import configuration_of
from plansguard.subjects.pretraining import pretraining_of, usual_fold

#: Stands for a value that is not there.
_NOTHING = "(nothing)"


class DerivedField(NamedTuple):
    """A field that differs: whether it was set, follows from what was set, or was planned; both values as text."""

    how: str
    field: str
    before: str
    after: str


def opening(derivation: Derivation) -> Iterator[str]:
    """The plans before, the plans after, and how the network was treated, in lines."""
    pair, name = derivation.pair, dataset_name(derivation.pair.giving)
    for word, plans in (("from", pair.plans), ("to", pair.result)):
        yield f"{word:<6}{displayed(str(plans.path)) if name is None else f'{plans.identifier} of {name}'}"
    yield f"for   {listed(derivation.touched, shown=6)}"


def rows(derivation: Derivation) -> Iterator[DerivedField]:
    """The fields that the new plans write otherwise than those before, or write in addition."""
    before, after = (plans.value for plans in (derivation.pair.plans, derivation.pair.result))
    typed = {(one.configuration, *one.keys) for one in derivation.assignments}
    for key, value in after.items():
        if key not in ("configurations", "plans_name") and before.get(key) != value:
            yield _row(typed, (None, key), before.get(key), value)
    for name, entry in after["configurations"].items():
        old = before["configurations"].get(name, {})
        inherited = resolve_configuration(before["configurations"], name) if old else {}
        for key, value in entry.items():
            then = old.get(key, inherited.get(key))
            if key == ARGUMENTS[0] and isinstance(then, dict) and isinstance(value, dict):
                yield from _network(typed, name, then, value)
            elif key not in old or old[key] != value:
                yield _row(typed, (name, key), then, value)


def _network(typed: set[Any], name: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[DerivedField]:
    old, new = (side.get(ARGUMENTS[1]) or {} for side in (before, after))
    for key in dict.fromkeys([*old, *new]):
        if old.get(key) != new.get(key):
            yield _row(typed, (name, *ARGUMENTS, key), old.get(key), new.get(key))
    for key in dict.fromkeys([*before, *after]):
        if key != ARGUMENTS[1] and before.get(key) != after.get(key):
            yield _row(typed, (name, ARGUMENTS[0], key), before.get(key), after.get(key))


def _row(typed: set[Any], place: tuple[Any, ...], before: Any, after: Any) -> DerivedField:
    was_set = any(one[: len(place)] == place or place[: len(one)] == one for one in typed)
    field = ".".join(str(part) for part in place if part is not None)
    texts = both_or(before, after, None, _NOTHING)
    return DerivedField("set" if was_set else "follows", field.replace(".".join(ARGUMENTS), "architecture"), *texts)


def table(derivation: Derivation) -> Iterator[str]:
    """The rows in columns."""
    lines = [*rows(derivation)]
    width = max((len(row.field) for row in lines), default=0)
    for row in lines:
        yield f"{row.how:<7}  {row.field:<{width}}  {row.before} -> {row.after}"
    before, after = (plans_diff.networks(plans.value) for plans in (derivation.pair.plans, derivation.pair.result))
    if derivation.keeps_network and all(after[name] == network for name, network in before.items()):
        yield "kept     the network: weights of the present one still load into it"


def next_commands(derivation: Derivation) -> Iterator[str]:
    """The commands to run next: only what is needed, in order."""
    pair = derivation.pair
    dataset, plans = pair.receiving, pair.result
    if dataset.role != "preprocessed":
        yield printed_commands.diff(displayed(str(pair.plans.path)), displayed(str(plans.path)))
        return
    name = _trained(derivation)
    before = {one.name: one for one in pair.plans.configurations}
    missing = []
    for one in (configuration_of(plans, touched) for touched in derivation.touched):
        other = one.name not in before or before[one.name].get("data_identifier") != one.get("data_identifier")
        if (one.name == name or (other and one.name in before)) and not has_data(pair, one):
            missing.append(one)
    if missing:
        by_folder = {one.get("data_identifier"): one.name for one in reversed(missing)}
        yield printed_commands.preprocess(dataset.name, plans.identifier, *reversed(by_folder.values()))
    fold, weights = usual_fold(dataset), pretraining_of(dataset, plans, name)
    if weights is None:
        yield printed_commands.train(dataset.name, name, fold, plans=plans.identifier)
    else:
        yield from weights.commands(dataset.name, name, plans.identifier, fold)


def _trained(derivation: Derivation) -> str:
    """The configuration to train: one that differs, 3d_fullres before others, and no second stage of a cascade."""
    names = [*derivation.touched]
    named = [one.configuration for one in derivation.assignments if one.configuration in names]
    stages = {one.name for one in derivation.pair.result.configurations if one.get("previous_stage") is not None}
    names.sort(key=lambda name: (name in stages, name not in named, name != USUAL_CONFIGURATION))
    return names[0]
