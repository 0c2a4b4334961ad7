"""Differences between two plans as text and as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

from plansguard.core.text import counted
from plansguard.documents.models.diff_document import ChangeEntry, DiffDocument
from plansguard.nnunet.plans_diff import CONSEQUENCES, FACETS, Change, is_long
from plansguard.render import json_text, printable

_WIDTH = 100
#: How many fields of a facet are printed for each configuration.
_MOST_FIELDS = 200


def text(before: dict[str, Any], after: dict[str, Any], changes: Sequence[Change]) -> str:
    """Render changes grouped by configuration, then by facet with its consequence."""
    if not changes:
        return "no differences in meaning\n"
    lines: list[str] = []
    one_sided = {}
    for configuration in dict.fromkeys(change.field.configuration for change in changes):
        one_sided[configuration] = _one_sided(configuration, before, after)
        lines.append(printable(configuration or "all configurations"))
        of_configuration = [change for change in changes if change.field.configuration == configuration]
        lines += one_sided[configuration] or _by_facet(of_configuration)
        lines.append("")
    shared = [change for change in changes if not one_sided[change.field.configuration]]
    counts = [f"{counted(number, 'field')} of {facet}" for facet, number in count(shared).items() if number]
    sole = sum(map(bool, one_sided.values()))
    counts += [f"{counted(sole, 'configuration')} only in one of them"] if sole else []
    return "\n".join([*lines, f"differences: {', '.join(counts)}"]) + "\n"


def as_json(before: str, after: str, changes: Sequence[Change]) -> str:
    """Render the same as the JSON that schemas/diff.schema.json describes."""
    document = DiffDocument(
        schema_="plansguard/diff/1",
        before=before,
        after=after,
        facets=count(changes),
        changes=[
            ChangeEntry(
                configuration=change.field.configuration,
                field=change.field.key,
                facet=change.field.facet,
                before=None if is_long(change.before) else change.before,
                after=None if is_long(change.after) else change.after,
                details=list(change.details),
            )
            for change in changes
        ],
    )
    return json_text(document)


def count(changes: Sequence[Change]) -> dict[str, int]:
    """Return how many fields differ in each facet."""
    return {facet: sum(change.field.facet == facet for change in changes) for facet in FACETS}


def _one_sided(configuration: str | None, before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    """A line in place of all fields, for a configuration that only one side has."""
    written = [plans.get("configurations") for plans in (before, after)]
    sides = [isinstance(entries, dict) and configuration in entries for entries in written]
    if configuration is None or all(sides):
        return []
    return [f"  only in the {'first' if sides[0] else 'second'} plans"]


def _by_facet(changes: Sequence[Change]) -> Iterator[str]:
    for facet in FACETS:
        of_facet = [change for change in changes if change.field.facet == facet]
        if of_facet:
            yield f"  {facet}: {CONSEQUENCES[facet]}"
            for change in of_facet[:_MOST_FIELDS]:
                yield from _change(change)
            if (rest := len(of_facet) - _MOST_FIELDS) > 0:
                yield f"    and {counted(rest, 'more field')}"


def _change(change: Change) -> Iterator[str]:
    if change.details[0].startswith(":"):  # the whole field: the detail also names the side that lacks it
        sides = change.details[0]
    else:
        sides = f": {json.dumps(change.before)} -> {json.dumps(change.after)}"
    if len(sides) <= _WIDTH:
        yield printable(f"    {change.field.key}{sides}")
    else:
        yield printable(f"    {change.field.key}:")
        yield from (printable(f"      {detail.removeprefix(': ')}") for detail in change.details)
