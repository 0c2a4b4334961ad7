"""The preprocessing record that ``plansguard preprocess`` writes beside the plans: ``<data_identifier>.stamp.json``."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import ConfigDict, Field

from plansguard.documents.models.base import RecordModel
from plansguard.documents.models.migration_record import Tool


class Files(RecordModel):
    """The files in the data folder that belong to cases: .b2nd or .npz, and .pkl."""

    cases: int = Field(description="Number of complete cases: image, segmentation and properties, none empty.")
    bytes: int = Field(description="Size of all these files.")
    sha256: str = Field(description="SHA-256 over the lines '<name> <size in bytes>', sorted by name.")


class Before(RecordModel):
    """The data folder when the run began: true as long as these files are there."""

    files: Files = Field(description="The files in it.")
    stamp: dict[str, Any] | None = Field(description="Their preprocessing record, or null.")


class PreprocessingRecord(RecordModel):
    """What preprocessed data were made with, and which files. When it is valid: records/preprocessing.py."""

    # The title in the published schema.
    model_config = ConfigDict(title="Stamp")

    schema_: Literal["plansguard/stamp/1"] = Field(alias="schema", description="The kind and version of this document.")
    tool: Tool = Field(description="The program that wrote the record.")
    nnunetv2: str | None = Field(description="The version of nnunetv2 that preprocessed; null if it is not known.")
    began: str = Field(description="Start of preprocessing in UTC, as ISO 8601.")
    finished: str | None = Field(description="Its successful end; null before, and for a run that failed.")
    plans: str = Field(description="The identifier of the plans.")
    configuration: str = Field(description="The configuration that was preprocessed.")
    data_identifier: str = Field(description="The data folder.")
    input: dict[str, Any] = Field(
        description="The fields of plans and configuration that decide what preprocessing writes: spacing, "
        "normalization, resampling, ... Of the intensity properties only what is used, as 'mean of channel 0'."
    )
    input_sha256: str = Field(description="SHA-256 of their canonical JSON, to compare records at a glance.")
    dataset_json: dict[str, Any] = Field(
        description="The fields of dataset.json that the data depend on: labels, channels, file ending."
    )
    dataset_json_sha256: str = Field(description="SHA-256 of their canonical JSON.")
    cases: int = Field(description="Number of training cases in the raw dataset, and so of the cases there must be.")
    files: Files | None = Field(description="The files that were written; null while the run is unfinished.")
    before: Before | None = Field(description="The folder before; null after the run, and if the folder was empty.")
