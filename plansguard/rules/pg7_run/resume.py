"""PG725 to PG730: the checkpoint that a training would continue, and what changed since it was written.

Source: maybe_load_checkpoint in run/run_training.py of nnU-Net 2.8.1. ``--c`` takes checkpoint_final.pth, else
checkpoint_latest.pth, else checkpoint_best.pth, by name alone. What trainers of a number of steps refuse is decided in
training/resume.py.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from plansguard.core.errors import Absent, UnreadableDocument, known
from plansguard.core.report import Location, Severity
from plansguard.core.text import counted, quoted
from plansguard.nnunet.constants import CHECKPOINT_BEST as BEST
from plansguard.nnunet.constants import CHECKPOINT_FINAL as FINAL
from plansguard.rules.engine.declare import Found, found, rule
from plansguard.rules.engine.helpers import places_of
from plansguard.rules.pg7_run.results_folder import described, unused, without_folders
from plansguard.training.schedule import EXPONENT
from plansguard.training.trainer_name import trainer_name

if TYPE_CHECKING:
    from plansguard.artefacts.checkpoint.checkpoint import Checkpoint
    from plansguard.nnunet.plans_diff import Change
    from plansguard.subjects.training_run import TrainingRun


#: Fields of dataset.json that decide what is learned, or how the final validation reads.
_LEARNED = ("labels", "channel_names", "modality", "regions_class_order", "file_ending")
#: Ratio by which the learning rate may jump at a resume, up or down.
_JUMP = 1.25


@rule(
    "PG725",
    Severity.ERROR,
    message="--c would take {taken}, but {newest} is {which}: {lost}",
    fix="move the older files away, so that nnU-Net takes {name}: {moves}",
)
def stale_final_checkpoint(run: TrainingRun) -> Iterator[Found]:
    """The training would be continued from an old checkpoint.

    What it checks: with `--c`, whether another checkpoint of the folder was written later than the one that nnU-Net
    takes, by the times of the epochs in their logs, and if a file has none, by the number of epochs. An error if the
    older one is of an earlier training; a warning if it is of the same one and epochs are only trained twice. Trainers
    of a number of steps choose the newest themselves.

    Why it matters: nnU-Net chooses by name: `checkpoint_final.pth`, else `checkpoint_latest.pth`, else
    `checkpoint_best.pth`. If a training began again in the folder of a finished one and was killed, the finished one is
    silently taken instead. And `checkpoint_latest.pth` is written every 50 epochs only: up to 49 that the best one has
    are trained again.

    How to fix: move the older files away.

    Example: 27 hours lost, because `checkpoint_best.pth` was 40 epochs ahead.

    Evidence: ST-10; nnU-Net issues 914, 2563; measured with nnU-Net 2.8.1.
    """
    taken = run.continued
    if taken is None or run.steps is not None:
        return
    newest = _newest(run, taken)
    if newest is taken:
        return
    same = _begun(newest) == _begun(taken)
    epochs = (newest.current_epoch or 0) - (taken.current_epoch or 0) * same
    older = list(run.present)[: list(run.present).index(Path(newest.path))]
    yield found(
        run.at,
        severity=Severity.WARNING if same else None,
        taken=described(Path(taken.path), taken),
        newest=described(Path(newest.path), newest),
        which="newer" if same else "of a later training",
        lost=f"{counted(epochs, 'epoch')} {'trained again' if same else 'lost'}",
        name=Path(newest.path).name,
        moves="; ".join(f"mv {quoted(path)} {quoted(unused(path.with_name(f'{path.name}.old')))}" for path in older),
    )


@rule(
    "PG726",
    Severity.ERROR,
    message="{checkpoint} cannot be loaded: {trouble}",
    fix="{remedy}",
)
def checkpoint_to_continue_damaged(run: TrainingRun) -> Iterator[Found]:
    """The checkpoint to be continued or validated is damaged, or would run a command.

    What it checks: the file that nnU-Net would load for `--c` or `--val` is a complete checkpoint of nnU-Net, and names
    no function that runs code (PG604). For trainers of a number of steps, which skip such files, that one remains.

    Why it matters: `--c` ends with `PytorchStreamReader failed reading zip archive`, although another checkpoint may be
    complete. nnU-Net writes checkpoints in place: a job that is killed meanwhile leaves half a `checkpoint_latest.pth`.
    And it loads with `weights_only=False`, which executes the code in a file from elsewhere.

    How to fix: move the damaged file away, so that nnU-Net takes the next one.

    Example: the queue's time limit ended the job while epoch 550 was being saved.

    Evidence: AR-08; measured with nnU-Net 2.8.1.
    """
    refusal = run.refusal
    if run.continues and refusal is not None and refusal.obstacle == "PG726":
        at = Location(str(run.output_folder))
        _, _, faults = refusal.reason.partition(f"{run.output_folder}: ")  # "checkpoint_latest.pth: its fault; ..."
        name, _, trouble = faults.partition(": ")
        yield found(at, checkpoint=name or "what there is", trouble=trouble or refusal.reason, remedy=refusal.hint)
    if run.continues and run.steps is not None:
        return
    from plansguard.training.resume import fault_of

    for path in _loaded(run):
        if trouble := fault_of(run.present[path]):
            sound = [other for other, checkpoint in run.present.items() if not fault_of(checkpoint)]
            remedy = f"mv {quoted(path)} {quoted(unused(path.with_name(f'{path.name}.damaged')))}"
            if run.continues and sound:
                remedy += f"; nnU-Net then continues {described(sound[0], run.present[sound[0]])}"
            yield found(Location(str(path)), checkpoint=path.name, trouble=trouble, remedy=remedy)


@rule(
    "PG727",
    Severity.WARNING,
    message="nothing is left to train: {checkpoint}, and {trainer} makes {planned}",
    fix="{remedy}",
)
def finished_already(run: TrainingRun) -> Iterator[Found]:
    """A training that is to be continued is finished.

    What it checks: with `--c`, whether the checkpoint has done all epochs, and the final validation was done as well:
    repeating an interrupted one is a use of `--c`. An error if it has done more epochs than the trainer makes, and for
    trainers of a number of steps, which refuse. For information with `--resume auto`, which then ends with exit code 0.

    Why it matters: with `--c`, nnU-Net trains nothing, and validates for minutes to hours, with exit code 0. It writes
    `checkpoint_final.pth` again and does not report that no more epochs were made.

    How to fix: for more training take another trainer, with these as `-pretrained_weights`, or extend one of steps.

    Example: the last of ten jobs in a chain.

    Evidence: ST-02; nnU-Net issues 1422, 1529; measured with nnU-Net 2.8.1.
    """
    checkpoint, planned, point = run.continued, run.epochs, run.resume_point
    if checkpoint is None or checkpoint.current_epoch is None or planned is None:
        return
    from plansguard.training.resume import is_validated

    beyond = point is None and checkpoint.current_epoch > planned
    done = point is None and checkpoint.current_epoch == planned and is_validated(run.output_folder)
    if beyond or done or run.is_finished:
        refused = Severity.INFO if run.resumes else Severity.ERROR
        yield found(
            run.at,
            severity=refused if beyond or point is not None else None,
            checkpoint=described(Path(checkpoint.path), checkpoint),
            planned=f"{run.schedule.total:,} steps" if run.schedule else counted(planned, "epoch"),
            remedy=f"{_more_training(run)}; to validate once more: {run.command(continues=False, validates=True)}",
        )


@rule("PG728", Severity.ERROR, message="{trouble}", fix="{remedy}")
def schedule_changed(run: TrainingRun) -> Iterator[Found]:
    """A training would continue with another learning rate than it stopped at.

    What it checks: with `--c`, the number of epochs that was planned, computed from the last learning rates in the
    checkpoint's log if they follow nnU-Net's polynomial. An error if the rate for as many epochs as the trainer makes
    now is more than a quarter above or below at this point. For trainers of steps, that the trainer is the same.

    Why it matters: what was learned at small rates is undone within an epoch, as if the checkpoint had been lost. The
    rate is computed from the epoch and the number of epochs alone. With another number it jumps, for example from
    0.00005 to 0.007.

    How to fix: continue with the number of epochs that it began with; for longer training begin from scratch with the
    checkpoint as `-pretrained_weights`.

    Example: a finished training of 1000 epochs, to which 500 were to be added.

    Evidence: ST-01; nnU-Net issues 238, 901, 1099, 1745, 1775, 2895.
    """
    checkpoint, point = run.continued, run.resume_point
    if point is not None:
        from plansguard.training.resume import schedule_refusal

        if refusal := schedule_refusal(point, run.trainer):
            yield found(run.at, trouble=without_folders(refusal.reason, run), remedy=refusal.hint)
    elif checkpoint is not None and (jump := _jump(checkpoint, run)) is not None:
        then, now, _, rate, next_rate = jump
        yield found(
            run.at,
            trouble=f"the learning rate would jump from {rate:.2g} to {next_rate:.2g}: {counted(then, 'epoch')} were "
            f"planned, {run.trainer} makes {now:,}",
            remedy=f"continue it with a trainer of {counted(then, 'epoch')}; or begin from scratch with it as "
            "-pretrained_weights",
        )


@rule(
    "PG729",
    Severity.ERROR,
    message="{what} changed since {checkpoint}: {fields}",
    fix="restore it; or begin from scratch under another name of the plans, with the checkpoint as -pretrained_weights",
)
def plans_changed_since_checkpoint(run: TrainingRun) -> Iterator[Found]:
    """A training would continue with other plans or another dataset.json.

    What it checks: with `--c`, the plans and dataset.json inside the checkpoint against those that would be used. An
    error if the network, what preprocessing writes, or labels and channels differ; a warning for fields that only
    training reads, such as the patch size. For trainers of a number of steps any difference is an error: they refuse.

    Why it matters: nnU-Net continues with the new plans and stores the old ones, by which prediction then preprocesses.
    They are in every checkpoint, so that nothing shows the change any more, and prediction uses the old spacing for
    weights of the new one. Only another network is noticed: the weights do not load.

    How to fix: restore what was changed. Give changed plans a name of their own.

    Example: the patch size was reduced after an out-of-memory error in epoch 200.

    Evidence: ST-06; nnU-Net issue 1099; measured with nnU-Net 2.8.1.
    """
    checkpoint, present = run.continued, known(lambda: run.dataset.dataset_json)
    if checkpoint is None:
        return
    from plansguard.training.resume import changes_since

    strict = run.steps is not None
    dataset_json = {} if present is None else present.value
    edits, keys = changes_since(checkpoint, run.configuration.name, run.plans.value, dataset_json)
    edits = [edit for edit in edits if strict or edit.field.facet != "bookkeeping"]
    keys = [change for change in keys if strict or change.field.key in _LEARNED]
    if edits:
        severe = strict or any(edit.field.facet != "training" for edit in edits)
        at = next(places_of([str(edits[0].field)], run.plans, run.configuration.name))
        yield _changed(at, f"{run.plans.identifier}.json", checkpoint, edits, severe=severe)
    if keys and present is not None:
        yield _changed(present.at(keys[0].field.key), "dataset.json", checkpoint, keys, severe=True)


@rule(
    "PG730",
    Severity.ERROR,
    message="fold {fold} had {before} when {checkpoint} was written, and now has {now}",
    fix="restore splits_final.json and the cases, or begin from scratch in another folder",
)
def split_changed_since_checkpoint(run: TrainingRun) -> Iterator[Found]:
    """A training would continue with other cases.

    What it checks: with `--c`, the training and validation cases of the fold against those that a trainer of a number
    of steps has noted in its checkpoint. nnU-Net's own trainers note none.

    Why it matters: cases that were trained on would be validated, and their Dice is too high. The trainer refuses; this
    is known before the start.

    How to fix: restore the split.

    Example: `splits_final.json` was deleted after cases were added.

    Evidence: ST-06; nnU-Net issue 1099.
    """
    point = run.resume_point
    if point is None or point.state.split is None:
        return
    from plansguard.training.resume import Split, split_change

    if change := split_change(point.state.split, Split.of(*_cases(run))):
        yield found(run.at, fold=run.fold, before=change[0], now=change[1], checkpoint=point.path.name)


def _more_training(run: TrainingRun) -> str:
    """How to train longer after a finished training."""
    if run.steps is None:
        return "for more training take another trainer"
    base, schedule = run.steps
    if schedule.extends:
        return "an extension is not extended again: for more training take these weights as -pretrained_weights"
    longer = trainer_name(base, replace(schedule, total=2 * schedule.total, extends=schedule.total))
    return f"for as many steps again: {run.command(longer)}"


def _loaded(run: TrainingRun) -> list[Path]:
    """The files that nnU-Net loads first."""
    if run.continues:
        return list(run.present)[:1]
    names = (FINAL, BEST) if run.validates_best else (FINAL,)
    return [path for path in run.present if run.validates and path.name in names]


def _newest(run: TrainingRun, taken: Checkpoint) -> Checkpoint:
    """The checkpoint in the folder that was written last; ``taken`` if none was written later."""
    from plansguard.training.resume import fault_of

    newest = taken
    for checkpoint in run.present.values():
        if not isinstance(checkpoint, UnreadableDocument) and not fault_of(checkpoint):
            newest = checkpoint if _is_later(checkpoint, newest) else newest
    return newest


def _begun(checkpoint: Checkpoint) -> float | None:
    """Time of the first epoch, which tells trainings apart: the log continues over a resume."""
    return next(iter(checkpoint.logging.get("epoch_start_timestamps", ())), None)


def _is_later(one: Checkpoint, other: Checkpoint) -> bool:
    times = [checkpoint.logging.get("epoch_end_timestamps") for checkpoint in (one, other)]
    if times[0] and times[1]:
        return times[0][-1] > times[1][-1]
    return (one.current_epoch or 0) > (other.current_epoch or 0)


def _jump(checkpoint: Checkpoint, run: TrainingRun) -> tuple[int, int, int, float, float] | None:
    """Epochs planned then and now, epochs done, the last rate and the next one; None if the rate does not jump."""
    then, now = _planned(checkpoint), run.epochs
    if then is None:
        return None
    done = len(checkpoint.logging["lrs"])
    if now is None:
        raise Absent(f"how many epochs {run.trainer} makes is not known")
    if done > now:
        return None  # PG727 reports it
    rate = checkpoint.logging["lrs"][-1]
    before, after = ((1 - (done - 1) / epochs) ** EXPONENT for epochs in (then, now))
    if 1 / _JUMP <= after / before <= _JUMP:
        return None
    return then, now, done, rate, rate / before * (1 - done / now) ** EXPONENT


def _planned(checkpoint: Checkpoint) -> int | None:
    """Compute the planned number of epochs from the last learning rates.

    None if they follow no polynomial, or are too few yet: the rule does not apply.
    """
    rates = checkpoint.logging.get("lrs", [])
    last = len(rates) - 1
    if last < 1 or not 0 < rates[-1] < rates[-2]:
        return None
    ratio = (rates[-1] / rates[-2]) ** (1 / EXPONENT)
    exact: float = last + ratio / (1 - ratio)
    epochs = round(exact) if exact > last else 0
    third = rates[-3] if last > 1 else None
    due = rates[-1] * ((epochs - last + 2) / (epochs - last)) ** EXPONENT if epochs > last else 0.0
    if abs(exact - epochs) > 1e-3 or (third is not None and abs(third - due) > 1e-6 * due):
        return None
    return epochs


def _changed(at: Location, what: str, checkpoint: Checkpoint, changes: Sequence[Change], *, severe: bool) -> Found:
    from plansguard.training.resume import listed_changes

    return found(
        at,
        severity=None if severe else Severity.WARNING,
        what=what,
        checkpoint=Path(checkpoint.path).name,
        fields=listed_changes(changes),
    )


def _cases(run: TrainingRun) -> tuple[list[str], list[str]]:
    """Training and validation cases of the fold; Absent if nnU-Net has yet to divide them."""
    from plansguard.nnunet.workspace import ALL

    if run.split is not None:
        return run.split
    if run.fold != ALL:
        run.dataset.splits.valid  # noqa: B018 - raises Absent with the reason
        raise Absent(f"splits_final.json has no fold {run.fold} (see PG732)")
    names = list(run.dataset.data(run.configuration).folder.names)
    return names, names
