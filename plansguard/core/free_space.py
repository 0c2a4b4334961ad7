"""Free space: what a disk has, and what quotas leave of it.

The system counts project quotas of XFS and ext4 as the size of the disk, but not those of a user or group. Linux 5.14
and later tell them for local file systems. NFS, Lustre, GPFS and BeeGFS keep theirs on a server, which only programs of
their own ask; they may wait for it without end, and are not run.
"""

from __future__ import annotations

import os
import shutil
import stat
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import ctypes

#: The system call quotactl_fd(2), which has this number on all processors that torch runs on.
_QUOTACTL_FD = 443
#: Q_GETQUOTA, the kinds of quotas, and the unit of limits in bytes, as of linux/quota.h.
_GET, _USER, _GROUP, _UNIT = 0x800007, 0, 1, 1024
#: Limits and usage in space are valid.
_KNOWN = 0b11


class FreeSpace(NamedTuple):
    """Bytes that can be written, and the quota that sets them; empty where it is the disk itself."""

    amount: int
    quota: str = ""

    @property
    def by_quota(self) -> str:
        """The quota in parentheses after the amount; empty without one."""
        return f" ({self.quota})" if self.quota else ""


def free_space(folder: str | Path) -> FreeSpace:
    """The space that this process can fill in a folder; OSError where the system does not tell."""
    of_disk = FreeSpace(shutil.disk_usage(folder).free)
    return min((of_disk, *_of_quotas(folder)), key=lambda space: space.amount)


def _of_quotas(folder: str | Path) -> Iterator[FreeSpace]:
    if sys.platform != "linux" or os.geteuid() == 0:  # root may exceed quotas
        return
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    except PermissionError:  # files may be written into a folder that cannot be listed
        return
    try:
        status = os.fstat(descriptor)
        group = status.st_gid if status.st_mode & stat.S_ISGID else os.getegid()
        asked = ((_USER, os.geteuid(), "the quota of this user"), (_GROUP, group, f"the quota of group {group}"))
        for kind, number, quota in asked:
            left = _left(descriptor, kind, number)
            if left is not None:
                yield FreeSpace(left, quota)
    finally:
        os.close(descriptor)


def _left(descriptor: int, kind: int, number: int) -> int | None:
    """The bytes that a quota leaves; None without one. Its soft limit counts once the time to exceed it is over."""
    import ctypes  # not needed by a check

    answer = (ctypes.c_uint64 * 9)()
    if not _asked(descriptor, _GET << 8 | kind, number, answer):
        return None
    hard, soft, used, _, _, _, until, _, valid = answer
    if valid & _KNOWN != _KNOWN:
        return None
    if soft and used > soft * _UNIT and 0 < until <= time.time():
        return 0
    return max(0, hard * _UNIT - used) if hard else None


def _asked(descriptor: int, command: int, number: int, answer: ctypes.Array[Any]) -> bool:
    """Let the kernel fill in a ``struct if_dqblk``; False where it refuses, or has no quotas."""
    import ctypes

    kernel = ctypes.CDLL(None).syscall
    numbers = map(ctypes.c_long, (_QUOTACTL_FD, descriptor, command, number))
    return bool(kernel(*numbers, ctypes.byref(answer)) == 0)
