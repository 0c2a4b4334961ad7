"""The baseline: findings that a project knows, which ``plansguard baseline`` writes."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from plansguard.documents.models.base import RecordModel


class BaselineEntry(RecordModel):
    """A known finding. Only its place and fingerprint count; the rest is for people."""

    fingerprint: str = Field(min_length=1, description="The same while the same values are wrong at the same place.")
    count: int = Field(ge=1, description="How many findings with this fingerprint are known.")
    code: str = Field(description="The rule's code.")
    name: str = Field(description="The rule's name.")
    path: str = Field(
        description="The file: from the folder of its dataset on, else relative to the baseline, with '/' everywhere."
    )
    pointer: str = Field(description="The JSON pointer (RFC 6901) in it; empty for the whole file.")
    configuration: str | None = Field(description="The configuration, or null.")
    message: str = Field(description="What was wrong when the entry was written.")


class Baseline(RecordModel):
    """Known findings: check reports them as known, and does not fail because of them."""

    schema_: Literal["plansguard/baseline/1"] = Field(alias="schema", description="The kind and version of the file.")
    plansguard: str = Field(description="The version of plansguard that wrote it.")
    data: Literal["none", "headers", "sample", "all"] = Field(description="How much of the data was read (--data).")
    findings: list[BaselineEntry] = Field(description="The known findings, by place.")
