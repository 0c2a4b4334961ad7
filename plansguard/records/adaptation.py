"""The adaptation record: where the parameters of adapted weights come from. ``plansguard adapt`` writes it.

It is in the checkpoint, under a key of its own that nnU-Net ignores, and beside it as ``<name>.adaptation.json``.
documents/models/adaptation_record.py describes its fields.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from plansguard.documents.models.adaptation_record import AdaptationRecord

SCHEMA = "plansguard/adaptation/1"
#: The ending of the record's name beside it.
ENDING = ".adaptation.json"
_HEAD = ".seg_layers."


def record_path(checkpoint: Path) -> Path:
    """The path of the record beside adapted weights."""
    return checkpoint.with_name(checkpoint.stem + ENDING)


class ClassesOfHead(NamedTuple):
    """The classes whose segmentation layers are those of the weights, and those with nnU-Net's initial values."""

    kept: list[str]
    initial: list[str]


def classes_of_head(record: Mapping[str, Any] | None) -> ClassesOfHead | None:
    """What the segmentation layers of adapted weights are; None without a record, or for one that cannot be read."""
    adaptation = _valid(record)
    if adaptation is None:
        return None
    initial, names = _initial_classes(adaptation), [*enumerate(adaptation.to.labels)]
    kept = [name for place, name in names if place not in initial]
    return ClassesOfHead(kept, [name for place, name in names if place in initial])


class InitialValues(NamedTuple):
    """What of adapted weights has nnU-Net's initial values: parameters, and places of classes in the others."""

    parameters: frozenset[str] = frozenset()
    classes: frozenset[int] = frozenset()


def initial_values(record: Mapping[str, Any] | None) -> InitialValues:
    """What no training has made; nothing without a record, or for one that cannot be read."""
    adaptation = _valid(record)
    if adaptation is None:
        return InitialValues()
    names = (row.name for row in adaptation.rows if row.action == "initialised")
    return InitialValues(frozenset(names), _initial_classes(adaptation))


def _initial_classes(adaptation: AdaptationRecord) -> frozenset[int]:
    """The places of the classes whose segmentation layers have nnU-Net's initial values."""
    heads = [row for row in adaptation.rows if _HEAD in row.name]
    if any(row.action == "kept" for row in heads):
        return frozenset()
    by_class = next((row.parts for row in heads if row.action == "classes"), None)
    if by_class is None:
        return frozenset(range(len(adaptation.to.labels)))
    return frozenset(place for place, part in enumerate(by_class) if part.filling == "initialised")


def _valid(record: Mapping[str, Any] | None) -> AdaptationRecord | None:
    if record is None:
        return None
    from pydantic import ValidationError

    from plansguard.documents.models.adaptation_record import AdaptationRecord

    try:
        return AdaptationRecord.model_validate(record)
    except ValidationError:
        return None
