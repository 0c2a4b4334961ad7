"""Differences between two plans, as text and as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

from plansguard.core.text import counted
from plansguard.documents.models.diff_document import ChangeEntry, DiffDocument
from plansguard.nnunet.plans_diff import CONSEQUENCES, FACETS, Change
from plansguard.render import json_text, printable

_WIDTH = 100


def text(before: dict[str, Any], after: dict[str, Any], found: Sequence[Change]) -> str:
    """Grouped by configuration, then by facet with its consequence."""
    if not found:
        return "no differences in meaning\n"
    lines: list[str] = []
    for configuration in dict.fromkeys(change.field.configuration for change in found):
        changes = [change for change in found if change.field.configuration == configuration]
        lines.append(printable(configuration or "all configurations"))
        lines += _one_sided(configuration, before, after) or _by_facet(changes)
        lines.append("")
    shared = [change for change in found if not _one_sided(change.field.configuration, before, after)]
    counts = [f"{counted(number, 'field')} of {facet}" for facet, number in count(shared).items() if number]
    sole = {change.field.configuration for change in found} - {change.field.configuration for change in shared}
    counts += [f"{counted(len(sole), 'configuration')} only in one of them"] if sole else []
    return "\n".join([*lines, f"differences: {', '.join(counts)}"]) + "\n"


def as_json(before: str, after: str, found: Sequence[Change]) -> str:
    """The same for programs, described by schemas/diff.schema.json."""
    document = DiffDocument(
        schema_="plansguard/diff/1",
        before=before,
        after=after,
        facets=count(found),
        changes=[
            ChangeEntry(
                configuration=change.field.configuration,
                field=change.field.key,
                facet=change.field.facet,
                before=change.before,
                after=change.after,
                details=list(change.details),
            )
            for change in found
        ],
    )
    return json_text(document)


def count(found: Sequence[Change]) -> dict[str, int]:
    """How many fields differ in each facet."""
    return {facet: sum(change.field.facet == facet for change in found) for facet in FACETS}


def _one_sided(configuration: str | None, before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    """A configuration that only one side has needs no list of all its fields."""
    written = [plans.get("configurations") for plans in (before, after)]
    sides = [isinstance(one, dict) and configuration in one for one in written]
    if configuration is None or all(sides):
        return []
    return [f"  only in the {'first' if sides[0] else 'second'} plans"]


def _by_facet(changes: Sequence[Change]) -> Iterator[str]:
    for facet in FACETS:
        of_facet = [change for change in changes if change.field.facet == facet]
        if of_facet:
            yield f"  {facet}: {CONSEQUENCES[facet]}"
            for change in of_facet:
                yield from _change(change)


def _change(change: Change) -> Iterator[str]:
    sides = f": {json.dumps(change.before)} -> {json.dumps(change.after)}"
    if change.details[0].startswith(":"):  # all of the field: also says which side has none, null or not
        sides = change.details[0]
    if len(sides) <= _WIDTH:
        yield printable(f"    {change.field.key}{sides}")
    else:
        yield printable(f"    {change.field.key}:")
        yield from (printable(f"      {detail.removeprefix(': ')}") for detail in change.details)
