"""Work over many items on threads, processes or a Dask cluster, with bounded memory and a clean end at Ctrl-C."""

from __future__ import annotations

import concurrent.futures
import multiprocessing
import os
import signal
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from plansguard.core.errors import UsageError

if TYPE_CHECKING:
    from multiprocessing.synchronize import Event

T = TypeVar("T")
R = TypeVar("R")

THREADS, PROCESSES, DASK = "threads", "processes", "dask:"
#: How long a cluster may take to answer, and to have a worker.
CONNECT_SECONDS = 10

Submit = Callable[..., "concurrent.futures.Future[Any]"]


@dataclass
class Pool:
    """Where work is done: ``threads``, ``processes`` or ``dask:ADDRESS``.

    ``progress`` is called with the number of items done and of all, on the caller's own thread.
    """

    kind: str = THREADS
    progress: Callable[[int, int], None] | None = None

    def run(self, function: Callable[[Sequence[T]], R], items: Sequence[T], size: int) -> Generator[R, None, None]:
        """What ``function`` gives for ``size`` items at a time, in their order.

        Few chunks are under way at any time, however many there are. For processes and clusters ``function``, items and
        results must be picklable. When the caller closes the iterator or Ctrl-C ends it, what has not begun never
        begins, and what has begun is waited for. Raises UsageError when a worker dies or a cluster does not answer.
        """
        if not items:
            return
        with self._workers() as (submit, workers):
            under_way: deque[tuple[int, concurrent.futures.Future[R]]] = deque()
            starts = iter(range(0, len(items), size))
            done = 0
            try:
                while True:
                    for start in starts:
                        chunk = items[start : start + size]
                        under_way.append((len(chunk), submit(function, chunk)))
                        if len(under_way) > 2 * workers:
                            break
                    if not under_way:
                        return
                    count, future = under_way.popleft()
                    result = future.result()
                    done += count
                    if self.progress is not None:
                        self.progress(done, len(items))
                    yield result
            finally:
                for _, future in under_way:
                    future.cancel()

    @contextmanager
    def _workers(self) -> Iterator[tuple[Submit, int]]:
        """How to give out work, and to how many workers; nothing of them lingers afterwards."""
        if self.kind.startswith(DASK):
            with _cluster(self.kind[len(DASK) :]) as workers:
                yield workers
        elif self.kind == PROCESSES:
            with _processes() as workers:
                yield workers
        else:
            with _threads() as workers:
                yield workers


def _processors() -> int:
    """How many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


# ---------------------------------------------------------------------------------------------------------------------
# Threads
# ---------------------------------------------------------------------------------------------------------------------

_THREADS = 8
#: How many times longer than it computes the work must take before threads are worth their switching, and for how many
#: seconds: a disk in a network is slower than that by far and at once, a busy machine only for a moment.
_WAITING, _PATIENCE = 8, 0.5


@contextmanager
def _threads() -> Iterator[tuple[Submit, int]]:
    """The caller's own thread until the work has mostly waited for its files, then several.

    Files in the cache or on a local disk are read faster by one thread, because only one at a time runs Python.
    """
    taken = computed = 0.0

    def submit(function: Callable[[Sequence[T]], R], chunk: Sequence[T]) -> concurrent.futures.Future[R]:
        nonlocal taken, computed
        if taken > max(_PATIENCE, _WAITING * computed):
            return executor.submit(function, chunk)
        wall, computing = time.perf_counter(), time.thread_time()
        future: concurrent.futures.Future[R] = concurrent.futures.Future()
        future.set_result(function(chunk))
        taken += time.perf_counter() - wall
        computed += time.thread_time() - computing
        return future

    with concurrent.futures.ThreadPoolExecutor(_THREADS) as executor:  # a thread starts at the first submit
        yield submit, _THREADS


# ---------------------------------------------------------------------------------------------------------------------
# Processes
# ---------------------------------------------------------------------------------------------------------------------


@contextmanager
def _processes() -> Iterator[tuple[Submit, int]]:
    """Fresh processes, because a fork of a process with threads may hang.

    Ctrl-C in a terminal reaches them as well; the caller alone answers it.
    """
    context = multiprocessing.get_context("spawn")
    stop = context.Event()
    workers = _processors()
    executor = concurrent.futures.ProcessPoolExecutor(workers, context, initializer=_begin_worker, initargs=(stop,))

    def submit(function: Callable[[Sequence[T]], R], chunk: Sequence[T]) -> concurrent.futures.Future[R | None]:
        with _deaf_children():
            return executor.submit(_unless_stopped, function, chunk)

    try:
        with executor:
            try:
                yield submit, workers
            finally:
                stop.set()
    except concurrent.futures.process.BrokenProcessPool:
        raise UsageError(
            "a worker process ended by itself, so the data were not read to the end",
            hint="often it ran out of memory: free some, or check fewer values with --data sample",
        ) from None


_stop: Event | None = None


def _begin_worker(stop: Event) -> None:
    """Run once in every worker process."""
    global _stop  # the one way to hand an initializer's argument to the work
    _stop = stop
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _unless_stopped(function: Callable[[Sequence[T]], R], chunk: Sequence[T]) -> R | None:
    """Chunks that already lie in a worker's queue cannot be cancelled; they end here, and nobody reads the None."""
    return None if _stop is not None and _stop.is_set() else function(chunk)


