"""Exceptions of plansguard. They carry data and never print."""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import TypeVar

Value = TypeVar("Value")

#: What Python raises where a thread cannot be had: it has no number.
NO_THREAD = "can't start new thread"
#: Errors of memory, a process, a thread or an open file that cannot be had, and what to do.
_LIMITS = (errno.EAGAIN, errno.ENOMEM, errno.EMFILE, errno.ENFILE)
AT_A_LIMIT = "free memory or end other processes, check the limits that `ulimit -a` shows; then try again"


def is_limit(error: BaseException) -> bool:
    """Whether an error means that the machine gives no more memory, processes, threads or open files."""
    if isinstance(error, OSError):
        return error.errno in _LIMITS
    return isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and str(error) == NO_THREAD)


class PlansguardError(Exception):
    """A problem that the user can fix: ``reason`` is one sentence, ``hint`` is what to do next.

    The command line prints it as one message and exits with code 2.
    """

    def __init__(self, reason: str, *, hint: str = "") -> None:
        super().__init__(reason)
        self.reason = reason
        self.hint = hint


class UnreadableDocument(PlansguardError):
    """A file cannot be read as what it should be: JSON, a checkpoint, a model.

    ``line`` and ``column`` are 1-based, or None if the problem has no place (a missing file, a binary file).
    """

    def __init__(
        self, path: str, reason: str, *, hint: str = "", line: int | None = None, column: int | None = None
    ) -> None:
        super().__init__(reason, hint=hint)
        self.path = path
        self.line = line
        self.column = column


class UnreadableFolder(UnreadableDocument):
    """A folder cannot be listed or entered: what is in it is not known."""


class UsageError(PlansguardError):
    """The command cannot be carried out as typed: an unknown dataset, an ambiguous identifier, a bad option."""


class WriteRefused(PlansguardError):
    """A file could not be written, or must not be; the previous file is unchanged."""


class Absent(Exception):
    """A need of a rule is not available, for this reason. The engine records the rule as NotChecked."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class NotWrittenYet(Absent):
    """A file is absent that nnU-Net writes itself when it needs it: its rules have nothing to judge."""


def known(get: Callable[[], Value]) -> Value | None:
    """The value of ``get()``, or None if it raises Absent."""
    try:
        return get()
    except Absent:
        return None
