"""Questions about paths: none raises, and nothing blocks."""

from __future__ import annotations

import errno
import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from plansguard.core import disk


def hostile(folder: Path) -> dict[str, str]:
    """Paths that nothing can have, or that lead nowhere."""
    (folder / "loop").symlink_to("loop")
    (folder / "file").write_text("")
    return {
        "long name": str(folder / ("x" * 300)),
        "long path": str(folder) + "/x" * 5000,
        "NUL": str(folder / "a\0b"),
        "surrogate": str(folder / "a\ud800b"),
        "newline": str(folder / "a\nb"),
        "loop": str(folder / "loop" / "x"),
        "through a file": str(folder / "file" / "x"),
        "nothing": "",
    }


QUESTIONS: dict[str, tuple[Callable[[str], Any], Any]] = {
    "is_there": (disk.is_there, False),
    "is_file": (disk.is_file, False),
    "is_folder": (disk.is_folder, False),
    "is_link": (disk.is_link, False),
    "is_special": (disk.is_special, False),
    "status": (disk.status, None),
    "size": (disk.size, None),
    "modified": (disk.modified, None),
    "file_names": (disk.file_names, frozenset()),
    "folder_names": (disk.folder_names, frozenset()),
}
KINDS = ("long name", "long path", "NUL", "surrogate", "newline", "loop", "through a file", "nothing")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("question", QUESTIONS)
def test_no_answer_raises(question: str, kind: str, tmp_path: Path) -> None:
    ask, answer = QUESTIONS[question]
    assert ask(hostile(tmp_path)[kind]) == answer


@pytest.mark.parametrize("kind", KINDS)
def test_the_reason_names_the_path(kind: str, tmp_path: Path) -> None:
    path = hostile(tmp_path)[kind]
    reason = disk.absence(path)
    assert path in reason
    assert reason.startswith("there is no ") == (kind in ("newline", "nothing"))


@pytest.mark.parametrize("kind", KINDS)
def test_every_path_has_a_real_path(kind: str, tmp_path: Path) -> None:
    path = hostile(tmp_path)[kind]
    assert disk.real(path).is_absolute()
    assert disk.matching(path, "*") in ([], sorted(Path().glob("*")))


@pytest.mark.parametrize("kind", KINDS)
def test_opening_raises_nothing_but_errors_of_the_system(kind: str, tmp_path: Path) -> None:
    path = hostile(tmp_path)[kind]
    for ask in (disk.open_file, disk.content, disk.entry_names):
        try:
            ask(path)
        except OSError:
            continue
        pytest.fail(f"{ask.__name__} accepted {path!r}")


def test_a_file_is_read(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"content")
    (tmp_path / "link").symlink_to("a")
    assert disk.content(tmp_path / "link") == b"content"
    assert disk.size(tmp_path / "link") == 7


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no pipes in folders")
@pytest.mark.parametrize("linked", [False, True])
def test_a_pipe_without_a_writer_does_not_block(linked: bool, tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    if linked:
        (tmp_path / "link").symlink_to(path)
        path = tmp_path / "link"
    with pytest.raises(disk.NotAFile):
        disk.open_file(path)
    assert disk.is_special(path)


@pytest.mark.parametrize("path", ["/dev/zero", "/dev/null", "/"])
def test_devices_and_folders_are_no_files(path: str) -> None:
    with pytest.raises(disk.NotAFile):
        disk.open_file(path)


@pytest.mark.parametrize("size", [-1, 10])
def test_a_file_of_the_kernel_that_has_nothing_to_read_does_not_block(size: int) -> None:
    """As ``/proc/kmsg``, which only root can open: a descriptor that has no data yet."""
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    with io.BufferedReader(disk.KernelFile(reading, "pipe")) as file, pytest.raises(BlockingIOError):
        file.read(size)
    os.close(writing)


def test_content_is_limited(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"12345")
    assert disk.limited_content(path, 5) == disk.limited_content(str(path), 100) == b"12345"
    assert disk.limited_content(path, 4) is None


def test_a_file_that_does_not_tell_its_size_is_read_to_its_end() -> None:
    path = Path("/proc/version")
    if not path.is_file():
        pytest.skip("the kernel has no such file here")
    assert disk.limited_content(path, 10_000) == path.read_bytes()
    assert disk.limited_content(path, 10) is None


@pytest.mark.parametrize("path", ["name", "name.json", "a.b.json", ".json", "name.", "folder.x/name", "..", "a..json"])
def test_the_stem_is_that_of_paths(path: str) -> None:
    assert disk.stem(path) == Path(path).stem


@pytest.mark.skipif(not Path("/proc/self/mem").exists(), reason="only Linux has it")
def test_an_error_of_reading_names_the_file() -> None:
    """As on a failing disk: one without a name was taken for that of standard output."""
    with pytest.raises(OSError, match="/proc/self/mem") as caught:
        disk.content("/proc/self/mem")
    assert (caught.value.errno, caught.value.filename) == (errno.EIO, "/proc/self/mem")
    with disk.open_file("/proc/self/mem") as file, pytest.raises(OSError, match="/proc/self/mem"):
        file.read(8)
