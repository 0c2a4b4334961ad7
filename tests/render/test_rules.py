"""Rules as a list and as typeset pages."""

from __future__ import annotations

import re

import pytest

from plansguard.render import Screen
from plansguard.render.rules import page_as_text, text
from plansguard.rules import RULES, find
from plansguard.rules.engine.page import page

ESCAPE = re.compile(r"\x1b\[[\d;]*m")


@pytest.mark.parametrize("width", [60, 80, 100])
def test_the_list_fits_the_terminal(width: int) -> None:
    """A summary that has no room beside the name is below it."""
    lines = text(RULES, Screen(width=width)).splitlines()
    assert max(map(len, lines)) <= width
    assert sum(line.startswith("PG") for line in lines) == len(RULES)
    assert len(text(RULES, Screen()).splitlines()) == len(RULES)


def test_a_page_is_typeset_on_a_terminal_only() -> None:
    rule = find("PG101")
    assert rule is not None
    assert page_as_text(rule, Screen()) == page(rule)
    typeset = page_as_text(rule, Screen(width=80, color=True))
    plain = ESCAPE.sub("", typeset)
    assert "\x1b[1" in typeset
    assert not re.search("^#|```|`", plain, re.MULTILINE)
    assert max(map(len, plain.splitlines())) <= 80
    assert "error[PG101] patch_size" in plain
    assert not re.search(r"\x1b\[[\d;]*(3|4|9)\dm", page_as_text(rule, Screen(width=80)))


@pytest.mark.parametrize(
    ("code", "says"),
    [
        ("PG101", '{"severity": {"patch-not-divisible": "warning"}}'),
        ("PG000", "Settings cannot ignore it or change its severity"),
        ("PG412", "Settings cannot ignore it: --force replaces"),
    ],
)
def test_a_page_says_where_the_rule_is_configured(code: str, says: str) -> None:
    rule = find(code)
    assert rule is not None
    assert says in page(rule)
