"""What makes the texts of a report hard to read: lengths, numbers with too many digits, names in reasons."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from plansguard.core.report import Finding, Report

#: Characters, where names have their usual lengths.
LONGEST_MESSAGE, LONGEST_MARK, LONGEST_WHY = 160, 70, 120
#: Significant digits of float32, in which image headers store spacings.
MOST_DIGITS = 9
_NUMBER = re.compile(r"(?<![\w.,])-?\d+\.\d+(?:e[+-]?\d+)?(?![\w.])")
_DATASET = re.compile(r"Dataset\d{3,}_")


def hard_to_read(report: Report, workspace: Path) -> list[str]:
    """Return a complaint for each text that takes more than a glance. Paths count from the workspace."""
    return [one for finding in report.findings for one in _of_finding(finding, workspace)] + [
        f"{record.code} is not checked for a reason that names a place: {record.reason}"
        for record in report.not_checked
        if str(workspace) in record.reason or _DATASET.search(record.reason)
    ]


def digits(number: str) -> int:
    """Return the significant digits of a number with a decimal point."""
    return len(number.lstrip("-").partition("e")[0].replace(".", "").lstrip("0").rstrip("0"))


def _of_finding(finding: Finding, workspace: Path) -> Iterator[str]:
    for name, longest in (("message", LONGEST_MESSAGE), ("mark", LONGEST_MARK), ("fix", None)):
        text: str = getattr(finding, name).replace(f"{workspace}/", "")
        if longest is not None and len(text) > longest:
            yield f"{finding.code}: {name} has {len(text)} characters: {text}"
        if "\n" in text:
            yield f"{finding.code}: {name} has several lines: {text}"
        # A value that is to be written has all its digits.
        for number in _NUMBER.findall(text.replace(f"set it back to {finding.values.get('back')}", "")):
            if digits(number) > MOST_DIGITS:
                yield f"{finding.code}: {name} contains {number}: {text}"
    if finding.mark and finding.mark in finding.message:
        yield f"{finding.code}: mark and message say the same: {finding.mark}"
    if finding.why in finding.message:
        yield f"{finding.code}: message says why: {finding.message}"
