"""Questions about paths, answered without exceptions.

A path may come from an option or a document: it can be too long, contain NUL or half a surrogate pair, lead through a
file or into a loop of links. Each answer is then that of a path that does not exist. What is in a folder that cannot be
listed is not known: the functions that list folders raise UnreadableFolder. Every other module asks here.
"""

from __future__ import annotations

import errno
import fnmatch
import io
import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, TypeVar

from plansguard.core.errors import UnreadableFolder

Value = TypeVar("Value")

#: Opening a pipe or a device must not block. Windows has neither the flag nor the pipes.
_NO_WAITING = getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOCTTY", 0) | getattr(os, "O_BINARY", 0)
#: Bytes that are read at once from a file of unknown size.
_AT_ONCE = 2**20
#: Errors of a request for a path at which nothing is. After any other error it is not known what is there.
_NOTHING = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG, errno.EINVAL)


class NotAFile(OSError):
    """A path leads to a folder, a pipe, a socket or a device; ``mode`` is its ``st_mode``."""

    def __init__(self, path: str | Path, mode: int) -> None:
        super().__init__(f"{path} is not a file")
        self.mode = mode


def name(path: str | Path) -> str:
    """The last part of a path, which a Path object takes ten times as long to find."""
    return os.path.basename(path)


def stem(path: str | Path) -> str:
    """The last part of a path without its ending, as ``Path.stem``."""
    whole = name(path)
    head, _, ending = whole.rpartition(".")
    return head if head and ending else whole


def joined(folder: str, name: str) -> str:
    """The path of a name in a folder, without a Path object."""
    return os.path.join(folder, name)


def is_there(path: str | Path) -> bool:
    """Whether anything exists at a path; a broken link does not."""
    return os.path.exists(path)


def is_file(path: str | Path) -> bool:
    """Whether this is a regular file, or a link to one."""
    return os.path.isfile(path)


def is_folder(path: str | Path) -> bool:
    """Whether this is a folder, or a link to one."""
    return os.path.isdir(path)


def is_link(path: str | Path) -> bool:
    """Whether this is a symbolic link, broken or not."""
    return os.path.islink(path)


def is_special(path: str | Path) -> bool:
    """Whether this is a pipe, a socket or a device: writing to it replaces nothing."""
    return is_there(path) and not is_file(path) and not is_folder(path)


def is_standard_output(path: str | Path) -> bool:
    """Whether a path leads to what standard output writes to, unless that is thrown away."""
    found = status(path)
    try:
        return found is not None and os.path.samestat(found, os.fstat(1)) and not are_same(path, os.devnull)
    except OSError:
        return False  # it is closed


def is_pipe(path: str | Path) -> bool:
    """Whether this is a pipe, named or not."""
    found = status(path)
    return found is not None and stat.S_ISFIFO(found.st_mode)


def absence(path: str | Path) -> str:
    """Why there is nothing at a path, as a sentence that names it."""
    try:
        os.stat(path)
    except FileNotFoundError:
        return f"there is no {path}"
    except OSError as error:
        return f"{path}: {error.strerror}"
    except ValueError as error:
        return f"{path}: {error}"
    return f"{path} is something else"


def status(path: str | Path) -> os.stat_result | None:
    """The status of what a path leads to; None if there is nothing."""
    with suppress(OSError, ValueError):
        return os.stat(path)
    return None


def is_accessible(path: str | Path, *, write: bool = False) -> bool:
    """Whether this user can list a folder and open its files; with ``write`` also add files to it."""
    return os.access(path, os.R_OK | os.X_OK | (os.W_OK if write else 0))


def size(path: str | Path) -> int | None:
    """The size in bytes; None if there is nothing."""
    found = status(path)
    return None if found is None else found.st_size


def modified(path: str | Path) -> float | None:
    """The modification time in seconds since 1970; None if there is nothing."""
    found = status(path)
    return None if found is None else found.st_mtime


def real(path: str | Path) -> Path:
    """The absolute path without symbolic links, whether it exists or not."""
    with suppress(OSError, ValueError):
        return Path(os.path.realpath(path))
    return Path(path).absolute()


def are_same(one: str | Path, other: str | Path) -> bool:
    """Whether two paths lead to one place, whether it exists or not."""
    return real(one) == real(other)


class Entries(NamedTuple):
    """Names in a folder: of files, of folders, and of pipes, devices and broken links.

    A link counts as what it leads to; ``links`` names all of them.
    """

    files: frozenset[str] = frozenset()
    folders: frozenset[str] = frozenset()
    others: frozenset[str] = frozenset()
    links: frozenset[str] = frozenset()


def entries(folder: str | Path) -> Entries:
    """Everything in a folder, by one request to the system. OSError if it cannot be listed."""
    files: list[str] = []
    folders: list[str] = []
    others: list[str] = []
    links: list[str] = []
    try:
        with os.scandir(folder) as found:
            for entry in found:
                kind = files if _is(entry, folder=False) else folders if _is(entry, folder=True) else others
                kind.append(entry.name)
                if entry.is_symlink():
                    links.append(entry.name)
    except ValueError as error:
        raise _impossible(folder, error) from error
    return Entries(*map(frozenset, (files, folders, others, links)))


