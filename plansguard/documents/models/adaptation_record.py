"""The adaptation record, which ``plansguard adapt`` writes into adapted weights and beside them."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from plansguard.documents.models.base import RecordModel
from plansguard.documents.models.migration_record import Tool

Filling = Literal["kept", "averaged", "zero", "initialised"]


class AdaptedFrom(RecordModel):
    """The weights that were adapted."""

    path: str = Field(description="The file.")
    bytes: int = Field(description="Its size.")
    of: Literal["directory", "file", "beginning"] = Field(
        description="What the digest is of: the archive's directory, which has a checksum of every tensor, the whole "
        "file, or its first 64 MiB."
    )
    sha256: str = Field(description="SHA-256 of that.")
    kind: str = Field(description="nnunet-v2, nnunet-v1, nnssl or state-dict.")
    trainer: str | None = Field(description="The trainer that made them; null if the file does not name it.")
    configuration: str | None = Field(description="The configuration they were trained as, or null.")
    channels: list[str] | None = Field(description="Their input channels, in their order; null if not known.")
    labels: list[str] | None = Field(description="Their output maps, in their order; null if not known.")
    stem: str | None = Field(description="The stem of a MultiTalent checkpoint that was taken, or null.")


class AdaptedTo(RecordModel):
    """The network that the weights were adapted to."""

    dataset: str = Field(description="The dataset's name.")
    plans: str | None = Field(
        description="The identifier of the dataset's plans; null where the network is that of the weights' own plans."
    )
    configuration: str = Field(description="The configuration.")
    plans_sha256: str = Field(description="SHA-256 of the bytes of the plans with the network.")
    dataset_json_sha256: str = Field(description="SHA-256 of the bytes of dataset.json.")
    channels: list[str] = Field(description="The input channels, in their order.")
    labels: list[str] = Field(description="The output maps, in their order.")


class AdaptedPart(RecordModel):
    """One channel or class of a parameter."""

    name: str = Field(description="Its name in the dataset.")
    filling: Filling = Field(
        description="kept: that of the weights. averaged: the mean of all their channels. zero. initialised: the "
        "values with which nnU-Net begins."
    )
    source: int | None = Field(description="Its place in the weights, from 0; null if nothing of it is there.")
    source_name: str | None = Field(description="Its name in the weights; null if it is not known.")


class AdaptedRow(RecordModel):
    """One parameter of the network. Of its names in ``state_dict()``, the shortest is listed."""

    name: str = Field(description="The parameter.")
    shape: list[int] = Field(description="Its shape.")
    action: Literal["kept", "channels", "classes", "zero", "initialised"] = Field(
        description="kept: the same parameter of the weights. channels, classes: one part at a time, as in parts. "
        "zero: a bias that nnU-Net v1 does not have. initialised: the values with which nnU-Net begins."
    )
    source: str | None = Field(description="Its name in the file; null if nothing of the file is used.")
    source_shape: list[int] | None = Field(description="Its shape in the file.")
    parts: list[AdaptedPart] = Field(description="Its channels or classes; empty for other actions.")


class AdaptationRecord(RecordModel):
    """Where each parameter of adapted weights comes from."""

    schema_: Literal["plansguard/adaptation/1"] = Field(
        alias="schema", description="The kind and version of this document."
    )
    tool: Tool = Field(description="The program that wrote the record.")
    created: str = Field(description="Time of the adaptation in UTC, as ISO 8601.")
    from_: AdaptedFrom = Field(alias="from", description="The weights.")
    to: AdaptedTo = Field(description="The network.")
    rows: list[AdaptedRow] = Field(description="A row for each parameter, in the network's order.")
