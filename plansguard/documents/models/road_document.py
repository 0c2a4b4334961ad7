"""The output of ``plansguard finetune --output json``."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from plansguard.documents.models.base import OutputModel
from plansguard.documents.models.report_document import ReportDocument


class RoadStepEntry(OutputModel):
    """One step of the road."""

    name: str = Field(description="The kind of the step, as --until names it.")
    fold: str | None = Field(description="The fold of a training; null for other steps.")
    state: Literal["done", "needed", "stale", "blocked"] = Field(description="Whether the step is still to be run.")
    because: str = Field(description="The reason for the state.")
    hint: str = Field(description="What to type next where the findings do not say it; may be empty.")
    judged_after: str | None = Field(description="The step after which this one can be judged; null where it is.")
    command: str = Field(description="The command that the step runs.")
    reads: list[str] = Field(description="What the step reads.")
    writes: list[str] = Field(description="What the step writes.")
    disk_bytes: int | None = Field(description="At most what it writes; null where that is not known.")
    gpu_memory_gb: float | None = Field(description="The estimated memory of one GPU in GB; null where not known.")


class RoadDocument(OutputModel):
    """The steps from raw images to fine-tuned folds, in order, and their state."""

    schema_: Literal["plansguard/road/1"] = Field(alias="schema", description="The kind and version of this document.")
    source: str = Field(description="Where the plans or the weights come from, as typed.")
    target: str = Field(description="The dataset that is fine-tuned.")
    plans: str = Field(description="The plans that the target is fine-tuned with.")
    configuration: str = Field(description="The configuration.")
    workflow: Literal["finetune", "pretrain", "graft"] = Field(description="Why plans are moved.")
    steps: list[RoadStepEntry] = Field(description="The steps in order.")
    report: ReportDocument = Field(description="The findings of all steps.")
