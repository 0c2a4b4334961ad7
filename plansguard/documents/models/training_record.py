"""The training record, ``plansguard_receipt.json`` in the results folder of a training."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import ConfigDict, Field

from plansguard.documents.models.base import RecordModel
from plansguard.documents.models.migration_record import Digests, Tool
from plansguard.documents.models.report_document import Level


class Versions(RecordModel):
    """Installed versions at the start of the training, as the packages declare them; null if not installed."""

    python: str = Field(description="The version of Python.")
    nnunetv2: str | None = Field(description="The version of nnunetv2.")
    torch: str | None = Field(description="The version of torch.")


class Training(RecordModel):
    """The options of nnUNetv2_train."""

    dataset: str = Field(description="The dataset, as DatasetNNN_Name.")
    plans: str = Field(description="The identifier of the plans: the value of -p.")
    configuration: str = Field(description="The configuration.")
    fold: str = Field(description="The fold: a number, or all.")
    trainer: str = Field(description="The trainer: the value of -tr.")
    continues: bool = Field(description="Whether it continues an earlier start (--c).")
    disables_checkpointing: bool = Field(description="Whether it writes no checkpoints (--disable_checkpointing).")
    device: str = Field(description="cuda, cpu or mps.")
    gpus: int = Field(description="Number of GPUs (-num_gpus).")


class Schedule(RecordModel):
    """The schedule of a trainer that counts steps."""

    base: str = Field(description="The trainer of nnU-Net that it is based on.")
    total: int = Field(description="Optimiser steps.")
    per_window: int = Field(description="Steps in a window, which nnU-Net counts as an epoch.")
    validation: int | None = Field(description="Validation steps after each window; null: as in the base trainer.")
    rate: float | None = Field(description="The highest learning rate; null: as in the base trainer.")
    by_window: bool = Field(description="Whether the rate falls with each window, otherwise with each step.")
    warmup: int = Field(description="Steps in which the rate rises from 0.")
    extends: int = Field(description="Steps of the finished training that it extends; 0: it extends none.")
    keep_head: bool = Field(
        default=False, description="Whether it begins with the segmentation layers of pretrained weights."
    )


class PlansThen(RecordModel):
    """The plans of the training."""

    sha256: str = Field(description="SHA-256 of the file.")
    facets: Digests = Field(description="One digest per facet of what the training uses.")
    used: dict[str, Any] = Field(description="The plans with this one configuration, after inherits_from.")


class DatasetJsonThen(RecordModel):
    """The dataset.json in nnUNet_preprocessed."""

    sha256: str = Field(description="SHA-256 of the file.")
    fields: dict[str, Any] = Field(description="The fields that training and prediction read.")


class FingerprintThen(RecordModel):
    """The dataset_fingerprint.json, which nnU-Net copies into the model folder."""

    sha256: str = Field(description="SHA-256 of the file.")
    fields: dict[str, str] = Field(description="SHA-256 of the canonical JSON of each of its fields.")


class SplitThen(RecordModel):
    """The cases of the fold."""

    training: int = Field(description="Number of training cases.")
    validation: int = Field(description="Number of validation cases.")
    sha256: str = Field(description="SHA-256 over their names.")


class SplitsThen(RecordModel):
    """The splits_final.json."""

    sha256: str = Field(description="SHA-256 of the file.")
    fold: SplitThen | None = Field(description="This fold; null if nnU-Net splits by itself (all, or a fold beyond).")


class WeightsThen(RecordModel):
    """The pretrained weights."""

    path: str = Field(description="The file, as typed.")
    bytes: int = Field(description="Its size.")
    of: Literal["directory", "file", "beginning"] = Field(
        description="Content of the digest. directory: names, sizes and CRC-32 of all members of a zip archive, as "
        "torch writes since 1.6. file: all of another file. beginning: the first 64 MiB of a larger one."
    )
    sha256: str = Field(description="The digest.")


class DataThen(RecordModel):
    """The preprocessed cases, without voxels: the bytes of the arrays are not reproducible."""

    folder: str = Field(description="The data folder: the data_identifier.")
    cases: int = Field(description="Number of cases.")
    headers: str = Field(
        description="SHA-256 over all cases, by name: shapes of image and segmentation; spacing, shape after cropping "
        "and labels with locations in the .pkl."
    )
    files: str = Field(description="SHA-256 over the lines '<file name> <size in bytes>', sorted by name.")


class ReportCounts(RecordModel):
    """Numbers of findings of the gate."""

    error: int = Field(description="Errors that were not accepted.")
    warning: int = Field(description="Warnings that were not accepted.")
    info: int = Field(description="Findings for information.")
    accepted: int = Field(description="Findings that were accepted, by --accept or by the settings.")
    not_checked: int = Field(description="Rules that could not run at a place.")


class FindingThen(RecordModel):
    """A finding of the gate."""

    code: str = Field(description="The rule's code.")
    name: str = Field(description="The rule's name.")
    severity: Level = Field(description="error, warning or info.")
    message: str = Field(description="The message.")
    accepted: str | None = Field(description="The reason for accepting it, or null.")


class Start(RecordModel):
    """One start of the training, with all its inputs."""

    started: str = Field(description="Time of the first such start in UTC, as ISO 8601.")
    last: str = Field(description="Time of the last start with the same inputs.")
    times: int = Field(description="Number of starts with these inputs.")
    tool: Tool = Field(description="The program that wrote the record.")
    versions: Versions = Field(description="Installed versions.")
    command: list[str] = Field(description="The command as typed, one word per entry.")
    training: Training = Field(description="The options.")
    schedule: Schedule | None = Field(description="The schedule; null for trainers that count epochs.")
    plans: PlansThen = Field(description="The plans.")
    dataset_json: DatasetJsonThen | None = Field(description="The dataset.json; null if there was none.")
    fingerprint: FingerprintThen | None = Field(description="The fingerprint; null if there was none.")
    splits: SplitsThen | None = Field(description="The splits; null before nnU-Net's first training writes them.")
    weights: WeightsThen | None = Field(description="The weights of -pretrained_weights; null if there were none.")
    data: DataThen | None = Field(description="The preprocessed cases; null if they were not read (--data none).")
    report: ReportCounts = Field(description="Numbers of findings of the gate.")
    findings: list[FindingThen] = Field(description="The findings of the gate.")


class TrainingRecord(RecordModel):
    """The inputs of each start of a training. When it is valid: records/training.py."""

    # The title in the published schema.
    model_config = ConfigDict(title="Receipt")

    schema_: Literal["plansguard/receipt/1"] = Field(alias="schema", description="The kind and version of this record.")
    starts: list[Start] = Field(description="The starts in this folder that differ from the one before, oldest first.")
    left_out: int = Field(description="Number of older starts that are no longer listed.")
    cases: dict[str, str] = Field(
        description="A digest of each case's headers, by name, when the data were last read: to list changed cases."
    )
