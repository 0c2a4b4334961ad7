"""Atomic writes and locks. After a crash or on a full disk, a file has its old or its new content, never a part."""

from __future__ import annotations

import errno
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from plansguard.core import disk
from plansguard.core.errors import UnreadableFolder, WriteRefused
from plansguard.core.text import quoted

#: Seconds that a process waits for the lock of a dataset folder.
LOCK_TIMEOUT = 10.0
#: Seconds that a process waits for a reader of the pipe that it writes to.
READER_TIMEOUT = 10.0
_TEMPORARY = ".plansguard.tmp"
_LOCK_ENDING = ".plansguard.lock"

#: Whether the content of an existing file is plansguard's own, or is kept elsewhere, so that the file may be replaced.
Replaces = Callable[[Path], bool]


def nothing(_: Path) -> bool:
    """Accept no file that may be replaced."""
    return False


def kept(_: Path) -> bool:
    """Accept every file: the caller has kept its content, or knows that it is plansguard's own."""
    return True


def holding(content: bytes | None) -> Replaces:
    """Accept a file with this content; no file where there was none (None)."""
    return nothing if content is None else lambda path: disk.content(path) == content


def assert_writable(path: Path, replaces: Replaces = nothing) -> None:
    """Raise WriteRefused unless nothing is at ``path``, or a file that may be replaced.

    A symbolic link is never written through, nor replaced: what it leads to may belong to other work.
    """
    if disk.is_link(path):
        where = disk.real(path)
        raise WriteRefused(f"{path} is a symbolic link to {where}", hint="name the file itself, or remove the link")
    if disk.is_folder(path):
        raise WriteRefused(f"{path} is a folder", hint="name a file in it")
    try:
        may_be_replaced = not disk.is_there(path) or (disk.is_file(path) and replaces(path))
    except OSError as error:
        raise _refused(path, error) from error
    if not may_be_replaced:
        reason = f"{path} exists, and is not known to be written by plansguard"
        raise WriteRefused(reason, hint="move it away, or use another name")


def write_atomically(path: Path, content: bytes, replaces: Replaces = nothing) -> None:
    """Write a file in one step: temporary file beside it, fsync, rename, fsync of the folder.

    Raises WriteRefused where ``assert_writable`` does, and with the system's reason (no space, no permission, ...). The
    file that was there before is then unchanged.
    """
    from plansguard.core.signals import clean_end

    assert_writable(path, replaces)
    _remove_abandoned(path.parent)
    try:
        with clean_end(), _temporary(path) as (stream, temporary):
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
            os.chmod(temporary, _mode(path))
            if os.name == "nt":  # an open file cannot be renamed there
                stream.close()
            assert_writable(path, replaces)  # a checkpoint takes seconds: another file may have come meanwhile
            os.replace(temporary, path)
            _sync(path.parent)
    except OSError as error:
        raise _refused(path, error) from error


@contextmanager
def _temporary(path: Path) -> Iterator[tuple[BinaryIO, str]]:
    """A new file beside ``path``, deleted on exit unless it was renamed.

    It is locked while it is open. A file of this kind without a lock is one that a killed process has left.
    """
    import tempfile

    temporary = ""
    try:
        while True:
            handle, temporary = tempfile.mkstemp(prefix=f".{path.name[:100]}.", suffix=_TEMPORARY, dir=path.parent)
            with os.fdopen(handle, "wb") as stream:
                _lock_temporary(stream.fileno())
                if disk.is_file(temporary):  # else another process deleted it before it was locked
                    yield stream, temporary
                    return
    finally:
        if temporary:
            with suppress(OSError):
                os.unlink(temporary)


def _remove_abandoned(folder: Path) -> None:
    """Delete the temporary files that killed writers left in a folder."""
    leftovers: list[Path] = []
    with suppress(UnreadableFolder):  # files can be written into a folder that cannot be listed
        leftovers = disk.matching(folder, f".*{_TEMPORARY}")
    for leftover in leftovers:
        if disk.is_file(leftover) and not disk.is_link(leftover):
            with suppress(OSError):
                _remove_unlocked(leftover)


