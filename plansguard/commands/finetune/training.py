"""The steps that train: a pretraining, the check before the fine-tuning, each fold, and the best postprocessing."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from math import isnan
from pathlib import Path
from typing import Any

from plansguard.artefacts.checkpoint.checkpoint import Checkpoint
from plansguard.artefacts.data.workers import Pool
from plansguard.commands import train
from plansguard.commands.check import weights_from
from plansguard.commands.finetune.datasets import Context, Side, blocked_by
from plansguard.commands.finetune.request import RoadRequest
from plansguard.core import disk
from plansguard.core.errors import Absent, PlansguardError, known
from plansguard.core.report import Report
from plansguard.core.text import counted, listed, quoted
from plansguard.documents.file_names import TRAINING_RECORD_NAME
from plansguard.migration.source_dataset import names_a_path
from plansguard.nnunet import printed_commands
from plansguard.nnunet.command_line import parse
from plansguard.nnunet.constants import CHECKPOINT_FINAL, CHECKPOINTS, TRAIN
from plansguard.nnunet.network import parameters
from plansguard.nnunet.network.unet import UnknownNetwork
from plansguard.nnunet.printed_commands import ShellText, Word
from plansguard.nnunet.workspace import ALL, displayed
from plansguard.records.recorded_documents import DATA, WEIGHTS, is_packed
from plansguard.records.verify import verify
from plansguard.rules.pg5_data.helpers import cases_of, requested_folds
from plansguard.rules.pg7_run.hardware import checkpoint_size, gpu_memory_needed
from plansguard.subjects.dataset import Dataset
from plansguard.subjects.discovery import configuration_of, plans_of
from plansguard.subjects.pair import dataset_json_of
from plansguard.subjects.request import Reading, TypedOptions
from plansguard.subjects.road import RoadStep, StepState
from plansguard.subjects.training_run import TrainingRun
from plansguard.training.kept_head import other_classes
from plansguard.training.options import DEFAULT_SAVE_EVERY, Options
from plansguard.training.resume import ResumePoint, validated
from plansguard.training.trainer_name import StepName, options_of, trainer_name

_OF_THIS_MACHINE = frozenset(
    """
    fewer-gpus-than-asked gpu-memory-too-small shared-memory-too-small memory-too-small-for-processes
    more-processes-than-cores too-few-open-files
    """.split()
)
_CHANNELS = "the second stage of a cascade has one more for each foreground label, so that both datasets need as many"
_HEAD = "--keep-head keeps the layers of equal classes only: give both datasets the same labels, or leave it out"
#: No more than this many changes of a finished training, or missing predictions, are named.
_NAMED = 2


@dataclass(frozen=True)
class StartingWeights:
    """The weights of a fine-tuning: the path that nnU-Net reads, and what is in it where that can be read already.

    The path is a placeholder where it is not known. ``side`` is the dataset on which a step of the road trains them,
    None for weights that exist. ``packed`` are the zip archive and its member that a step of the road unpacks there.
    """

    path: Word
    checkpoint: Checkpoint | None = None
    side: Side | None = None
    packed: tuple[Path, str] | None = None


def pretraining(context: Context, side: Side, name: StepName) -> tuple[RoadStep, StartingWeights]:
    """Train the network on the dataset of the pretraining, on all its cases; also the weights that this makes."""
    step = _training(context, side, "pretrain", ALL, name, None)
    final = _model_folder(context, side, name) / f"fold_{ALL}" / CHECKPOINT_FINAL
    checkpoint = weights_from(final) if step.state is StepState.DONE else None
    return step, StartingWeights(final, checkpoint, side)


def fine_tuning(context: Context, side: Side, name: StepName, weights: StartingWeights) -> list[RoadStep]:
    """Check plans, data and weights together, train each fold, and join the validations of the folds."""
    request = context.request
    side.lacks_weights = weights.checkpoint is None
    folds = [_training(context, side, "train", fold, name, weights) for fold in request.folds]
    steps = [_check(context, side, name, weights, folds), *folds]
    return [*steps, _find_best(context, side, name, folds)] if request.cross_validates else steps


def _check(context: Context, side: Side, name: StepName, weights: StartingWeights, folds: list[RoadStep]) -> RoadStep:
    """The check of `plansguard check`; each training has judged the same already, unless it waits for a step.

    That command accepts no findings: where some are accepted, the first training judges without starting.
    """
    done = all(step.state is StepState.DONE for step in folds)
    command = printed_commands.check(
        side.dataset.name,
        plans=side.plans,
        configuration=context.request.configuration,
        weights=weights.path,
        trainer=trainer_name(*name),
        resumes=True,
        dask=context.request.dask,
        options=context.judging,
    )
    if context.request.accepted:
        command = _command(context, side, name, weights, ["--dry-run"])(context.request.folds[0])
    because = "every fold is trained" if done else "plans, data and weights must fit"
    return RoadStep("check", StepState.DONE if done else StepState.NEEDED, because, command, unjudged=side.unplanned)


def _training(
    context: Context, side: Side, title: str, fold: str, name: StepName, weights: StartingWeights | None
) -> RoadStep:
    """One fold. The training is judged with all that the steps before it make, and continues where it was stopped."""
    request, command = context.request, _command(context, side, name, weights)
    folder = _model_folder(context, side, name) / f"fold_{fold}"
    step = RoadStep(
        *(title, StepState.NEEDED, _length(name), command(fold), fold),
        of_folds=command(printed_commands.FOLD_VARIABLE),
        reads=(weights.path,) if weights is not None and isinstance(weights.path, Path) else (),
        writes=(folder,),
        unjudged=side.unplanned,
    )
    if side.unplanned:
        return step if weights is None else _unlike_pretraining(context, side, weights, step)
    run = _run(context, side, fold, name, weights)
    step = step if weights is None else replace(step, next=tuple(train.predictions(run, request.folds)))
    judged = not run.is_finished
    report = _judge(context, side, run)
    if not judged:
        return _finished(step, folder, side, weights)
    context.add(report)
    if weights is not None:
        step = _unlike_pretraining(context, side, weights, step)
    if step.state is StepState.BLOCKED:
        return step
    if missing := _awaited_predictions(run):
        step = replace(step, state=StepState.BLOCKED, because=missing, hint=_first_stage(context, run, fold))
    if blocked := blocked_by(report):
        return replace(step, state=StepState.BLOCKED, because=blocked)
    if missing:
        return step
    point = known(lambda: run.resume_point)
    because = step.because if point is None else _progress(point, name)
    disk_space, gpu_memory = _needs(run)
    return replace(step, because=because, disk=disk_space, gpu_memory=gpu_memory)


def _progress(point: ResumePoint, name: StepName) -> str:
    """What is left to do from a checkpoint."""
    if point.is_complete:
        return f"{_length(name)} are made; only the final validation is left"
    if point.state.step >= name.schedule.total:
        return f"{_length(name)} are made; the validation of the last window and the final one are left"
    return f"step {point.state.step:,} of {name.schedule.total:,} is continued"


def _unlike_pretraining(context: Context, side: Side, weights: StartingWeights, step: RoadStep) -> RoadStep:
    """The step; blocked where its network will not be that of the weights that a step of the road is to train."""
    if weights.checkpoint is not None or weights.side is None:
        return step
    here, there = (_channels_of_cascade(context, one) for one in (side, weights.side))
    if None not in (here, there) and here != there:
        because = f"{here} input channels here, {there} in the pretraining"
        return replace(step, state=StepState.BLOCKED, because=because, hint=_CHANNELS)
    if context.request.schedule.keep_head and (because := _other_classes(side.dataset, weights.side.dataset)):
        return replace(step, state=StepState.BLOCKED, because=because, hint=_HEAD)
    return step


def _other_classes(dataset: Dataset, pretraining: Dataset) -> str:
    """How the classes differ from those of the pretraining; empty where they do not, or are not known."""
    with suppress(Absent):
        ours, theirs = dataset_json_of(dataset).valid, dataset_json_of(pretraining).valid
        return other_classes(ours.value, theirs.value, "the pretraining")
    return ""


def _channels_of_cascade(context: Context, side: Side) -> int | None:
    """The input channels of the second stage of a cascade; None for other networks, and where they are not known.

    The migration compares the channels of images.
    """
    if side.unplanned:
        return None
    with suppress(PlansguardError, UnknownNetwork):
        configuration = configuration_of(plans_of(side.dataset, side.plans), context.request.configuration).resolved
        if configuration.get("previous_stage") is not None:
            return parameters.input_channels(configuration, side.dataset.dataset_json.valid.value)
    return None


def _first_stage(context: Context, run: TrainingRun, fold: str) -> str:
    """What to type before the second stage of a cascade. Weights in a file or folder are of one stage only."""
    stage = quoted(str(run.configuration.previous_stage))
    parts = [f"-c {stage}", *["every fold"] * (fold != ALL)]
    parts += [f"weights of {stage} for -s"] * names_a_path(context.workspace, context.request.source)
    return f"first the same command with {' and '.join(parts)}"


def _awaited_predictions(run: TrainingRun) -> str:
    """Which predictions of the first stage of a cascade are missing; empty where none are.

    PG518 reports the same, but only where the data of the second stage are there.
    """
    name, stage = run.configuration.name, run.configuration.previous_stage
    if not stage:
        return ""
    folder = known(lambda: run.model_folder)
    if folder is None:
        return ""  # the rules report why
    model = folder.with_name(f"{run.trainer}__{run.plans.identifier}__{stage}")
    present = {file.rpartition(".")[0] for file in disk.file_names(model / "predicted_next_stage" / name)}
    splits = known(lambda: run.dataset.splits.valid)
    needed = cases_of(requested_folds(run.dataset, splits).values()) if splits is not None else set()
    missing = sorted(needed - present)
    if present and not missing:
        return ""
    return f"{stage} has not predicted {listed(missing, _NAMED) if present else 'any case'} for {name}"


def _command(
    context: Context, side: Side, name: StepName, weights: StartingWeights | None, options: Sequence[str] = ()
) -> Callable[[Word], ShellText]:
    """The command of a training, for a fold."""
    request = context.request
    return partial(
        printed_commands.train,
        *(side.dataset.name, request.configuration),
        plans=side.plans,
        schedule=options_of(name),
        device=request.device,
        gpus=request.gpus,
        flags=["--npz"] * request.keeps_probabilities,
        weights=None if weights is None else weights.path,
        options=[*_options(context), *options, *context.judging],
    )


def _run(context: Context, side: Side, fold: str, name: StepName, weights: StartingWeights | None) -> TrainingRun:
    request, every = context.request, context.request.save_every
    words = [side.dataset.name, request.configuration, fold, "-tr", trainer_name(*name), "-p", side.plans]
    words += ["-device", request.device, "-num_gpus", str(request.gpus)]
    parsed = parse(TRAIN, words)
    assert parsed is not None  # the words have no --help
    return train.prepare(
        context.workspace,
        parsed.values,
        Reading("none") if side.lacks_data or _is_read(context, side) else request.headers,
        gpu_memory=request.gpu_memory,
        typed=TypedOptions(stepping=_options(context), in_road=True),
        options=Options(DEFAULT_SAVE_EVERY if every is None else every, save_limit=request.save_limit or 0),
        launcher=None,
        resumes=True,
        dataset=side.dataset,
        weights=None if weights is None else weights.checkpoint,
    )


def _length(name: StepName) -> str:
    return "1 step" if name.schedule.total == 1 else f"{name.schedule.total:,} steps"


def _is_read(context: Context, side: Side) -> bool:
    """Whether a training of the same data was judged already: their headers are read once for all folds."""
    return any(str(side.dataset.folder) in report.inputs and "train" in report.command for report in context.reports)


def _options(context: Context) -> tuple[str, ...]:
    every = context.option(context.request.save_every, "--save-every")
    return (*every, *context.option(context.request.save_limit, "--save-total-limit"), *printed_commands.RESUMES)


def _judge(context: Context, side: Side, run: TrainingRun) -> Report:
    settings = context.request.settings(side.dataset.folder)
    skipped = _of_this_machine(context.request)
    rules = [rule for rule in side.rules() if rule.info.name not in skipped]
    report = train.judge(run, "finetune", settings, tuple(context.request.accepted), rules)
    return replace(report, fail_on=settings.fail_on)  # as the training itself will


def _of_this_machine(request: RoadRequest) -> frozenset[str]:
    """The rules that compare a training with this machine, where another one will train."""
    if not request.elsewhere:
        return frozenset()
    return _OF_THIS_MACHINE if request.gpu_memory is None else _OF_THIS_MACHINE - {"gpu-memory-too-small"}


def _finished(step: RoadStep, folder: Path, side: Side, weights: StartingWeights | None) -> RoadStep:
    """A training that is finished; blocked where its record does not describe the files that would be trained with.

    Its results are never overwritten. Data that are about to be made again are not compared. The weights are those of
    the road, not those that the record names; before they are unpacked, those in the archive.
    """
    path = weights.path if weights is not None and isinstance(weights.path, Path) else None
    record = folder / TRAINING_RECORD_NAME
    because = f"{step.because} are made, and validated"
    if not disk.is_file(record):
        return replace(step, state=StepState.DONE, because=because)
    try:
        verification = verify(record, Pool(), path)
    except PlansguardError as error:
        return replace(step, state=StepState.DONE, because=f"{because}; {error.reason}")
    first = verification.starts[0]
    if otherwise := _trained_otherwise(first, side, weights):
        hint = f"move {displayed(str(folder))} away to train again"
        return replace(step, state=StepState.BLOCKED, because=f"this was trained {otherwise}", hint=hint)
    rows = [row for row in verification.changed if not (side.lacks_data and row.document == DATA.name)]
    if any(row.document == WEIGHTS.name for row in rows) and _are_packed(weights, first["weights"]):
        rows = [row for row in rows if row.document != WEIGHTS.name]
    if not rows:
        return replace(step, state=StepState.DONE, because=f"{because}; {TRAINING_RECORD_NAME} holds")
    changes = listed([row.text for row in rows], _NAMED)
    return replace(
        step,
        state=StepState.BLOCKED,
        because=f"{changes} since this was trained",
        hint=f"see {printed_commands.verify_receipt(folder, path)}; move that folder away to train again",
    )


def _trained_otherwise(first: Mapping[str, Any], side: Side, weights: StartingWeights | None) -> str:
    """With what other than the road's weights and plans a training was begun, by its record; empty if with these."""
    named = weights is not None and isinstance(weights.path, Path)
    if named and first["weights"] is None and not first["training"]["continues"]:
        return "from random weights"
    if side.replaces_plans:
        return "with the plans that are to be replaced"
    other = _other_pretraining(weights, first["weights"])
    return f"with weights of {other}" if other else ""


