"""What the gate judges about each of nnU-Net's commands before it starts, and what it says about it.

A command that cannot begin at all, because a dataset, plans, a model or a folder is not there, is a UsageError; what is
there and wrong are findings.
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
from plansguard.commands.train import DEVICES, Accepted, order_of
from plansguard.core.errors import Absent, UsageError
from plansguard.core.report import Finding, Report
from plansguard.core.text import counted, nearest
from plansguard.documents.file_names import MODEL_PLANS
from plansguard.migration import plan as moving
from plansguard.nnunet import command_line
from plansguard.nnunet.command_line import CommandLine, Parsed
from plansguard.nnunet.workspace import Workspace, is_folder, trained_models
from plansguard.rules import RULES
from plansguard.rules.engine.declare import Rule
from plansguard.rules.engine.needs import Level
from plansguard.rules.engine.run import run_rules
from plansguard.rules.engine.settings import ActiveSettings
from plansguard.subjects.data_users import data_users
from plansguard.subjects.dataset import Dataset
from plansguard.subjects.discovery import configuration_of, dataset_in, dataset_of, plans_of
from plansguard.subjects.planning import Planning, default_identifier, planned_from, unique
from plansguard.subjects.prediction import Prediction, PredictionModel, checkpoints_of
from plansguard.subjects.request import Reading, Request
from plansguard.subjects.training_run import TrainingRun
from plansguard.training.options import read_options
from plansguard.training.trainer_name import is_step_name

#: Rules about documents and about the raw data: what can be said before there are plans.
_BEFORE_PLANS = (Level.DATASET, Level.DOCUMENT)
_BEFORE_PLANS_CODES = ("PG0", "PG2", "PG3")


@dataclass(frozen=True)
class GateRequest:
    """A command that is about to start, and how it is to be judged.

    ``settings`` gives those that hold for a folder, ``environment`` are the variables that the command will see.
    ``gpu_memory`` is that of one GPU in GB (10^9 bytes), where the user gave it.
    """

    line: CommandLine
    parsed: Parsed
    workspace: Workspace
    environment: Mapping[str, str]
    settings: Callable[[Path], ActiveSettings]
    reading: Reading = field(default_factory=Reading)
    gpu_memory: float | None = None
    accepted: Sequence[Accepted] = ()

    @property
    def values(self) -> argparse.Namespace:
        """The arguments."""
        return self.parsed.values

    @property
    def program(self) -> str:
        """nnU-Net's command, as it was typed."""
        return self.line.words[self.line.before]


@dataclass(frozen=True)
class GateResult:
    """What is found, and what is said beside it.

    ``jobs`` are the folders of data that nnU-Net will delete and fill; ``remarks`` stand before the report, ``hints``
    after it. ``run`` is the training, if it is one; ``steps`` whether trainers of a number of steps must be found.
    """

    report: Report
    settings: ActiveSettings
    jobs: tuple[Job, ...] = ()
    remarks: tuple[str, ...] = ()
    hints: tuple[str, ...] = ()
    run: TrainingRun | None = None
    steps: bool = False


def judge(question: GateRequest) -> GateResult:
    """The verdict about one of the commands in GRAMMARS; nothing is written.

    Raises UsageError for what nnU-Net could not begin with, UnreadableDocument for a document that it must read.
    """
    train.assert_known(question.accepted)
    verdict = _JUDGES[question.line.name](question)
    if verdict.run is not None:
        train.assert_acceptable(verdict.run, question.accepted)
    report = train.accept(replace(verdict.report, command="gate"), question.accepted)
    steps = verdict.steps or any(map(is_step_name, question.line.arguments))
    return replace(verdict, report=report, steps=steps)


# ---------------------------------------------------------------------------------------------------------------------
# nnUNetv2_train
# ---------------------------------------------------------------------------------------------------------------------


def _train(question: GateRequest) -> GateResult:
    order = replace(order_of(question.values), gpu_memory=question.gpu_memory)
    if is_step_name(order.trainer):
        order = replace(order, options=read_options(question.environment))
    run = train.prepare(question.workspace, order, question.reading)
    settings = question.settings(run.dataset.folder)
    return GateResult(train.judge(run, "gate", settings), settings, run=run)


