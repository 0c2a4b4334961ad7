"""Says of a healthy document that its types are right, without pydantic.

Loading pydantic and building a model takes longer than everything else that a check does. The JSON Schemas that are
generated from the models hold the same knowledge, and most documents are healthy: one that fits its schema here fits
the model. Of any other, and of any schema keyword that is not known here, nothing is said, and the model decides.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

#: model -> the file in schemas/
_FILES = {
    "Plans": "plans",
    "DatasetJson": "dataset",
    "Fingerprint": "fingerprint",
    "Splits": "splits",
    "MigrationRecord": "lineage",
    "PreprocessingRecord": "stamp",
    "TrainingRecord": "receipt",
}
#: Keywords that demand nothing, or (if, then) more than the model does.
_PASSED_OVER = {"$schema", "$id", "$defs", "title", "description", "if", "then"}
#: Exact types: to Python True is an integer, and to JSON Schema 2.0 is one; to nnU-Net neither is.
_TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "boolean": (bool,),
    "integer": (int,),
    "number": (int, float),
    "null": (type(None),),
}


Fit = Callable[[Any], bool]


def surely_valid(model: str, value: Any) -> bool:
    """Whether ``value`` certainly has the types of a model; False means "ask the model"."""
    if model == "Configuration":  # the schema of plans describes it where it stands
        model, value = "Plans", {"configurations": {"": value}}
    if model not in _FILES:
        return False
    schema = _schema(_FILES[model])
    return schema.fit(schema.whole)(value)


def shortened(model: str, value: Any, faults: int) -> Any:
    """``value`` without what stands behind so many faults; itself where it has fewer.

    To list a million faults takes pydantic minutes and gigabytes. What has the right type in ``value`` has it here too.
    """
    if model == "Configuration":
        return shortened("Plans", {"configurations": {"": value}}, faults)["configurations"][""]
    if model not in _FILES:
        return value
    schema = _schema(_FILES[model])
    cutter = _Cutter(schema, faults)
    short = cutter.of(schema.whole, value)
    return short if cutter.has_cut else value


class _Schema:
    """One schema; each part of it is made a function once, since a document may have a million values."""

    def __init__(self, whole: dict[str, Any]) -> None:
        self.whole = whole
        self._definitions = whole.get("$defs", {})
        self._fits: dict[int, Fit] = {}

    def fit(self, part: Any) -> Fit:
        """Whether a value fits this part, which is True, False or a piece of ``whole``."""
        if id(part) not in self._fits:
            self._fits[id(part)] = self._made(part)
        return self._fits[id(part)]

    def definition(self, part: Any) -> Any:
        """What a part stands for that only refers to another."""
        if isinstance(part, dict) and "$ref" in part:
            return self._definitions.get(part["$ref"].rpartition("/")[2])
        return part

    def _made(self, part: Any) -> Fit:
        if part is True or part == {}:
            return lambda _: True
        if not isinstance(part, dict):
            return lambda _: False
        if "$ref" in part:
            return self.fit(self.definition(part))
        if "anyOf" in part:
            fits = [self.fit(one) for one in part["anyOf"]]
            return lambda value: any(fit(value) for fit in fits)
        known, kind = part.keys() - _PASSED_OVER, part.get("type")
        if known in ({"type", "const"}, {"type", "enum"}):
            words = part.get("enum", [part.get("const")])
            return lambda value: type(value) is str and value in words
        if kind == "array" and known <= {"type", "items"}:
            item = self.fit(part.get("items", True))
            return lambda value: type(value) is list and all(map(item, value))
        if kind == "object" and known <= {"type", "properties", "required", "additionalProperties"}:
            return self._object(part)
        if kind in _TYPES and known == {"type"}:
            types = _TYPES[kind]
            return lambda value: type(value) in types
        return lambda _: not known

    def _object(self, part: dict[str, Any]) -> Fit:
        required = part.get("required", ())
        properties = {key: self.fit(one) for key, one in part.get("properties", {}).items()}
        others = self.fit(part.get("additionalProperties", True))

        def fits(value: Any) -> bool:
            if type(value) is not dict or any(key not in value for key in required):
                return False
            return all(properties.get(key, others)(item) for key, item in value.items())

        return fits


class _Cutter:
    """Copies what does not fit its schema, until there have been enough faults."""

    def __init__(self, schema: _Schema, faults: int) -> None:
        self.schema = schema
        self.left = faults
        self.has_cut = False

    def of(self, part: Any, value: Any) -> Any:
        """The value up to the last fault that is wanted."""
        if self.schema.fit(part)(value):
            return value
        part = self.schema.definition(part)
        for one in map(self.schema.definition, part.get("anyOf", [part]) if isinstance(part, dict) else ()):
            if type(value) is list and one.get("type") == "array":
                return [*self._items(one.get("items", True), value)]
            if type(value) is dict and one.get("type") == "object":
                return dict(self._members(one, value))
        self.left -= 1
        return value

    def _items(self, part: Any, values: list[Any]) -> Iterator[Any]:
        for item in values:
            if self.left <= 0:
                self.has_cut = True
                return
            yield self.of(part, item)

    def _members(self, part: dict[str, Any], value: dict[str, Any]) -> Iterator[tuple[str, Any]]:
        properties, required = part.get("properties", {}), part.get("required", ())
        others = part.get("additionalProperties", True)
        self.left -= sum(key not in value for key in required)
        for key, item in value.items():
            if self.left > 0 or key in required:  # to leave out what is required would be a fault of our own
                yield key, self.of(properties.get(key, others), item)
            else:
                self.has_cut = True


@cache
def _schema(name: str) -> _Schema:
    return _Schema(_read(name))


def _read(name: str) -> dict[str, Any]:
    """The schema as a wheel carries it, or as it stands in a checkout; an empty one that fits nothing if neither."""
    package = Path(__file__).parents[1]
    for folder in (package / "schemas", package.parent / "schemas"):
        try:
            return json.loads((folder / f"{name}.schema.json").read_bytes())  # type: ignore[no-any-return]
        except OSError:
            continue
    return {"not": {}}


class FieldProblem(NamedTuple):
    """A field whose type is wrong: where it is, what stands there (nothing if ``missing``) and what was expected."""

    tokens: tuple[str | int, ...]
    value: Any
    expected: str
    missing: bool


#: How many of a document, or of a configuration, are told one by one.
MOST_PROBLEMS = 100


def problems(model: str, value: Any) -> tuple[FieldProblem, ...]:
    """The fields of ``value`` that a model refuses: the first ones, and whether there are more."""
    if surely_valid(model, value):
        return ()
    short = shortened(model, value, MOST_PROBLEMS)
    found = _refused(model, short)
    if not found:  # all that is faulty to the schema is fine to the model
        short, found = value, _refused(model, value)
    if short is value and len(found) <= MOST_PROBLEMS:
        return found
    place = found[:MOST_PROBLEMS][-1].tokens[:1]
    more = FieldProblem(place, "more", f"only the first {MOST_PROBLEMS} values of a wrong type are told", False)
    return (*found[:MOST_PROBLEMS], more)


def _refused(model: str, value: Any) -> tuple[FieldProblem, ...]:
    from pydantic import ValidationError

    from plansguard.documents import models

    try:
        getattr(models, model).model_validate(value)
    except ValidationError as error:
        return tuple(
            FieldProblem(entry["loc"], entry["input"], entry["msg"], entry["type"] == "missing")
            for entry in error.errors()
        )
    return ()
