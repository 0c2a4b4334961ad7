"""``plansguard verify-receipt``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from typer import Argument, Option

from plansguard.cli.common_options import TextOrJson, assert_text_or_json, show_error
from plansguard.cli.progress_bar import progress_bar
from plansguard.core.errors import UnreadableDocument, UsageError

Folder = Annotated[
    Path, Argument(metavar="FOLDER", help="The folder of a fold in nnUNet_results, or of a model: then all its folds.")
]
Weights = Annotated[
    Path | None,
    Option(
        "-pretrained_weights",
        "--weights",
        metavar="CHECKPOINT",
        help="The weights of the training, where they are outside of nnU-Net's folders or were moved.",
    ),
]


def verify_receipt(folder: Folder, weights: Weights = None, output: TextOrJson = "text") -> None:
    """Show whether what a training was started with is unchanged: plans, data, weights.

    Weights that the training record names are read in nnU-Net's folders, in the folder of the model and in the current
    folder. Others have to be named.

    plansguard train and plansguard gate leave a training record in the folder of results. Exit code: 0 everything is
    unchanged, 1 something has changed or is missing, 2 a training record cannot be read, 3 there is none.
    """
    from plansguard.artefacts.data.workers import Pool
    from plansguard.records.verify import Verification, records_in, verify
    from plansguard.render import verify_receipt as rendering

    assert_text_or_json(output, "verify-receipt")
    paths = records_in(folder)
    if not paths:
        hint = "plansguard train leaves one; name the folder of a fold, such as .../fold_0, or that of its model"
        show_error(UsageError(f"there is no training record in {folder}", hint=hint))
        raise typer.Exit(3)
    verifications: list[Verification] = []
    errors: list[UnreadableDocument] = []
    with progress_bar("reading cases") as progress:
        for path in paths:
            try:
                verifications.append(verify(path, Pool("threads", progress), weights))
            except UnreadableDocument as error:
                errors.append(error)
    if verifications:
        typer.echo(rendering.text(verifications) if output == "text" else rendering.as_json(verifications), nl=False)
    for unreadable in errors:
        show_error(unreadable)
    raise typer.Exit(2 if errors else 0 if all(verification.holds for verification in verifications) else 1)
