"""Base class of all documents, and the two kinds of field that pydantic does not provide.

The ``loc`` of every validation error consists of keys and indices only, so that it is a JSON pointer into the document.
A plain pydantic union would add the names of its members.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, Field
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

if TYPE_CHECKING:
    from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
    from pydantic.json_schema import JsonSchemaValue

Value = TypeVar("Value")


class Document(BaseModel):
    """A JSON object. Types are as exact as nnU-Net's: ``2.0``, ``"2"`` and ``true`` are not integers.

    An integer where a number is expected becomes a float; nothing else is converted. Keys without a field are kept. A
    field that is absent is None; ``model_fields_set`` contains one that is null.
    """

    # Building a validator takes longer than defining the class, and most runs do not need all of them.
    model_config = ConfigDict(extra="allow", strict=True, frozen=True, defer_build=True)

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """Without the defaults: an absent key is not the same as null, which most fields refuse."""
        json_schema = handler(schema)
        for field in handler.resolve_ref_schema(json_schema).get("properties", {}).values():
            field.pop("default", None)
        return json_schema


def optional(description: str) -> Any:
    """A field that may be absent from the document."""
    return Field(None, description=description)


class _NotNull:
    """Annotation of ``X | None`` that validates as X: None means a missing key, and is not a value of the document."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        value, _ = get_args(source)
        return handler.generate_schema(value)


class _OneOrMany:
    """Annotation of ``X | list[Y]`` that validates a list as a list, and all else as X, which is int or str."""

    def __init__(self, scalar: type[int] | type[str], json_type: str, expected: str) -> None:
        self.scalar = scalar
        self.json_type = json_type
        self.expected = expected

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        _, many = get_args(source)
        # the serializer of the list would warn about a scalar
        dump = core_schema.plain_serializer_function_ser_schema(lambda value: value)
        return core_schema.no_info_wrap_validator_function(self._validate, handler(many), serialization=dump)

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return {"anyOf": [{"type": self.json_type}, handler(schema)]}

    def _validate(self, value: Any, validate_list: core_schema.ValidatorFunctionWrapHandler) -> Any:
        if type(value) is self.scalar:  # not isinstance: True is an int in Python, but not in JSON
            return value
        if isinstance(value, list):
            return validate_list(value)
        raise PydanticCustomError("one_or_many", "Input should be {expected}", {"expected": self.expected})


Given = Annotated[Value | None, _NotNull()]
"""A key that may be absent, but is not null if present."""

OneOrMoreInts = Annotated[int | list[int], _OneOrMany(int, "integer", "a valid integer or a list of integers")]
OneOrMoreNames = Annotated[str | list[str], _OneOrMany(str, "string", "a valid string or a list of strings")]
PerStageAndAxis = Annotated[int | list[OneOrMoreInts], _OneOrMany(int, "integer", "a valid integer or a list")]
"""Per stage a list with a value per axis or one value for all axes; or one value for all stages."""
