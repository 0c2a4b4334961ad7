"""Validate documents: by JSON Schema first, and with pydantic only what fails there.

Loading pydantic and building a model takes longer than all other work of a check. The JSON Schemas in ``schemas/`` are
generated from the models, and most documents are valid: a value that fits its schema here also fits the model. The
model decides about every other value, and about schemas with keywords that are not supported here.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from functools import cache
from importlib import import_module
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from pydantic import BaseModel

#: How many fields of a wrong type are listed for a document or a configuration.
MOST_PROBLEMS = 100

#: Model -> its module in documents/models/, and the schema in schemas/ that describes it.
_SOURCES = {
    "Plans": ("plans", "plans"),
    "Configuration": ("plans", "plans"),
    "ArchKwargs": ("plans", "plans"),
    "DatasetJson": ("dataset_json", "dataset"),
    "Fingerprint": ("fingerprint", "fingerprint"),
    "Splits": ("splits", "splits"),
    "MigrationRecord": ("migration_record", "lineage"),
    "PreprocessingRecord": ("preprocessing_record", "stamp"),
    "TrainingRecord": ("training_record", "receipt"),
    "AdaptationRecord": ("adaptation_record", "adaptation"),
    "Settings": ("settings", "settings"),
    "Baseline": ("baseline", "baseline"),
    "ReportDocument": ("report_document", "report"),
    "DiffDocument": ("diff_document", "diff"),
    "FitDocument": ("command_documents", "fit"),
    "ShowDocument": ("command_documents", "show"),
    "StepsDocument": ("command_documents", "steps"),
    "RulesDocument": ("command_documents", "rules"),
    "ExplainDocument": ("command_documents", "explain"),
    "EnvDocument": ("command_documents", "env"),
    "VerificationDocument": ("command_documents", "verification"),
    "PreprocessingDocument": ("command_documents", "preprocessing"),
    "StatusDocument": ("status_document", "status"),
    "RoadDocument": ("road_document", "road"),
}
#: Keywords that demand nothing, or (if, then) more than the model does.
_IGNORED_KEYWORDS = {"$schema", "$id", "$defs", "title", "description", "default", "if", "then"}
#: Exact types: True is an int in Python, and 2.0 is an integer in JSON Schema; nnU-Net accepts neither as an integer.
_TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "boolean": (bool,),
    "integer": (int,),
    "number": (int, float),
    "null": (type(None),),
}
_LIST = frozenset({list})


class FieldProblem(NamedTuple):
    """A field of a wrong type: its keys and indices, its value (unused if ``missing``), and what is expected."""

    tokens: tuple[str | int, ...]
    value: Any
    expected: str
    missing: bool


def problems(model: str, value: Any) -> tuple[FieldProblem, ...]:
    """The fields of ``value`` that a model refuses: at most MOST_PROBLEMS, and an entry that there are more."""
    if surely_valid(model, value):
        return ()
    short = shortened(model, value, MOST_PROBLEMS)
    refused = _refused(model, short)
    if not refused:  # the model accepts all that the schema refuses
        short, refused = value, _refused(model, value)
    if short is value and len(refused) <= MOST_PROBLEMS:
        return refused
    place = refused[:MOST_PROBLEMS][-1].tokens[:1]
    more = FieldProblem(place, "more", f"only the first {MOST_PROBLEMS} values of a wrong type are listed", False)
    return (*refused[:MOST_PROBLEMS], more)


def model_class(name: str) -> type[BaseModel]:
    """The pydantic model of this name. KeyError for an unknown name."""
    model: type[BaseModel] = getattr(import_module(f"plansguard.documents.models.{_SOURCES[name][0]}"), name)
    return model


def surely_valid(model: str, value: Any) -> bool:
    """Whether ``value`` certainly has the types of a model; if False, the model decides."""
    schema, part = _schema_of(model)
    return schema.predicate(part)(value)


def shortened(model: str, value: Any, faults: int) -> Any:
    """A copy of ``value`` that ends after so many faults; ``value`` itself if it has fewer.

    pydantic needs minutes and gigabytes to list a million faults. No fault is added or moved.
    """
    schema, part = _schema_of(model)
    cutter = _Cutter(schema, faults)
    short = cutter.cut(part, value)
    return short if cutter.has_cut else value


def _refused(model: str, value: Any) -> tuple[FieldProblem, ...]:
    from pydantic import ValidationError

    originals: dict[str | int, str] = {}
    try:
        model_class(model).model_validate(_with_plain_keys(value, originals))
    except ValidationError as error:
        return tuple(
            FieldProblem(
                tuple(originals.get(token, token) for token in entry["loc"]),
                entry["input"],
                entry["msg"],
                entry["type"] == "missing",
            )
            for entry in error.errors()
        )
    return ()


def _with_plain_keys(value: Any, originals: dict[str | int, str]) -> Any:
    """``value`` with half surrogate pairs in keys spelled out, which pydantic refuses or replaces.

    ``originals`` receives the original of each changed key.
    """
    if isinstance(value, list):
        return [_with_plain_keys(item, originals) for item in value]
    if not isinstance(value, dict):
        return value
    plain = {}
    for key, item in value.items():
        spelled = key.encode("utf-8", "backslashreplace").decode("utf-8")
        if spelled != key:
            originals[spelled] = key
        plain[spelled] = _with_plain_keys(item, originals)
    return plain


def _schema_of(model: str) -> tuple[_Schema, Any]:
    """The schema file that describes a model, and the part of it that does."""
    schema = _schema(_SOURCES[model][1])
    return schema, schema.definitions.get(model, schema.root)


@cache
def _schema(name: str) -> _Schema:
    """The schema, from the folder in an installed package or in a checkout; one that nothing fits if there is none."""
    package = Path(__file__).parents[1]
    for folder in (package / "schemas", package.parent / "schemas"):
        try:
            return _Schema(json.loads((folder / f"{name}.schema.json").read_bytes()))
        except OSError:
            continue
    return _Schema({"not": {}})


Predicate = Callable[[Any], bool]


class _Schema:
    """A schema. The predicate of each part is built once, since a document may have a million values."""

    def __init__(self, root: dict[str, Any]) -> None:
        self.root = root
        self.definitions: dict[str, Any] = root.get("$defs", {})
        self._predicates: dict[int, Predicate] = {}

    def predicate(self, part: Any) -> Predicate:
        """A function that returns whether a value fits this part: True, False or an object in the schema."""
        if id(part) not in self._predicates:
            self._predicates[id(part)] = self._build(part)
        return self._predicates[id(part)]

    def target(self, part: Any) -> Any:
        """The part itself, or the definition that it refers to."""
        if isinstance(part, dict) and "$ref" in part:
            return self.definitions.get(part["$ref"].rpartition("/")[2])
        return part

    def _build(self, part: Any) -> Predicate:
        if part is True or part == {}:
            return lambda _: True
        if not isinstance(part, dict):
            return lambda _: False
        if "$ref" in part:
            return self.predicate(self.target(part))
        types = self._scalar_types(part)
        if types:
            return lambda value: type(value) in types
        if "anyOf" in part:
            return _any_of([self.predicate(member) for member in part["anyOf"]])
        keywords, kind = part.keys() - _IGNORED_KEYWORDS, part.get("type")
        if keywords in ({"type", "const"}, {"type", "enum"}):
            words = part.get("enum", [part.get("const")])
            return lambda value: type(value) is str and value in words
        if kind == "array" and keywords <= {"type", "items"}:
            return self._build_array(part.get("items", True))
        if (
            kind == "object"
            and keywords <= {"type", "additionalProperties"}
            and part.get("additionalProperties") is True
        ):
            return lambda value: type(value) is dict
        if kind == "object" and keywords <= {"type", "properties", "required", "additionalProperties"}:
            return self._build_object(part)
        return lambda _: not keywords

    def _scalar_types(self, part: Any) -> frozenset[type]:
        """The types of the scalars that this part allows; empty where it demands more, or allows other values."""
        part = self.target(part)
        if not isinstance(part, dict):
            return frozenset()
        if "anyOf" in part:
            members = [self._scalar_types(member) for member in part["anyOf"]]
            return frozenset().union(*members) if all(members) else frozenset()
        known = part.keys() - _IGNORED_KEYWORDS == {"type"} and part["type"] in _TYPES
        return frozenset(_TYPES[part["type"]]) if known else frozenset()

    def _types_in_rows(self, part: Any) -> frozenset[type]:
        """The types of the scalars in the lists that this part allows; empty where it is something else."""
        part = self.target(part)
        is_list = isinstance(part, dict) and part.keys() - _IGNORED_KEYWORDS == {"type", "items"}
        return self._scalar_types(part["items"]) if is_list and part["type"] == "array" else frozenset()

    def _build_array(self, items: Any) -> Predicate:
        if types := self._scalar_types(items):  # a list of numbers is the most frequent value
            return lambda value: type(value) is list and types.issuperset(map(type, value))
        if of_rows := self._types_in_rows(items):  # spacings have a row for each case
            return lambda value: (
                type(value) is list
                and _LIST.issuperset(map(type, value))
                and of_rows.issuperset(map(type, chain.from_iterable(value)))
            )
        item = self.predicate(items)
        return lambda value: type(value) is list and all(map(item, value))

    def _build_object(self, part: dict[str, Any]) -> Predicate:
        required = frozenset(part.get("required", ()))
        members = {key: self._of_member(member) for key, member in part.get("properties", {}).items()}
        others = self._of_member(part.get("additionalProperties", True))

        def fits(value: Any) -> bool:
            if type(value) is not dict or not required <= value.keys():
                return False
            for key, item in value.items():
                types, accepts = members.get(key, others)
                if type(item) not in types and not accepts(item):
                    return False
            return True

        return fits

    def _of_member(self, part: Any) -> tuple[frozenset[type], Predicate]:
        """The types of the scalars that this part allows, which need no call of the predicate, and the predicate."""
        return self._scalar_types(part), self.predicate(part)


def _any_of(members: list[Predicate]) -> Predicate:
    def fits(value: Any) -> bool:
        for member in members:  # noqa: SIM110 - any() of a generator takes twice as long
            if member(value):
                return True
        return False

    return fits


class _Cutter:
    """Copies what does not fit its schema, up to a number of faults."""

    def __init__(self, schema: _Schema, faults: int) -> None:
        self.schema = schema
        self.left = faults
        self.has_cut = False

    def cut(self, part: Any, value: Any) -> Any:
        """The value up to the last fault."""
        if self.schema.predicate(part)(value):
            return value
        part = self.schema.target(part)
        for member in map(self.schema.target, part.get("anyOf", [part]) if isinstance(part, dict) else ()):
            if type(value) is list and member.get("type") == "array":
                return [*self._items(member.get("items", True), value)]
            if type(value) is dict and member.get("type") == "object":
                return dict(self._members(member, value))
        self.left -= 1
        return value

    def _items(self, part: Any, values: list[Any]) -> Iterator[Any]:
        for item in values:
            if self.left <= 0:
                self.has_cut = True
                return
            yield self.cut(part, item)

    def _members(self, part: dict[str, Any], value: dict[str, Any]) -> Iterator[tuple[str, Any]]:
        properties, required = part.get("properties", {}), part.get("required", ())
        others = part.get("additionalProperties", True)
        self.left -= sum(key not in value for key in required)
        for key, item in value.items():
            if self.left > 0 or key in required:  # without a required key there would be another fault
                yield key, self.cut(properties.get(key, others), item)
            else:
                self.has_cut = True
