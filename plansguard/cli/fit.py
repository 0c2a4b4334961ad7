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
from plansguard.core.errors import UnreadableDocument, UsageError
from plansguard.nnunet import printed_commands

if TYPE_CHECKING:
    from plansguard.subjects.fit_result import FitResult

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
    from plansguard.commands.fit import fit as run_fit
    from plansguard.render import fit as rendering
    from plansguard.subjects.fit_result import LOADS
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
            ids = None if every else dataset
            try:
                found = run_fit(path, ids, plans=plans, configuration=configuration, progress=progress.report)
            except UnreadableDocument as error:
                unreadable.append(error)
                continue
            results += found
            fitting = {result.dataset for result in found if result.outcome == LOADS}
            fits_all = fits_all and fitting == {result.dataset for result in found}
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
