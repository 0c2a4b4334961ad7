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
    message="{fold} already has {present}",
    fix="{again}to begin from scratch, move it away first: mv {folder} {away}",
)
def results_would_be_overwritten(run: TrainingRun) -> Iterator[Found]:
    """A training would begin from scratch in a folder with checkpoints.

    What it checks: without `--c` and `--val`, that the fold's folder of results contains no checkpoint.

    Why it matters: without `--c`, nnU-Net begins at epoch 0 and overwrites checkpoints; a trainer of a number of steps
    refuses. nnU-Net does not ask: first it overwrites `checkpoint_best.pth`, after 50 epochs `checkpoint_latest.pth`,
    at the end the finished model.

    How to fix: add `--c`, or move the folder away. `plansguard train --resume auto` begins or continues, by what it
    finds in the folder.

    Example: a job that was killed is submitted again unchanged.

    Evidence: AR-13; run/run_training.py, maybe_load_checkpoint.
    """
    if run.present and not (run.continues or run.validates):
        yield found(
            run.at,
            fold=_shown(run),
            folder=quoted(run.output_folder),
            away=quoted(unused(run.output_folder.with_name(f"old_{run.output_folder.name}"))),
            again=_again(run),
            present=listed([described(path, checkpoint) for path, checkpoint in run.present.items()], shown=1),
        )


@rule("PG722", Severity.ERROR, message="{trouble}", fix="{remedy}")
def nothing_to_continue(run: TrainingRun) -> Iterator[Found]:
    """There is no checkpoint that --c can continue.

    What it checks: with `--c`, that the fold's folder of results contains a checkpoint. If not, the models that do are
    named: another `-tr`, `-p` or configuration is another folder. For a trainer that extends another one's steps, that
    the other training is present and finished, and that `--c` is given.

    Why it matters: nnU-Net prints one `WARNING: Cannot continue training` and starts from random weights. It does so
    even if the training had begun with pretrained ones. A trainer of a number of steps refuses.

    How to fix: correct `-tr`, `-p` or the configuration, or leave `--c` out.

    Example: `--c` with `-p` forgotten.

    Evidence: ST-05, AR-13; run/run_training.py, maybe_load_checkpoint.
    """
    if run.validates or (run.continues and run.weights is not None):
        return  # PG724 reports it
    refusal = run.refusal
    if refusal is not None and refusal.obstacle == "PG722":
        yield found(run.at, trouble=without_folders(refusal.reason, run), remedy=_shorter_training(run) or refusal.hint)


@rule("PG723", Severity.ERROR, message="{flag} {trouble}", fix="{remedy}")
def nothing_to_validate(run: TrainingRun) -> Iterator[Found]:
    """The checkpoint to be validated is missing.

    What it checks: with `--val`, that the fold's folder of results contains `checkpoint_final.pth`, and with
    `--val_best` also `checkpoint_best.pth`, which `--disable_checkpointing` does not write: they exclude each other.

    Why it matters: nnU-Net stops: `Cannot run validation because the training is not finished yet!`, or with a
    `FileNotFoundError`. With `--disable_checkpointing` it stops with an assertion.

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
        trouble = f"needs {FINAL}, and {_shown(run)} has none"
        yield found(run.at, flag="--val", trouble=trouble, remedy=remedy)
    elif run.validates_best and BEST not in present:
        trouble = f"needs {BEST}, and {_shown(run)} has none"
        yield found(run.at, flag="--val_best", trouble=trouble, remedy="leave --val_best out")


@rule(
    "PG724",
    Severity.ERROR,
    message="{what} and {other} exclude each other",
    fix="{remedy}",
)
def continue_and_pretrained_weights(run: TrainingRun) -> Iterator[Found]:
    """The flag --c is combined with an option that excludes it.

    What it checks: `--c` is combined neither with `-pretrained_weights` nor with `--val`.

    Why it matters: nnU-Net stops: `Cannot both continue a training AND load pretrained weights`, or with an assertion
    for `--val`. That one is `Cannot set --c and --val flag at the same time`.

    How to fix: to continue a fine-tuning give `--c` alone: its checkpoint contains the fine-tuned weights.

    Example: the job script of a fine-tuning with `--c` appended.

    Evidence: AR-13, RT-04; run/run_training.py, maybe_load_checkpoint and run_training.
    """
    if run.continues and run.weights is not None:
        extends = run.schedule is not None and run.schedule.extends > 0
        remedy = "leave -pretrained_weights out: the checkpoint that is continued has been trained from them"
        remedy = remedy if run.present or extends else "leave --c out: there is nothing to continue"
        what = "an extension" if extends else "--c"
        yield found(run.at, what=what, other="-pretrained_weights", remedy=remedy)
    if run.continues and run.validates:
        remedy = "--c to continue, which validates at its end; --val only to validate"
        yield found(run.at, what="--c", other="--val", remedy=remedy)


@rule(
    "PG744",
    Severity.ERROR,
    message="{name} is {what}, and no checkpoint",
    fix="move it away: mv {path} {away}",
)
def checkpoint_is_no_file(run: TrainingRun) -> Iterator[Found]:
    """Something else than a file has the name of a checkpoint.

    What it checks: in the fold's folder of results, `checkpoint_final.pth`, `checkpoint_latest.pth` and
    `checkpoint_best.pth` are files or do not exist.

    Why it matters: nnU-Net begins from scratch, and stops or waits without end when it writes this checkpoint. It takes
    the checkpoint for missing. The message is `open file failed with strerror: Is a directory`; for a pipe there is
    none.

    How to fix: move it away.

    Example: a checkpoint that was unpacked into a folder of its own name.

    Evidence: AR-08; run/run_training.py, maybe_load_checkpoint; nnUNetTrainer.save_checkpoint.
    """
    for name in CHECKPOINTS:
        path = run.output_folder / name
        status = disk.status(path)
        if status is not None and not S_ISREG(status.st_mode):
            away = unused(path.with_name(f"old_{name}"))
            yield found(run.at, name=name, path=quoted(path), away=quoted(away), what=file_type(status.st_mode))


def unused(path: Path) -> Path:
    """Return ``path``, or if something has this name, the same with a number: ``mv`` would overwrite or enter it."""
    names = (path.name, *(f"{path.name}_{number}" for number in range(2, _MOST_NAMES)))
    return next((place for name in names if not disk.is_there(place := path.with_name(name))), path)


def _shown(run: TrainingRun) -> str:
    """The folder of the fold in messages, which name the dataset elsewhere."""
    return f"{run.model_folder.name}/{run.output_folder.name}"


def without_folders(text: str, run: TrainingRun) -> str:
    """Shorten the paths in a text: files in the folder of the fold by their names, the folder to two parts."""
    return text.replace(f"{run.output_folder}/", "").replace(str(run.output_folder), _shown(run))


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
    """Return a checkpoint as ``checkpoint_latest.pth (50 epochs)``, with the trainer if the model has another one."""
    if isinstance(checkpoint, UnreadableDocument):
        return f"{path.name} (unreadable)"
    step, epochs = checkpoint.step, checkpoint.current_epoch
    done = f"step {step:,}" if step is not None else counted(epochs, "epoch") if epochs is not None else ""
    trainer = checkpoint.trainer or ""
    other = "" if path.parent.parent.name.startswith(f"{trainer}__") else trainer
    details = ", ".join(filter(None, (other, done)))
    return f"{path.name} ({details})" if details else path.name
