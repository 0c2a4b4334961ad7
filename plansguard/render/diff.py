"""Differences between two plans as text and as JSON."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

from plansguard.core.text import counted
from plansguard.documents.json_document import dumps, pointer
from plansguard.documents.models.diff_document import ChangeEntry, DiffDocument, PartEntry
from plansguard.nnunet.constants import INTENSITY_KEY
from plansguard.nnunet.plans_diff import ABSENT, CONSEQUENCES, FACETS, Change, Part, is_long, texts
from plansguard.render import json_text, printable
from plansguard.render.columns import display_width, padded
from plansguard.render.html.section import Section

#: Characters of a value that is shown whole, although only parts of it differ.
_SHORT = 30
#: Whole floats from here on keep their exponent.
_LARGE = 1e15
#: Arguments of networks that are lists -> what their indices count.
_OF_STAGES = {
    **dict.fromkeys(("strides", "kernel_sizes"), ("stage", "axis")),
    **dict.fromkeys(("features_per_stage", "n_conv_per_stage", "n_blocks_per_stage"), ("stage",)),
    "n_conv_per_stage_decoder": ("decoder stage",),
}
#: How many fields of a facet are printed for each configuration, and how many lines of a line by line diff.
_MOST_FIELDS, _MOST_LINES = 200, 2000

#: The name of a value that differs, and both values.
_Row = tuple[str, str, str]


def text(before: dict[str, Any], after: dict[str, Any], changes: Sequence[Change], channels: Sequence[str] = ()) -> str:
    """Render changes grouped by configuration, then by facet with its consequence.

    ``channels`` are the names of the channels, where they are known.
    """
    if not changes:
        return summary(before, after, changes) + "\n"
    lines: list[str] = []
    for configuration in dict.fromkeys(change.field.configuration for change in changes):
        lines.append(printable(configuration or "all configurations"))
        of_configuration = [change for change in changes if change.field.configuration == configuration]
        lines += _one_sided(configuration, before, after) or _by_facet(of_configuration, channels)
        lines.append("")
    return "\n".join([*lines, summary(before, after, changes)]) + "\n"


def summary(before: dict[str, Any], after: dict[str, Any], changes: Sequence[Change]) -> str:
    """Count the differences by facet, and the configurations that only one side has."""
    if not changes:
        return "no differences in meaning"
    names = dict.fromkeys(change.field.configuration for change in changes)
    sole = [name for name in names if _one_sided(name, before, after)]
    shared = [change for change in changes if change.field.configuration not in sole]
    counts = [f"{counted(number, 'field')} of {facet}" for facet, number in count(shared).items() if number]
    counts += [f"{counted(len(sole), 'configuration')} only in one of them"] if sole else []
    return f"differences: {', '.join(counts)}"


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
                facet=change.facet,
                before=None if is_long(change.before) else change.before,
                after=None if is_long(change.after) else change.after,
                parts=[_part(part) for part in change.parts],
                summary=change.summary,
            )
            for change in changes
        ],
    )
    return json_text(document)


def sections(
    before: tuple[str, dict[str, Any]],
    after: tuple[str, dict[str, Any]],
    changes: Sequence[Change],
    channels: Sequence[str] = (),
    *,
    folded: bool = False,
) -> list[Section]:
    """Return the tables of a page: one for each configuration and facet, then the texts line by line, folded.

    ``before`` and ``after`` are paths and plans.
    """
    result = []
    for configuration in dict.fromkeys(change.field.configuration for change in changes):
        title = configuration or "all configurations"
        of_configuration = [change for change in changes if change.field.configuration == configuration]
        if alone := _one_sided(configuration, before[1], after[1]):
            result.append(Section(title, alone))
            continue
        for facet, rows in _rows_by_facet(of_configuration, channels):
            head = ("field", "first plans", "second plans")
            result.append(Section(f"{title}: {facet}", [CONSEQUENCES[facet]], head, rows, folded=folded))
    lines = list(islice(_lines(before, after), _MOST_LINES))
    return [*result, Section("Line by line", text="\n".join(lines), folded=True)] if lines else result


def _lines(before: tuple[str, dict[str, Any]], after: tuple[str, dict[str, Any]]) -> Iterator[str]:
    """A unified diff of the plans as nnU-Net writes them."""
    from difflib import unified_diff

    old, new = (dumps(plans).decode("utf-8", "backslashreplace").splitlines() for _, plans in (before, after))
    yield from unified_diff(old, new, before[0], after[0], lineterm="")


def count(changes: Sequence[Change]) -> dict[str, int]:
    """Return how many fields differ in each facet."""
    return {facet: sum(change.facet == facet for change in changes) for facet in FACETS}


def _one_sided(configuration: str | None, before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    """A line in place of all fields, for a configuration that only one side has."""
    written = [plans.get("configurations") for plans in (before, after)]
    sides = [isinstance(entries, dict) and configuration in entries for entries in written]
    if configuration is None or all(sides):
        return []
    return [f"  only in the {'first' if sides[0] else 'second'} plans"]


def _part(part: Part) -> PartEntry:
    before, after = (None if side is ABSENT else side for side in (part.before, part.after))
    return PartEntry(pointer=pointer(*part.place), before=before, after=after)


def _by_facet(changes: Sequence[Change], channels: Sequence[str]) -> Iterator[str]:
    for facet, rows in _rows_by_facet(changes, channels):
        yield f"  {facet}: {CONSEQUENCES[facet]}"
        width = max(display_width(name) for name, _, _ in rows)
        old_width = max(display_width(old) for _, old, _ in rows)
        for name, old, new in rows:
            sides = f"{padded(old, old_width)} -> {new}" if new else old
            yield f"    {padded(name, width)}  {sides}".rstrip()


def _rows_by_facet(changes: Sequence[Change], channels: Sequence[str]) -> Iterator[tuple[str, list[_Row]]]:
    for facet in FACETS:
        of_facet = [change for change in changes if change.facet == facet]
        rows = [row for change in of_facet[:_MOST_FIELDS] for row in _rows(change, channels)]
        if (rest := len(of_facet) - _MOST_FIELDS) > 0:
            rows.append((f"and {counted(rest, 'more field')}", "", ""))
        if rows:
            yield facet, rows


def _rows(change: Change, channels: Sequence[str]) -> Iterator[_Row]:
    """The name of each value that differs, and both values; a short field is one value."""
    key = change.field.key
    if change.summary:
        yield printable(_named(key, (), channels)), printable(change.summary), ""
        return
    parts, sides = change.parts, (change.before, change.after)
    is_whole = any(not part.place for part in parts)  # this part also tells which side lacks the field
    if not is_whole and not isinstance(change.before, dict) and max(map(len, texts(*map(_whole, sides)))) <= _SHORT:
        parts = (Part((), *sides),)
    for part in parts:
        old, new = texts(_whole(part.before), _whole(part.after))
        yield printable(_named(key, part.place, channels)), printable(old), printable(new)


def _whole(value: Any) -> Any:
    """The value with 148 in place of 148.0, which are the same number to nnU-Net."""
    if isinstance(value, float) and value.is_integer() and abs(value) < _LARGE:
        return int(value)
    return [_whole(item) for item in value] if isinstance(value, list) else value


def _named(key: str, place: tuple[str | int, ...], channels: Sequence[str]) -> str:
    """The name of a part in words: ``CT.max``, ``strides of stage 1, axis 0``."""
    name = key.removeprefix("architecture.arch_kwargs.").removeprefix("architecture.")
    if key == INTENSITY_KEY and place:
        channel, *rest = map(str, place)
        known = {str(number): name for number, name in enumerate(channels)}
        whole = "" if rest else f"{INTENSITY_KEY} of "
        return whole + ".".join([known.get(channel, f"channel {channel}"), *rest])
    indices = [token for token in place if isinstance(token, int)]
    if not place or len(indices) < len(place):
        return ".".join([name, *map(str, place)])
    if name in _OF_STAGES and len(place) <= len(_OF_STAGES[name]):
        names = zip(_OF_STAGES[name], indices, strict=False)
        return f"{name} of " + ", ".join(f"{what} {index}" for what, index in names)
    return name + "".join(f"[{index}]" for index in indices)
