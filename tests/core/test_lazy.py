"""Properties that are computed once."""

from __future__ import annotations

from contextlib import suppress

from plansguard.core.lazy import cached_property


class Counted:
    """An object that counts how often its property is computed."""

    computed = 0

    @cached_property
    def value(self) -> int:
        """The value."""
        self.computed += 1
        if self.computed == 1:
            raise ValueError
        return self.computed


def test_it_is_computed_once_for_each_object() -> None:
    one, other = Counted(), Counted()
    for counted in (one, other):
        with suppress(ValueError):
            counted.value  # noqa: B018 - an exception is not kept
    assert (one.value, one.value, other.value) == (2, 2, 2)
    assert (one.computed, other.computed) == (2, 2)


def test_it_can_be_set() -> None:
    counted = Counted()
    counted.__dict__["value"] = 7
    assert (counted.value, counted.computed) == (7, 0)


def test_it_has_the_documentation_of_its_function() -> None:
    assert Counted.value.__doc__ == "The value."
