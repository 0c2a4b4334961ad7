"""What a workspace contains and how far it is: one row for plans, for preprocessed data and for each training."""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple


class WorkState(str, Enum):
    """How far a piece of work is.

    Stale work was made from something that has changed since. Of damaged work a file cannot be read.
    """

    DONE = "done"
    RUNNING = "running"
    STOPPED = "stopped"
    STALE = "stale"
    DAMAGED = "damaged"

    def __str__(self) -> str:
        return self.value


class WorkRow(NamedTuple):
    """One piece of work of a dataset: its plans, the data of a configuration, or the training of a fold.

    ``what`` is ``plans``, ``data``, ``road``, the folder of a fold, or the name of another document that cannot be
    read, where ``plans`` is empty; ``configuration`` and ``trainer`` are empty where
    they do not apply. ``because`` is the reason for the state.
    """

    dataset: str
    plans: str
    configuration: str
    what: str
    trainer: str
    state: WorkState
    because: str
