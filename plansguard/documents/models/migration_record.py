"""The migration record, which ``plansguard migrate`` and ``derive`` write beside the plans.

Its file is ``<identifier>.plansguard.json``.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import ConfigDict, Field

from plansguard.documents.models.base import RecordModel

Workflow = Literal["finetune", "pretrain", "graft", "derive"]


class Tool(RecordModel):
    """The program that wrote the record."""

    name: Literal["plansguard"] = Field(description="Always plansguard.")
    version: str = Field(description="The version of plansguard.")


class Origin(RecordModel):
    """Where the plans came from."""

    dataset: str | None = Field(
        description="The dataset that the plans come from, as DatasetNNN_Name; null for plans in no dataset's folder."
    )
    plans: str = Field(description="The identifier of the plans there.")
    path: str = Field(description="The file they were read from: plans, a checkpoint, or a zip and the member in it.")
    sha256: str = Field(description="SHA-256 of the plans' bytes there at the time.")


class Destination(RecordModel):
    """Where the plans went."""

    dataset: str | None = Field(
        description="The dataset that the plans went to, as DatasetNNN_Name; null for a folder of no dataset."
    )
    plans: str = Field(description="The identifier of the plans there: the file's stem, and the value of -p.")
    sha256: str = Field(description="SHA-256 of the bytes that were written.")


class Digests(RecordModel):
    """SHA-256 of the canonical JSON of each facet's fields, to compare two migrations at a glance."""

    weights: str = Field(description="Fields that decide whether a checkpoint loads: topology, channels.")
    input: str = Field(description="Fields that decide what preprocessing writes: spacing, normalization, ...")
    training: str = Field(description="Fields that decide how training samples: patch size, batch size, batch dice.")
    bookkeeping: str = Field(description="All other fields.")


class Replaced(RecordModel):
    """The file that had the name before."""

    sha256: str = Field(description="SHA-256 of its bytes.")
    backup: str | None = Field(
        description="The file name of its backup, in the same folder; null if the bytes are those that were migrated."
    )
    lineage: dict[str, Any] | None = Field(description="Its own migration record, if it had one.")


class AcceptedFinding(RecordModel):
    """A finding that did not prevent the migration because it was accepted."""

    code: str = Field(description="The rule's code.")
    name: str = Field(description="The rule's name.")
    because: str = Field(description="The reason for accepting it.")


class Derivation(RecordModel):
    """What plans were derived by: the options of ``plansguard derive``, and the migration behind the plans."""

    set_: dict[str, Any] = Field(
        alias="set", description="The fields that were set by this derivation and those before it, by their path."
    )
    like: str | None = Field(description="The configuration that new configurations inherit from, or null.")
    fit_memory: float | None = Field(description="The GPU memory in GB that nnU-Net's planner was given, or null.")
    network: Literal["follow", "keep"] = Field(
        description="Whether the network was made again for the patch and spacing, or kept."
    )
    brought_by: dict[str, Any] | None = Field(
        description="The record of the migration that brought the plans from another dataset, before they or their "
        "source were derived; null for plans that the dataset itself was planned with."
    )


class MigrationRecord(RecordModel):
    """The origin of migrated plans, the reason of the migration, and what was written.

    When it is valid: records/migration.py.
    """

    # The title in the published schema.
    model_config = ConfigDict(title="Lineage")

    schema_: Literal["plansguard/lineage/1"] = Field(alias="schema", description="The kind and version of this record.")
    tool: Tool = Field(description="The program that wrote the record.")
    created: str = Field(description="Time of the migration in UTC, as ISO 8601.")
    workflow: Workflow = Field(
        description="Why the plans moved. finetune: trained weights exist and their plans go to the fine-tuning "
        "dataset. pretrain: the fine-tuning dataset's plans go to the dataset to be pretrained. graft: architecture "
        "and patch size only. derive: they did not move, and some of their fields were changed."
    )
    from_: Origin = Field(alias="from", description="Where the plans came from.")
    to: Destination = Field(description="Where they went.")
    digests: Digests = Field(description="One digest per facet of the migrated plans.")
    migrated: dict[str, Any] = Field(description="The plans exactly as they were written.")
    replaced: Replaced | None = Field(description="The file that had the name before, or null.")
    placed_dataset_json: str | None = Field(
        description="SHA-256 of the dataset.json that was copied into the folder because it had none, or null."
    )
    accepted: list[AcceptedFinding] | None = Field(
        default=None, description="The findings that were accepted, by --accept or by the settings; absent without any."
    )
    derivation: Derivation | None = Field(
        default=None, description="How plans were derived; absent for other workflows."
    )
