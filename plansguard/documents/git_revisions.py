"""Read documents from files and from git revisions (``HEAD~1:plans/nnUNetPlans.json``)."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from plansguard.core import disk
from plansguard.core.errors import UsageError
from plansguard.documents import size_limits
from plansguard.documents.json_document import JsonDocument


def read(place: str) -> JsonDocument:
    """The document at a path, or at ``REV:path`` if no file has that name.

    A relative path after the colon starts at the current folder. Raises UsageError if git does not know the revision
    or the file in it, UnreadableDocument if the content is not JSON.
    """
    revision, colon, path = place.partition(":")
    is_drive = os.name == "nt" and len(revision) == 1
    if disk.is_there(place) or not (colon and revision and path) or is_drive:
        return size_limits.read(Path(place))
    return size_limits.parse(_git_show(revision, path), place)


def _git_show(revision: str, path: str) -> bytes:
    relative = os.path.relpath(path) if Path(path).is_absolute() else path
    blob = f"{revision}:./{relative.replace(os.sep, '/')}"
    try:
        # `cat-file blob` returns the stored bytes, and refuses a folder. After --end-of-options, a revision that begins
        # with a dash is not read as an option.
        shown = subprocess.run(["git", "cat-file", "--end-of-options", "blob", blob], capture_output=True, check=False)
    except OSError as error:
        raise UsageError(
            f"git cannot be run: {error.strerror}", hint=f"give a file instead of {revision}:{path}"
        ) from error
    if shown.returncode:
        reason = " ".join(shown.stderr.decode(errors="replace").split()).removeprefix("fatal: ")
        raise UsageError(
            f"git has no {revision}:{path}: {reason}", hint="give REV:path, such as HEAD~1:nnUNetPlans.json"
        )
    return shown.stdout
