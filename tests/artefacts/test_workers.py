"""Work on threads, processes and a Dask cluster: in order, bounded, and with a clean end."""

from __future__ import annotations

import errno
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import pytest

from plansguard.artefacts.data import workers as pool_module
from plansguard.artefacts.data.audit import audit
from plansguard.artefacts.data.workers import DASK, PROCESSES, THREADS, Pool
from plansguard.core import cluster as cluster_module
from plansguard.core.errors import UsageError
from tests.artefacts.test_audit import PRETRAIN
from tests.conftest import ROOT
from tests.support.preprocessed import PRETRAIN_3D, lay_out, multiply

pytestmark = pytest.mark.deep

KINDS = [THREADS, PROCESSES]


def double(chunk: Sequence[int]) -> list[int]:
    return [2 * item for item in chunk]


def doze(chunk: Sequence[int]) -> list[int]:
    time.sleep(0.02)
    return double(chunk)


def on_thread(chunk: Sequence[int]) -> int:
    time.sleep(0.02)
    return threading.get_ident()


def fail(chunk: Sequence[int]) -> None:
    raise UsageError(f"no {chunk[0]}", hint="try another")


def die(chunk: Sequence[int]) -> None:
    os._exit(3)


def note(chunk: Sequence[str]) -> None:
    """Leave a file for every item that is begun."""
    Path(chunk[0]).touch()
    time.sleep(0.05)


def results(pool: Pool, items: int = 50, function: Any = double) -> list[Any]:
    return list(pool.run(function, range(items), 4))


@pytest.mark.parametrize("kind", KINDS)
def test_results_come_in_order_with_progress(kind: str) -> None:
    seen: list[tuple[int, int]] = []
    pieces = results(Pool(kind, lambda done, total: seen.append((done, total))))
    assert pieces == [[2 * item for item in range(start, min(start + 4, 50))] for start in range(0, 50, 4)]
    assert seen == [(min(done + 4, 50), 50) for done in range(0, 50, 4)]


@pytest.mark.parametrize("kind", [*KINDS, DASK + "tcp://nowhere:1"])
def test_nothing_to_do_starts_nothing(kind: str) -> None:
    assert results(Pool(kind), 0) == []


@pytest.mark.parametrize("kind", KINDS)
def test_what_the_work_raises_comes_through(kind: str) -> None:
    with pytest.raises(UsageError, match="no 0") as caught:
        results(Pool(kind), function=fail)
    assert caught.value.hint == "try another"


def test_threads_begin_where_files_are_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first chunk here, and after it has waited, the others elsewhere."""
    monkeypatch.setattr(pool_module, "_PATIENCE", 0)
    before = threading.active_count()
    used = list(Pool().run(on_thread, range(100), 4))
    assert used[0] == threading.get_ident()
    assert threading.get_ident() not in used[1:]
    assert len(set(used)) > 2
    assert threading.active_count() <= before


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_few_chunks_are_under_way_and_none_begins_after_the_end(kind: str, tmp_path: Path) -> None:
    items = [str(tmp_path / str(number)) for number in range(400)]
    pieces = Pool(kind).run(note, items, 1)
    next(pieces)
    pieces.close()
    begun = len(list(tmp_path.iterdir()))
    assert 1 <= begun < 60
    time.sleep(0.3)
    assert len(list(tmp_path.iterdir())) == begun


@pytest.mark.slow
@pytest.mark.parametrize("most", [0, 1])
def test_a_limit_of_processes_is_reported(monkeypatch: pytest.MonkeyPatch, most: int) -> None:
    """The rules that read values failed (PG000), and a pool that was started in part was waited for without an end."""
    start, started = BaseProcess.start, list[BaseProcess]()

    def limited(process: BaseProcess) -> None:
        if len(started) >= most:
            raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
        start(process)
        started.append(process)

    monkeypatch.setattr(BaseProcess, "start", limited)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1}, raising=False)
    with pytest.raises(UsageError, match="no process can be started to read the data: Resource temporarily"):
        results(Pool(PROCESSES))
    for process in started:
        process.join(20)
        assert not process.is_alive()


LIMITED = """
import resource
from plansguard.artefacts.data.workers import PROCESSES, Pool
from plansguard.core.errors import UsageError
if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_NOFILE, ({most}, {most}))
    try:
        list(Pool(PROCESSES).run(len, [0, 1, 2], 1))
    except UsageError as error:
        print(error, error.hint)
"""


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="Windows has no limit of open files")
@pytest.mark.parametrize("most", range(4, 17, 3))
def test_a_limit_of_open_files_is_reported(most: int, tmp_path: Path) -> None:
    """Each event, queue and process of a pool needs some; the rules that read values failed (PG000)."""
    program = tmp_path / "limited.py"
    program.write_text(LIMITED.format(most=most))
    done = subprocess.run([sys.executable, str(program)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "no process can be started" in done.stdout
    assert "(ulimit -n)" in done.stdout


def test_a_worker_that_dies_is_reported() -> None:
    with pytest.raises(UsageError, match="a worker process ended unexpectedly") as caught:
        results(Pool(PROCESSES), function=die)
    assert "--data sample" in caught.value.hint


# --- Ctrl-C

AUDIT = """
import sys, time
from pathlib import Path
from plansguard.artefacts.data.audit import audit
from plansguard.artefacts.data.workers import Pool
from tests.artefacts.test_audit import PRETRAIN

