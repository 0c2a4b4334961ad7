"""A report as text: one block per fault, repeats gathered, then the checks that were not possible."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from itertools import groupby, zip_longest

from plansguard.core.report import Finding, Location, NotChecked, Report
from plansguard.core.text import counted, listed
from plansguard.render import printable

_COLORS = {"error": "31;1", "warning": "33;1", "info": "36;1", "path": "1", "faint": "2"}
#: How many places of the same fault are listed before the rest is only counted.
_PLACES = 5
_NOTHING = "nothing to check: "
_NO_PLANS = "there are no plans to check: "
_RESULT = rf"({_NO_PLANS})?(no findings|\d+ (errors?|warnings?|for information))[^\n]* in \d+ (document|check)s?[^\n]*"
#: The first and the last line of a report, by which `is_report` recognises it.
BEGINS = re.compile(rf"(error|warning|info)\[PG\d+\] |ignored: PG\d|not checked: PG\d|{_NOTHING}|{_RESULT}\n".encode())
ENDS = re.compile(rf"(^|\n)({_NOTHING}[^\n]*|{_RESULT})\n\Z".encode())

Paint = Callable[[str, str], str]


def render(report: Report, *, color: bool) -> str:
    """Render the report as text, with ANSI colours if ``color``."""
    paint = _colored if color else lambda _, text: text
    lines = [
        *_findings(report, paint),
        *_ignored(report, paint),
        *_not_checked(report.not_checked, paint),
        _summary(report, paint),
    ]
    return "\n".join(lines) + "\n"


def _findings(report: Report, paint: Paint) -> Iterator[str]:
    """One block for all findings with the same text, in the order of the first, and what follows from them."""
    groups: dict[tuple[str, str, str, str], list[Finding]] = {}
    also: dict[tuple[str, str, str, str], list[Finding]] = {}
    for cause in report.causes:
        key = (str(cause.severity), cause.finding.code, cause.finding.message, cause.finding.fix)
        groups.setdefault(key, []).append(cause.finding)
        also.setdefault(key, []).extend(cause.consequences)
    for key, findings in groups.items():
        severity, code, message, fix = key
        yield f"{paint(severity, f'{severity}[{code}]')} {findings[0].name}"
        for finding in findings[:_PLACES]:
            suffix = f" ({printable(finding.configuration)})" if finding.configuration else ""
            yield f"  --> {paint('path', _place(finding.location))}{suffix}"
        if len(findings) > _PLACES:
            yield f"  ... and {counted(len(findings) - _PLACES, 'more place')}"
        yield f"  {printable(message)}"
        yield from _table(findings[0].values.get("table", ()), paint)
        for related in findings[0].related:
            yield f"  see {_place(related.location)}: {printable(related.what)}"
        yield from _consequences(also[key])
        yield f"  fix: {printable(fix)}"
        yield ""


def _consequences(findings: Sequence[Finding]) -> Iterator[str]:
    """One line for each, those with the same text once."""
    lines = [
        f"  also {finding.code} {finding.name}"
        + (f" ({printable(finding.configuration)})" if finding.configuration else "")
        + f": {printable(finding.message)}"
        for finding in findings
    ]
    lines = list(dict.fromkeys(lines))
    yield from lines[:_PLACES]
    if len(lines) > _PLACES:
        codes = sorted({finding.code for finding in findings})
        yield f"  ... and {len(lines) - _PLACES} more: {listed(codes, shown=len(codes))}"


def _table(rows: Sequence[Sequence[str]], paint: Paint) -> Iterator[str]:
    """The table of a finding, in columns; the last cell of a row may be a severity."""
    cells = [[printable(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip_longest(*cells, fillvalue="")]
    for row in cells:
        padded = [cell.ljust(width) for cell, width in zip(row, widths, strict=False)]
        if row[-1] in _COLORS:
            padded[-1] = paint(row[-1], row[-1])
        yield "    " + "  ".join(padded).rstrip()


def _ignored(report: Report, paint: Paint) -> Iterator[str]:
    for finding in report.findings:
        if finding.ignored is not None:
            place = _place(finding.location)
            yield paint("faint", f"ignored: {finding.code} {finding.name} at {place}: {printable(finding.ignored)}")


def _not_checked(records: tuple[NotChecked, ...], paint: Paint) -> Iterator[str]:
    by_reason = sorted(records, key=lambda record: record.reason)
    for reason, group in groupby(by_reason, key=lambda record: record.reason):
        codes = sorted({record.code for record in group})
        yield paint("faint", f"not checked: {listed(codes, shown=4)}: {printable(reason)}")


def _summary(report: Report, paint: Paint) -> str:
    counts = report.summary()
    if not counts["documents"]:
        return f"{_NOTHING}no plans, dataset.json, fingerprint or splits were found"
    findings = [counted(counts[key], key) for key in ("error", "warning") if counts[key]]
    if counts["info"]:
        findings.append(f"{counts['info']} for information")
    result = paint("error" if counts["error"] else "warning", ", ".join(findings)) if findings else "no findings"
    ignored = f", {counts['ignored']} ignored" if counts["ignored"] else ""
    correctable = sum(bool(finding.corrections) for finding in report.active) if report.command == "check" else 0
    corrected = f", {correctable} to be corrected by --fix" if correctable else ""
    skipped = f", {counted(counts['not_checked'], 'check')} not possible" if counts["not_checked"] else ""
    empty = _NO_PLANS if report.lacks_plans else ""
    return f"{empty}{result}{corrected}{ignored} in {counted(counts['documents'], report.unit)}{skipped}"


def _place(location: Location) -> str:
    line = f":{location.line}:{location.column}" if location.line is not None else ""
    return printable(f"{location.path}{line}")


def _colored(kind: str, text: str) -> str:
    return f"\x1b[{_COLORS[kind]}m{text}\x1b[0m"
