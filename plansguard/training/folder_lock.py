"""One training at a time in a folder of results: a lock that says who trains there, and ends with its process.

POSIX record locks belong to a process. Loader workers forked from it do not hold them, so those that outlive a killed
training keep nobody out, and the lock is gone however the process ends. They work between the hosts of a cluster where
its file system has locks at all. Their one trap: a process that closes the file, whichever way it had opened it, drops
its lock. So a file that is held is opened once, read through that handle, and stays open until the process ends.
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

from plansguard.training.stop_reasons import Refused, TrainingObstacle

#: nnU-Net takes no notice of it. It stays when nobody holds it, and then tells which training was the last one here.
LOCK = ".plansguard.lock"
_NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP}
#: Windows lets nobody read what is locked, so there it is a byte behind everything that is written.
_BYTE = 1 << 20
_LONGEST = 10_000
#: A pipe under that name would be waited for, and what a link leads to would be written over.
_AT_ONCE = getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOFOLLOW", 0)

_open: dict[str, int] = {}


def hold(folder: Path) -> bool:
    """Hold the folder until this process ends; it is made if it is not there.

    False where the file system knows no locks, which keeps no second training away. Refused when another process trains
    there, or when nothing can be written there.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        key = _path(folder)
        if key in _open:
            return True
        descriptor = os.open(key, os.O_RDWR | os.O_CREAT | _AT_ONCE, 0o666)
    except OSError as error:
        raise Refused(
            f"nothing can be written into {folder}: {error.strerror or error}",
            hint="nnUNet_results must name a folder in which this user may write",
        ) from error
    try:
        _lock(descriptor)
    except OSError as error:
        if error.errno in _NO_LOCKS:
            _open[key] = descriptor
            return False
        note = _read(descriptor)
        os.close(descriptor)
        raise _occupied(folder, note) from None
    _open[key] = descriptor
    _write(descriptor, {**_read(descriptor), **_ourselves()})
    return True


def holder(folder: Path) -> str | None:
    """Which other process trains in the folder at this moment, in words; None when there is none.

    Not for a process that holds the folder itself: closing the file would give it up.
    """
    try:
        descriptor = os.open(_path(folder), os.O_RDWR | _AT_ONCE)
    except OSError:
        return None
    try:
        _lock(descriptor)
    except OSError as error:
        return None if error.errno in _NO_LOCKS else _who(_read(descriptor))
    finally:
        os.close(descriptor)
    return None


def note_run(folder: Path, run: str) -> None:
    """Write down which training trains in a folder that this process holds."""
    descriptor = _open[_path(folder)]
    _write(descriptor, {**_read(descriptor), "run": run})


def last_run(folder: Path) -> str | None:
    """The training that was the last to be begun or continued there; None where nothing says it."""
    path = _path(folder)
    descriptor = _open.get(path)
    if descriptor is not None:
        note = _read(descriptor)
    else:
        try:
            descriptor = os.open(path, os.O_RDONLY | _AT_ONCE)
        except OSError:
            return None
        note = _read(descriptor)
        os.close(descriptor)
    run = note.get("run")
    return run if isinstance(run, str) else None


def _path(folder: Path) -> str:
    return os.path.join(os.path.realpath(folder), LOCK)  # noqa: PTH118 - a key, and the same by whichever way one came


def _lock(descriptor: int) -> None:
    if sys.platform == "win32":
        import msvcrt

        os.lseek(descriptor, _BYTE, os.SEEK_SET)
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
    else:
        import fcntl

        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _ourselves() -> dict[str, Any]:
    now = datetime.now().astimezone().isoformat(sep=" ", timespec="seconds")
    return {"pid": os.getpid(), "host": socket.gethostname(), "since": now}


def _occupied(folder: Path, note: dict[str, Any]) -> Refused:
    return Refused(
        f"{_who(note)}, is training into {folder}; a second training would overwrite its checkpoints",
        hint="wait for it to end, or end it; then continue with --c",
        obstacle=TrainingObstacle.FOLDER_IN_USE,
    )


def _who(note: dict[str, Any]) -> str:
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
    """A full disk does not matter here: the lock holds, and the note is a help."""
    content = json.dumps(note).encode()
    with suppress(OSError):
        os.lseek(descriptor, 0, os.SEEK_SET)
        os.write(descriptor, content)
        os.ftruncate(descriptor, len(content))
