"""A report with one line a finding, ``path:line:column: code message``, for grep and editors."""

from __future__ import annotations

import re

from plansguard.core.report import Report
from plansguard.render import Screen, printable

#: The first and the last line of a report, by which `is_report` recognises it.
BEGINS = re.compile(rb"[^\n]*:\d+:\d+: PG\d+ ")
ENDS = re.compile(rb"(^|\n)[^\n]*:\d+:\d+: PG\d+ [^\n]*\n\Z")


def render(report: Report, screen: Screen) -> str:  # noqa: ARG001 - every format takes the same arguments
    """Render one line for each cause, the most severe first; what has no line is at line 1 of its file or folder.

    Paths are as they were found, relative to the current folder or absolute, because programs open them.
    """
    lines = []
    for cause in report.causes:
        place = cause.finding.location
        where = f"{place.path}:{place.line or 1}:{place.column or 1}"
        lines.append(printable(f"{where}: {cause.finding.code} {cause.finding.message_with_mark}") + "\n")
    return "".join(lines)
