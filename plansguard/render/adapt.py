"""Where the parameters of adapted weights come from: tables, and the adaptation record as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from plansguard.core.text import counted, times
from plansguard.documents.models.adaptation_record import AdaptationRecord
from plansguard.nnunet.workspace import displayed
from plansguard.render import Screen, json_text, printable
from plansguard.render.columns import aligned

_FILLINGS = {
    "averaged": "the mean of all channels of the weights",
    "zero": "zero",
    "initialised": "nnU-Net's initial values",
}
_ACTIONS = {
    "kept": "the weights",
    "channels": "the weights, channel by channel",
    "classes": "the weights, class by class",
    "zero": "zero: nnU-Net v1 has no such bias",
    "initialised": "nnU-Net's initial values",
}


def text(record: dict[str, Any], screen: Screen) -> str:
    """Render channels, classes and parameters, each with its source.

    Parameters with the same source are one line, with the first of their names, unless ``screen.verbose`` is set.
    """
    to, source = record["to"], record["from"]
    plans = to["plans"] or "the weights' own plans"
    place = f"{to['dataset']}, {to['configuration']} of {plans}"
    stem = f", stem {source['stem']}" if source["stem"] else ""
    lines = [f"{displayed(source['path'])}{stem} adapted to {place}"]
    for head, names, action in (("channel", to["channels"], "channels"), ("class", to["labels"], "classes")):
        lines += ["", *aligned([(head, "from"), *_parts(record["rows"], names, action)])]
    rows = record["rows"] if screen.verbose else None
    table = [_row(row) for row in rows] if rows is not None else _grouped(record["rows"])
    lines += ["", *aligned([("parameter", "shape", "from"), *table])]
    return "".join(f"{printable(line)}\n" for line in lines)


def _parts(rows: Sequence[dict[str, Any]], names: Sequence[str], action: str) -> list[tuple[str, str]]:
    """A line for each channel or class, by the first parameter that has them."""
    inside = ".seg_layers." if action == "classes" else ""
    of_kind = next((row for row in rows if row["action"] == action), None)
    if of_kind is not None:
        return [(part["name"], _part(part)) for part in of_kind["parts"]]
    whole = next((row for row in rows if inside in row["name"]), None)
    where = "the weights, unchanged" if whole and whole["action"] == "kept" else _FILLINGS["initialised"]
    return [(name, where) for name in names]


def _part(part: dict[str, Any]) -> str:
    if part["filling"] != "kept":
        return _FILLINGS[part["filling"]]
    name = f" ({part['source_name']})" if part["source_name"] else ""
    return f"number {part['source']} of the weights{name}"


def _grouped(rows: Sequence[dict[str, Any]]) -> list[tuple[str, str, str]]:
    groups: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        groups.setdefault(row["action"], []).append(row)
    table = []
    for group in groups.values():
        name, shape, where = _row(group[0])
        more = f" and {counted(len(group) - 1, 'other')}" if len(group) > 1 else ""
        table.append((f"{name}{more}", shape if not more else "", where))
    return table


def _row(row: dict[str, Any]) -> tuple[str, str, str]:
    where = _ACTIONS[row["action"]]
    if row["source"] is not None and row["source"] != row["name"]:
        where = f"{where} ({row['source']})"
    return row["name"], times(row["shape"]) or "a number", where


def as_json(record: dict[str, Any]) -> str:
    """Render the record as the JSON that schemas/adaptation.schema.json describes."""
    return json_text(AdaptationRecord.model_validate(record))
