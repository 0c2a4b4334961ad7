"""The outputs of ``--output json`` that are no report of findings."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import ConfigDict, Field

from plansguard.documents.models.base import OutputModel
from plansguard.documents.models.report_document import Level, ReportDocument


class FitEntry(OutputModel):
    """What plans of one dataset need before the weights can be fine-tuned with them."""

    weights: str = Field(description="The weights, as typed.")
    dataset: str = Field(description="The dataset's name.")
    plans: str = Field(description="The identifier of the plans.")
    configuration: str = Field(description="The configuration.")
    outcome: Literal["loads", "preprocess again", "migrate first", "adapt first", "impossible", "cannot be told"] = (
        Field(description="What is needed.")
    )
    reason: str = Field(description="Why.")
    command: str = Field(description="The command to type next.")


class FitDocument(OutputModel):
    """Which datasets weights fit."""

    schema_: Literal["plansguard/fit/1"] = Field(alias="schema", description="The kind and version of this document.")
    results: list[FitEntry] = Field(description="One entry for each dataset and plans.")


class ShowDocument(OutputModel):
    """What a checkpoint, trained models or plans contain.

    Values from the artefact have the type that they have there; what is unknown has no key.
    """

    model_config = ConfigDict(extra="allow", populate_by_name=True)

    schema_: Literal["plansguard/show/1"] = Field(alias="schema", description="The kind and version of this document.")
    path: str = Field(description="The artefact, as typed.")
    kind: Literal["plans", "models", "checkpoint"] = Field(description="What the artefact is.")
    plans: dict[str, Any] | None = Field(default=None, description="The plans; null or absent where there are none.")
    models: list[dict[str, Any]] = Field(default=[], description="The models in a folder or a zip.")


class StepsDocument(OutputModel):
    """A training of a number of optimiser steps."""

    schema_: Literal["plansguard/steps/1"] = Field(alias="schema", description="The kind and version of this document.")
    trainer: str = Field(description="The name of the trainer that makes exactly these steps.")
    base_trainer: str = Field(description="The trainer of nnU-Net that it is based on.")
    total: int = Field(description="Optimiser steps in all.")
    extends: int = Field(description="Steps of the finished training that it extends; 0 for a new one.")
    windows: int = Field(description="Windows of steps, which nnU-Net counts as epochs.")
    per_window: int = Field(description="Steps of a window; the last may be shorter.")
    validation: int | None = Field(description="Validation steps after each window; null: those of the base trainer.")
    first_rate: float = Field(description="Learning rate of the first step.")
    last_rate: float = Field(description="Learning rate of the last step.")
    rate_is_known: bool = Field(description="If false, rates are multiples of those of the base trainer.")
    batch_size: int | None = Field(description="Patches in each step; null without a dataset.")
    cases: int | None = Field(description="Training cases of the fold; null if they are not known.")
    samples: int | None = Field(description="Patches in all; null without a dataset.")
    passes: float | None = Field(description="How often each case is drawn on average; null if it is not known.")
    commands: list[str] = Field(description="The commands to type next.")


class RuleEntry(OutputModel):
    """One rule."""

    code: str = Field(description="The code, such as PG101.")
    name: str = Field(description="The name, such as patch-not-divisible.")
    severity: Level = Field(description="The severity without settings.")
    summary: str = Field(description="What it finds.")
    why: str = Field(description="Why it matters, in one sentence.")
    message: str = Field(description="The message of its findings, with the names of values in braces.")
    fix: str = Field(description="What to do about it, with the names of values in braces.")
    needs: list[str] = Field(description="What it has to be given.")
    modes: list[str] = Field(description="Failure modes of docs/coverage.md that it covers.")
    options: dict[str, float] = Field(description="Thresholds that settings may change, with their defaults.")
    url: str = Field(description="The rule's page.")


class RulesDocument(OutputModel):
    """Every rule."""

    schema_: Literal["plansguard/rules/1"] = Field(alias="schema", description="The kind and version of this document.")
    rules: list[RuleEntry] = Field(description="All rules, by code.")


class ExplainDocument(OutputModel):
    """The page of one rule."""

    schema_: Literal["plansguard/explain/1"] = Field(
        alias="schema", description="The kind and version of this document."
    )
    rule: RuleEntry = Field(description="The rule.")
    page: str = Field(description="Its page in Markdown.")


class EnvDocument(OutputModel):
    """The variable by which nnU-Net finds the trainers."""

    schema_: Literal["plansguard/env/1"] = Field(alias="schema", description="The kind and version of this document.")
    variables: dict[str, str] = Field(description="Variables to set, with their values.")


class StartEntry(OutputModel):
    """One start of a training."""

    started: str = Field(description="When it was started, in UTC.")
    last: str = Field(description="When it was started like this for the last time.")
    times: int = Field(description="How often.")
    command: list[str] = Field(description="The command.")


class AcceptedEntry(OutputModel):
    """A finding that was accepted at a start."""

    finding: str = Field(description="Code and message.")
    because: str = Field(description="The reason that was given.")


class DocumentEntry(OutputModel):
    """A document that a training was started with."""

    document: str = Field(description="What it is.")
    state: str = Field(description="Whether it is the same, changed, missing or outside of what was compared.")
    holds: bool = Field(description="Whether nothing is wrong with it.")
    details: list[str] = Field(description="What differs.")
    started: str = Field(description="The start that it belongs to.")


class ReceiptEntry(OutputModel):
    """One training record."""

    receipt: str = Field(description="The training record.")
    compared_with: str = Field(description="The folders that it was compared with.")
    holds: bool = Field(description="Whether everything is unchanged.")
    starts: list[StartEntry] = Field(description="The starts of the training.")
    accepted: list[AcceptedEntry] = Field(description="The findings that were accepted.")
    documents: list[DocumentEntry] = Field(description="What the training was started with.")


class VerificationDocument(OutputModel):
    """Whether what trainings were started with is unchanged."""

    schema_: Literal["plansguard/verification/1"] = Field(
        alias="schema", description="The kind and version of this document."
    )
    holds: bool = Field(description="Whether everything is unchanged.")
    receipts: list[ReceiptEntry] = Field(description="The training records.")


class ReaderEntry(OutputModel):
    """Another configuration that reads a folder of data."""

    plans: str = Field(description="The identifier of its plans.")
    configuration: str = Field(description="The configuration.")
    differs_in: list[str] = Field(description="Fields in which it would be preprocessed differently; empty if none.")


class TargetEntry(OutputModel):
    """A folder that nnU-Net deletes and fills."""

    configuration: str = Field(description="The configuration.")
    folder: str = Field(description="The folder.")
    deleted_cases: int = Field(description="Complete cases that were in it before.")
    deleted_bytes: int = Field(description="Bytes that were in it before.")
    readers: list[ReaderEntry] = Field(description="Other configurations that read it.")
    command: list[str] = Field(description="nnU-Net's command.")
    done: bool | None = Field(description="Whether nnU-Net filled it; null if it was not started.")
    missing: list[str] = Field(description="Cases that nnU-Net did not write.")
    failures: dict[str, str] = Field(description="Cases that failed on a Dask cluster, each with its error.")


class PreprocessingDocument(OutputModel):
    """A preprocessing: what it deletes and fills, what the rules found, and how it ended."""

    schema_: Literal["plansguard/preprocessing/1"] = Field(
        alias="schema", description="The kind and version of this document."
    )
    dataset: str = Field(description="The dataset's name.")
    plans: str = Field(description="The identifier of the plans.")
    cases: int = Field(description="Cases of the raw data.")
    dask: str | None = Field(
        description="The Dask cluster whose workers preprocess in place of the command; null without --dask."
    )
    targets: list[TargetEntry] = Field(description="The folders, in the order in which they are filled.")
    report: ReportDocument = Field(description="The findings.")