@contextmanager
def reading(folder: str | Path) -> Iterator[None]:
    """Turn an OSError about a folder that is there, and cannot be listed or entered, into UnreadableFolder."""
    try:
        yield
    except OSError as error:
        if error.errno in _NOTHING:
            raise
        closed = _closed_folder(folder)
        what = "listed" if closed == Path(folder) else "entered"
        reason = f"the folder cannot be {what}: {error.strerror}"
        raise UnreadableFolder(str(closed), reason, hint="check its permissions") from error


def _closed_folder(path: str | Path) -> Path:
    """The folder that hides what is at a path: itself, or the one above it that cannot be entered."""
    folder = Path(path)
    while folder != folder.parent:
        with suppress(OSError):
            os.stat(folder)
            break
        folder = folder.parent
    return folder


def assert_not_hidden(path: str | Path) -> None:
    """Raise UnreadableFolder where a folder above a path hides whether anything is there."""
    with suppress(OSError, ValueError), reading(path):
        os.stat(path)


def _present(folder: str | Path) -> Entries:
    """Everything in a folder, nothing where there is none. UnreadableFolder if it cannot be listed."""
    with suppress(OSError), reading(folder):
        return entries(folder)
    return Entries()


def file_names(folder: str | Path) -> frozenset[str]:
    """Names of the files in a folder; empty where there is none. UnreadableFolder if it cannot be listed."""
    return _present(folder).files


def folder_names(folder: str | Path) -> frozenset[str]:
    """Names of the folders in a folder; empty where there is none. UnreadableFolder if it cannot be listed."""
    return _present(folder).folders


def entry_names(folder: str | Path) -> list[str]:
    """Names of everything in a folder, sorted. OSError if it cannot be listed."""
    try:
        return sorted(os.listdir(folder))
    except ValueError as error:
        raise _impossible(folder, error) from error


def matching(folder: str | Path, pattern: str) -> list[Path]:
    """The paths below a folder that match a pattern such as ``fold_*/*.pth``, sorted; none where there is none.

    UnreadableFolder if a folder whose names a ``*`` stands for cannot be listed.
    """
    found = [Path(folder)]
    for part in pattern.split("/"):
        if not set(part) & set("*?["):
            found = [inside / part for inside in found if is_there(inside / part) or is_link(inside / part)]
            continue
        matches = re.compile(fnmatch.translate(part)).match
        names = ((inside, name) for inside in found for name in chain.from_iterable(_present(inside)[:3]))
        found = [inside / name for inside, name in names if matches(name)]
    return sorted(found)


def open_file(path: str | Path) -> BinaryIO:
    """Open a regular file for reading. Opening does not wait for the other end of a pipe.

    OSError if it cannot be opened: NotAFile for anything but a regular file, and for a path that no file can have,
    FileNotFoundError.
    """
    return io.BufferedReader(KernelFile(_opened(path)[0], path))


def _opened(path: str | Path) -> tuple[int, int]:
    """The descriptor of a regular file, and its size. OSError as from ``open_file``."""
    try:
        descriptor = os.open(path, os.O_RDONLY | _NO_WAITING)
    except ValueError as error:
        raise _impossible(path, error) from error
    except OSError as error:
        if os.path.isdir(path):  # Windows refuses to open a folder
            raise NotAFile(path, stat.S_IFDIR) from error
        raise
    found = os.fstat(descriptor)
    if not stat.S_ISREG(found.st_mode):
        os.close(descriptor)
        raise NotAFile(path, found.st_mode)
    return descriptor, found.st_size


def content(path: str | Path) -> bytes:
    """The content of a regular file. OSError as from ``open_file``."""
    with open_file(path) as file:
        return file.read()


def limited_content(path: str | Path, most: int) -> bytes | None:
    """The content of a regular file; None for more than ``most`` bytes. OSError as from ``open_file``."""
    descriptor, size = _opened(path)
    try:
        if size > most:
            return None
        raw = part = os.read(descriptor, size + 1)
        while part and len(raw) != size and len(raw) <= most:  # it changes meanwhile, or does not tell its size
            part = os.read(descriptor, _AT_ONCE)
            raw += part
    finally:
        os.close(descriptor)
    return raw if len(raw) <= most else None


class KernelFile(io.FileIO):
    """A file that may have nothing to read yet, such as ``/proc/kmsg``: BlockingIOError instead of None.

    Errors of reading name the file, as those of opening do.
    """

    def __init__(self, descriptor: int, path: str | Path) -> None:
        super().__init__(descriptor)
        self._path = str(path)

    def readinto(self, buffer: Any, /) -> int:
        """Read into a buffer."""
        with self._naming_it():
            received: int = _received(super().readinto(buffer))
        return received

    def readall(self) -> bytes:
        """Read to the end."""
        with self._naming_it():
            return _received(super().readall())

    @contextmanager
    def _naming_it(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            error.filename = self._path
            raise


def _received(result: Value | None) -> Value:
    if result is None:
        raise BlockingIOError(errno.EAGAIN, "reading it would wait")
    return result


def _is(entry: os.DirEntry[str], *, folder: bool) -> bool:
    """Whether an entry is a folder or a file; False where a link leads to a loop."""
    try:
        return entry.is_dir() if folder else entry.is_file()
    except OSError:
        return False


def _impossible(path: str | Path, error: ValueError) -> FileNotFoundError:
    """The error for a path that nothing can have."""
    return FileNotFoundError(errno.ENOENT, str(error), str(path))
