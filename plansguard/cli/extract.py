"""``plansguard extract``."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from plansguard.core.atomic_files import write_atomically
from plansguard.core.errors import UnreadableDocument, UsageError, WriteRefused
from plansguard.render import printable

if TYPE_CHECKING:
    from plansguard.documents.json_document import JsonDocument

_SCREEN = Path("-")


def extract(
    source: Annotated[
        Path,
        typer.Argument(metavar="CHECKPOINT|MODEL", help="A .pth file, a model folder, or an exported zip of models."),
    ],
    output: Annotated[
        Path, typer.Option("-o", metavar="FILE", help="Where the plans go. Default: the screen, as with -o -.")
    ] = _SCREEN,
    dataset_json: Annotated[
        Path | None,
        typer.Option("--dataset-json", metavar="FILE", help="Where the dataset.json of the training goes."),
    ] = None,
    plans: Annotated[
        str | None,
        typer.Option(
            "-p",
            metavar="IDENTIFIER",
            help="Of models with different plans: the plans, the model or its configuration.",
        ),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Replace another file of that name; a backup is kept beside it.")
    ] = False,
) -> None:
    """Take the plans out of trained weights: a checkpoint carries the plans that it was trained with.

    A model's plans.json comes out byte for byte, a checkpoint's plans as nnU-Net would write them. A file that holds
    something else is not replaced without --force.
    """
    documents = _documents(source, plans)
    files = [(output, documents[0])] if output != _SCREEN else []
    if dataset_json is not None:
        if documents[1] is None:
            raise UnreadableDocument(str(source), "it holds no dataset.json", hint="leave --dataset-json out")
        files.append((dataset_json, documents[1]))
    if len({path.absolute() for path, _ in files}) < len(files):
        raise UsageError("-o and --dataset-json name the same file", hint="give each a name of its own")
    for path, document in files:
        _check(path, document.raw, force=force)
    said = [line for path, document in files for line in _write(path, document.raw)]
    if output == _SCREEN:
        _show(documents[0].raw)
        return
    for line in said:
        typer.echo(printable(line))
    typer.echo("\nNext:")
    typer.echo(printable(f"  plansguard show {shlex.quote(str(output))}"))
    typer.echo(printable(f"  plansguard migrate -s {shlex.quote(str(source))} -t DATASET -tp NEW_NAME"))


def _documents(source: Path, wanted: str | None) -> tuple[JsonDocument, JsonDocument | None]:
    """The plans and the dataset.json of an artefact."""
    from plansguard.artefacts.checkpoint.checkpoint import Checkpoint
    from plansguard.artefacts.checkpoint.trained_model import (
        embedded_dataset_json,
        embedded_plans,
        read_artefact,
    )
    from plansguard.documents.json_document import JsonDocument
    from plansguard.migration.source_artefact import chosen_models

    artefact = read_artefact(source)
    if isinstance(artefact, JsonDocument):
        raise UsageError(f"{source} holds plans already", hint=f"look at them with: plansguard show {source}")
    if isinstance(artefact, Checkpoint):
        return embedded_plans(artefact), embedded_dataset_json(artefact)
    model = chosen_models(source, artefact, wanted, option="-p")[0]
    return model.plans, model.dataset_json


def _check(path: Path, content: bytes, *, force: bool) -> None:
    """Refuse to write where something else stands."""
    if path.is_dir():
        raise UsageError(f"{path} is a folder", hint=f"name a file in it: {path / 'plans.json'}")
    if path.is_file() and path.read_bytes() != content and not force:
        raise WriteRefused(
            f"{path} is there already and holds something else",
            hint="give another name, or --force, which keeps a backup of it",
        )


def _write(path: Path, content: bytes) -> list[str]:
    if path.exists() and not path.is_file():
        path.write_bytes(content)  # a pipe or a device: not ours to replace
        return []
    old = path.read_bytes() if path.is_file() else None
    if old == content:
        return [f"{path} holds this already"]
    kept = []
    if old is not None:
        from plansguard.migration.plan import backup_name

        backup = backup_name(path, old)
        write_atomically(backup, old)
        kept = [f"kept what stood there as {backup}"]
    write_atomically(path, content)
    return [*kept, f"wrote {path}"]


def _show(content: bytes) -> None:
    """The bytes themselves; on a terminal without what could steer it."""
    if not sys.stdout.isatty():
        typer.echo(content, nl=False)
        return
    for line in content.decode().splitlines():
        typer.echo(printable(line))
