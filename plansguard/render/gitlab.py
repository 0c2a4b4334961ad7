"""A report for GitLab's code quality: https://docs.gitlab.com/ci/testing/code_quality/."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import Any

from plansguard.core.digest import sha256
from plansguard.core.report import Cause, Report
from plansguard.render import Screen, plain_json, printable
from plansguard.render.source_root import below, shown_below, source_root

_SEVERITIES = {"error": "critical", "warning": "major", "info": "info"}
#: A finding that means that something was not judged.
_INCOMPLETE = "blocker"
#: The first and the last line of a report, by which `is_report` recognises it.
BEGINS = re.compile(rb'\[\]\n\Z|\[\n  \{\n    "check_name": "PG\d+ ')
ENDS = re.compile(rb"\]\n\Z")


def render(report: Report, screen: Screen) -> str:  # noqa: ARG001 - every format takes the same arguments
    """Render one issue per cause. GitLab takes issues with the same fingerprint for one, so each has its own."""
    root, seen = source_root(), Counter[str]()
    issues = []
    for cause in report.causes:
        issue = _issue(cause, root)
        seen[issue["fingerprint"]] += 1
        repeated = seen[issue["fingerprint"]]
        if repeated > 1:
            issue["fingerprint"] = sha256(f"{issue['fingerprint']} {repeated}".encode())[:32]
        issues.append(issue)
    return plain_json(issues)


def _issue(cause: Cause, root: Path) -> dict[str, Any]:
    finding, path = cause.finding, cause.finding.location.path
    return {
        "check_name": f"{finding.code} {finding.name}",
        "description": printable(finding.message_with_mark),
        "severity": _INCOMPLETE if finding.incomplete else _SEVERITIES[cause.severity],
        "fingerprint": sha256(f"{printable(below(path, root) or '')} {finding.fingerprint}".encode())[:32],
        "location": {
            "path": printable(shown_below(path, root)),
            "lines": {"begin": finding.location.line or 1},
        },
    }
