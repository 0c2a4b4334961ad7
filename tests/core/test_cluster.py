"""Calls on the workers of a Dask cluster: bounded, repeated where a worker dies, and with a clean end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from plansguard.core import cluster as cluster_module
from plansguard.core.cluster import CallEnd, ClusterLost, call_each, call_on_all, connected
from tests.support.dask_workers import address_in

pytestmark = [pytest.mark.nnunet, pytest.mark.slow]


@pytest.fixture(scope="module")
def running() -> Iterator[Any]:
    """Two worker processes on this machine; a call that ends one is not repeated by Dask itself."""
    import dask
    from distributed import LocalCluster

    with (
        dask.config.set({"distributed.scheduler.allowed-failures": 0}),
        LocalCluster(
            n_workers=2, threads_per_worker=1, processes=True, dashboard_address=":0", memory_limit=0
        ) as running,
    ):
        yield running


@pytest.fixture
def client(running: Any) -> Iterator[Any]:
    with connected(running.scheduler_address) as client:
        yield client


def never() -> bool:
    return False


def note(path: str) -> None:
    """Leave a file."""
    Path(path).touch()


def work(name: str) -> None:
    if name == "fails":
        raise ValueError("no such case")
    if name == "kills":
        os._exit(1)


def doze(_: str) -> None:
    time.sleep(0.5)


def test_a_call_that_fails_or_kills_does_not_end_the_others(client: Any) -> None:
    """What waits beside a call that kills its worker may be blamed as well: one by one, no other call is."""
    names = [*map(str, range(6)), "fails", "kills"]
    ends = {end.name: end for end in call_each(client, work, [(name, name) for name in names], never)}
    assert set(ends) == set(names)
    assert ends["kills"].killed
    blamed = [(name, name) for name, end in ends.items() if end.killed]
    again = {end.name: end for end in call_each(client, work, blamed, never, one_by_one=True)}
    assert {name for name, end in again.items() if end.killed} == {"kills"}
    assert {**ends, **again}["fails"] == CallEnd("fails", "ValueError: no such case")


def test_few_calls_are_submitted_and_none_begins_after_the_end(client: Any, tmp_path: Path) -> None:
    calls = ((name, str(tmp_path / name)) for name in map(str, range(500)))
    ends = call_each(client, note, calls, never)
    next(ends)
    ends.close()
    left = len(list(calls))
    time.sleep(0.3)
    begun = len(list(tmp_path.iterdir()))
    assert 1 <= begun <= 500 - left <= 10


def test_a_stop_ends_the_calls(client: Any) -> None:
    received: list[int] = []
    previous = signal.signal(signal.SIGALRM, lambda number, _: received.append(number))
    signal.setitimer(signal.ITIMER_REAL, 1)
    try:
        ends = list(call_each(client, doze, [(name, name) for name in map(str, range(100))], lambda: bool(received)))
    finally:
        signal.signal(signal.SIGALRM, previous)
    assert len(ends) < 20


def test_the_same_call_is_made_again(client: Any, tmp_path: Path) -> None:
    for _ in range(2):
        assert list(call_each(client, note, [("a", str(tmp_path / "a"))], never)) == [CallEnd("a")]
        (tmp_path / "a").unlink()


def test_a_cluster_that_loses_its_workers_or_ends_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    from distributed import LocalCluster

    monkeypatch.setattr(cluster_module, "WORKERLESS_SECONDS", 1)
    monkeypatch.setattr(cluster_module, "_COUNTED_EVERY", 0.2)
    names = [(name, name) for name in map(str, range(100))]
    with LocalCluster(n_workers=1, processes=False, dashboard_address=":0") as ending:
        with connected(ending.scheduler_address) as client:
            ends = call_each(client, doze, names, never)
            next(ends)
            ending.scale(0)
            with pytest.raises(ClusterLost, match="it has had no workers for 1 s"):
                list(ends)
        ending.scale(1)
        with connected(ending.scheduler_address) as client:
            ends = call_each(client, doze, names, never)
            next(ends)
            ending.close()
            with pytest.raises(ClusterLost, match="the scheduler no longer"):
                list(ends)


def pid(_: str) -> int:
    return os.getpid()


@pytest.mark.skipif(os.name == "nt", reason="Windows stops no processes")
def test_a_worker_that_does_not_answer(client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    workers = call_on_all(client, pid, "")
    assert len(workers) == 2
    monkeypatch.setattr(cluster_module, "ANSWER_SECONDS", 2)
    stopped = next(iter(workers.values()))
    os.kill(stopped, signal.SIGSTOP)
    try:
        with pytest.raises(ClusterLost, match="a worker does not answer within 2 s"):
            call_on_all(client, pid, "")
    finally:
        os.kill(stopped, signal.SIGCONT)


def test_a_scheduler_that_ends_before_all_have_answered() -> None:
    def run(*_: Any, **__: Any) -> None:
        raise OSError("connection lost")

    with pytest.raises(ClusterLost, match=r"the scheduler no longer answers \(connection lost\)"):
        call_on_all(SimpleNamespace(run=run), pid, "")


def test_a_scheduler_that_is_gone_is_not_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Its end is reported by an exception; distributed also logs a traceback."""
    file = tmp_path / "scheduler.json"
    command = [sys.executable, "-m", "dask", "scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard"]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    words = [sys.executable, "-m", "dask", "worker", "--scheduler-file", str(file), "--no-dashboard", "--nworkers", "1"]
    with (
        subprocess.Popen([*command, "--scheduler-file", str(file)], cwd=tmp_path, **quiet) as scheduler,  # type: ignore[call-overload]
        ended(scheduler),
    ):
        address = address_in(file)
        with (
            subprocess.Popen(words, cwd=tmp_path, **quiet) as worker,  # type: ignore[call-overload]
            ended(worker),
            connected(address) as client,
        ):
            future = client.submit(time.sleep, 60, pure=False)
            scheduler.kill()
            with pytest.raises(Exception, match="cancelled"):
                future.result()
    assert [record.getMessage() for record in caplog.records if record.name == "distributed.client"] == []


@contextmanager
def ended(process: subprocess.Popen[bytes]) -> Iterator[None]:
    """End a process with the block."""
    try:
        yield
    finally:
        process.kill()
