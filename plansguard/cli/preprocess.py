"""``plansguard preprocess``."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from plansguard.cli.common_options import emit, load_settings
from plansguard.core.errors import UsageError
from plansguard.core.report import Severity
from plansguard.core.text import counted
from plansguard.nnunet.workspace import Workspace, trained_models
from plansguard.render import printable

if TYPE_CHECKING:
    from plansguard.commands.preprocess import Job, OtherUser, Outcome, Target


def preprocess(
    dataset: Annotated[
        str, typer.Option("-d", "--dataset", metavar="DATASET", help="The dataset to preprocess: id or name.")
    ],
    configuration: Annotated[
        list[str] | None,
        typer.Option("-c", "--configuration", metavar="CONFIGURATION", help="What to preprocess, such as 3d_fullres."),
    ] = None,
    more: Annotated[
        list[str] | None, typer.Argument(metavar="[CONFIGURATION]...", help="More of them, as after -c of nnU-Net.")
    ] = None,
    plans: Annotated[
        str | None,
        typer.Option(
            "-p",
            "-plans_name",
            "--plans",
            metavar="IDENTIFIER",
            help="The plans. Default: the only ones there are, else nnUNetPlans.",
        ),
    ] = None,
    processes: Annotated[
        int | None, typer.Option("-np", metavar="N", min=1, help="Number of processes (default: nnU-Net's own).")
    ] = None,
    accept_shared: Annotated[
        bool,
        typer.Option(
            "--accept-shared", help="Go on although other plans read the same folder and would fill it otherwise."
        ),
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show everything, delete and write nothing.")] = False,
    yes: Annotated[
        bool, typer.Option("--yes", "-y", help="Let nnU-Net delete the old data without a question.")
    ] = False,
) -> None:
    """Run nnU-Net's own preprocessing with open eyes, and leave a stamp beside the plans.

    Says first which data nnU-Net will delete and who else reads them. The stamp remembers what the data were made with,
    so that `plansguard check` sees when plans or dataset.json say something else. Exit code: 0 done, 1 refused, 2 the
    command cannot be carried out, 4 nnU-Net failed.
    """
    from plansguard.commands.preprocess import PreprocessingRequest, prepare, run

    workspace = Workspace.from_environment()
    settings = load_settings(None, [workspace.preprocessed_folder(workspace.dataset_name(dataset))])
    order = PreprocessingRequest(dataset, (*(configuration or ()), *(more or ())), plans, processes, accept_shared)
    job = prepare(workspace, order, settings)
    say_before(job)
    emit(job.report, [("text", None)])
    if job.report.fails(Severity.ERROR):
        typer.echo("\nNothing was deleted. A finding that is meant can be accepted with a reason in plansguard.json.")
        if any(other.differences for target in job.targets for other in target.others):
            typer.echo("--accept-shared lets nnU-Net fill a folder that is wrong for others who read it.")
        raise typer.Exit(job.report.exit_code())
    if not dry_run:
        _ask(job, yes=yes)
    for target in job.targets:
        typer.echo("")
        _say(f"{'would run' if dry_run else 'running'} {_shown(target)}")
        if dry_run:
            continue
        sys.stdout.flush()  # nnU-Net writes to the same place
        outcome = run(job, target)
        _say_after(job, outcome)
        if outcome.exit_code:
            raise typer.Exit(outcome.exit_code)
    if not dry_run:
        _say_next(job)


def _say(line: str, *, err: bool = False) -> None:
    """One line; names in it come from files, and must not steer the terminal."""
    typer.echo(printable(line), err=err)


def say_before(job: Job) -> None:
    """Which folders will be deleted and filled, and who else reads them."""
    _say(f"{job.dataset.name}, plans {job.plans.identifier}: {counted(len(job.cases), 'case')}")
    typer.echo("")
    for target in job.targets:
        _say(f"{target.folder} ({target.configuration.name})")
        for line in (_loss(target), *_others(target.others)):
            _say(f"  {line}")
    typer.echo("")


def _loss(target: Target) -> str:
    if target.present is None:
        return "does not exist yet: nothing will be lost"
    size = _size(target.present.bytes)
    return f"nnU-Net deletes it first: {counted(len(target.present.cases), 'complete case')}, {size}"


def _others(others: tuple[OtherUser, ...]) -> Iterator[str]:
    for other in others:
        fields = ", ".join(difference.field for difference in other.differences)
        verdict = f"DIFFERS in {fields}: these data will be wrong for it" if fields else "the same preprocessing"
        yield f"also read by {other.configuration} of {other.plans}: {verdict}"


def _ask(job: Job, *, yes: bool) -> None:
    """Before data are deleted: ``--yes``, or a yes on the terminal."""
    doomed = [target.folder for target in job.targets if target.present is not None]
    if yes or not doomed:
        return
    if not sys.stdin.isatty():
        raise UsageError(
            f"nnU-Net would delete {', '.join(map(str, doomed))}, and there is no terminal to ask on",
            hint="add --yes if that is meant, or --dry-run to see everything first",
        )
    if not typer.confirm("\nDelete these data and preprocess again?"):
        typer.echo("Nothing was deleted.")
        raise typer.Exit(1)


def _say_after(job: Job, outcome: Outcome) -> None:
    target = outcome.target
    there = len(job.cases) - len(outcome.missing)
    if outcome.done and outcome.files is not None:
        _say(f"{target.folder}: {counted(there, 'case')}, {_size(outcome.files.bytes)}")
        _say(f"wrote {target.stamp_path} (the stamp: what they were made with)")
        return
    typer.echo("", err=True)
    mend = "" if outcome.signal is not None else "mend what nnU-Net complains about above, then "
    for line in (
        f"plansguard: {_failure(outcome)}",
        f"  {_remains(outcome, there, len(job.cases))}",
        f"  {mend}run the same command again",
    ):
        _say(line, err=True)


def _remains(outcome: Outcome, there: int, cases: int) -> str:
    """What lies in the folder of a run that did not end well."""
    target, files = outcome.target, outcome.files
    if outcome.untouched and files is not None:
        whole = counted(len(files.cases), "complete case")
        return f"nnU-Net had deleted nothing yet: the old data in {target.folder} are still as they were, {whole}"
    state = f"holds {there} of {counted(cases, 'case')}" if files is not None else "is not there"
    lost = "" if target.present is None else "the old data are no longer whole: "
    return f"{lost}{target.folder} {state}; {target.stamp_path.name} says that it is unfinished"


def _failure(outcome: Outcome) -> str:
    if outcome.signal is not None:
        return "interrupted; nnU-Net was told to stop, and has ended"
    if outcome.returncode < 0:
        return f"nnU-Net was killed by signal {-outcome.returncode} (9: often for lack of memory, then try -np 1)"
    if outcome.returncode:
        return f"nnU-Net failed with exit code {outcome.returncode}"
    return f"nnU-Net ended without an error, and yet it left {counted(len(outcome.missing), 'case')} out"


def _say_next(job: Job) -> None:
    from plansguard.core.text import quoted
    from plansguard.nnunet.workspace import dataset_id

    number, plans = dataset_id(job.dataset.name) or job.dataset.name, quoted(job.plans.identifier)
    weights = _weights(job)
    typer.echo("\nNext:")
    _say(f"  plansguard check -d {number} -p {plans}{weights}")
    configuration = quoted(job.targets[-1].configuration.name)
    _say(f"  plansguard gate -- nnUNetv2_train {number} {configuration} 0 -p {plans}{weights}")


def _weights(job: Job) -> str:
    """Plans that were migrated for weights are to be trained with them: nnU-Net would start without, silently."""
    from plansguard.core.errors import Absent
    from plansguard.core.text import quoted

    try:
        record = job.dataset.migration_record(job.plans)
    except Absent:
        return ""
    if record.workflow == "pretrain":
        return ""
    origin, results = record.value["from"], job.dataset.workspace.results
    if str(origin["path"]).endswith(".pth"):
        return f" -pretrained_weights {quoted(origin['path'])}"
    models = [] if results is None else list(trained_models(results, record.giving))
    wanted = (origin["plans"], job.targets[-1].configuration.name)
    found = [one.checkpoints for one in models if (one.plans_name, one.configuration) == wanted and one.checkpoints]
    return f" -pretrained_weights {quoted(found[0][0]) if found else 'PRETRAINED_WEIGHTS.pth'}"


def _shown(target: Target) -> str:
    """The command as one types it; the program by its name, as it lies in some environment."""
    import shlex
    from pathlib import Path

    program, *arguments = target.command
    return shlex.join([Path(program).name, *arguments])


def _size(count: int) -> str:
    """Bytes in decimal units."""
    value, units = float(count), iter(("bytes", "kB", "MB", "GB"))
    unit = next(units)
    for larger in units:
        if value < 1000:
            break
        value, unit = value / 1000, larger
    return f"{value:.0f} {unit}" if unit == "bytes" or value >= 100 else f"{value:.1f} {unit}"
