"""A report as SARIF 2.1.0, for GitHub code scanning and other services.

A result is a cause with its consequences in its text, or a finding that is ignored (a suppression) or known. Rules are
those of the results, with their pages as help. The files of corrections are read, as SARIF describes edits by line and
column.
"""

from __future__ import annotations

import os
import re
from datetime import timedelta
from pathlib import Path
from typing import Any

from plansguard import __version__
from plansguard.core import disk
from plansguard.core.report import Cause, Correction, Finding, KnownFinding, Location, Report, RuleInfo
from plansguard.core.text import shortened
from plansguard.documents import json_edit
from plansguard.render import Screen, plain_json, printable
from plansguard.render.findings import reasons
from plansguard.render.source_root import below, is_variable, normal, source_root
from plansguard.rules import find
from plansguard.rules.engine.page import page

SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"
_LEVELS = {"error": "error", "warning": "warning", "info": "note"}
_ROOT = "%SRCROOT%"
#: Identifier of a notification about rules that could not run.
_NOT_CHECKED = "not-checked"
_FINGERPRINT = "plansguard/v1"
#: What SARIF takes for a link or a placeholder in a text.
_MARKUP = re.compile(r"\[(?=[^\[\]]*\]\()|\{(?=\d+\})")
#: The first and the last line of a report, by which `is_report` recognises it.
BEGINS = re.compile(
    rb'\{\n  "\$schema": "[^"\n]*sarif-2\.1\.0\.json",\n  "version": "2\.1\.0",\n  "runs": \[\n    \{\n'
    rb'      "tool": \{\n        "driver": \{\n          "name": "plansguard",'
)
ENDS = re.compile(rb"\n\}\n\Z")


def render(report: Report, screen: Screen) -> str:  # noqa: ARG001 - every format takes the same arguments
    """Render one run. Places are relative to the root of the checkout."""
    root = source_root()
    results = [_result(cause, root) for cause in report.causes]
    results += [_ignored(finding, root) for finding in report.findings if finding.ignored is not None]
    if report.compared is not None:
        results = [{**result, "baselineState": "new"} for result in results]
        results += [{**_result(cause, root), "baselineState": "unchanged"} for cause in report.known]
        results += [_absent(entry) for entry in report.compared.absent]
    codes = list(dict.fromkeys(result["ruleId"] for result in results))
    for result in results:
        result["ruleIndex"] = codes.index(result["ruleId"])
    run = {
        "tool": {"driver": _driver(codes)},
        "automationDetails": {"id": f"plansguard/{report.command}/"},
        "columnKind": "unicodeCodePoints",
        "originalUriBaseIds": {
            _ROOT: {"uri": f"file:///{_encoded(root.as_posix().strip('/'))}/".replace("////", "///")}
        },
        "invocations": [_invocation(report, root)],
        "results": results,
    }
    return plain_json({"$schema": SCHEMA, "version": "2.1.0", "runs": [run]})


def _driver(codes: list[str]) -> dict[str, Any]:
    rules = [_rule(code) for code in codes]
    notice = {"text": "Rules could not run at a place: something that they need is absent."}
    texts = {"shortDescription": notice, "fullDescription": notice, "help": notice}
    return {
        "name": "plansguard",
        "version": __version__,
        "semanticVersion": __version__,
        "informationUri": "https://github.com/plansguard/plansguard",
        "rules": rules,
        "notifications": [{"id": _NOT_CHECKED, **texts, "defaultConfiguration": {"level": "note"}}],
    }


def _rule(code: str) -> dict[str, Any]:
    rule = find(code)
    if rule is None:  # of another version, in a baseline
        return {"id": code}
    info: RuleInfo = rule.info
    return {
        "id": code,
        "name": info.name,
        "shortDescription": {"text": _text(info.summary)},
        "fullDescription": {"text": _text(f"{info.summary.rstrip('.')}: {info.why}.")},
        "help": {"text": _text_of_lines(info.doc), "markdown": page(rule)},
        "helpUri": info.url,
        "defaultConfiguration": {"level": _LEVELS[info.severity]},
    }


def _result(cause: Cause, root: Path) -> dict[str, Any]:
    finding = cause.finding
    lines = [f"{finding.message_with_mark}.", f"{finding.why}." if finding.why else ""]
    lines += [f"also {one.code} {one.name}: {one.message}" for one in cause.consequences]
    lines.append(f"fix: {finding.fix}")
    result: dict[str, Any] = {
        "ruleId": finding.code,
        "level": _LEVELS[cause.severity],
        "message": {"text": "\n".join(_text(line) for line in lines if line)},
        "locations": [_location(finding, root)],
        "partialFingerprints": {_FINGERPRINT: finding.fingerprint},
    }
    places = [(place.location, place.what) for place in finding.related]
    places += [(one.location, f"{one.code} {one.name}") for one in cause.consequences]
    if related := [_related(place, what, root) for place, what in places if not is_variable(place.path)]:
        result["relatedLocations"] = [{"id": number, **place} for number, place in enumerate(related, 1)]
    if changes := _changes(finding.corrections, root):
        result["fixes"] = [{"description": {"text": _text(finding.fix)}, "artifactChanges": changes}]
    return result


