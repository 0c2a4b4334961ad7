"""PG746, PG747: trainers that begin with the segmentation layers of pretrained weights."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from plansguard.core.report import Severity
from plansguard.rules.engine.declare import Found, found, rule
from plansguard.training import kept_head
from plansguard.training.trainer_name import trainer_name

if TYPE_CHECKING:
    from plansguard.subjects.training_run import TrainingRun


@rule(
    "PG746",
    Severity.ERROR,
    message="{trainer} begins with the segmentation layers of pretrained weights, and this training names none",
    fix="name the weights with -pretrained_weights; or begin with new layers: {command}",
)
def no_head_to_keep(run: TrainingRun) -> Iterator[Found]:
    """A trainer that keeps the head of pretrained weights gets none.

    What it checks: a trainer with `keephead` in its name begins with `-pretrained_weights`.

    Why it matters: the trainer refuses to begin, after it has been set up. Its folder of results would say that the
    layers were kept.

    How to fix: name the weights, or leave `keephead` (`--keep-head`) out.

    Example: `plansguard train 2 3d_fullres 0 --steps 20000 --keep-head`.

    Evidence: AR-12; nnU-Net issue 774.
    """
    if _keeps(run) and run.weights is None:
        yield found(run.at, command=run.command(_without(run)))


@rule(
    "PG747",
    Severity.ERROR,
    message="the segmentation layers of the weights cannot be kept: {trouble}",
    fix="adapt the weights to these classes: {adapt}; or begin with new layers: {command}",
)
def head_does_not_fit(run: TrainingRun) -> Iterator[Found]:
    """The segmentation layers that a trainer keeps are those of other classes.

    What it checks: for a trainer with `keephead` in its name, whether the segmentation layers of the weights have the
    shapes of this dataset's, and whether its labels or regions have the same names in the same order. Names are not
    compared where the checkpoint contains no dataset.json.

    Why it matters: the trainer refuses to begin, after it has been set up. Layers of other classes would predict one
    organ under the name of another.

    How to fix: `plansguard adapt` brings the rows of the kept classes into the order of this dataset.

    Example: weights for liver and tumour, and a dataset of tumour and cyst.

    Evidence: AR-12, LB-05; nnU-Net issues 774, 2252.
    """
    from plansguard.subjects.adaptation_command import same_network_command
    from plansguard.subjects.weights import Weights

    if not _keeps(run) or run.weights is None:
        return
    weights = Weights(run.weights, run.configuration, run.dataset.dataset_json.valid)
    if not weights.load:
        return  # reported by PG620 to PG623
    theirs = run.weights.dataset_json
    trouble = kept_head.misfit(weights.expected, run.weights.shapes, weights.dataset_json.value, theirs)
    if trouble:
        adapt = same_network_command(weights, run.dataset, run.weights.path)
        at, command = weights.dataset_json.at("labels"), run.command(_without(run))
        fix = None if adapt else f"begin with new layers: {command}"
        yield found(at, fix=fix, trouble=trouble, adapt=adapt, command=command)


def _keeps(run: TrainingRun) -> bool:
    return run.begins and run.schedule is not None and run.schedule.keep_head


def _without(run: TrainingRun) -> str | None:
    """The trainer that begins with new segmentation layers."""
    return None if run.steps is None else trainer_name(run.steps.base, replace(run.steps.schedule, keep_head=False))
