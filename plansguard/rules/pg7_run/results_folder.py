"""PG721 to PG724: what a training would do to the results that are there."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from plansguard.core.errors import known
from plansguard.core.report import Severity
from plansguard.core.text import listed, quoted
from plansguard.nnunet.constants import CHECKPOINT_BEST as BEST
from plansguard.nnunet.constants import CHECKPOINT_FINAL as FINAL
from plansguard.rules.engine.declare import Found, found, rule
from plansguard.rules.pg7_run.resume import described

if TYPE_CHECKING:
    from plansguard.subjects.training_run import TrainingRun


@rule(
    "PG721",
    "results-would-be-overwritten",
    Severity.ERROR,
    message="{folder} already holds {present}: {trouble}",
    fix="to go on with that training add --c, or --val where it is finished; to begin anew move it away first: "
    "mv {folder} {away}",
    modes=("AR-13",),
)
def results_would_be_overwritten(run: TrainingRun) -> Iterator[Found]:
    """A training would begin anew where another one has left its checkpoints.

    What it checks: without `--c` and `--val`, that the fold's folder of results holds no checkpoint.

    Why it matters: nnU-Net begins at epoch 0 and overwrites what is there without a question: first
    `checkpoint_best.pth`, after 50 epochs `checkpoint_latest.pth`, at the end the finished model. A trainer of a number
    of steps refuses to begin.

    How to fix: add `--c`, or move the folder away.

    Example: a job that was killed is submitted again as it was.

    Evidence: AR-13; run/run_training.py, maybe_load_checkpoint.
    """
    if run.present and not (run.continues or run.validates):
        yield found(
            run.at,
            folder=quoted(run.output_folder),
            away=quoted(run.output_folder.with_name(f"old_{run.output_folder.name}")),
            present=listed([described(path, checkpoint) for path, checkpoint in run.present.items()]),
            trouble=f"{run.trainer} refuses to begin there"
            if run.steps is not None
            else "nnU-Net would begin anew and overwrite that without a question",
        )


@rule(
    "PG722",
    "nothing-to-continue",
    Severity.ERROR,
    message="{trouble}",
    fix="{remedy}",
    modes=("ST-05", "AR-13"),
)
def nothing_to_continue(run: TrainingRun) -> Iterator[Found]:
    """There is no checkpoint that --c could go on from.

    What it checks: with `--c`, that the fold's folder of results holds a checkpoint. If not, folders beside it that do
    are named: another `-tr`, `-p` or configuration is another folder. For a trainer that extends another one's steps,
    that the other one is there and finished, and that `--c` says so.

    Why it matters: nnU-Net prints one `WARNING: Cannot continue training` and starts from random weights, also where
    the training had begun with pretrained ones. A trainer of a number of steps refuses.

    How to fix: correct `-tr`, `-p` or the configuration, or leave `--c` out.

    Example: `--c` with `-p` forgotten.

    Evidence: ST-05, AR-13; run/run_training.py, maybe_load_checkpoint.
    """
    if run.continues and (run.validates or run.weights is not None):
        return  # PG724 tells
    if run.extends:
        from plansguard.training.stop_reasons import Refused

        if isinstance(run.newest, Refused):
            if not run.validates:
                yield found(run.at, trouble=run.newest.reason, remedy=run.newest.hint)
        elif not (run.continues or run.validates):
            trouble = f"{run.trainer} goes on from a finished training, and refuses to begin by itself"
            yield found(run.at, trouble=trouble, remedy="add --c")
    elif run.continues and not run.present:
        others = [model for model in known(lambda: run.dataset.trained) or () if _has_checkpoints(model.folder, run)]
        named = [f"{one.configuration} -tr {one.trainer} -p {one.plans_name}" for one in others]
        remedy = f"checkpoints of fold {run.fold} lie beside it, of {listed(named)}: correct the command, or "
        yield found(
            run.at,
            trouble=f"--c finds no checkpoint in {run.output_folder}",
            remedy=(remedy if named else "") + "leave --c out to begin anew",
        )


@rule(
    "PG723",
    "nothing-to-validate",
    Severity.ERROR,
    message="{flag} {trouble}",
    fix="{remedy}",
    modes=("RT-04",),
)
def nothing_to_validate(run: TrainingRun) -> Iterator[Found]:
    """What is to be validated is not there.

    What it checks: with `--val`, that the fold's folder of results holds `checkpoint_final.pth`, and with `--val_best`
    besides it `checkpoint_best.pth`; that `--val_best` is not given with `--disable_checkpointing`, after which there
    is no best one.

    Why it matters: nnU-Net stops with `Cannot run validation because the training is not finished yet!`, with
    `FileNotFoundError`, or with an assertion.

    How to fix: finish the training with `--c`.

    Example: `--val` after the job was killed in epoch 900.

    Evidence: RT-04; nnU-Net issue 2855.
    """
    if run.validates_best and run.disables_checkpointing:
        trouble = "cannot be given with --disable_checkpointing, which leaves no best checkpoint"
        yield found(run.at, flag="--val_best", trouble=trouble, remedy="leave one of the two out")
    if run.continues:
        return  # PG724 tells
    there = {path.name for path in run.present}
    needed = {"--val": FINAL, "--val_best": BEST} if run.validates_best and FINAL in there else {"--val": FINAL}
    for flag, name in needed.items() if run.validates else ():
        if name not in there:
            remedy = "finish the training first, with --c" if there else "train first, or correct -tr, -p or the fold"
            remedy = f"leave {flag} out" if name == BEST else remedy
            yield found(run.at, flag=flag, trouble=f"needs {name}, and {run.output_folder} has none", remedy=remedy)


@rule(
    "PG724",
    "continue-and-pretrained-weights",
    Severity.ERROR,
    message="--c and {other} exclude each other: nnU-Net stops with {message}",
    fix="{remedy}",
    modes=("AR-13", "RT-04"),
)
def continue_and_pretrained_weights(run: TrainingRun) -> Iterator[Found]:
    """The flag --c is given together with what it excludes.

    What it checks: `--c` comes neither with `-pretrained_weights` nor with `--val`.

    Why it matters: nnU-Net stops, in the second case with an assertion.

    How to fix: to go on with a fine-tuning give `--c` alone: its checkpoint holds what became of the weights.

    Example: the job script of a fine-tuning with `--c` appended.

    Evidence: AR-13; run/run_training.py, maybe_load_checkpoint and run_training.
    """
    if run.continues and run.weights is not None:
        said = "`Cannot both continue a training AND load pretrained weights`"
        remedy = "leave -pretrained_weights out: the checkpoint that is continued has learned from them"
        remedy = remedy if run.present else "leave --c out: there is nothing to continue"
        yield found(run.at, other="-pretrained_weights", message=said, remedy=remedy)
    if run.continues and run.validates:
        said = "`Cannot set --c and --val flag at the same time`"
        remedy = "--c to go on, which validates at its end; --val to do nothing but validate"
        yield found(run.at, other="--val", message=said, remedy=remedy)


def _has_checkpoints(model: Path, run: TrainingRun) -> bool:
    return any((model / f"fold_{run.fold}").glob("checkpoint_*.pth"))
