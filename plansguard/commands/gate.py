"""Judge each of nnU-Net's commands before it starts.

A command that cannot begin, because a dataset, plans, a model or a folder is missing, raises UsageError; faults in what
is present are findings.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from plansguard.artefacts.checkpoint.checkpoint import Checkpoint
from plansguard.artefacts.data.listing import listing
from plansguard.commands import preprocess, train
from plansguard.commands.preprocess import Job
from plansguard.core import disk
from plansguard.core.errors import Absent, UsageError
from plansguard.core.report import Report, merged
from plansguard.core.text import counted
from plansguard.documents.file_names import CANONICAL_NAMES, MODEL_PLANS
from plansguard.migration.plan import MigrationRequest
from plansguard.migration.plan import plan as plan_migration
from plansguard.nnunet import command_line, constants, printed_commands
from plansguard.nnunet.command_line import CommandLine, Parsed
from plansguard.nnunet.workspace import TrainedModel, Workspace, trained_models
from plansguard.rules import RULES
from plansguard.rules.engine.acceptance import Accepted, accept, assert_acceptable
from plansguard.rules.engine.declare import Rule
from plansguard.rules.engine.needs import Level
from plansguard.rules.engine.run import run_rules
from plansguard.rules.engine.settings import ActiveSettings
from plansguard.subjects.dataset import Dataset
from plansguard.subjects.discovery import configuration_of, dataset_in, dataset_of, plans_of
from plansguard.subjects.planning import Planning, default_identifier, planned_from
from plansguard.subjects.prediction import Prediction, PredictionModel, checkpoints_of
from plansguard.subjects.request import Reading, Request, TypedOptions
from plansguard.subjects.training_run import TrainingRun
from plansguard.training.options import read_options
from plansguard.training.trainer_name import is_step_name

#: Families of rules about documents and about the raw data: those that can be checked before there are plans.
_BEFORE_PLANS = ("PG0", "PG2", "PG3")


@dataclass(frozen=True)
class GateRequest:
    """A command that is about to start, and how it is to be judged.

    ``settings`` returns the settings that apply to a folder; ``environment`` are the variables that the command will
    see. ``gpu_memory`` is that of one GPU in GB (10^9 bytes), where the user gave it. ``typed`` are the options of the
    gate, which the commands in fixes repeat.
    """

    line: CommandLine
    parsed: Parsed
    workspace: Workspace
    environment: Mapping[str, str]
    settings: Callable[[Path], ActiveSettings]
    reading: Reading = field(default_factory=Reading)
    gpu_memory: float | None = None
    accepted: Sequence[Accepted] = ()
    typed: TypedOptions = field(default_factory=TypedOptions)

    @property
    def values(self) -> argparse.Namespace:
        """The arguments."""
        return self.parsed.values


@dataclass(frozen=True)
class GateResult:
    """The report, and what is printed beside it.

    ``jobs`` are the folders of data that nnU-Net will delete and fill; ``remarks`` are printed before the report,
    ``hints`` after it. ``run`` is the training, if it is one; ``steps`` whether nnU-Net must find trainers of a number
    of steps.
    """

    report: Report
    settings: ActiveSettings
    jobs: tuple[Job, ...] = ()
    remarks: tuple[str, ...] = ()
    hints: tuple[str, ...] = ()
    run: TrainingRun | None = None
    steps: bool = False


def judge(request: GateRequest) -> GateResult:
    """Judge one of the commands in GRAMMARS; nothing is written.

    Raises UsageError for a command that nnU-Net could not begin, UnreadableDocument for a document that it must read.
    """
    assert_acceptable(request.accepted, [rule.info for rule in RULES])
    result = _JUDGES[request.line.name](request)
    if result.run is not None:
        train.assert_trainer_accepts(result.run, request.accepted)
    report = accept(replace(result.report, command="gate"), request.accepted)
    steps = result.steps or any(map(is_step_name, request.line.arguments))
    return replace(result, report=report, steps=steps)


# --- nnUNetv2_train


def _train(request: GateRequest) -> GateResult:
    options = read_options(request.environment) if is_step_name(request.values.tr) else None
    run = train.prepare(
        request.workspace,
        request.values,
        request.reading,
        gpu_memory=request.gpu_memory,
        options=options,
        typed=replace(request.typed, unknown=request.parsed.unknown),
        launcher=request.line.words[: request.line.before + 1],
    )
    settings = request.settings(run.dataset.folder)
    return GateResult(train.judge(run, "gate", settings), settings, run=run)


# --- nnUNetv2_preprocess


def _preprocess(request: GateRequest) -> GateResult:
    values, workspace = request.values, request.workspace
    _assert_processes(values)
    datasets = _ids(values)
    every = [plans_of(dataset_of(workspace, dataset), values.plans_name) for dataset in datasets]
    present = [[configuration.name for configuration in plans.configurations] for plans in every]
    for name in values.c:
        # nnU-Net skips what some datasets lack; a name that all of them lack is a mistake.
        if name not in command_line.DEFAULT_CONFIGURATIONS and not any(name in names for names in present):
            configuration_of(every[0], name)
    settings = request.settings(every[0].path.parent)
    program = request.line.words[request.line.before]
    jobs, remarks = [], []
    for dataset, plans, names in zip(datasets, every, present, strict=True):
        wanted = [name for name in values.c if name in names]
        skipped = [name for name in values.c if name not in names]
        if skipped:
            has = f"{plans.path.parent.name}: {plans.identifier} has {', '.join(names) or 'no configurations'}"
            remarks.append(f"{has}; nnU-Net skips {', '.join(skipped)}")
        numbers = _numbers_of_processes(values)
        options = {"identifier": values.plans_name, "program": program, "processes": numbers}
        jobs.append(preprocess.prepare(workspace, dataset, wanted or skipped, settings, **options))
    hint = "plansguard preprocess does the same and leaves a preprocessing record, which reveals later changes"
    report = merged([job.report for job in jobs])
    return GateResult(report, settings, jobs=tuple(jobs), remarks=tuple(remarks), hints=(hint,))


def _assert_processes(values: argparse.Namespace) -> None:
    for option in ("np", "npfp"):
        given = getattr(values, option, None)
        numbers = given if isinstance(given, list) else [] if given is None else [given]
        if any(number < 1 for number in numbers):
            raise UsageError(f"-{option} {min(numbers)}: nnU-Net works with 1 process or more", hint=f"-{option} 1")
    if not isinstance(values.np, list):
        return
    if len(values.np) not in (1, len(values.c)):
        raise UsageError(
            f"-np has {counted(len(values.np), 'number')} for {counted(len(values.c), 'configuration')}",
            hint="nnU-Net takes one number for all of them, or one for each",
        )


def _numbers_of_processes(values: argparse.Namespace) -> dict[str, int]:
    """``-np`` for each configuration."""
    given = values.np or []
    return dict(zip(values.c, given * len(values.c) if len(given) == 1 else given, strict=False))


def _ids(values: argparse.Namespace) -> list[str]:
    """The datasets of ``-d``, each once."""
    if not values.d:
        raise UsageError("no dataset is named", hint="add -d with the id of a dataset, such as -d 2")
    return [str(number) for number in dict.fromkeys(values.d)]


# --- nnUNetv2_extract_fingerprint, nnUNetv2_plan_experiment, nnUNetv2_plan_and_preprocess


def _extract_fingerprint(request: GateRequest) -> GateResult:
    _assert_processes(request.values)
    return _judged_plannings(request, [_planning(request, dataset, None) for dataset in _ids(request.values)])


def _plan(request: GateRequest) -> GateResult:
    values = request.values
    if request.line.name == constants.PLAN_AND_PREPROCESS:
        _assert_processes(values)
    identifier = values.overwrite_plans_name or default_identifier(values.pl)
    result = _judged_plannings(request, [_planning(request, dataset, identifier) for dataset in _ids(values)])
    if identifier is not None:
        return result
    remark = f"{values.pl} is not a planner of nnU-Net: whether its plans would replace others is unknown"
    return replace(result, remarks=(*result.remarks, remark))


def _planning(request: GateRequest, dataset: str, identifier: str | None) -> Planning:
    values, workspace = request.values, request.workspace
    name = workspace.dataset_name(dataset)
    folder = workspace.preprocessed_folder(name)
    if workspace.raw is None or not disk.is_folder(workspace.raw / name):
        where = "nnUNet_raw is not set" if workspace.raw is None else f"{workspace.raw} has no {name}"
        raise UsageError(
            f"{name} cannot be planned: {where}", hint="nnUNet_raw must name the folder that holds the raw data"
        )
    now = dataset_in(folder, workspace=workspace) if disk.is_folder(folder) else Dataset(folder, (), (), workspace)
    extracts = request.line.name != constants.PLAN
    keeps_fingerprint = not (extracts and getattr(values, "clean", False))
    planned = planned_from(now, workspace.raw / name, identifier=identifier, fingerprint=keeps_fingerprint)
    if not extracts:
        command = printed_commands.extract_fingerprint(name)
        if not disk.is_file(folder / CANONICAL_NAMES["fingerprint"]):
            raise UsageError(f"{name} cannot be planned: it has no fingerprint yet", hint=command)
        with _required(f"{name} cannot be planned", command):
            planned.fingerprint  # noqa: B018 - raises Absent where it is missing
    preprocesses = tuple(values.c) if extracts and not getattr(values, "no_pp", True) else ()
    return Planning(
        *(planned, now, getattr(values, "pl", ""), identifier, preprocesses, extracts),
        words=request.line.words,
        options=request.typed.of_gate,
        environment=request.environment,
    )


def _judged_plannings(request: GateRequest, plannings: Sequence[Planning]) -> GateResult:
    settings = request.settings(plannings[0].now.folder)
    reports = []
    for planning in plannings:
        rules = [rule for rule in RULES if _applies_before_plans(rule, planning.makes_fingerprint)]
        inputs, datasets = [str(planning.now.folder)], [planning.dataset]
        reports.append(run_rules("gate", inputs, datasets, planning=planning, settings=settings, rules=rules))
    remarks = tuple(remark for planning in plannings for remark in _deletions(planning))
    return GateResult(merged(reports), settings, remarks=remarks)


def _applies_before_plans(rule: Rule, makes_fingerprint: bool) -> bool:
    if rule.level in (Level.PLANNING, Level.RUN_END):
        return True
    applies = rule.level is Level.DATASET and rule.info.code.startswith(_BEFORE_PLANS)
    return applies and not (makes_fingerprint and "fingerprint" in rule.needs)


def _deletions(planning: Planning) -> Iterator[str]:
    """What nnU-Net will delete after planning, and which configurations also read it."""
    users = planning.now.data_users
    for configuration, folder in planning.replaced_data():
        preprocess.assert_no_link(folder)
        with suppress(OSError):
            cases = counted(len(listing(folder).cases), "complete case")
            readers = [
                f"{user.configuration.name} of {user.plans.identifier}"
                for user in users.get(folder.name, ())
                if (user.plans.identifier, user.configuration.name) != (planning.identifier, configuration)
            ]
            also = f"; also read by {', '.join(readers)}" if readers else ""
            yield f"{folder} ({configuration}): nnU-Net deletes it first, {cases}{also}"


# --- nnUNetv2_move_plans_between_datasets


def _move(request: GateRequest) -> GateResult:
    values, workspace = request.values, request.workspace
    workspace.dataset_name(values.s)  # plansguard's own -s also takes paths, nnU-Net's does not
    receiving = workspace.dataset_name(values.t)
    settings = request.settings(workspace.preprocessed_folder(receiving))
    move = MigrationRequest(values.s, values.t, values.tp or values.sp, values.sp)
    migration = plan_migration(workspace, move, settings)
    command = printed_commands.migrate(values.s, receiving, str(move.target_plans), plans=values.sp)
    instead = f"{command} does without"
    if not disk.is_folder(migration.pair.receiving.folder):
        raise UsageError(
            f"{receiving} has no folder in {workspace.preprocessed}, where nnU-Net would write", hint=instead
        )
    with _required(f"nnU-Net looks at a raw image of {receiving}", instead):
        migration.pair.receiving.raw_images  # noqa: B018 - raises Absent where there is none
    hint = "plansguard migrate writes the same plans and keeps a migration record, which reveals later edits"
    if any(write.path.name == "dataset.json" for write in migration.writes):
        hint += "; it also puts dataset.json beside them, which nnU-Net's command leaves to you"
    return GateResult(migration.report, settings, hints=(hint,))


# --- nnUNetv2_predict, nnUNetv2_predict_from_modelfolder


def _predict(request: GateRequest) -> GateResult:
    values, workspace = request.values, request.workspace
    if workspace.results is None:
        raise UsageError(
            "the environment variable nnUNet_results is not set, so nnU-Net would not find the model",
            hint="export nnUNet_results=FOLDER, or use nnUNetv2_predict_from_modelfolder",
        )
    if not values.part_id < values.num_parts:
        raise UsageError(
            f"-part_id {values.part_id} of -num_parts {values.num_parts}: parts are counted from 0",
            hint=f"-part_id 0 to {values.num_parts - 1}" if values.num_parts > 0 else "-num_parts 1 or more",
        )
    name = workspace.dataset_name(values.d)
    model = f"{values.tr}__{values.p}__{values.c}"
    folder = workspace.results / name / model
    if not disk.is_file(folder / MODEL_PLANS):
        raise UsageError(f"{workspace.results / name} has no model {model}", hint=_other_model(request, name))
    return _judged_prediction(request, folder)


def _other_model(request: GateRequest, dataset: str) -> str:
    """The command with the model of the dataset that is most like the one asked for."""
    values, results = request.values, request.workspace.results
    every = [] if results is None else [*trained_models(results, dataset)]
    models = [model for model in every if model.checkpoints and disk.is_file(model.folder / MODEL_PLANS)]
    if not models:
        return f"no training of {dataset} has left a checkpoint"

    def unlike(model: TrainedModel) -> tuple[object, ...]:
        complete = any(path.name == values.chk for path in model.checkpoints)
        return model.configuration != values.c, not complete, model.plans_name != values.p, model.folder.name

    model = min(models, key=unlike)
    folds = [path.parent.name.removeprefix("fold_") for path in model.checkpoints if path.name == values.chk]
    options = {"-c": [model.configuration], "-p": [model.plans_name], "-tr": [model.trainer]}
    if folds and not {_fold(fold) for fold in values.f} <= set(folds):
        options["-f"] = [fold for fold in folds if fold != "all"] or folds
    command = printed_commands.gate(request.line.with_options(options), request.typed.of_gate)
    names = ", ".join(model.folder.name for model in models)
    return f"models there: {names}; to predict with {model.folder.name}: {command}"


def _predict_from_folder(request: GateRequest) -> GateResult:
    folder = Path(request.values.m)
    if not request.values.m or not disk.is_folder(folder):
        raise UsageError(
            f"there is no folder {request.values.m!r}", hint="-m names the folder that holds plans.json and fold_0"
        )
    return _judged_prediction(request, folder)


def _judged_prediction(request: GateRequest, folder: Path) -> GateResult:
    values = request.values
    folds = tuple(_fold(fold) for fold in values.f)
    train.assert_device(values.device)
    images = Path(values.i)
    if not values.i or not disk.is_folder(images):
        raise UsageError(f"there is no folder {values.i!r} with images", hint="-i names a folder, not a file")
    for name in (MODEL_PLANS, "dataset.json"):
        if not disk.is_file(folder / name):
            raise UsageError(f"{folder} has no {name}: it is not a model folder", hint="give the one above fold_0")
    content = dataset_in(folder)
    wanted = checkpoints_of(folder, folds, values.chk)
    model = PredictionModel(folder, content.documents, content.unreadable, content.workspace, wanted=wanted)
    previous = None if values.prev_stage_predictions is None else Path(values.prev_stage_predictions)
    prediction = Prediction(model, folds, values.chk, images, previous)
    loaded = None if prediction.configuration is None else prediction.configuration.name
    prediction.model.request = Request(configuration=loaded, starts=True)  # faults of the others do not matter
    prediction.files  # noqa: B018 - UnreadableFolder where nnU-Net could not list them either
    settings = request.settings(folder)
    report = run_rules("gate", [str(folder)], [model], prediction=prediction, settings=settings, rules=RULES)
    trainers = [checkpoint.trainer for checkpoint in model.checkpoints if isinstance(checkpoint, Checkpoint)]
    return GateResult(report, settings, steps=any(is_step_name(name) for name in trainers if name is not None))


def _fold(fold: str | int) -> str:
    """As nnU-Net reads it: a number, or all."""
    try:
        return "all" if fold == "all" else str(int(fold))
    except ValueError as error:
        raise UsageError(f"{fold!r} is not a fold", hint="-f takes numbers, or all") from error


_JUDGES: Final[Mapping[str, Callable[[GateRequest], GateResult]]] = {
    constants.TRAIN: _train,
    constants.PREPROCESS: _preprocess,
    constants.FINGERPRINT: _extract_fingerprint,
    constants.PLAN: _plan,
    constants.PLAN_AND_PREPROCESS: _plan,
    constants.MOVE: _move,
    constants.PREDICT: _predict,
    constants.PREDICT_FROM_FOLDER: _predict_from_folder,
}


@contextmanager
def _required(what: str, hint: str) -> Iterator[None]:
    """Turn Absent into UsageError: nnU-Net cannot begin without it."""
    try:
        yield
    except Absent as absent:
        raise UsageError(f"{what}: {absent.reason}", hint=hint) from absent
