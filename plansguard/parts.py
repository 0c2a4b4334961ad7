"""The documents of a dataset as rules see them: values, places and types; configurations as nnU-Net resolves them."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from sys import float_info
from typing import Any, NamedTuple, TypeVar

from plansguard import facts, jsondoc
from plansguard.configurations import InheritanceError, modern_architecture, origins, resolve_configuration
from plansguard.jsondoc import JsonDocument
from plansguard.record import Record
from plansguard.report import Location
from plansguard.shape import shortened, surely_valid
from plansguard.stamp import STAMP_ENDING, Stamp
from plansguard.workspace import GROUND_TRUTH

SIDECAR_ENDING = ".plansguard.json"
RECEIPT_NAME = "plansguard_receipt.json"
#: The name of nnU-Net's own copy of the plans in a model folder; its identifier stands inside, in plans_name.
MODEL_PLANS = "plans.json"


def is_folder_name(identifier: str) -> bool:
    """Whether a data_identifier names a folder of its own in the dataset's: preprocessing deletes what it names."""
    taken = identifier.strip() in ("", ".", "..", GROUND_TRUTH)
    return not taken and identifier.isprintable() and not set(identifier) & set("/\\")


class Absent(Exception):
    """A need that cannot be given, and why. The engine turns it into a NotChecked record."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Problem(NamedTuple):
    """A field whose type is wrong: where it is, what stands there (nothing if ``missing``) and what was expected."""

    tokens: tuple[str | int, ...]
    value: Any
    expected: str
    missing: bool


#: How many of a document, or of a configuration, are told one by one.
MOST_PROBLEMS = 100

AnyPart = TypeVar("AnyPart", bound="Part")


class Part:
    """One readable document of a dataset: its parsed value, and whether its fields have the right types."""

    model_name = ""
    #: The name under which nnU-Net reads the document; empty where the name is free.
    file_name = ""

    def __init__(self, document: JsonDocument) -> None:
        self.document = document
        self.value: Any = document.value

    @property
    def path(self) -> Path:
        """Where the document lies."""
        return Path(self.document.path)

    def at(self, *tokens: str | int) -> Location:
        """The place of a field; the engine adds line and column."""
        return Location(self.document.path, jsondoc.pointer(*tokens))

    @cached_property
    def problems(self) -> tuple[Problem, ...]:
        """Fields of a wrong type."""
        return problems(self.model_name, self.value)

    @property
    def valid(self: AnyPart) -> AnyPart:
        """Itself; Absent when a field has a wrong type."""
        if self.problems:
            raise Absent(f"{self.path.name} has fields of a wrong type (see PG005)")
        return self

    def require(self, key: str) -> Any:
        """The value of a top-level field; Absent when it is missing or null."""
        if self.value.get(key) is None:
            raise Absent(f"{self.path.name} has no {key}")
        return self.value[key]


class Plans(Part):
    """One plans file."""

    model_name = "Plans"

    @property
    def identifier(self) -> str:
        """What ``-p`` calls these plans: the file's stem; in a model folder, what plans_name says."""
        if self.path.name == MODEL_PLANS and isinstance(self.value.get("plans_name"), str):
            return str(self.value["plans_name"])
        return self.path.stem

    @cached_property
    def configurations(self) -> tuple[Configuration, ...]:
        """Every configuration, in the file's order."""
        return tuple(Configuration(self, name) for name in self.written)

    @cached_property
    def written(self) -> dict[str, dict[str, Any]]:
        """The configurations as they stand in the file. What is no object is left out here and told by PG005."""
        entries = self.value.get("configurations")
        if not isinstance(entries, dict):
            return {}
        return {name: entry for name, entry in entries.items() if isinstance(entry, dict)}

    def all_problems(self) -> Iterator[tuple[Location, Problem]]:
        """Fields of a wrong type, at the top level and in every configuration, each told once where it is written."""
        for problem in self.problems:
            yield self.at(*problem.tokens), problem
        for configuration in self.configurations:
            for problem in configuration.own_problems:
                yield configuration.at(*problem.tokens), problem

    def are_for_flat_images(self) -> bool:
        """Whether the plans were made from 2D images; Absent when they do not tell."""
        return bool(self.require("original_median_shape_after_transp")[:1] == [1])

    @property
    def intensity_key(self) -> str:
        """The key under which the intensity properties stand in this file."""
        return facts.intensity_key(self.value)


