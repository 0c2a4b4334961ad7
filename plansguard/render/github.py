"""A report for GitHub Actions: workflow commands that become annotations in the pull request.

GitHub shows ten annotations of each kind in a step, so the most severe come first (the report is sorted), and a last
line in plain text counts all of them. An annotation is shown beside its line if its path is relative to the checkout.
"""

from __future__ import annotations

import re
from pathlib import Path

from plansguard.core.report import Cause, Report
from plansguard.core.text import counted
from plansguard.render import Screen, printable
from plansguard.render.source_root import shown_below, source_root

_KINDS = {"error": "error", "warning": "warning", "info": "notice"}
#: The first and the last line of a report, by which `is_report` recognises it.
BEGINS = re.compile(rb"::(error|warning|notice) file=|plansguard: ")
ENDS = re.compile(rb"(^|\n)plansguard: [^\n]* in \d+ (file|check)s?\n\Z")


def render(report: Report, screen: Screen) -> str:  # noqa: ARG001 - every format takes the same arguments
    """Render one workflow command per cause, then the counts."""
    counts = report.summary()
    summary = ", ".join(counted(counts[key], key) for key in ("error", "warning")) + f", {counts['info']} info"
    if report.lacks_plans:
        summary = f"no plans to check, {summary}"
    root = source_root()
    lines = [_command(cause, root) for cause in report.causes]
    return "\n".join([*lines, f"plansguard: {summary} in {counted(counts['documents'], report.unit)}"]) + "\n"


def _command(cause: Cause, root: Path) -> str:
    finding, place = cause.finding, cause.finding.location
    properties = {"file": shown_below(place.path, root)}
    if place.line is not None:
        properties["line"] = str(place.line)
    if place.column is not None:
        properties["col"] = str(place.column)
    properties["title"] = f"{finding.code} {finding.name}"
    listed = ",".join(f"{key}={_escaped(value, in_property=True)}" for key, value in properties.items())
    also = [f"also {other.code} {other.name}: {other.message}" for other in cause.consequences]
    why = [finding.why] if finding.why else []
    lines = (finding.message_with_mark, *why, *also, f"fix: {finding.fix}", finding.url)
    message = "%0A".join(map(_escaped, lines))
    return f"::{_KINDS[cause.severity]} {listed}::{message}"


def _escaped(text: str, *, in_property: bool = False) -> str:
    """``text`` with per cent signs escaped, and in properties also their separators; line ends are spelled out."""
    text = printable(text).replace("%", "%25")
    return text.replace(":", "%3A").replace(",", "%2C") if in_property else text
