"""A report as JUnit's XML: a suite is a dataset, a case is a rule on one of its documents or configurations.

Rules that found nothing are passed cases of the dataset, so that a healthy one has cases, too. Findings below the
severity that fails are passed as well, with their text as output.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from xml.sax.saxutils import escape, quoteattr

from plansguard.core import disk
from plansguard.core.fingerprint import dataset_in
from plansguard.core.report import Cause, Finding, Report
from plansguard.render import Screen, printable
from plansguard.render.findings import shown_place, source_of
from plansguard.render.source_root import shown_below, source_root

#: The suite of doctor.
_MACHINE = "this machine"
#: The first and the last line of a report, by which `is_report` recognises it.
BEGINS = re.compile(rb'<\?xml version="1\.0" encoding="UTF-8"\?>\n<testsuites name="plansguard ')
ENDS = re.compile(rb"</testsuites>\n\Z")


@dataclass
class _Case:
    """A rule at a place: what it found, or why it was not judged there; neither if it passed.

    ``outcome`` is the name of the element: failure, error or skipped, or system-out for text of a passed case.
    """

    name: str
    group: str
    outcome: str = ""
    message: str = ""
    texts: list[str] = field(default_factory=list)


#: Outcomes from the least to the most severe: of several findings in a case, the most severe decides.
_ORDER = ("", "skipped", "system-out", "failure", "error")


def render(report: Report, screen: Screen) -> str:  # noqa: ARG001 - every format takes the same arguments
    """Render the suites by name, with the time of the whole run: rules are not timed one by one."""
    cases = _Cases(report)
    lines = ['<?xml version="1.0" encoding="UTF-8"?>']
    lines.append(f"<testsuites{_attributes(f'plansguard {report.command}', cases.every, report)}>")
    for name, suite in cases.suites():
        started = {} if report.started is None else {"timestamp": report.started.strftime("%Y-%m-%dT%H:%M:%S")}
        skipped = sum(case.outcome == "skipped" for case in suite)
        lines.append(f"  <testsuite{_attributes(name, suite, report, skipped=skipped, **started)}>")
        for case in suite:
            lines += _case_lines(case)
        lines.append("  </testsuite>")
    lines.append("</testsuites>")
    return "\n".join(lines) + "\n"


class _Cases:
    """The cases of a report: findings, ignored ones, what was not checked, and the rules that passed."""

    def __init__(self, report: Report) -> None:
        self.report = report
        self.root = source_root()
        self.folders = {judged.path for judged in report.judged}
        self._cases: dict[tuple[str, str, str], _Case] = {}
        for cause in report.causes:
            self._add(cause.finding, _outcome(cause, report), cause.finding.message_with_mark, _text(cause))
        for finding in report.findings:
            if finding.ignored is not None:
                self._add(finding, "skipped", f"ignored: {finding.ignored}", printable(finding.message_with_mark))
        for cause in report.known:
            source = source_of(report.compared) if report.compared is not None else ""
            self._add(cause.finding, "skipped", f"known: {source}", printable(cause.finding.message_with_mark))
        failed = {(suite, code) for suite, _, code in self._cases}
        for skipped in report.not_checked:
            key = self._suite(skipped.path), _group(skipped.path), skipped.code
            case = _Case(f"{skipped.code} {skipped.name}", key[1], "skipped", f"not checked: {skipped.reason}")
            self._cases.setdefault(key, case)
        for judged in report.judged:
            suite, group = self._suite(judged.path), _group(judged.path)
            for code, name in judged.rules:
                if (suite, code) not in failed:
                    self._cases.setdefault((suite, group, code), _Case(f"{code} {name}", group))

    @property
    def every(self) -> list[_Case]:
        """All cases."""
        return [*self._cases.values()]

    def suites(self) -> list[tuple[str, list[_Case]]]:
        """The cases by suite."""
        suites: dict[str, list[_Case]] = {}
        for (suite, _, _), case in self._cases.items():
            suites.setdefault(suite, []).append(case)
        return sorted(suites.items())

    def _add(self, finding: Finding, outcome: str, message: str, text: str) -> None:
        """Add a finding to the case of its rule and place."""
        path = finding.location.path
        key = self._suite(path), _group(path, finding.configuration), finding.code
        case = self._cases.setdefault(key, _Case(f"{finding.code} {finding.name}", key[1]))
        if _ORDER.index(outcome) > _ORDER.index(case.outcome):
            case.outcome, case.message = outcome, message
        case.texts.append(text)

    def _suite(self, path: str) -> str:
        """The dataset that a path belongs to, else its folder."""
        if self.report.command == "doctor":
            return _MACHINE
        folder = path if path in self.folders else str(Path(path).parent)
        return dataset_in(path) or shown_below(folder, self.root)


def _outcome(cause: Cause, report: Report) -> str:
    if cause.finding.incomplete:
        return "error"
    return "failure" if cause.severity.rank >= report.fail_on.rank else "system-out"


def _text(cause: Cause) -> str:
    """A finding as the text report has it, without the excerpt."""
    finding = cause.finding
    lines = [f"{cause.severity}[{finding.code}] {finding.message_with_mark}", shown_place(finding.location)]
    lines += [f"see {shown_place(place.location)}: {place.what}" for place in finding.related]
    lines += [finding.why] if finding.why else []
    lines += [f"also {other.code} {other.name}: {other.message}" for other in cause.consequences]
    return "\n".join(map(printable, [*lines, f"fix: {finding.fix}", finding.url]))


def _group(path: str, configuration: str | None = None) -> str:
    """The document, without its ending since services take a full stop for a separator, and the configuration."""
    name = disk.stem(path) or _MACHINE
    return f"{name}.{configuration}" if configuration else name


def _attributes(name: str, cases: Sequence[_Case], report: Report, **more: object) -> str:
    outcomes = [case.outcome for case in cases]
    counts = {"tests": len(cases), "failures": outcomes.count("failure"), "errors": outcomes.count("error")}
    values = {"name": name, **counts, **more, "time": f"{report.seconds:.3f}"}
    return "".join(f" {key}={_quoted(str(value))}" for key, value in values.items())


def _case_lines(case: _Case) -> Iterator[str]:
    # Neither `file` nor `line`: the xUnit plugin of Jenkins refuses documents with either. The text has the place.
    start = f"    <testcase name={_quoted(case.name)} classname={_quoted(case.group)}"
    if not case.outcome:
        yield f"{start}/>"
        return
    text = escape("\n\n".join(case.texts))
    yield f"{start}>"
    if case.outcome == "system-out":
        yield f"      <system-out>{text}</system-out>"
    else:
        yield f"      <{case.outcome} message={_quoted(case.message)}>{text}</{case.outcome}>"
    yield "    </testcase>"


def _quoted(text: str) -> str:
    return quoteattr(printable(text))