class Configuration:
    """One configuration of the plans, after ``inherits_from``."""

    def __init__(self, plans: Plans, name: str) -> None:
        self.plans = plans
        self.name = name

    @cached_property
    def broken_inheritance(self) -> InheritanceError | None:
        """Why the configuration cannot be resolved, if it cannot."""
        try:
            self._resolve()
        except InheritanceError as error:
            return error
        return None

    @cached_property
    def resolved(self) -> dict[str, Any]:
        """The configuration as nnU-Net's PlansManager resolves it; Absent when its inheritance is broken."""
        if self.broken_inheritance is not None:
            raise Absent(f"configuration {self.name} cannot be resolved (see PG106)")
        return self._resolve()

    @cached_property
    def problems(self) -> tuple[Problem, ...]:
        """Fields of a wrong type, inherited ones included."""
        if self.broken_inheritance is not None:
            return ()
        return problems("Configuration", self.resolved)

    @property
    def own_problems(self) -> tuple[Problem, ...]:
        """Problems in fields that this configuration wrote itself: a parent's fault is told once, at the parent."""
        return tuple(problem for problem in self.problems if self.origin(str(problem.tokens[0])) == self.name)

    @property
    def is_usable(self) -> bool:
        """Whether it can be resolved and its fields have the right types."""
        return self.broken_inheritance is None and not self.problems

    @property
    def usable(self) -> Configuration:
        """Itself; Absent when it cannot be resolved or a field has a wrong type."""
        self.resolved  # noqa: B018 - raises Absent with the reason
        if self.problems:
            raise Absent(f"configuration {self.name} has fields of a wrong type (see PG005)")
        return self

    def origin(self, key: str) -> str:
        """The configuration that wrote ``key``: this one or an ancestor."""
        return self._origins.get(key, self.name)

    def at(self, *tokens: str | int) -> Location:
        """The place of a field, in the configuration that wrote it; of the configuration itself without tokens."""
        owner = self.origin(str(tokens[0])) if tokens else self.name
        return self.plans.at("configurations", owner, *tokens)

    def get(self, key: str, default: Any = None) -> Any:
        """The value of a field of the resolved configuration."""
        return self.resolved.get(key, default)

    def require(self, key: str) -> Any:
        """The value of a field; Absent when it is missing or null."""
        if self.resolved.get(key) is None:
            raise Absent(f"configuration {self.name} has no {key}")
        return self.resolved[key]

    @cached_property
    def architecture(self) -> dict[str, Any]:
        """The network's class and keyword arguments; plans of the old format are translated as nnU-Net does it."""
        try:
            architecture = modern_architecture(self.resolved)
        except (KeyError, ValueError, TypeError, ArithmeticError) as error:
            raise Absent(f"configuration {self.name} names no network that could be read ({error})") from error
        if not isinstance(architecture.get("arch_kwargs"), dict):
            raise Absent(f"configuration {self.name} has no architecture.arch_kwargs (see PG104)")
        return architecture

    def kwarg(self, key: str) -> Any:
        """A keyword argument of the network; Absent when this network has none of that name."""
        value = self.architecture["arch_kwargs"].get(key)
        if value is None:
            raise Absent(f"the network of configuration {self.name} has no {key}")
        return value

    def stage_lists(self, key: str) -> list[list[int]]:
        """``strides`` or ``kernel_sizes`` as one list of integers per stage, one integer per axis.

        dynamic_network_architectures also takes one integer for all axes of a stage. Absent when ``key`` is no list
        over stages.
        """
        value = self.kwarg(key)
        if not isinstance(value, list):
            raise Absent(f"{key} of configuration {self.name} is not a list over stages")
        axes = len(self.require("patch_size"))
        return [list(stage) if isinstance(stage, list) else [stage] * axes for stage in value]

    def at_kwarg(self, key: str, *tokens: str | int) -> Location:
        """The place of a keyword argument, in the new or in the old format."""
        if "architecture" in self.resolved:
            return self.at("architecture", "arch_kwargs", key, *tokens)
        return self.at(facts.OLD_KEY_OF_KWARG.get(key, "UNet_class_name"), *tokens)

    @cached_property
    def _origins(self) -> dict[str, str]:
        if self.broken_inheritance is not None:
            return {}
        return origins(self.plans.written, self.name)

    def _resolve(self) -> dict[str, Any]:
        return resolve_configuration(self.plans.written, self.name)


class DatasetJson(Part):
    """One dataset.json."""

    model_name = "DatasetJson"
    file_name = "dataset.json"

    @property
    def channels_key(self) -> str:
        """``channel_names``, or ``modality`` as older files spell it."""
        return "channel_names" if "channel_names" in self.value else "modality"

    @property
    def channels(self) -> list[str]:
        """Channel names in file order: nnU-Net ignores the keys. Absent when there are none."""
        names = self.value.get(self.channels_key)
        if not isinstance(names, dict) or not names:
            raise Absent(f"{self.path.name} names no channels")
        return [str(name) for name in names.values()]


