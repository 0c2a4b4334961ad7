"""PG40x: migrated plans that were edited or not used, and results of other plans."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from plansguard.core import disk
from plansguard.core.errors import Absent
from plansguard.core.report import Location, Severity
from plansguard.core.text import both, differ, exact
from plansguard.documents.file_names import MIGRATION_RECORD_ENDING, MODEL_PLANS
from plansguard.documents.json_document import pointer
from plansguard.nnunet import plans_diff
from plansguard.nnunet.workspace import TrainedModel
from plansguard.records.migration import DERIVE, MigrationRecord
from plansguard.rules.engine.declare import Found, found, rule
from plansguard.rules.engine.helpers import narrowed, trained_otherwise
from plansguard.subjects.dataset import Dataset
from plansguard.subjects.plans import Plans
from plansguard.subjects.trained_models import differing_fields

_EDITED = "{field} was edited after {event}"
_THEN = "{then} when {made} from {origin}"
_DERIVED = "nothing, if it is meant; plansguard derive makes such edits with what follows from them, and records them"


@rule(
    "PG401",
    Severity.ERROR,
    message=_EDITED,
    mark=_THEN,
    fix="set it back to {back}, or keep the edit under another plans name and without these weights",
)
def migrated_weights_field_edited(dataset: Dataset, plans: Plans, migration_record: MigrationRecord) -> Iterator[Found]:
    """A field that decides whether weights load was edited after the migration.

    What it checks: topology, features, kernels, strides and every other argument of the network are those that
    `plansguard migrate` or `plansguard derive` wrote, as the migration record beside the plans
    (`<identifier>.plansguard.json`) keeps them. For information only in plans that were derived from the dataset's own:
    they are for no weights.

    Why it matters: nnU-Net stops at the first parameter whose shape differs; where shapes agree, it silently trains
    another network. The plans were moved so that the weights fit.

    How to fix: undo the edit. For another network, copy the plans under a new name and train without these weights.

    Example: `strides` of the last stage changed from `[2, 2, 2]` to `[1, 2, 2]` to allow a flatter patch.

    Evidence: MV-01; AR-01; nnU-Net issues 2760, 2775.
    """
    yield from _edits(dataset, plans, migration_record, "weights")


@rule(
    "PG402",
    Severity.ERROR,
    message=_EDITED,
    mark=_THEN,
    fix="set it back to {back}, or keep the edit under another plans name and preprocess again",
)
def migrated_input_field_edited(dataset: Dataset, plans: Plans, migration_record: MigrationRecord) -> Iterator[Found]:
    """A field that decides what preprocessing writes was edited after the migration.

    What it checks: spacing, normalization, intensity properties, transposes, resampling and reader are as migrated. For
    information only in plans that were derived from the dataset's own.

    Why it matters: the weights expect the input of their training, and nnU-Net compares neither spacing nor
    normalization. Existing data keep the old values, prediction uses the new ones: one edit, three silent mismatches.

    How to fix: undo the edit, or copy the plans under a new name with their own data identifiers and preprocess again.

    Example: `spacing` changed from `[2.5, 0.8, 0.8]` to `[1.0, 1.0, 1.0]` a week after the move.

    Evidence: MV-01; PP-02, AR-06; nnU-Net issues 1707, 2592, 2878.
    """
    yield from _edits(dataset, plans, migration_record, "input")


@rule(
    "PG403",
    Severity.WARNING,
    message=_EDITED,
    mark=_THEN,
    fix="set it back to {back}, or accept the edit with a reason in plansguard.json",
)
def migrated_training_field_edited(
    dataset: Dataset, plans: Plans, migration_record: MigrationRecord
) -> Iterator[Found]:
    """A field that decides how training samples was edited after the migration.

    What it checks: patch size, batch size and batch dice of the configurations that were migrated are those that
    `plansguard migrate` wrote. Configurations that were added afterwards are no edits, whatever they inherit. For
    information only in plans that were derived from the dataset's own.

    Why it matters: nothing warns, and the training cannot be compared with others that use these plans. The weights
    load and the data stay valid, but the patches are of another size than in pretraining.

    How to fix: undo the edit, or copy the plans under a new name (nnU-Net's own advice), or accept it with a reason.

    Example: `patch_size` halved to fit a smaller GPU.

    Evidence: MV-01; PL-11, PP-12; nnU-Net issues 2339, 2878.
    """
    yield from _edits(dataset, plans, migration_record, "training")


def _edits(dataset: Dataset, plans: Plans, migration_record: MigrationRecord, facet: str) -> Iterator[Found]:
    """Yield one finding for each edited field of a facet, at the configuration that wrote it."""
    record = str(plans.path.with_name(plans.identifier + MIGRATION_RECORD_ENDING))
    is_derived, is_own = migration_record.workflow == DERIVE, dataset.brought_by(plans) is None
    for change, at in _edited_places(dataset, plans, migration_record):
        if change.field.facet == facet:
            keys, before, after = narrowed(change.before, change.after)
            then, now = both(before, after)
            yield found(
                at._replace(pointer=at.pointer + pointer(*keys)),
                severity=Severity.INFO if is_own else None,
                fix=_DERIVED if is_own else None,
                related=[
                    (Location(record, f"/migrated{at.pointer}"), f"what was {'derived' if is_derived else 'migrated'}")
                ],
                changed=[at],
                field=str(change.field),
                then=then,
                back=exact(before),
                now=now,
                event="the plans were derived" if is_derived else "the migration",
                made="derived" if is_derived else "migrated",
                origin=migration_record.value["from"]["plans"] if is_derived else migration_record.giving,
            )


def _edited_places(
    dataset: Dataset, plans: Plans, migration_record: MigrationRecord
) -> Iterator[tuple[plans_diff.Change, Location]]:
    """Yield the edits that concern the requested configurations, and where they are written.

    An edit that others inherit is reported where it is written, unless only one of those others was requested.
    """
    changes = list(plans_diff.edited_since_migration(migration_record.migrated, plans.value))
    edited = {change.field for change in changes}
    present = {configuration.name: configuration for configuration in plans.configurations}
    requested = dataset.request.configuration
    for change in changes:
        field, tokens = change.field, change.field.key.split(".")
        if field.configuration is None:
            yield change, plans.at(*tokens)
        elif field.configuration in present:
            configuration = present[field.configuration]
            origin = plans_diff.Field(configuration.origin(tokens[0]), field.key)
            elsewhere = origin != field and origin in edited
            if requested == field.configuration or (requested is None and not elsewhere):
                yield change, configuration.at(*tokens)


@rule(
    "PG404",
    Severity.WARNING,
    message="{model} was trained with other plans: {difference}",
    fix="to continue that training, put its plans.json in place of these; for a new one, rename these plans",
    follows=("PG401", "PG402", "PG403", "PG404"),
)
def results_from_other_plans(plans: Plans, trained: tuple[TrainedModel, ...]) -> Iterator[Found]:
    """Results under this plans name were trained with other plans.

    What it checks: for every model in `nnUNet_results` whose folder carries the name of these plans, nnU-Net's copy of
    the plans in it agrees with them in the network, input and training fields of the model's configuration.

    Why it matters: a new training overwrites the old results, and `--c` continues with the new plans and stores the old
    ones. Planning again, a move or an edit changed the plans, but not the folder's name. A prediction with the old
    model and the new data is wrong. nnU-Net warns in none of these cases. Planning again also keeps configurations that
    were added by hand, so that one file can mix two fingerprints: the comparison shows that too.

    How to fix: give the changed plans a new name (file, `plans_name` and data identifiers), or restore the old ones.

    Example: `nnUNetv2_plan_experiment` was run again after ten cases were added.

    Evidence: MV-04, MV-14, PL-11; nnU-Net issues 1650, 2822.
    """
    named = [model for model in trained if model.plans_name == plans.value.get("plans_name")]
    models = [model for model in named if model.configuration in plans.written]
    yield from trained_otherwise(plans.at(), models, plans, ("weights", "input", "training"))


@rule(
    "PG405",
    Severity.WARNING,
    message="{model} {what} without these migrated plans",
    fix="{remedy}",
)
def trained_without_migrated_plans(
    dataset: Dataset, plans: Plans, migration_record: MigrationRecord, trained: tuple[TrainedModel, ...]
) -> Iterator[Found]:
    """A training was started without `-p` after plans had been migrated.

    What it checks: where plans were migrated for fine-tuning and no model was trained with them, whether another model
    of the dataset was fine-tuned from the weights that they were migrated for, with plans of another network or input.
    Its training record names the weights. A training that has no such record is reported for information if nnU-Net's
    own logs say that it was started after the migration, and the weights would load into its network. A training whose
    record names no weights, or others, or whose plans were migrated as well, is not reported; times of files are no
    evidence. Plans whose migration record was removed are not known as migrated: PG311 reports them. Plans that were
    derived from migrated ones are not reported: these are.

    Why it matters: the default plans train: another network refuses the weights, else spacing and normalization are
    silently wrong. Every version of nnU-Net's own instructions leaves `-p` out of the last command.

    How to fix: start the training again with `-p` and the name of the migrated plans. A training from random weights,
    for comparison, is as it should be.

    Example: `nnUNetv2_train 2 3d_fullres 0 -pretrained_weights ...` after `plansguard migrate ... -tp PretrainPlans`.

    Evidence: MV-13; nnU-Net issues 2089, 2195, 2760.
    """
    from plansguard.records.training import recorded_weights  # rarely needed

    is_used = any(model.plans_name == plans.identifier for model in trained)
    if is_used or migration_record.workflow in ("pretrain", DERIVE):
        return
    since, giving = _time_of(migration_record), migration_record.giving
    migrated = {other.identifier for other in dataset.plans if dataset.migrated_with(other)}
    for model in (model for model in trained if model.plans_name not in migrated):
        fields, weights = differing_fields(model, plans, ("weights", "input")), recorded_weights(model.folder)
        proven = any(_is_for(migration_record, path) for path in weights or ())
        possible = (
            weights is None and (model.started or 0.0) > since and not differing_fields(model, plans, ["weights"])
        )
        if fields and (proven or possible):
            yield found(
                plans.at(),
                severity=None if proven else Severity.INFO,
                related=[_its_plans(model, fields)],
                model=model.folder.name,
                what=f"was fine-tuned from weights of {giving}" if proven else "was started after the migration",
                used=model.plans_name,
                fields=fields,
                remedy=_with_weights(dataset, plans, model, proven=proven),
            )


def _its_plans(model: TrainedModel, fields: list[str]) -> tuple[Location, str]:
    return Location(str(model.folder / MODEL_PLANS)), f"its plans, {model.plans_name}: {differ(fields)}"


def _time_of(record: MigrationRecord) -> float:
    """Seconds since 1970; Absent for a damaged time."""
    from datetime import datetime

    try:
        return datetime.fromisoformat(record.created).timestamp()
    except ValueError as error:
        raise Absent("the migration record contains no time of the migration") from error


def _is_for(record: MigrationRecord, weights: str) -> bool:
    """Whether the plans were migrated for the weights at this path."""
    origin, parts = record.value["from"], Path(weights).parts
    models = [part.split("__") for part in parts if part.count("__") == 2]
    trained_there = record.giving in parts and any(plans == origin["plans"] for _, plans, _ in models)
    return trained_there or disk.real(weights) == disk.real(origin["path"])


def _with_weights(dataset: Dataset, plans: Plans, model: TrainedModel, *, proven: bool) -> str:
    """How to fine-tune with the migrated plans."""
    from plansguard.nnunet.printed_commands import CHECKPOINT
    from plansguard.subjects.pretraining import Pretraining, pretraining_of, usual_fold

    weights = pretraining_of(dataset, plans, model.configuration) or Pretraining(CHECKPOINT)
    training = weights.in_one_line(dataset, plans, model.configuration, usual_fold(dataset), dataset.request.device)
    wanted = f"train with the migrated plans{training}"
    return wanted if proven else f"nothing, if no weights are meant; else {wanted}"
