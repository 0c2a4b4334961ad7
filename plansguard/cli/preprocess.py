"""``plansguard preprocess``."""

from __future__ import annotations

import io
import shlex
import sys
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager, nullcontext, redirect_stdout
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer
from typer import Argument, Option

from plansguard.cli.common_options import (
    OutputTargets,
    Resume,
    SettingsFile,
    TextOrJson,
    assert_not_mixed,
    at_least,
    emit,
    emit_rendered,
    load_settings,
    parse_outputs,
    print_line,
    print_next,
    text_or_json,
)
from plansguard.cli.gate_options import accepted_pairs, print_refused
from plansguard.cli.progress_bar import progress_bar
from plansguard.core import disk
from plansguard.core.errors import UsageError, known
from plansguard.core.report import Severity
from plansguard.core.text import counted, in_bytes
from plansguard.nnunet.constants import DEFAULT_TRAINER, USUAL_CONFIGURATION
from plansguard.nnunet.workspace import ALL, Workspace
from plansguard.render import json_text

if TYPE_CHECKING:
    from plansguard.artefacts.data.listing import Listing
    from plansguard.commands.preprocess import Job, Outcome, Target
    from plansguard.documents.models.command_documents import PreprocessingDocument
    from plansguard.nnunet.printed_commands import Word

Configurations = Annotated[
    list[str] | None,
    Option("-c", "--configuration", metavar="CONFIGURATION", help="What to preprocess, such as 3d_fullres; required."),
]
More = Annotated[list[str] | None, Argument(metavar="[CONFIGURATION]...", help="More of them, as after -c of nnU-Net.")]
Plans = Annotated[
    str | None,
    Option(
        "-p",
        "-plans_name",
        "--plans",
        metavar="IDENTIFIER",
        help="The plans. Default: the only ones present, else nnUNetPlans.",
    ),
]
Processes = Annotated[
    int | None, Option("-np", metavar="N", callback=at_least(1), help="Number of processes (default: nnU-Net's own).")
]
AcceptShared = Annotated[
    bool,
    Option("--accept-shared", help="Continue although other plans read the same folder and would fill it differently."),
]
Accept = Annotated[
    list[str],
    Option("--accept", metavar="CODE", help="Preprocess despite this finding; needs --because. Repeatable, in pairs."),
]
Because = Annotated[list[str], Option("--because", metavar="REASON", help="Why it is accepted; the report has it.")]
ResumeAuto = Annotated[
    Resume | None,
    Option(
        "--resume",
        metavar="auto",
        help="Leave complete data that fit the plans as they are, and make again what an interruption left.",
    ),
]
Dask = Annotated[
    str | None,
    Option(metavar="ADDRESS", help="Preprocess cases on the workers of this Dask cluster (plansguard[dask])."),
]
#: No more than this many failed cases are named; the JSON names all.
_NAMED = 20


def preprocess(
    dataset: Annotated[
        str, Option("-d", "--dataset", metavar="DATASET", help="The dataset to preprocess: id or name.")
    ],
    configuration: Configurations = None,
    more: More = None,
    plans: Plans = None,
    processes: Processes = None,
    accept_shared: AcceptShared = False,
    accept: Accept = [],  # noqa: B006
    because: Because = [],  # noqa: B006
    dry_run: Annotated[bool, Option("--dry-run", help="Show everything, delete and write nothing.")] = False,
    yes: Annotated[bool, Option("--yes", "-y", help="Let nnU-Net delete the old data without asking.")] = False,
    resume: ResumeAuto = None,
    dask: Dask = None,
    output: TextOrJson = [],  # noqa: B006 - typer copies it
    settings: SettingsFile = None,
) -> None:
    """Preprocess with nnU-Net, after listing what it deletes.

    First lists which data nnU-Net will delete and which other plans read them. The record contains what the data were
    made with, so that `plansguard check` finds later changes of plans or dataset.json. Exit code: 0 done, 1 refused,
    2 the command cannot be carried out, 4 nnU-Net failed.

    Examples:
        plansguard preprocess -d 2 -p PretrainPlans -c 3d_fullres -np 4 --yes
        plansguard preprocess -d 2 -p PretrainPlans -c 3d_fullres --resume auto
        plansguard preprocess -d 2 -c 3d_fullres --dry-run
    """
    from plansguard.commands.preprocess import prepare

    assert_workers(processes, dask)
    outputs = text_or_json(output)
    if not dry_run:
        assert_not_mixed(outputs)
    workspace = Workspace.from_environment()
    active = load_settings(settings, [workspace.preprocessed_folder(workspace.dataset_name(dataset))])
    names = (*(configuration or ()), *(more or ()))
    with progress_bar("listing cases"):
        job = prepare(
            *(workspace, dataset, names, active),
            identifier=plans,
            processes=None if processes is None else dict.fromkeys(names, processes),
            elsewhere=dask is not None,
            accept_shared=accept_shared,
            accepted=accepted_pairs(accept, because),
        )
        job, unasked = _resumed(job) if resume is not None else (job, frozenset())
    shown = _Shown(outputs)
    outcomes: list[Outcome] = []
    try:
        _show_and_run(job, shown, outcomes, unasked, dask, dry_run=dry_run, yes=yes)
    finally:
        files = [(name, path) for name, path in outputs.files if (name, path) != ("text", None)]
        emit_rendered(
            replace(outputs, files=files),
            lambda name, _: json_text(_document(job, outcomes, dask)) if name == "json" else shown.text.getvalue(),
        )


