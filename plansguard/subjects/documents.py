"""The documents of a dataset: their values, the places of fields, and whether the fields have the right types."""

from __future__ import annotations

from collections.abc import Sequence
from math import isnan, prod
from pathlib import Path
from sys import float_info
from typing import Any, TypeVar

from plansguard.core.errors import Absent
from plansguard.core.lazy import cached_property
from plansguard.core.report import Location
from plansguard.documents import json_document
from plansguard.documents.file_names import PREPROCESSING_RECORD_ENDING
from plansguard.documents.json_document import JsonDocument
from plansguard.documents.validation import FieldProblem, problems
from plansguard.records.migration import MigrationRecord, migration_record
from plansguard.records.preprocessing import PreprocessingRecord

AnyDocument = TypeVar("AnyDocument", bound="Document")


class Document:
    """One readable document of a dataset."""

    model_name = ""
    #: The name under which nnU-Net reads the document; empty where the name is free.
    file_name = ""

    def __init__(self, document: JsonDocument) -> None:
        self.document = document
        self.value: Any = document.value

    @cached_property
    def path(self) -> Path:
        """The path of the file."""
        return Path(self.document.path)

    def at(self, *tokens: str | int) -> Location:
        """The place of a field; the engine adds line and column."""
        return Location(self.document.path, json_document.pointer(*tokens))

    @cached_property
    def problems(self) -> tuple[FieldProblem, ...]:
        """Fields of a wrong type."""
        return problems(self.model_name, self.value)

    @property
    def valid(self: AnyDocument) -> AnyDocument:
        """Itself; Absent when a field has a wrong type."""
        if self.problems:
            raise Absent(f"{self.path.name} has fields of a wrong type (see PG005)")
        return self

    def require(self, key: str) -> Any:
        """The value of a top-level field; Absent when it is missing or null."""
        value = self.value.get(key)
        if value is None:
            raise Absent(f"{self.path.name} has no {key}")
        return value


class DatasetJson(Document):
    """One dataset.json."""

    model_name = "DatasetJson"
    file_name = "dataset.json"

    @property
    def channels_key(self) -> str:
        """``channel_names``, or ``modality`` as older files spell it."""
        return "channel_names" if "channel_names" in self.value else "modality"

    @cached_property
    def channels(self) -> list[str]:
        """Channel names in file order: nnU-Net ignores the keys. Absent when there are none."""
        names = self.value.get(self.channels_key)
        if not isinstance(names, dict) or not names:
            raise Absent(f"{self.path.name} names no channels")
        return [str(name) for name in names.values()]

    @property
    def has_ignore_label(self) -> bool:
        """Whether voxels may be labelled ``ignore``: without a class in training, and foreground in the fingerprint."""
        labels = self.value.get("labels")
        return isinstance(labels, dict) and "ignore" in labels


