"""A report as text: one block per fault, repeats gathered, then what was not checked, then the counts."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import zip_longest

from plansguard.core.report import Excerpt, Finding, Location, NotChecked, Related, Report
from plansguard.core.text import counted, listed
from plansguard.nnunet.workspace import displayed
from plansguard.render import Screen, printable
from plansguard.render.columns import cropped, display_width, padded, wrapped

_COLORS = {"error": "31;1", "warning": "33;1", "info": "36;1", "bold": "1", "faint": "2", "fix": "32;1"}
#: How many places of the same fault are listed before the rest is only counted.
_PLACES = 5
#: Lines about what was not checked.
_REASONS = 5
_NOTHING = "nothing to check: "
_NO_PLANS = "there are no plans to check: "
_RESULT = (
    rf"({_NO_PLANS})?(no findings|\d+ (errors?|warnings?|for information))[^\n]* in \d+ (dataset|file|check)s?[^\n]*"
)
#: The first and the last line of a report, by which `is_report` recognises it.
BEGINS = re.compile(rf"(error|warning|info)\[PG\d+\] |ignored: PG\d|not checked: |{_NOTHING}|{_RESULT}\n".encode())
ENDS = re.compile(rf"(^|\n)({_NOTHING}[^\n]*|{_RESULT})\n\Z".encode())


def render(report: Report, screen: Screen) -> str:
    """Render the report as text.

    On a terminal, lines are wrapped at words to its width, and values, places and severities have colours. Quiet text
    has the findings only, verbose text every check that was not possible.
    """
    lines = [*_findings(report, screen)]
    if not screen.quiet:
        lines += [*_ignored(report, screen), *_not_checked(report.not_checked, screen), _summary(report, screen)]
    return "".join(f"{line}\n" for line in lines)


def _paint(kind: str, text: str, screen: Screen) -> str:
    return f"\x1b[{_COLORS[kind]}m{text}\x1b[0m" if screen.color and text else text


def _findings(report: Report, screen: Screen) -> Iterator[str]:
    """One block for all findings with the same text, in the order of the first, and what follows from them.

    Why it matters is said once for each rule.
    """
    groups: dict[tuple[str, str, str, str], list[Finding]] = {}
    also: dict[tuple[str, str, str, str], list[Finding]] = {}
    for cause in report.causes:
        key = (str(cause.severity), cause.finding.code, cause.finding.message, cause.finding.fix)
        groups.setdefault(key, []).append(cause.finding)
        also.setdefault(key, []).extend(cause.consequences)
    explained: set[str] = set()
    for key, findings in groups.items():
        severity, code, message, _ = key
        yield from _headline(severity, code, message, screen)
        yield from _places(findings, screen)
        first = findings[0]
        if first.excerpt is not None:
            yield from _excerpt(first.excerpt, first.mark, severity, screen)
        yield from _table(first.values.get("table", ()), screen)
        for related in first.related:
            yield from _related(related, screen)
        if first.why and code not in explained:
            yield from wrapped(printable(first.why), screen.width, "  ")
        explained.add(code)
        yield from _consequences(also[key], screen)
        yield from _fix(first.fix, screen)
        yield ""


def _headline(severity: str, code: str, message: str, screen: Screen) -> Iterator[str]:
    label = f"{severity}[{code}]"
    first, *others = wrapped(f"{label} {printable(message)}", screen.width, "", hanging="  ")
    yield _paint(severity, label, screen) + _paint("bold", first.removeprefix(label), screen)
    for line in others:
        yield _paint("bold", line, screen)


def _places(findings: Sequence[Finding], screen: Screen) -> Iterator[str]:
    for finding in findings[:_PLACES]:
        suffix = f" ({printable(finding.configuration)})" if finding.configuration else ""
        yield f"  {_place(finding.location)}{_paint('faint', suffix, screen)}"
    if len(findings) > _PLACES:
        yield f"  ... and {counted(len(findings) - _PLACES, 'more place')}"


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
    place, what = f"  see {_place(related.location)}:", printable(related.what)
    if screen.width is None or display_width(place) + 1 + display_width(what) <= screen.width:
        yield f"{place} {what}"
    else:
        yield place
        yield from wrapped(what, screen.width, "      ")


def _consequences(findings: Sequence[Finding], screen: Screen) -> Iterator[str]:
    """One line for each, those with the same text once."""
    texts = [
        f"also {finding.code}"
        + (f" ({printable(finding.configuration)})" if finding.configuration else "")
        + f": {printable(finding.message)}"
        for finding in findings
    ]
    texts = list(dict.fromkeys(texts))
    for text in texts[:_PLACES]:
        yield from wrapped(text, screen.width, "  ", hanging="    ")
    if len(texts) > _PLACES:
        codes = sorted({finding.code for finding in findings})
        yield f"  ... and {len(texts) - _PLACES} more: {listed(codes, shown=len(codes))}"


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
            line = f"ignored: {finding.code} {finding.name} at {_place(finding.location)}: {printable(finding.ignored)}"
            yield from _faint(line, screen)


def _not_checked(records: Iterable[NotChecked], screen: Screen) -> Iterator[str]:
    """One line for each reason, over all datasets, that of most rules first; verbose text names each rule and place."""
    by_reason: dict[str, list[NotChecked]] = {}
    for record in records:
        by_reason.setdefault(record.reason, []).append(record)
    reasons = sorted(by_reason.items(), key=lambda item: (-len({one.code for one in item[1]}), item[0]))
    for reason, group in reasons if screen.verbose else reasons[:_REASONS]:
        codes, places = sorted({record.code for record in group}), list(dict.fromkeys(one.path for one in group))
        where = f" at {len(places)} places" if len(places) > 1 else ""
        yield from _faint(f"not checked: {printable(reason)} ({_names(codes)}{where})", screen)
        yield from _skipped(group, screen) if screen.verbose else ()
    if len(reasons) > _REASONS and not screen.verbose:
        rest = {one.code for _, group in reasons[_REASONS:] for one in group}
        yield from _faint(f"not checked: {counted(len(rest), 'more rule')}, listed by --verbose", screen)


def _skipped(records: Iterable[NotChecked], screen: Screen) -> Iterator[str]:
    """The places, and below each the rules that could not run there."""
    by_place: dict[str, list[str]] = {}
    for record in records:
        by_place.setdefault(record.path, []).append(f"{record.code} {record.name}")
    for place, rules in by_place.items():
        yield _paint("faint", f"  {printable(displayed(place))}", screen)
        for line in wrapped(", ".join(rules), screen.width, "    "):
            yield _paint("faint", line, screen)


def _names(codes: Sequence[str]) -> str:
    return ", ".join(codes) if len(codes) <= 2 else f"{len(codes)} rules"


def _faint(line: str, screen: Screen) -> Iterator[str]:
    for part in wrapped(line, screen.width, "", hanging="  "):
        yield _paint("faint", part, screen)


def _summary(report: Report, screen: Screen) -> str:
    counts = report.summary()
    if not counts["documents"]:
        return f"{_NOTHING}no plans, dataset.json, fingerprint or splits were found"
    findings = [counted(counts[key], key) for key in ("error", "warning") if counts[key]]
    if counts["info"]:
        findings.append(f"{counts['info']} for information")
    severity = "error" if counts["error"] else "warning" if counts["warning"] else "info"
    result = _paint(severity, ", ".join(findings), screen) if findings else "no findings"
    ignored = f", {counts['ignored']} ignored" if counts["ignored"] else ""
    correctable = sum(bool(finding.corrections) for finding in report.active) if report.command == "check" else 0
    corrected = f", {correctable} to be corrected by --fix" if correctable else ""
    empty = _NO_PLANS if report.lacks_plans else ""
    units = [counted(counts["datasets"], "dataset")] if counts["datasets"] else []
    units.append(counted(counts["documents"], report.unit))
    return f"{empty}{result}{corrected}{ignored} in {', '.join(units)}"


def _place(location: Location) -> str:
    position = "".join(f":{number}" for number in (location.line, location.column) if number is not None)
    return printable(f"{displayed(location.path)}{position}")
