"""Folders without permission, also for tests that root runs."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

posix_permissions = pytest.mark.skipif(os.name == "nt", reason="Windows has no such permissions")


def bound_by_permissions() -> tuple[str, ...]:
    """The command around a process that permissions apply to: for root, one that gives up reading everything."""
    if os.geteuid() != 0:
        return ()
    if shutil.which("setpriv") is None:
        pytest.skip("root may read everything, and there is no setpriv to give that up")
    return ("setpriv", "--bounding-set=-dac_override,-dac_read_search")


@contextmanager
def closed(*folders: Path, mode: int = 0) -> Iterator[None]:
    """Folders or files with this mode, until the end of the block."""
    for folder in folders:
        folder.chmod(mode)
    try:
        yield
    finally:
        for folder in folders:
            folder.chmod(0o700)
