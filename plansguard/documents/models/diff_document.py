"""The output of ``plansguard diff --output json``."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from plansguard.documents.models.base import OutputModel

Facet = Literal["weights", "input", "training", "bookkeeping"]


class PartEntry(OutputModel):
    """A part of a field that differs."""

    pointer: str = Field(description="The JSON pointer (RFC 6901) in the field; empty for the whole field.")
    before: Any = Field(description="The value in the first plans; null if absent.")
    after: Any = Field(description="The value in the second plans; null if absent.")


class ChangeEntry(OutputModel):
    """One field that differs."""

    configuration: str | None = Field(description="The configuration, or null for a field at the top level.")
    field: str = Field(description="The field; arguments of the network have dotted names.")
    facet: Facet = Field(description="What the field determines.")
    before: Any = Field(description="The value in the first plans; null if absent or longer than 1,000 values.")
    after: Any = Field(description="The value in the second plans; null if absent or longer than 1,000 values.")
    parts: list[PartEntry] = Field(description="The parts of the field that differ; empty for a long value.")
    summary: str = Field(description="Of a long value, how many parts differ, and the first of them; else empty.")


class DiffDocument(OutputModel):
    """The differences between two plans, by meaning."""

    schema_: Literal["plansguard/diff/1"] = Field(alias="schema", description="The kind and version of this document.")
    before: str = Field(description="The first plans, as typed.")
    after: str = Field(description="The second plans, as typed.")
    facets: dict[Facet, int] = Field(description="Number of fields that differ, by facet.")
    changes: list[ChangeEntry] = Field(description="The fields that differ.")