class Fingerprint(Document):
    """One dataset_fingerprint.json."""

    model_name = "Fingerprint"
    file_name = "dataset_fingerprint.json"

    def median_spacing(self, transpose_forward: list[int]) -> list[float]:
        """Median spacing over the cases in mm, array axes after transpose_forward; Absent when none is usable."""
        return self._in_order("_spacing", transpose_forward)

    def median_shape(self, transpose_forward: list[int]) -> list[float]:
        """Median shape after cropping in voxels, array axes after transpose_forward."""
        return self._in_order("_shape", transpose_forward)

    def medians(self, transpose_forward: list[int]) -> tuple[list[float], list[float], list[float]]:
        """Median spacing and shape as above, and the median size of the cropped cases in mm, on the same axes."""
        key = tuple(transpose_forward)
        if key not in self._medians:
            spacing, shape = self.median_spacing(transpose_forward), self.median_shape(transpose_forward)
            self._medians[key] = spacing, shape, self._in_order("_extent", transpose_forward)
        return self._medians[key]

    def _in_order(self, medians: str, transpose_forward: list[int]) -> list[float]:
        key = medians, tuple(transpose_forward)
        if key not in self._ordered:
            self._ordered[key] = _in_order(getattr(self, medians), transpose_forward)
        return self._ordered[key]

    @cached_property
    def _medians(self) -> dict[tuple[int, ...], tuple[list[float], list[float], list[float]]]:
        return {}

    @cached_property
    def _ordered(self) -> dict[tuple[str, tuple[int, ...]], list[float]]:
        return {}

    def sizes_at(self, spacing: Sequence[float], transpose_forward: list[int]) -> list[list[float]]:
        """Sizes in voxels of all cropped cases at another spacing, per array axis after transpose_forward.

        A spacing of two axes is that of slices. Rounded as by nnU-Net's compute_new_shape. Absent as above.
        """
        axes = _in_order([0.0, 1.0, 2.0], transpose_forward)[len(transpose_forward) - len(spacing) :]
        return [
            [
                float(round(mm / new * voxels))
                for mm, voxels in zip(self._spacings[int(axis)], self.shapes[int(axis)], strict=True)
            ]
            for axis, new in zip(axes, spacing, strict=True)
        ]

    @cached_property
    def is_flat(self) -> bool:
        """Whether the images are 2D by the planner's criterion: one slice along the coarsest axis."""
        spacing = self.median_spacing([0, 1, 2])
        return self.median_shape([0, 1, 2])[spacing.index(max(spacing))] == 1

    def describes(self, plans: Document) -> bool:
        """Whether the plans were made from this fingerprint: a migration never changes the two medians in them.

        Spacing in mm to a relative 1e-3, shape in voxels to one voxel (planners round it). Absent when either side
        lacks one of them, or has a field of a wrong type.
        """
        if plans not in self._described:
            self._described[plans] = self._describes(plans)
        return self._described[plans]

    @cached_property
    def _described(self) -> dict[Document, bool]:
        return {}

    def _describes(self, plans: Document) -> bool:
        order = plans.valid.require("transpose_forward")
        spacing, shape = self.valid.median_spacing(order), self.median_shape(order)
        plans_spacing = plans.require("original_median_spacing_after_transp")
        plans_shape = plans.require("original_median_shape_after_transp")
        if not len(plans_spacing) == len(plans_shape) == len(spacing) == len(shape):
            return False
        same_spacing = all(abs(a - b) <= 1e-3 * abs(b) for a, b in zip(plans_spacing, spacing, strict=True))
        return same_spacing and all(abs(a - b) <= 1 for a, b in zip(plans_shape, shape, strict=True))

    # Per axis of the reader, each computed once: a fingerprint may have 200,000 cases, and many rules ask for medians.

    @cached_property
    def _spacing(self) -> list[float]:
        return list(map(median_of, self.sorted_spacings))

    @cached_property
    def _shape(self) -> list[float]:
        return [median_of(sorted(values)) for values in self.shapes]

    @cached_property
    def _extent(self) -> list[float]:
        return list(map(median_of, self.sorted_extents))

    @cached_property
    def sorted_spacings(self) -> list[list[float]]:
        """For each axis of the reader the spacings of all cases in mm, sorted; Absent when they are not usable."""
        return [sorted(values) for values in self._spacings]

    @cached_property
    def sorted_extents(self) -> list[list[float]]:
        """For each axis of the reader the sizes of all cropped cases in mm, sorted; Absent when they are not usable."""
        return [sorted(values) for values in self.extents]

    @property
    def smallest_extent(self) -> tuple[float, ...]:
        """The size in mm of the cropped case with the smallest volume, in the reader's axis order; Absent as above."""
        return min(zip(*self.extents, strict=True), key=prod)

    @cached_property
    def extents(self) -> list[list[float]]:
        """For each axis of the reader the sizes of all cropped cases in mm; Absent when they are not usable."""
        spacings, shapes = self._spacings, self.shapes
        if [*map(len, spacings)] != [*map(len, shapes)]:
            raise Absent(f"{self.path.name} does not have a shape for every spacing (see PG303)")
        axes = zip(spacings, shapes, strict=True)
        return [[mm * voxels for mm, voxels in zip(*axis, strict=True)] for axis in axes]

    @cached_property
    def _spacings(self) -> list[list[float]]:
        return self._usable("spacings")

    @cached_property
    def shapes(self) -> list[list[float]]:
        """For each axis of the reader the sizes of all cropped cases in voxels; Absent when they are not usable."""
        return self._usable("shapes_after_crop")

    def _usable(self, key: str) -> list[list[float]]:
        rows: list[list[float]] = self.require(key)
        axes = columns(rows)
        if len(set(map(len, rows))) != 1 or not all(map(_are_usable, axes)):
            raise Absent(f"{self.path.name} has no usable {key}")
        return axes


class MigrationRecordFile(Document):
    """One migration record."""

    model_name = "MigrationRecord"

    @property
    def record(self) -> MigrationRecord:
        """The record; Absent when a field has a wrong type."""
        return migration_record(self.valid.value)


class PreprocessingRecordFile(Document):
    """One preprocessing record."""

    model_name = "PreprocessingRecord"

    @property
    def identifier(self) -> str:
        """The data folder that it belongs to."""
        return self.path.name[: -len(PREPROCESSING_RECORD_ENDING)]

    @property
    def record(self) -> PreprocessingRecord:
        """The record; Absent when a field of it, or of the earlier record in it, has a wrong type."""
        older = (self.valid.value["before"] or {}).get("stamp")
        if older is not None and problems(self.model_name, older):
            raise Absent(f"{self.path.name} contains an earlier preprocessing record that is damaged")
        return PreprocessingRecord(self.value)


class Splits(Document):
    """One splits_final.json."""

    model_name = "Splits"
    file_name = "splits_final.json"


def columns(rows: list[list[float]]) -> list[list[float]]:
    """The columns that all rows have. For a hundred thousand rows, ``zip`` takes ten times as long."""
    return [[row[axis] for row in rows] for axis in range(min(map(len, rows), default=0))]


def _are_usable(values: list[float]) -> bool:
    """Whether all are positive and finite."""
    return min(values) > 0 and max(values) <= float_info.max and not isnan(sum(values))


def _in_order(medians: list[float], transpose_forward: list[int]) -> list[float]:
    if sorted(transpose_forward) != list(range(len(medians))):
        raise Absent("transpose_forward does not order the axes (see PG105)")
    return [float(medians[axis]) for axis in transpose_forward]


def median_of(ordered: list[float]) -> float:
    """The median of sorted values, as statistics.median, whose import takes longer than all computations of a check."""
    middle = len(ordered) // 2
    return ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2
