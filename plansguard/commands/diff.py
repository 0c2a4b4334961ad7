"""Compare two plans by meaning."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from plansguard.core.errors import UsageError
from plansguard.documents import git_revisions
from plansguard.documents.json_document import JsonDocument
from plansguard.documents.recognise import recognise
from plansguard.nnunet.plans_diff import Change, compare
from plansguard.subjects.discovery import assert_no_weights


class Difference(NamedTuple):
    """Two plans, and the fields that differ, in the order of what they decide."""

    before: JsonDocument
    after: JsonDocument
    changes: list[Change]


def diff(before: str | Path, after: str | Path) -> Difference:
    """Compare two plans: each a file, or ``REV:path`` for a file of a git revision.

    Values that nnU-Net takes as the same are the same; inherited fields are compared where they are used.

    Raises UsageError for files that are no plans and for what git does not know, and UnreadableDocument.
    """
    for place in (before, after):
        assert_no_weights(place)
    old, new = (git_revisions.read(str(place)) for place in (before, after))
    for document in (old, new):
        if recognise(document.value) != "plans":
            raise UsageError(f"{document.path} holds no nnU-Net plans", hint="give two plans files")
    return Difference(old, new, compare(old.value, new.value))