class _Shown:
    """The text: printed, where it is asked for, and kept for a file."""

    def __init__(self, outputs: OutputTargets) -> None:
        self.text = io.StringIO()
        self._streams = [None] * outputs.text_on_screen + [self.text] * outputs.text_in_file

    def add(self, prints: Callable[..., object], *arguments: object) -> None:
        """Add what a function prints."""
        for stream in self._streams:
            with nullcontext() if stream is None else redirect_stdout(stream):
                prints(*arguments)


def _resumed(job: Job) -> tuple[Job, frozenset[Path]]:
    """The job without complete data that fit the plans, and the folders that an interruption left."""
    from plansguard.commands.data_state import data_state
    from plansguard.subjects.road import StepState

    states = {target.folder: data_state(job.dataset, target.user.configuration)[0] for target in job.targets}
    targets = tuple(target for target in job.targets if states[target.folder] is not StepState.DONE)
    return replace(job, targets=targets), frozenset(
        folder for folder, state in states.items() if state is StepState.NEEDED
    )


def assert_workers(processes: int | None, dask: str | None) -> None:
    """Raise UsageError where both -np and --dask are typed."""
    if processes is not None and dask is not None:
        raise UsageError(
            f"-np {processes} is for processes of this machine, and --dask has workers of its own",
            hint="leave one of the two out; a cluster has as many workers as were started",
        )


def _show_and_run(
    job: Job,
    shown: _Shown,
    outcomes: list[Outcome],
    unasked: Collection[Path],
    dask: str | None,
    *,
    dry_run: bool,
    yes: bool,
) -> None:
    """Show what will be deleted and found, run nnU-Net for each folder, and collect how that ended.

    The folders ``unasked`` are deleted without a question.
    """
    if not job.targets:
        shown.add(print_line, f"{job.dataset.name}, plans {job.plans.identifier}: the data are complete: nothing to do")
        return
    shown.add(print_before, job)
    shown.add(emit, job.report, parse_outputs([]))
    if job.report.fails(Severity.ERROR):
        shown.add(_print_refusal, job)
        raise typer.Exit(job.report.exit_code())
    with _work(dask, job) as work:
        if not dry_run:
            _confirm(job, unasked, yes=yes)
        for target in job.targets:
            shown.add(print_line, "")
            shown.add(print_line, f"{'would run' if dry_run else 'running'} {work.shown(target)}")
            if dry_run:
                continue
            sys.stdout.flush()  # nnU-Net writes to the same stream
            outcomes.append(outcome := work.run(job, target))
            if outcome.done and outcome.files is not None:
                shown.add(_print_success, job, outcome, outcome.files)
            else:
                _print_failure(job, outcome)
            if outcome.exit_code:
                raise typer.Exit(outcome.exit_code)
    if not dry_run:
        shown.add(_print_next, job)


class _Work(NamedTuple):
    """What fills a folder: as text, and as a function."""

    shown: Callable[[Target], str]
    run: Callable[[Job, Target], Outcome]


