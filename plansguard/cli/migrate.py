"""``plansguard migrate``."""

from __future__ import annotations

import shlex
from enum import Enum
from typing import TYPE_CHECKING, Annotated

import typer

from plansguard.cli.common_options import Outputs, SettingsFile, emit, load_settings, parse_outputs
from plansguard.core.errors import UsageError
from plansguard.core.report import Severity
from plansguard.nnunet.workspace import Workspace
from plansguard.render import printable

if TYPE_CHECKING:
    from plansguard.migration.plan import Migration


class Workflow(str, Enum):
    """Why plans are moved."""

    FINETUNE = "finetune"
    PRETRAIN = "pretrain"
    GRAFT = "graft"


def migrate(
    target: Annotated[str, typer.Option("-t", metavar="DATASET", help="The dataset that the plans go to: id or name.")],
    source: Annotated[
        str | None,
        typer.Option(
            "-s",
            metavar="DATASET|PATH",
            help="Where the plans come from: the id or name of a dataset, or the path of a plans file, a checkpoint, a "
            "model folder or an exported model zip, which need not be in the workspace.",
        ),
    ] = None,
    source_plans: Annotated[
        str | None,
        typer.Option(
            "-sp",
            metavar="IDENTIFIER",
            help="The plans to move. Default: the only ones there are, else nnUNetPlans. Of models with different "
            "plans of one name: the model's folder name or configuration.",
        ),
    ] = None,
    target_plans: Annotated[
        str | None, typer.Option("-tp", metavar="IDENTIFIER", help="The name they get in the receiving dataset.")
    ] = None,
    workflow: Annotated[
        Workflow,
        typer.Option(
            help="finetune: weights exist, their plans go to the fine-tuning dataset. pretrain: the fine-tuning "
            "dataset's plans go to the dataset to be pretrained. graft: only network and patch size come over."
        ),
    ] = Workflow.FINETUNE,
    onto: Annotated[
        str | None,
        typer.Option(metavar="IDENTIFIER", help="graft only: the receiving dataset's own plans that keep the rest."),
    ] = None,
    reader: Annotated[
        str | None, typer.Option(metavar="CLASS", help="The image reader, where it cannot be known (tif), or is wrong.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show everything, write nothing.")] = False,
    force: Annotated[
        bool,
        typer.Option(
            "--force",
            help="Replace other plans of that name; a backup is kept beside them. With --undo: although the plans were "
            "edited since, or trained with.",
        ),
    ] = False,
    undo: Annotated[
        bool, typer.Option("--undo", help="Take the last migration into -t back (with -tp: the last to that name).")
    ] = False,
    output: Outputs = [],  # noqa: B006 - typer copies it
    settings: SettingsFile = None,
) -> None:
    """Move plans to a dataset under a new name, in the right direction: from another dataset, or from trained weights.

    The written plans are those of nnUNetv2_move_plans_between_datasets, byte for byte; a record beside them lets
    `plansguard check` see later edits. Exit code: 0 done, 1 refused (nothing is written), 2 the command is wrong.
    """
    workspace = Workspace.from_environment()
    if undo:
        if source is not None or dry_run:
            which = "" if target_plans is None else f" -tp {shlex.quote(target_plans)}"
            hint = f"plansguard migrate -t {shlex.quote(target)}{which} --undo"
            raise UsageError("--undo takes only -t, -tp and --force", hint=hint)
        _undo(workspace, target, target_plans, force=force)
        return
    if onto is not None and workflow is not Workflow.GRAFT:
        raise UsageError("--onto is for --workflow graft", hint="leave it out: the other workflows take plans whole")
    if reader is not None and workflow is Workflow.GRAFT:
        raise UsageError("a graft keeps the reader of the dataset's own plans", hint="leave --reader out")
    if source is None or target_plans is None:
        raise UsageError("a migration needs -s and -tp", hint="plansguard migrate -s 1 -t 2 -tp PretrainPlans")
    from plansguard.migration.apply import migrate as run_migrate
    from plansguard.migration.plan import MigrationRequest, plan

    outputs = parse_outputs(output)
    order = MigrationRequest(source, target, target_plans, source_plans, workflow.value, reader, onto, force)
    active = load_settings(settings, [workspace.preprocessed_folder(workspace.dataset_name(target))])
    migration = plan(workspace, order, active) if dry_run else run_migrate(workspace, order, active)
    refused = migration.report.fails(Severity.ERROR)
    on_screen = any(name == "text" and path is None for name, path in outputs)
    if on_screen:
        _say_before(migration)
    emit(migration.report, outputs)
    if on_screen:
        _say_after(migration, refused=refused, dry_run=dry_run)
    raise typer.Exit(migration.report.exit_code())


def _undo(workspace: Workspace, target: str, identifier: str | None, *, force: bool) -> None:
    from plansguard.migration.apply import undo

    undone = undo(workspace, target, identifier, force=force)
    typer.echo(f"The migration of {undone.plans} into {undone.dataset} is taken back:")
    for step in undone.steps:
        typer.echo(f"  {step}")


def _say_before(migration: Migration) -> None:
    from plansguard.migration.messages import sentence

    typer.echo(f"{printable(sentence(migration.pair))}\n")


def _say_after(migration: Migration, *, refused: bool, dry_run: bool) -> None:
    from plansguard.migration.messages import next_commands

    if refused:
        typer.echo("\nNothing was written. A finding that is meant can be accepted with a reason in plansguard.json.")
        return
    typer.echo("")
    if not migration.writes:
        typer.echo("This very migration has been made already: nothing to do.")
    for write in migration.writes:
        typer.echo(f"{'would write' if dry_run else 'wrote'} {write.path} ({write.what})")
    typer.echo(f"image reader: {migration.reader.name} ({migration.reader.because})")
    typer.echo("\nNext, after the same without --dry-run:" if dry_run and migration.writes else "\nNext:")
    for command in next_commands(migration):
        typer.echo(f"  {printable(command)}")
