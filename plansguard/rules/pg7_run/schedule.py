"""PG731 to PG738: how long and how fast a training that is about to start will learn, from what, and on which cases."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from plansguard.core.errors import Absent, UnreadableDocument, UsageError, known
from plansguard.core.report import Location, Severity
from plansguard.core.text import counted, listed, quoted
from plansguard.nnunet import constants
from plansguard.rules.engine.declare import Found, found, rule
from plansguard.training.schedule import STOCK_RATE, StepSchedule

if TYPE_CHECKING:
    import ast

    from plansguard.subjects.training_run import TrainingRun

#: What maintainers of nnU-Net fine-tune with, in place of 0.01.
_GENTLE = 0.001
#: When the job will be ended, in seconds since 1970, as SLURM tells it since 22.05.
_JOB_END = "SLURM_JOB_END_TIME"
_LONGEST_TIME = 12
#: Epochs between two checkpoint_latest.pth. Source: nnUNetTrainer.__init__.
_SAVE_EVERY = 50
#: What nnUNetTrainer.run_training calls after the learning rates were laid down by initialize().
_TOO_LATE = ("run_training", "on_train_start", "on_epoch_start", "on_train_epoch_start")


@rule(
    "PG731",
    "rate-high-for-pretrained-weights",
    Severity.WARNING,
    message="the pretrained weights would begin at a learning rate of {rate:g}, which {trainer} has for random ones",
    fix="where it is not meant, as many steps that begin at {gentle:g}: the same command with -tr {name} (plansguard "
    "train --steps: with --lr {gentle:g})",
    modes=("ST-07",),
)
def rate_high_for_pretrained_weights(run: TrainingRun) -> Iterator[Found]:
    """Pretrained weights would be fine-tuned at the learning rate for random ones.

    What it checks: with `-pretrained_weights`, that the first learning rate is below 0.01.

    Why it matters: nnU-Net has no trainer for fine-tuning. At 0.01 the first epochs may undo what the weights know, and
    the fine-tuning is hardly better than a training from the beginning. Maintainers have used 0.001.

    How to fix: take a trainer with a lower rate; that of a number of steps has it in its name. It is offered and never
    taken by itself, because it changes the result.

    Example: `nnUNetv2_train 2 3d_fullres 0 -p PretrainPlans -pretrained_weights checkpoint_final.pth`.

    Evidence: ST-07; nnU-Net issues 270, 2318, 2714, TotalSegmentator issue 358.
    """
    from plansguard.training.trainer_name import trainer_name

    if run.weights is None or not run.begins:
        return
    if run.initial_rate is None:
        raise Absent(f"the learning rate of {run.trainer} is not known")
    if run.initial_rate >= STOCK_RATE:
        schedule = run.schedule or StepSchedule(
            total=(run.epochs or constants.DEFAULT_EPOCHS) * (run.steps_per_epoch or 250)
        )
        yield found(
            run.at,
            related=[(Location(run.weights.path), "the weights")],
            rate=run.initial_rate,
            trainer=run.trainer,
            gentle=_GENTLE,
            name=trainer_name(run.base_trainer, replace(schedule, rate=_GENTLE)),
        )


@rule(
    "PG732",
    "fold-beyond-splits",
    Severity.ERROR,
    message="there is no fold {fold}: {splits}; nnU-Net would train on a random 80 % of the cases",
    fix="choose one of the folds 0 to {last}, or all",
    modes=("SL-03",),
)
def fold_beyond_splits(run: TrainingRun) -> Iterator[Found]:
    """The fold is not among those of splits_final.json.

    What it checks: the fold's number against the folds in `splits_final.json`; without the file, against the five that
    nnU-Net makes.

    Why it matters: nnU-Net writes one line into its log and divides the cases at random. The folds then overlap, and
    results of this one do not belong to the cross-validation.

    How to fix: folds count from 0.

    Example: fold 5 of five; fold 4 of splits with four folds.

    Evidence: SL-03; nnU-Net issue 2872; nnUNetTrainer.do_split.
    """
    from plansguard.nnunet.workspace import ALL, FOLDS

    if run.fold == ALL:
        return
    splits = known(lambda: run.dataset.splits)
    there = len(splits.valid.value) if splits is not None else FOLDS
    if int(run.fold) >= there:
        said = f"splits_final.json holds {there}" if splits is not None else f"nnU-Net makes {FOLDS}"
        yield found(splits.at() if splits is not None else run.at, fold=run.fold, splits=said, last=max(there - 1, 0))


@rule(
    "PG733",
    "checkpoints-too-rare",
    Severity.WARNING,
    message="this job ends in {left}, and the next checkpoint would be due in {due}, by the pace of {measured}",
    fix="{remedy}",
    modes=("ST-04",),
)
def checkpoints_too_rare(run: TrainingRun) -> Iterator[Found]:
    """The job will be over before the next checkpoint.

    What it checks: under SLURM, the time that the job has left (SLURM_JOB_END_TIME) against the time between two
    checkpoints: 50 epochs of nnU-Net's own trainers, `--save-every` steps of those of a number of steps. The pace is
    the median of the epochs in the log of a checkpoint of this model, of any fold; where there is none, nobody knows.

    Why it matters: when the queue ends the job, what was trained since the last checkpoint is lost, and a chain of such
    jobs never gets further; `checkpoint_best.pth` may be all there is.

    How to fix: a trainer of a number of steps with `--max-time` stops with a checkpoint.

    Example: a limit of 4 hours, and epochs of 6 minutes.

    Evidence: ST-04; nnU-Net issues 901, 1545, 2563.
    """
    end = os.environ.get(_JOB_END, "")
    if (
        not (end.isascii() and end.isdigit() and len(end) <= _LONGEST_TIME)
        or run.validates
        or run.options.max_time is not None
    ):
        return
    left, (pace, measured) = int(end) - time.time(), _pace(run)
    epochs: float = _SAVE_EVERY
    if run.schedule is not None:
        every = run.options.save_every or run.schedule.total
        epochs = min(every, run.schedule.total) / run.schedule.per_window
    if pace * epochs > left:
        ours = run.schedule is not None
        yield found(
            run.at,
            left=_duration(left),
            due=_duration(pace * epochs),
            measured=measured,
            remedy="add --max-time, a few minutes less than the job has, or a lower --save-every"
            if ours
            else "ask for more time; or train in steps, which --max-time ends with a checkpoint: plansguard train",
        )


@rule(
    "PG734",
    "epochs-are-not-passes",
    Severity.INFO,
    message="{trainer} makes {epochs} of {per_epoch} steps, whatever the data: {steps:,} steps, in which each of the "
    "{cases} training cases is drawn about {passes:,.0f} times",
    fix="nothing, if that is meant; plansguard steps shows other lengths",
    modes=("ST-03",),
)
def epochs_are_not_passes(run: TrainingRun) -> Iterator[Found]:
    """A trainer was chosen by its number of epochs, which are no passes over the data.

    What it checks: for trainers of nnU-Net with a number of epochs in their name, how many steps that is, and how often
    each case is drawn. The default trainer is left alone: who takes it counts nothing.

    Why it matters: an epoch of nnU-Net is 250 steps, for 20 cases as for 20,000. Who thinks of passes trains far
    too long or too short.

    How to fix: nothing is wrong. `plansguard steps` computes steps, samples and passes.

    Example: `-tr nnUNetTrainer_100epochs` for 5,000 cases is 10 passes at a batch size of 2.

    Evidence: ST-03; nnU-Net issues 184, 1068, 2465, 2524, 2927.
    """
    epochs, per_epoch = run.epochs, run.steps_per_epoch
    chosen = (
        run.trainer in constants.STOCK_TRAINERS and constants.planned_epochs(run.trainer) != constants.DEFAULT_EPOCHS
    )
    if not chosen or not run.begins or epochs is None or per_epoch is None:
        return
    cases = _number_of_training_cases(run)
    schedule = StepSchedule.of_epochs(epochs, per_epoch)
    yield found(
        run.at,
        trainer=run.trainer,
        epochs=counted(epochs, "epoch"),
        per_epoch=per_epoch,
        steps=schedule.total,
        cases=cases,
        passes=schedule.passes(run.configuration.require("batch_size"), cases),
    )


@rule(
    "PG735",
    "step-name-cannot-be-read",
    Severity.ERROR,
    message="{reason}",
    fix="{hint}",
    modes=("TR-01",),
)
def step_name_cannot_be_read(run: TrainingRun) -> Iterator[Found]:
    """The trainer's name is meant as a number of steps, and is none.

    What it checks: a trainer with `_<N>steps` in its name is called exactly as its schedule is, and that the schedule
    is possible.

    Why it matters: the name is all that nnU-Net passes on. No trainer is found for a wrong one, and a second name for
    one schedule would put the same training into another folder.

    How to fix: `plansguard steps` says the name of a schedule.

    Example: `nnUNetTrainer_050000steps`, `nnUNetTrainer_50000steps_lr1e-3`.

    Evidence: TR-01; tests/training/test_schedule.py.
    """
    from plansguard.training.trainer_name import is_step_name, read_name

    if is_step_name(run.trainer):
        try:
            read_name(run.trainer)
        except UsageError as error:
            yield found(run.at, reason=error.reason, hint=error.hint)


@rule(
    "PG736",
    "migrated-plans-not-used",
    Severity.WARNING,
    message="{moved} were migrated here for {purpose} and never trained with, and this training takes {plans}",
    fix="if they are meant: -p {first}",
    modes=("MV-13", "MV-11"),
)
def migrated_plans_not_used(run: TrainingRun) -> Iterator[Found]:
    """Plans were migrated to this dataset, and the training does not name them.

    What it checks: for a training that begins without `-pretrained_weights`, whether other plans of the dataset were
    migrated (and are on record) while these were not, and no model was trained with those yet. With the weights named,
    PG624 compares the plans inside them.

    Why it matters: without `-p`, nnU-Net takes `nnUNetPlans`. A pretraining with them is lost: its weights do not fit
    the dataset that they are for.

    How to fix: add `-p`. A training for comparison may go on.

    Example: `plansguard migrate -s 2 -t 1 -tp PretrainPlans`, and then `nnUNetv2_train 1 3d_fullres 0`.

    Evidence: MV-13, MV-11; nnU-Net issues 2089, 2195, 2760.
    """
    dataset = run.dataset
    if not run.begins or run.weights is not None or dataset.has_record(run.plans):
        return
    used = {model.plans_name for model in known(lambda: dataset.trained) or () if model.checkpoints}
    moved = {one.identifier: known(lambda one=one: dataset.migration_record(one)) for one in dataset.plans}  # type: ignore[misc]
    idle = {name: record for name, record in moved.items() if record is not None and name not in used}
    if idle:
        first = next(iter(idle.values()))
        yield found(
            run.at,
            related=[(one.at(), "the migrated plans") for one in dataset.plans if one.identifier in idle],
            moved=listed(list(idle)),
            purpose="pretraining" if first.workflow == "pretrain" else "fine-tuning",
            plans=run.plans.identifier,
            first=next(iter(idle)),
        )


@rule(
    "PG737",
    "weights-forgotten",
    Severity.ERROR,
    message="{plans} were migrated from {origin} for weights trained with them, and this training begins without: "
    "nnU-Net would learn from random ones",
    fix="add -pretrained_weights {weights}",
    modes=("MV-13", "AR-13"),
)
def weights_forgotten(run: TrainingRun) -> Iterator[Found]:
    """Plans that were migrated for fine-tuning are trained without the weights.

    What it checks: plans whose record says that they came for weights (`finetune`, `graft`) are trained with
    `-pretrained_weights`, unless a training goes on or is only validated.

    Why it matters: nnU-Net begins with random weights and does not say so. The result is that of a training with plans
    that were made for other data.

    How to fix: name the weights. A training for comparison can be accepted.

    Example: the job script of the first training, with only `-p` changed.

    Evidence: MV-13, AR-13; nnU-Net issues 2195, 2714.
    """
    record = known(lambda: run.dataset.migration_record(run.plans))
    if record is None or record.workflow == "pretrain" or run.weights is not None or not run.begins:
        return
    origin = str(record.value["from"]["path"])
    yield found(
        run.at,
        plans=run.plans.identifier,
        origin=record.giving,
        weights=quoted(origin) if origin.endswith(".pth") else "CHECKPOINT, of a training with these plans",
    )


@rule(
    "PG738",
    "num-epochs-set-too-late",
    Severity.WARNING,
    message="{trainer} sets num_epochs in {method}, when the learning rates may be made already for another number",
    fix="set it in __init__, below super().__init__(...)",
    modes=("ST-08",),
)
def num_epochs_set_too_late(run: TrainingRun) -> Iterator[Found]:
    """A trainer changes its number of epochs after its learning rates were computed.

    What it checks: in the source of the trainer and of those that it builds on, whether `run_training` or a method that
    it calls before the epochs begin assigns to `self.num_epochs`.

    Why it matters: `initialize` makes the scheduler for the number of epochs of that moment, and with `--c` or
    `-pretrained_weights` it runs before the training. Then the rate never comes down, or becomes a complex number,
    which stops the training.

    How to fix: set `num_epochs` in `__init__`.

    Example: a trainer that takes the number of epochs from the environment in `on_train_start`.

    Evidence: ST-08; FL4Health pull request 204.
    """
    from ast import walk

    for one in run.trainer_class.mro if run.trainer_class is not None else ():
        for method in _TOO_LATE if not one.is_stock else ():
            function = one.function(method)
            if function is not None and any(_sets_epochs(node) for node in walk(function)):
                yield found(Location(str(one.path), line=function.lineno), trainer=one.name, method=method)


@rule(
    "PG739",
    "training-in-progress",
    Severity.ERROR,
    message="{who}, is training into {folder}",
    fix="wait for it to end, or end it; then go on with --c",
    modes=("AR-13",),
)
def training_in_progress(run: TrainingRun) -> Iterator[Found]:
    """Another process is training into the same folder of results at this moment.

    What it checks: the lock that trainers of a number of steps hold while they train. nnU-Net's own trainers hold none.

    Why it matters: two trainings into one folder overwrite each other's checkpoints. A trainer of a number of steps
    refuses; this says it before anything is loaded.

    How to fix: wait, or end the other training.

    Example: a job that was requeued while the first one was still saving.

    Evidence: AR-13; tests/training/test_training_faults.py.
    """
    from plansguard.training.folder_lock import holder

    who = None if run.validates else holder(run.output_folder)
    if who is not None:
        yield found(run.at, who=who, folder=quoted(run.output_folder))


def _sets_epochs(node: ast.AST) -> bool:
    import ast  # slow to load, and only needed here

    return (
        isinstance(node, ast.Attribute)
        and isinstance(node.ctx, ast.Store)
        and node.attr == "num_epochs"
        and isinstance(node.value, ast.Name)
        and node.value.id == "self"
    )


def _pace(run: TrainingRun) -> tuple[float, str]:
    """Seconds per epoch, and the checkpoint that tells; Absent where none does."""
    from plansguard.artefacts.checkpoint.checkpoint import read_checkpoint

    for path in (*run.present, *sorted(run.model_folder.glob("fold_*/checkpoint_*.pth"))):
        try:
            log = read_checkpoint(path).logging
        except UnreadableDocument:
            continue
        times = zip(log.get("epoch_start_timestamps", ()), log.get("epoch_end_timestamps", ()), strict=False)
        lengths = [end - start for start, end in times if end > start]
        if lengths:
            return sorted(lengths)[len(lengths) // 2], f"{path.parent.name}/{path.name}"
    raise Absent("how long an epoch takes is not known: no fold of this model has a log yet")


def _duration(seconds: float) -> str:
    minutes = max(0, round(seconds / 60))
    return f"{minutes // 60} h {minutes % 60:02d} min" if minutes >= 60 else f"{minutes} min"


def _number_of_training_cases(run: TrainingRun) -> int:
    """Absent where neither splits nor data tell."""
    from plansguard.nnunet.workspace import ALL, FOLDS

    if run.split is not None:
        return max(1, len(run.split[0]))
    cases = len(run.dataset.data(run.configuration).folder.names)
    return max(1, cases if run.fold == ALL else cases * (FOLDS - 1) // FOLDS)
