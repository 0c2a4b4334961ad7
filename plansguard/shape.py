"""Says of a healthy document that its types are right, without pydantic.

Loading pydantic and building a model takes longer than everything else that a check does. The JSON Schemas that are
generated from the models hold the same knowledge, and most documents are healthy: one that fits its schema here fits
the model. Of any other, and of any schema keyword that is not known here, nothing is said, and the model decides.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

#: model -> the file in schemas/
_FILES = {
    "Plans": "plans",
    "DatasetJson": "dataset",
    "Fingerprint": "fingerprint",
    "Splits": "splits",
    "Lineage": "lineage",
    "Stamp": "stamp",
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


def surely_valid(model: str, value: Any) -> bool:
    """Whether ``value`` certainly has the types of a model in plansguard.models; False means "ask the model"."""
    if model == "Configuration":  # the schema of plans describes it where it stands
        model, value = "Plans", {"configurations": {"": value}}
    if model not in _FILES:
        return False
    schema = _read(_FILES[model])
    return _fits(schema, value, schema.get("$defs", {}))


def _fits(schema: Any, value: Any, definitions: dict[str, Any]) -> bool:
    if schema is True or schema == {}:
        return True
    if not isinstance(schema, dict):
        return False
    if "$ref" in schema:
        return _fits(definitions.get(schema["$ref"].rpartition("/")[2]), value, definitions)
    if "anyOf" in schema:
        return any(_fits(one, value, definitions) for one in schema["anyOf"])
    known = schema.keys() - _PASSED_OVER
    if known in ({"type", "const"}, {"type", "enum"}):
        return type(value) is str and value in schema.get("enum", [schema.get("const")])
    kind = schema.get("type")
    if kind == "array":
        return (
            known <= {"type", "items"}
            and type(value) is list
            and all(_fits(schema.get("items", {}), item, definitions) for item in value)
        )
    if kind == "object":
        return known <= {"type", "properties", "required", "additionalProperties"} and _fits_object(
            schema, value, definitions
        )
    return known <= {"type"} and (kind is None or type(value) in _TYPES[kind])


def _fits_object(schema: dict[str, Any], value: Any, definitions: dict[str, Any]) -> bool:
    if type(value) is not dict or any(key not in value for key in schema.get("required", ())):
        return False
    properties = schema.get("properties", {})
    others = schema.get("additionalProperties", True)
    return all(_fits(properties.get(key, others), item, definitions) for key, item in value.items())


@cache
def _read(name: str) -> dict[str, Any]:
    """The schema as a wheel carries it, or as it stands in a checkout; an empty one that fits nothing if neither."""
    package = Path(__file__).parent
    for folder in (package / "schemas", package.parent / "schemas"):
        try:
            return json.loads((folder / f"{name}.schema.json").read_bytes())  # type: ignore[no-any-return]
        except OSError:
            continue
    return {"not": {}}
