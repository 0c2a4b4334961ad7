"""Copy the plans and the dataset.json out of trained weights into files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from plansguard.artefacts.checkpoint.checkpoint import Checkpoint
from plansguard.artefacts.checkpoint.trained_model import embedded_dataset_json, embedded_plans, read_artefact
from plansguard.core import disk
from plansguard.core.atomic_files import after, append, assert_writable, holding, kept, write_atomically
from plansguard.core.errors import UnreadableDocument, UsageError, WriteRefused
from plansguard.documents.json_document import JsonDocument
from plansguard.migration.files import keep_copy
from plansguard.migration.source_artefact import chosen_models
from plansguard.nnunet import printed_commands
from plansguard.subjects.external_plans import ExternalPlans


class Extracted(NamedTuple):
    """The document that goes to the screen, and a line for every file that was written or kept."""

    printed: JsonDocument | None
    messages: list[str]


def extract(
    source: Path,
    output: Path,
    dataset_json: Path | None,
    *,
    plans: str | None = None,
    force: bool = False,
    screen: Path | None = None,
) -> Extracted:
    """Write the plans of ``source`` to ``output``, and its dataset.json to ``dataset_json``.

    What goes to ``screen`` is returned. ``plans`` selects among models with different plans. Nothing is written unless
    all can be. Raises UsageError, UnreadableDocument for an artefact without these documents, and WriteRefused for a
    file that holds something else, unless ``force`` is set: then a backup of it is kept.
    """
    found_plans, found_dataset_json = _documents(source, plans)
    targets = [(output, found_plans)]
    if dataset_json is not None:
        if found_dataset_json is None:
            raise UnreadableDocument(str(source), "it holds no dataset.json", hint="leave --dataset-json out")
        targets.append((dataset_json, found_dataset_json))
    printed = next((document for path, document in targets if path == screen), None)
    files = [(path, document) for path, document in targets if path != screen]
    if len({disk.real(path) for path, _ in files}) < len(files):
        raise UsageError("-o and --dataset-json name the same file", hint="give each a name of its own")
    for path, document in files:
        _assert_free(path, document.raw, force=force)
    return Extracted(printed, _write_all(files))


def _documents(source: Path, plans: str | None) -> tuple[JsonDocument, JsonDocument | None]:
    """The plans and the dataset.json of an artefact."""
    artefact = read_artefact(source)
    if isinstance(artefact, JsonDocument):
        raise UsageError(f"{source} holds plans already", hint=f"look at them with: {printed_commands.show(source)}")
    if isinstance(artefact, Checkpoint):
        _assert_named(source, artefact, plans)
        return embedded_plans(artefact), embedded_dataset_json(artefact)
    model = chosen_models(source, artefact, plans, option="-p")[0]
    return model.plans, model.dataset_json


def _assert_named(source: Path, checkpoint: Checkpoint, plans: str | None) -> None:
    """Raise UsageError if the plans of a checkpoint are not those that are meant, by their name or configuration."""
    name = ExternalPlans(embedded_plans(checkpoint)).identifier
    if plans not in (None, name, checkpoint.configuration):
        raise UsageError(f"{source} has no plans named {plans}", hint=f"plans there: {name}; -p can be left out")


def _assert_free(path: Path, content: bytes, *, force: bool) -> None:
    """Raise WriteRefused unless ``path`` is free, holds the same already, or may be replaced."""
    if disk.is_special(path):
        return
    if disk.is_folder(path):
        raise UsageError(f"{path} is a folder", hint=f"name a file in it: {path / 'plans.json'}")
    if disk.is_file(path) and not disk.is_link(path) and not force and disk.content(path) != content:
        raise WriteRefused(
            f"{path} exists already and holds something else",
            hint="give another name, or --force, which keeps a backup of it",
        )
    assert_writable(path, kept)


def _write_all(files: Sequence[tuple[Path, JsonDocument]]) -> list[str]:
    messages: list[str] = []
    with after(messages):
        for path, document in files:
            messages += _write(path, document.raw)
    return messages


def _write(path: Path, content: bytes) -> list[str]:
    if disk.is_special(path):
        append(path, content)
        return []
    old = disk.content(path) if disk.is_file(path) else None
    if old == content:
        return [f"{path} holds this already"]
    messages = [] if old is None else [keep_copy(path, old)]
    write_atomically(path, content, holding(old))
    return [*messages, f"wrote {path}"]
