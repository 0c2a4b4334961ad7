"""What a check says: the value types that travel from the rules to the renderers."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any

CRASHED = "PG000"
UNREADABLE = "PG001"
STOPPED = "PG529"
#: Findings that say "the verdict is incomplete": with one of them the exit code is 2, whatever else was found.
INCOMPLETE = frozenset({CRASHED, UNREADABLE, STOPPED})


class Severity(str, Enum):
    """How bad a finding is.

    error: nnU-Net will fail, or will silently run something other than the files claim. warning: the files do not
    hold enough to decide, or it is legal and nearly always a mistake. info: worth knowing.
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
    """A second place that a finding speaks of, and what stands there."""

    location: Location
    what: str


@dataclass(frozen=True)
class RuleInfo:
    """The declaration of a rule: all that can be said about it without running it."""

    code: str
    name: str
    severity: Severity
    message: str
    fix: str
    modes: tuple[str, ...]
    docstring: str

    @property
    def doc(self) -> str:
        """The rule's page as it is written, without the indentation."""
        from inspect import cleandoc

        return cleandoc(self.docstring)

    @property
    def summary(self) -> str:
        """The first line of the rule's page."""
        return self.doc.partition("\n")[0]

    @property
    def url(self) -> str:
        """Where the rule's page is, in the project's own documentation."""
        return f"https://github.com/plansguard/plansguard/blob/main/docs/rules/{self.code}-{self.name}.md"


@dataclass(frozen=True)
class Finding:
    """One rule's verdict at one place. ``ignored`` holds the reason given in the settings, or None."""

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

        Lines, wording and the folders above the dataset do not enter, so moving a checkout changes nothing.
        """
        import hashlib
        import json

        place = "/".join(Path(self.location.path).absolute().parts[-2:])
        parts = [self.code, place, self.location.pointer, self.configuration, self.values]
        text = json.dumps(parts, sort_keys=True, default=str)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


@dataclass(frozen=True)
class NotChecked:
    """A rule that could not run at a place, and why. Nothing is ever skipped without one."""

    code: str
    name: str
    path: str
    reason: str


@dataclass(frozen=True)
class Report:
    """All that one command found out. ``documents`` counts the files that were judged."""

    command: str
    inputs: tuple[str, ...]
    documents: int
    findings: tuple[Finding, ...] = ()
    not_checked: tuple[NotChecked, ...] = ()

    @property
    def active(self) -> tuple[Finding, ...]:
        """The findings that no setting ignores."""
        return tuple(finding for finding in self.findings if finding.ignored is None)

    def summary(self) -> dict[str, int]:
        """Counts by severity, and of what was ignored or not checked."""
        counts = {str(severity): 0 for severity in Severity}
        for finding in self.active:
            counts[str(finding.severity)] += 1
        return {
            **counts,
            "ignored": len(self.findings) - len(self.active),
            "baseline": 0,
            "not_checked": len(self.not_checked),
            "documents": self.documents,
        }

    def fails(self, fail_on: Severity) -> bool:
        """Whether a finding at or above ``fail_on`` stands."""
        return any(finding.severity.rank >= fail_on.rank for finding in self.active)

    def exit_code(self, fail_on: Severity = Severity.ERROR) -> int:
        """0 clean, 1 findings at or above ``fail_on``, 2 the verdict is incomplete, 3 nothing was there to check."""
        if any(finding.code in INCOMPLETE for finding in self.active):
            return 2
        if not self.documents:
            return 3
        return 1 if self.fails(fail_on) else 0
