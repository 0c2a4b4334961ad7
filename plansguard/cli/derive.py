"""``plansguard derive``."""

from __future__ import annotations

import re
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from typer import Argument, Option

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
    from plansguard.migration.derive import Derivation

_MEMORY = re.compile(r"(\d{1,4}(?:\.\d{1,3})?) ?(?:gb?)?", re.IGNORECASE)
#: GB of GPU memory that planners are asked for.
_LEAST, _MOST = 1, 1024


class NetworkTreatment(str, Enum):
    """What becomes of the network of a configuration with another patch or spacing."""

    FOLLOW = "follow"
    KEEP = "keep"


File = Annotated[
    Path | None,
    Argument(metavar="[PLANS_FILE]", show_default=False, help="A plans file anywhere, in place of -d and -p."),
]
DatasetOption = Annotated[
    str | None, Option("-d", metavar="DATASET", help="The dataset whose plans are changed: id or name.")
]
PlansOption = Annotated[
    str | None,
    Option("-p", metavar="IDENTIFIER", help="The plans to start from. Default: the only ones, else nnUNetPlans."),
]
TargetPlans = Annotated[str, Option("-tp", metavar="IDENTIFIER", help="The name of the new plans.")]
Fields = Annotated[
    list[str],
    Option(
        "--set",
        metavar="PATH=VALUE",
        help="A field and its new value, as JSON or one word: '3d_fullres.patch_size=[96,160,160]', "
        "3d_fullres.normalization_schemes.0=ZScoreNormalization. Quotes keep a shell from reading [ and ]. Repeatable.",
    ),
]
Like = Annotated[
    str | None,
    Option(
        metavar="CONFIGURATION",
        help="The configurations of --set that the plans do not have are made, and inherit from this one.",
    ),
]
FitMemory = Annotated[
    str | None,
    Option(
        metavar="GB", help="Let nnU-Net's planner, the one that the plans name, plan for a GPU of so many GB: 24GB."
    ),
]
Fitted = Annotated[
    list[str] | None,
    Option("-c", metavar="CONFIGURATION", help="--fit-memory only for this one, not for all. Repeatable."),
]
NetworkOption = Annotated[
    NetworkTreatment | None,
    Option(
        "--network",
        help="follow: stages and strides are made again for another patch or spacing, as nnU-Net plans them. keep: "
        "they stay, so that weights load. Default: follow; keep for plans that were migrated.",
    ),
]
Force = Annotated[
    bool,
    Option(
        "--force",
        help="Replace other plans of that name; a backup is kept beside them. With --undo: undo even if the plans were "
        "edited since, or used in a training.",
    ),
]
Undo = Annotated[bool, Option("--undo", help="Undo the derivation of the plans that -tp names. Copies are kept.")]
Accept = Annotated[
    list[str],
    Option("--accept", metavar="CODE", help="Derive despite this finding; needs --because. Repeatable, in pairs."),
]
Because = Annotated[
    list[str], Option("--because", metavar="REASON", help="Why it is accepted; the migration record keeps the reason.")
]

#: Parameters that --undo takes.
_OF_UNDO = {"file", "dataset", "target_plans", "force", "undo"}