# ---------------------------------------------------------------------------------------------------------------------
# nnUNetv2_preprocess
# ---------------------------------------------------------------------------------------------------------------------


def _preprocess(question: GateRequest) -> GateResult:
    values, workspace = question.values, question.workspace
    _assert_processes(values)
    plans = [plans_of(dataset_of(workspace, one), values.plans_name) for one in _ids(values)]
    present = [[one.name for one in each.configurations] for each in plans]
    for name in values.c:
        # nnU-Net passes over what some datasets do not have; a name that none has was not meant.
        if name not in command_line.DEFAULT_CONFIGURATIONS and not any(name in names for names in present):
            configuration_of(plans[0], name)
    settings = question.settings(plans[0].path.parent)
    jobs, remarks = [], []
    for one, each, names in zip(_ids(values), plans, present, strict=True):
        wanted = [name for name in values.c if name in names]
        skipped = [name for name in values.c if name not in names]
        if skipped:
            there = f"{each.path.parent.name}: {each.identifier} has {', '.join(names) or 'no configurations'}"
            remarks.append(f"{there}; nnU-Net passes over {', '.join(skipped)}")
        order = preprocess.PreprocessingRequest(one, tuple(wanted or skipped), values.plans_name)
        jobs.append(preprocess.prepare(workspace, order, settings, program=question.program))
    hint = "plansguard preprocess does the same and leaves a stamp, by which later changes are seen"
    report = _merged([job.report for job in jobs])
    return GateResult(report, settings, jobs=tuple(jobs), remarks=tuple(remarks), hints=(hint,))


def _assert_processes(values: argparse.Namespace) -> None:
    if values.np is not None and len(values.np) not in (1, len(values.c)):
        raise UsageError(
            f"-np has {counted(len(values.np), 'number')} for {counted(len(values.c), 'configuration')}",
            hint="nnU-Net takes one number for all of them, or one for each",
        )


def _ids(values: argparse.Namespace) -> list[str]:
    """The datasets of ``-d``, each once."""
    if not values.d:
        raise UsageError("no dataset is named", hint="add -d with the id of a dataset, such as -d 2")
    return unique(values.d)


# ---------------------------------------------------------------------------------------------------------------------
# nnUNetv2_extract_fingerprint, nnUNetv2_plan_experiment, nnUNetv2_plan_and_preprocess
# ---------------------------------------------------------------------------------------------------------------------


def _extract_fingerprint(question: GateRequest) -> GateResult:
    return _judged_plannings(question, [_planning(question, one, None) for one in _ids(question.values)])


def _plan(question: GateRequest) -> GateResult:
    values = question.values
    if question.line.name == command_line.PLAN_AND_PREPROCESS:
        _assert_processes(values)
    identifier = values.overwrite_plans_name or default_identifier(values.pl)
    verdict = _judged_plannings(question, [_planning(question, one, identifier) for one in _ids(values)])
    if identifier is not None:
        return verdict
    remark = f"{values.pl} is no planner of nnU-Net's: whether its plans would replace others is not known"
    return replace(verdict, remarks=(*verdict.remarks, remark))


def _planning(question: GateRequest, one: str, identifier: str | None) -> Planning:
    values, workspace = question.values, question.workspace
    name = workspace.dataset_name(one)
    folder = workspace.preprocessed_folder(name)
    if workspace.raw is None or not is_folder(workspace.raw / name):
        where = "nnUNet_raw is not set" if workspace.raw is None else f"{workspace.raw} has no {name}"
        raise UsageError(
            f"{name} cannot be planned: {where}", hint="nnUNet_raw must name the folder that holds the raw data"
        )
    now = dataset_in(folder, workspace=workspace) if is_folder(folder) else Dataset(folder, (), (), workspace)
    extracts = question.line.name != command_line.PLAN
    seen = planned_from(
        now, workspace.raw / name, identifier=identifier, fingerprint=not (extracts and getattr(values, "clean", False))
    )
    if not extracts:
        with _needed(f"{name} cannot be planned", f"nnUNetv2_extract_fingerprint -d {one}"):
            seen.fingerprint  # noqa: B018 - raises Absent where it is not there
    preprocesses = tuple(values.c) if extracts and not getattr(values, "no_pp", True) else ()
    return Planning(seen, now, getattr(values, "pl", ""), identifier, preprocesses)


