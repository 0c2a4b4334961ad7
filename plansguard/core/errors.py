"""The exceptions a caller of plansguard may meet. They carry data and never print."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar


class PlansguardError(Exception):
    """A problem that the user can mend: one sentence of what is wrong, and what to do next.

    The command line turns it into one message and exit code 2.
    """

    def __init__(self, reason: str, *, hint: str = "") -> None:
        super().__init__(reason)
        self.reason = reason
        self.hint = hint


class UnreadableDocument(PlansguardError):
    """A file that cannot be read as what it should be: JSON, a checkpoint, a model.

    ``line`` and ``column`` are 1-based, or None where the trouble has no place (a missing file, a binary file).
    """

    def __init__(
        self, path: str, reason: str, *, hint: str = "", line: int | None = None, column: int | None = None
    ) -> None:
        super().__init__(reason, hint=hint)
        self.path = path
        self.line = line
        self.column = column


class UsageError(PlansguardError):
    """The command as typed cannot be carried out: an unknown dataset, an ambiguous identifier, a bad option."""


class WriteRefused(PlansguardError):
    """A file could not be written, or must not be; what was there before is untouched."""


class Absent(Exception):
    """A need that cannot be given, and why. The engine turns it into a NotChecked record."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


Value = TypeVar("Value")


def known(get: Callable[[], Value]) -> Value | None:
    """The value of ``get()``, or None if it raises Absent."""
    try:
        return get()
    except Absent:
        return None
