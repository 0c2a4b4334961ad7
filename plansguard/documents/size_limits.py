"""Limits on the size of documents: what is far larger than anything written for nnU-Net is refused when it is read.

A rule looks at every configuration with all that it inherits, at every label and every channel. A file within the
limits of ``json_document`` could keep the rules busy for hours.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from plansguard.core.errors import UnreadableDocument
from plansguard.documents import json_document
from plansguard.documents.json_document import JsonDocument
from plansguard.documents.recognise import WITH_CASES, Kind, recognise

#: Planners write four; users add a few.
MAX_CONFIGURATIONS = 300
#: Characters of plans as compact JSON, with all that configurations inherit. Real plans have 17,000.
MAX_PLANS = 1024**2
#: Characters of labels or channels as compact JSON. Real ones have 1,000.
MAX_DATASET_JSON = 256 * 1024

#: The fields of dataset.json that rules read whole.
_LIMITED = ("channel_names", "modality", "labels", "regions_class_order", "file_ending")


def read(path: Path) -> JsonDocument:
    """As ``json_document.read``; UnreadableDocument also beyond these limits."""
    return parse(json_document.read_bytes(path), str(path))


def parse(raw: bytes, path: str) -> JsonDocument:
    """As ``json_document.parse``; UnreadableDocument also beyond these limits."""
    document = json_document.parse(raw, path)
    _check(document.value, document.kind, len(raw), path)
    return document


def written(value: dict[str, Any], path: str) -> JsonDocument:
    """The document that nnU-Net would write for this value; UnreadableDocument beyond these limits.

    TypeError, ValueError or RecursionError if the value cannot be written.
    """
    _check(value, recognise(value), json_document.MAX_BYTES, path)
    return json_document.parse(json_document.dumps(value), path)


def _check(value: Any, kind: Kind | None, length: int, path: str) -> None:
    for reason in _excesses(value, kind, length):
        hint = "no program writes such a file for nnU-Net: check that this is the file you mean"
        raise UnreadableDocument(path, reason, hint=hint)


def _excesses(value: Any, kind: Kind | None, length: int) -> Iterator[str]:
    if length > json_document.MAX_BYTES and kind not in WITH_CASES:
        yield f"the file is larger than {json_document.MAX_BYTES // 1024**2} MiB"
    if kind == "plans":
        yield from _in_plans(value, length)
    elif kind == "dataset.json":
        yield from _in_dataset_json(value, length)
    while kind == "lineage" and isinstance(value, dict):  # a migration record contains plans, and the record before it
        yield from _in_plans(value.get("migrated"), length)
        value = (value.get("replaced") or {}).get("lineage") if isinstance(value.get("replaced"), dict) else None


def _in_plans(plans: Any, length: int) -> Iterator[str]:
    configurations = plans.get("configurations") if isinstance(plans, dict) else None
    if not isinstance(configurations, dict):
        configurations = {}
    number = len(configurations)
    if number > MAX_CONFIGURATIONS:
        yield f"the plans have {number:,} configurations, more than {MAX_CONFIGURATIONS}"
    elif length * (number + 1) > MAX_PLANS:  # otherwise they are surely small enough
        size = _length(plans) + _inherited(configurations)
        if size > MAX_PLANS:
            yield f"the plans have {size:,} characters with all that configurations inherit, more than {MAX_PLANS:,}"


def _inherited(configurations: dict[str, Any]) -> int:
    """Characters of what configurations inherit from others."""
    lengths = {name: _length(entry) for name, entry in configurations.items()}
    parents = {
        name: entry.get("inherits_from") if isinstance(entry, dict) else None for name, entry in configurations.items()
    }
    total = 0
    for name in configurations:
        visited, parent = {name}, parents[name]
        while isinstance(parent, str) and parent in parents and parent not in visited:
            visited.add(parent)
            total += lengths[parent]
            parent = parents[parent]
    return total


def _in_dataset_json(value: dict[str, Any], length: int) -> Iterator[str]:
    if length <= MAX_DATASET_JSON:
        return
    for key in _LIMITED:
        size = _length(value.get(key))
        if size > MAX_DATASET_JSON:
            yield f"{key} has {size:,} characters, more than {MAX_DATASET_JSON:,}"


def _length(value: Any) -> int:
    return len(json.dumps(value, ensure_ascii=False, separators=(",", ":")))