def _judged_plannings(question: GateRequest, plannings: Sequence[Planning]) -> GateResult:
    settings = question.settings(plannings[0].now.folder)
    rules = [rule for rule in RULES if _says_something_before_plans(rule)]
    reports = [
        run_rules("gate", [str(one.now.folder)], [one.dataset], planning=one, settings=settings, rules=rules)
        for one in plannings
    ]
    return GateResult(_merged(reports), settings, remarks=tuple(remark for one in plannings for remark in _doomed(one)))


def _says_something_before_plans(rule: Rule) -> bool:
    always = rule.level in (Level.PLANNING, Level.RUN_END)
    return always or (rule.level in _BEFORE_PLANS and rule.info.code.startswith(_BEFORE_PLANS_CODES))


def _doomed(planning: Planning) -> Iterator[str]:
    """What nnU-Net will delete once it has planned, and who else reads it."""
    users = data_users(planning.now, planning.now.plans)
    for configuration, folder in planning.replaced_data():
        with suppress(OSError):
            cases = counted(len(listing(folder).cases), "complete case")
            readers = [
                f"{user.configuration.name} of {user.plans.identifier}"
                for user in users.get(folder.name, ())
                if (user.plans.identifier, user.configuration.name) != (planning.identifier, configuration)
            ]
            also = f"; also read by {', '.join(readers)}" if readers else ""
            yield f"{folder} ({configuration}): nnU-Net deletes it first, {cases}{also}"


# ---------------------------------------------------------------------------------------------------------------------
# nnUNetv2_move_plans_between_datasets
# ---------------------------------------------------------------------------------------------------------------------


def _move(question: GateRequest) -> GateResult:
    values, workspace = question.values, question.workspace
    workspace.dataset_name(values.s)  # plansguard's own -s takes paths as well, nnU-Net's does not
    receiving = workspace.dataset_name(values.t)
    settings = question.settings(workspace.preprocessed_folder(receiving))
    order = moving.MigrationRequest(values.s, values.t, values.tp or values.sp, values.sp)
    migration = moving.plan(workspace, order, settings)
    instead = f"plansguard migrate -s {values.s} -t {values.t} -sp {values.sp} -tp {order.target_plans} does without"
    if not is_folder(migration.pair.receiving.folder):
        raise UsageError(
            f"{receiving} has no folder in {workspace.preprocessed}, where nnU-Net would write", hint=instead
        )
    with _needed(f"nnU-Net looks at a raw image of {receiving}", instead):
        migration.pair.receiving.raw_images  # noqa: B018
    hint = "plansguard migrate writes the same plans and keeps a record, by which later edits are seen"
    if any(write.path.name == "dataset.json" for write in migration.writes):
        hint += "; it also puts dataset.json beside them, which nnU-Net's command leaves to you"
    return GateResult(migration.report, settings, hints=(hint,))


# ---------------------------------------------------------------------------------------------------------------------
# nnUNetv2_predict, nnUNetv2_predict_from_modelfolder
# ---------------------------------------------------------------------------------------------------------------------


def _predict(question: GateRequest) -> GateResult:
    values, workspace = question.values, question.workspace
    if workspace.results is None:
        raise UsageError(
            "the environment variable nnUNet_results is not set, so nnU-Net would not find the model",
            hint="export nnUNet_results=/path/to/nnUNet_results, or use nnUNetv2_predict_from_modelfolder",
        )
    if not values.part_id < values.num_parts:
        raise UsageError(f"-part_id {values.part_id} of -num_parts {values.num_parts}: parts are counted from 0")
    name = workspace.dataset_name(values.d)
    model = f"{values.tr}__{values.p}__{values.c}"
    folder = workspace.results / name / model
    if not is_folder(folder):
        there = [one.folder.name for one in trained_models(workspace.results, name)]
        near = nearest(model, there)
        meant = f"did you mean {near}? " if near else ""
        raise UsageError(
            f"{workspace.results / name} has no model {model}",
            hint=f"{meant}models there: {', '.join(there) or 'none'}",
        )
    return _predicted(question, folder)


