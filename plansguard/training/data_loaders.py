"""Data loaders that return an exception in place of a batch, so that it is raised where all processes meet."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from plansguard.training.stop_reasons import Refused

#: batchgenerators' message if a worker was killed. Source: dataloading/nondet_multi_threaded_augmenter.py.
_DEAD = "background workers are no longer alive"


class Guarded:
    """An endless loader that returns the exceptions of another one; ``before`` is called before each batch."""

    def __init__(self, loader: Any, before: Callable[[], None] | None) -> None:
        self.loader = loader
        self._before = before

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        if self._before is not None:
            self._before()
        try:
            return next(self.loader)
        except Exception as error:  # noqa: BLE001 - raised where the batch is needed
            return error

    def __getattr__(self, name: str) -> Any:
        return getattr(self.loader, name)


def explained(error: Exception, step: int, *, saved: bool) -> Exception:
    """Return the exception to raise for a loader's error: an explanation for dead workers, else the error itself."""
    if not isinstance(error, RuntimeError) or _DEAD not in str(error):
        return error
    kept = f"a checkpoint of step {step:,} is kept" if saved else "checkpointing is disabled, so nothing is kept"
    return Refused(
        f"a worker that loads data died at step {step:,}; {kept}",
        hint="unless another message above explains it, the system killed it, mostly for lack of memory: take fewer "
        "workers (nnUNet_n_proc_DA), then continue with --c",
    )
