"""PG731 to PG739: length, learning rate, plans, weights and cases of a training."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from plansguard.core import disk
from plansguard.core.errors import Absent, UnreadableDocument, UsageError, known
from plansguard.core.report import Location, Severity
from plansguard.core.text import counted, listed, quoted
from plansguard.nnunet import constants, printed_commands
from plansguard.nnunet.printed_commands import FROM_SCRATCH
from plansguard.rules.engine.declare import Found, found, rule
from plansguard.rules.engine.helpers import CONFIGURATION, NUMBER, PLANS, yielded
from plansguard.rules.pg7_run.cascade_inputs import other_first_stage, training_of_stage
from plansguard.training.options import MAX_TIME, SAVE_EVERY
from plansguard.training.schedule import GENTLE_RATE, STOCK_PER_WINDOW, STOCK_RATE, StepSchedule

if TYPE_CHECKING:
    import ast

    from plansguard.subjects.plans import Plans
    from plansguard.subjects.training_run import TrainingRun

#: The end of the job, in seconds since 1970. SLURM sets it since 22.05.
_JOB_END = "SLURM_JOB_END_TIME"
_LONGEST_TIME = 12
#: How many commands a fix names.
_MOST_COMMANDS = 3
#: Epochs between two checkpoint_latest.pth. Source: nnUNetTrainer.__init__.
_SAVE_EVERY = 50
#: Methods that nnUNetTrainer.run_training calls after initialize() has computed the learning rates.
_TOO_LATE = ("run_training", "on_train_start", "on_epoch_start", "on_train_epoch_start")


@rule(
    "PG731",
    Severity.WARNING,
    message="the pretrained weights would begin at {rate:g}, the learning rate of {trainer} for random ones",
    fix="if it is not intended, as many steps that begin at {gentle:g}: {command}",
)
def rate_high_for_pretrained_weights(run: TrainingRun) -> Iterator[Found]:
    """Pretrained weights would be fine-tuned at the learning rate for random ones.

    What it checks: with `-pretrained_weights`, that the first learning rate is below 0.01.

    Why it matters: the first epochs may undo what the weights have learned, and the result is hardly better than
    without them. nnU-Net has no trainer for fine-tuning. Maintainers have used 0.001.

    How to fix: take a trainer with a lower rate; a trainer of a number of steps has it in its name. It is never taken
    automatically, because it changes the result. The second stage of a cascade has the trainer of the first (PG742):
    both are trained again.

    Example: `nnUNetv2_train 2 3d_fullres 0 -p PretrainPlans -pretrained_weights checkpoint_final.pth`.

    Evidence: ST-07; nnU-Net issues 270, 2318, 2714, TotalSegmentator issue 358.
    """
    if run.weights is None or not run.begins:
        return
    if run.initial_rate is None:
        raise Absent(f"the learning rate of {run.trainer} is not known")
    if run.initial_rate >= STOCK_RATE:
        fix, command = _gently(run)
        yield found(run.at, fix=fix, rate=run.initial_rate, gentle=GENTLE_RATE, command=command)


@rule(
    "PG732",
    Severity.ERROR,
    message="there is no fold {fold}: {splits}",
    fix="choose one of the folds 0 to {last}, or all",
)
def fold_beyond_splits(run: TrainingRun) -> Iterator[Found]:
    """The fold is not among those of splits_final.json.

    What it checks: the fold's number against the folds in `splits_final.json`, else against nnU-Net's five.

    Why it matters: nnU-Net writes one line into its log, and trains on a random 80 % of the cases. The folds then
    overlap, and results of this one do not belong to the cross-validation.

    How to fix: folds are counted from 0.

    Example: fold 5 of five; fold 4 of splits with four folds.

    Evidence: SL-03; nnU-Net issue 2872; nnUNetTrainer.do_split.
    """
    from plansguard.nnunet.workspace import ALL, FOLDS

    if run.fold == ALL:
        return
    splits = known(lambda: run.dataset.splits)
    folds = len(splits.valid.value) if splits is not None else FOLDS
    if int(run.fold) >= folds:
        source = f"splits_final.json has {folds}" if splits is not None else f"nnU-Net makes {FOLDS}"
        at = splits.at() if splits is not None else run.at
        # Without any fold, nnU-Net would divide the cases again if there were no file.
        fix = None if folds else f"delete {quoted(splits.path)}, or train the fold all" if splits is not None else None
        yield found(at, fix=fix, fold=run.fold, splits=source, last=folds - 1)


@rule(
    "PG733",
    Severity.WARNING,
    message="this job ends in {left}, and the next checkpoint is due in {due}, by the pace of {measured}",
    fix="{remedy}",
)
def checkpoints_too_rare(run: TrainingRun) -> Iterator[Found]:
    """The job will end before the next checkpoint.

    What it checks: under SLURM, the time that the job has left (SLURM_JOB_END_TIME) against the time between two
    checkpoints: 50 epochs of nnU-Net's own trainers, `--save-every` steps of those of a number of steps. The pace is
    the median of the epochs in the log of a checkpoint of this model, of any fold; without one, it is not known.

    Why it matters: what was trained since the last checkpoint is lost, and a chain of such jobs never gets further. The
    queue ends the job; `checkpoint_best.pth` may be all there is.

    How to fix: a trainer of a number of steps with `--max-time` stops with a checkpoint.

    Example: a limit of 4 hours, and epochs of 6 minutes.

    Evidence: ST-04; nnU-Net issues 901, 1545, 2563.
    """
    end = os.environ.get(_JOB_END, "")
    is_time = end.isascii() and end.isdigit() and len(end) <= _LONGEST_TIME
    if not is_time or run.validates or run.options.max_time is not None:
        return
    from plansguard.training.progress import duration

    left, (pace, measured) = int(end) - time.time(), _pace(run)
    epochs: float = _SAVE_EVERY
    remedy = "ask for more time"
    if run.begins:
        remedy += f"; or train in steps, which stop in time: {_in_steps(run)} --max-time TIME"
    if run.schedule is not None:
        every = run.options.save_every or run.schedule.total
        epochs = min(every, run.schedule.total) / run.schedule.per_window
        names = ("--max-time", "--save-every") if run.launcher is None else (f"{MAX_TIME}=TIME", SAVE_EVERY)
        remedy = "{} {}, a few minutes less than the job has, or a lower {}"
        remedy = remedy.format("add" if run.launcher is None else "export", *names)
    if pace * epochs > left:
        due = duration(pace * epochs)
        yield found(run.at, left=duration(max(0, left)), due=due, measured=measured, remedy=remedy)


@rule(
    "PG734",
    Severity.INFO,
    message="{trainer} makes {steps:,} steps: each of the {cases} training cases is drawn about {passes:,.0f} times",
    fix="nothing, if that is intended; to compare lengths: "
    + printed_commands.steps(NUMBER, PLANS, CONFIGURATION, yielded("fold"), yielded("total")),
)
def epochs_are_not_passes(run: TrainingRun) -> Iterator[Found]:
    """A trainer was chosen by its number of epochs, which are not passes over the data.

    What it checks: for trainers of nnU-Net with a number of epochs in their name, how many steps that is, and how often
    each case is drawn. The default trainer is not reported.

    Why it matters: an epoch of nnU-Net is 250 steps, for 20 cases as for 20,000. If it is taken for a pass, the
    training is far too long or too short.

    How to fix: nothing is wrong. `plansguard steps` computes steps, samples and passes.

    Example: `-tr nnUNetTrainer_100epochs` for 5,000 cases is 10 passes at a batch size of 2.

    Evidence: ST-03; nnU-Net issues 184, 1068, 2465, 2524, 2927.
    """
    epochs, per_epoch = run.epochs, run.steps_per_epoch
    chosen = constants.planned_epochs(run.trainer) != constants.DEFAULT_EPOCHS
    if run.trainer not in constants.STOCK_TRAINERS or not chosen or not run.begins or not epochs or not per_epoch:
        return
    cases = _number_of_training_cases(run)
    schedule = StepSchedule.of_epochs(epochs, per_epoch)
    yield found(
        run.at,
        epochs=counted(epochs, "epoch"),
        per_epoch=per_epoch,
        steps=schedule.total,
        cases=cases,
        passes=schedule.passes(run.configuration.require("batch_size"), cases),
        fold=run.fold,
        total=schedule.total,
    )


@rule("PG735", Severity.ERROR, message="{reason}", fix="{hint}")
def step_name_cannot_be_read(run: TrainingRun) -> Iterator[Found]:
    """The trainer's name has a number of steps, and is invalid.

    What it checks: a trainer with `_<N>steps` in its name has exactly the name of a possible schedule.

    Why it matters: no trainer is found for a wrong name, and a second name puts the same training into another folder.
    nnU-Net passes on nothing but the name.

    How to fix: `plansguard steps` prints the name of a schedule.

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
    Severity.WARNING,
    message="{moved} were migrated here for pretraining, and this training takes {plans}",
    fix="if they are intended: {commands}",
)
def migrated_plans_not_used(run: TrainingRun) -> Iterator[Found]:
    """Plans were migrated to this dataset for pretraining, and the training does not name them.

    What it checks: for a training that begins without `-pretrained_weights`, whether other plans of the dataset were
    migrated with `--workflow pretrain`, have the configuration that is trained, and no model was trained with them or
    with plans that were derived from them. Further folds of a model are not reported.
    Plans that were migrated for fine-tuning are not reported: a training of the dataset's own plans without weights is
    the usual baseline. If the weights are named, PG624 compares the plans inside them.

    Why it matters: a pretraining with other plans is lost: its weights do not fit the dataset that they are for.
    Without `-p`, nnU-Net takes `nnUNetPlans`.

    How to fix: add `-p`. A training for comparison may continue.

    Example: `plansguard migrate -s 2 -t 1 -tp PretrainPlans --workflow pretrain`, and then `nnUNetv2_train 1 3d_fullres
    0`.

    Evidence: MV-13, MV-11; nnU-Net issues 2089, 2195, 2760.
    """
    if not run.begins or run.weights is not None or _were_migrated(run):
        return
    idle = [] if _has_other_folds(run) else _idle_plans(run)
    if idle:
        yield found(
            run.at,
            related=[(plans.at(), "the migrated plans") for plans in idle],
            moved=listed([plans.identifier for plans in idle]),
            commands=", or ".join(_with_plans(run, plans) for plans in idle[:_MOST_COMMANDS]),
        )


