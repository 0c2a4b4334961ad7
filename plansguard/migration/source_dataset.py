"""The source of a migration: a dataset of the workspace, or an artefact anywhere."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from plansguard.core import disk
from plansguard.core.errors import UsageError
from plansguard.core.text import quoted
from plansguard.documents.file_names import WEIGHTS_ENDINGS
from plansguard.nnunet.workspace import Workspace
from plansguard.subjects.dataset import Dataset
from plansguard.subjects.discovery import dataset_of

_ENDINGS = {".json"} | WEIGHTS_ENDINGS


def giving_dataset(
    workspace: Workspace, source: str, identifier: str | None, workflow: str
) -> tuple[Dataset, str | None]:
    """The dataset of ``-s``, and the identifier of the plans that are meant.

    ``source`` is a dataset id or name, a path into ``nnUNet_preprocessed``, or an artefact: a plans file, a model
    folder, a folder of models or a zip archive of them, a checkpoint. ``identifier`` is that of ``-sp``. Raises
    UsageError when the source does not exist, is ambiguous or not for ``workflow``, UnreadableDocument when it cannot
    be read.
    """
    if not names_a_path(workspace, source):
        return _dataset(workspace, source), identifier
    path = Path(source)
    name = _preprocessed_dataset(workspace, path)
    if name is not None:
        return dataset_of(workspace, name), identifier if disk.is_folder(path) else _stem(path, identifier)
    from plansguard.migration.source_artefact import external_dataset

    external = external_dataset(path, identifier, workspace.results)
    if workflow == "pretrain" and external.models:
        raise UsageError(
            f"{path} contains trained weights; --workflow pretrain is for a network still to be trained",
            hint="to fine-tune these weights, leave --workflow out; for pretrain, -s is the fine-tuning dataset, or a "
            "plans file of it",
        )
    return external, None


def names_a_path(workspace: Workspace, source: str) -> bool:
    """Whether ``-s`` is a path: it has a separator or an ending, or only a file or folder has that name."""
    if source.isascii() and source.isdigit():
        return False
    if set(source) & {"/", os.sep} or Path(source).suffix in _ENDINGS:
        return True
    is_dataset = workspace.preprocessed is not None and disk.is_folder(workspace.preprocessed / source)
    return not is_dataset and disk.is_there(source)


def _dataset(workspace: Workspace, source: str) -> Dataset:
    try:
        return dataset_of(workspace, source)
    except UsageError as error:
        with suppress(UsageError):
            name = workspace.dataset_name(source)
            if workspace.results is not None and disk.is_folder(workspace.results / name):
                error.hint = f"plans can also come from its trained models: -s {quoted(workspace.results / name)}"
        raise


def _preprocessed_dataset(workspace: Workspace, path: Path) -> str | None:
    """The dataset whose preprocessed folder, or a plans file in it, this path is."""
    root, folder = workspace.preprocessed, path if disk.is_folder(path) else path.parent
    if root is None or not (disk.is_folder(path) or path.suffix == ".json"):
        return None
    real = disk.real(folder)
    return real.name if real.parent == disk.real(root) else None


def _stem(path: Path, identifier: str | None) -> str:
    if identifier not in (None, path.stem):
        raise UsageError(f"-s names {path.name}, and -sp {identifier}", hint="leave -sp out, or name a dataset with -s")
    return path.stem
