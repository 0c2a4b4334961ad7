"""The result of a command: value types that rules produce and renderers read."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any

from plansguard.core.digest import sha256

CRASHED = "PG000"
UNREADABLE = "PG001"
STOPPED = "PG529"
#: Codes of findings that make the verdict incomplete: the exit code is 2, whatever else was found.
INCOMPLETE = frozenset({CRASHED, UNREADABLE, STOPPED})


class Severity(str, Enum):
    """How bad a finding is.

    error: nnU-Net will fail, or will run something other than the files declare, without a message. warning: the files
    do not contain enough to decide, or it is legal and nearly always a mistake. info: worth knowing.
    """

    ERROR = "error"
    WARNING = "warning"
    INFO = "info"

    @property
    def rank(self) -> int:
        """0 for info, 1 for warning, 2 for error."""
        return ("info", "warning", "error").index(self.value)

    def __str__(self) -> str:
        return self.value


@dataclass(frozen=True)
class Location:
    """A place in a file: ``pointer`` is a JSON pointer, ``line`` and ``column`` are 1-based and filled in late."""

    path: str
    pointer: str = ""
    line: int | None = None
    column: int | None = None


@dataclass(frozen=True)
class Related:
    """Another place that a finding refers to, and what is there."""

    location: Location
    what: str


@dataclass(frozen=True)
class RuleInfo:
    """The declaration of a rule."""

    code: str
    name: str
    severity: Severity
    message: str
    fix: str
    docstring: str

    @property
    def doc(self) -> str:
        """The rule's page: its docstring without indentation."""
        from inspect import cleandoc

        return cleandoc(self.docstring)

    @property
    def modes(self) -> tuple[str, ...]:
        """The failure modes of docs/coverage.md that the rule covers: ``Evidence`` begins with them."""
        evidence = self.docstring.partition("Evidence:")[2].partition(";")[0]
        return tuple(re.findall(r"\b[A-Z][A-Z0-9]{1,2}-\d\d\b", evidence))

    @property
    def summary(self) -> str:
        """The first line of the rule's page."""
        return self.doc.partition("\n")[0]

    @property
    def url(self) -> str:
        """The address of the rule's page."""
        return f"https://github.com/plansguard/plansguard/blob/main/docs/rules/{self.code}-{self.name}.md"


@dataclass(frozen=True)
class Finding:
    """The verdict of one rule at one place. ``ignored`` is the reason given in the settings, or None."""

    code: str
    name: str
    severity: Severity
    message: str
    fix: str
    location: Location
    configuration: str | None = None
    values: dict[str, Any] = field(default_factory=dict)
    related: tuple[Related, ...] = ()
    url: str = ""
    ignored: str | None = None

    @property
    def fingerprint(self) -> str:
        """Sixteen hexadecimal digits that stay the same while the same values are wrong at the same place.

        Lines, wording and the folders above the dataset are left out, so moving a checkout changes nothing.
        """
        import json

        place = "/".join(Path(self.location.path).absolute().parts[-2:])
        parts = [self.code, place, self.location.pointer, self.configuration, self.values]
        return sha256(json.dumps(parts, sort_keys=True, default=str).encode())[:16]


@dataclass(frozen=True)
class NotChecked:
    """A rule that could not run at a place, and why. No rule is skipped without one."""

    code: str
    name: str
    path: str
    reason: str


@dataclass(frozen=True)
class Report:
    """The result of one command.

    ``documents`` is the number of files that were checked; ``lacks_plans`` whether a check found none that are plans.
    """

    command: str
    inputs: tuple[str, ...]
    documents: int
    findings: tuple[Finding, ...] = ()
    not_checked: tuple[NotChecked, ...] = ()
    lacks_plans: bool = False

    @property
    def active(self) -> tuple[Finding, ...]:
        """The findings that no setting ignores."""
        return tuple(finding for finding in self.findings if finding.ignored is None)

    def summary(self) -> dict[str, int]:
        """Numbers of findings by severity, of ignored findings, of rules not checked, and of documents."""
        severities = [finding.severity for finding in self.active]
        return {
            **{str(severity): severities.count(severity) for severity in Severity},
            "ignored": len(self.findings) - len(severities),
            "baseline": 0,
            "not_checked": len(self.not_checked),
            "documents": self.documents,
        }

    def fails(self, fail_on: Severity) -> bool:
        """Whether an active finding is at or above ``fail_on``."""
        return any(finding.severity.rank >= fail_on.rank for finding in self.active)

    def exit_code(self, fail_on: Severity = Severity.ERROR) -> int:
        """0: clean; 1: findings at or above ``fail_on``; 2: the verdict is incomplete; 3: no documents, or no plans."""
        if any(finding.code in INCOMPLETE for finding in self.active):
            return 2
        if not self.documents:
            return 3
        if self.fails(fail_on):
            return 1
        return 3 if self.lacks_plans else 0
