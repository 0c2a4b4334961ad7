"""Results of pure functions, kept by the content of their arguments."""

from __future__ import annotations

from typing import Any

import pytest

from plansguard.core import by_content as module
from plansguard.core.by_content import by_content, content


class Counted:
    """A function that counts its calls."""

    def __init__(self) -> None:
        self.calls = 0
        self.known = by_content(self.described)

    def described(self, *values: Any) -> str:
        self.calls += 1
        return repr(values)


@pytest.fixture
def counted() -> Counted:
    return Counted()


def test_equal_content_is_computed_once(counted: Counted) -> None:
    for _ in range(3):
        assert counted.known({"strides": [[1, 2], [2, 2]], "bias": True}, "x") == (
            "({'strides': [[1, 2], [2, 2]], 'bias': True}, 'x')"
        )
    assert counted.calls == 1


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (1, 1.0),
        (1, True),
        (0, False),
        (0.0, -0.0),
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}),
        ([1, [2]], [[1], 2]),
        ("1", 1),
        (None, {}),
    ],
    ids=repr,
)
def test_other_types_and_orders_are_other_content(one: Any, other: Any, counted: Counted) -> None:
    assert counted.known(one) == repr((one,))
    assert counted.known(other) == repr((other,))
    assert content(one) != content(other)


def test_strings_are_the_same_wherever_they_come_from() -> None:
    assert content({"".join(["ab", "cd"]): ["".join(["x", "y"])] * 2}) == content({"abcd": ["xy", "xy"]})


def test_what_is_too_deep_or_too_large_is_computed_again(counted: Counted) -> None:
    deep: Any = 0
    for _ in range(5000):
        deep = [deep]
    length = by_content(lambda value: len(value))
    assert length(deep) == 1
    large = "x" * 10_000
    assert counted.known(large) == counted.known(large)
    assert counted.calls == 2


def test_the_number_of_results_is_limited(counted: Counted, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MOST", 10)
    for number in range(25):
        assert counted.known(number) == f"({number},)"
    counted.known(24)
    assert counted.calls == 25
