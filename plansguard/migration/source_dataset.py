"""Where the plans of a migration come from: a dataset of the workspace, or an artefact that lies anywhere."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from plansguard.core.errors import UsageError
from plansguard.nnunet.workspace import Workspace, is_folder
from plansguard.subjects.dataset import Dataset
from plansguard.subjects.discovery import dataset_of

_ENDINGS = {".json", ".zip", ".pth", ".pt", ".model"}


def giving_dataset(
    workspace: Workspace, source: str, identifier: str | None, workflow: str
) -> tuple[Dataset, str | None]:
    """What ``-s`` names, and which of its plans are meant.

    ``source`` is a dataset id or name, a path into ``nnUNet_preprocessed``, or an artefact: a plans file, a model
    folder, a folder of models or a zip of them, a checkpoint. ``identifier`` is what ``-sp`` says. Raises UsageError
    when there is no such thing, when it is ambiguous or cannot serve ``workflow``; UnreadableDocument when it cannot be
    read.
    """
    if not _names_a_path(workspace, source):
        return _dataset(workspace, source), identifier
    path = Path(source)
    name = _preprocessed_dataset(workspace, path)
    if name is not None:
        return dataset_of(workspace, name), identifier if is_folder(path) else _stem(path, identifier)
    from plansguard.migration.source_artefact import given_by

    given = given_by(path, identifier)
    if workflow == "pretrain" and given.models:
        raise UsageError(
            f"{path} holds weights that are trained already; --workflow pretrain is for a network still to be trained",
            hint="to fine-tune these weights, leave --workflow out; for pretrain, -s is the fine-tuning dataset, or a "
            "plans file of it",
        )
    return given, None


def _names_a_path(workspace: Workspace, source: str) -> bool:
    """Whether ``-s`` is no dataset: it has a separator or an ending, or only a file or folder has that name."""
    if source.isascii() and source.isdigit():
        return False
    if set(source) & {"/", os.sep} or Path(source).suffix in _ENDINGS:
        return True
    known = workspace.preprocessed is not None and is_folder(workspace.preprocessed / source)
    return not known and Path(source).exists()


def _dataset(workspace: Workspace, source: str) -> Dataset:
    try:
        return dataset_of(workspace, source)
    except UsageError as error:
        with suppress(UsageError):
            name = workspace.dataset_name(source)
            if workspace.results is not None and is_folder(workspace.results / name):
                error.hint = f"its trained models give their plans, too: -s {workspace.results / name}"
        raise


def _preprocessed_dataset(workspace: Workspace, path: Path) -> str | None:
    """The dataset of the workspace whose preprocessed folder, or plans file in it, this is."""
    root, folder = workspace.preprocessed, path if is_folder(path) else path.parent
    if root is None or not (is_folder(path) or _is_json(path)):
        return None
    real = Path(os.path.realpath(folder))
    return real.name if str(real.parent) == os.path.realpath(root) else None


def _stem(path: Path, identifier: str | None) -> str:
    if identifier not in (None, path.stem):
        raise UsageError(f"-s names {path.name}, and -sp {identifier}", hint="leave -sp out, or give the dataset to -s")
    return path.stem


def _is_json(path: Path) -> bool:
    return path.suffix == ".json"
