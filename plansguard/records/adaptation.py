"""The adaptation record: where the parameters of adapted weights come from. ``plansguard adapt`` writes it.

It is in the checkpoint, under a key of its own that nnU-Net ignores, and beside it as ``<name>.adaptation.json``.
documents/models/adaptation_record.py describes its fields.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

SCHEMA = "plansguard/adaptation/1"
#: The ending of the record's name beside it.
ENDING = ".adaptation.json"


def record_path(checkpoint: Path) -> Path:
    """The path of the record beside adapted weights."""
    return checkpoint.with_name(checkpoint.stem + ENDING)


class ClassesOfHead(NamedTuple):
    """The classes whose segmentation layers are those of the weights, and those with nnU-Net's initial values."""

    kept: list[str]
    initial: list[str]


def classes_of_head(record: Mapping[str, Any] | None) -> ClassesOfHead | None:
    """What the segmentation layers of adapted weights are; None without a record, or for one that cannot be read."""
    if record is None:
        return None
    from pydantic import ValidationError

    from plansguard.documents.models.adaptation_record import AdaptationRecord

    try:
        adaptation = AdaptationRecord.model_validate(record)
    except ValidationError:
        return None
    heads = [row for row in adaptation.rows if ".seg_layers." in row.name]
    if any(row.action == "kept" for row in heads):
        return ClassesOfHead(adaptation.to.labels, [])
    parts = next((row.parts for row in heads if row.action == "classes"), None)
    if parts is None:
        return ClassesOfHead([], adaptation.to.labels)
    initial = [part.name for part in parts if part.filling == "initialised"]
    return ClassesOfHead([part.name for part in parts if part.filling != "initialised"], initial)
