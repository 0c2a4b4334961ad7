"""The receipt that a training leaves in its folder of results, as ``plansguard_receipt.json``."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import ConfigDict, Field

from plansguard.documents.models.base import RecordModel
from plansguard.documents.models.migration_record import Digests, Tool
from plansguard.documents.models.report_document import Level


class Versions(RecordModel):
    """What was installed where the training was started, as the packages call it; null for what was not."""

    python: str = Field(description="The version of Python.")
    nnunetv2: str | None = Field(description="The version of nnunetv2.")
    torch: str | None = Field(description="The version of torch.")


class Training(RecordModel):
    """What was asked for, in the words of nnUNetv2_train."""

    dataset: str = Field(description="The dataset, as DatasetNNN_Name.")
    plans: str = Field(description="The identifier of the plans: what -p takes.")
    configuration: str = Field(description="The configuration.")
    fold: str = Field(description="The fold: a number, or all.")
    trainer: str = Field(description="The trainer: what -tr takes.")
    continues: bool = Field(description="Whether it continues an earlier start (--c).")
    disables_checkpointing: bool = Field(description="Whether it writes no checkpoints (--disable_checkpointing).")
    device: str = Field(description="cuda, cpu or mps.")
    gpus: int = Field(description="How many GPUs train together (-num_gpus).")


class Schedule(RecordModel):
    """How long and how fast, where the trainer counts steps."""

    base: str = Field(description="The trainer of nnU-Net that makes the steps.")
    total: int = Field(description="Optimiser steps.")
    per_window: int = Field(description="Steps in a window, which nnU-Net counts as an epoch.")
    validation: int | None = Field(description="Validation steps after each window; null: the base trainer's own.")
    rate: float | None = Field(description="The highest learning rate; null: the base trainer's own.")
    by_window: bool = Field(description="Whether the rate falls with each window, else with each step.")
    warmup: int = Field(description="Steps in which the rate rises from 0.")
    extends: int = Field(description="Steps of the finished training that it goes on from; 0: it begins by itself.")


class PlansThen(RecordModel):
    """The plans of the training."""

    sha256: str = Field(description="SHA-256 of the file.")
    facets: Digests = Field(description="One digest per facet of what the training uses.")
    used: dict[str, Any] = Field(
        description="What the training uses: the plans with this one configuration, after inherits_from."
    )


class DatasetJsonThen(RecordModel):
    """The dataset.json in nnUNet_preprocessed."""

    sha256: str = Field(description="SHA-256 of the file.")
    fields: dict[str, Any] = Field(description="The fields that nnU-Net trains and predicts with.")


class FingerprintThen(RecordModel):
    """The dataset_fingerprint.json, of which nnU-Net puts a copy beside the weights."""

    sha256: str = Field(description="SHA-256 of the file.")
    fields: dict[str, str] = Field(description="SHA-256 of the canonical JSON of each of its fields.")


class SplitThen(RecordModel):
    """The cases of the fold."""

    training: int = Field(description="How many cases it trains on.")
    validation: int = Field(description="How many cases it validates on.")
    sha256: str = Field(description="SHA-256 over their names.")


class SplitsThen(RecordModel):
    """The splits_final.json."""

    sha256: str = Field(description="SHA-256 of the file.")
    fold: SplitThen | None = Field(description="This fold; null where nnU-Net divides by itself: all, or beyond.")


class WeightsThen(RecordModel):
    """The weights that the training began with."""

    path: str = Field(description="The file, as it was named.")
    bytes: int = Field(description="Its size.")
    of: Literal["directory", "file", "beginning"] = Field(
        description="What the digest is of. directory: names, sizes and CRC-32 of all that a zip archive holds, as "
        "torch writes since 1.6. file: all of another file. beginning: the first 64 MiB of a larger one."
    )
    sha256: str = Field(description="The digest.")


class DataThen(RecordModel):
    """The preprocessed cases. No voxel enters: the arrays' bytes are not the same twice."""

    folder: str = Field(description="The data folder: the data_identifier.")
    cases: int = Field(description="How many cases there are.")
    headers: str = Field(
        description="SHA-256 over all cases, by name: shapes of image and segmentation, and of the .pkl the spacing, "
        "the shape after cropping, and which labels have locations."
    )
    files: str = Field(description="SHA-256 over the lines '<file name> <size in bytes>', sorted by name.")


class ReportCounts(RecordModel):
    """What the gate found, counted."""

    error: int = Field(description="Errors that were not accepted.")
    warning: int = Field(description="Warnings that were not accepted.")
    info: int = Field(description="Findings for information.")
    accepted: int = Field(description="Findings that were accepted, by --accept or by the settings.")
    not_checked: int = Field(description="Rules that could not run at a place.")


class FindingThen(RecordModel):
    """What the gate found at one place."""

    code: str = Field(description="The rule's code.")
    name: str = Field(description="The rule's name.")
    severity: Level = Field(description="error, warning or info.")
    message: str = Field(description="What was found.")
    accepted: str | None = Field(description="The reason why it was accepted, or null.")


class Start(RecordModel):
    """One start of the training, with everything that it was started with."""

    started: str = Field(description="When, in UTC, as ISO 8601.")
    last: str = Field(description="When it was started for the last time with all the rest the same.")
    times: int = Field(description="How many times that was.")
    tool: Tool = Field(description="The program that wrote this.")
    versions: Versions = Field(description="What was installed.")
    command: list[str] = Field(description="The command, word by word, as it was typed.")
    training: Training = Field(description="What was asked for.")
    schedule: Schedule | None = Field(description="Its steps; null for trainers that count epochs.")
    plans: PlansThen = Field(description="The plans.")
    dataset_json: DatasetJsonThen | None = Field(description="The dataset.json; null where there was none.")
    fingerprint: FingerprintThen | None = Field(description="The fingerprint; null where there was none.")
    splits: SplitsThen | None = Field(
        description="The splits; null where there were none: nnU-Net writes them when the first training begins."
    )
    weights: WeightsThen | None = Field(description="The weights of -pretrained_weights; null where none were named.")
    data: DataThen | None = Field(description="The preprocessed cases; null where they were not read (--data none).")
    report: ReportCounts = Field(description="What the gate found, counted.")
    findings: list[FindingThen] = Field(description="What the gate found.")


class TrainingRecord(RecordModel):
    """What a training was started with, each time. When it holds: plansguard/records/training.py."""

    # The title in the published schema.
    model_config = ConfigDict(title="Receipt")

    schema_: Literal["plansguard/receipt/1"] = Field(alias="schema", description="The kind and version of this record.")
    starts: list[Start] = Field(description="Every start in this folder unlike the one before, oldest first.")
    left_out: int = Field(description="How many older starts are no longer listed.")
    cases: dict[str, str] = Field(
        description="A digest of each case's headers, by name, when the data were read for the last time: to tell "
        "which have changed since."
    )
