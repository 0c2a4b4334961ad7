"""``plansguard check``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from enum import Enum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from typer import Argument, Option

from plansguard.cli.common_options import (
    HTML,
    Datasets,
    FailOn,
    Outputs,
    OutputTargets,
    Quiet,
    Resume,
    SettingsFile,
    Verbose,
    emit,
    load_settings,
    page,
    parse_outputs,
    print_line,
    weights_option,
)
from plansguard.cli.progress_bar import ProgressLine, progress_bar
from plansguard.core.errors import UsageError
from plansguard.core.report import Report
from plansguard.core.text import counted
from plansguard.nnunet.workspace import Workspace
from plansguard.subjects.request import DEFAULT_SEED, Reading

if TYPE_CHECKING:
    from plansguard.artefacts.data.workers import Pool
    from plansguard.subjects.dataset import Dataset
    from plansguard.subjects.figures.collect import Visited


class Depth(str, Enum):
    """How much of the preprocessed arrays is read."""

    NONE = "none"
    HEADERS = "headers"
    SAMPLE = "sample"
    ALL = "all"


Paths = Annotated[
    list[Path] | None,
    Argument(
        help="Plans files, dataset folders, or folders above them. Default: the current folder.", show_default=False
    ),
]
Plans = Annotated[
    str | None, Option("-p", "--plans", metavar="IDENTIFIER", help="Check only these plans, as -p of nnU-Net.")
]
Configuration = Annotated[
    str | None,
    Option("-c", "--configuration", metavar="CONFIGURATION", help="Check only this configuration, such as 3d_fullres."),
]
Weights = Annotated[
    Path | None, weights_option("Also check whether these weights fit, as for -pretrained_weights of nnUNetv2_train.")
]
Trainer = Annotated[
    str | None,
    Option(
        "-tr",
        metavar="TRAINER",
        help="Judge weights and earlier results for a training by this trainer, as -tr of nnUNetv2_train.",
    ),
]
ResumeAuto = Annotated[
    Resume | None,
    Option(
        "--resume",
        metavar="auto",
        help="Trainings of -tr that are there already are to be continued, and are no finding.",
    ),
]
Data = Annotated[
    Depth,
    Option(
        help="How much of the preprocessed arrays is read: nothing, the headers of every case, also the values of "
        "a few cases, or those of all."
    ),
]
Seed = Annotated[
    int | None, Option("--seed", metavar="NUMBER", help="Selects the few cases of --data sample. Default: 12345.")
]
Dask = Annotated[
    str | None, Option(metavar="ADDRESS", help="Read cases on the workers of this Dask cluster (plansguard[dask]).")
]
AllowEmpty = Annotated[
    bool, Option("--allow-empty", help="Exit with 0 instead of 3 when nothing is found to check, or no plans.")
]
Fix = Annotated[
    bool,
    Option(
        "--fix",
        help="Write the corrections that are certain, such as the plans_name of a copied file; report the rest.",
    ),
]
Baseline = Annotated[
    Path | None,
    Option(
        "--baseline",
        metavar="FILE",
        help="Findings in this baseline are known: they are counted, and do not make the exit code 1. Default: the "
        "baseline of the settings.",
    ),
]
Against = Annotated[
    str | None,
    Option(
        metavar="REVISION",
        help="Findings that the same documents had at this git revision are known, as with --baseline: what is left is "
        "what a branch brings.",
    ),
]
Diff = Annotated[
    bool, Option("--diff", help="Show what --fix would write, in place of the report on the screen. Write nothing.")
]


def check(
    paths: Paths = None,
    dataset: Datasets = None,
    plans: Plans = None,
    configuration: Configuration = None,
    weights: Weights = None,
    trainer: Trainer = None,
    resume: ResumeAuto = None,
    data: Data = Depth.HEADERS,
    seed: Seed = None,
    dask: Dask = None,
    output: Outputs = [],  # noqa: B006 - typer copies it
    fail_on: FailOn = None,
    settings: SettingsFile = None,
    baseline: Baseline = None,
    against: Against = None,
    allow_empty: AllowEmpty = False,
    fix: Fix = False,
    diff: Diff = False,
    verbose: Verbose = False,
    quiet: Quiet = False,
) -> None:
    """Check plans and the files beside them against each other.

    The files of one dataset folder are checked together, even when only one of them is named. Exit code: 0 no
    finding at or above --fail-on, 1 findings, 2 a file cannot be read or the command is wrong, 3 nothing to check,
    or no plans. With --fix it is that of what remains.

    Examples:
        plansguard check -d 2 -p PretrainPlans -c 3d_fullres
        plansguard check -d 2 -p PretrainPlans -pretrained_weights checkpoint_final.pth
        plansguard check nnUNet_preprocessed --output json=report.json
    """
    from plansguard.commands.check import check as run_check

    _assert_one_each(fix=fix, diff=diff, baseline=baseline, against=against)
    _assert_read(data, seed, dask)
    outputs = parse_outputs(output, verbose=verbose, quiet=quiet)
    active = load_settings(settings, places_of(paths, dataset))
    visited, resumes = _visited(outputs), _resumes(resume, trainer)
    asked = partial(run_check, plans=plans, configuration=configuration, weights=weights, resumes=resumes)

    def judged(then: Callable[[Dataset], Dataset] | None = None) -> Report:
        with progress_bar("looking for documents") as progress:
            reading = Reading(data.value, DEFAULT_SEED if seed is None else seed, pool_of(data, dask, progress))
            where = partial(asked, paths or [], datasets=dataset or [], trainer=trainer, settings=active)
            return where(reading=reading, progress=progress.report, visit=visited if then is None else None, then=then)

    report = judged()
    if fix:
        report = _corrected(report, judged, outputs)
    elif diff:
        outputs = _with_diff(report, outputs)
    if against is not None:
        report = _compared_with_revision(report, against, judged)
    elif known := baseline or active.baseline:
        report = _compared(report, known, data, everything=(plans or configuration or weights or trainer) is None)
    report = replace(report, fail_on=fail_on or active.fail_on, allow_empty=allow_empty)
    emit(report, outputs, None if visited is None else page("check", report, visited))
    raise typer.Exit(report.exit_code())


def _visited(outputs: OutputTargets) -> Visited | None:
    """What notes the datasets of the check, where a page is asked for that shows them."""
    if not any(name == HTML for name, _ in outputs.files):
        return None
    from plansguard.subjects.figures.collect import Visited

    return Visited()


def _assert_one_each(*, fix: bool, diff: bool, baseline: Path | None, against: str | None) -> None:
    """Raise UsageError for options that exclude each other."""
    if fix and diff:
        raise UsageError("--fix writes what --diff only shows", hint="give one of them")
    if baseline is not None and against is not None:
        raise UsageError("--baseline and --against both say which findings are known", hint="give one of them")


def _assert_read(data: Depth, seed: int | None, dask: str | None) -> None:
    """Raise UsageError for an option of a reading that does not take place."""
    if seed is not None and data is not Depth.SAMPLE:
        raise UsageError(f"--seed {seed} selects the cases of --data sample", hint="add that, or leave --seed out")
    if dask is not None and data is Depth.NONE:
        raise UsageError(f"--data none leaves nothing to read on {dask}", hint="leave --data none or --dask out")


def _resumes(resume: Resume | None, trainer: str | None) -> bool:
    """Return whether --resume auto is typed; UsageError without a trainer, and for a number of steps that none has."""
    from plansguard.training.trainer_name import is_step_name, read_name

    if trainer is not None and is_step_name(trainer):
        read_name(trainer)
    if resume is not None and trainer is None:
        raise UsageError("--resume auto continues the trainings of a trainer", hint="name it with -tr")
    return resume is not None


def _compared(report: Report, baseline: Path, data: Depth, *, everything: bool) -> Report:
    """Return the report with the findings of the baseline known."""
    from plansguard.commands.baseline import compared

    return compared(report, baseline, data.value, everything=everything)


def _compared_with_revision(
    report: Report, revision: str, judged: Callable[[Callable[[Dataset], Dataset]], Report]
) -> Report:
    """Return the report with the findings known that were there at the revision."""
    from plansguard.commands.against import compared

    return compared(report, revision, judged)


def _corrected(report: Report, judged: Callable[[], Report], outputs: OutputTargets) -> Report:
    """Write the certain corrections, say so, and return the report of what remains."""
    from plansguard.commands.corrections import corrections_of, reasons, write

    with progress_bar("checking the corrections"):
        corrections = corrections_of(report)
    write(corrections)
    for file in corrections.files:
        codes = dict.fromkeys(f"{finding.code} {finding.name}" for finding in file.findings)
        print_line(f"corrected {file.path}: {', '.join(codes)}", err=not outputs.text_on_screen)
    for reason in reasons(corrections):
        print_line(reason, err=not outputs.text_on_screen)
    return judged() if corrections.files else report


def _with_diff(report: Report, outputs: OutputTargets) -> OutputTargets:
    """Print the certain corrections in place of the report on the screen; return where else the report goes."""
    from plansguard.commands.corrections import corrections_of, reasons
    from plansguard.render.patch import unified

    with progress_bar("checking the corrections"):
        corrections = corrections_of(report)
    typer.echo(unified((file.path, file.before, file.after) for file in corrections.files), nl=False)
    for reason in reasons(corrections):
        print_line(reason, err=True)
    corrected = sum(bool(finding.corrections) for finding in report.active) - len(corrections.refused)
    rest = "" if corrected == len(report.active) else "; without --diff, all are listed"
    print_line(f"{corrected} of {counted(len(report.active), 'finding')} can be corrected by --fix{rest}", err=True)
    return replace(outputs, files=[(name, path) for name, path in outputs.files if path is not None])


def pool_of(data: Depth, dask: str | None, progress: ProgressLine) -> Pool | None:
    """Return the workers that read cases: threads for headers, processes for values, which need a processor each."""
    if data is Depth.NONE:
        return None
    from plansguard.artefacts.data.workers import DASK, Pool

    if dask is not None:
        return Pool(DASK + dask, progress.cases)
    return Pool("processes" if data is Depth.ALL else "threads", progress.cases)


def places_of(paths: list[Path] | None, datasets: list[str] | None) -> list[Path]:
    """Return the paths that are checked, or the folders of the datasets: the settings are in the first or above."""
    return paths or [_folder(id_or_name) for id_or_name in datasets or []]


def _folder(id_or_name: str) -> Path:
    """The folder of the dataset: the settings are in it or above."""
    workspace = Workspace.from_environment()
    return workspace.preprocessed_folder(workspace.dataset_name(id_or_name))