def _remove_unlocked(temporary: Path) -> None:
    """Delete a temporary file; OSError if a process is writing it."""
    if sys.platform == "win32":
        os.unlink(temporary)  # refused for a file that is open
        return
    import fcntl

    with open(temporary, "r+b") as stream:
        fcntl.flock(stream.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.unlink(temporary)


def _lock_temporary(descriptor: int) -> None:
    """Lock a temporary file. A file system without locks is no reason not to write."""
    if sys.platform != "win32":
        import fcntl

        with suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX)


def append(path: Path, content: bytes) -> None:
    """Write to a pipe, a device or an open file.

    Raises WriteRefused with the system's reason, and for a pipe that no program reads within READER_TIMEOUT.
    """
    try:
        with open(_open_to_append(path), "ab") as stream:
            stream.write(content)
    except OSError as error:
        if error.errno == errno.ENXIO and disk.is_pipe(path):
            hint = f"start its reader first, such as: cat {quoted(path)} &"
            raise WriteRefused(f"no program reads the pipe {path}", hint=hint) from error
        raise _refused(path, error) from error


def _open_to_append(path: Path) -> int:
    """A descriptor; OSError with ENXIO for a pipe without a reader, on which opening would wait for ever."""
    flags = os.O_WRONLY | os.O_APPEND | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOCTTY", 0)
    latest = time.monotonic() + READER_TIMEOUT
    while True:
        try:
            descriptor = os.open(path, flags)
        except OSError as error:
            if error.errno != errno.ENXIO or not disk.is_pipe(path) or time.monotonic() > latest:
                raise
            time.sleep(0.05)
        else:
            if os.name == "posix":
                os.set_blocking(descriptor, True)
            return descriptor


@contextmanager
def after(steps: Sequence[str]) -> Iterator[None]:
    """Name the ``steps`` of a command that are done by then in the hint of WriteRefused."""
    try:
        yield
    except WriteRefused as refused:
        raise WriteRefused(refused.reason, hint="; ".join([*steps, refused.hint])) from refused


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Replace the file at ``path`` by what another program writes to the yielded temporary path.

    The temporary path is ``path`` with ``.tmp`` appended, so that a killed writer leaves at most one file, which the
    next writer replaces. Raises WriteRefused as ``write_atomically`` does.
    """
    temporary = path.with_name(path.name + ".tmp")
    with suppress(OSError):
        os.unlink(temporary)  # a leftover, or a link that would be written through
    try:
        yield temporary
        _fsync(temporary, os.O_RDWR)
        os.replace(temporary, path)
        _sync(path.parent)
    except BaseException as error:
        with suppress(OSError):
            os.unlink(temporary)
        if isinstance(error, OSError):
            raise _refused(path, error) from error
        raise


def remove(path: Path) -> None:
    """Delete ``path`` durably. Raises WriteRefused if the system does not allow it."""
    try:
        os.unlink(path)
        _sync(path.parent)
    except OSError as error:
        raise _refused(path, error) from error


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the lock of a dataset folder, and delete the temporary files that killed writers left in it.

    The file of the lock is deleted at the end: the folder may be one of a repository. Raises WriteRefused if another
    process holds the lock for longer than LOCK_TIMEOUT.
    """
    lock_file, busy = folder / _LOCK_ENDING, f"another plansguard is writing to {folder}"
    _assert_no_link(lock_file)
    descriptor = _awaited_lock(lock_file, busy)
    if descriptor is None:
        with _file_lock(lock_file, busy, LOCK_TIMEOUT):
            _remove_abandoned(folder)
            yield
        return
    try:
        _remove_abandoned(folder)
        yield
    finally:
        if _is_file_at(lock_file, descriptor):
            with suppress(OSError):
                os.unlink(lock_file)  # before the lock ends: a process that waits for it sees that its file is gone
        os.close(descriptor)


@contextmanager
def occupied(path: Path, busy: str) -> Iterator[tuple[int, ...]]:
    """Hold the lock of ``path`` during a long job. A second process is refused at once, with ``busy`` as the reason.

    Yields the file descriptors that a child process must inherit (``pass_fds``): the lock then lasts until the child
    ends, even if this process is killed before. On Windows and on file systems without flock there is no descriptor,
    and the lock ends with this process.
    """
    lock_file = path.with_name(f".{path.name}{_LOCK_ENDING}")
    descriptor = _inheritable_lock(lock_file, busy)
    if descriptor is None:
        with _file_lock(lock_file, busy, 0):
            yield ()
        return
    try:
        yield (descriptor,)
    finally:
        os.close(descriptor)  # without LOCK_UN, which would release the lock of a child that still runs


