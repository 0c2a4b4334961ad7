"""The gate: is this training fit to start? The rules of every other command, and those about the training itself."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from plansguard import engine
from plansguard.direction import DEFAULT_IDENTIFIER
from plansguard.discovery import configuration_of, dataset_of, narrowed, plans_of
from plansguard.errors import UsageError
from plansguard.report import Finding, Report
from plansguard.rules import RULES, find
from plansguard.run import Run, checked_fold
from plansguard.settings import ActiveSettings
from plansguard.subject import Reading, Request
from plansguard.training.names import STOCK_TRAINER, is_step_name
from plansguard.training.options import Options
from plansguard.words import nearest
from plansguard.workspace import Workspace

if TYPE_CHECKING:
    from plansguard.artefacts.checkpoint import Checkpoint

DEVICES = ("cuda", "cpu", "mps")


@dataclass(frozen=True)
class Order:
    """A training as it was asked for: the arguments of ``nnUNetv2_train`` under the names that `Run` has for them."""

    dataset: str
    configuration: str
    fold: str
    plans: str = DEFAULT_IDENTIFIER
    trainer: str = STOCK_TRAINER
    weights: Path | None = None
    continues: bool = False
    validates: bool = False
    validates_best: bool = False
    disables_checkpointing: bool = False
    device: str = "cuda"
    gpus: int = 1
    gpu_memory: float | None = None
    options: Options = field(default_factory=Options)


class Accepted(NamedTuple):
    """A finding that is let through: its code or name, and the reason that will be written down."""

    code: str
    because: str


def prepare(workspace: Workspace, order: Order, reading: Reading) -> Run:
    """The training that the order asks for, ready to be judged; nothing is written.

    Raises UsageError for what nnU-Net could not begin with: an unknown
    dataset, plans, configuration, fold or device, or folders that no variable names; UnreadableDocument for weights
    that are none.
    """
    fold = checked_fold(order.fold)
    if order.device not in DEVICES:
        raise UsageError(
            f"{order.device!r} is no device that nnU-Net knows",
            hint=f"one of {', '.join(DEVICES)}; which GPU it is, CUDA_VISIBLE_DEVICES says",
        )
    if order.gpus < 1:
        raise UsageError(f"{order.gpus} GPUs cannot train", hint="-num_gpus 1 is nnU-Net's default")
    if order.gpu_memory is not None and not isfinite(order.gpu_memory):
        raise UsageError(f"--gpu-memory {order.gpu_memory} is no amount of memory", hint="in GB, such as 24")
    dataset = dataset_of(workspace, order.dataset)
    plans = plans_of(dataset, order.plans)
    configuration = configuration_of(plans, order.configuration)
    if workspace.results is None:
        raise UsageError(
            "the environment variable nnUNet_results is not set, so nnU-Net could not write what it trains",
            hint="export nnUNet_results=/path/to/nnUNet_results",
        )
    request = Request(plans.identifier, configuration.name, _checkpoint(order.weights), reading, order.trainer, fold)
    return Run(
        dataset=narrowed(dataset, request),
        plans=plans,
        configuration=configuration,
        fold=fold,
        **{name: getattr(order, name) for name in _SAME},
    )


#: What an order and a run call the same.
_SAME = (
    *("trainer", "continues", "validates", "validates_best", "disables_checkpointing"),
    *("device", "gpus", "gpu_memory", "options"),
)


def possible_depth() -> str:
    """How much of the arrays the gate reads unless told otherwise, as `Reading` calls it.

    The headers of every case, and the values of a few where the packages for it are installed; nnU-Net brings them.
    """
    found = all(importlib.util.find_spec(name) is not None for name in ("blosc2", "numpy", "SimpleITK"))
    return "sample" if found else "headers"


def judge(run: Run, command: str, settings: ActiveSettings, accepted: Sequence[Accepted] = ()) -> Report:
    """What every rule says of the dataset, the data, the weights and the training.

    ``command`` is the name of the report's command. What is accepted stays in the report, with the reason. UsageError
    for an accepted code that no rule has.
    """
    assert_known(accepted)
    assert_acceptable(run, accepted)
    report = engine.run(command, [str(run.dataset.folder)], [run.dataset], training=run, settings=settings)
    return accept(report, accepted)


def assert_known(accepted: Iterable[Accepted]) -> None:
    """That there are rules with these codes, and reasons; UsageError otherwise."""
    for one in accepted:
        _check_known(one)


#: What trainers of a number of steps refuse by themselves, whatever the gate lets through.
_REFUSED_ANYWAY = {"PG721", "PG722", "PG726", "PG727", "PG729", "PG730", "PG735", "PG739"}


def assert_acceptable(run: Run, accepted: Iterable[Accepted]) -> None:
    """That the training would begin with these let through; UsageError where its trainer would still refuse."""
    for one in accepted:
        rule = find(one.code)
        if is_step_name(run.trainer) and rule is not None and rule.info.code in _REFUSED_ANYWAY:
            raise UsageError(
                f"{one.code} cannot be accepted: {run.trainer} refuses by itself then",
                hint="without --accept the finding says how to mend it",
            )


def accept(report: Report, accepted: Sequence[Accepted]) -> Report:
    """The report with what is accepted let through, and the reasons in it."""
    return replace(report, findings=tuple(_accepted(finding, accepted) for finding in report.findings))


def idle(report: Report, accepted: Sequence[Accepted]) -> list[Accepted]:
    """What was accepted and not found: a leftover of an earlier training, perhaps."""
    return [one for one in accepted if not any(one.code in (found.code, found.name) for found in report.findings)]


def _accepted(finding: Finding, accepted: Sequence[Accepted]) -> Finding:
    for one in accepted:
        if one.code in (finding.code, finding.name) and finding.ignored is None:
            return replace(finding, ignored=one.because)
    return finding


def _check_known(accepted: Accepted) -> None:
    known = [name for rule in RULES for name in (rule.info.code, rule.info.name)]
    if accepted.code not in known:
        near = nearest(accepted.code, known)
        hint = f"did you mean {near}?" if near else "plansguard rules lists them"
        raise UsageError(f"there is no rule {accepted.code} to accept", hint=hint)
    if not accepted.because.strip():
        raise UsageError(f"why is {accepted.code} accepted?", hint='add --because "..."; the receipt keeps the reason')


def _checkpoint(weights: Path | None) -> Checkpoint | None:
    if weights is None:
        return None
    from plansguard.artefacts.checkpoint import read_checkpoint

    return read_checkpoint(weights)