@contextmanager
def _work(dask: str | None, job: Job) -> Iterator[_Work]:
    """nnU-Net's command, or the workers of a cluster, which are compared with this machine first."""
    from plansguard.commands.preprocess import run

    if dask is None:
        yield _Work(lambda target: shlex.join([Path(target.command[0]).name, *target.command[1:]]), run)
        return
    from plansguard.commands.cluster_preprocessing import on_cluster

    with on_cluster(dask, job) as cluster:
        where = f"{counted(cluster.workers, 'worker')} of the Dask cluster {dask}"

        def run_there(job: Job, target: Target) -> Outcome:
            with progress_bar("preprocessing") as line:
                progress = partial(line.report, "preprocessing cases")
                return run(job, target, lambda job, target, _: cluster.preprocess(job, target, progress))

        yield _Work(lambda target: f"nnU-Net's preprocessing for {target.configuration} on {where}", run_there)


def _document(job: Job, outcomes: Sequence[Outcome], dask: str | None) -> PreprocessingDocument:
    """The job and its outcomes as the JSON that schemas/preprocessing.schema.json describes."""
    from plansguard.documents.models.command_documents import PreprocessingDocument, ReaderEntry, TargetEntry
    from plansguard.render.json import document_of

    ended = {outcome.target.folder: outcome for outcome in outcomes}
    return PreprocessingDocument(
        schema_="plansguard/preprocessing/1",
        dataset=job.dataset.name,
        plans=job.plans.identifier,
        cases=len(job.cases),
        dask=dask,
        targets=[
            TargetEntry(
                configuration=target.configuration,
                folder=str(target.folder),
                deleted_cases=len(target.present.cases) if target.present is not None else 0,
                deleted_bytes=target.present.bytes if target.present is not None else 0,
                readers=[
                    ReaderEntry(
                        plans=other.plans.identifier,
                        configuration=other.configuration.name,
                        differs_in=target.differences(other),
                    )
                    for other in target.others
                ],
                command=list(target.command),
                done=ended[target.folder].done if target.folder in ended else None,
                missing=list(ended[target.folder].missing) if target.folder in ended else [],
                failures=dict(ended[target.folder].work.failures) if target.folder in ended else {},
            )
            for target in job.targets
        ],
        report=document_of(job.report),
    )


def _print_refusal(job: Job) -> None:
    print_refused(job.report, "Nothing was deleted.")
    if any(target.differences(other) for target in job.targets for other in target.others):
        typer.echo("--accept-shared lets nnU-Net fill a folder that is wrong for the other plans that read it.")


def print_before(job: Job) -> None:
    """Print which folders will be deleted and filled, and which other configurations read them."""
    print_line(f"{job.dataset.name}, plans {job.plans.identifier}: {counted(len(job.cases), 'case')}")
    typer.echo("")
    for target in job.targets:
        print_line(f"{target.folder} ({target.configuration})")
        for line in (_loss(target), *_readers(target)):
            print_line(f"  {line}")
    typer.echo("")


def _loss(target: Target) -> str:
    if target.present is None:
        return "does not exist yet: nothing will be lost"
    size = in_bytes(target.present.bytes)
    return f"nnU-Net deletes it first: {counted(len(target.present.cases), 'complete case')}, {size}"


def _readers(target: Target) -> Iterator[str]:
    for other in target.others:
        fields = ", ".join(target.differences(other))
        consequence = f"DIFFERS in {fields}: these data will be wrong for it" if fields else "the same preprocessing"
        yield f"also read by {other.configuration.name} of {other.plans.identifier}: {consequence}"


def _confirm(job: Job, unasked: Collection[Path], *, yes: bool) -> None:
    """Before data are deleted, require ``--yes`` or a yes on the terminal."""
    present = [target.folder for target in job.targets if target.present is not None]
    deleted = [folder for folder in present if folder not in unasked]
    if yes or not deleted:
        return
    if not sys.stdin.isatty():
        raise UsageError(
            f"nnU-Net would delete {', '.join(map(str, deleted))}, and there is no terminal to ask on",
            hint="add --yes if that is meant, or --dry-run to see everything first",
        )
    if not typer.confirm("\nDelete these data and preprocess again?"):
        typer.echo("Nothing was deleted.")
        raise typer.Exit(1)


def _print_success(job: Job, outcome: Outcome, files: Listing) -> None:
    target, written = outcome.target, len(job.cases) - len(outcome.missing)
    print_line(f"{target.folder}: {counted(written, 'case')}, {in_bytes(files.bytes)}")
    print_line(f"wrote {target.record_path} (the preprocessing record: what they were made with)")