def derive(
    context: typer.Context,
    target_plans: TargetPlans,
    file: File = None,
    dataset: DatasetOption = None,
    plans: PlansOption = None,
    fields: Fields = [],  # noqa: B006 - typer copies it
    like: Like = None,
    fit_memory: FitMemory = None,
    configuration: Fitted = None,
    network: NetworkOption = None,
    accept: Accept = [],  # noqa: B006
    because: Because = [],  # noqa: B006
    dry_run: Annotated[bool, Option("--dry-run", help="Show everything, write nothing.")] = False,
    force: Force = False,
    undo: Undo = False,
    output: Outputs = [],  # noqa: B006
    settings: SettingsFile = None,
    verbose: Verbose = False,
    quiet: Quiet = False,
) -> None:
    """Change fields of plans under a new name, and what follows.

    The plans before stay as they are. Network, data folder and other fields follow from what is set, all rules judge
    the result before it is written, and a migration record beside it keeps what was set. Exit code: 0 done, 1 refused,
    2 the command is wrong.

    Examples:
        plansguard derive -d 2 -tp Batch4 --set 3d_fullres.batch_size=4 --dry-run
        plansguard derive -d 2 -tp WithSmall --set 3d_small.batch_size=4 --like 3d_fullres
        plansguard derive nnUNetPlans.json -tp OtherReader --set image_reader_writer=NibabelIO
    """
    _assert_one_source(file, dataset, plans)
    workspace = Workspace.from_environment()
    if undo:
        _undo(context, workspace, dataset, file, target_plans, force=force)
        return
    from plansguard.migration.apply import derive as run_derive
    from plansguard.migration.derive import DerivationRequest, plan, source_dataset

    folder = source_dataset(workspace, dataset, file).folder
    outputs = apart(parse_outputs(output, verbose=verbose, quiet=quiet), folder, target_plans)
    request = DerivationRequest(
        *(dataset, target_plans, plans, file, tuple(fields), like),
        fit_memory=None if fit_memory is None else _gigabytes(fit_memory),
        fitted=tuple(configuration or ()),
        network=None if network is None else network.value,
        force=force,
        accepted=tuple(accepted_findings(accept, because)),
    )
    active = load_settings(settings, [folder])
    with progress_bar("judging the new plans"):
        derivation = plan(workspace, request, active) if dry_run else run_derive(workspace, request, active)
    _show(derivation, outputs, dry_run=dry_run)
    raise typer.Exit(derivation.report.exit_code())


def _assert_one_source(file: Path | None, dataset: str | None, plans: str | None) -> None:
    """Raise UsageError unless either a dataset or a file is named."""
    if file is not None and (dataset is not None or plans is not None):
        raise UsageError("a plans file stands in place of -d and -p", hint="leave one of the two out")
    if file is None and dataset is None:
        raise UsageError("no plans are named", hint=printed_commands.derive("2"))


def _gigabytes(text: str) -> float:
    """``24GB`` as 24.0; UsageError for what is no memory of a GPU."""
    match = _MEMORY.fullmatch(text.strip())
    if match is None or not _LEAST <= float(match[1]) <= _MOST:
        raise UsageError(
            f"--fit-memory {text} is no memory of a GPU", hint=f"{_LEAST} to {_MOST} in GB, such as --fit-memory 24GB"
        )
    return float(match[1])


def _undo(
    context: typer.Context,
    workspace: Workspace,
    dataset: str | None,
    file: Path | None,
    identifier: str,
    *,
    force: bool,
) -> None:
    """Undo a derivation; UsageError where an option is typed that an undo does not have."""
    from plansguard.migration.derive import source_dataset
    from plansguard.migration.undo import undo_in

    if any(is_typed(context, name) for name in {*context.params} - _OF_UNDO):
        hint = printed_commands.undo_derivation(dataset, identifier, file)
        raise UsageError("--undo takes only -d or a file, -tp and --force", hint=hint)
    undone = undo_in(source_dataset(workspace, dataset, file), identifier, force=force)
    with output_after(f"the {undone.what} was undone"):
        print_line(f"The {undone.what} is undone:")
        for step in undone.steps:
            print_line(f"  {step}")


def _show(derivation: Derivation, outputs: OutputTargets, *, dry_run: bool) -> None:
    done = "" if dry_run or not was_written(derivation) else f"the plans were written: {derivation.pair.result.path}"
    with output_after(done):
        if outputs.text_on_screen:
            _print_before(derivation)
        emit(derivation.report, outputs, page("derivation", derivation, dry_run=dry_run))
        if outputs.text_on_screen:
            _print_after(derivation, dry_run=dry_run)


def _print_before(derivation: Derivation) -> None:
    from plansguard.migration.derive_messages import opening, table

    for line in opening(derivation):
        print_wrapped(line, hanging=6)
    typer.echo("")
    for line in table(derivation):
        print_wrapped(line, hanging=9)
    typer.echo("")


def _print_after(derivation: Derivation, *, dry_run: bool) -> None:
    from plansguard.migration.derive_messages import next_commands
    from plansguard.migration.messages import next_title

    if derivation.report.fails(Severity.ERROR):
        print_not_written(derivation.report)
        return
    typer.echo("")
    if not derivation.writes:
        typer.echo("These plans have been derived already: nothing to do.")
    print_writes(derivation, dry_run=dry_run)
    print_next(next_commands(derivation), next_title(derivation, dry_run=dry_run))