@rule(
    "PG737",
    Severity.ERROR,
    message="{plans} were migrated from {origin} for its weights, and this training names none",
    fix="name the weights: {commands}; if random ones are intended: {scratch}",
)
def weights_forgotten(run: TrainingRun) -> Iterator[Found]:
    """Plans that were migrated for fine-tuning are trained without the weights.

    What it checks: plans whose migration record has a workflow with weights (`finetune`, `graft`) are trained with
    `-pretrained_weights`, unless a training is continued or only validated.

    Why it matters: nnU-Net begins with random weights and does not report it. The result is that of a training with
    plans that were made for other data.

    How to fix: name the weights. A training of the same plans from random weights, to measure what the pretraining
    gives, is stated with `--from-scratch`; the training record keeps it.

    Example: the job script of the first training, with only `-p` changed.

    Evidence: MV-13, AR-13; nnU-Net issues 2195, 2714.
    """
    from plansguard.subjects.pretraining import pretraining_of  # rarely needed

    pretraining = pretraining_of(run.dataset, run.plans, run.configuration.name)
    if pretraining is not None and run.weights is None and run.begins:
        is_gentle = run.initial_rate is not None and run.initial_rate < STOCK_RATE
        is_right = is_gentle or other_first_stage(run, _gentle(run)) is not None
        command = run.command(run.trainer if is_right else _gentle(run), weights=pretraining.path)
        record = run.dataset.brought_by(run.plans)
        origin = "elsewhere" if record is None else record.giving
        commands = ", then ".join((*pretraining.before, command))
        yield found(run.at, origin=origin, commands=commands, scratch=run.command(options=[FROM_SCRATCH]))


