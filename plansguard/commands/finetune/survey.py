"""Find out which steps of a road are done, which are needed, and what would stop one of them. Nothing is written."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from plansguard.artefacts.checkpoint.trained_model import read_models
from plansguard.commands.check import weights_from
from plansguard.commands.finetune import preparation, training
from plansguard.commands.finetune.datasets import Context, Side
from plansguard.commands.finetune.migration import migration_step
from plansguard.commands.finetune.request import RoadRequest
from plansguard.commands.finetune.training import StartingWeights
from plansguard.core import disk
from plansguard.core.errors import PlansguardError, UsageError, known
from plansguard.core.report import Report, merged
from plansguard.core.text import listed, quoted
from plansguard.migration.messages import weights_of
from plansguard.migration.plan import Migration, MigrationRequest, receiving_dataset
from plansguard.migration.plan import plan as plan_migration
from plansguard.migration.source_dataset import names_a_path
from plansguard.nnunet.constants import DEFAULT_IDENTIFIER, DEFAULT_TRAINER, base_trainer
from plansguard.nnunet.printed_commands import CHECKPOINT
from plansguard.nnunet.workspace import Workspace
from plansguard.subjects.dataset import Dataset
from plansguard.subjects.discovery import plans_of
from plansguard.subjects.external_plans import ExternalDataset
from plansguard.subjects.pair import Pair
from plansguard.subjects.planning import default_identifier
from plansguard.subjects.pretraining import Pretraining, loading_into
from plansguard.subjects.road import Road, RoadStep, StepState
from plansguard.subjects.trained_models import trained_with
from plansguard.training.schedule import GENTLE_RATE
from plansguard.training.trainer_name import StepName


def survey(workspace: Workspace, request: RoadRequest) -> Road:
    """Judge the whole road beforehand.

    Raises UsageError for datasets, plans, configurations or weights that do not exist and that no step makes, and
    UnreadableDocument for a document or weights that cannot be read.
    """
    workspace.results_folder()  # raises where the variable is not set
    context = Context(workspace, request)
    target = receiving_dataset(workspace, request.target)
    steps = (_with_own_plans if request.workflow == "pretrain" else _with_moved_plans)(context, target)
    report = merged([Report("finetune", (request.source, target.name), 0, allow_empty=True), *context.reports])
    plans = _own_plans(target, request.source_plans, request) if request.workflow == "pretrain" else request.plans
    return Road(request.source, target.name, plans, request.configuration, request.workflow, tuple(steps), report)


# --- Workflows


def _with_moved_plans(context: Context, dataset: Dataset) -> list[RoadStep]:
    """Fine-tune with the plans of the weights: ``finetune``, and ``graft``. The weights exist, or are trained first."""
    request, side, onto = context.request, Side(dataset, context.request.plans), context.request.onto
    steps: list[RoadStep] = []
    weights, source_plans = None, request.source_plans
    if request.pretraining is not None:
        source = _trained_dataset(context)
        source_plans = _own_plans(source, source_plans, request)
        giving = Side(source, source_plans)
        steps += [
            preparation.fingerprint(context, giving, "fingerprint-source", verifies=request.verifies),
            preparation.planning(context, giving, "plan-source"),
            preparation.data(context, giving, "preprocess-source"),
        ]
        step, weights = training.pretraining(context, giving, _pretraining(request))
        steps.append(step)
        side.unplanned = giving.unplanned
    elif request.weights is None:
        _assert_planned(context)
    steps.append(preparation.fingerprint(context, side, verifies=request.verifies))
    if request.workflow == "graft":
        own = Side(dataset, _own_plans(dataset, request.onto, request))
        context.request = request = replace(request, onto=own.plans)
        steps.append(preparation.planning(context, own))
        side.unplanned = side.unplanned or own.unplanned
    step, migration = migration_step(context, side, request.source, source_plans, onto=onto)
    steps.append(step)
    base, unpacking, is_blocked = request.trainer or DEFAULT_TRAINER, None, step.state is StepState.BLOCKED
    if weights is None:
        side.unplanned = step.name if is_blocked else side.unplanned
        try:
            weights, pretraining = _weights(context, side, migration or _moved_whole(context, dataset))
        except PlansguardError:
            if not is_blocked:
                raise
            # In the wrong direction, for example, there are no weights to be found.
            weights, pretraining = StartingWeights(request.weights or CHECKPOINT), Pretraining(CHECKPOINT)
        base = request.trainer or base_trainer(pretraining.fine_tuning_trainer)
        unpacking = preparation.unpacking(pretraining) if pretraining.unpack else None
    steps.append(preparation.data(context, side))
    trainings = training.fine_tuning(context, side, _fine_tuning(request, base), weights)
    if unpacking is not None:
        done = all(one.state is StepState.DONE for one in trainings if one.is_training)
        steps.append(replace(unpacking, state=StepState.DONE, because="every fold is trained") if done else unpacking)
    return [*steps, *trainings]


def _with_own_plans(context: Context, dataset: Dataset) -> list[RoadStep]:
    """Pretrain a network for the target's own plans: they move to the other dataset, and the weights come back."""
    request = context.request
    side = Side(dataset, _own_plans(dataset, request.source_plans, request))
    steps = [
        preparation.fingerprint(context, side, verifies=request.verifies),
        preparation.planning(context, side),
    ]
    giving = Side(_trained_dataset(context), request.plans, side.unplanned)
    steps.append(preparation.fingerprint(context, giving, "fingerprint-source", verifies=request.verifies))
    step, _ = migration_step(context, giving, side.dataset.name, side.plans)
    steps += [step, preparation.data(context, giving, "preprocess-source")]
    step, weights = training.pretraining(context, giving, _pretraining(request))
    name = _fine_tuning(request, request.trainer or DEFAULT_TRAINER)
    steps += [step, preparation.data(context, side)]
    return [*steps, *training.fine_tuning(context, side, name, weights)]


