"""What ``plansguard finetune`` is asked for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from plansguard.artefacts.data.workers import DASK, Pool
from plansguard.core.errors import UsageError
from plansguard.nnunet.workspace import ALL, checked_fold
from plansguard.rules.engine.acceptance import Accepted
from plansguard.rules.engine.settings import ActiveSettings
from plansguard.subjects.request import Reading
from plansguard.training.schedule import StepSchedule

_LAST_STEPS = ("check", "train", "find-best")
#: The steps in their order, as ``--until`` names them. Those with ``-source`` are about the dataset of ``-s``.
_WITH_MOVED_PLANS = (
    *("fingerprint-source", "plan-source", "preprocess-source", "pretrain"),
    *("fingerprint", "plan", "migrate", "preprocess", "unpack", *_LAST_STEPS),
)
_WITH_OWN_PLANS = (
    *("fingerprint", "plan", "fingerprint-source", "migrate", "preprocess-source", "pretrain"),
    *("preprocess", *_LAST_STEPS),
)


def steps_of(workflow: str = "finetune") -> tuple[str, ...]:
    """The kinds of steps that a road of this workflow can have, in the order in which it runs them."""
    return _WITH_OWN_PLANS if workflow == "pretrain" else _WITH_MOVED_PLANS


@dataclass(frozen=True)
class RoadRequest:
    """The options of ``plansguard finetune``.

    ``source`` is what ``migrate -s`` takes, ``target`` a dataset. ``plans`` is the new name of the migrated plans,
    ``source_plans`` are the plans that are migrated and ``onto`` those that a graft changes. ``schedule`` is that of
    the fine-tuning; a rate of None is the usual one for pretrained weights. ``pretraining`` is the schedule of a
    pretraining that is part of the road. ``trainer`` is the base trainer; None is the one that suits the weights.
    ``settings`` returns the settings that apply to a folder, those of ``settings_file`` where one is named.
    ``elsewhere`` is whether another machine trains, whose GPUs are not known here. ``dask`` is the address of a cluster
    whose workers preprocess, and read preprocessed cases.
    """

    source: str
    target: str
    plans: str
    configuration: str
    folds: tuple[str, ...]
    schedule: StepSchedule
    settings: Callable[[Path], ActiveSettings]
    workflow: str = "finetune"
    pretraining: StepSchedule | None = None
    source_plans: str | None = None
    onto: str | None = None
    reader: str | None = None
    planner: str = "ExperimentPlanner"
    weights: Path | None = None
    trainer: str | None = None
    device: str = "cuda"
    gpus: int = 1
    processes: int | None = None
    gpu_memory: float | None = None
    keeps_probabilities: bool = False
    verifies: bool = False
    save_every: int | None = None
    save_limit: int | None = None
    max_time: str | None = None
    elsewhere: bool = False
    dask: str | None = None
    accepted: Sequence[Accepted] = ()
    settings_file: Path | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "folds", tuple(dict.fromkeys(checked_fold(fold) for fold in self.folds)))
        if len(self.folds) > 1 and ALL in self.folds:
            raise UsageError("fold all and a number exclude each other", hint="-f all, or -f 0 1 2 3 4")
        if self.workflow == "pretrain" and self.pretraining is None:
            raise UsageError(
                "--workflow pretrain trains on the dataset of -s first, and the number of steps is missing",
                hint="--pretrain-steps 250000 is nnU-Net's usual length",
            )
        if self.onto is not None and self.workflow != "graft":
            raise UsageError(
                "--onto is for --workflow graft", hint="leave it out: the other workflows take plans whole"
            )
        if self.trainer == "":
            raise UsageError("-tr has an empty name", hint="leave -tr out for the trainer that suits the weights")
        if self.workflow == "graft" and self.pretraining is not None:
            raise UsageError("a graft is for weights that exist", hint="leave --pretrain-steps out")
        if self.pretraining is not None and self.weights is not None:
            raise UsageError(
                "--pretrain-steps and -pretrained_weights exclude each other", hint="leave one of the two out"
            )

    @property
    def headers(self) -> Reading:
        """How the headers of preprocessed cases are read."""
        return Reading("headers", pool=None if self.dask is None else Pool(DASK + self.dask))

    @property
    def cross_validates(self) -> bool:
        """Whether the folds are numbers, so that nnU-Net can join their validations."""
        return ALL not in self.folds
