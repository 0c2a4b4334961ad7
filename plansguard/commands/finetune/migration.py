"""The step that moves plans, judged and recorded by the migration itself."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from plansguard.commands.finetune.datasets import Context, Side, blocked_by
from plansguard.commands.finetune.request import RoadRequest
from plansguard.core.report import Report
from plansguard.documents.file_names import MIGRATION_RECORD_ENDING
from plansguard.migration.plan import Migration, MigrationRequest, receiving_dataset
from plansguard.migration.plan import plan as plan_migration
from plansguard.migration.source_dataset import giving_dataset, names_a_path
from plansguard.nnunet import plans_diff, printed_commands
from plansguard.nnunet.workspace import DATASET_NAME
from plansguard.records.migration import DERIVE, MigrationRecord
from plansguard.rules import RULES
from plansguard.rules.engine.acceptance import accept
from plansguard.rules.engine.run import run_rules
from plansguard.subjects.pair import DatasetPair
from plansguard.subjects.request import Request
from plansguard.subjects.road import RoadStep, StepState

_UNPROVEN, _HEAD_LEFT_OUT = "direction-unproven", "head-starts-anew"
#: The facets that a reader, or the plans that a graft changes, decide: all but names.
_DECIDED = ("weights", "input", "training")


def migration_step(
    context: Context, side: Side, source: str, source_plans: str | None, *, onto: str | None = None
) -> tuple[RoadStep, Migration | None]:
    """Move the plans of ``source`` to ``side``, which has them from then on.

    ``onto`` are the plans that a graft changes, where they were named. The migration is None where the plans to move
    are still to be made.
    """
    request = context.request
    of_graft = request.onto if request.workflow == "graft" else None
    giver = printed_commands.source(source) if DATASET_NAME.fullmatch(source) else source
    command = partial(
        printed_commands.migrate,
        *(giver, side.dataset.name, side.plans),
        plans=source_plans,
        workflow=request.workflow,
        reader=request.reader,
        onto=of_graft,
        configuration=request.configuration,
    )
    path = side.dataset.folder / f"{side.plans}.json"
    step = RoadStep(
        "migrate", StepState.NEEDED, f"there is no {path.name}", command(options=context.judging), writes=(path,)
    )
    if side.unplanned:
        report = context.add(_before_planning(context, side, source, source_plans))
        if blocked := blocked_by(report):
            step = replace(step, state=StepState.BLOCKED, because=blocked)
        return replace(step, unjudged=side.unplanned), None
    asked = MigrationRequest(
        *(source, side.dataset.name, side.plans, source_plans, request.workflow),
        reader=request.reader,
        onto=of_graft,
        configurations=() if _was_added(side, request.configuration) else (request.configuration,),
        accepted=tuple(request.accepted),
    )
    settings = request.settings(side.dataset.folder)
    migration = plan_migration(context.workspace, asked, settings, side.dataset)
    cause = _change_of_source(migration)
    chosen = onto is not None or request.reader is not None
    if _is_made(migration, side, as_written=request.configuration if chosen else None):
        derived = ", and what was derived since" if _is_derived(migration) else ""
        because = f"{side.plans}{MIGRATION_RECORD_ENDING} records it{derived}"
        return replace(step, state=StepState.DONE, because=because), migration
    if cause:
        asked = replace(asked, force=True, configurations=(request.configuration,))
        migration = plan_migration(context.workspace, asked, settings, side.dataset)
        step = replace(step, because=cause, command=command(options=[*context.judging, "--force"]))
        side.replaces_plans = True
    context.add(_within_road(migration.report, request))
    side.dataset = replace(migration.pair.receiving, request=Request())
    if blocked := blocked_by(migration.report):
        return replace(step, state=StepState.BLOCKED, because=blocked), migration
    return replace(step, state=StepState.STALE if cause else StepState.NEEDED), migration


def _before_planning(context: Context, side: Side, source: str, source_plans: str | None) -> Report:
    """What both datasets show about the migration before its plans are made."""
    workspace, request = context.workspace, context.request
    if names_a_path(workspace, source):
        giving, _ = giving_dataset(workspace, source, source_plans, request.workflow)
    else:
        giving = receiving_dataset(workspace, source)  # there may be nothing but raw data
    report = run_rules(
        "finetune",
        (giving.name, side.dataset.name),
        (),
        pair=DatasetPair(giving, side.dataset, configurations=(request.configuration,)),
        settings=request.settings(side.dataset.folder),
        rules=[rule for rule in RULES if "datasets" in rule.needs],
    )
    return accept(report, request.accepted)


def _was_added(side: Side, configuration: str) -> bool:
    """Whether the plans that are there have the configuration, and those that were migrated did not."""
    present = next((plans for plans in side.dataset.plans if plans.identifier == side.plans), None)
    record = None if present is None else side.dataset.brought_by(present)
    if present is None or record is None or configuration in record.migrated["configurations"]:
        return False
    return configuration in (one.name for one in present.configurations)


def _within_road(report: Report, request: RoadRequest) -> Report:
    """The report of a migration without what the trainings of the road decide.

    These are the direction, where they make the weights, and whether the segmentation layers are loaded.
    """
    decided = [_UNPROVEN] * (request.pretraining is not None) + [_HEAD_LEFT_OUT] * request.schedule.keep_head
    return replace(report, findings=tuple(one for one in report.findings if one.name not in decided))


def _is_made(migration: Migration, side: Side, *, as_written: str | None) -> bool:
    """Whether the plans are there from the same plans by the same workflow, edited or derived since or not.

    The configuration ``as_written`` has to be what would be written now: a record has neither the reader that was asked
    for, nor the plans that a graft changes.
    """
    pair = migration.pair
    present = next((plans for plans in side.dataset.plans if plans.identifier == side.plans), None)
    made = None if present is None else side.dataset.brought_by(present)
    if not migration.writes or made is None:
        return not migration.writes
    if as_written and plans_diff.edited_fields(made.migrated, pair.result.value, _DECIDED, as_written):
        return False
    return _is_of_source(made, migration)


def _is_of_source(made: MigrationRecord, migration: Migration) -> bool:
    pair = migration.pair
    return made.matches(pair.plans.document.raw, pair.plans.identifier, pair.workflow)


def _is_derived(migration: Migration) -> bool:
    made = migration.pair.replaced
    return made is not None and made.workflow == DERIVE


def _change_of_source(migration: Migration) -> str:
    """Why plans that came from the same place are no longer those that would be written; empty if they did not."""
    pair, made = migration.pair, migration.pair.replaced
    if made is None or made.workflow != pair.workflow or made.giving != pair.giving.name:
        return ""
    if _is_of_source(made, migration):
        return ""  # another reader, or other plans that are grafted
    origin = made.value["from"]
    return f"{origin['plans']} of {made.giving} changed since" if origin["plans"] == pair.plans.identifier else ""
