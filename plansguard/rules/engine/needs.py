"""Needs: the parameters that a rule can have, and where each of them comes from."""

from __future__ import annotations

from collections.abc import Callable
from enum import IntEnum
from typing import TYPE_CHECKING, Any, NamedTuple

from plansguard.core.errors import UnreadableDocument
from plansguard.nnunet.install import packages
from plansguard.rules.engine.settings import IdleIgnore
from plansguard.subjects.dataset import Dataset
from plansguard.subjects.pair import DatasetPair
from plansguard.subjects.plans import Configuration, Plans

if TYPE_CHECKING:
    from plansguard.artefacts.checkpoint.checkpoint import Checkpoint
    from plansguard.subjects.planning import Planning
    from plansguard.subjects.prediction import Prediction
    from plansguard.subjects.setup import Setup
    from plansguard.subjects.training_run import TrainingRun


class Level(IntEnum):
    """How often a rule runs: once for each occurrence of the most specific of its needs."""

    DATASET = 0
    PLANS = 1
    CONFIGURATION = 2
    MIGRATED_PLANS = 3
    DATA = 4
    CHECKPOINT = 5
    WEIGHTS = 6
    PREPROCESSING = 7
    RUN = 8
    PLANNING = 9
    PREDICTION = 10
    PAIR = 11
    INSTALLATION = 12
    SETUP = 13
    RUN_END = 14


class Scope(NamedTuple):
    """What a rule runs on. Fields that do not apply at its level are None."""

    dataset: Dataset
    plans: Plans | None = None
    configuration: Configuration | None = None
    checkpoint: Checkpoint | None = None
    run: TrainingRun | None = None
    planning: Planning | None = None
    prediction: Prediction | None = None
    pair: DatasetPair | None = None
    setup: Setup | None = None
    unreadable: tuple[UnreadableDocument, ...] = ()
    crashes: tuple[Crash, ...] = ()
    idle_ignores: tuple[IdleIgnore, ...] = ()

    @property
    def path(self) -> str:
        """Return the file or folder that a NotChecked record names."""
        if self.plans is not None:
            return self.plans.document.path
        if self.checkpoint is not None:
            return self.checkpoint.path
        return str(self.dataset.folder)


class Crash(NamedTuple):
    """A rule that raised: its code, the file it ran on, and the exception's text."""

    rule: str
    path: str
    error: str


#: The roles of datasets (`Dataset.role`), and the one that training reads.
ROLES = frozenset({"preprocessed", "model", "raw", "loose"})
PREPROCESSED = frozenset({"preprocessed"})
DATASETS = PREPROCESSED | {"raw"}


class Need(NamedTuple):
    """How often a need occurs, how a scope provides it, and the roles of datasets that can have it.

    Where it is absent in another role, its rules can never apply: they are not recorded as *not checked*. A need that
    is ``of_run`` is the same for all that is checked.
    """

    level: Level
    get: Callable[[Any], Any]
    roles: frozenset[str] = ROLES
    of_run: bool = False


#: Name of the parameter -> its need. ``get`` raises Absent for what is not there.
NEEDS: dict[str, Need] = {
    "dataset": Need(Level.DATASET, lambda scope: scope.dataset),
    "dataset_json": Need(Level.DATASET, lambda scope: scope.dataset.dataset_json.valid),
    "fingerprint": Need(Level.DATASET, lambda scope: scope.dataset.fingerprint.valid, PREPROCESSED | {"loose"}),
    "splits": Need(Level.DATASET, lambda scope: scope.dataset.splits.valid, PREPROCESSED),
    "raw_dataset_json": Need(Level.DATASET, lambda scope: scope.dataset.raw_dataset_json, PREPROCESSED),
    "raw_images": Need(Level.DATASET, lambda scope: scope.dataset.raw_images, PREPROCESSED),
    "trained": Need(Level.DATASET, lambda scope: scope.dataset.trained, PREPROCESSED),
    "preprocessing_records": Need(Level.DATASET, lambda scope: scope.dataset.preprocessing_records, PREPROCESSED),
    "nnunet_version": Need(Level.DATASET, lambda _: packages.nnunet_version(), of_run=True),
    "plans": Need(Level.PLANS, lambda scope: scope.plans.valid),
    "migration_record": Need(Level.MIGRATED_PLANS, lambda scope: scope.dataset.migration_record(scope.plans)),
    "configuration": Need(Level.CONFIGURATION, lambda scope: scope.configuration.usable),
    "data": Need(Level.DATA, lambda scope: scope.dataset.data(scope.configuration)),
    "checkpoint": Need(Level.CHECKPOINT, lambda scope: scope.checkpoint),
    "weights": Need(Level.WEIGHTS, lambda scope: scope.dataset.weights(scope.configuration)),
    "processes": Need(Level.PREPROCESSING, lambda scope: scope.dataset.request.processes),
    "run": Need(Level.RUN, lambda scope: scope.run),
    "planning": Need(Level.PLANNING, lambda scope: scope.planning),
    "prediction": Need(Level.PREDICTION, lambda scope: scope.prediction),
    "datasets": Need(Level.PAIR, lambda scope: scope.pair),
    "pair": Need(Level.PAIR, lambda scope: scope.pair),
    "installation": Need(Level.INSTALLATION, lambda scope: scope.setup),
    "setup": Need(Level.SETUP, lambda scope: scope.setup),
    "unreadable": Need(Level.RUN_END, lambda scope: scope.unreadable),
    "crashes": Need(Level.RUN_END, lambda scope: scope.crashes),
    "idle_ignores": Need(Level.RUN_END, lambda scope: scope.idle_ignores),
}
