"""Loaders of data that hand a failure on as if it were a batch, so that it is met where all processes meet."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from plansguard.training.stop_reasons import Refused

#: What batchgenerators says of a worker that was killed. Source: dataloading/nondet_multi_threaded_augmenter.py.
_DEAD = "background workers are no longer alive"


@dataclass(frozen=True)
class Failure:
    """Stands where a batch should be."""

    error: Exception


class Guarded:
    """An endless loader whose failures are handed on; everything else of it is its own. ``before`` each batch."""

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
        except Exception as error:  # noqa: BLE001 - whatever it is, it is raised again where the batch is needed
            return Failure(error)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.loader, name)


def explained(error: Exception, step: int, *, saved: bool) -> Exception:
    """What to raise for a failure of a loader: workers that are gone get a sentence, everything else stays itself."""
    if not isinstance(error, RuntimeError) or _DEAD not in str(error):
        return error
    kept = f"a checkpoint of step {step:,} is kept" if saved else "checkpointing is disabled, so nothing is kept"
    return Refused(
        f"a worker that loads data died at step {step:,}; {kept}",
        hint="where nothing above says why, the system killed it, mostly for want of memory: take fewer workers "
        "(nnUNet_n_proc_DA), then go on with --c",
    )
