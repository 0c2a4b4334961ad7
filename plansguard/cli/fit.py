"""``plansguard fit``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from typer import Argument, Option

from plansguard.cli.common_options import (
    AsJson,
    Datasets,
    TextJsonOrHtml,
    emit_text_or_json,
    page,
    show_error,
    text_or_json,
)
from plansguard.cli.progress_bar import progress_bar
from plansguard.core import disk
from plansguard.core.errors import UnreadableDocument, UsageError
from plansguard.nnunet import printed_commands
from plansguard.nnunet.workspace import Workspace

if TYPE_CHECKING:
    from plansguard.subjects.fit_result import FitResult
    from plansguard.subjects.request import Progress

Weights = Annotated[
    list[Path],
    Argument(
        metavar="CHECKPOINT...",
        help="The weights: .pth files of nnU-Net v2, or folders or zips of models.",
        show_default=False,
    ),
]
Configuration = Annotated[
    str | None,
    Option("-c", "--configuration", metavar="CONFIGURATION", help="Default: the configuration of the weights."),
]


def fit(
    checkpoint: Weights,
    dataset: Datasets = None,
    every: Annotated[bool, Option("--all", help="All datasets below $nnUNet_preprocessed.")] = False,
    plans: Annotated[str | None, Option("-p", "--plans", metavar="IDENTIFIER", help="Only these plans.")] = None,
    configuration: Configuration = None,
    output: TextJsonOrHtml = [],  # noqa: B006 - typer copies it
    as_json: AsJson = False,
) -> None:
    """List which datasets the weights fit, and what others need.

    Exit code: 0 every dataset has plans that the weights fit, 1 some have none, 2 the command is wrong, or weights
    cannot be read.

    Examples:
        plansguard fit checkpoint_final.pth -d 2
        plansguard fit checkpoint_final.pth model.zip --all
    """
    from plansguard.render import fit as rendering
    from plansguard.subjects.request import tracked

    outputs = text_or_json(output, as_json=as_json, html=True)
    if bool(dataset) == every:
        hint = f"for all of them: {printed_commands.fit_everywhere(*checkpoint)}"
        raise UsageError("name the datasets with -d, or give --all", hint=hint)
    results: list[FitResult] = []
    unreadable: list[UnreadableDocument] = []
    fits_all = True
    with progress_bar("reading the weights") as progress:
        for path in tracked([*dict.fromkeys(checkpoint)], "reading weights", progress.report):
            try:
                found, fits = _results(path, None if every else dataset, plans, configuration, progress.report)
            except UnreadableDocument as error:
                unreadable.append(error)
                continue
            results += found
            fits_all = fits_all and fits
    results = list(dict.fromkeys(results))  # a dataset may be named by its id and by its name
    if results or not unreadable:
        emit_text_or_json(
            outputs,
            lambda screen: rendering.text(results, screen),
            lambda: rendering.as_json(results),
            page("fit", results),
        )
    for each in unreadable:
        show_error(each)
    raise typer.Exit(2 if unreadable else 0 if fits_all else 1)


def _results(
    path: Path, ids: list[str] | None, plans: str | None, configuration: str | None, progress: Progress
) -> tuple[list[FitResult], bool]:
    """The results of one artefact with weights, and whether every dataset has plans that they fit."""
    from plansguard.artefacts.checkpoint.trained_model import weights_in
    from plansguard.commands.fit import datasets_to_fit
    from plansguard.commands.fit import fit as run_fit
    from plansguard.subjects.fit_result import LOADS

    weights = weights_in(path)
    subjects = datasets_to_fit(Workspace.from_environment(), ids, plans, configuration, weights, progress)
    zipped = disk.is_file(path) and weights.path != str(path)
    results = run_fit(weights, subjects, configuration, path if zipped else None, progress)
    fitting = {result.dataset for result in results if result.outcome == LOADS}
    return results, fitting == {subject.name for subject in subjects}
