"""Base classes of the documents that plansguard itself writes."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class RecordModel(BaseModel):
    """Part of a record, which is read again later: unknown keys and wrong types are refused."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, populate_by_name=True)


class OutputModel(BaseModel):
    """Part of an output. NaN and infinities, which JSON lacks, are written as text."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True, ser_json_inf_nan="strings")