# --- Names


def _trained_dataset(context: Context) -> Dataset:
    """The dataset of ``-s``, on whose images a pretraining of the road trains; UsageError for a path."""
    source = context.request.source
    if names_a_path(context.workspace, source):
        raise UsageError(
            f"a pretraining needs a dataset of images, and -s is a path: {source}",
            hint="name a dataset with -s; weights that exist need no --pretrain-steps",
        )
    return receiving_dataset(context.workspace, source)


def _assert_planned(context: Context) -> None:
    """Raise UsageError where ``-s`` is a dataset without plans and without trained models."""
    request, workspace = context.request, context.workspace
    if names_a_path(workspace, request.source):
        return
    source = receiving_dataset(workspace, request.source)
    trained = workspace.results_folder() / source.name
    if not source.plans and not source.unreadable and not disk.is_folder(trained):
        raise UsageError(
            f"{source.name} has neither plans nor trained weights",
            hint="give -s the folder, the zip archive or the checkpoint of a trained model; or train on "
            f"{source.name} first: add --pretrain-steps N",
        )


def _own_plans(dataset: Dataset, named: str | None, request: RoadRequest) -> str:
    """The dataset's own plans: those named, else the only ones, else those that the planner writes.

    Where another planner than nnU-Net's default one is named, its plans come before the only ones. UsageError, or
    UnreadableDocument, for named plans that are not there and that the planner does not write.
    """
    written = default_identifier(request.planner)
    is_other = written not in (None, DEFAULT_IDENTIFIER)
    if named is not None and written not in (None, named):
        plans_of(dataset, named)  # raises
        if is_other:
            raise UsageError(
                f"-pl {request.planner} writes {written}, and {named} are named", hint="leave one of the two out"
            )
    present = [plans.identifier for plans in dataset.plans if dataset.brought_by(plans) is None]
    only = present[0] if len(present) == 1 and not is_other else None
    return named or only or written or DEFAULT_IDENTIFIER


def _pretraining(request: RoadRequest) -> StepName:
    assert request.pretraining is not None  # the workflow has one
    return StepName(request.trainer or DEFAULT_TRAINER, request.pretraining)


def _fine_tuning(request: RoadRequest, base: str) -> StepName:
    rate = GENTLE_RATE if request.schedule.rate is None else request.schedule.rate
    return StepName(base, replace(request.schedule, rate=rate))


# --- Weights that exist


def _moved_whole(context: Context, dataset: Dataset) -> Migration:
    """The migration of the plans as they are, for a graft onto plans that are still to be made: it has the weights."""
    request = context.request
    return plan_migration(
        context.workspace,
        MigrationRequest(request.source, dataset.name, request.plans, request.source_plans, reader=request.reader),
        request.settings(dataset.folder),
        dataset,
    )


def _weights(context: Context, side: Side, migration: Migration) -> tuple[StartingWeights, Pretraining]:
    """The weights to fine-tune: those named, else those that the plans belong to. UsageError where none are known."""
    request = context.request
    if request.weights is not None:
        checkpoint = weights_from(request.weights)
        return StartingWeights(request.weights, checkpoint), Pretraining(
            request.weights, getattr(checkpoint, "trainer", None)
        )
    plans = next((plans for plans in side.dataset.plans if plans.identifier == side.plans), migration.pair.result)
    pretraining = weights_of(migration.pair, loading_into(plans, request.configuration))
    if pretraining.path == CHECKPOINT:
        others = _trained_with_others(migration.pair, request.configuration)
        of_others = f"for those of {listed(others)}: -sp {quoted(others[0])}; or " if others else ""
        raise UsageError(
            f"no weights are known: {request.configuration} of {migration.pair.plans.identifier} of {request.source}",
            hint=f"{of_others}name them with -pretrained_weights CHECKPOINT, "
            "or train them first with --pretrain-steps N",
        )
    if pretraining.finish:
        raise UsageError(
            f"{pretraining.path} is not written yet: its training has not ended",
            hint=f"finish it: {pretraining.finish}",
        )
    path = Path(pretraining.path)
    if pretraining.unpack:
        return _packed(migration, path, request.configuration), pretraining
    return StartingWeights(path, weights_from(path)), pretraining


def _trained_with_others(pair: Pair, configuration: str) -> list[str]:
    """Other plans of the giving dataset with which it has weights of this configuration."""
    present = {plans.identifier for plans in pair.giving.plans} - {pair.plans.identifier}
    models = known(lambda: trained_with(pair.giving)) or []
    return sorted({one.plans_name for one in models if one.configuration == configuration} & present)


def _packed(migration: Migration, path: Path, configuration: str) -> StartingWeights:
    """The weights in a zip archive that the plans come from, which are unpacked to ``path``."""
    giving = migration.pair.giving
    for model in (giving.models or ()) if isinstance(giving, ExternalDataset) else ():
        if model.archive is None or configuration not in (model.configuration, ""):
            continue
        for stored in read_models(model.archive):
            if stored.folder == model.folder:
                checkpoint = stored.checkpoint(model.weights[0].relative_to(model.folder).as_posix())
                member = model.weights[0].relative_to(model.archive).as_posix()
                return StartingWeights(path, checkpoint, packed=(model.archive, member))
    return StartingWeights(path)