class Fingerprint(Part):
    """One dataset_fingerprint.json."""

    model_name = "Fingerprint"
    file_name = "dataset_fingerprint.json"

    def median_spacing(self, transpose_forward: list[int]) -> list[float]:
        """Median spacing over the cases in mm, array axes after transpose_forward; Absent when none is usable."""
        return _median_per_axis(self._usable("spacings"), transpose_forward)

    def median_shape(self, transpose_forward: list[int]) -> list[float]:
        """Median shape after cropping in voxels, array axes after transpose_forward."""
        return _median_per_axis(self._usable("shapes_after_crop"), transpose_forward)

    def median_extent(self, transpose_forward: list[int]) -> list[float]:
        """Median size of the cropped cases in mm, array axes after transpose_forward."""
        spacings, shapes = self._usable("spacings"), self._usable("shapes_after_crop")
        if len(spacings) != len(shapes) or len(spacings[0]) != len(shapes[0]):
            raise Absent(f"{self.path.name} does not hold a shape for every spacing (see PG303)")
        cases = zip(spacings, shapes, strict=True)
        rows = [[mm * voxels for mm, voxels in zip(*case, strict=True)] for case in cases]
        return _median_per_axis(rows, transpose_forward)

    def is_flat(self) -> bool:
        """Whether the images are 2D, as the planner decides it: one slice along the coarsest axis."""
        spacing = self.median_spacing([0, 1, 2])
        return self.median_shape([0, 1, 2])[spacing.index(max(spacing))] == 1

    def describes(self, plans: Plans) -> bool:
        """Whether the plans were made from this fingerprint: a move never rewrites the two medians in them.

        Spacing in mm to a relative 1e-3, shape in voxels to one voxel (planners round it). Absent when either side
        does not hold enough to tell.
        """
        order = plans.require("transpose_forward")
        spacing, shape = self.median_spacing(order), self.median_shape(order)
        their_spacing = plans.require("original_median_spacing_after_transp")
        their_shape = plans.require("original_median_shape_after_transp")
        if not len(their_spacing) == len(their_shape) == len(spacing) == len(shape):
            return False
        same_spacing = all(abs(a - b) <= 1e-3 * abs(b) for a, b in zip(their_spacing, spacing, strict=True))
        return same_spacing and all(abs(a - b) <= 1 for a, b in zip(their_shape, shape, strict=True))

    def _usable(self, key: str) -> list[list[float]]:
        rows = self.require(key)
        usable = all(0 < value <= float_info.max for row in rows for value in row)
        if not rows or not usable or len({len(row) for row in rows}) != 1:
            raise Absent(f"{self.path.name} has no usable {key}")
        return rows  # type: ignore[no-any-return]


class Lineage(Part):
    """The record that a migration left beside the plans it wrote."""

    model_name = "Lineage"

    @property
    def record(self) -> Record:
        """What it says; Absent when a field has a wrong type."""
        return Record(self.valid.value)


class StampFile(Part):
    """What a folder of preprocessed data was made with, as ``plansguard preprocess`` left it beside the plans."""

    model_name = "Stamp"

    @property
    def identifier(self) -> str:
        """The data folder that it belongs to."""
        return self.path.name[: -len(STAMP_ENDING)]

    @property
    def stamp(self) -> Stamp:
        """What it says; Absent when a field has a wrong type."""
        older = (self.valid.value["before"] or {}).get("stamp")
        if older is not None and problems(self.model_name, older):
            raise Absent(f"{self.path.name} holds an earlier stamp that is damaged")
        return Stamp(self.value)


class Splits(Part):
    """One splits_final.json."""

    model_name = "Splits"
    file_name = "splits_final.json"


#: kind of document, as models/recognise.py names it -> how rules see it
PARTS: dict[str, type[Part]] = {
    "plans": Plans,
    "dataset.json": DatasetJson,
    "fingerprint": Fingerprint,
    "splits": Splits,
    "lineage": Lineage,
    "stamp": StampFile,
}
#: kind -> the name under which nnU-Net reads it
CANONICAL_NAMES = {kind: part.file_name for kind, part in PARTS.items() if part.file_name}


def problems(model: str, value: Any) -> tuple[Problem, ...]:
    """The fields of ``value`` that a model of plansguard.models refuses: the first ones, and whether there are more."""
    if surely_valid(model, value):
        return ()
    short = shortened(model, value, MOST_PROBLEMS)
    found = _refused(model, short)
    if not found:  # all that is faulty to the schema is fine to the model
        short, found = value, _refused(model, value)
    if short is value and len(found) <= MOST_PROBLEMS:
        return found
    place = found[:MOST_PROBLEMS][-1].tokens[:1]
    more = Problem(place, "more", f"only the first {MOST_PROBLEMS} values of a wrong type are told", False)
    return (*found[:MOST_PROBLEMS], more)


def _refused(model: str, value: Any) -> tuple[Problem, ...]:
    from pydantic import ValidationError

    from plansguard import models

    try:
        getattr(models, model).model_validate(value)
    except ValidationError as error:
        return tuple(
            Problem(entry["loc"], entry["input"], entry["msg"], entry["type"] == "missing") for entry in error.errors()
        )
    return ()


def _median_per_axis(rows: list[list[float]], transpose_forward: list[int]) -> list[float]:
    medians = [_median(sorted(column)) for column in zip(*rows, strict=True)]
    if sorted(transpose_forward) != list(range(len(medians))):
        raise Absent("transpose_forward does not order the axes (see PG105)")
    return [float(medians[axis]) for axis in transpose_forward]


def _median(ordered: list[float]) -> float:
    """As statistics.median, whose import alone takes longer than all that is computed in a check."""
    middle = len(ordered) // 2
    return ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2