def main():
    def progress(done, total):
        print(done, flush=True)
        if done == 512:
            time.sleep(float(sys.argv[3]))  # until the signal comes, however fast the machine is
    result = audit(Path(sys.argv[1]), PRETRAIN, pool=Pool(sys.argv[2], progress))
    print("\\ninterrupted", result.interrupted, result.read, len(result.folder.names), flush=True)

if __name__ == "__main__":
    main()
"""


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="no signals to send")
@pytest.mark.parametrize("kind", KINDS)
def test_ctrl_c_in_a_terminal_ends_the_audit(kind: str, tmp_path: Path) -> None:
    """The signal goes to the whole group, as a terminal sends it: no worker may print a traceback or stay."""
    many = multiply(lay_out(PRETRAIN_3D, tmp_path / "data"), tmp_path / "many", 1500)
    script = tmp_path / "script.py"
    script.write_text(AUDIT)
    with subprocess.Popen(
        [sys.executable, str(script), str(many), kind, "60"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        start_new_session=True,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        for line in process.stdout:
            if line == "512\n":
                os.killpg(process.pid, signal.SIGINT)
                break
        rest, errors = process.stdout.read(), process.stderr.read()  # these end with the last process that holds them
        assert process.wait(30) == 0
    words = rest.split()[-4:]
    assert words[:2] == ["interrupted", "True"]
    assert int(words[2]) <= int(words[3]) == 1500
    assert errors == ""


# --- Dask


def test_dask_that_is_not_installed_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(UsageError, match="needs the package distributed") as caught:
        results(Pool(DASK + "tcp://127.0.0.1:8786"))
    assert caught.value.hint == "pip install 'plansguard[dask]'"


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """Two worker processes on this machine."""
    from distributed import LocalCluster

    with LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=":0", memory_limit=0
    ) as running:
        yield running


@pytest.mark.nnunet
@pytest.mark.slow
def test_a_dask_cluster_finds_the_same(cluster: Any, tmp_path: Path) -> None:
    many = multiply(lay_out(PRETRAIN_3D, tmp_path / "data"), tmp_path / "many", 300)
    (many / "case_00007.pkl").unlink()
    seen: list[tuple[int, int]] = []
    by_dask = audit(many, PRETRAIN, pool=Pool(DASK + cluster.scheduler_address, lambda *both: seen.append(both)))
    assert by_dask == audit(many, PRETRAIN, pool=Pool())
    assert by_dask.faults["incomplete"].count == 1
    assert seen[-1] == (300, 300)
    (many / "case_00008.pkl").unlink()  # the same call again: no earlier result may answer it
    again = audit(many, PRETRAIN, pool=Pool(DASK + cluster.scheduler_address))
    assert again.faults["incomplete"].count == 2


@pytest.mark.nnunet
@pytest.mark.slow
def test_dask_results_come_in_order_from_both_workers(cluster: Any) -> None:
    pool = Pool(DASK + cluster.scheduler_address)
    assert results(pool, function=doze) == results(Pool(), function=doze)
    assert len(set(results(pool, 200, function=worker_process))) == 2


def worker_process(chunk: Sequence[int]) -> int:
    time.sleep(0.01)
    return os.getpid()


@pytest.mark.nnunet
@pytest.mark.slow
def test_dask_workers_that_fail_or_die_are_reported(cluster: Any) -> None:
    pool = Pool(DASK + cluster.scheduler_address)
    with pytest.raises(UsageError, match="no 0"):
        results(pool, function=fail)
    with pytest.raises(UsageError, match="lost the work"):
        results(pool, 4, function=die)
    assert results(pool) == results(Pool())  # the cluster replaces its workers


@pytest.mark.nnunet
def test_an_address_without_a_cluster_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster_module, "CONNECT_SECONDS", 1)
    for address in ("tcp://127.0.0.1:9", "nonsense", "tcp://no such host:1", "strange://1.2.3.4:1"):
        with pytest.raises(UsageError, match="no Dask scheduler answers at"):
            results(Pool(DASK + address))


@pytest.mark.nnunet
def test_a_port_that_never_answers_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster_module, "CONNECT_SECONDS", 1)
    with socket.create_server(("127.0.0.1", 0)) as silent:  # the system accepts for it
        address = f"tcp://127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(UsageError, match=r"no Dask scheduler answers at .* \(nothing came back\)"):
            results(Pool(DASK + address))


@pytest.mark.nnunet
def test_a_cluster_without_workers_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    from distributed import LocalCluster

    monkeypatch.setattr(cluster_module, "CONNECT_SECONDS", 1)
    with (
        LocalCluster(n_workers=0, processes=False, dashboard_address=":0") as empty,
        pytest.raises(UsageError, match="has no workers"),
    ):
        results(Pool(DASK + empty.scheduler_address))


@pytest.mark.skipif(os.name != "posix", reason="signals are those of POSIX")
@pytest.mark.parametrize("number", ["SIGKILL", "SIGTERM", "SIGHUP"])
def test_workers_end_with_a_caller_that_a_signal_ends(number: str) -> None:
    """They hold the output open: it ends when the last of them has ended."""
    program = "import os, signal\nfrom plansguard.artefacts.data.workers import _processes\n"
    program += "if __name__ == '__main__':\n    with _processes() as (submit, _):\n"
    program += f"        print(submit(len, 'ab').result(), flush=True)\n        os.kill(os.getpid(), signal.{number})\n"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=60, cwd=ROOT
    )
    assert (done.returncode, done.stdout) == (-getattr(signal, number), "2\n")
