"""Findings about one change are printed as one, and come back when their cause is ignored."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plansguard.core.report import Finding, Location, Report, Severity

FOLLOWS = {"A": (), "B": ("A", "B"), "C": ("A", "B"), "D": ("C",)}
FIELDS = ["/patch_size", "/configurations/2d", "/configurations/2d/spacing", "/configurations/2d_x/spacing"]


def finding(code: str, *pointers: str, severity: Severity = Severity.WARNING, ignored: str | None = None) -> Finding:
    changed = tuple(Location("P.json", pointer) for pointer in pointers)
    at = changed[0] if changed else Location("P.json")
    return Finding(code, code, severity, "x", "x", at, ignored=ignored, changed=changed, follows=FOLLOWS[code])


def groups(*findings: Finding) -> list[tuple[str, str]]:
    """The codes of each cause and of its consequences."""
    causes = Report("check", (), 1, findings).causes
    return [(cause.finding.code, "".join(each.code for each in cause.consequences)) for cause in causes]


@pytest.mark.parametrize(
    ("findings", "expected"),
    [
        ([finding("B", "/p"), finding("A", "/p")], [("A", "B")]),
        ([finding("A", "/p"), finding("B", "/q")], [("A", ""), ("B", "")]),
        ([finding("A", "/p"), finding("B")], [("A", ""), ("B", "")]),
        ([finding("A", "/p"), finding("A", "/p")], [("A", ""), ("A", "")]),
        ([finding("B", "/p"), finding("B", "/p")], [("B", "B")]),
        ([finding("A", "/p"), finding("B", "/p", "/q")], [("A", ""), ("B", "")]),
        ([finding("A", "/p"), finding("A", "/q"), finding("B", "/p", "/q")], [("A", "B"), ("A", "")]),
        ([finding("A", "/p"), finding("B", "/p/0")], [("A", "B")]),
        ([finding("A", "/p/0"), finding("B", "/p")], [("A", ""), ("B", "")]),
        ([finding("A", "/p"), finding("B", "/pq")], [("A", ""), ("B", "")]),
        ([finding("C", "/p"), finding("B", "/p"), finding("A", "/p")], [("A", "BC")]),
        ([finding("D", "/p"), finding("C", "/p"), finding("A", "/p")], [("A", "C"), ("D", "")]),
        ([finding("A", "/p", ignored="meant"), finding("B", "/p")], [("B", "")]),
    ],
)
def test_causes(findings: list[Finding], expected: list[tuple[str, str]]) -> None:
    assert sorted(groups(*findings)) == sorted(expected)


def test_the_worst_severity_counts_and_comes_first() -> None:
    findings = (
        finding("A", "/q"),
        finding("A", "/p", severity=Severity.INFO),
        finding("B", "/p", severity=Severity.ERROR),
    )
    report = Report("check", (), 1, findings)
    assert [(cause.finding.location.pointer, cause.severity) for cause in report.causes] == [
        ("/p", Severity.ERROR),
        ("/q", Severity.WARNING),
    ]
    assert (report.summary()["error"], report.summary()["warning"], report.exit_code()) == (1, 1, 1)


some_findings = st.lists(
    st.builds(
        lambda code, pointers, severity, ignored: finding(code, *pointers, severity=severity, ignored=ignored),
        st.sampled_from(sorted(FOLLOWS)),
        st.lists(st.sampled_from(FIELDS), max_size=3),
        st.sampled_from(list(Severity)),
        st.sampled_from([None, None, "meant"]),
    ),
    max_size=8,
)


@given(some_findings)
def test_nothing_is_hidden(findings: list[Finding]) -> None:
    """Every active finding is a cause or a consequence, once; the exit code is that of the findings themselves."""
    report = Report("check", (), 1, tuple(findings))
    shown = [each for cause in report.causes for each in (cause.finding, *cause.consequences)]
    assert sorted(map(id, shown)) == sorted(map(id, report.active))
    for fail_on in Severity:
        worst = any(cause.severity.rank >= fail_on.rank for cause in report.causes)
        assert replace(report, fail_on=fail_on).exit_code() == int(worst) == int(report.fails(fail_on))


@given(some_findings)
def test_what_follows_comes_back_when_its_causes_are_ignored(findings: list[Finding]) -> None:
    report = Report("check", (), 1, tuple(findings))
    for cause in report.causes:
        for consequence in cause.consequences:
            rest = tuple(
                each if each is consequence or each.code not in consequence.follows else replace(each, ignored="meant")
                for each in findings
            )
            left = Report("check", (), 1, rest)
            assert any(each.finding is consequence for each in left.causes)
