"""Plans in git revisions of an untrusted repository: git runs nothing that the repository names.

Each channel is opened twice: by a command of git that uses it, which shows that it is open, and by plansguard.
"""

from __future__ import annotations

import os
import shlex
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from plansguard.core.errors import UnreadableDocument, UsageError
from plansguard.documents import git_revisions, json_document
from tests.support.command import run
from tests.support.git import git, use_only_the_repository

pytestmark = [
    pytest.mark.deep,
    pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed"),
    pytest.mark.skipif(os.name == "nt", reason="the programs are shell scripts"),
]

MARKER = Path("executed")


@pytest.fixture(autouse=True)
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with two commits of P.json as the current folder, and no configuration but its own."""
    use_only_the_repository(monkeypatch)
    folder = tmp_path / "repository"
    folder.mkdir()
    monkeypatch.chdir(folder)
    git("init", "--quiet")
    for text in ('{"plans_name": "first"}', '{"plans_name": "second"}'):
        Path("P.json").write_text(text)
        git("add", "P.json")
        git("commit", "--quiet", "--message", text)
    return folder


def configure(key: str, value: str) -> None:
    git("config", key, value)


def program(name: str = "program") -> str:
    """A script that leaves the marker."""
    path = Path(name).absolute()
    path.write_text(f"#!/bin/sh\ntouch {shlex.quote(str(MARKER.absolute()))}\nexit 1\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)


def lose_the_blob() -> None:
    """Make this a partial clone that lacks the first P.json."""
    blob = git("rev-parse", "HEAD~1:P.json").stdout.strip()
    path = Path(".git/objects", blob[:2], blob[2:])
    path.chmod(0o600)
    path.unlink()
    configure("core.repositoryFormatVersion", "1")
    configure("extensions.partialClone", "origin")
    configure("remote.origin.promisor", "true")


def upload_pack() -> None:
    lose_the_blob()
    configure("remote.origin.url", str(Path.cwd()))
    configure("remote.origin.uploadPack", program())


def external_transport() -> None:
    lose_the_blob()
    configure("remote.origin.url", f"ext::{program()}")
    configure("protocol.ext.allow", "always")


def ssh_command() -> None:
    lose_the_blob()
    configure("remote.origin.url", "ssh://nowhere.invalid/x")
    configure("core.sshCommand", program())


def remote_helper() -> None:
    lose_the_blob()
    configure("remote.origin.url", "git://nowhere.invalid/x")
    configure("core.gitProxy", program())


def included() -> None:
    """The same as upload_pack, in a file that the configuration includes."""
    upload_pack()
    shutil.move(".git/config", ".git/more")
    Path(".git/config").write_text("[include]\n\tpath = more\n[core]\n\trepositoryFormatVersion = 1\n")


def file_monitor() -> None:
    configure("core.fsmonitor", program())


def hooks() -> None:
    Path("hooks").mkdir()
    program("hooks/reference-transaction")
    configure("core.hooksPath", str(Path("hooks").absolute()))


def textconv() -> None:
    Path(".git/info/attributes").write_text("*.json diff=x\n")
    configure("diff.x.textconv", program())


def filters() -> None:
    Path(".git/info/attributes").write_text("*.json filter=x\n")
    configure("filter.x.smudge", program())


def external_diff() -> None:
    configure("diff.external", program())


def pager() -> None:
    configure("core.pager", program())
    configure("pager.cat-file", program())


def alias() -> None:
    configure("alias.shown", f"!{program()}")
    configure("alias.cat-file", f"!{program()}")


class Channel(NamedTuple):
    """A way in which git starts a program, and a command that uses it."""

    open: Callable[[], None]
    used_by: tuple[str, ...]


BLOB = ("cat-file", "blob", "HEAD~1:P.json")
CHANNELS = [
    Channel(upload_pack, BLOB),
    Channel(external_transport, BLOB),
    Channel(ssh_command, BLOB),
    Channel(remote_helper, BLOB),
    Channel(included, BLOB),
    Channel(file_monitor, ("status",)),
    Channel(hooks, ("update-ref", "refs/heads/x", "HEAD")),
    Channel(textconv, ("cat-file", "--textconv", "HEAD~1:P.json")),
    Channel(filters, ("cat-file", "--filters", "HEAD~1:P.json")),
    Channel(external_diff, ("diff", "HEAD~1")),
    Channel(pager, BLOB),
    Channel(alias, ("shown",)),
]
every_channel = pytest.mark.parametrize("channel", CHANNELS, ids=lambda channel: channel.open.__name__)


def on_a_terminal(*arguments: str) -> None:
    """Run git with a terminal as its output, which some channels need."""
    import pty

    terminal, end = pty.openpty()
    try:
        subprocess.run(["git", *arguments], check=False, stdin=end, stdout=end, stderr=end, timeout=60)
    finally:
        os.close(end)
        os.close(terminal)


@every_channel
def test_the_channel_is_open(channel: Channel) -> None:
    channel.open()
    on_a_terminal(*channel.used_by)
    assert MARKER.exists()


@pytest.mark.slow
@every_channel
def test_nothing_is_run(channel: Channel) -> None:
    channel.open()
    done = run("diff", "HEAD~1:P.json", "P.json")
    assert not MARKER.exists()
    if "blob" in channel.used_by and channel.open is not pager:
        assert done.code == 2
        assert "plansguard fetches nothing: git show 'HEAD~1:./P.json' > FILE" in done.err
    else:
        assert git_revisions.read("HEAD~1:P.json").value == {"plans_name": "first"}
    assert not MARKER.exists()


@pytest.mark.slow
@every_channel
def test_nothing_is_run_for_a_comparison(channel: Channel) -> None:
    """`check --against` lists folders and asks which files are ignored as well."""
    channel.open()
    Path(".gitignore").write_text("ignored.json\n")
    Path("ignored.json").write_text("{}")
    Path("nnUNetPlans.json").write_text('{"plans_name": "x", "configurations": {}}')
    done = run("check", "--against", "HEAD~1")
    assert not MARKER.exists()
    if "blob" in channel.used_by and channel.open is not pager:
        assert done.code == 2
        assert "plansguard fetches nothing" in done.err
    else:
        assert (done.code, done.out.startswith("0 known findings (git revision HEAD~1)")) == (0, True)


@pytest.mark.parametrize("open_channel", [upload_pack, external_transport, ssh_command, remote_helper, included])
def test_a_git_without_the_switch_for_fetching(
    open_channel: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Earlier versions do not know GIT_NO_LAZY_FETCH; that no transport is allowed suffices."""
    open_channel()
    monkeypatch.delitem(git_revisions.ENVIRONMENT, "GIT_NO_LAZY_FETCH")
    with pytest.raises(UsageError, match="git has no") as refused:
        git_revisions.read("HEAD~1:P.json")
    assert "plansguard fetches nothing" in refused.value.hint
    assert not MARKER.exists()


