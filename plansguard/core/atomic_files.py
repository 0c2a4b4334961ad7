"""Writing without losing: a killed process or a full disk leaves the old file or the new one, never half of one."""

from __future__ import annotations

import errno
import os
import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from plansguard.core.errors import WriteRefused

#: How long a second process waits for the first one before it gives up, in seconds.
LOCK_TIMEOUT = 10.0
_TEMPORARY = ".plansguard.tmp"


def write_atomically(path: Path, content: bytes) -> None:
    """Put ``content`` at ``path`` in one step: temporary file beside it, fsync, rename, fsync of the folder.

    A link is followed, so that what it points to is replaced and the link stays. Raises WriteRefused with the
    system's own words (no space, no permission, ...); the file that was there is then untouched.
    """
    import tempfile

    target = Path(os.path.realpath(path))
    temporary = ""
    try:
        handle, temporary = tempfile.mkstemp(prefix=f".{target.name[:100]}.", suffix=_TEMPORARY, dir=target.parent)
        with os.fdopen(handle, "wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        os.chmod(temporary, _mode(target))
        os.replace(temporary, target)
        _sync_folder(target.parent)
    except OSError as error:
        if temporary:
            with suppress(OSError):
                os.unlink(temporary)
        raise _refused(path, error) from error


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """The same for what another program writes: gives the temporary path that it is to write to.

    It is ``path`` with ``.tmp`` behind, so that a killed writer leaves one file at most, which the next one replaces.
    """
    temporary = path.with_name(path.name + ".tmp")
    try:
        yield temporary
        handle = os.open(temporary, os.O_RDWR)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
        os.replace(temporary, path)
        _sync_folder(path.parent)
    except BaseException as error:
        with suppress(OSError):
            os.unlink(temporary)
        if isinstance(error, OSError):
            raise _refused(path, error) from error
        raise


def remove(path: Path) -> None:
    """Delete ``path`` durably; WriteRefused if the system does not let us."""
    try:
        os.unlink(path)
        _sync_folder(path.parent)
    except OSError as error:
        raise _refused(path, error) from error


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the lock of a dataset folder; two writers take turns, and one that waits too long says so.

    Whoever holds it sweeps away the temporary files that a killed writer left.
    """
    with _held(folder / ".plansguard.lock", f"another plansguard is writing to {folder}", LOCK_TIMEOUT):
        with suppress(OSError):
            for leftover in folder.glob(f".*{_TEMPORARY}"):
                leftover.unlink()
        yield


@contextmanager
def occupied(path: Path, busy: str) -> Iterator[tuple[int, ...]]:
    """Hold ``path`` for as long as a long job fills it; a second process that wants it is refused at once.

    ``busy`` is what the second one is told. Gives the file descriptors to hand on to a program that does the work
    (``pass_fds``): the lock then lasts until that has ended too, even if this process is killed before. There is none
    on Windows and on file systems without flock, where the lock ends with this process.
    """
    lock_file = path.with_name(f".{path.name}.plansguard.lock")
    descriptor = _inheritable_lock(lock_file, busy)
    if descriptor is None:
        with _held(lock_file, busy, 0):
            yield ()
        return
    try:
        yield (descriptor,)
    finally:
        os.close(descriptor)  # and no LOCK_UN, which would take the lock from whoever is still at work


def _inheritable_lock(lock_file: Path, busy: str) -> int | None:
    """A descriptor that holds the lock as filelock does; None where only filelock knows how to."""
    if sys.platform == "win32":
        return None
    import fcntl

    try:
        descriptor = os.open(lock_file, os.O_RDWR | os.O_CREAT, 0o666)
    except OSError as error:
        raise _refused(lock_file, error) from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        if error.errno == errno.ENOSYS:
            return None
        if error.errno in (errno.EACCES, errno.EAGAIN):
            hint = f"wait for it to end; lsof {shlex.quote(str(lock_file))} shows which process it is"
            raise WriteRefused(busy, hint=hint) from None
        raise _refused(lock_file, error) from error
    return descriptor


@contextmanager
def _held(lock_file: Path, busy: str, timeout: float) -> Iterator[None]:
    from filelock import FileLock, Timeout

    lock = FileLock(lock_file)
    try:
        lock.acquire(timeout=timeout)
    except Timeout:
        raise WriteRefused(busy, hint=f"wait for it to end; it holds {lock_file.name}") from None
    except OSError as error:
        raise _refused(lock_file, error) from error
    try:
        yield
    finally:
        lock.release()


def _mode(target: Path) -> int:
    """The permissions to give the new file: the old one's, or what the user's umask allows."""
    try:
        return target.stat().st_mode & 0o7777
    except OSError:
        umask = os.umask(0)
        os.umask(umask)
        return 0o666 & ~umask


def _sync_folder(folder: Path) -> None:
    """Make a rename durable. Windows cannot open a folder, and its rename needs no such step."""
    if os.name == "nt":
        return
    # Some network file systems refuse to sync a folder; the rename itself is done by then.
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _refused(path: Path, error: OSError) -> WriteRefused:
    reason = error.strerror or str(error)
    hint = "nothing was changed there; mend this and run the same command again"
    return WriteRefused(f"cannot write {path}: {reason}", hint=hint)
