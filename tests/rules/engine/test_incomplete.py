"""Findings that mean that something was not judged: nothing silences them, and the exit code is 2."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from plansguard.cli.gate_options import advice_on
from plansguard.core.errors import UnreadableDocument, UsageError
from plansguard.core.report import Finding, Location, Report, RuleInfo, Severity
from plansguard.documents.models.settings import Ignore
from plansguard.rules import RULES
from plansguard.rules.engine.acceptance import Accepted, accept, assert_acceptable
from plansguard.rules.engine.settings import ActiveSettings, read_settings
from tests.support.command import run

INFOS = [rule.info for rule in RULES]
#: In this order: a rule failed; a file cannot be read; the requested configuration, the requested plans are absent;
#: Ctrl-C; a checkpoint cannot be read.
INCOMPLETE = {"PG000", "PG001", "PG107", "PG114", "PG529", "PG601"}

every_incomplete = pytest.mark.parametrize(
    "info", [info for info in INFOS if info.incomplete], ids=lambda info: info.code
)
by_code_and_name = pytest.mark.parametrize("word", ["code", "name"])


def report_of(info: RuleInfo, **changes: Any) -> Report:
    """A report with one finding of this rule."""
    finding = Finding(info.code, info.name, info.severity, "x", "x", Location("P.json"), incomplete=info.incomplete)
    return Report("check", ("P.json",), 1, (replace(finding, **changes),))


def test_the_rules() -> None:
    assert {info.code for info in INFOS if info.incomplete} == INCOMPLETE


@every_incomplete
@pytest.mark.parametrize("fail_on", list(Severity))
@pytest.mark.parametrize("severity", list(Severity))
@pytest.mark.parametrize("ignored", [None, "on purpose"])
def test_the_exit_code_is_2(info: RuleInfo, fail_on: Severity, severity: Severity, ignored: str | None) -> None:
    assert replace(report_of(info, severity=severity, ignored=ignored), fail_on=fail_on).exit_code() == 2


@every_incomplete
@by_code_and_name
def test_accept(info: RuleInfo, word: str) -> None:
    accepted = [Accepted(getattr(info, word), "on purpose")]
    with pytest.raises(UsageError, match="cannot be accepted: it means that something was not judged"):
        assert_acceptable(accepted, INFOS)
    assert accept(report_of(info), accepted) == report_of(info)


@every_incomplete
def test_the_advice_of_the_gate(info: RuleInfo) -> None:
    report = report_of(info, severity=Severity.ERROR)
    assert advice_on(report) == "Fix the errors above."
    assert advice_on(report_of(info, severity=Severity.WARNING)) == "Not everything could be judged: see above."
    (finding,) = report.findings
    both = replace(report, findings=(finding, replace(finding, incomplete=False)))
    assert advice_on(both).startswith("Fix the errors above, or accept a finding with a reason: --accept CODE")
    warned = replace(both.findings[1], severity=Severity.WARNING)
    strict = replace(report, fail_on=Severity.WARNING, findings=(warned,))
    assert advice_on(strict).startswith("Fix the findings above, or accept a finding")


@every_incomplete
@by_code_and_name
def test_settings(info: RuleInfo, word: str, tmp_path: Path) -> None:
    """Neither ``ignore`` nor ``severity`` names such a rule, and neither would have an effect."""
    name = getattr(info, word)
    settings = tmp_path / "plansguard.json"
    for entry in ({"ignore": [{"rule": name, "reason": "on purpose"}]}, {"severity": {name: "info"}}):
        settings.write_text(json.dumps(entry))
        with pytest.raises(UnreadableDocument, match="can neither be ignored nor have another severity") as refused:
            read_settings(settings, tuple(INFOS))
        assert refused.value.line == 1
    active = ActiveSettings(ignore=[Ignore(rule=name, reason="on purpose")], severity={name: "info"})
    assert active.apply(report_of(info).findings)[0] == list(report_of(info).findings)


@pytest.mark.parametrize("options", [(), ("--fail-on", "info"), ("--allow-empty",), ("--output", "github")])
def test_a_file_that_cannot_be_read(options: tuple[str, ...], tmp_path: Path) -> None:
    (tmp_path / "nnUNetPlans.json").write_text("{")
    assert run("check", str(tmp_path), *options).code == 2
    (tmp_path / "plansguard.json").write_text(json.dumps({"ignore": [{"rule": "PG001", "reason": "on purpose"}]}))
    refused = run("check", str(tmp_path), *options)
    assert refused.code == 2
    assert "PG001 can neither be ignored nor have another severity" in refused.err
