"""``plansguard verify-receipt``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from plansguard.cli.common_options import show_error
from plansguard.cli.progress_bar import progress_bar
from plansguard.core.errors import UnreadableDocument, UsageError


def verify_receipt(
    folder: Annotated[
        Path,
        typer.Argument(
            metavar="FOLDER", help="The folder of a fold in nnUNet_results, or of a model: then all folds of it."
        ),
    ],
    output: Annotated[str, typer.Option("--output", metavar="FORMAT", help="text or json.")] = "text",
) -> None:
    """Show whether all that a training was started with is still as it was: plans, data, weights.

    plansguard train and plansguard gate leave the receipt of a training in its folder of results. Exit code: 0 all of
    it holds, 1 something has changed or is gone, 2 a receipt cannot be read, 3 there is none.
    """
    from plansguard.artefacts.data.workers import Pool
    from plansguard.records.verify import Verification, records_in, verify
    from plansguard.render import receipt as rendering

    if output not in ("text", "json"):
        raise UsageError(f"--output {output} is not known to verify-receipt", hint="formats: text, json")
    paths = records_in(folder)
    if not paths:
        show_error(
            UsageError(
                f"there is no receipt in {folder}",
                hint="plansguard train leaves one; name the folder of a fold, such as .../fold_0, or that of its model",
            )
        )
        raise typer.Exit(3)
    verdicts: list[Verification] = []
    unreadable: list[UnreadableDocument] = []
    with progress_bar("reading cases") as progress:
        for path in paths:
            try:
                verdicts.append(verify(path, Pool("threads", progress)))
            except UnreadableDocument as error:
                unreadable.append(error)
    if verdicts:
        typer.echo(rendering.text(verdicts) if output == "text" else rendering.as_json(verdicts), nl=False)
    for one in unreadable:
        show_error(one)
    raise typer.Exit(2 if unreadable else 0 if all(verdict.holds for verdict in verdicts) else 1)
