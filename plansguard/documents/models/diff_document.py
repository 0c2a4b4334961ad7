"""The output of ``plansguard diff --output json``."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from plansguard.documents.models.base import OutputModel

Facet = Literal["weights", "input", "training", "bookkeeping"]


class ChangeEntry(OutputModel):
    """One field that differs."""

    configuration: str | None = Field(description="The configuration, or null for a field at the top level.")
    field: str = Field(description="The field; arguments of the network have dotted names.")
    facet: Facet = Field(description="What the field determines.")
    before: Any = Field(description="The value in the first plans; null if absent or longer than 1,000 values.")
    after: Any = Field(description="The value in the second plans; null if absent or longer than 1,000 values.")
    details: list[str] = Field(description="The places inside the field, one line each.")


class DiffDocument(OutputModel):
    """The differences between two plans, by meaning."""

    schema_: Literal["plansguard/diff/1"] = Field(alias="schema", description="The kind and version of this document.")
    before: str = Field(description="The first plans, as typed.")
    after: str = Field(description="The second plans, as typed.")
    facets: dict[Facet, int] = Field(description="Number of fields that differ, by facet.")
    changes: list[ChangeEntry] = Field(description="The fields that differ.")
