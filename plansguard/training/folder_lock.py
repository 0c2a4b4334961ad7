"""Lock of a folder of results, for one training at a time.

POSIX record locks belong to a process. Loader workers forked from it do not have them, so workers that outlive a killed
training block no other one, and the lock is released however the process ends. The locks work between the hosts of a
cluster if its file system has locks at all. A process that closes the file releases its lock, even if it has opened the
file twice. So a locked file is opened once, read through that descriptor, and stays open until the process ends.
"""

from __future__ import annotations

import errno
import json
import os
import socket
import sys
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

from plansguard.core import disk
from plansguard.training.stop_reasons import Refused, TrainingObstacle

#: nnU-Net ignores it. It is left behind, and then names the last training in this folder.
LOCK = ".plansguard.lock"
_NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP}
#: On Windows a locked byte cannot be read, so it is one behind the content.
_BYTE = 1 << 20
_LONGEST = 10_000
#: Neither wait for a pipe of that name, nor overwrite the target of a link.
_AT_ONCE = getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOFOLLOW", 0)

#: Descriptors of the locked files that this process keeps open, by path.
_open: dict[str, int] = {}
#: Those of files that it has only read. They stay open too: the program before it in its process may have locked them.
_read_only: dict[str, int] = {}


def hold(folder: Path) -> bool:
    """Lock the folder until this process ends; create it if it is missing.

    False if the file system has no locks, so that a second training is not noticed. Refused if another process trains
    there, or if the folder is not writable.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        path = _path(folder)
        if path in _open:
            return True
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | _AT_ONCE, 0o666)
    except OSError as error:
        raise Refused(
            f"nothing can be written into {folder}: {error.strerror or error}",
            hint="nnUNet_results must name a folder that this user may write into",
        ) from error
    try:
        _lock(descriptor)
    except OSError as error:
        if error.errno in _NO_LOCKS:
            _open[path] = descriptor
            return False
        owner = _owner(_read(descriptor))
        os.close(descriptor)
        raise Refused(
            f"{owner}, is training into {folder}; a second training would overwrite its checkpoints",
            hint="wait for it to end, or end it; then continue with --c",
            obstacle=TrainingObstacle.FOLDER_IN_USE,
        ) from None
    _open[path] = descriptor
    now = datetime.now().astimezone().isoformat(sep=" ", timespec="seconds")
    _write(descriptor, {**_read(descriptor), "pid": os.getpid(), "host": socket.gethostname(), "since": now})
    return True


def release(folder: Path) -> None:
    """Release the lock of a folder, where this process has it."""
    descriptor = _open.pop(_path(folder), None)
    if descriptor is not None:
        os.close(descriptor)


def pass_on(folder: Path) -> None:
    """Keep the lock of a folder when another program takes the place of this one in its process."""
    os.set_inheritable(_open[_path(folder)], True)


def holder(folder: Path) -> str | None:
    """Describe the other process that trains in the folder at this moment; None if there is none.

    Not for a process that has locked the folder itself: closing the file would release the lock.
    """
    try:
        descriptor = os.open(_path(folder), os.O_RDWR | _AT_ONCE)
    except OSError:
        return None
    try:
        _lock(descriptor)
    except OSError as error:
        return None if error.errno in _NO_LOCKS else _owner(_read(descriptor))
    finally:
        os.close(descriptor)
    return None


def note_run(folder: Path, run: str) -> None:
    """Write the identifier of the training into the lock file of a folder that this process has locked."""
    descriptor = _open[_path(folder)]
    _write(descriptor, {**_read(descriptor), "run": run})


def last_run(folder: Path) -> str | None:
    """The identifier of the training that was last begun or continued there; None if it is not known."""
    path = _path(folder)
    try:
        if path not in _open and not _is_same(path, _read_only.get(path)):
            _read_only[path] = os.open(path, os.O_RDONLY | _AT_ONCE)
    except OSError:
        return None
    run = _read(_open[path] if path in _open else _read_only[path]).get("run")
    return run if isinstance(run, str) else None


def _is_same(path: str, descriptor: int | None) -> bool:
    """Whether this is the descriptor of the file that has the path now."""
    return descriptor is not None and os.path.samestat(os.fstat(descriptor), os.stat(path))  # noqa: PTH116


def _path(folder: Path) -> str:
    return os.path.join(disk.real(folder), LOCK)  # noqa: PTH118 - a key, the same for every path to the folder


def _lock(descriptor: int) -> None:
    if sys.platform == "win32":
        import msvcrt

        os.lseek(descriptor, _BYTE, os.SEEK_SET)
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
    else:
        import fcntl

        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _owner(note: dict[str, Any]) -> str:
    known = {"pid", "host", "since"} <= note.keys()
    return f"process {note['pid']} on {note['host']}, since {note['since']}" if known else "another process"


def _read(descriptor: int) -> dict[str, Any]:
    with suppress(OSError, ValueError, RecursionError):
        os.lseek(descriptor, 0, os.SEEK_SET)
        note = json.loads(os.read(descriptor, _LONGEST))
        if isinstance(note, dict):
            return note
    return {}


def _write(descriptor: int, note: dict[str, Any]) -> None:
    """Write the note; a full disk is ignored, because the lock does not need the note."""
    content = json.dumps(note).encode()
    with suppress(OSError):
        os.lseek(descriptor, 0, os.SEEK_SET)
        os.write(descriptor, content)
        os.ftruncate(descriptor, len(content))
