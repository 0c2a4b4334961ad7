"""Values that are shared by content, and the results of pure functions of them."""

from __future__ import annotations

from typing import Any

import pytest

from plansguard.core import by_content as module
from plansguard.core.by_content import by_content, content, shared


class Counted:
    """A function that counts its calls."""

    def __init__(self) -> None:
        self.calls = 0
        self._known = by_content(self.described)

    def described(self, value: Any, *arguments: Any) -> str:
        self.calls += 1
        return repr((value, *arguments))

    def known(self, value: Any, *arguments: Any) -> str:
        return self._known(shared(value), *arguments)


@pytest.fixture
def counted() -> Counted:
    return Counted()


def test_equal_content_is_computed_once(counted: Counted) -> None:
    for _ in range(3):
        assert counted.known({"strides": [[1, 2], [2, 2]], "bias": True}, "x") == (
            "({'strides': [[1, 2], [2, 2]], 'bias': True}, 'x')"
        )
    assert counted.calls == 1


def test_each_function_and_each_of_its_further_arguments_has_a_result(counted: Counted) -> None:
    assert counted.known([1], 2) == "([1], 2)"
    assert counted.known([1], 3) == "([1], 3)"
    assert by_content(len)(shared([1])) == 1
    assert by_content(sum)(shared([1])) == 1


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
    assert shared(one) is shared(one)
    assert shared(one) is not shared(other)


def test_strings_are_the_same_wherever_they_come_from() -> None:
    assert content({"".join(["ab", "cd"]): ["".join(["x", "y"])] * 2}) == content({"abcd": ["xy", "xy"]})


def test_what_is_too_deep_or_too_large_is_computed_again(counted: Counted) -> None:
    deep: Any = 0
    for _ in range(5000):
        deep = [deep]
    length = by_content(lambda value: len(value))
    assert length(shared(deep)) == 1
    large = "x" * 10_000
    assert counted.known(large) == counted.known(large)
    assert counted.calls == 2


def test_the_number_of_results_is_limited(counted: Counted, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MOST", 10)
    monkeypatch.setattr(module, "_shared", {})
    for number in range(25):
        assert counted.known(number) == f"({number},)"
    counted.known(24)
    assert counted.calls == 25
    assert len(module._shared) <= 10