def _ignored(finding: Finding, root: Path) -> dict[str, Any]:
    suppression = {"kind": "external", "status": "accepted", "justification": printable(finding.ignored or "")}
    return {**_result(Cause(finding), root), "suppressions": [suppression]}


def _absent(entry: KnownFinding) -> dict[str, Any]:
    rule = find(entry.code)
    return {
        "ruleId": entry.code,
        "level": _LEVELS[rule.info.severity] if rule is not None else "warning",
        "message": {"text": _text(entry.message)},
        "locations": [{"physicalLocation": {"artifactLocation": {"uri": _encoded(entry.path)}}}],
        "partialFingerprints": {_FINGERPRINT: entry.fingerprint},
        "baselineState": "absent",
    }


def _location(finding: Finding, root: Path) -> dict[str, Any]:
    place = finding.location
    if is_variable(place.path):
        return {"logicalLocations": [{"name": place.path, "kind": "variable"}]}
    location: dict[str, Any] = {"physicalLocation": _physical(place, root)}
    if place.pointer:
        location["logicalLocations"] = [{"fullyQualifiedName": printable(place.pointer), "kind": "value"}]
    return location


def _related(place: Location, what: str, root: Path) -> dict[str, Any]:
    return {"physicalLocation": _physical(place, root), "message": {"text": _text(what)}}


def _physical(place: Location, root: Path) -> dict[str, Any]:
    """The file and the place in it: the first line of one without a place, since GitHub shows no other."""
    region = {"startLine": place.line or 1}
    if place.column is not None:
        region["startColumn"] = place.column
    return {"artifactLocation": _artifact(place.path, root), "region": region}


def _artifact(path: str, root: Path) -> dict[str, Any]:
    relative = below(path, root)
    if relative is not None:
        return {"uri": _encoded(relative), "uriBaseId": _ROOT}
    return {"uri": f"file:///{_encoded(normal(path).as_posix().lstrip('/'))}"}


def _encoded(path: str) -> str:
    """A path as part of a URI; half a surrogate pair, which no file name has, is spelled out."""
    from urllib.parse import quote

    path = shortened(path)
    try:
        raw = os.fsencode(path)
    except UnicodeEncodeError:
        raw = path.encode("utf-8", "backslashreplace")
    return quote(raw)


def _changes(corrections: tuple[Correction, ...], root: Path) -> list[dict[str, Any]]:
    """The edits of each file; none where one of them cannot be made in what is on disk."""
    replacements: dict[str, list[dict[str, Any]]] = {}
    for place, value in corrections:
        try:
            raw = disk.content(place.path)
            before, after = raw.decode(), json_edit.with_value(raw, place.pointer, value).decode()
        except (OSError, KeyError, ValueError):
            return []
        if before != after:
            replacements.setdefault(place.path, []).append(_replacement(before, after))
    return [{"artifactLocation": _artifact(path, root), "replacements": each} for path, each in replacements.items()]


def _replacement(before: str, after: str) -> dict[str, Any]:
    """The part of a text that differs from another one, and what is there instead."""
    shorter = min(len(before), len(after))
    start = next((at for at in range(shorter) if before[at] != after[at]), shorter)
    most = shorter - start
    same = next((at for at in range(most) if before[-1 - at] != after[-1 - at]), most)
    end = len(before) - same
    (line, column), (end_line, end_column) = _position(before, start), _position(before, end)
    region = {"startLine": line, "startColumn": column, "endLine": end_line, "endColumn": end_column}
    return {"deletedRegion": region, "insertedContent": {"text": after[start : len(after) - same]}}


def _position(text: str, offset: int) -> tuple[int, int]:
    """Line and column, from 1."""
    return text.count("\n", 0, offset) + 1, offset - (text.rfind("\n", 0, offset) + 1) + 1


def _invocation(report: Report, root: Path) -> dict[str, Any]:
    code = report.exit_code()
    invocation: dict[str, Any] = {"executionSuccessful": code in (0, 1), "exitCode": code}
    if report.started is not None:
        ended = report.started + timedelta(seconds=report.seconds)
        for key, moment in (("startTimeUtc", report.started), ("endTimeUtc", ended)):
            invocation[key] = moment.strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"
    notifications = []
    for reason in reasons(report):
        for record in reason.records:
            codes = ", ".join(sorted(code for code, _ in record.rules))
            notifications.append(_notification(f"not checked: {reason.reason} ({codes})", record.path, root))
    return {**invocation, "toolConfigurationNotifications": notifications}


def _notification(text: str, path: str, root: Path) -> dict[str, Any]:
    return {
        "descriptor": {"id": _NOT_CHECKED, "index": 0},
        "level": "note",
        "message": {"text": _text(text)},
        "locations": [{"physicalLocation": {"artifactLocation": _artifact(path, root)}}],
    }


def _text(text: str) -> str:
    """A text on one line, in which nothing is a link or a placeholder."""
    return _MARKUP.sub(lambda match: "\\[" if match[0] == "[" else "{{", printable(text))


def _text_of_lines(text: str) -> str:
    return "\n".join(map(_text, text.splitlines()))
