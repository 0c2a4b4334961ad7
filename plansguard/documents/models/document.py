"""What all documents have in common, and the two kinds of field that pydantic has no word for.

Every error of these models has a ``loc`` of keys and indices only, so that it is a JSON pointer into the document. A
plain pydantic union would put the names of its members into it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, TypeVar, get_args

from pydantic import BaseModel, ConfigDict
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

if TYPE_CHECKING:
    from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
    from pydantic.json_schema import JsonSchemaValue

Value = TypeVar("Value")


class Document(BaseModel):
    """A JSON object. Types are as exact as nnU-Net's: ``2.0``, ``"2"`` and ``true`` are no integers.

    An integer where a number is expected becomes a float; nothing else is converted. Keys without a field are kept. A
    field that is absent is None; ``model_fields_set`` tells it from one that is null.
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


class _NotNull:
    """Takes ``X | None`` and validates as X: None stands for a missing key and is no value of the document."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        value, _ = get_args(source)
        return handler.generate_schema(value)


class _OneOrMany:
    """Takes ``X | list[Y]`` and validates what is a list as a list, and anything else as X, int or str."""

    def __init__(self, one: type[int] | type[str], json_type: str, expected: str) -> None:
        self.one = one
        self.json_type = json_type
        self.expected = expected

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        _, many = get_args(source)
        # the list's own serializer would warn of a scalar
        dump = core_schema.plain_serializer_function_ser_schema(lambda value: value)
        return core_schema.no_info_wrap_validator_function(self._validate, handler(many), serialization=dump)

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return {"anyOf": [{"type": self.json_type}, handler(schema)]}

    def _validate(self, value: Any, validate_list: core_schema.ValidatorFunctionWrapHandler) -> Any:
        if type(value) is self.one:  # not isinstance: True is an int to Python, and to JSON it is not
            return value
        if isinstance(value, list):
            return validate_list(value)
        raise PydanticCustomError("one_or_many", "Input should be {expected}", {"expected": self.expected})


Given = Annotated[Value | None, _NotNull()]
"""A key that may be absent, but holds no null where it is written."""

OneOrMoreInts = Annotated[int | list[int], _OneOrMany(int, "integer", "a valid integer or a list of integers")]
OneOrMoreNames = Annotated[str | list[str], _OneOrMany(str, "string", "a valid string or a list of strings")]
PerStageAndAxis = Annotated[int | list[OneOrMoreInts], _OneOrMany(int, "integer", "a valid integer or a list")]
"""Per stage one list with a value per axis, or one value for all axes; or one value for all stages."""
