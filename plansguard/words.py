"""Words that messages on every floor are made of."""

from __future__ import annotations

from collections.abc import Iterable


def counted(number: int, noun: str) -> str:
    """``1 error``, ``2 errors``."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def nearest(name: str, names: Iterable[str]) -> str | None:
    """The one of ``names`` that was probably meant."""
    from difflib import get_close_matches  # only where something is wrong already

    return next(iter(get_close_matches(name, names, 1)), None)