def _print_failure(job: Job, outcome: Outcome) -> None:
    work = outcome.work
    typer.echo("", err=True)
    print_line(f"plansguard: {_failure(outcome)}", err=True)
    for name, error in [*work.failures.items()][:_NAMED]:
        print_line(f"  {name}: {error}", err=True)
    if len(work.failures) > _NAMED:
        print_line(f"  and {len(work.failures) - _NAMED} more, all named by --output json=FILE", err=True)
    written = len(job.cases) - len(outcome.missing)
    print_line(f"  {_remains(outcome, written, len(job.cases))}", err=True)
    fix = "" if work.signal is not None or work.cause else f"fix the errors {_told_by(outcome)}above, then "
    print_line(f"  {fix}run the same command again", err=True)


def _told_by(outcome: Outcome) -> str:
    return "" if outcome.work.failures else "that nnU-Net reports "


def _remains(outcome: Outcome, written: int, cases: int) -> str:
    """The state of the folder after a run that failed."""
    target, files = outcome.target, outcome.files
    if outcome.untouched and files is not None:
        complete = counted(len(files.cases), "complete case")
        return f"nnU-Net had deleted nothing yet: the old data in {target.folder} are unchanged, {complete}"
    state = f"holds {written} of {counted(cases, 'case')}" if files is not None else "does not exist"
    was_complete = target.present is not None and len(target.present.cases) >= cases
    lost = "the old data are no longer complete: " if was_complete else ""
    return f"{lost}{target.folder} {state}; {target.record_path.name} is marked unfinished"


def _failure(outcome: Outcome) -> str:
    work = outcome.work
    if work.cause:
        return work.cause
    if work.failures:
        return f"{counted(len(work.failures), 'case')} failed"
    if work.signal is not None:
        return "interrupted; nnU-Net was stopped and has ended"
    if work.returncode < 0:
        return f"nnU-Net was killed by signal {-work.returncode} (9: often for lack of memory, then try -np 1)"
    if work.returncode:
        return f"nnU-Net failed with exit code {work.returncode}"
    return f"nnU-Net ended without an error, but left {counted(len(outcome.missing), 'case')} out"


def _print_next(job: Job) -> None:
    from plansguard.nnunet import printed_commands
    from plansguard.subjects.discovery import configuration_of
    from plansguard.subjects.pretraining import after_pretraining, pretraining_of, trainers_of_first_stage, usual_fold

    dataset, plans = job.dataset.name, job.plans.identifier
    names = [target.configuration for target in job.targets]
    name = USUAL_CONFIGURATION if USUAL_CONFIGURATION in names else names[-1]
    trained = _stage_to_train(job, name)
    first = configuration_of(job.plans, trained)
    pretraining, fold = pretraining_of(job.dataset, job.plans, trained), usual_fold(job.dataset)
    weights: Word | None = None
    if pretraining is None:
        model = f"{DEFAULT_TRAINER}__{plans}__{name}"
        later = after_pretraining(job.dataset, job.plans, name, model, ALL)
        trainers = trainers_of_first_stage(job.dataset, first)
        trainer = None if DEFAULT_TRAINER in trainers else next(iter(trainers), None)
        training = printed_commands.train(dataset, trained, ALL if later else fold, plans=plans, trainer=trainer)
        commands = [training, *later]
    else:
        commands = [*pretraining.commands_for(job.dataset, first, fold)]
        weights = pretraining.path if pretraining.is_there else None
    judged = (
        trained if weights else name if len(names) == 1 else None
    )  # weights fit the configuration that is trained, not others
    checked = printed_commands.check(dataset, plans=plans, configuration=judged, weights=weights)
    stages = (first, *first.next_stages)  # the training ends with predictions for the cases of the next stages
    folders = {one.name: job.dataset.folder / str(one.get("data_identifier")) for one in stages}
    awaited = [stage for stage, folder in folders.items() if not disk.is_folder(folder)]
    before = [printed_commands.preprocess(dataset, plans, *awaited)] if awaited else []
    print_next([*before, checked, *commands])


def _stage_to_train(job: Job, name: str) -> str:
    """The configuration, or of a cascade the stage before it while that has no trained model."""
    from plansguard.subjects.discovery import configuration_of
    from plansguard.subjects.trained_models import trained_with

    previous = configuration_of(job.plans, name).get("previous_stage")
    models = known(lambda: trained_with(job.dataset, job.plans.identifier)) or []
    return previous if previous and all(model.configuration != previous for model in models) else name
