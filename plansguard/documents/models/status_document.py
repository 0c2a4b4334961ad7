"""The output of ``plansguard status --output json``."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from plansguard.documents.models.base import OutputModel


class WorkEntry(OutputModel):
    """One piece of work: plans, the data of a configuration, the training of a fold, or a road that runs."""

    dataset: str = Field(description="The dataset's name.")
    plans: str = Field(description="The identifier of the plans; empty for another document.")
    configuration: str | None = Field(description="The configuration; null for plans.")
    what: str = Field(description="plans, data, road, the folder of a fold, or the name of another document.")
    trainer: str | None = Field(description="The trainer; null for what is no training.")
    state: Literal["done", "running", "stopped", "stale", "damaged"] = Field(description="How far it is.")
    because: str = Field(description="The reason for the state.")


class StatusDocument(OutputModel):
    """The state of all work in a workspace."""

    schema_: Literal["plansguard/status/1"] = Field(
        alias="schema", description="The kind and version of this document."
    )
    rows: list[WorkEntry] = Field(description="The rows, by dataset.")
