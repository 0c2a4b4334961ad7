"""``plansguard extract``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer
from typer import Argument, Option

from plansguard.cli.common_options import SCREEN, print_line, print_next
from plansguard.cli.progress_bar import progress_bar
from plansguard.core import disk
from plansguard.core.errors import UsageError
from plansguard.nnunet import printed_commands
from plansguard.nnunet.printed_commands import DATASET, NEW_NAME

_SCREEN = Path(SCREEN)

Source = Annotated[
    Path, Argument(metavar="CHECKPOINT|MODEL", help="A .pth file, a model folder, or an exported zip of models.")
]
Output = Annotated[Path, Option("-o", metavar="FILE", help="Where the plans go; - is the screen.")]
DatasetJson = Annotated[
    Path | None,
    Option("--dataset-json", metavar="FILE", help="Where the dataset.json of the training goes; - is the screen."),
]
Plans = Annotated[
    str | None,
    Option(
        "-p", metavar="IDENTIFIER", help="Of models with different plans: the plans, the model or its configuration."
    ),
]
Force = Annotated[bool, Option("--force", help="Replace another file of that name; a backup is kept beside it.")]


def extract(
    source: Source,
    output: Output = _SCREEN,
    dataset_json: DatasetJson = None,
    plans: Plans = None,
    force: Force = False,
) -> None:
    """Extract the plans that trained weights contain.

    A checkpoint contains the plans that it was trained with. A model's plans.json is copied byte for byte, a
    checkpoint's plans are written as by nnU-Net. A file that holds something else is not replaced without --force.

    Examples:
        plansguard extract checkpoint_final.pth -o plans.json
        plansguard extract model.zip -o plans.json --dataset-json dataset.json
    """
    from plansguard.commands.extract import extract as run_extract

    if output == _SCREEN == dataset_json:
        raise UsageError("-o and --dataset-json both name the screen", hint="give one of them a file: -o plans.json")
    if force and {output, dataset_json} <= {_SCREEN, None}:
        raise UsageError("--force replaces a file, and none is named", hint="leave it out, or add -o plans.json")
    for place in (output, dataset_json):
        if place not in (None, _SCREEN) and disk.are_same(source, str(place)):
            raise UsageError(f"{place} is what the plans are extracted from", hint="give the plans another name")
    with progress_bar(f"reading {source}"):
        extracted = run_extract(source, output, dataset_json, plans=plans, force=force, screen=_SCREEN)
    if extracted.printed is not None:
        for message in extracted.messages:
            print_line(message, err=True)
        _print(extracted.printed.raw)
        return
    for message in extracted.messages:
        print_line(message)
    print_next([printed_commands.show(output), printed_commands.migrate(source, DATASET, NEW_NAME)])


def _print(content: bytes) -> None:
    """Print the bytes themselves; on a terminal with control characters spelled out."""
    if not sys.stdout.isatty():
        typer.echo(content, nl=False)
        return
    for line in content.decode().splitlines():
        print_line(line)
