"""A running Dask cluster: connect to it, and call a function on its workers, a bounded number of times at once.

The package ``distributed`` is imported where it is used: most commands need none.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any, NamedTuple, TypeVar
from uuid import uuid4

from plansguard.core.errors import UsageError

T = TypeVar("T")

#: How long to wait for a cluster's answer, and for its first worker.
CONNECT_SECONDS = 10
#: How long to wait for what every worker answers at once, busy or not: it may have to import plansguard.
ANSWER_SECONDS = 60
#: How long work waits for workers when the last one has ended: a new process of a worker has to import torch.
WORKERLESS_SECONDS = 120
#: Seconds between two looks at the signals that were received, and between two counts of the workers.
_TICK, _COUNTED_EVERY = 0.5, 5.0
#: Calls that are submitted for each worker: one runs, and the next one is there when it ends.
_FOR_EACH_WORKER = 2


class ClusterLost(Exception):
    """The cluster has ended, or has had no workers for too long: what was submitted has no results."""


class CallEnd(NamedTuple):
    """How a call ended: ``error`` is the type and the text of its exception, empty if it returned.

    ``killed`` is whether every worker that began it ended unexpectedly.
    """

    name: str
    error: str = ""
    killed: bool = False


@contextmanager
def connected(address: str) -> Iterator[Any]:
    """Yield a client of a running Dask cluster, and close it.

    UsageError when the package is missing, when no scheduler answers, and when the cluster has no workers.
    """
    try:
        import distributed
    except ModuleNotFoundError:
        raise UsageError(
            "a Dask cluster needs the package distributed", hint="pip install 'plansguard[dask]'"
        ) from None
    import asyncio
    from concurrent.futures import ThreadPoolExecutor

    try:
        with ThreadPoolExecutor(1) as thread:  # the caller's may already have an event loop
            thread.submit(asyncio.run, _greeted(address)).result()
        client = distributed.Client(address, timeout=CONNECT_SECONDS, set_as_default=False)
    except Exception as error:  # noqa: BLE001 - a web server may listen there: even MemoryError occurs
        raise UsageError(
            f"no Dask scheduler answers at {address!r} ({str(error) or 'nothing came back'})",
            hint="give the address that the scheduler prints when it starts, such as tcp://10.0.0.1:8786",
        ) from None
    try:
        try:
            client.wait_for_workers(1, timeout=CONNECT_SECONDS)
        except (TimeoutError, distributed.TimeoutError):  # one and the same since Python 3.11
            raise UsageError(
                f"the Dask cluster at {address!r} has no workers", hint=f"start one with `dask worker {address}`"
            ) from None
        yield client
    finally:
        with _without_log():
            client.close()


@contextmanager
def _without_log() -> Iterator[None]:
    """Do not log with a traceback what the caller reports: that the scheduler is gone."""
    logger = logging.getLogger("distributed.client")
    before = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        logger.setLevel(before)


async def _greeted(address: str) -> None:
    """Return once a Dask scheduler answers at this address. The client itself would wait forever."""
    import asyncio

    from distributed import Security
    from distributed.core import connect

    arguments = Security().get_connection_args("client")
    greeting = connect(address, timeout=CONNECT_SECONDS, **arguments)
    (await asyncio.wait_for(greeting, CONNECT_SECONDS)).abort()


def call_on_all(client: Any, function: Callable[[T], object], argument: T) -> dict[str, Any]:
    """Call ``function`` on all workers at once; return what each returned or raised, by the worker's address.

    ClusterLost where one of them, or the scheduler, does not answer within ANSWER_SECONDS.
    """
    answers: SimpleQueue[Any] = SimpleQueue()

    def ask() -> None:
        try:
            answers.put(client.run(function, argument, on_error="return"))
        except Exception as error:  # noqa: BLE001 - raised below
            answers.put(error)

    Thread(target=ask, daemon=True).start()  # a worker that is stopped answers neither with a result nor with an error
    try:
        found = answers.get(timeout=ANSWER_SECONDS)
    except Empty:
        raise ClusterLost(f"a worker does not answer within {ANSWER_SECONDS} s") from None
    if isinstance(found, Exception):
        raise ClusterLost(f"the scheduler no longer answers ({str(found) or type(found).__name__})") from found
    return dict(found)


def call_each(
    client: Any,
    function: Callable[[T], object],
    calls: Iterable[tuple[str, T]],
    stopped: Callable[[], bool],
    *,
    one_by_one: bool = False,
) -> Generator[CallEnd, None, None]:
    """Call ``function`` on the workers once for each named argument; yield how each call ended, in the order of ends.

    At most two calls for each worker are submitted, also while workers come and go; ``one_by_one`` submits one in all.
    Dask repeats a call whose worker died, on another worker or on the next process of the same one. After ``stopped``
    no call begins, and those that run have no result. Raises ClusterLost.
    """
    kind, waiting = f"{function.__name__}-{uuid4().hex[:8]}", iter(calls)
    submitted: dict[str, Any] = {}
    ended: SimpleQueue[str] = SimpleQueue()
    workers = _WorkerCount(client)
    try:
        while not stopped():
            most = 1 if one_by_one else _FOR_EACH_WORKER * workers.number
            for name, argument in islice(waiting, max(0, most - len(submitted))):
                # the same call on changed files must not return an earlier result
                future = client.submit(function, argument, key=(kind, name), pure=False)
                submitted[name] = future
                future.add_done_callback(lambda _, name=name: ended.put(name))
            if not submitted:
                return
            try:
                name = ended.get(timeout=_TICK)
            except Empty:
                continue
            yield _end_of(name, submitted.pop(name))
    finally:
        client.cancel([*submitted.values()])


def _end_of(name: str, future: Any) -> CallEnd:
    from distributed.scheduler import KilledWorker

    if future.status == "finished":
        return CallEnd(name)
    if future.status != "error":
        raise ClusterLost(f"the scheduler no longer knows its work ({future.status})")
    error = future.exception()
    return CallEnd(name, f"{type(error).__name__}: {error}", isinstance(error, KilledWorker))


class _WorkerCount:
    """The number of workers, asked for from time to time."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self._number, self._seen, self._next = 1, time.monotonic(), 0.0

    @property
    def number(self) -> int:
        """The last number that was not 0; ClusterLost where there has been no worker for too long."""
        now = time.monotonic()
        if now >= self._next:
            self._next = now + _COUNTED_EVERY
            found = self._count()
            if found:
                self._number, self._seen = found, now
            elif now - self._seen > WORKERLESS_SECONDS:
                raise ClusterLost(f"it has had no workers for {WORKERLESS_SECONDS} s")
        return self._number

    def _count(self) -> int:
        try:
            return len(self._client.nthreads())
        except Exception as error:
            raise ClusterLost(f"the scheduler no longer answers ({str(error) or type(error).__name__})") from error
