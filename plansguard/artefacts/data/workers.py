"""Process many items on threads, processes or a Dask cluster, with bounded memory and a clean end at Ctrl-C.

The packages for concurrency are imported where they are used: most checks need none of them.
"""

from __future__ import annotations

import errno
import os
import signal
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from threading import Thread
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from plansguard.core.errors import UsageError

if TYPE_CHECKING:
    from concurrent.futures import Future, ThreadPoolExecutor
    from multiprocessing.synchronize import Event

T = TypeVar("T")
R = TypeVar("R")

THREADS, PROCESSES, DASK = "threads", "processes", "dask:"


class _Done(NamedTuple):
    """The result of a chunk that the caller's thread has processed, in place of a Future."""

    value: Any

    def result(self) -> Any:
        return self.value

    def cancel(self) -> bool:
        return False


Submit = Callable[..., "Future[Any] | _Done"]


@dataclass
class Pool:
    """Workers of one kind: ``threads``, ``processes`` or ``dask:ADDRESS``.

    ``progress`` is called on the caller's thread with the number of items done and of all items.
    """

    kind: str = THREADS
    progress: Callable[[int, int], None] | None = None

    def run(self, function: Callable[[Sequence[T]], R], items: Sequence[T], size: int) -> Generator[R, None, None]:
        """Yield the results of ``function`` for chunks of ``size`` items, in their order.

        The number of submitted chunks is bounded. For processes and clusters ``function``, items and results must be
        picklable. When the caller closes the iterator or Ctrl-C ends it, chunks that have not begun are cancelled, and
        the others are waited for. Raises UsageError when a worker dies or a cluster does not answer.
        """
        if not items:
            return
        with self._workers() as (submit, workers):
            submitted: deque[tuple[int, Future[R] | _Done]] = deque()
            starts = iter(range(0, len(items), size))
            done = 0
            try:
                while True:
                    for start in starts:
                        chunk = items[start : start + size]
                        submitted.append((len(chunk), submit(function, chunk)))
                        if len(submitted) > 2 * workers:
                            break
                    if not submitted:
                        return
                    count, future = submitted.popleft()
                    result = future.result()
                    done += count
                    if self.progress is not None:
                        self.progress(done, len(items))
                    yield result
            finally:
                for _, future in submitted:
                    future.cancel()

    def _workers(self) -> AbstractContextManager[tuple[Submit, int]]:
        """Start the workers, and return how to submit work and their number; all end with the context."""
        if self.kind.startswith(DASK):
            return _cluster(self.kind[len(DASK) :])
        return _processes() if self.kind == PROCESSES else _threads()


# --- Threads

_THREADS = 8
#: Threads are used once the work has taken so many times longer than its computing, and for at least so many seconds.
#: With a network disk it takes far longer, and from the start; on a busy machine only for a moment.
_WAITING, _PATIENCE = 8, 0.5


@contextmanager
def _threads() -> Iterator[tuple[Submit, int]]:
    """Use the caller's thread until the work has mostly waited for its files, then several threads.

    One thread reads files in the cache or on a local disk faster, because only one thread at a time runs Python.
    """
    taken = computed = 0.0
    executor: ThreadPoolExecutor | None = None

    def submit(function: Callable[[Sequence[T]], R], chunk: Sequence[T]) -> Future[R] | _Done:
        nonlocal taken, computed, executor
        if taken > max(_PATIENCE, _WAITING * computed):
            if executor is None:
                from concurrent.futures import ThreadPoolExecutor

                executor = stack.enter_context(ThreadPoolExecutor(_THREADS))
            return executor.submit(function, chunk)
        wall, computing = time.perf_counter(), time.thread_time()
        done = _Done(function(chunk))
        taken += time.perf_counter() - wall
        computed += time.thread_time() - computing
        return done

    with ExitStack() as stack:
        yield submit, _THREADS


# --- Processes


@contextmanager
def _processes() -> Iterator[tuple[Submit, int]]:
    """Use new processes, because a fork of a process with threads may hang.

    Ctrl-C in a terminal reaches them as well; only the caller handles it.
    """
    from concurrent.futures.process import BrokenProcessPool, ProcessPoolExecutor
    from multiprocessing import active_children, get_context

    context = get_context("spawn")
    workers = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        stop = context.Event()
        executor = ProcessPoolExecutor(workers, context, initializer=_begin_worker, initargs=(stop,))
    except OSError as error:
        raise _not_started(error) from None
    others = active_children()

    def submit(function: Callable[[Sequence[T]], R], chunk: Sequence[T]) -> Future[R | None]:
        try:
            with _without_interrupts():
                return executor.submit(_unless_stopped, function, chunk)
        except BrokenProcessPool:
            raise
        except (OSError, RuntimeError) as error:  # RuntimeError: no thread can be started
            for child in set(active_children()).difference(others):
                child.terminate()  # the pool has no thread that ends it, and Python waits for it at its own end
            raise _not_started(error) from None

    try:
        with executor:
            try:
                yield submit, workers
            finally:
                stop.set()
    except BrokenProcessPool:
        raise UsageError(
            "a worker process ended unexpectedly, so not all data were read",
            hint="it may have run out of memory: free some, or check fewer values with --data sample",
        ) from None


def _not_started(error: OSError | RuntimeError) -> UsageError:
    """The error to raise where the machine's limits permit no worker process, or none of its pipes."""
    files = getattr(error, "errno", None) in {errno.EMFILE, errno.ENFILE}
    limit = "open files (ulimit -n)" if files else "processes (ulimit -u)"
    return UsageError(
        f"no process can be started to read the data: {getattr(error, 'strerror', None) or error}",
        hint=f"raise the limit of {limit}, or read no values: --data headers",
    )


_stop: Event | None = None


def _begin_worker(stop: Event) -> None:
    """Prepare a worker process."""
    global _stop  # the only way to pass an initializer's argument to the work
    _stop = stop
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    Thread(target=_end_with_caller, daemon=True).start()


def _end_with_caller() -> None:
    """End this worker when its caller has ended, also by a signal: else it waits for work for ever."""
    from multiprocessing import parent_process

    if (caller := parent_process()) is not None:
        caller.join()
        os._exit(1)


def _unless_stopped(function: Callable[[Sequence[T]], R], chunk: Sequence[T]) -> R | None:
    """Call ``function``, or return an unused None for a chunk in a worker's queue, which cannot be cancelled."""
    return None if _stop is not None and _stop.is_set() else function(chunk)


@contextmanager
def _without_interrupts() -> Iterator[None]:
    """Let new processes ignore Ctrl-C even before `_begin_worker`; the caller receives it after the context."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


# --- Dask


@contextmanager
def _cluster(address: str) -> Iterator[tuple[Submit, int]]:
    """Use the workers of a running Dask cluster, which need plansguard and the data under the same path."""
    from plansguard.core.cluster import connected

    with connected(address) as client:
        from concurrent.futures import CancelledError

        from distributed.scheduler import KilledWorker

        try:
            # pure: the same call on changed files must not return an earlier result
            with client.get_executor(pure=False) as executor:
                yield executor.submit, sum(client.nthreads().values())
        except (KilledWorker, CancelledError, OSError) as error:
            message = f"the Dask cluster at {address!r} lost the work: {error or type(error).__name__}"
            hint = "look at the logs of its workers, which may have run out of memory"
            raise UsageError(message, hint=hint) from None
        except ModuleNotFoundError as error:
            raise UsageError(
                f"the workers of the Dask cluster at {address!r} lack a package ({error})",
                hint="install plansguard in the environment of the workers: pip install 'plansguard[dask]'",
            ) from None
