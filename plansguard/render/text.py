"""A report as text: one block per fault, repeats gathered, then what was not checked, then the counts."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import zip_longest

from plansguard.core.report import Excerpt, Finding, Related, Report, SkippedRules
from plansguard.core.text import counted
from plansguard.nnunet.workspace import displayed
from plansguard.render import Screen, printable
from plansguard.render.columns import cropped, display_width, padded, wrapped
from plansguard.render.findings import (
    KNOWN,
    NO_PLANS,
    NOTHING,
    PLACES,
    counts,
    faults,
    known_lines,
    known_text,
    reasons,
    shown_place,
)

_COLORS = {"error": "31;1", "warning": "33;1", "info": "36;1", "bold": "1", "faint": "2", "fix": "32;1"}
#: Lines about what was not checked.
_REASONS = 5
_RESULT = (
    rf"({NO_PLANS})?(no findings|\d+ (errors?|warnings?|for information))[^\n]* in \d+ (dataset|file|check)s?[^\n]*"
)
#: The first and the last line of a report, by which `is_report` recognises it.
BEGINS = re.compile(
    rf"(error|warning|info)\[PG\d+\] |ignored: PG\d|not checked: |{KNOWN}|{NOTHING}|{_RESULT}\n".encode()
)
ENDS = re.compile(rf"(^|\n)({NOTHING}[^\n]*|{_RESULT})\n\Z".encode())


def render(report: Report, screen: Screen) -> str:
    """Render the report as text.

    On a terminal, lines are wrapped at words to its width, and values, places and severities have colours. Quiet text
    has the findings only, verbose text every check that was not possible.
    """
    lines = [*_findings(report, screen)]
    if not screen.quiet:
        lines += [
            *_ignored(report, screen),
            *_known(report, screen),
            *_not_checked(report, screen),
            _summary(report, screen),
        ]
    return "".join(f"{line}\n" for line in lines)


def _paint(kind: str, text: str, screen: Screen) -> str:
    return f"\x1b[{_COLORS[kind]}m{text}\x1b[0m" if screen.color and text else text


def _findings(report: Report, screen: Screen) -> Iterator[str]:
    """One block for each fault, and a blank line."""
    for fault in faults(report):
        first = fault.findings[0]
        yield from _headline(fault.severity, fault.code, first.message, screen)
        yield from _places(fault.findings, screen)
        if first.excerpt is not None:
            yield from _excerpt(first.excerpt, first.mark, fault.severity, screen)
        yield from _table(first.values.get("table", ()), screen)
        for related in first.related:
            yield from _related(related, screen)
        if fault.why:
            yield from wrapped(printable(fault.why), screen.width, "  ")
        for line in fault.also:
            yield from wrapped(printable(line), screen.width, "  ", hanging="    ")
        yield from _fix(first.fix, screen)
        yield ""


def _headline(severity: str, code: str, message: str, screen: Screen) -> Iterator[str]:
    label = f"{severity}[{code}]"
    first, *others = wrapped(f"{label} {printable(message)}", screen.width, "", hanging="  ")
    yield _paint(severity, label, screen) + _paint("bold", first.removeprefix(label), screen)
    for line in others:
        yield _paint("bold", line, screen)


def _places(findings: Sequence[Finding], screen: Screen) -> Iterator[str]:
    for finding in findings[:PLACES]:
        suffix = f" ({printable(finding.configuration)})" if finding.configuration else ""
        yield f"  {shown_place(finding.location)}{_paint('faint', suffix, screen)}"
    if len(findings) > PLACES:
        yield f"  ... and {counted(len(findings) - PLACES, 'more place')}"


def _excerpt(excerpt: Excerpt, mark: str, severity: str, screen: Screen) -> Iterator[str]:
    """The line of the file, a mark under the value, and beside it what the value should be or was."""
    number, (start, end) = str(excerpt.line), (excerpt.start, excerpt.start + max(1, excerpt.length))
    gutter = f"    {' ' * len(number)} | "
    parts = excerpt.text[:start].lstrip(), excerpt.text[start:end], excerpt.text[end:].rstrip()
    before, value, after = map(printable, parts)
    if screen.width is not None:
        before, value, after = cropped(before, value, after, screen.width - len(gutter))
    yield _paint("faint", f"    {number} | ", screen) + before + value + after
    carets = " " * display_width(before) + "^" * max(1, display_width(value))
    beside = f"{carets} {printable(mark)}" if mark else carets
    if screen.width is None or len(gutter) + display_width(beside) <= screen.width:
        yield _paint("faint", gutter, screen) + _paint(severity, beside, screen)
    else:
        yield _paint("faint", gutter, screen) + _paint(severity, carets, screen)
        for line in wrapped(printable(mark), screen.width - len(gutter)):
            yield _paint("faint", gutter, screen) + _paint(severity, line, screen)


def _related(related: Related, screen: Screen) -> Iterator[str]:
    """A place and what is there, on two lines where one is too short; the place is never divided."""
    place, what = f"  see {shown_place(related.location)}:", printable(related.what)
    if screen.width is None or display_width(place) + 1 + display_width(what) <= screen.width:
        yield f"{place} {what}"
    else:
        yield place
        yield from wrapped(what, screen.width, "      ")


def _fix(fix: str, screen: Screen) -> Iterator[str]:
    first, *others = wrapped(f"fix: {printable(fix)}", screen.width, "  ", hanging="       ")
    yield "  " + _paint("fix", "fix:", screen) + first.removeprefix("  fix:")
    yield from others


def _table(rows: Sequence[Sequence[str]], screen: Screen) -> Iterator[str]:
    """The table of a finding, in columns; the last cell of a row may be a severity."""
    cells = [[printable(cell) for cell in row] for row in rows]
    widths = [max(map(display_width, column)) for column in zip_longest(*cells, fillvalue="")]
    for row in cells:
        shown = [padded(cell, width) for cell, width in zip(row, widths, strict=False)]
        if row[-1] in _COLORS:
            shown[-1] = _paint(row[-1], row[-1], screen)
        yield "    " + "  ".join(shown).rstrip()


def _ignored(report: Report, screen: Screen) -> Iterator[str]:
    for finding in report.findings:
        if finding.ignored is not None:
            where, why = shown_place(finding.location), printable(finding.ignored)
            yield from _faint(f"ignored: {finding.code} {finding.name} at {where}: {why}", screen)


def _known(report: Report, screen: Screen) -> Iterator[str]:
    """How many findings are known, and how many are no longer there; verbose text lists both."""
    for line in known_lines(report):
        yield from _faint(line, screen)
    if screen.verbose and report.compared is not None:
        for cause in report.known:
            yield from _faint(f"known: {known_text(cause.finding)}", screen)
        for entry in report.compared.absent:
            yield from _faint(printable(f"no longer there: {entry.code} {entry.name} at {entry.path}"), screen)


def _not_checked(report: Report, screen: Screen) -> Iterator[str]:
    """One line for each reason; verbose text names each rule and place."""
    every = reasons(report)
    for reason in every if screen.verbose else every[:_REASONS]:
        yield from _faint(printable(reason.text), screen)
        yield from _skipped(reason.records, screen) if screen.verbose else ()
    if len(every) > _REASONS and not screen.verbose:
        rest = {code for reason in every[_REASONS:] for code in reason.codes}
        yield from _faint(f"not checked: {counted(len(rest), 'more rule')}, listed by --verbose", screen)


def _skipped(records: Iterable[SkippedRules], screen: Screen) -> Iterator[str]:
    """The places, and below each the rules that could not run there."""
    for record in records:
        yield _paint("faint", f"  {printable(displayed(record.path))}", screen)
        for line in wrapped(", ".join(map(" ".join, record.rules)), screen.width, "    "):
            yield _paint("faint", line, screen)


def _faint(line: str, screen: Screen) -> Iterator[str]:
    for part in wrapped(line, screen.width, "", hanging="  "):
        yield _paint("faint", part, screen)


def _summary(report: Report, screen: Screen) -> str:
    total = counts(report)
    result = _paint(total.severity, total.result, screen) if total.severity else total.result
    return f"{total.before}{result}{total.after}"
