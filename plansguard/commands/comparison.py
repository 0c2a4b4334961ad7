"""Which findings of a report are known: those of a baseline or of an earlier revision, as often as they are in it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable
from dataclasses import replace
from typing import TypeVar

from plansguard.core.report import Cause, Finding, Report

Key = TypeVar("Key", bound=Hashable)


def with_known(report: Report, counts: Counter[Key], key_of: Callable[[Finding], Key]) -> Report:
    """Return the report with the findings known of which ``counts`` has the key, the most severe first.

    Consequences follow their cause. What means that something was not judged is never known.
    """
    left = counts.copy()
    known: set[int] = set()
    for cause in report.causes:
        if cause.finding.incomplete:
            continue
        key = key_of(cause.finding)
        if left[key] > 0:
            left[key] -= 1
            known.update(id(one) for one in (cause.finding, *cause.consequences) if not one.incomplete)
    findings = (replace(finding, known=True) if id(finding) in known else finding for finding in report.findings)
    return replace(report, findings=tuple(findings))


def comparable(report: Report) -> list[Cause]:
    """Return the causes of a report that can be known later."""
    return [cause for cause in report.causes if not cause.finding.incomplete]
