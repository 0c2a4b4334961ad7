"""Settings of a repository or a workspace: ``plansguard.json``, or ``[tool.plansguard]`` in pyproject.toml."""

from __future__ import annotations

import datetime
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field


class Ignore(BaseModel):
    """Accepted findings: they are still counted, and shown as ignored with the reason."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    rule: str = Field(description="The rule's code or name, such as PG307 or spacing-far-from-data.")
    reason: str = Field(min_length=1, description="Why the finding is acceptable here; shown in every report.")
    path: str = Field(
        default="*",
        description="Glob on the file's path below the settings file, with '/' everywhere. '*/' at its start means "
        "any folder or none.",
    )
    pointer: str = Field(default="*", description="Glob on the JSON pointer of the place.")
    until: datetime.date | None = Field(default=None, description="Last day (YYYY-MM-DD) on which this applies.")


class Settings(BaseModel):
    """The settings of a project."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    schema_: str | None = Field(default=None, alias="$schema", description="The JSON Schema of this file, for editors.")
    fail_on: Literal["error", "warning", "info"] = Field(
        default="error", description="The lowest severity that makes the exit code 1."
    )
    severity: dict[str, Literal["error", "warning", "info"]] = Field(
        default_factory=dict, description="Other severities, by the rule's code or name."
    )
    select: list[str] = Field(
        default_factory=list,
        description="The only rules that run: codes, names, or beginnings of codes such as PG3. Default: all. Rules "
        "that report that something was not judged always run.",
    )
    options: dict[str, dict[str, Annotated[float, Field(gt=0, allow_inf_nan=False)]]] = Field(
        default_factory=dict, description="Thresholds of rules, by the rule's code or name; its page lists them."
    )
    ignore: list[Ignore] = Field(default_factory=list, description="Findings that are accepted, each with a reason.")
    baseline: str | None = Field(
        default=None,
        min_length=1,
        description="The baseline of check, relative to this file, such as plansguard-baseline.json.",
    )