@rule(
    "PG738",
    Severity.WARNING,
    message="{trainer} sets num_epochs in {method}, perhaps after the learning rates were computed",
    fix="set it in __init__, after super().__init__(...)",
)
def num_epochs_set_too_late(run: TrainingRun) -> Iterator[Found]:
    """A trainer changes its number of epochs after its learning rates were computed.

    What it checks: in the source of the trainer and its base classes, whether `run_training` or a method that it calls
    before the epochs begin assigns to `self.num_epochs`.

    Why it matters: the learning rate never falls to 0, or becomes a complex number, which stops the training.
    `initialize` creates the scheduler for the number of epochs of that moment, and with `--c` or `-pretrained_weights`
    it runs before the training.

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
    Severity.ERROR,
    message="{who}, is training into {folder}",
    fix="wait for it to end, or end it; then {then}",
)
def training_in_progress(run: TrainingRun) -> Iterator[Found]:
    """Another process is training into the same folder of results at this moment.

    What it checks: the lock that trainers of a number of steps hold while they train. nnU-Net's own trainers hold none.

    Why it matters: two trainings into one folder overwrite each other's checkpoints. A trainer of a number of steps
    refuses; this reports it before anything is loaded.

    How to fix: wait, or end the other training.

    Example: a job that was requeued while the first one was still saving.

    Evidence: AR-13; tests/training/test_training_faults.py.
    """
    from plansguard.training.folder_lock import holder

    who = None if run.validates else holder(run.output_folder)
    if who is not None:
        folder = f"{run.model_folder.name}/{run.output_folder.name}"
        then = "the same command continues" if run.resumes else "continue with --c"
        yield found(run.at, who=who, folder=folder, then=then)


def _schedule(run: TrainingRun) -> StepSchedule:
    """The schedule of the trainer, or one of as many steps."""
    epochs, per_epoch = run.epochs or constants.DEFAULT_EPOCHS, run.steps_per_epoch or STOCK_PER_WINDOW
    return run.schedule or StepSchedule(epochs * per_epoch)


def _gentle(run: TrainingRun) -> str:
    """The trainer of as many steps at a rate for pretrained weights."""
    from plansguard.training.trainer_name import gentle_trainer

    return gentle_trainer(run.base_trainer, _schedule(run))


def _gently(run: TrainingRun) -> tuple[str | None, str]:
    """A fix of its own, or None, and the command at a rate for pretrained weights; of a cascade, of both stages."""
    gentle = _gentle(run)
    stage, command = other_first_stage(run, gentle), run.command(gentle)
    if stage is None:
        is_road = run.dataset.request.typed.in_road  # its training may need steps before it
        return f"if it is not intended, give --lr {GENTLE_RATE:g}" if is_road else None, command
    command = printed_commands.chain(training_of_stage(run, stage, gentle), command)
    what = f"train every fold of {stage} and then this configuration, in as many steps that begin at {GENTLE_RATE:g}"
    return f"if it is not intended, {what}: {command}", command


def _in_steps(run: TrainingRun) -> str:
    """The command of ``plansguard train`` that makes as many steps."""
    from plansguard.training.trainer_name import trainer_name

    return run.command(trainer_name(run.base_trainer, _schedule(run)), in_steps=True)


def _with_plans(run: TrainingRun, plans: Plans) -> str:
    """The command of the training with other plans, after that which preprocesses their data where they are missing."""
    name = run.configuration.name
    configuration = next(one for one in plans.configurations if one.name == name)
    command = replace(run, plans=plans, configuration=configuration).command()
    if known(lambda: run.dataset.data_folder(configuration)) is not None:
        return command
    return printed_commands.chain(printed_commands.preprocess(run.dataset.name, plans.identifier, name), command)


def _has_other_folds(run: TrainingRun) -> bool:
    """Return whether the model that this training is a fold of has others already."""
    models = known(lambda: run.dataset.trained) or ()
    return any(model.folder == run.output_folder.parent and model.checkpoints for model in models)


def _were_migrated(run: TrainingRun) -> bool:
    """Return whether the plans of the training were migrated, as far as their record can be read."""
    if not run.dataset.has_record(run.plans):
        return False
    is_damaged = known(lambda: run.dataset.migration_record(run.plans)) is None
    return is_damaged or run.dataset.brought_by(run.plans) is not None


def _idle_plans(run: TrainingRun) -> list[Plans]:
    """Plans with this configuration that were migrated for pretraining and not trained yet, the latest first."""
    dataset, name = run.dataset, run.configuration.name
    used = {model.plans_name for model in known(lambda: dataset.trained) or () if model.checkpoints}
    records = [(record, plans) for plans in dataset.plans if (record := dataset.brought_by(plans)) is not None]
    trained = {record.created for record, plans in records if plans.identifier in used}
    idle = [
        (record.created, plans)
        for record, plans in records
        if record.workflow == "pretrain" and record.created not in trained and name in plans.written
    ]
    return [plans for _, plans in sorted(idle, key=lambda one: one[0], reverse=True)]


def _sets_epochs(node: ast.AST) -> bool:
    import ast  # slow to load, and only needed here

    assigned = isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store)
    return assigned and ast.unparse(node) == "self.num_epochs"


def _pace(run: TrainingRun) -> tuple[float, str]:
    """Seconds per epoch, and the checkpoint whose log has them; Absent if there is none."""
    from plansguard.artefacts.checkpoint.checkpoint import read_checkpoint

    for path in (*run.present, *disk.matching(run.model_folder, "fold_*/checkpoint_*.pth")):
        try:
            log = read_checkpoint(path).logging
        except UnreadableDocument:
            continue
        times = zip(log.get("epoch_start_timestamps", ()), log.get("epoch_end_timestamps", ()), strict=False)
        lengths = [end - start for start, end in times if end > start]
        if lengths:
            return sorted(lengths)[len(lengths) // 2], f"{path.parent.name}/{path.name}"
    raise Absent("how long an epoch takes is not known: no fold of this model has a log yet")


def _number_of_training_cases(run: TrainingRun) -> int:
    """Of this fold; Absent if there are neither splits nor data."""
    from plansguard.nnunet.workspace import ALL, FOLDS

    if run.split is not None:
        return max(1, len(run.split[0]))
    cases = len(run.dataset.data(run.configuration).folder.names)
    return max(1, cases if run.fold == ALL else cases * (FOLDS - 1) // FOLDS)
