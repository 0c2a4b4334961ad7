"""Texts of rules are read in two seconds. The findings of all variants are judged in test_rules.py."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from plansguard.core.report import Finding, Location, Report, Severity, SkippedRules
from plansguard.rules import RULES
from plansguard.rules.engine.declare import Rule
from tests.support.printed import PLACEHOLDERS
from tests.support.texts import LONGEST_WHY, digits, hard_to_read

#: Words in capitals, as placeholders are, and those of them that are to be read as they are.
CAPITALS = re.compile(r"(?<![\w{$])[A-Z][A-Z_]{2,}(?![\w}=])")
ABBREVIATIONS = ("CPU", "GPU", "PNG", "TIFF")
WORKSPACE = Path("/somewhere/long")
CLEAR = Finding(
    "PG999", "of-this-test", Severity.ERROR, "spacing is 2.5 mm", "write 0.8", Location("P.json"), why="it costs time"
)

every_rule = pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.info.code)


@every_rule
def test_why_it_matters_is_one_short_sentence(rule: Rule) -> None:
    """The first sentence of the page is complete: it is not cut inside a quotation or brackets."""
    why = rule.info.why
    assert 0 < len(why) <= LONGEST_WHY
    assert why.count("`") % 2 == 0
    assert why.count("(") == why.count(")")


@every_rule
def test_declared_texts_have_one_line(rule: Rule) -> None:
    assert [text for text in (rule.info.message, rule.info.mark, rule.info.fix) if "\n" in text or "  " in text] == []


@every_rule
def test_declared_texts_name_only_what_a_user_can_replace(rule: Rule) -> None:
    words = [word for text in (rule.info.message, rule.info.mark, rule.info.fix) for word in CAPITALS.findall(text)]
    assert [word for word in words if word not in (*PLACEHOLDERS, *ABBREVIATIONS)] == []


def test_clear_texts_have_no_complaint() -> None:
    long = replace(CLEAR, message=f"{WORKSPACE}/{'x' * 140} is missing")
    assert hard_to_read(Report("check", (), 1, (CLEAR, long)), WORKSPACE) == []


@pytest.mark.parametrize(
    "finding",
    [
        replace(CLEAR, message="x" * 161),
        replace(CLEAR, mark="x" * 71),
        replace(CLEAR, message="spacing is 0.800000011920929 mm"),
        replace(CLEAR, mark="-63.4281719999 when migrated"),
        replace(CLEAR, fix="write 1.0000000001"),
        replace(CLEAR, fix="write 1\nor 2"),
        replace(CLEAR, mark="2.5 mm"),
        replace(CLEAR, message="spacing is 2.5 mm: it costs time"),
    ],
    ids=lambda finding: f"{finding.message[:20]} {finding.mark[:20]} {finding.fix[:20]}",
)
def test_texts_that_are_hard_to_read(finding: Finding) -> None:
    assert len(hard_to_read(Report("check", (), 1, (finding,)), WORKSPACE)) == 1


@pytest.mark.parametrize("reason", [f"{WORKSPACE}/nnUNet_raw is empty", "nnUNet_raw has no Dataset002_FinetuneCT"])
def test_reasons_that_cannot_be_gathered(reason: str) -> None:
    report = Report("check", (), 1, skipped=(SkippedRules("P.json", reason, (("PG999", "of-this-test"),)),))
    assert len(hard_to_read(report, WORKSPACE)) == 1


@pytest.mark.parametrize(
    ("number", "expected"), [("0.8", 1), ("2.50", 2), ("0.800000011920929", 15), ("-1e-8", 1), ("1.5e-05", 2)]
)
def test_significant_digits(number: str, expected: int) -> None:
    assert digits(number) == expected
