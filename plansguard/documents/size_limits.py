"""How large a document may be: what nobody writes for nnU-Net is refused before anything is computed with it.

A rule looks at every configuration with all that it inherits, at every label and every channel. A file that is within
jsondoc's limits could keep the rules busy for hours.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from plansguard.core.errors import UnreadableDocument
from plansguard.documents import json_document
from plansguard.documents.json_document import JsonDocument
from plansguard.documents.recognise import recognise

MAX_CONFIGURATIONS = 300
"""Planners write four; people add a few."""
MAX_PLANS = 1024**2
"""Characters of plans as compact JSON, with all that configurations inherit written out. Real plans have 17,000."""
MAX_DATASET_JSON = 256 * 1024
"""Characters of labels and channels as compact JSON. Real ones have 1,000."""

_READ_WHOLE = ("channel_names", "modality", "labels", "regions_class_order", "file_ending")
_HINT = "nobody writes such a file for nnU-Net: check that this is the file you mean"


def read(path: Path) -> JsonDocument:
    """As ``jsondoc.read``; UnreadableDocument also for what is beyond these bounds."""
    return parse(json_document.read_bytes(path), str(path))


def parse(raw: bytes, path: str) -> JsonDocument:
    """As ``jsondoc.parse``; UnreadableDocument also for what is beyond these bounds."""
    document = json_document.parse(raw, path)
    _check(document.value, len(raw), path)
    return document


def written(value: dict[str, Any], path: str) -> JsonDocument:
    """A document as nnU-Net would write this value; UnreadableDocument as above, before it is written.

    TypeError, ValueError or RecursionError where it cannot be.
    """
    _check(value, json_document.MAX_BYTES, path)
    return json_document.parse(json_document.dumps(value), path)


def _check(value: Any, length: int, path: str) -> None:
    for reason in _too_much(value, length):
        raise UnreadableDocument(path, reason, hint=_HINT)


def _too_much(value: Any, length: int) -> Iterator[str]:
    kind = recognise(value)
    if kind == "plans":
        yield from _in_plans(value, length)
    elif kind == "dataset.json":
        yield from _in_dataset_json(value, length)
    while kind == "lineage" and isinstance(value, dict):  # a record holds the plans, and the record before it
        yield from _in_plans(value.get("migrated"), length)
        value = (value.get("replaced") or {}).get("lineage") if isinstance(value.get("replaced"), dict) else None


def _in_plans(plans: Any, length: int) -> Iterator[str]:
    configurations = plans.get("configurations") if isinstance(plans, dict) else None
    if not isinstance(configurations, dict):
        configurations = {}
    number = len(configurations)
    if number > MAX_CONFIGURATIONS:
        yield f"the plans have {number:,} configurations, more than {MAX_CONFIGURATIONS}"
    elif length * (number + 1) > MAX_PLANS:  # else there is no need to look closer
        written = _length(plans) + _inherited(configurations)
        if written > MAX_PLANS:
            yield (
                f"the plans have {written:,} characters with all that configurations inherit, more than {MAX_PLANS:,}"
            )


def _inherited(configurations: dict[str, Any]) -> int:
    """Characters of what configurations inherit from others."""
    lengths = {name: _length(entry) for name, entry in configurations.items()}
    parents = {
        name: entry.get("inherits_from") if isinstance(entry, dict) else None for name, entry in configurations.items()
    }
    total = 0
    for name in configurations:
        seen, parent = {name}, parents[name]
        while isinstance(parent, str) and parent in parents and parent not in seen:
            seen.add(parent)
            total += lengths[parent]
            parent = parents[parent]
    return total


def _in_dataset_json(value: dict[str, Any], length: int) -> Iterator[str]:
    if length <= MAX_DATASET_JSON:
        return
    for key in _READ_WHOLE:
        written = _length(value.get(key))
        if written > MAX_DATASET_JSON:
            yield f"{key} has {written:,} characters, more than {MAX_DATASET_JSON:,}"


def _length(value: Any) -> int:
    return len(json.dumps(value, ensure_ascii=False, separators=(",", ":")))
