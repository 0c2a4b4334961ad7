"""Read documents from files and from git revisions (``HEAD~1:plans/nnUNetPlans.json``)."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterable, Sequence
from functools import partial
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
#: The configuration of an untrusted repository names programs. `cat-file`, `ls-tree` and `check-ignore` run none of
#: them but to fetch objects that a partial clone lacks: GIT_NO_LAZY_FETCH forbids that since git 2.44,
#: GIT_ALLOW_PROTOCOL, which overrides the configuration, since 2.3. The options and GIT_OPTIONAL_LOCKS switch off what
#: later versions might run.
ENVIRONMENT = {
    "GIT_NO_LAZY_FETCH": "1",
    "GIT_ALLOW_PROTOCOL": "none",
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_OPTIONAL_LOCKS": "0",
}
#: Variables that a hook sets, with paths relative to the folder that it runs in.
_OF_HOOKS = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX")
#: Hexadecimal digits of a digest by SHA-256.
_SHA256 = 64
_OPTIONS = ("--no-pager", "--no-replace-objects", "-c", "core.fsmonitor=", "-c", f"core.hooksPath={os.devnull}")


def read(place: str) -> JsonDocument:
    """The document at a path, or at ``REV:path`` if no file has that name.

    A relative path after the colon starts at the current folder, or else at the top of the repository, as for git.

    Raises UsageError if git does not know the revision or the file in it, UnreadableDocument if the content is not
    JSON.
    """
    revision, colon, path = place.partition(":")
    is_drive = os.name == "nt" and len(revision) == 1
    if disk.is_there(place) or not (colon and revision and path) or is_drive:
        return size_limits.read(Path(place))
    return size_limits.parse(_git_show(revision, path), place)


def _git_show(revision: str, path: str) -> bytes:
    """The content of a file in a revision, as git stores it."""
    place = f"{revision}:{path}"
    relative = (os.path.relpath(path) if Path(path).is_absolute() else path).replace(os.sep, "/")
    blob, from_top = f"{revision}:./{relative}", f"{revision}:{relative}"
    asked = _ask("cat-file", "-s", blob, place=place)
    if asked.returncode and not (other := _ask("cat-file", "-s", from_top, place=place)).returncode:
        blob, asked = from_top, other
    if int(_answer(asked, blob, place)) > json_document.MAX_BYTES_OF_CASES:
        raise json_document.too_large(place, json_document.MAX_BYTES_OF_CASES)
    # `cat-file blob` refuses a folder, and applies neither filters nor textconv.
    return _git("cat-file", "blob", blob, place=place)


def files_at(revision: str, folder: Path) -> dict[str, str]:
    """The names of the plain files that a folder had at a revision, with git's digests of their contents.

    None where the folder was not there. UsageError if git does not know the revision, or lacks the folder's content.
    """
    try:
        listed = _git("ls-tree", "-z", revision, place=f"revision {revision} of {folder.absolute()}", folder=folder)
    except UsageError as error:
        hint = "compare what is in a repository; where a clone is shallow, fetch the revision first"
        raise UsageError(error.reason, hint=hint) from error
    files = {}
    for line in listed.split(b"\0"):
        about, tab, name = line.partition(b"\t")
        if tab and about.startswith((b"100644 ", b"100755 ")):
            files[os.fsdecode(name)] = about.split()[2].decode("ascii")
    return files


def content_of(digest: str, folder: Path, name: str) -> bytes:
    """The content with this digest in the repository of a folder; ``name`` is that of the file."""
    size = _git("cat-file", "-s", digest, place=name, folder=folder)
    if int(size) > json_document.MAX_BYTES_OF_CASES:
        raise json_document.too_large(str(folder / name), json_document.MAX_BYTES_OF_CASES)
    return _git("cat-file", "blob", digest, place=name, folder=folder)


def has_digest(content: bytes, digest: str) -> bool:
    """Whether git's digest of a content, by SHA-1 or SHA-256, is this one."""
    import hashlib

    blob = b"blob %d\0" % len(content) + content
    kind = hashlib.sha256 if len(digest) == _SHA256 else partial(hashlib.sha1, usedforsecurity=False)
    return kind(blob).hexdigest() == digest


def ignored_in(folder: Path, names: Iterable[str]) -> set[str]:
    """Those of the names in a folder that git ignores."""
    listed = b"".join(os.fsencode(name) + b"\0" for name in names)
    if not listed:
        return set()
    done = _run(["check-ignore", "-z", "--stdin"], "the ignored files", folder=folder, given=listed)
    return {os.fsdecode(name) for name in done.stdout.split(b"\0") if name}


def _git(command: str, option: str, blob: str, *, place: str, folder: Path | None = None) -> bytes:
    """The output of a git command in a folder (default: the current one). Raises UsageError, with git's own reason."""
    return _answer(_ask(command, option, blob, place=place, folder=folder), blob, place)


def _ask(
    command: str, option: str, blob: str, *, place: str, folder: Path | None = None
) -> subprocess.CompletedProcess[bytes]:
    # After --end-of-options, a revision that begins with a dash is not read as an option.
    return _run([command, option, "--end-of-options", blob], place, folder=folder)


def _answer(asked: subprocess.CompletedProcess[bytes], blob: str, place: str) -> bytes:
    if asked.returncode:
        reason = " ".join(asked.stderr.decode(errors="replace").split()).removeprefix("fatal: ")
        raise UsageError(f"git has no {place}: {reason}", hint=_hint(reason, blob))
    return asked.stdout


def _run(
    words: Sequence[str], place: str, *, folder: Path | None = None, given: bytes = b""
) -> subprocess.CompletedProcess[bytes]:
    """Run git in a folder. In another than the current one, the variables that a hook sets do not lead to it."""
    program = find_program("git")
    if program is None:
        raise UsageError("git is not installed, or not on PATH", hint=f"give a file instead of {place}")
    dropped = () if folder is None else _OF_HOOKS
    try:
        return subprocess.run(
            [program, *_OPTIONS, *words],
            input=given,
            cwd=folder,
            capture_output=True,
            check=False,
            timeout=TIMEOUT,
            env={**{name: value for name, value in os.environ.items() if name not in dropped}, **ENVIRONMENT},
            preexec_fn=_limit_memory if os.name == "posix" else None,
        )
    except OSError as error:
        raise UsageError(f"git cannot be run: {error.strerror}", hint=f"give a file instead of {place}") from error
    except subprocess.TimeoutExpired as error:
        reason = f"git gave no answer for {place} in {error.timeout:g} seconds"
        raise UsageError(reason, hint=f"give a file instead of {place}") from error
    except ValueError as error:
        raise UsageError(f"git has no answer for {place}: {error}", hint=f"give a file instead of {place}") from error


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