def _other_pretraining(weights: StartingWeights | None, recorded: Mapping[str, Any] | None) -> str:
    """The model folder of the recorded weights, where a step of the road is still to train those of another one."""
    if recorded is None or weights is None or weights.side is None or disk.is_file(weights.path):
        return ""
    ours, theirs = (Path(path).parent.parent.name for path in (weights.path, recorded["path"]))
    return theirs if theirs != ours else ""


def _are_packed(weights: StartingWeights | None, recorded: Mapping[str, Any] | None) -> bool:
    """Whether the archive that a step of the road unpacks contains the weights that are recorded."""
    packed = None if weights is None else weights.packed
    return packed is not None and recorded is not None and is_packed(recorded, *packed)


#: Bytes of nnU-Net's log, plot and debug.json, of the training record, and of the predictions of some validation cases.
_BESIDE_CHECKPOINTS = 2 * 10**6


def _needs(run: TrainingRun) -> tuple[int | None, float | None]:
    """The disk and the GPU memory that a training takes, where they can be estimated."""
    dataset_json = known(lambda: run.dataset.dataset_json.valid)
    if dataset_json is None:
        return None, None
    samples = -(-int(run.configuration.require("batch_size")) // run.gpus)
    size = known(lambda: checkpoint_size(run, run.configuration, dataset_json))
    memory = known(lambda: gpu_memory_needed(run, run.configuration, dataset_json, samples))
    needs_gpu = run.device == printed_commands.DEFAULT_DEVICE
    files = len(CHECKPOINTS) + run.options.save_limit
    return (
        None if size is None else files * size + _BESIDE_CHECKPOINTS,
        None if memory is None or not needs_gpu else memory[1],
    )


def _model_folder(context: Context, side: Side, name: StepName) -> Path:
    model = f"{trainer_name(*name)}__{side.plans}__{context.request.configuration}"
    return context.workspace.results_folder() / side.dataset.name / model


def _without_score(validations: Sequence[Path], dataset: Dataset) -> list[str]:
    """The classes without a Dice score in any fold: nnU-Net's mean is no number then, and its command stops.

    Source: compute_metrics_on_folder in evaluation/evaluate_predictions.py of nnU-Net 2.8.1, find_best_configuration.
    """
    with suppress(OSError, ValueError, LookupError, TypeError, Absent):
        means = [json.loads(disk.content(path))["mean"] for path in validations]
        missing = [key for key in means[0] if all(isnan(mean[key]["Dice"]) for mean in means)]
        labels = dataset.dataset_json.valid.value["labels"]
        names = {str(tuple(value) if isinstance(value, list) else value): name for name, value in labels.items()}
        return [names.get(key, key) for key in missing]
    return []


def _find_best(context: Context, side: Side, name: StepName, folds: list[RoadStep]) -> RoadStep:
    """nnU-Net's own command that joins the validations of the folds and determines the postprocessing."""
    request = context.request
    command = printed_commands.find_best(
        *(side.dataset.name, side.plans, request.configuration, trainer_name(*name), *request.folds),
        processes=request.processes,
    )
    folder = _model_folder(context, side, name) / f"crossval_results_folds_{'_'.join(request.folds)}"
    result = folder / "postprocessing.pkl"
    validations = [validated(path) for step in folds for path in step.writes]
    made = disk.modified(result) if disk.is_file(result) else None
    is_older = made is not None and made < max(disk.modified(path) or 0.0 for path in validations)
    trained = all(step.state is StepState.DONE for step in folds)
    done = trained and made is not None and not is_older
    because = f"the validations of {counted(len(folds), 'fold')} are to be joined"
    if done:
        because = f"{result.name} is there"
    elif trained and (classes := _without_score(validations, side.dataset)):
        done, because = True, f"not possible: no validation case has {listed(classes)}, and none is predicted"
    elif is_older:
        because = f"a fold was validated after {result.name} was written"
    state = StepState.DONE if done else StepState.NEEDED
    return RoadStep("find-best", state, because, command, writes=(folder,), result=result, made_from=tuple(validations))