@contextmanager
def _deaf_children() -> Iterator[None]:
    """Processes started inside do not hear Ctrl-C even before `_begin_worker` runs; the caller hears it afterwards."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


# ---------------------------------------------------------------------------------------------------------------------
# Dask
# ---------------------------------------------------------------------------------------------------------------------


@contextmanager
def _cluster(address: str) -> Iterator[tuple[Submit, int]]:
    """The workers of a running Dask cluster, which need plansguard and the data under the same path."""
    try:
        import distributed
    except ModuleNotFoundError:
        raise UsageError(
            "a Dask cluster needs the package distributed", hint="pip install 'plansguard[dask]'"
        ) from None
    import asyncio  # slow to load, and only Dask needs it

    try:
        with concurrent.futures.ThreadPoolExecutor(1) as thread:  # the caller's own may have an event loop already
            thread.submit(asyncio.run, _greeted(address)).result()
        client = distributed.Client(address, timeout=CONNECT_SECONDS, set_as_default=False)
    except Exception as error:  # noqa: BLE001 - what listens there may be a web page: even MemoryError was seen
        raise UsageError(
            f"no Dask scheduler answers at {address!r} ({str(error) or 'nothing came back'})",
            hint="give the address that the scheduler prints when it starts, such as tcp://10.0.0.1:8786",
        ) from None
    try:
        client.wait_for_workers(1, timeout=CONNECT_SECONDS)
        workers = sum(client.nthreads().values())
        # pure: the same call on changed files must not be answered with an earlier result
        with client.get_executor(pure=False) as executor:
            yield executor.submit, workers
    except (TimeoutError, distributed.TimeoutError):  # one and the same since Python 3.11
        raise UsageError(
            f"the Dask cluster at {address!r} has no workers", hint=f"start one with `dask worker {address}`"
        ) from None
    except (distributed.scheduler.KilledWorker, concurrent.futures.CancelledError, OSError) as error:
        raise UsageError(f"the Dask cluster at {address!r} lost the work: {error or type(error).__name__}") from None
    except ModuleNotFoundError as error:
        raise UsageError(
            f"the workers of the Dask cluster at {address!r} lack a package ({error})",
            hint="install plansguard in the environment of the workers: pip install 'plansguard[dask]'",
        ) from None
    finally:
        client.close()


async def _greeted(address: str) -> None:
    """Ends when whatever listens at this address has spoken as Dask does. The client itself would wait for ever."""
    import asyncio

    from distributed import Security
    from distributed.core import connect

    arguments = Security().get_connection_args("client")
    greeting = connect(address, timeout=CONNECT_SECONDS, **arguments)
    (await asyncio.wait_for(greeting, CONNECT_SECONDS)).abort()
