"""The report of a command as JSON: ``--output json``."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from plansguard.documents.models.base import OutputModel

Level = Literal["error", "warning", "info"]


class ToolEntry(OutputModel):
    """The program that wrote the report."""

    name: Literal["plansguard"] = Field(description="Always plansguard.")
    version: str = Field(description="The version of plansguard.")


class Summary(OutputModel):
    """Counts."""

    error: int = Field(description="Findings of severity error that are neither ignored nor consequences of others.")
    warning: int = Field(
        description="Findings of severity warning that are neither ignored nor consequences of others."
    )
    info: int = Field(description="Findings of severity info that are neither ignored nor consequences of others.")
    ignored: int = Field(description="Findings that an entry of the settings ignores.")
    baseline: int = Field(
        description="Findings in the baseline, or there at the git revision, that are not consequences of others."
    )
    not_checked: int = Field(description="Rules that could not run at a place.")
    documents: int = Field(description="Files that were checked; of doctor, checks that were made.")
    datasets: int = Field(description="Datasets that the files belong to.")


class RelatedEntry(OutputModel):
    """Another place that a finding refers to."""

    path: str = Field(description="The file.")
    pointer: str = Field(description="The JSON pointer (RFC 6901) in it; empty for the whole file.")
    line: int | None = Field(description="The line, from 1, or null.")
    what: str = Field(description="What is there.")


class CorrectionEntry(OutputModel):
    """One edit of the corrections of a finding."""

    path: str = Field(description="The file.")
    pointer: str = Field(description="The JSON pointer (RFC 6901) of the value in it; its last key may be new.")
    value: Any = Field(description="The value that belongs there.")


class FindingEntry(OutputModel):
    """The verdict of one rule at one place."""

    code: str = Field(description="The rule's code, such as PG101. Codes are never reused.")
    name: str = Field(description="The rule's name, such as patch-not-divisible.")
    severity: Level = Field(
        description="error, warning or info, after the settings; of a cause, that of its worst consequence."
    )
    message: str = Field(description="What is wrong, with the values on both sides.")
    why: str = Field(description="Why it matters, in one sentence.")
    mark: str = Field(description="What the value should be, or was; empty where the message says it.")
    fix: str = Field(description="What to do about it.")
    path: str = Field(description="The file or folder.")
    pointer: str = Field(description="The JSON pointer (RFC 6901) in the file; empty for the whole file.")
    line: int | None = Field(description="The line, from 1, or null.")
    column: int | None = Field(description="The column in characters, from 1, or null.")
    configuration: str | None = Field(description="The configuration that was checked, or null.")
    values: dict[str, Any] = Field(description="The values in the message, by name.")
    related: list[RelatedEntry] = Field(description="Other places that the finding refers to.")
    url: str = Field(description="The rule's page.")
    fingerprint: str = Field(description="The same while the same values are wrong at the same place.")
    ignored: str | None = Field(description="The reason in the settings for ignoring it, or null.")
    known: bool = Field(description="Whether it is in the baseline, or was there at the git revision.")
    corrections: list[CorrectionEntry] = Field(
        description="Edits that together certainly correct it, as check --fix writes them; empty where there are none."
    )
    consequence_of: str | None = Field(
        description="The fingerprint of the finding that reports the same change and is printed in its place, or null."
    )


class NotCheckedEntry(OutputModel):
    """A rule that could not run at a place."""

    code: str = Field(description="The rule's code.")
    name: str = Field(description="The rule's name.")
    path: str = Field(description="The file or folder where it could not run.")
    reason: str = Field(description="Why.")


class AbsentEntry(OutputModel):
    """A finding of the baseline, or of the git revision, that no longer occurs."""

    fingerprint: str = Field(description="Its fingerprint.")
    count: int = Field(description="How many of them no longer occur.")
    code: str = Field(description="The rule's code.")
    name: str = Field(description="The rule's name.")
    path: str = Field(description="The file, as the baseline names it, or where it was.")
    pointer: str = Field(description="The JSON pointer (RFC 6901) in it; empty for the whole file.")
    configuration: str | None = Field(description="The configuration, or null.")
    message: str = Field(description="What was wrong.")


class ComparedEntry(OutputModel):
    """What the findings are compared with."""

    kind: Literal["baseline", "revision"] = Field(description="A file of known findings, or a git revision.")
    source: str = Field(description="The file, or the revision as it was typed.")
    absent: list[AbsentEntry] = Field(description="Its findings that no longer occur.")


class ReportDocument(OutputModel):
    """The result of one command of plansguard."""

    schema_: Literal["plansguard/report/1"] = Field(alias="schema", description="The kind and version of the report.")
    tool: ToolEntry = Field(description="The program that wrote the report.")
    command: str = Field(description="The command, such as check or migrate.")
    inputs: list[str] = Field(description="The command's arguments: paths, dataset ids or names.")
    summary: Summary = Field(description="Counts.")
    findings: list[FindingEntry] = Field(description="All findings, the most severe first.")
    compared: ComparedEntry | None = Field(description="What the findings are compared with, or null.")
    not_checked: list[NotCheckedEntry] = Field(description="What could not be checked, and why.")
