"""Work in the background of a training. No torch."""

from __future__ import annotations

from collections.abc import Callable
from threading import Thread


class BackgroundWork:
    """One job at a time, in a thread, for which the end of the process waits."""

    def __init__(self) -> None:
        self._thread: Thread | None = None
        self._error: BaseException | None = None

    @property
    def failed(self) -> bool:
        """Whether a job has failed, and `wait` was not called since."""
        return self._error is not None

    def start(self, job: Callable[[], object]) -> None:
        """Start a job when the one before has ended; raise what that one raised."""
        self.wait()
        self._thread = Thread(target=self._run, args=(job,), name="plansguard-background")
        self._thread.start()

    def wait(self) -> None:
        """Wait for the end of the job; raise what it raised, once."""
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        error, self._error = self._error, None
        if error is not None:
            raise error

    def _run(self, job: Callable[[], object]) -> None:
        try:
            job()
        except BaseException as error:  # noqa: BLE001 - raised where it is waited for
            self._error = error
