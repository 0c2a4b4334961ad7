"""``plansguard fit``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from textwrap import fill
from typing import TYPE_CHECKING, Annotated, Any

import typer

from plansguard.cli.common_options import use_color
from plansguard.core.errors import UsageError
from plansguard.nnunet.workspace import Workspace
from plansguard.render import printable

if TYPE_CHECKING:
    from plansguard.artefacts.checkpoint.checkpoint import Checkpoint
    from plansguard.commands.fit import FitResult
    from plansguard.subjects.dataset import Dataset

_COLORS = {"loads": "green", "preprocess again": "yellow", "migrate first": "yellow", "impossible": "red"}
_WRAPPED: dict[str, Any] = {
    "width": 100,
    "initial_indent": "  ",
    "subsequent_indent": "  ",
    "break_long_words": False,
    "break_on_hyphens": False,
}


def fit(
    checkpoint: Annotated[
        Path,
        typer.Argument(help="The weights: a .pth file of nnU-Net v2, or a model's folder or zip.", show_default=False),
    ],
    dataset: Annotated[
        list[str] | None,
        typer.Option("-d", "--dataset", metavar="ID_OR_NAME", help="A dataset below $nnUNet_preprocessed. Repeatable."),
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="All datasets below $nnUNet_preprocessed.")] = False,
    plans: Annotated[str | None, typer.Option("-p", "--plans", metavar="IDENTIFIER", help="Only these plans.")] = None,
    configuration: Annotated[
        str | None,
        typer.Option("-c", "--configuration", help="Default: the one that the weights were trained as."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="The table as JSON.")] = False,
) -> None:
    """Which datasets can be fine-tuned from a checkpoint, and what the others need first.

    Exit code: 0 every dataset has plans that the weights fit, 1 some have not, 2 the command is wrong.
    """
    from plansguard.artefacts.checkpoint.trained_model import weights_in
    from plansguard.commands.fit import LOADS
    from plansguard.commands.fit import fit as run_fit
    from plansguard.subjects.discovery import dataset_of, narrowed
    from plansguard.subjects.request import Request

    workspace = Workspace.from_environment()
    if bool(dataset) == every:
        hint = "plansguard fit checkpoint_final.pth -d 2 -d 3, or --all"
        raise UsageError("name the datasets with -d, or take --all", hint=hint)
    weights = weights_in(checkpoint)
    names = _all_names(workspace) if every else dataset or []
    subjects = [narrowed(dataset_of(workspace, one), Request(plans=plans)) for one in names]
    for subject in subjects:
        if plans is not None and not subject.judged_plans and len(subjects) == 1:
            known = ", ".join(one.identifier for one in subject.plans) or "none"
            raise UsageError(f"{subject.name} has no plans called {plans}", hint=f"its plans: {known}")
    _assert_known(configuration, weights, subjects)
    zipped = checkpoint.is_file() and weights.path != str(checkpoint)
    verdicts = run_fit(weights, subjects, configuration, checkpoint if zipped else None)
    if as_json:
        import json

        typer.echo(json.dumps([verdict._asdict() for verdict in verdicts], indent=2))
    else:
        _show(verdicts)
    fitting = {verdict.dataset for verdict in verdicts if verdict.outcome == LOADS}
    raise typer.Exit(0 if fitting == {subject.name for subject in subjects} else 1)


def _assert_known(configuration: str | None, weights: Checkpoint, subjects: Sequence[Dataset]) -> None:
    """UsageError for a configuration that nobody has and that is spelt like one."""
    from plansguard.core.text import nearest

    known = {one.name for subject in subjects for plans in subject.judged_plans for one in plans.configurations}
    known |= {weights.configuration} if weights.configuration is not None else set()
    near = None if configuration is None or configuration in known else nearest(configuration, sorted(known))
    if near:
        raise UsageError(f"no plans here have a configuration {configuration}", hint=f"did you mean {near}?")


def _all_names(workspace: Workspace) -> list[str]:
    names = [name for name in workspace.dataset_names() if workspace.preprocessed_folder(name).is_dir()]
    if not names:
        raise UsageError(f"there is no dataset in {workspace.preprocessed}", hint="check nnUNet_preprocessed")
    return names


def _show(verdicts: list[FitResult]) -> None:
    """A line for each verdict, with its reason and the next command below it."""
    from plansguard.commands.fit import IMPOSSIBLE

    rows = [(f"{verdict.dataset}  {verdict.plans}  {verdict.configuration}", verdict) for verdict in verdicts]
    width = max(len(printable(place)) for place, _ in rows)
    for place, verdict in rows:
        outcome = verdict.outcome
        if use_color() and outcome in _COLORS:
            outcome = typer.style(outcome, fg=_COLORS[outcome])
        typer.echo(f"{printable(place):<{width}}  {outcome}")
        typer.echo(fill(printable(verdict.reason), **_WRAPPED))
        seeing = "to see why: " if verdict.outcome == IMPOSSIBLE else ""
        typer.echo(f"  {seeing}{printable(verdict.command)}")  # never wrapped: it is there to be copied
