"""The parts of a training without torch: the lock of its folder, its rank, the arguments and variables for nnU-Net."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from plansguard.core.errors import UsageError
from plansguard.nnunet.install.trainer_folder import FOLDER as EXTENSION
from plansguard.nnunet.install.trainer_folder import search_path
from plansguard.training import folder_lock
from plansguard.training.background_work import BackgroundWork
from plansguard.training.data_loaders import Guarded, explained
from plansguard.training.distributed_env import ProcessPlace, first_node, read_place, rendezvous
from plansguard.training.launch import launch
from plansguard.training.options import Options, as_environment, read_options
from plansguard.training.resume import TrainingState
from plansguard.training.stop_reasons import Refused

# --- The lock

HOLD = """
import sys
import threading
from pathlib import Path
from plansguard.training.folder_lock import hold, note_run
hold(Path(sys.argv[1]))
note_run(Path(sys.argv[1]), "first")
print("held", flush=True)
sys.stdin.read()
"""


def test_a_folder_is_held_until_its_process_ends(tmp_path: Path) -> None:
    folder = tmp_path / "model" / "fold_0"
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as first:
        assert first.stdout is not None
        assert first.stdout.readline() == "held\n"
        with pytest.raises(Refused, match=rf"process {first.pid} on .+ is training into .*fold_0; a second") as refused:
            folder_lock.hold(folder)
        assert refused.value.hint
        who = folder_lock.holder(folder)
        assert who is not None
        assert who.startswith(f"process {first.pid} on ")
        first.kill()
    assert folder_lock.last_run(folder) == "first"
    assert folder_lock.holder(folder) is None
    assert folder_lock.holder(tmp_path) is None
    assert folder_lock.hold(folder)
    assert folder_lock.hold(folder)  # the same process may train there twice
    folder_lock.note_run(folder, "second")
    assert folder_lock.last_run(folder) == "second"
    done = subprocess.run([sys.executable, "-c", HOLD, str(folder)], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert f"plansguard: process {os.getpid()} on" in done.stderr


@pytest.mark.skipif(os.name == "nt", reason="POSIX locks")
@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOSYS])
def test_a_file_system_without_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    def none(*_: int) -> None:
        raise OSError(number, "no locks")

    monkeypatch.setattr("fcntl.lockf", none)
    # pytest may give this folder's name a second time.
    monkeypatch.setattr(folder_lock, "_open", {})
    assert folder_lock.hold(tmp_path) is False
    folder_lock.note_run(tmp_path, "one")
    assert folder_lock.last_run(tmp_path) == "one"


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b"\xff", b'{"run": 5}', b"[" * 9000])
def test_a_note_that_cannot_be_read_is_ignored(tmp_path: Path, content: bytes) -> None:
    assert folder_lock.last_run(tmp_path) is None
    (tmp_path / folder_lock.LOCK).write_bytes(content)
    assert folder_lock.last_run(tmp_path) is None


@pytest.mark.skipif(os.name == "nt", reason="a pipe")
def test_a_pipe_in_place_of_the_lock_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / folder_lock.LOCK)
    assert folder_lock.last_run(tmp_path) is None
    assert folder_lock.holder(tmp_path) is None


@pytest.mark.skipif(os.name == "nt", reason="links")
def test_what_a_link_in_place_of_the_lock_leads_to_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "notes").write_text("precious")
    (tmp_path / folder_lock.LOCK).symlink_to("notes")
    with pytest.raises(Refused, match="nothing can be written into"):
        folder_lock.hold(tmp_path)
    assert folder_lock.last_run(tmp_path) is None
    assert (tmp_path / "notes").read_text() == "precious"


def test_a_file_in_place_of_the_folder(tmp_path: Path) -> None:
    (tmp_path / "fold_0").write_text("")
    with pytest.raises(Refused, match="nothing can be written into"):
        folder_lock.hold(tmp_path / "fold_0")


# --- Notes in checkpoints


@pytest.mark.parametrize("change", [{"run": ["r"]}, {"trainer": 5}, {"split": "abc"}, {"step": "1"}, {"more": 1}])
def test_notes_of_other_types_are_refused(change: dict[str, Any]) -> None:
    notes = TrainingState("nnUNetTrainer_5steps", "r", "2026-01-01").as_json()
    assert TrainingState.from_json(notes).run == "r"
    with pytest.raises((TypeError, ValueError)):
        TrainingState.from_json({**notes, **change})


# --- Several processes


@pytest.mark.parametrize(
    ("environment", "place"),
    [
        ({}, None),
        ({"RANK": "3", "WORLD_SIZE": "8", "LOCAL_RANK": "1"}, ProcessPlace(3, 8, 1)),
        ({"RANK": "0", "WORLD_SIZE": "1", "LOCAL_RANK": "0"}, None),
        ({"SLURM_PROCID": "5", "SLURM_STEP_NUM_TASKS": "6", "SLURM_LOCALID": "2"}, ProcessPlace(5, 6, 2)),
        ({"SLURM_PROCID": "0", "SLURM_NTASKS": "6", "SLURM_LOCALID": "0"}, None),
    ],
    ids=["alone", "torchrun", "torchrun-alone", "srun", "batch-script"],
)
def test_the_place_of_a_process(environment: dict[str, str], place: ProcessPlace | None) -> None:
    assert read_place(environment) == place


@pytest.mark.parametrize(
    ("rank", "said"),
    [
        ("x", "RANK=x, WORLD_SIZE=2, LOCAL_RANK=0 cannot be read"),
        ("9" * 5000, "RANK=9{40}, WORLD_SIZE=2, LOCAL_RANK=0 cannot be read"),
        ("2", "RANK=2 of WORLD_SIZE=2: processes are counted from 0"),
    ],
    ids=["letters", "digits", "beyond"],
)
def test_an_invalid_place(rank: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        read_place({"RANK": rank, "WORLD_SIZE": "2", "LOCAL_RANK": "0"})


@pytest.mark.parametrize(
    ("nodes", "first"),
    [
        ("gpu07", "gpu07"),
        ("gpu[07-09,12],login", "gpu07"),
        ("gpu[3]", "gpu3"),
        ("a-b[1-2]x,c", "a-b1x"),
        ("one,two[1-3]", "one"),
        ("", ""),
    ],
)
def test_the_first_of_slurms_nodes(nodes: str, first: str) -> None:
    assert first_node(nodes) == first


def test_where_processes_meet() -> None:
    job = {"SLURM_STEP_NODELIST": "gpu[07-09]", "SLURM_JOB_ID": "123456", "SLURM_STEP_ID": "2"}
    assert rendezvous(job) == {"MASTER_ADDR": "gpu07", "MASTER_PORT": "23458"}
    assert rendezvous({**job, "SLURM_JOB_ID": "x"}) == {"MASTER_ADDR": "gpu07", "MASTER_PORT": "20002"}
    assert rendezvous({**job, "MASTER_ADDR": "here", "MASTER_PORT": "7"}) == {"MASTER_ADDR": "here", "MASTER_PORT": "7"}


# --- Loaders


def test_failures_of_a_loader_are_returned() -> None:
    calls: list[str] = []

    class Loader:
        name = "loader"

        def __next__(self) -> int:
            calls.append("next")
            if len(calls) > 3:
                raise ValueError("broken")
            return 5

    guarded = Guarded(Loader(), lambda: calls.append("before"))
    assert next(iter(guarded)) == 5
    failure = next(guarded)
    assert isinstance(failure, ValueError)
    assert str(failure) == "broken"
    assert calls == ["before", "next"] * 2
    assert guarded.name == "loader"
    assert explained(failure, 7, saved=True) is failure


def test_a_dead_worker_is_explained() -> None:
    error = RuntimeError("One or more background workers are no longer alive. Exiting.")
    assert "a checkpoint of step 1,000 is kept" in str(explained(error, 1000, saved=True))
    assert "nothing is kept" in str(explained(error, 1000, saved=False))


# --- Work in the background


def test_the_next_job_waits_for_the_one_before() -> None:
    work, order, go_on = BackgroundWork(), list[str](), threading.Event()

    def first() -> None:
        assert go_on.wait(10)
        order.append("first")

    work.start(first)
    order.append("main")
    threading.Timer(0.05, go_on.set).start()
    work.start(lambda: order.append("second"))
    work.wait()
    work.wait()
    assert (order, work.failed) == (["main", "first", "second"], False)


def test_a_failure_is_raised_once_where_it_is_waited_for() -> None:
    def fail() -> None:
        raise ValueError("no such luck")

    work, done = BackgroundWork(), list[str]()
    work.start(fail)
    with pytest.raises(ValueError, match="no such luck"):
        work.start(lambda: done.append("never"))
    assert not work.failed
    work.start(lambda: done.append("next"))
    work.wait()
    assert done == ["next"]


# --- Arguments and variables for nnU-Net


def test_the_search_path_for_trainers() -> None:
    assert search_path("") == str(EXTENSION)
    assert search_path(f"/mine{os.pathsep}") == os.pathsep.join([str(EXTENSION), "/mine"])
    assert search_path(search_path("/mine")) == search_path("/mine")


@pytest.mark.parametrize("options", [Options(), Options(0, 84_600, True)])
def test_options_travel_in_the_environment(options: Options) -> None:
    assert read_options(as_environment(options)) == options


def test_the_launcher_without_nnunet(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(os, "environ", dict(os.environ))
    monkeypatch.setattr("plansguard.nnunet.install.packages.nnunet_version", lambda: None)
    assert launch(["3", "2d", "0"], Options()) == 1
    assert capsys.readouterr().err.startswith("plansguard: training needs nnU-Net, which is not installed here")


# --- Signals

ENDING = """
import os, signal, sys
from plansguard.training.signals import ending
from plansguard.training.stop_reasons import Stopped
def stop(name):
    print("told", name, flush=True)
    return Stopped()