def _predict_from_folder(question: GateRequest) -> GateResult:
    folder = Path(question.values.m)
    if not question.values.m or not is_folder(folder):
        raise UsageError(
            f"there is no folder {question.values.m!r}", hint="-m names the folder that holds plans.json and fold_0"
        )
    return _predicted(question, folder)


def _predicted(question: GateRequest, folder: Path) -> GateResult:
    values = question.values
    folds = tuple(_fold(one) for one in values.f)
    if values.device not in DEVICES:
        raise UsageError(f"{values.device!r} is no device that nnU-Net knows", hint=f"one of {', '.join(DEVICES)}")
    images = Path(values.i)
    if not values.i or not is_folder(images):
        raise UsageError(f"there is no folder {values.i!r} with images", hint="-i names a folder, not a file")
    for name in (MODEL_PLANS, "dataset.json"):
        if not (folder / name).is_file():
            raise UsageError(f"{folder} has no {name}: it is no folder of a model", hint="give the one above fold_0")
    found = dataset_in(folder)
    wanted = checkpoints_of(folder, folds, values.chk)
    model = PredictionModel(folder, found.documents, found.unreadable, found.workspace, wanted=wanted)
    previous = values.prev_stage_predictions
    prediction = Prediction(model, folds, values.chk, images, None if previous is None else Path(previous))
    if prediction.configuration is not None:  # the others are not loaded, so what is wrong with them does not matter
        prediction.model.request = Request(configuration=prediction.configuration.name)
    prediction.files  # noqa: B018 - OSError where nnU-Net could not list them either
    settings = question.settings(folder)
    report = run_rules("gate", [str(folder)], [model], prediction=prediction, settings=settings, rules=RULES)
    trainers = [one.trainer for one in model.checkpoints if isinstance(one, Checkpoint)]
    return GateResult(report, settings, steps=any(is_step_name(name) for name in trainers if name is not None))


def _fold(fold: str | int) -> str:
    """As nnU-Net reads it: a number, or all."""
    try:
        return "all" if fold == "all" else str(int(fold))
    except ValueError as error:
        raise UsageError(f"{fold!r} is no fold", hint="-f takes numbers, or all") from error


# ---------------------------------------------------------------------------------------------------------------------


_JUDGES: Final[Mapping[str, Callable[[GateRequest], GateResult]]] = {
    command_line.TRAIN: _train,
    command_line.PREPROCESS: _preprocess,
    command_line.FINGERPRINT: _extract_fingerprint,
    command_line.PLAN: _plan,
    command_line.PLAN_AND_PREPROCESS: _plan,
    command_line.MOVE: _move,
    command_line.PREDICT: _predict,
    command_line.PREDICT_FROM_FOLDER: _predict_from_folder,
}


@contextmanager
def _needed(what: str, hint: str) -> Iterator[None]:
    """Within it, what is absent is what nnU-Net cannot begin without."""
    try:
        yield
    except Absent as absent:
        raise UsageError(f"{what}: {absent.reason}", hint=hint) from absent


def _merged(reports: Sequence[Report]) -> Report:
    """One report of several; what they tell alike is told once."""
    findings: list[Finding] = []
    for report in reports:
        findings += [finding for finding in report.findings if finding not in findings]
    return replace(
        reports[0],
        inputs=tuple(dict.fromkeys(one for report in reports for one in report.inputs)),
        documents=sum(report.documents for report in reports),
        findings=tuple(sorted(findings, key=lambda finding: -finding.severity.rank)),
        not_checked=tuple(dict.fromkeys(one for report in reports for one in report.not_checked)),
    )
