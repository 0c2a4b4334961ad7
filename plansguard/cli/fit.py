"""``plansguard fit``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from textwrap import fill
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer import Argument, Option

from plansguard.cli.common_options import Datasets, use_color
from plansguard.core import disk
from plansguard.core.errors import UsageError
from plansguard.nnunet import printed_commands
from plansguard.nnunet.workspace import Workspace
from plansguard.render import printable

if TYPE_CHECKING:
    from plansguard.commands.fit import FitResult

_COLORS = {"loads": "green", "preprocess again": "yellow", "migrate first": "yellow", "impossible": "red"}
_WRAPPED: dict[str, Any] = {
    "width": 100,
    "initial_indent": "  ",
    "subsequent_indent": "  ",
    "break_long_words": False,
    "break_on_hyphens": False,
}

Weights = Annotated[
    Path, Argument(help="The weights: a .pth file of nnU-Net v2, or a model's folder or zip.", show_default=False)
]
Configuration = Annotated[
    str | None, Option("-c", "--configuration", help="Default: the configuration of the weights.")
]


def fit(
    checkpoint: Weights,
    dataset: Datasets = None,
    every: Annotated[bool, Option("--all", help="All datasets below $nnUNet_preprocessed.")] = False,
    plans: Annotated[str | None, Option("-p", "--plans", metavar="IDENTIFIER", help="Only these plans.")] = None,
    configuration: Configuration = None,
    as_json: Annotated[bool, Option("--json", help="The table as JSON.")] = False,
) -> None:
    """List which datasets the weights fit, and what others need.

    Exit code: 0 every dataset has plans that the weights fit, 1 some have none, 2 the command is wrong.

    Examples:
        plansguard fit checkpoint_final.pth -d 2
        plansguard fit model.zip --all
    """
    from plansguard.artefacts.checkpoint.trained_model import weights_in
    from plansguard.commands.fit import LOADS, datasets_to_fit
    from plansguard.commands.fit import fit as run_fit

    workspace = Workspace.from_environment()
    if bool(dataset) == every:
        hint = f"for all of them: {printed_commands.fit_everywhere(checkpoint)}"
        raise UsageError("name the datasets with -d, or give --all", hint=hint)
    weights = weights_in(checkpoint)
    subjects = datasets_to_fit(workspace, None if every else dataset, plans, configuration, weights)
    zipped = disk.is_file(checkpoint) and weights.path != str(checkpoint)
    results = run_fit(weights, subjects, configuration, checkpoint if zipped else None)
    if as_json:
        import json

        typer.echo(json.dumps([result._asdict() for result in results], indent=2))
    else:
        _print_table(results)
    fitting = {result.dataset for result in results if result.outcome == LOADS}
    raise typer.Exit(0 if fitting == {subject.name for subject in subjects} else 1)


def _print_table(results: Sequence[FitResult]) -> None:
    """Print a line for each result, with its reason and the next command below it."""
    from plansguard.commands.fit import IMPOSSIBLE

    rows = [(printable(f"{result.dataset}  {result.plans}  {result.configuration}"), result) for result in results]
    width = max(len(place) for place, _ in rows)
    printed = set()
    for place, result in rows:
        outcome = result.outcome
        if use_color() and outcome in _COLORS:
            outcome = typer.style(outcome, fg=_COLORS[outcome])
        typer.echo(f"{place:<{width}}  {outcome}")
        typer.echo(fill(printable(result.reason), **_WRAPPED))
        if (result.dataset, result.command) in printed:
            continue  # one migration serves all plans of a dataset
        printed.add((result.dataset, result.command))
        purpose = "to see why: " if result.outcome == IMPOSSIBLE else ""
        only_judge = " --dry-run" if purpose and result.command.startswith("plansguard migrate") else ""
        typer.echo(f"  {purpose}{printable(result.command)}{only_judge}")  # not wrapped, so that it can be copied