def is_occupied(path: Path) -> bool:
    """Whether a process holds the lock of ``path`` that `occupied` takes; False where that cannot be known."""
    lock_file = path.with_name(f".{path.name}{_LOCK_ENDING}")
    try:
        if sys.platform == "win32":
            return False
        descriptor = os.open(lock_file, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return False
    import fcntl

    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return error.errno in (errno.EACCES, errno.EAGAIN)
    finally:
        os.close(descriptor)
    return False


def locked_names(folder: Path) -> list[str]:
    """The names in a folder whose lock a process holds, also of what is still to be made there."""
    locks = disk.matching(folder, f".?*{_LOCK_ENDING}")
    names = [lock.name.removeprefix(".").removesuffix(_LOCK_ENDING) for lock in locks]
    return [name for name in names if is_occupied(folder / name)]


def _inheritable_lock(lock_file: Path, busy: str) -> int | None:
    """A descriptor that holds the same lock as filelock does; None where flock is not available."""
    try:
        return _locked_descriptor(lock_file)
    except BlockingIOError:
        hint = f"wait for it to end; lsof {quoted(lock_file)} shows which process it is"
        raise WriteRefused(busy, hint=hint) from None


def _awaited_lock(lock_file: Path, busy: str) -> int | None:
    """The same, of a lock whose file is deleted with it; waits for LOCK_TIMEOUT."""
    latest = time.monotonic() + LOCK_TIMEOUT
    while True:
        with suppress(BlockingIOError):
            descriptor = _locked_descriptor(lock_file)
            if descriptor is None or _is_file_at(lock_file, descriptor):
                return descriptor
            os.close(descriptor)  # its last holder has deleted it, and the next one locks another file
        if time.monotonic() > latest:
            raise WriteRefused(busy, hint=f"wait for it to end; it holds {lock_file.name}")
        time.sleep(0.02)


def _is_file_at(path: Path, descriptor: int) -> bool:
    """Whether an open file is the one at a path."""
    try:
        return os.path.samestat(os.fstat(descriptor), os.lstat(path))
    except OSError:
        return False


def _locked_descriptor(lock_file: Path) -> int | None:
    """A descriptor that holds the lock of a file; None where flock is not available.

    BlockingIOError while another process holds the lock, WriteRefused where the file cannot be locked.
    """
    if sys.platform == "win32":
        return None
    import fcntl

    try:
        descriptor = os.open(lock_file, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666)
    except OSError as error:
        raise _refused(lock_file.parent if error.errno == errno.ENOENT else lock_file, error) from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        if error.errno == errno.ENOSYS:
            return None
        if error.errno in (errno.EACCES, errno.EAGAIN):
            raise BlockingIOError(*error.args) from error
        raise _refused(lock_file, error) from error
    return descriptor


@contextmanager
def _file_lock(lock_file: Path, busy: str, timeout: float) -> Iterator[None]:
    from filelock import FileLock, Timeout

    _assert_no_link(lock_file)
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


def _assert_no_link(lock_file: Path) -> None:
    """Raise WriteRefused for a lock that would be created somewhere else."""
    if disk.is_link(lock_file):
        raise WriteRefused(f"{lock_file} is a symbolic link", hint="remove it: plansguard locks a file of its own")


def _mode(target: Path) -> int:
    """The permissions of the new file: those of the old file, or what the umask allows."""
    try:
        return target.stat().st_mode & 0o7777
    except OSError:
        umask = os.umask(0)
        os.umask(umask)
        return 0o666 & ~umask


def _sync(folder: Path) -> None:
    """Make a rename in this folder durable. Windows cannot open a folder, and needs no such step."""
    if os.name != "nt":
        with suppress(OSError):  # some network file systems refuse it; the rename itself is done
            _fsync(folder, os.O_RDONLY)


def _fsync(path: Path, flags: int) -> None:
    handle = os.open(path, flags)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _refused(path: Path, error: OSError) -> WriteRefused:
    reason = error.strerror or str(error)
    hint = "nothing was changed there; fix this and run the same command again"
    return WriteRefused(f"cannot write {path}: {reason}", hint=hint)
