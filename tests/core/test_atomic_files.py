"""Files that are written in one step."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from plansguard.core.atomic_files import Replaces, holding, nothing, write_atomically
from plansguard.core.errors import WriteRefused


@pytest.mark.parametrize(("before", "replaces"), [(None, nothing), (b"old", holding(b"old"))])
def test_a_file_that_comes_or_changes_meanwhile_is_kept(
    before: bytes | None, replaces: Replaces, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A large file takes seconds."""
    path, fsync = tmp_path / "file", os.fsync
    if before is not None:
        path.write_bytes(before)

    def slow(descriptor: int) -> None:
        path.write_bytes(b"of another program")
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", slow)
    with pytest.raises(WriteRefused, match="exists, and is not known to be written by plansguard"):
        write_atomically(path, b"new", replaces)
    assert [one.read_bytes() for one in tmp_path.iterdir()] == [b"of another program"]
