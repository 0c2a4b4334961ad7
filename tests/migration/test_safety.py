"""Killed processes, full disks, concurrent writers, links, odd names: the old state or the new one, no data lost."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from plansguard.commands.check import check
from plansguard.core import atomic_files as atomic
from plansguard.core.errors import UnreadableDocument, UsageError, WriteRefused
from plansguard.migration.apply import migrate
from plansguard.migration.files import UNDONE
from plansguard.migration.plan import MigrationRequest
from plansguard.migration.undo import undo
from plansguard.nnunet.workspace import Workspace, checked_identifier
from plansguard.rules.engine.settings import ActiveSettings
from tests.support.variants import ROOTS, copy, place, put, remove

CT, OTHER_CT = "Dataset001_PretrainCT", "Dataset002_FinetuneCT"
posix_only = pytest.mark.skipif(not hasattr(os, "fork"), reason="kills a forked process; Windows has no fork")


#: The two CT datasets, in a folder with a blank and an umlaut in its name.
pytestmark = [pytest.mark.deep, pytest.mark.workspace(CT, OTHER_CT, folder="größe 1")]


def roots(workspace: Path) -> Workspace:
    return Workspace(*(workspace / ROOTS[name] for name in ("raw", "preprocessed", "results")))


def migrate_plans(workspace: Path, target_plans: str = "Moved", *, force: bool = False) -> None:
    """Migrate 1 -> 2."""
    migration = migrate(
        roots(workspace), MigrationRequest(CT, OTHER_CT, target_plans, "nnUNetPlans", force=force), ActiveSettings()
    )
    assert migration.report.exit_code() == 0


def state(workspace: Path) -> dict[str, bytes]:
    """Every visible file of the receiving folder except what an undo keeps."""
    folder = place(workspace, OTHER_CT, "preprocessed/")
    visible = [path for path in folder.iterdir() if not path.name.startswith(".") and path.suffix != UNDONE]
    return {path.name: path.read_bytes() for path in visible}


# --- Killed at every call that writes, renames or syncs ---


def kill_at(count: int, action: Callable[[], None]) -> bool:
    """Run ``action`` in a forked process that kills itself right before its ``count``-th such call.

    A write is cut in half first, as after a power cut. Returns whether the process was killed.
    """
    child = os.fork()
    if child == 0:
        os.close(2)
        calls = iter(range(1, 10_000))

        def fatal(real: Callable[..., Any], half: bool = False) -> Callable[..., Any]:
            def wrapper(*args: Any, **options: Any) -> Any:
                if next(calls) == count:
                    if half:
                        real(args[0][: len(args[0]) // 2])
                    os.kill(os.getpid(), signal.SIGKILL)
                return real(*args, **options)

            return wrapper

        class Stream:
            """A file whose writes and flushes are counted."""

            def __init__(self, real: Any) -> None:
                self._real = real
                self.write = fatal(real.write, half=True)
                self.flush = fatal(real.flush)
                self.fileno = real.fileno

            def __enter__(self) -> Stream:
                return self

            def __exit__(self, *_: object) -> None:
                self._real.close()

        real_fdopen = os.fdopen
        os.fdopen = lambda *args, **options: Stream(real_fdopen(*args, **options))  # type: ignore[assignment]
        for name in ("replace", "rename", "unlink", "fsync", "chmod", "mkdir"):
            setattr(os, name, fatal(getattr(os, name)))
        try:
            action()
        finally:
            os._exit(0)
    _, status = os.waitpid(child, 0)
    return os.WIFSIGNALED(status)


def every_state(workspace: Path, action: Callable[[], None], verify: Callable[[], None]) -> int:
    """Kill ``action`` at its first call, its second, ... until it ends; ``verify`` after each. The number of kills."""
    before = state(workspace)
    kills = 0
    while kill_at(kills + 1, action):
        kills += 1
        verify()
        for name in set(state(workspace)) - set(before):
            place(workspace, OTHER_CT, f"preprocessed/{name}").unlink()
        for name, content in before.items():
            place(workspace, OTHER_CT, f"preprocessed/{name}").write_bytes(content)
    return kills


def assert_old_or_new(workspace: Path, old: dict[str, bytes], new: dict[str, bytes], plans: str) -> None:
    """The plans and dataset.json are complete, and the check finds no partial migration."""
    now = state(workspace)
    for name in (plans, "dataset.json"):
        assert now.get(name) in {old.get(name), new.get(name)}
    assert set(old) <= set(now) | {plans}
    report = check([place(workspace, OTHER_CT, "preprocessed/")], settings=ActiveSettings())
    assert not [finding for finding in report.findings if finding.code in ("PG001", "PG401", "PG402", "PG403")]


@posix_only
@pytest.mark.slow
def test_killed_migration(workspace: Path) -> None:
    remove("preprocessed/dataset.json")(workspace, OTHER_CT)
    old = state(workspace)
    migrate_plans(workspace)
    new = state(workspace)
    undo(roots(workspace), OTHER_CT, None, force=False)
    assert set(state(workspace)) == {*old, "dataset.json"}  # other plans are there, so the placed dataset.json stays
    remove("preprocessed/dataset.json")(workspace, OTHER_CT)

    def verify() -> None:
        assert_old_or_new(workspace, old, new, "Moved.json")
        migrate_plans(workspace)
        assert set(state(workspace)) == set(new)
        assert state(workspace)["Moved.json"] == new["Moved.json"]

    assert every_state(workspace, lambda: migrate_plans(workspace), verify) >= 12


@posix_only
@pytest.mark.slow
def test_killed_overwriting_migration(workspace: Path) -> None:
    copy("preprocessed/nnUNetPlans.json", "preprocessed/Moved.json")(workspace, OTHER_CT)
    put("preprocessed/Moved.json", "/plans_name", "Moved")(workspace, OTHER_CT)
    old = state(workspace)

    def verify() -> None:
        now = state(workspace)
        old_plans, kept = old["Moved.json"], [content for name, content in now.items() if name.endswith(".bak")]
        assert now["Moved.json"] == old_plans or kept == [old_plans]
        assert_old_or_new(workspace, old, now, "Moved.json")
        migrate_plans(workspace, force=True)
        undo(roots(workspace), OTHER_CT, "Moved", force=False)
        assert state(workspace)["Moved.json"] == old_plans

    assert every_state(workspace, lambda: migrate_plans(workspace, force=True), verify) >= 12


@posix_only
@pytest.mark.slow
def test_killed_undo(workspace: Path) -> None:
    copy("preprocessed/nnUNetPlans.json", "preprocessed/Moved.json")(workspace, OTHER_CT)
    put("preprocessed/Moved.json", "/plans_name", "Moved")(workspace, OTHER_CT)
    old = state(workspace)
    migrate_plans(workspace, force=True)
    new = state(workspace)

    def undo_migration() -> None:
        undo(roots(workspace), OTHER_CT, None, force=False)

    def verify() -> None:
        assert_old_or_new(workspace, old, new, "Moved.json")
        if "Moved.plansguard.json" in state(workspace):
            undo_migration()
        assert state(workspace)["Moved.json"] == old["Moved.json"]

    assert every_state(workspace, undo_migration, verify) >= 5


@posix_only
def test_leftovers_of_a_killed_writer_are_removed(workspace: Path) -> None:
    folder = place(workspace, OTHER_CT, "preprocessed/")
    killed = (kill_at(count, lambda: migrate_plans(workspace)) for count in range(1, 20))
    assert any(was_killed and list(folder.glob(".*.tmp")) for was_killed in killed)
    migrate_plans(workspace)
    assert not list(folder.glob(".*.tmp"))


# --- the system refuses ---


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT], ids=["disk", "quota"])
@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_full_disk(workspace: Path, monkeypatch: pytest.MonkeyPatch, call: str, number: int) -> None:
    def full(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    before = state(workspace)
    monkeypatch.setattr(f"os.{call}", full)
    with pytest.raises(WriteRefused, match=os.strerror(number)):
        migrate_plans(workspace)
    monkeypatch.undo()
    assert state(workspace) == before
    assert not list(place(workspace, OTHER_CT, "preprocessed/").glob(".*.tmp"))
    migrate_plans(workspace)


@pytest.mark.parametrize("action", ["migrate", "undo"])
@pytest.mark.parametrize("count", [1, 2])
def test_a_disk_that_becomes_full_in_between(
    workspace: Path, monkeypatch: pytest.MonkeyPatch, action: str, count: int
) -> None:
    """The message names what was written before; the same command then completes the rest."""
    place(workspace, OTHER_CT, "preprocessed/Moved.json").write_bytes(b"other")
    if action == "undo":
        migrate_plans(workspace, force=True)
    act = undo_migration if action == "undo" else partial(migrate_plans, force=True)
    replace, done = os.replace, list[Path]()

    def full(source: str, target: Path) -> None:
        if len(done) == count:
            raise OSError(errno.ENOSPC, "No space left on device")
        replace(source, target)
        done.append(target)

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(WriteRefused, match="No space left on device") as refused:
        act(workspace)
    monkeypatch.undo()
    *steps, last, _ = refused.value.hint.split("; ")
    assert (len(steps), last) == (count, "nothing was changed there")
    assert all(path.name in step for path, step in zip(done, steps, strict=True))
    act(workspace)


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root and Windows write into read-only folders")
def test_read_only_folder(workspace: Path) -> None:
    folder = place(workspace, OTHER_CT, "preprocessed/")
    folder.chmod(0o500)
    try:
        with pytest.raises(WriteRefused, match="Permission denied"):
            migrate_plans(workspace)
    finally:
        folder.chmod(0o700)


def test_folder_that_cannot_be_written(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a read-only folder, also where tests run as root."""

    def denied(*_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    before = state(workspace)
    monkeypatch.setattr("tempfile.mkstemp", denied)
    with pytest.raises(WriteRefused, match="Permission denied"):
        migrate_plans(workspace)
    assert state(workspace) == before


def test_a_file_where_the_lock_should_be(workspace: Path) -> None:
    (place(workspace, OTHER_CT, "preprocessed/.plansguard.lock")).mkdir()
    with pytest.raises(WriteRefused):
        migrate_plans(workspace)


# --- two at once ---


@posix_only
def test_a_lock_whose_file_is_deleted_excludes_all_others(tmp_path: Path) -> None:
    """Processes that wait for the file of one lock do not hold the lock beside one that has created the next."""
    counter = tmp_path / "counter"
    counter.write_text("0")
    script = (
        "import sys; from pathlib import Path; from plansguard.core.atomic_files import locked\n"
        "counter = Path(sys.argv[1])\n"
        "for _ in range(60):\n"
        "    with locked(counter.parent):\n"
        "        number = int(counter.read_text()); counter.write_text(str(number + 1))\n"
    )
    processes = [subprocess.Popen([sys.executable, "-c", script, counter]) for _ in range(4)]
    assert [process.wait(60) for process in processes] == [0] * 4
    assert (counter.read_text(), [*tmp_path.iterdir()]) == ("240", [counter])


def test_two_migrations_to_one_name(workspace: Path) -> None:
    """Both succeed or one is refused; the files are complete and have a matching record."""
    outcomes: list[str] = []

    def attempt(workflow: str) -> None:
        migration = migrate(
            roots(workspace), MigrationRequest(CT, OTHER_CT, "Moved", "nnUNetPlans", workflow), ActiveSettings()
        )
        outcomes.append("refused" if migration.report.exit_code() else workflow)

    threads = [threading.Thread(target=attempt, args=(workflow,)) for workflow in ("finetune", "graft")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) in (["finetune", "refused"], ["graft", "refused"])
    winner = next(one for one in outcomes if one != "refused")
    assert json.loads(state(workspace)["Moved.plansguard.json"])["workflow"] == winner
    report = check([place(workspace, OTHER_CT, "preprocessed/")], plans="Moved", settings=ActiveSettings())
    assert not [finding for finding in report.findings if finding.severity.value == "error"]


def test_waiting_for_the_lock_ends(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(atomic, "LOCK_TIMEOUT", 0.1)
    with (
        atomic.locked(place(workspace, OTHER_CT, "preprocessed/")),
        pytest.raises(WriteRefused, match="another plansguard is writing"),
    ):
        migrate_plans(workspace)


# --- links, names, line ends ---


@pytest.mark.parametrize("file", ["Moved.json", "Moved.plansguard.json"])
@pytest.mark.parametrize("replaces", [True, False], ids=["replaced", "undone"])
def test_an_edit_that_comes_meanwhile_is_kept(
    workspace: Path, file: str, replaces: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An editor knows nothing of the lock. Whenever it writes, what it wrote is there or in a copy."""
    migrate_plans(workspace)
    if replaces:
        put("preprocessed/nnUNetPlans.json", "/configurations/2d/batch_size", 3)(workspace, CT)
    folder = place(workspace, OTHER_CT, "preprocessed/")
    before = {path: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    edited, fsync = before[folder / file] + b"\n", os.fsync
    for moment in range(20):
        calls = iter(range(moment + 1))

        def fsync_and_edit(descriptor: int, calls: Iterator[int] = calls, moment: int = moment) -> None:
            if next(calls, None) == moment:
                (folder / file).write_bytes(edited)
            fsync(descriptor)

        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", fsync_and_edit)
            with suppress(WriteRefused, UnreadableDocument):
                migrate_plans(workspace, force=True) if replaces else undo(
                    roots(workspace), OTHER_CT, "Moved", force=False
                )
        if next(calls, None) is None:
            assert edited in [path.read_bytes() for path in folder.iterdir() if path.is_file()], moment
        for path in [path for path in folder.iterdir() if path.is_file()]:
            path.unlink()
        for path, content in before.items():
            path.write_bytes(content)
    assert moment > 5


def test_folder_as_target(workspace: Path) -> None:
    before = state(workspace)
    place(workspace, OTHER_CT, "preprocessed/Moved.json").mkdir()
    with pytest.raises(WriteRefused, match="is a folder"):
        migrate_plans(workspace)
    place(workspace, OTHER_CT, "preprocessed/Moved.json").rmdir()
    assert state(workspace) == before


# --- hostile and broken records ---


def undo_migration(workspace: Path, identifier: str | None = "Moved", *, force: bool = False) -> None:
    """Undo the migration into 2."""
    undo(roots(workspace), OTHER_CT, identifier, force=force)


@pytest.mark.parametrize("name", [f"../{CT}/nnUNetPlans", "nnUNetPlans", "Other"])
def test_record_of_other_plans(workspace: Path, name: str) -> None:
    """A record cannot make undo change plans that are not beside it."""
    migrate_plans(workspace)
    put("preprocessed/Moved.plansguard.json", "/to/plans", name)(workspace, OTHER_CT)
    before, theirs = state(workspace), place(workspace, CT, "preprocessed/nnUNetPlans.json").read_bytes()
    with pytest.raises(UnreadableDocument, match="not the plans beside it"):
        undo_migration(workspace)
    assert state(workspace) == before
    assert place(workspace, CT, "preprocessed/nnUNetPlans.json").read_bytes() == theirs


def test_copied_record(workspace: Path) -> None:
    migrate_plans(workspace)
    copy("preprocessed/Moved.plansguard.json", "preprocessed/Copied.plansguard.json")(workspace, OTHER_CT)
    before = state(workspace)
    with pytest.raises(UnreadableDocument, match="describes Moved"):
        undo_migration(workspace, "Copied")
    assert state(workspace) == before


@pytest.mark.parametrize("backup", ["", ".", "/", "../x", "gone.bak"])
def test_record_with_another_backup(workspace: Path, backup: str) -> None:
    copy("preprocessed/nnUNetPlans.json", "preprocessed/Moved.json")(workspace, OTHER_CT)
    put("preprocessed/Moved.json", "/plans_name", "Moved")(workspace, OTHER_CT)
    migrate_plans(workspace, force=True)
    put("preprocessed/Moved.plansguard.json", "/replaced/backup", backup)(workspace, OTHER_CT)
    before = state(workspace)
    with pytest.raises(WriteRefused):
        undo_migration(workspace)
    assert state(workspace) == before


def test_record_with_a_damaged_past(workspace: Path) -> None:
    """A check does not need an invalid earlier record inside, and does not crash."""
    copy("preprocessed/nnUNetPlans.json", "preprocessed/Moved.json")(workspace, OTHER_CT)
    put("preprocessed/Moved.json", "/plans_name", "Moved")(workspace, OTHER_CT)
    old = place(workspace, OTHER_CT, "preprocessed/Moved.json").read_bytes()
    migrate_plans(workspace, force=True)
    put("preprocessed/Moved.plansguard.json", "/replaced/lineage", {"x": 1})(workspace, OTHER_CT)
    place(workspace, OTHER_CT, "preprocessed/Moved.json").write_bytes(old)
    report = check([place(workspace, OTHER_CT, "preprocessed/")], settings=ActiveSettings())
    assert "PG000" not in {finding.code for finding in report.findings}


def test_undo_after_the_plans_were_deleted(workspace: Path) -> None:
    copy("preprocessed/nnUNetPlans.json", "preprocessed/Moved.json")(workspace, OTHER_CT)
    put("preprocessed/Moved.json", "/plans_name", "Moved")(workspace, OTHER_CT)
    old = state(workspace)
    migrate_plans(workspace, force=True)
    remove("preprocessed/Moved.json")(workspace, OTHER_CT)
    undo_migration(workspace)
    assert state(workspace)["Moved.json"] == old["Moved.json"]


def test_undo_of_an_edit_of_adopted_plans(workspace: Path) -> None:
    """Existing plans with the same bytes are restored."""
    migrate_plans(workspace)
    remove("preprocessed/Moved.plansguard.json")(workspace, OTHER_CT)
    adopted = state(workspace)
    migrate_plans(workspace)
    put("preprocessed/Moved.json", "/configurations/3d_fullres/batch_size", 7)(workspace, OTHER_CT)
    undo_migration(workspace, force=True)
    assert state(workspace)["Moved.json"] == adopted["Moved.json"]


def test_last_of_two_migrations_in_one_second(workspace: Path) -> None:
    migrate_plans(workspace, "A")
    migrate_plans(workspace, "B")
    undo_migration(workspace, None)
    assert {"A.json", "B.json"} & set(state(workspace)) == {"A.json"}


def test_the_size_of_records_is_bounded(workspace: Path) -> None:
    """A name that is used repeatedly: the size becomes constant, and every undo still has its plans."""
    sizes = []
    for round_number in range(12):
        plans = "nnUNetPlans" if round_number % 2 else "nnUNetResEncUNetMPlans"
        order = MigrationRequest(CT, OTHER_CT, "Moved", plans, "graft", onto="nnUNetPlans", force=True)
        assert migrate(roots(workspace), order, ActiveSettings()).writes
        sizes.append(len(state(workspace)["Moved.plansguard.json"]))
    assert max(sizes[-2:]) <= max(sizes[-4:-2]) * 1.01
    undo_migration(workspace)
    assert "Moved.json" in state(workspace)


@pytest.mark.parametrize("name", ["ü plans", "plans (2)", "P.1", "名前"])
def test_blanks_and_unicode_in_names(workspace: Path, name: str) -> None:
    migrate_plans(workspace, name)
    assert json.loads(place(workspace, OTHER_CT, f"preprocessed/{name}.json").read_bytes())["plans_name"] == name


@pytest.mark.parametrize(
    "name", ["", " x", "x ", ".", "..", "../x", "a/b", "a\\b", "a\0b", "a\nb", "CON", "lpt1.x", "a:b"]
)
def test_names_that_are_refused(name: str) -> None:
    with pytest.raises(UsageError):
        checked_identifier(name)


def test_crlf_plans_are_migrated_as_by_nnunet(workspace: Path) -> None:
    plans = place(workspace, CT, "preprocessed/nnUNetPlans.json")
    migrate_plans(workspace, "FromLF")
    plans.write_bytes(plans.read_bytes().replace(b"\n", b"\r\n"))
    migrate_plans(workspace, "FromLF")
    assert b"\r" not in place(workspace, OTHER_CT, "preprocessed/FromLF.json").read_bytes()


def test_permissions_of_replaced_files_stay(workspace: Path) -> None:
    if os.name == "nt":
        pytest.skip("Windows has no such permissions")
    copy("preprocessed/nnUNetPlans.json", "preprocessed/Moved.json")(workspace, OTHER_CT)
    place(workspace, OTHER_CT, "preprocessed/Moved.json").chmod(0o640)
    migrate_plans(workspace, force=True)
    assert place(workspace, OTHER_CT, "preprocessed/Moved.json").stat().st_mode & 0o777 == 0o640


# --- no user error ends in a traceback ---


@pytest.mark.slow
@pytest.mark.parametrize(
    "arguments",
    [
        ["check", "no/such/path"],
        ["check", "-d", "99"],
        ["check", "--output", "xml"],
        ["check", "--settings", "no.json"],
        ["check", "--fail-on", "everything"],
        ["migrate", "-s", "1", "-t", "2", "-tp", "../X"],
        ["migrate", "-t", "1"],
        ["migrate", "-t", "2", "--undo"],
        ["diff", "a.json", "b.json"],
        ["diff", "HEAD:nothing.json", "b.json"],
        ["explain", "PG999"],
        ["schema", "nothing"],
        ["nothing"],
        ["check", "-d", "9" * 5000],
        ["check", "-d", "Dataset002_FinetuneCT/.."],
        ["migrate", "-s", "1", "-t", "2", "-tp", "plansguard"],
        ["migrate", "-s", "1", "-t", "2", "-tp", "plans"],
        ["check", "-d", "1", "--output", "json=nnUNet_preprocessed/Dataset001_PretrainCT/nnUNetPlans.json"],
    ],
    ids=lambda arguments: " ".join(arguments)[:60],
)
def test_user_errors(workspace: Path, arguments: list[str]) -> None:
    """One message on standard error, exit code 2, no traceback, in a process of its own."""
    environment = {**os.environ, **{f"nnUNet_{name}": str(workspace / folder) for name, folder in ROOTS.items()}}
    command = [sys.executable, "-m", "plansguard", *arguments]
    result = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=workspace, check=False)
    assert result.returncode == 2
    assert result.stderr.strip()
    assert "Traceback" not in result.stderr
    assert not result.stdout
