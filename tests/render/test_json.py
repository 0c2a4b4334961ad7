"""Reports as JSON."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from plansguard import __version__
from plansguard.core.report import Finding, Location, Report, Severity
from plansguard.documents.models.report_document import ReportDocument
from plansguard.render import render
from tests.support.command import run
from tests.support.reports import BROKEN, RULE_PAGES, evil_plans, plans, save

pytestmark = pytest.mark.usefixtures("nowhere")


def shape(document: dict[str, Any]) -> tuple[set[str], set[str], set[frozenset[str]]]:
    """The keys of a report, of its counts, and of its findings."""
    return set(document), set(document["summary"]), {frozenset(finding) for finding in document["findings"]}


def test_json_has_the_same_keys_whatever_was_found() -> None:
    shapes = []
    for document, settings in (
        (plans(BROKEN), {}),
        (plans(BROKEN), {"ignore": [{"rule": "PG101", "reason": "on purpose"}]}),
        (evil_plans(), {}),
        (plans(), {}),
        (None, {}),
    ):
        save("plansguard.json", settings)
        shutil.rmtree("here", ignore_errors=True)
        Path("here").mkdir()
        if document is not None:
            save("here/P.json", document)
        text = run("check", "--output", "json").out
        ReportDocument.model_validate(json.loads(text))
        assert text.isascii()
        assert text.endswith("}\n")
        shapes.append(shape(json.loads(text)))
    report, counts, (finding,) = shapes[0]
    assert shapes == [(report, counts, {finding})] * 3 + [(report, counts, set())] * 2


def test_values_are_typed() -> None:
    """A list is a list, and not its text."""
    document = plans()
    document["configurations"]["3d_fullres"]["spacing"] = [-1.0, 0.8, 0.8]
    save("P.json", document)
    (finding,) = (one for one in run("check", "--output", "json").json["findings"] if one["code"] == "PG109")
    assert finding["values"]["spacing"] == [-1.0, 0.8, 0.8]


def test_json_of_a_finding() -> None:
    save("sub/P.json", plans(BROKEN))
    document = run("check", "sub", "--output", "json").json
    assert document["schema"] == "plansguard/report/1"
    assert document["tool"] == {"name": "plansguard", "version": __version__}
    assert (document["command"], document["inputs"]) == ("check", ["sub"])
    counts = {"error": 1, "warning": 0, "info": 0, "ignored": 0, "baseline": 0, "documents": 1, "datasets": 0}
    assert document["summary"] == {**counts, "not_checked": len(document["not_checked"])}
    (finding,) = document["findings"]
    assert re.fullmatch("[0-9a-f]{16}", finding.pop("fingerprint"))
    assert finding == {
        "code": "PG101",
        "name": "patch-not-divisible",
        "severity": "error",
        "message": "patch_size [56, 70, 64] is not divisible by the strides' product [8, 16, 16] on axis 1",
        "why": "the first forward pass fails: the decoder cannot join its upsampled maps with the encoder's",
        "mark": "",
        "fix": "use 64 or 80 on axis 1 of patch_size",
        "path": str(Path("sub/P.json")),
        "pointer": "/configurations/3d_fullres/patch_size/1",
        "line": 166,
        "column": 17,
        "configuration": "3d_fullres",
        "values": {"axis": 1, "patch_size": [56, 70, 64], "factors": [8, 16, 16], "sizes": "64 or 80"},
        "related": [],
        "url": f"{RULE_PAGES}/PG101-patch-not-divisible.md",
        "ignored": None,
        "known": False,
        "corrections": [],
        "consequence_of": None,
    }


def test_json_of_numbers_that_json_lacks() -> None:
    """As text: NaN and Infinity are Python's, not JSON's."""
    values = {"nan": float("nan"), "deep": [{"infinite": (float("-inf"), 1.5)}]}
    finding = Finding("PG003", "x", Severity.ERROR, "x", "x", Location("P.json"), values=values)
    text = render(Report("check", (), 1, (finding,)), "json")
    document = json.loads(text, parse_constant=lambda word: pytest.fail(f"{word} is no JSON"))
    assert document["findings"][0]["values"] == {"nan": "NaN", "deep": [{"infinite": ["-Infinity", 1.5]}]}
