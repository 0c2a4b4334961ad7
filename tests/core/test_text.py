"""Parts of messages."""

from __future__ import annotations

from typing import Any

import pytest

from plansguard.core.text import brief, changed, counted, listed, shortened, times


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "null"),
        (True, "true"),
        ("é", '"é"'),
        (1.2000000476837158, "1.2"),
        ([1.2000000476837158, 3], "[1.2, 3]"),
        ([1] * 100, "[" + "1, " * 25 + "1..."),
    ],
)
def test_brief(value: Any, text: str) -> None:
    assert brief(value) == text


def test_only_what_no_path_can_be_is_cut() -> None:
    path, overlong = "/x" * 2040, "/xy" * 2040
    assert shortened(f"no {path}: {path}") == f"no {path}: {path}"
    assert shortened(f"no {overlong}  here") == f"no {overlong[:100]}...{overlong[-100:]}  here"


def test_exact_values_are_not_rounded() -> None:
    assert brief(1.2000000476837158, exact=True) == "1.2000000476837158"


def test_changed() -> None:
    assert changed("2d.spacing", 1.2000000476837158, None) == "2d.spacing was 1.2000000476837158 and is nothing"


def test_lists_and_numbers() -> None:
    assert (counted(1, "case"), counted(0, "case")) == ("1 case", "0 cases")
    assert (listed("abc"), listed("abcde")) == ("a, b, c", "a, b, c and 2 more")
    assert times([64, 0.5]) == "64 x 0.5"
