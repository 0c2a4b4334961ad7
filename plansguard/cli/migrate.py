"""``plansguard migrate``."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Annotated

import typer
from typer import Option

from plansguard.cli.common_options import (
    Outputs,
    OutputTargets,
    Quiet,
    SettingsFile,
    Verbose,
    emit,
    is_typed,
    load_settings,
    page,
    parse_outputs,
    print_line,
    print_next,
    print_wrapped,
)
from plansguard.cli.progress_bar import progress_bar
from plansguard.cli.written_plans import (
    accepted_findings,
    apart,
    output_after,
    print_not_written,
    print_writes,
    was_written,
)
from plansguard.core.errors import UsageError
from plansguard.core.report import Severity
from plansguard.nnunet import printed_commands
from plansguard.nnunet.workspace import Workspace

if TYPE_CHECKING:
    from plansguard.migration.plan import Migration


class Workflow(str, Enum):
    """Why plans are moved."""

    FINETUNE = "finetune"
    PRETRAIN = "pretrain"
    GRAFT = "graft"


Source = Annotated[
    str | None,
    Option(
        "-s",
        metavar="DATASET|PATH",
        help="Where the plans come from; required without --undo. The id or name of a dataset, or the path of a plans "
        "file, a checkpoint, a model folder or an exported model zip, which need not be in the workspace.",
    ),
]
SourcePlans = Annotated[
    str | None,
    Option(
        "-sp",
        metavar="IDENTIFIER",
        help="The plans to move. Default: the only ones present, else nnUNetPlans. Of models with different "
        "plans of one name: the model's folder name or configuration.",
    ),
]
TargetPlans = Annotated[
    str | None, Option("-tp", metavar="IDENTIFIER", help="Their new name; required without --undo.")
]
WorkflowOption = Annotated[
    Workflow,
    Option(
        "--workflow",
        help="finetune: weights exist, their plans go to the fine-tuning dataset. pretrain: the fine-tuning "
        "dataset's plans go to the dataset to be pretrained. graft: only network and patch size are taken over.",
    ),
]
Onto = Annotated[
    str | None, Option(metavar="IDENTIFIER", help="graft only: the receiving dataset's own plans that keep the rest.")
]
ReaderClass = Annotated[
    str | None, Option(metavar="CLASS", help="The image reader, where it is unknown (tif), or wrong.")
]
Force = Annotated[
    bool,
    Option(
        "--force",
        help="Replace other plans of that name; a backup is kept beside them. With --undo: undo even if the "
        "plans were edited since, or used in a training.",
    ),
]
Undo = Annotated[
    bool, Option("--undo", help="Undo the last migration into -t (with -tp: the last to that name). Copies are kept.")
]
Configurations = Annotated[
    list[str] | None,
    Option("-c", metavar="CONFIGURATION", help="Judge and name only this one; all are written. Repeatable."),
]
Accept = Annotated[
    list[str],
    Option("--accept", metavar="CODE", help="Migrate despite this finding; needs --because. Repeatable, in pairs."),
]
Because = Annotated[
    list[str], Option("--because", metavar="REASON", help="Why it is accepted; the migration record keeps the reason.")
]


#: Parameters that --undo takes.
_OF_UNDO = {"target", "target_plans", "force", "undo"}


def migrate(
    context: typer.Context,
    target: Annotated[str, Option("-t", metavar="DATASET", help="The dataset that the plans go to: id or name.")],
    source: Source = None,
    source_plans: SourcePlans = None,
    target_plans: TargetPlans = None,
    workflow: WorkflowOption = Workflow.FINETUNE,
    onto: Onto = None,
    reader: ReaderClass = None,
    configuration: Configurations = None,
    accept: Accept = [],  # noqa: B006 - typer copies it
    because: Because = [],  # noqa: B006
    dry_run: Annotated[bool, Option("--dry-run", help="Show everything, write nothing.")] = False,
    force: Force = False,
    undo: Undo = False,
    output: Outputs = [],  # noqa: B006
    settings: SettingsFile = None,
    verbose: Verbose = False,
    quiet: Quiet = False,
) -> None:
    """Move plans to another dataset, in the right direction.

    They come from a dataset or from trained weights. The written plans are those of nnU-Net's own move, byte for byte;
    a migration record beside them shows later edits. Exit code: 0 done, 1 refused, 2 the command is wrong.

    Examples:
        plansguard migrate -s 1 -t 2 -tp PretrainPlans --dry-run
        plansguard migrate -s checkpoint_final.pth -t 2 -tp PretrainPlans
        plansguard migrate -t 2 -tp PretrainPlans --undo
    """
    workspace = Workspace.from_environment()
    if undo:
        _undo(context, workspace, target, target_plans, force=force)
        return
    if onto is not None and workflow is not Workflow.GRAFT:
        raise UsageError("--onto is for --workflow graft", hint="leave it out: the other workflows take plans whole")
    if reader is not None and workflow is Workflow.GRAFT:
        raise UsageError("a graft keeps the reader of the dataset's own plans", hint="leave --reader out")
    if source is None or target_plans is None:
        raise _incomplete(source, target_plans)
    from plansguard.migration.apply import migrate as run_migrate
    from plansguard.migration.plan import MigrationRequest, plan

    folder = workspace.preprocessed_folder(workspace.dataset_name(target))
    outputs = apart(parse_outputs(output, verbose=verbose, quiet=quiet), folder, target_plans)
    request = MigrationRequest(
        *(source, target, target_plans, source_plans, workflow.value, reader, onto, force),
        configurations=tuple(configuration or ()),
        accepted=tuple(accepted_findings(accept, because)),
    )
    active = load_settings(settings, [folder])
    with progress_bar("judging the migration"):
        migration = plan(workspace, request, active) if dry_run else run_migrate(workspace, request, active)
    _show(migration, outputs, dry_run=dry_run)
    raise typer.Exit(migration.report.exit_code())


def _incomplete(source: str | None, target_plans: str | None) -> UsageError:
    missing = [option for option, value in (("-s", source), ("-tp", target_plans)) if value is None]
    hint = printed_commands.migrate("1", "2", "PretrainPlans")
    return UsageError(f"a migration needs {' and '.join(missing)}", hint=hint)


def _undo(context: typer.Context, workspace: Workspace, target: str, identifier: str | None, *, force: bool) -> None:
    """Undo the last migration; UsageError where an option is typed that an undo does not have."""
    from plansguard.migration.undo import undo

    if any(is_typed(context, name) for name in {*context.params} - _OF_UNDO):
        hint = printed_commands.undo(target, identifier)
        raise UsageError("--undo takes only -t, -tp and --force", hint=hint)
    undone = undo(workspace, target, identifier, force=force)
    with output_after(f"the {undone.what} was undone"):
        print_line(f"The {undone.what} is undone:")
        for step in undone.steps:
            print_line(f"  {step}")


def _show(migration: Migration, outputs: OutputTargets, *, dry_run: bool) -> None:
    done = "" if dry_run or not was_written(migration) else f"the plans were written: {migration.pair.result.path}"
    with output_after(done):
        if outputs.text_on_screen:
            _print_before(migration)
        emit(migration.report, outputs, page("migration", migration, dry_run=dry_run))
        if outputs.text_on_screen:
            _print_after(migration, dry_run=dry_run)


def _print_before(migration: Migration) -> None:
    from plansguard.migration.messages import opening

    for line in opening(migration.pair):
        print_wrapped(line, hanging=6)
    typer.echo("")


def _print_after(migration: Migration, *, dry_run: bool) -> None:
    from plansguard.migration.messages import left_out, next_commands, next_title

    if migration.report.fails(Severity.ERROR):
        print_not_written(migration.report)
        return
    typer.echo("")
    if not migration.writes:
        typer.echo("This migration has been made already: nothing to do.")
    print_writes(migration, dry_run=dry_run)
    typer.echo(f"image reader: {migration.reader.name} ({migration.reader.because})")
    for line in left_out(migration.pair):
        print_wrapped(line, hanging=2)
    print_next(next_commands(migration), next_title(migration, dry_run=dry_run))
