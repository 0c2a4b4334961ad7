"""PG721 to PG730: what lies in the folder of results, and what the training that is about to start would do with it.

Source: maybe_load_checkpoint in run/run_training.py of nnU-Net 2.8.1. ``--c`` takes checkpoint_final.pth, else
checkpoint_latest.pth, else checkpoint_best.pth, and looks at nothing but the names.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from plansguard.core.errors import Absent, UnreadableDocument, known
from plansguard.core.report import Location, Severity
from plansguard.core.text import changed, counted, quoted
from plansguard.nnunet import plans_diff
from plansguard.nnunet.constants import CHECKPOINT_BEST as BEST
from plansguard.nnunet.constants import CHECKPOINT_FINAL as FINAL
from plansguard.rules.engine.declare import Found, found, rule
from plansguard.training.schedule import EXPONENT
from plansguard.training.trainer_name import trainer_name

if TYPE_CHECKING:
    from plansguard.artefacts.checkpoint.checkpoint import Checkpoint
    from plansguard.subjects.training_run import TrainingRun


#: Fields of dataset.json that decide what is learned, or how the final validation reads.
_LEARNED = ("labels", "channel_names", "modality", "regions_class_order", "file_ending")
#: How far the learning rate may jump at a resume, as a ratio either way, before what was learned suffers.
_JUMP = 1.25


@rule(
    "PG725",
    "stale-final-checkpoint",
    Severity.ERROR,
    message="--c would go on from {taken}, and beside it lies {newest}, {which}: {lost}",
    fix="move what is older away, so that nnU-Net takes {name}: {moves}",
    modes=("ST-10",),
)
def stale_final_checkpoint(run: TrainingRun) -> Iterator[Found]:
    """The training would be continued from an old checkpoint.

    What it checks: with `--c`, whether another checkpoint of the folder was written later than the one that nnU-Net
    takes, by the times of the epochs in their logs, and where a file has none, by the number of epochs. An error where
    the older one is of an earlier training; a warning where it is of the same one and epochs are only trained twice.
    Trainers of a number of steps choose the newest themselves.

    Why it matters: nnU-Net goes by the names: `checkpoint_final.pth`, `checkpoint_latest.pth`, `checkpoint_best.pth`.
    A training that began anew in the folder of a finished one, and was killed, is silently given up for the finished
    one. And `checkpoint_latest.pth` is written every 50 epochs only: up to 49 are trained again though the best one
    holds them.

    How to fix: move the older files away.

    Example: 27 hours lost, because `checkpoint_best.pth` was 40 epochs ahead.

    Evidence: ST-10; nnU-Net issues 914, 2563; measured with nnU-Net 2.8.1.
    """
    taken = run.continued
    if taken is None or run.steps is not None:
        return
    newest = taken
    for one in run.present.values():
        if not _trouble(one) and not isinstance(one, UnreadableDocument) and _is_later(one, newest):
            newest = one
    if newest is taken:
        return
    same = _begun(newest) == _begun(taken)
    epochs = (newest.current_epoch or 0) - (taken.current_epoch or 0) * same
    steps = f" ({epochs * run.steps_per_epoch:,} steps)" if run.steps_per_epoch else ""
    older = list(run.present)[: list(run.present).index(Path(newest.path))]
    yield found(
        run.at,
        severity=Severity.WARNING if same else None,
        related=[(Location(newest.path), "the newest")],
        taken=described(Path(taken.path), taken),
        newest=described(Path(newest.path), newest),
        which="which is newer" if same else "of a later training",
        lost=f"{counted(epochs, 'epoch')}{steps} would be {'trained again' if same else 'lost'}",
        name=Path(newest.path).name,
        moves="; ".join(f"mv {quoted(path)} {quoted(f'{path}.old')}" for path in older),
    )


@rule(
    "PG726",
    "checkpoint-to-continue-damaged",
    Severity.ERROR,
    message="{checkpoint} is not fit to be loaded: {trouble}",
    fix="{remedy}",
    modes=("AR-08",),
)
def checkpoint_to_continue_damaged(run: TrainingRun) -> Iterator[Found]:
    """The checkpoint that is to be continued or validated is damaged, or would run a command.

    What it checks: the file that nnU-Net would load for `--c` or `--val` is a whole checkpoint of nnU-Net, and names no
    function that runs code (PG604). Of trainers of a number of steps, which pass such ones over, that any is left.

    Why it matters: nnU-Net writes checkpoints in place. A job that is killed meanwhile leaves half a
    `checkpoint_latest.pth`, and `--c` ends with `PytorchStreamReader failed reading zip archive`, although the best one
    is whole. And it loads with `weights_only=False`, which executes whatever a file from elsewhere says.

    How to fix: move the damaged file away, so that nnU-Net takes the next one.

    Example: the queue's time limit struck while epoch 550 was being saved.

    Evidence: AR-08; measured with nnU-Net 2.8.1.
    """
    from plansguard.training.stop_reasons import Refused

    if run.steps is not None and run.continues:
        if run.present and isinstance(run.newest, Refused):
            at, refused = Location(str(run.output_folder)), run.newest
            yield found(at, checkpoint="what is there", trouble=refused.reason, remedy=refused.hint)
        return
    for path in _loaded(run):
        trouble = _trouble(run.present[path])
        if trouble:
            rest = [other for other, one in run.present.items() if not _trouble(one)]
            remedy = f"mv {quoted(path)} {quoted(f'{path}.damaged')}"
            if run.continues and rest:
                remedy += f"; nnU-Net then goes on from {described(rest[0], run.present[rest[0]])}"
            yield found(Location(str(path)), checkpoint=path.name, trouble=trouble, remedy=remedy)


@rule(
    "PG727",
    "finished-already",
    Severity.WARNING,
    message="--c has nothing to train: {checkpoint}, and {trainer} makes {planned}",
    fix="{remedy}",
    modes=("ST-02",),
)
def finished_already(run: TrainingRun) -> Iterator[Found]:
    """A training that is to be continued is finished.

    What it checks: with `--c`, whether the checkpoint has done all epochs, and the final validation was done as well:
    repeating one that was broken off is a use of `--c`. An error where it has done more epochs than the trainer makes,
    and for trainers of a number of steps, which refuse.

    Why it matters: nnU-Net trains nothing, writes `checkpoint_final.pth` again and validates for minutes to hours, with
    exit code 0. Who wants more epochs has to know that they were not made.

    How to fix: for more training take another trainer, with these weights as `-pretrained_weights`; or extend a trainer
    of a number of steps.

    Example: the last of ten jobs in a chain.

    Evidence: ST-02; nnU-Net issues 1422, 1529; measured with nnU-Net 2.8.1.
    """
    checkpoint, planned = run.continued, run.epochs
    if checkpoint is None or checkpoint.current_epoch is None or planned is None:
        return
    validated = (run.output_folder / "validation" / "summary.json").is_file()
    steps = run.steps is not None
    beyond = not steps and checkpoint.current_epoch > planned
    done = Path(checkpoint.path).name == FINAL if steps else checkpoint.current_epoch == planned
    if beyond or (done and validated):
        yield found(
            run.at,
            severity=Severity.ERROR if beyond or steps else None,
            related=[(Location(checkpoint.path), "the checkpoint")],
            checkpoint=described(Path(checkpoint.path), checkpoint),
            trainer=run.trainer,
            planned=f"{run.steps.schedule.total:,} steps" if run.steps else counted(planned, "epoch"),
            remedy=f"{_more_training(run)}; to validate once more use --val in place of --c",
        )


@rule(
    "PG728",
    "schedule-changed",
    Severity.ERROR,
    message="{trouble}",
    fix="{remedy}",
    modes=("ST-01",),
)
def schedule_changed(run: TrainingRun) -> Iterator[Found]:
    """A training would go on with another learning rate than it stopped at.

    What it checks: with `--c`, the last learning rates in the checkpoint's log tell for how many epochs it was planned,
    where they follow nnU-Net's polynomial. An error where the rate for as many epochs as the trainer makes now is more
    than a quarter above or below at this point. For trainers of a number of steps, that the checkpoint is of the same
    one.

    Why it matters: the rate is computed from the epoch and the number of epochs alone. With another number it jumps,
    say from 0.00005 to 0.007, and what was learned at the small rates is undone within an epoch. It looks as if the
    checkpoint had been lost.

    How to fix: continue with the number of epochs that it began with; for longer training begin anew with the
    checkpoint as `-pretrained_weights`.

    Example: a finished training of 1000 epochs, to which 500 were to be added.

    Evidence: ST-01; nnU-Net issues 238, 901, 1099, 1745, 1775, 2895.
    """
    checkpoint = run.continued
    if checkpoint is None:
        return
    if run.steps is not None:
        theirs = str(checkpoint.trainer_of_steps)
        if theirs != run.trainer and not run.extends:
            trouble = f"{checkpoint.path} is of {theirs}: continued as {run.trainer}, its learning rate would jump"
            yield found(run.at, trouble=trouble, remedy=f"continue it with -tr {theirs}, in the folder of that name")
        return
    then, now, done = _planned(checkpoint), run.epochs, len(checkpoint.logging["lrs"])
    if now is None:
        raise Absent(f"how many epochs {run.trainer} makes is not known")
    if done > now:
        return  # PG727 tells
    rate = checkpoint.logging["lrs"][-1]
    before, after = ((1 - (done - 1) / epochs) ** EXPONENT for epochs in (then, now))
    if not 1 / _JUMP <= after / before <= _JUMP:
        next_rate = rate / before * (1 - done / now) ** EXPONENT
        yield found(
            run.at,
            related=[(Location(checkpoint.path), "the checkpoint")],
            trouble=f"{Path(checkpoint.path).name} was on its way to {counted(then, 'epoch')}, and {run.trainer} makes "
            f"{now:,}: at epoch {done:,} the learning rate would jump from {rate:.2g} to {next_rate:.2g}",
            remedy=f"continue it with a trainer of {counted(then, 'epoch')}; or begin anew with it as "
            "-pretrained_weights",
        )


@rule(
    "PG729",
    "plans-changed-since-checkpoint",
    Severity.ERROR,
    message="{what} changed since {checkpoint} was written: {fields}",
    fix="put it back as it was; or begin anew under another name of the plans, with the checkpoint as "
    "-pretrained_weights",
    modes=("ST-06",),
)
def plans_changed_since_checkpoint(run: TrainingRun) -> Iterator[Found]:
    """A training would go on with other plans or another dataset.json.

    What it checks: with `--c`, the plans and dataset.json inside the checkpoint against those that would be used. An
    error where the network, what preprocessing writes, or labels and channels differ; a warning for fields that only
    training reads, such as the patch size. Of trainers of a number of steps any difference is an error: they refuse.

    Why it matters: nnU-Net continues with the new plans and stores the old ones in every checkpoint, so that nothing
    shows the change any more, and prediction uses the old spacing for weights of the new one. Only another network is
    noticed: the weights do not load.

    How to fix: put back what was changed. Give changed plans a name of their own.

    Example: the patch size was reduced after an out-of-memory error in epoch 200.

    Evidence: ST-06; nnU-Net issue 1099; measured with nnU-Net 2.8.1.
    """
    checkpoint = run.continued
    if checkpoint is None:
        return
    strict = run.steps is not None
    facets = plans_diff.FACETS if strict else ("weights", "input", "training")
    edits = [
        change
        for change in plans_diff.edited(checkpoint.plans or run.plans.value, run.plans.value)
        if change.field.configuration in (None, run.configuration.name) and change.field.facet in facets
    ]
    if edits:
        severe = strict or any(change.field.facet != "training" for change in edits)
        yield _changed(run.at, f"{run.plans.identifier}.json", checkpoint, edits, severe=severe)
    here = known(lambda: run.dataset.dataset_json)
    if checkpoint.dataset_json is None or here is None:
        return
    theirs, ours = checkpoint.dataset_json, here.value
    keys = [key for key in dict.fromkeys([*theirs, *ours]) if strict or key in _LEARNED]
    told = [
        plans_diff.Change(plans_diff.Field(None, key), theirs.get(key), ours.get(key))
        for key in keys
        if theirs.get(key) != ours.get(key)
    ]
    if told:
        yield _changed(here.at(), "dataset.json", checkpoint, told, severe=True)


@rule(
    "PG730",
    "split-changed-since-checkpoint",
    Severity.ERROR,
    message="fold {fold} had {before} when {checkpoint} was written, and now has {now}",
    fix="put splits_final.json and the cases back as they were, or begin anew in another folder",
    modes=("ST-06",),
)
def split_changed_since_checkpoint(run: TrainingRun) -> Iterator[Found]:
    """A training would go on with other cases.

    What it checks: with `--c`, the training and validation cases of the fold against those that a trainer of a number
    of steps has noted in its checkpoint. nnU-Net's own trainers note none.

    Why it matters: cases that were trained on would be validated. The trainer refuses; here it is known before it
    starts.

    How to fix: put the split back.

    Example: `splits_final.json` was deleted after cases were added.

    Evidence: ST-06; nnU-Net issue 1099.
    """
    from plansguard.training.resume import Split

    checkpoint = run.continued
    noted = (checkpoint.steps or {}).get("split") if checkpoint is not None else None
    if checkpoint is None or not isinstance(noted, list) or run.steps is None:
        return
    before, now = Split(*noted), Split.of(*_cases(run))
    if before != now:
        counts = [f"{one.training} training and {one.validation} validation cases" for one in (before, now)]
        yield found(
            run.at,
            fold=run.fold,
            before=counts[0],
            now=counts[1] if counts[0] != counts[1] else "as many, but other ones",
            checkpoint=Path(checkpoint.path).name,
        )


def _more_training(run: TrainingRun) -> str:
    """How a finished training goes on, as far as it can."""
    if run.steps is None:
        return "for more training take another trainer"
    base, schedule = run.steps
    if schedule.extends:
        return "an extension is not extended again: for more training take these weights as -pretrained_weights"
    longer = trainer_name(base, replace(schedule, total=2 * schedule.total, extends=schedule.total))
    return f"for as many steps again: the same command with -tr {longer} --c"


def described(path: Path, checkpoint: Checkpoint | UnreadableDocument) -> str:
    """``checkpoint_latest.pth (nnUNetTrainer, 50 epochs)``."""
    if isinstance(checkpoint, UnreadableDocument):
        return f"{path.name} (unreadable)"
    step, epochs = checkpoint.step, checkpoint.current_epoch
    done = f"step {step:,}" if step is not None else counted(epochs, "epoch") if epochs is not None else ""
    said = ", ".join(filter(None, (checkpoint.trainer, done)))
    return f"{path.name} ({said})" if said else path.name


def _loaded(run: TrainingRun) -> list[Path]:
    """What nnU-Net loads before it does anything else."""
    if run.continues:
        return list(run.present)[:1]
    names = (FINAL, BEST) if run.validates_best else (FINAL,)
    return [path for path in run.present if run.validates and path.name in names]


def _trouble(checkpoint: Checkpoint | UnreadableDocument) -> str:
    if isinstance(checkpoint, UnreadableDocument):
        return checkpoint.reason
    return checkpoint.danger or (
        "; ".join(checkpoint.damage) or (checkpoint.sentence if checkpoint.kind != "nnunet-v2" else "")
    )


def _begun(checkpoint: Checkpoint) -> float | None:
    """When its first epoch began: the log goes on over a resume, so this tells trainings apart."""
    return next(iter(checkpoint.logging.get("epoch_start_timestamps", ())), None)


def _is_later(one: Checkpoint, other: Checkpoint) -> bool:
    times = [checkpoint.logging.get("epoch_end_timestamps") for checkpoint in (one, other)]
    if times[0] and times[1]:
        return times[0][-1] > times[1][-1]
    return (one.current_epoch or 0) > (other.current_epoch or 0)


def _planned(checkpoint: Checkpoint) -> int:
    """For how many epochs its learning rate falls, from the last two of them; Absent where that is no polynomial."""
    rates = checkpoint.logging.get("lrs", [])
    last = len(rates) - 1
    if last < 1 or not 0 < rates[-1] < rates[-2]:
        raise Absent(f"{Path(checkpoint.path).name} does not tell by which schedule its learning rate falls")
    ratio = (rates[-1] / rates[-2]) ** (1 / EXPONENT)
    exact: float = last + ratio / (1 - ratio)
    epochs = round(exact) if exact > last else 0
    third = rates[-3] if last > 1 else None
    due = rates[-1] * ((epochs - last + 2) / (epochs - last)) ** EXPONENT if epochs > last else 0.0
    if abs(exact - epochs) > 1e-3 or (third is not None and abs(third - due) > 1e-6 * due):
        raise Absent(f"the learning rate in {Path(checkpoint.path).name} does not fall by nnU-Net's polynomial")
    return epochs


def _changed(at: Location, what: str, checkpoint: Checkpoint, edits: list[plans_diff.Change], *, severe: bool) -> Found:
    said = [changed(edit.field, edit.before, edit.after) for edit in edits]
    return found(
        at,
        severity=None if severe else Severity.WARNING,
        related=[(Location(checkpoint.path), "what it was trained with")],
        what=what,
        checkpoint=Path(checkpoint.path).name,
        fields="; ".join(said[:3]) + (f"; and {len(said) - 3} more" if len(said) > 3 else ""),
    )


def _cases(run: TrainingRun) -> tuple[list[str], list[str]]:
    """Training and validation cases of the fold; Absent where nnU-Net has yet to divide them."""
    from plansguard.nnunet.workspace import ALL

    if run.split is not None:
        return run.split
    if run.fold != ALL:
        run.dataset.splits.valid  # noqa: B018 - raises Absent with the reason
        raise Absent(f"splits_final.json has no fold {run.fold} (see PG732)")
    names = list(run.dataset.data(run.configuration).folder.names)
    return names, names