with ending(stop):
    os.kill(os.getpid(), int(sys.argv[1]))
    print("went on", flush=True)
"""


@pytest.mark.skipif(os.name == "nt", reason="no signals to send")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGHUP])
def test_work_that_is_repeated_as_a_whole_ends_at_once(number: signal.Signals) -> None:
    done = subprocess.run([sys.executable, "-c", ENDING, str(int(number))], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (75, f"told {number.name}\n", "")


TRACKED = """
import os, signal, sys, time
from multiprocessing import resource_tracker
from plansguard.training.signals import ending
with ending(SystemExit):
    resource_tracker.ensure_running()
    tracker = resource_tracker._resource_tracker._pid
    os.kill(tracker, int(sys.argv[1]))
    time.sleep(0.5)
    print(os.waitpid(tracker, os.WNOHANG), signal.pthread_sigmask(signal.SIG_BLOCK, ()))
"""


POOL = """
import os, signal, sys, time
from multiprocessing import get_context
from plansguard.training.signals import ending
from plansguard.training.stop_reasons import Stopped
if __name__ == "__main__":
    end = SystemExit(sys.argv[1]) if sys.argv[1:] else Stopped()
    with ending(lambda name: end, seconds=1), get_context("spawn").Pool(1) as pool:
        pool.apply(abs, (1,))
        time.sleep(0.5)  # the worker waits for work, and holds the lock
        os.kill(pool._pool[0].pid, signal.SIGUSR1)
        time.sleep(0.5)
        os.kill(os.getpid(), signal.SIGUSR1)
"""


@pytest.mark.skipif(os.name == "nt", reason="no signals to send")
@pytest.mark.parametrize(("message", "code"), [([], 75), (["too short"], 1)])
def test_a_signal_to_every_process_ends_a_pool(tmp_path: Path, message: list[str], code: int) -> None:
    """Python's own pool would wait for its lock without end."""
    script = tmp_path / "pool.py"
    script.write_text(POOL)
    done = subprocess.run([sys.executable, script, *message], capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stderr.splitlines()[: len(message)]) == (code, message), done.stderr


@pytest.mark.skipif(os.name == "nt", reason="no signals to send")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGHUP])
def test_a_signal_to_every_process_does_not_end_the_resource_tracker(number: signal.Signals) -> None:
    done = subprocess.run([sys.executable, "-c", TRACKED, str(int(number))], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("(0, 0) set()\n", "")
