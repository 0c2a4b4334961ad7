"""Reports as Markdown, as GitHub's own parser shows them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from plansguard.core.report import Finding, Location, Report, Severity, SkippedRules
from plansguard.render import render
from plansguard.render.markdown import plain
from tests.support.command import run
from tests.support.reports import BROKEN, RULE_PAGES, plans, save
from tests.support.services import Page

pytestmark = pytest.mark.usefixtures("nowhere")
#: Characters of a comment on GitHub.
LONGEST = 65_536


def page(*arguments: str) -> Page:
    return Page(run("check", *arguments, "--output", "markdown").out)


def test_a_finding() -> None:
    save("sub/P.json", plans(BROKEN))
    shown = page()
    head, row = shown.rows
    assert head == ["", "finding", "place", "message"]
    message = "patch_size [56, 70, 64] is not divisible by the strides' product [8, 16, 16] on axis 1"
    assert row == ["error", "PG101", "sub/P.json:166:17", message]
    assert shown.links == [f"{RULE_PAGES}/PG101-patch-not-divisible.md"]
    assert "plansguard check: failed" in shown.text
    assert "1 error in 1 file" in shown.text
    assert "fix: use 64 or 80 on axis 1 of patch_size" in shown.text
    assert "sub/P.json:166:17 (3d_fullres)" in shown.text
    value, mark = next(piece for piece in shown.pieces if "^" in piece).splitlines()[-2:]
    assert value[mark.index("^") :].startswith("70")


@pytest.mark.parametrize(
    ("content", "code", "verdict"),
    [
        ("good", 0, "passed"),
        ("broken", 1, "failed"),
        ("damaged", 2, "incomplete: something was not judged"),
        ("nothing", 3, "nothing to check"),
    ],
)
def test_verdicts(content: str, code: int, verdict: str) -> None:
    if content == "damaged":
        Path("nnUNetPlans.json").write_text("{")
    elif content != "nothing":
        save("P.json", plans(*([BROKEN] if content == "broken" else [])))
    done = run("check", "--output", "markdown")
    assert done.code == code
    assert f"plansguard check: {verdict}\n" in Page(done.out).text


def test_what_is_ignored_and_not_checked_is_folded() -> None:
    save("P.json", plans(BROKEN))
    save("plansguard.json", {"ignore": [{"rule": "PG101", "reason": "on | purpose"}]})
    shown = page()
    assert shown.rows == []
    assert "PG101 patch-not-divisible at P.json:166:17 (3d_fullres): on | purpose" in shown.text
    assert "ignored: 1\n" in shown.text
    assert re.search(r"\nnot checked: [1-9]\n", shown.text)


def test_places_of_the_same_fault_are_one_row() -> None:
    for folder in "abcdefg":
        save(f"{folder}/P.json", plans(BROKEN))
    shown = page()
    assert [row[2] for row in shown.rows[1:]] == ["a/P.json:166:17 and 6 more places"]
    assert "e/P.json:166:17" in shown.text
    assert "f/P.json:166:17" not in shown.text
    assert "... and 2 more places" in shown.text


def test_thousands_of_findings_fit_a_comment() -> None:
    """The most severe come first; the rest is counted."""
    findings = tuple(
        Finding("PG101", "x", Severity.ERROR, f"{number} {'<' * 400}", "f", Location(f"P{number}.json"), url="u")
        for number in range(3000)
    )
    rules = (("PG102", "y"),)
    skipped = tuple(SkippedRules(f"P{number}.json", f"{number} {'|' * 500}", rules) for number in range(3000))
    text = render(Report("check", (), 3000, findings, skipped), "markdown")
    assert len(text) < LONGEST
    shown = Page(text)
    assert shown.rows[1][3].startswith("0 <")
    rest = 3000 - (len(shown.rows) - 2)
    assert shown.rows[-1][1] == f"... and {rest} more"


@pytest.mark.parametrize(
    "text",
    [
        "a | b || c",
        "*bold* _it_ __b__ ~~s~~ `code` ``x``",
        "[l](http://evil) ![i](https://evil/x.png) <b>x</b> <!-- x --> &amp; &lt;",
        "@user @org/team #12 owner/repo#3 !4 $5 user@example.org",
        "https://evil.org/x www.evil.org ftp://x WWW.evil.org",
        r"a\|b \* \@user \\",
        "</details></td></table>",
        "1. x",
        "- x # y > z",
        "+ x",
        "\ttab and  blanks",
    ],
)
def test_texts_are_shown_as_they_are(text: str) -> None:
    shown = Page(f"| h |\n|---|\n| {plain(text)} |\n\n- {plain(text)}\n")
    assert shown.links == []
    assert shown.mentions() == []
    assert shown.elements <= {"table", "thead", "tbody", "tr", "th", "td", "ul", "li", "span"}
    expected = text.replace("\t", r"\t")
    assert shown.rows[1][0] == expected
    assert shown.text.strip().endswith(expected)


def test_mentions_are_found() -> None:
    """The test above can fail."""
    assert Page("see @user and https://evil.org #1").mentions() == ["@user", "https://", "#1"]
    assert Page("[a](http://b)").links == ["http://b"]


def test_long_texts_are_cut() -> None:
    assert len(plain("<" * 5000)) < 6000
    assert plain("x y " * 2000).endswith("x y ...")
