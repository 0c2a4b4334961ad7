"""Reports for GitLab's code quality."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from plansguard.core.report import Finding, Location, Report, Severity
from plansguard.render import render
from tests.support.command import run
from tests.support.reports import BROKEN, plans, save

pytestmark = pytest.mark.usefixtures("nowhere")


def issues(*arguments: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(run("check", *arguments, "--output", "gitlab").out)
    return found


def test_an_issue() -> None:
    save("sub/P.json", plans(BROKEN))
    (issue,) = issues()
    assert re.fullmatch("[0-9a-f]{32}", issue.pop("fingerprint"))
    assert issue == {
        "check_name": "PG101 patch-not-divisible",
        "description": "patch_size [56, 70, 64] is not divisible by the strides' product [8, 16, 16] on axis 1",
        "severity": "critical",
        "location": {"path": "sub/P.json", "lines": {"begin": 166}},
    }


def test_no_issues() -> None:
    save("P.json", plans())
    assert issues() == []


def test_severities() -> None:
    save("plansguard.json", {"severity": {"PG101": "info", "PG102": "warning"}})
    save("A/P.json", plans(BROKEN))
    save("B/P.json", plans(("3d_fullres", [56, 64, 16])))
    Path("nnUNetPlans.json").write_text("{")
    found = {issue["check_name"][:5]: issue["severity"] for issue in issues()}
    assert found == {"PG001": "blocker", "PG101": "info", "PG102": "major"}


def test_fingerprints() -> None:
    """Different ones for each issue of a report, the same after lines have moved, and in another checkout."""
    finding = Finding("PG101", "x", Severity.ERROR, "m", "f", Location("P.json", line=3))
    twice = json.loads(render(Report("check", (), 1, (finding, finding)), "gitlab"))
    assert len({issue["fingerprint"] for issue in twice}) == 2
    moved = finding.__class__("PG101", "x", Severity.ERROR, "m", "f", Location("P.json", line=9))
    (once,) = json.loads(render(Report("check", (), 1, (moved,)), "gitlab"))
    assert once["fingerprint"] == twice[0]["fingerprint"]


def test_fingerprints_in_another_checkout(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    for clone in ("one", "two"):
        Path(clone, ".git").mkdir(parents=True)
        save(f"{clone}/a/P.json", plans(BROKEN))
        save(f"{clone}/b/a/P.json", plans(BROKEN))
        with monkeypatch.context() as patch:
            patch.chdir(clone)
            seen.append([issue["fingerprint"] for issue in issues()])
    assert seen[0] == seen[1]
    assert len(set(seen[0])) == 2
