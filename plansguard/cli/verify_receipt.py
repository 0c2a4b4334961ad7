"""``plansguard verify-receipt``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from typer import Argument

from plansguard.cli.common_options import (
    TextJsonOrHtml,
    emit_text_or_json,
    page,
    show_error,
    text_or_json,
    weights_option,
)
from plansguard.cli.progress_bar import progress_bar
from plansguard.core.errors import UnreadableDocument, UsageError

if TYPE_CHECKING:
    from plansguard.records.verify import Verification

Folder = Annotated[
    Path,
    Argument(
        metavar="FOLDER",
        help="The folder of a fold in nnUNet_results; or of a model, a dataset, or all results: then all folds in it.",
    ),
]
Weights = Annotated[
    Path | None,
    weights_option("The weights of the training, where they are outside of nnU-Net's folders or were moved."),
]


def verify_receipt(folder: Folder, weights: Weights = None, output: TextJsonOrHtml = []) -> None:  # noqa: B006
    """Show whether what a training was started with is unchanged.

    That is plans, data, dataset.json, splits and weights.

    Weights that the training record names are read in nnU-Net's folders, in the folder of the model and in the current
    folder. Others have to be named.

    In a folder of several models, there is one line for each training.

    plansguard train and plansguard gate leave a training record in the folder of results. Exit code: 0 everything is
    unchanged, 1 something has changed or is missing, 2 a training record cannot be read, 3 there is none.

    Examples:
        plansguard verify-receipt nnUNet_results/Dataset002_FinetuneCT
        plansguard verify-receipt nnUNet_results --output json
    """
    from plansguard.artefacts.data.workers import Pool
    from plansguard.records.verify import records_in, verify
    from plansguard.render import verify_receipt as rendering
    from plansguard.subjects.request import tracked

    outputs = text_or_json(output, html=True)
    with progress_bar("looking for training records"):
        records = records_in(folder)
    verifications: list[Verification] = []
    errors: list[UnreadableDocument] = [*records.closed]
    if not records.paths and not errors:
        hint = "plansguard train leaves one; name the folder of a fold, such as .../fold_0, of its model or its dataset"
        show_error(UsageError(f"there is no training record in {folder}", hint=hint))
        raise typer.Exit(3)
    with progress_bar("verifying the training") as progress:
        for path in tracked(records.paths, "verifying trainings", progress.report):
            try:
                verifications.append(verify(path, Pool("threads", progress.cases), weights))
            except UnreadableDocument as error:
                errors.append(error)
    if verifications:
        as_text = rendering.summary if records.of_several_models else rendering.text
        emit_text_or_json(
            outputs,
            lambda _: as_text(verifications),
            lambda: rendering.as_json(verifications),
            page("verifications", verifications),
        )
    for unreadable in errors:
        show_error(unreadable)
    raise typer.Exit(2 if errors else 0 if all(verification.holds for verification in verifications) else 1)
