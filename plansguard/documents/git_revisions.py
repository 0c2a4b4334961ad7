"""Read documents from files and from git revisions (``HEAD~1:plans/nnUNetPlans.json``)."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from plansguard.core import disk
from plansguard.core.errors import UsageError
from plansguard.core.programs import find_program
from plansguard.core.text import quoted
from plansguard.documents import json_document, size_limits
from plansguard.documents.json_document import JsonDocument

#: Seconds that git may take. A pipe in place of one of its files makes it wait for ever.
TIMEOUT = 60.0
#: Bytes that git may allocate: many times the largest document.
MAX_MEMORY = 2**30
#: The configuration of an untrusted repository names programs. `cat-file` runs none of them but to fetch objects that a
#: partial clone lacks: GIT_NO_LAZY_FETCH forbids that since git 2.44, GIT_ALLOW_PROTOCOL, which overrides the
#: configuration, since 2.3. The options and GIT_OPTIONAL_LOCKS switch off what later versions might run.
ENVIRONMENT = {
    "GIT_NO_LAZY_FETCH": "1",
    "GIT_ALLOW_PROTOCOL": "none",
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_OPTIONAL_LOCKS": "0",
}
_OPTIONS = ("--no-pager", "--no-replace-objects", "-c", "core.fsmonitor=", "-c", f"core.hooksPath={os.devnull}")


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
    """The content of a file in a revision, as git stores it."""
    relative = os.path.relpath(path) if Path(path).is_absolute() else path
    blob = f"{revision}:./{relative.replace(os.sep, '/')}"
    size = _git("cat-file", "-s", blob, place=f"{revision}:{path}")
    if int(size) > json_document.MAX_BYTES_OF_CASES:
        raise json_document.too_large(f"{revision}:{path}", json_document.MAX_BYTES_OF_CASES)
    # `cat-file blob` refuses a folder, and applies neither filters nor textconv.
    return _git("cat-file", "blob", blob, place=f"{revision}:{path}")


def _git(command: str, option: str, blob: str, *, place: str) -> bytes:
    """The output of a git command. Raises UsageError, with git's own reason."""
    program = find_program("git")
    if program is None:
        raise UsageError("git is not installed, or not on PATH", hint=f"give a file instead of {place}")
    try:
        # After --end-of-options, a revision that begins with a dash is not read as an option.
        shown = subprocess.run(
            [program, *_OPTIONS, command, option, "--end-of-options", blob],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
            timeout=TIMEOUT,
            env={**os.environ, **ENVIRONMENT},
            preexec_fn=_limit_memory if os.name == "posix" else None,
        )
    except OSError as error:
        raise UsageError(f"git cannot be run: {error.strerror}", hint=f"give a file instead of {place}") from error
    except subprocess.TimeoutExpired as error:
        reason = f"git gave no answer for {place} in {error.timeout:g} seconds"
        raise UsageError(reason, hint=f"give a file instead of {place}") from error
    except ValueError as error:
        raise UsageError(f"git has no answer for {place}: {error}", hint=f"give a file instead of {place}") from error
    if shown.returncode:
        reason = " ".join(shown.stderr.decode(errors="replace").split()).removeprefix("fatal: ")
        raise UsageError(f"git has no {place}: {reason}", hint=_hint(reason, blob))
    return shown.stdout


def _limit_memory() -> None:
    """Limit what git may allocate: a link to /dev/zero in place of one of its files never ends.

    Mapped files, such as packs of many gigabytes, do not count.
    """
    import resource

    _, highest = resource.getrlimit(resource.RLIMIT_DATA)
    most = MAX_MEMORY if highest == resource.RLIM_INFINITY else min(MAX_MEMORY, highest)
    resource.setrlimit(resource.RLIMIT_DATA, (most, highest))


def _hint(reason: str, blob: str) -> str:
    if "not allowed" in reason or "lazy fetch" in reason or "promisor" in reason:
        return f"this clone lacks the file, and plansguard fetches nothing: git show {quoted(blob)} > FILE"
    return "give REV:path, such as HEAD~1:nnUNetPlans.json"
