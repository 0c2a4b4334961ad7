"""``plansguard status``."""

from __future__ import annotations

from plansguard.cli.common_options import Datasets, TextOrJson, emit_text_or_json, print_wrapped, text_or_json
from plansguard.cli.progress_bar import progress_bar
from plansguard.nnunet.workspace import Workspace


def status(dataset: Datasets = None, output: TextOrJson = []) -> None:  # noqa: B006 - typer copies it
    """Show what is running, done, stopped or stale in a workspace.

    For each dataset: plans and where they come from, preprocessed data, and the training of each fold. Done work is
    compared with its records. Exit code: 0, also where something is stale; 2 the command is wrong.

    Examples:
        plansguard status
        plansguard status -d 2
    """
    from plansguard.commands.status import not_read
    from plansguard.commands.status import status as rows_of
    from plansguard.render import status as rendering

    outputs, workspace = text_or_json(output), Workspace.from_environment()
    with progress_bar("reading datasets") as progress:
        rows = rows_of(workspace, dataset, progress.report)
    for reason in not_read(workspace):
        print_wrapped(f"not read: {reason}", err=True)
    emit_text_or_json(outputs, lambda screen: rendering.text(rows, screen), lambda: rendering.as_json(rows))
