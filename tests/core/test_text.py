"""Parts of messages."""

from __future__ import annotations

from struct import pack, unpack
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plansguard.core.text import both, brief, changed, counted, listed, shortened, shortest, times


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


@pytest.mark.parametrize(
    ("value", "short"),
    [
        (0.800000011920929, 0.8),
        (1.2000000476837158, 1.2),
        (0.8, 0.8),
        (1.2000000476837159e-30, 1.2000000476837159e-30),
        (0.1 + 0.2, 0.1 + 0.2),
        (16777217.0, 16777217.0),
        (3.0, 3.0),
        (-0.0, -0.0),
        (1e300, 1e300),
    ],
)
def test_shortest(value: float, short: float) -> None:
    assert repr(shortest(value)) == repr(short)


@given(st.floats(width=32, allow_nan=False, allow_infinity=False))
def test_shortest_is_the_same_float32(value: float) -> None:
    assert unpack("f", pack("f", shortest(value)))[0] == value


@given(st.floats())
def test_shortest_is_no_other_float(value: float) -> None:
    """Whatever it is: what is no float32 keeps all digits."""
    short = shortest(value)
    assert repr(short) == repr(value) or unpack("f", pack("f", short))[0] == value


@pytest.mark.parametrize("value", [[2.5, 0.800000011920929], {"a": None}, "text", 3, True, None])
def test_a_shown_value_keeps_the_value(value: Any) -> None:
    assert brief(value).value == value
    assert both(value, "other")[0].value == value


def test_a_shown_value_that_is_cut_keeps_its_text() -> None:
    """A report does not grow with the file."""
    shown = brief(list(range(100_000)))
    assert shown.value == shown
    assert len(shown) == 80


def test_both() -> None:
    """Values that differ look different."""
    assert both([1.2000000476837158], [2.5]) == ("[1.2]", "[2.5]")
    assert both(1.2000000476837158, 1.2) == ("1.2000000476837158", "1.2")


def test_changed() -> None:
    assert changed("2d.spacing", 1.2000000476837158, None) == "2d.spacing was 1.2 and is nothing"


def test_lists_and_numbers() -> None:
    assert (counted(1, "case"), counted(0, "case")) == ("1 case", "0 cases")
    assert (listed("abc"), listed("abcde")) == ("a, b, c", "a, b, c and 2 more")
    assert times([64, 0.5]) == "64 x 0.5"
