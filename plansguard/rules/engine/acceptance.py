"""Findings that are accepted on the command line: ``--accept CODE --because REASON``."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import NamedTuple

from plansguard.core.errors import UsageError
from plansguard.core.report import NOT_JUDGED, Finding, Report, RuleInfo
from plansguard.core.text import nearest
from plansguard.nnunet import printed_commands


class Accepted(NamedTuple):
    """An accepted finding: the code or name of its rule, and the reason, which records and reports keep.

    ``expected`` is False where the finding may be absent without a message.
    """

    code: str
    because: str
    expected: bool = True


def assert_acceptable(accepted: Iterable[Accepted], rules: Sequence[RuleInfo]) -> None:
    """Raise UsageError unless each entry names a rule, has a reason, and is about something that was judged."""
    named = {name: info for info in rules for name in (info.code, info.name)}
    for entry in accepted:
        info = named.get(entry.code)
        if info is None:
            near = nearest(entry.code, named)
            hint = f"did you mean {near}?" if near else "plansguard rules lists them"
            raise UsageError(f"there is no rule {entry.code} to accept", hint=hint)
        if info.incomplete:
            raise UsageError(
                f"{entry.code} cannot be accepted: {NOT_JUDGED}",
                hint=f"{printed_commands.explain(info.code)} says what to do",
            )
        if not entry.because.strip():
            raise UsageError(f"why is {entry.code} accepted?", hint='add --because "..."; the record keeps the reason')


def accept(report: Report, accepted: Sequence[Accepted]) -> Report:
    """Return the report with the accepted findings ignored for their reasons."""
    return replace(report, findings=tuple(_accepted(finding, accepted) for finding in report.findings))


def not_found(report: Report, accepted: Sequence[Accepted]) -> list[Accepted]:
    """Return what was accepted and is not among the findings, such as a leftover of an earlier command."""
    codes = {code for finding in report.findings for code in (finding.code, finding.name)}
    return [entry for entry in accepted if entry.expected and entry.code not in codes]


def _accepted(finding: Finding, accepted: Sequence[Accepted]) -> Finding:
    if finding.ignored is not None or finding.incomplete:
        return finding
    reasons = (entry.because for entry in accepted if entry.code in (finding.code, finding.name))
    return replace(finding, ignored=next(reasons, None))
