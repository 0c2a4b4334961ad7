"""PG721 to PG724, PG744: checkpoints that are already in the folder of results, or missing there."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from stat import S_ISREG
from typing import TYPE_CHECKING

from plansguard.core import disk
from plansguard.core.errors import UnreadableDocument
from plansguard.core.report import Severity
from plansguard.core.text import counted, listed, quoted
from plansguard.documents.json_document import file_type
from plansguard.nnunet.constants import CHECKPOINT_BEST as BEST
from plansguard.nnunet.constants import CHECKPOINT_FINAL as FINAL
from plansguard.nnunet.constants import CHECKPOINTS
from plansguard.rules.engine.declare import Found, found, rule

if TYPE_CHECKING:
    from plansguard.artefacts.checkpoint.checkpoint import Checkpoint
    from plansguard.subjects.training_run import TrainingRun

#: As many folders of one name may be moved away.
_MOST_NAMES = 1000


@rule(
    "PG721",
    Severity.ERROR,
    message="{folder} already contains {present}: {trouble}",
    fix="{again}to begin from scratch, move it away first: mv {folder} {away}",
)
def results_would_be_overwritten(run: TrainingRun) -> Iterator[Found]:
    """A training would begin from scratch in a folder with checkpoints.

    What it checks: without `--c` and `--val`, that the fold's folder of results contains no checkpoint.

    Why it matters: nnU-Net begins at epoch 0 and overwrites without asking: first `checkpoint_best.pth`, after 50
    epochs `checkpoint_latest.pth`, at the end the finished model. A trainer of a number of steps refuses to begin.

    How to fix: add `--c`, or move the folder away.

    Example: a job that was killed is submitted again unchanged.

    Evidence: AR-13; run/run_training.py, maybe_load_checkpoint.
    """
    if run.present and not (run.continues or run.validates):
        yield found(
            run.at,
            folder=quoted(run.output_folder),
            away=quoted(unused(run.output_folder.with_name(f"old_{run.output_folder.name}"))),
            again=_again(run),
            present=listed([described(path, checkpoint) for path, checkpoint in run.present.items()]),
            trouble=f"{run.trainer} refuses to begin there"
            if run.steps is not None
            else "nnU-Net would begin from scratch and overwrite it without asking",
        )


@rule("PG722", Severity.ERROR, message="{trouble}", fix="{remedy}")
def nothing_to_continue(run: TrainingRun) -> Iterator[Found]:
    """There is no checkpoint that --c can continue.

    What it checks: with `--c`, that the fold's folder of results contains a checkpoint. If not, the models that do are
    named: another `-tr`, `-p` or configuration is another folder. For a trainer that extends another one's steps, that
    the other training is present and finished, and that `--c` is given.

    Why it matters: nnU-Net prints one `WARNING: Cannot continue training` and starts from random weights, even if the
    training had begun with pretrained ones. A trainer of a number of steps refuses.

    How to fix: correct `-tr`, `-p` or the configuration, or leave `--c` out.

    Example: `--c` with `-p` forgotten.

    Evidence: ST-05, AR-13; run/run_training.py, maybe_load_checkpoint.
    """
    if run.validates or (run.continues and run.weights is not None):
        return  # PG724 reports it
    refusal = run.refusal
    if refusal is not None and refusal.obstacle == "PG722":
        yield found(run.at, trouble=refusal.reason, remedy=_shorter_training(run) or refusal.hint)


@rule("PG723", Severity.ERROR, message="{flag} {trouble}", fix="{remedy}")
def nothing_to_validate(run: TrainingRun) -> Iterator[Found]:
    """The checkpoint to be validated is missing.

    What it checks: with `--val`, that the fold's folder of results contains `checkpoint_final.pth`, and with
    `--val_best` also `checkpoint_best.pth`, which `--disable_checkpointing` does not write: they exclude each other.

    Why it matters: nnU-Net stops with `Cannot run validation because the training is not finished yet!`, with
    `FileNotFoundError`, or with an assertion.

    How to fix: finish the training with `--c`.

    Example: `--val` after the job was killed in epoch 900.

    Evidence: RT-04; nnU-Net issue 2855.
    """
    if run.validates_best and run.disables_checkpointing:
        trouble = "cannot be combined with --disable_checkpointing, which leaves no best checkpoint"
        yield found(run.at, flag="--val_best", trouble=trouble, remedy="leave one of the two out")
    if run.continues or not run.validates:
        return  # PG724 reports --c with --val
    present = {path.name for path in run.present}
    if FINAL not in present:
        remedy = "finish the training first, with --c" if present else "train first, or correct -tr, -p or the fold"
        trouble = f"needs {FINAL}, and {run.output_folder} has none"
        yield found(run.at, flag="--val", trouble=trouble, remedy=remedy)
    elif run.validates_best and BEST not in present:
        trouble = f"needs {BEST}, and {run.output_folder} has none"
        yield found(run.at, flag="--val_best", trouble=trouble, remedy="leave --val_best out")


@rule(
    "PG724",
    Severity.ERROR,
    message="--c and {other} exclude each other: nnU-Net stops with {message}",
    fix="{remedy}",
)
def continue_and_pretrained_weights(run: TrainingRun) -> Iterator[Found]:
    """The flag --c is combined with an option that excludes it.

    What it checks: `--c` is combined neither with `-pretrained_weights` nor with `--val`.

    Why it matters: nnU-Net stops, in the second case with an assertion.

    How to fix: to continue a fine-tuning give `--c` alone: its checkpoint contains the fine-tuned weights.

    Example: the job script of a fine-tuning with `--c` appended.

    Evidence: AR-13, RT-04; run/run_training.py, maybe_load_checkpoint and run_training.
    """
    if run.continues and run.weights is not None:
        message = "`Cannot both continue a training AND load pretrained weights`"
        remedy = "leave -pretrained_weights out: the checkpoint that is continued has been trained from them"
        remedy = remedy if run.present else "leave --c out: there is nothing to continue"
        yield found(run.at, other="-pretrained_weights", message=message, remedy=remedy)
    if run.continues and run.validates:
        message = "`Cannot set --c and --val flag at the same time`"
        remedy = "--c to continue, which validates at its end; --val only to validate"
        yield found(run.at, other="--val", message=message, remedy=remedy)


@rule(
    "PG744",
    Severity.ERROR,
    message="{path} is {what}: nnU-Net can neither load a checkpoint from it nor write one",
    fix="move it away: mv {path} {away}",
)
def checkpoint_is_no_file(run: TrainingRun) -> Iterator[Found]:
    """Something else than a file has the name of a checkpoint.

    What it checks: in the fold's folder of results, `checkpoint_final.pth`, `checkpoint_latest.pth` and
    `checkpoint_best.pth` are files or do not exist.

    Why it matters: nnU-Net takes the checkpoint for missing, begins from scratch, and stops when it writes the first
    one: with `open file failed with strerror: Is a directory`, or, if it is a pipe, it waits without end.

    How to fix: move it away.

    Example: a checkpoint that was unpacked into a folder of its own name.

    Evidence: AR-08; run/run_training.py, maybe_load_checkpoint; nnUNetTrainer.save_checkpoint.
    """
    for name in CHECKPOINTS:
        path = run.output_folder / name
        status = disk.status(path)
        if status is not None and not S_ISREG(status.st_mode):
            away = unused(path.with_name(f"old_{name}"))
            yield found(run.at, path=quoted(path), away=quoted(away), what=file_type(status.st_mode))


def unused(path: Path) -> Path:
    """Return ``path``, or if something has this name, the same with a number: ``mv`` would overwrite or enter it."""
    names = (path.name, *(f"{path.name}_{number}" for number in range(2, _MOST_NAMES)))
    return next((place for name in names if not disk.is_there(place := path.with_name(name))), path)


def _again(run: TrainingRun) -> str:
    """How to go on with what is there, if it can be loaded; ends with a semicolon."""
    from plansguard.training.resume import fault_of

    if all(fault_of(checkpoint) for checkpoint in run.present.values()):
        return ""
    if any(path.name == FINAL for path in run.present):
        return f"to validate that training: {run.command(validates=True)}; "
    return f"to continue that training: {run.command(continues=True)}; "


def _shorter_training(run: TrainingRun) -> str:
    """How to extend, or finish, a training with fewer steps and otherwise the same schedule; empty where none is."""
    from plansguard.training.resume import checkpoints_in
    from plansguard.training.trainer_name import StepName, known_step_name, trainer_name

    if run.steps is None or run.steps.schedule.extends:
        return ""
    base, schedule = run.steps
    behind = run.model_folder.name.removeprefix(run.trainer)
    for folder in disk.matching(run.model_folder.parent, f"{base}_*steps*{behind}"):
        name = folder.name.removesuffix(behind)
        shorter = known_step_name(name)
        if shorter is None or shorter != StepName(base, replace(schedule, total=shorter.schedule.total)):
            continue
        done, fold = shorter.schedule.total, folder / run.output_folder.name
        if done < schedule.total and checkpoints_in(fold):
            extend = run.command(trainer_name(base, replace(schedule, extends=done)), continues=True)
            if disk.is_file(fold / FINAL):
                return f"to extend the {done:,} steps of {name}: {extend}"
            return f"to finish {name}, and extend it: {run.command(name, continues=True)} && {extend}"
    return ""


def described(path: Path, checkpoint: Checkpoint | UnreadableDocument) -> str:
    """Return a checkpoint as ``checkpoint_latest.pth (nnUNetTrainer, 50 epochs)``."""
    if isinstance(checkpoint, UnreadableDocument):
        return f"{path.name} (unreadable)"
    step, epochs = checkpoint.step, checkpoint.current_epoch
    done = f"step {step:,}" if step is not None else counted(epochs, "epoch") if epochs is not None else ""
    details = ", ".join(filter(None, (checkpoint.trainer, done)))
    return f"{path.name} ({details})" if details else path.name
