"""Free space, as the disk and the quotas of a user or group leave it."""

from __future__ import annotations

import ctypes
import os
import shutil
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from plansguard.core import free_space
from plansguard.core.free_space import FreeSpace

FREE = 5_000_000_000
USER, GROUP = 0x80000700, 0x80000701
EVERYTHING = 0b111111
#: Blocks of 1024 bytes in 1 GiB.
GIB = 2**20

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="a system call of Linux")


class Quota(ctypes.Structure):
    """``struct if_dqblk`` of linux/quota.h."""

    _fields_ = [
        *(
            (name, ctypes.c_uint64)
            for name in ("hard", "soft", "used", "most", "likely", "files", "until", "files_until")
        ),
        ("valid", ctypes.c_uint32),
    ]


@pytest.fixture
def quotas(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Let the kernel know these quotas, by command and number; the disk has FREE bytes, and the user is not root."""
    known: dict[tuple[int, int], Quota] = {}

    def ask(descriptor: int, command: int, number: int, answer: Any) -> bool:
        assert os.fstat(descriptor)
        quota = known.get((command, number))
        if quota is not None:
            assert ctypes.sizeof(quota) <= ctypes.sizeof(answer)
            ctypes.memmove(answer, ctypes.byref(quota), ctypes.sizeof(quota))
        return quota is not None

    def leave(command: int, number: int, **values: int) -> None:
        known[command, number] = Quota(**{"valid": EVERYTHING, **values})

    monkeypatch.setattr(free_space, "_asked", ask)
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: SimpleNamespace(free=FREE))
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(os, "getegid", lambda: 100)
    return leave


def test_no_quota(tmp_path: Path, quotas: Callable[..., None]) -> None:
    assert free_space.free_space(tmp_path) == FreeSpace(FREE)
    quotas(USER, 1000, hard=0, soft=0, used=7)  # space is counted, and not limited
    quotas(USER, 1001, hard=1, used=1024)  # another user
    assert free_space.free_space(tmp_path) == FreeSpace(FREE)


def test_the_least_that_is_left(tmp_path: Path, quotas: Callable[..., None]) -> None:
    quotas(USER, 1000, hard=3 * GIB, used=2**30)
    assert free_space.free_space(tmp_path) == FreeSpace(2 * 2**30, "the quota of this user")
    quotas(GROUP, 100, hard=3 * GIB, used=2 * 2**30)
    assert free_space.free_space(tmp_path) == FreeSpace(2**30, "the quota of group 100")
    quotas(USER, 1000, hard=GIB, used=2 * 2**30)  # the limit was lowered
    assert free_space.free_space(tmp_path) == FreeSpace(0, "the quota of this user")
    assert FreeSpace(0, "the quota of this user").by_quota == " (the quota of this user)"


def test_a_quota_larger_than_the_disk(tmp_path: Path, quotas: Callable[..., None]) -> None:
    quotas(USER, 1000, hard=9 * GIB, used=0)
    assert free_space.free_space(tmp_path) == FreeSpace(FREE)
    assert FreeSpace(FREE).by_quota == ""


def test_a_soft_limit_counts_once_its_time_is_over(tmp_path: Path, quotas: Callable[..., None]) -> None:
    now = int(time.time())
    for until, expected in ((0, FREE), (now + 3600, FREE), (now - 3600, 0)):
        quotas(USER, 1000, soft=GIB, used=2**30 + 1, until=until)
        assert free_space.free_space(tmp_path).amount == expected
    quotas(USER, 1000, soft=GIB, used=2**30, until=now - 3600)
    assert free_space.free_space(tmp_path).amount == FREE


def test_files_of_a_folder_that_gives_them_its_group(tmp_path: Path, quotas: Callable[..., None]) -> None:
    folder = tmp_path / "shared"
    folder.mkdir()
    folder.chmod(folder.stat().st_mode | stat.S_ISGID)
    quotas(GROUP, folder.stat().st_gid, hard=2 * GIB, used=2**30)
    assert free_space.free_space(folder).amount == 2**30


def test_space_that_is_not_known(tmp_path: Path, quotas: Callable[..., None]) -> None:
    quotas(USER, 1000, hard=GIB, used=2**30, valid=0)
    assert free_space.free_space(tmp_path) == FreeSpace(FREE)
    with pytest.raises(OSError, match="No such file"):
        free_space.free_space(tmp_path / "nothing")


def test_a_folder_that_cannot_be_opened(
    tmp_path: Path, quotas: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The free space of its disk is known all the same."""

    def closed(*_: object) -> int:
        raise PermissionError(13, "Permission denied")

    quotas(USER, 1000, hard=GIB, used=0)
    monkeypatch.setattr(os, "open", closed)
    assert free_space.free_space(tmp_path) == FreeSpace(FREE)


def test_root_may_exceed_quotas(tmp_path: Path, quotas: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> None:
    quotas(USER, 0, hard=GIB, used=2**30)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert free_space.free_space(tmp_path) == FreeSpace(FREE)


def test_the_kernel_is_really_asked(tmp_path: Path) -> None:
    """File systems here have no quotas, or one that leaves no more than the disk has."""
    tmp_path.chmod(0o755)
    script = (
        "import ctypes, os, shutil, sys\n"
        "from plansguard.core.free_space import free_space\n"
        "if os.geteuid() == 0: os.setgid(65534), os.setuid(65534)\n"
        "free = free_space(sys.argv[1])\n"
        "assert free.amount <= shutil.disk_usage(sys.argv[1]).free + 2**30, free\n"
        "print(free.quota or 'no quota')\n"
    )
    done = subprocess.run([sys.executable, "-c", script, "/"], capture_output=True, text=True, check=True)
    assert done.stdout.strip() in ("no quota", "the quota of this user", "the quota of group 65534")