@pytest.mark.parametrize("path", ["", ".", "bin::."])
def test_a_program_called_git_in_the_current_folder(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Relative entries of PATH, of which an empty one is the current folder, are passed over."""
    Path("bin").mkdir()
    program("git")
    program("bin/git")
    monkeypatch.setenv("PATH", f"{path}{os.pathsep}{os.environ['PATH']}")
    subprocess.run(["git", "status"], check=False, capture_output=True)
    assert MARKER.exists()
    MARKER.unlink()
    assert git_revisions.read("HEAD~1:P.json").value == {"plans_name": "first"}
    assert not MARKER.exists()


def test_a_path_from_the_top_of_the_repository(monkeypatch: pytest.MonkeyPatch) -> None:
    """As git reads it, where the current folder has no such file."""
    Path("plans").mkdir()
    for name in ("P.json", "Q.json"):
        Path("plans", name).write_text('{"plans_name": "below"}')
    git("add", "plans")
    git("commit", "--quiet", "--message", "plans")
    Path("R.json").write_text('{"plans_name": "third"}')
    git("add", "R.json")
    git("commit", "--quiet", "--message", "third")
    monkeypatch.chdir("plans")
    named = {
        path: git_revisions.read(f"HEAD:{path}").value["plans_name"] for path in ("R.json", "plans/Q.json", "P.json")
    }
    assert named == {"R.json": "third", "plans/Q.json": "below", "P.json": "below"}
    with pytest.raises(UsageError, match=r"git has no HEAD:S\.json: "):
        git_revisions.read("HEAD:S.json")


def test_replaced_objects() -> None:
    """The content is that of the commit, not of refs/replace."""
    before, now = (git("rev-parse", f"{revision}:P.json").stdout.strip() for revision in ("HEAD~1", "HEAD"))
    git("replace", before, now)
    assert git("cat-file", "blob", "HEAD~1:P.json").stdout == '{"plans_name": "second"}'
    assert git_revisions.read("HEAD~1:P.json").value == {"plans_name": "first"}


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no pipes in folders")
def test_a_pipe_in_place_of_a_file_of_git(monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkfifo("pipe")
    configure("include.path", str(Path("pipe").absolute()))
    monkeypatch.setattr(git_revisions, "TIMEOUT", 0.5)
    with pytest.raises(UsageError, match=r"git gave no answer for HEAD:P.json in 0.5 seconds"):
        git_revisions.read("HEAD:P.json")


@pytest.mark.skipif(sys.platform != "linux", reason="the limit is that of Linux")
@pytest.mark.parametrize(
    ("file", "revision"),
    [("refs/heads/endless", "endless"), ("objects/info/alternates", "HEAD"), ("commondir", "HEAD")],
)
def test_an_endless_file_of_git(file: str, revision: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its content is not collected until the machine has no memory left."""
    monkeypatch.setattr(git_revisions, "MAX_MEMORY", 2**26)
    monkeypatch.setattr(git_revisions, "TIMEOUT", 2)
    path = Path(".git", file)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to("/dev/zero")
    with pytest.raises(UsageError, match=r"(?i)memory"):
        git_revisions.read(f"{revision}:P.json")


def test_a_file_that_is_too_large(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is refused by its size, before its content is read."""
    monkeypatch.setattr(json_document, "MAX_BYTES_OF_CASES", 10)
    with pytest.raises(UnreadableDocument, match="the file is larger than 0 MiB"):
        git_revisions.read("HEAD:P.json")


@pytest.mark.skipif(sys.platform == "win32", reason="no NUL in arguments there either")
def test_a_revision_that_no_program_can_be_given() -> None:
    with pytest.raises(UsageError, match="git has no answer"):
        git_revisions.read("HEAD\0:P.json")
