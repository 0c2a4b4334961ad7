"""A report as one JSON document, described by schemas/report.schema.json."""

from __future__ import annotations

import re
from dataclasses import asdict
from typing import Any

from plansguard import __version__
from plansguard.core.report import Cause, Comparison, Finding, Report
from plansguard.core.text import ShownValue
from plansguard.documents.models.report_document import (
    AbsentEntry,
    ComparedEntry,
    CorrectionEntry,
    FindingEntry,
    NotCheckedEntry,
    RelatedEntry,
    ReportDocument,
    Summary,
    ToolEntry,
)
from plansguard.render import Screen, json_text

SCHEMA = "plansguard/report/1"
#: What commands write as JSON. Records have other schemas, or four blanks before a key, and are not written over.
_OUTPUTS = rb"report|diff|fit|adaptation|show|steps|rules|explain|env|verification|preprocessing|road|status"
#: The first and the last line of a report, by which `is_report` recognises it.
BEGINS = re.compile(rb'\{\n  "schema": "plansguard/(' + _OUTPUTS + rb")/")
ENDS = re.compile(rb"\n\}\n\Z")


def render(report: Report, screen: Screen) -> str:  # noqa: ARG001 - every format takes the same arguments
    """Render the report as JSON, indented by two, with the same keys for every report."""
    return json_text(document_of(report))


def document_of(report: Report) -> ReportDocument:
    """Return the document that describes a report."""
    return ReportDocument(
        schema_=SCHEMA,
        tool=ToolEntry(name="plansguard", version=__version__),
        command=report.command,
        inputs=list(report.inputs),
        summary=Summary(**report.summary()),
        findings=_findings(report),
        compared=None if report.compared is None else _compared(report.compared),
        not_checked=[
            NotCheckedEntry(code=skipped.code, name=skipped.name, path=skipped.path, reason=skipped.reason)
            for skipped in report.not_checked
        ],
    )


def _compared(compared: Comparison) -> ComparedEntry:
    return ComparedEntry(
        kind="revision" if compared.is_revision else "baseline",
        source=compared.source,
        absent=[AbsentEntry(**asdict(entry)) for entry in compared.absent],
    )


def _findings(report: Report) -> list[FindingEntry]:
    """All findings in the order of the report, causes with their worst severity, consequences with their cause."""
    causes = {
        id(one): cause for cause in (*report.causes, *report.known) for one in (cause.finding, *cause.consequences)
    }
    return [_finding(finding, causes.get(id(finding))) for finding in report.findings]


def _typed(value: Any) -> Any:
    """A value of a message as it is in the file: a list is a list, and not its text."""
    return value.value if isinstance(value, ShownValue) else value


def _finding(finding: Finding, cause: Cause | None) -> FindingEntry:
    is_cause = cause is None or cause.finding is finding
    return FindingEntry(
        code=finding.code,
        name=finding.name,
        severity=(cause.severity if cause is not None and is_cause else finding.severity).value,
        message=finding.message,
        why=finding.why,
        mark=finding.mark,
        fix=finding.fix,
        path=finding.location.path,
        pointer=finding.location.pointer,
        line=finding.location.line,
        column=finding.location.column,
        configuration=finding.configuration,
        values={name: _typed(value) for name, value in finding.values.items()},
        related=[
            RelatedEntry(
                path=place.location.path, pointer=place.location.pointer, line=place.location.line, what=place.what
            )
            for place in finding.related
        ],
        url=finding.url,
        fingerprint=finding.fingerprint,
        ignored=finding.ignored,
        known=finding.known,
        corrections=[
            CorrectionEntry(path=place.path, pointer=place.pointer, value=value) for place, value in finding.corrections
        ],
        consequence_of=None if cause is None or is_cause else cause.finding.fingerprint,
    )
