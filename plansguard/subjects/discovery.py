"""From paths to subjects: which files are nnU-Net's, and which of them belong together."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from plansguard.core.errors import UnreadableDocument, UsageError
from plansguard.core.text import nearest
from plansguard.documents import json_document, size_limits
from plansguard.documents.file_names import (
    CANONICAL_NAMES,
    MIGRATION_RECORD_ENDING,
    MODEL_PLANS,
    PREPROCESSING_RECORD_ENDING,
    SETTINGS_NAME,
    TRAINING_RECORD_NAME,
)
from plansguard.documents.json_document import JsonDocument
from plansguard.documents.recognise import may_be_document, recognise
from plansguard.nnunet.workspace import DATASET_NAME, GROUND_TRUTH, Workspace, dataset_id
from plansguard.subjects.dataset import Dataset
from plansguard.subjects.plans import Configuration, Plans
from plansguard.subjects.request import Request

#: Folders that hold images, arrays or other programs' files, and never a document of ours.
_PRUNED = {
    *("imagesTr", "imagesTs", "labelsTr", "labelsTs", GROUND_TRUTH, "node_modules", "__pycache__"),
    *("lost+found", "$RECYCLE.BIN", "System Volume Information"),  # on every disk, and nobody may look into them
}


def expected_kind(path: Path) -> str | None:
    """The document that nnU-Net would look for under this file name, or None."""
    for kind, name in CANONICAL_NAMES.items():
        if path.name == name:
            return kind
        if path.name.endswith(name):
            return None  # like model__plans__dataset.json: named after several things, and so after none
    if path.name.endswith(MIGRATION_RECORD_ENDING):
        return "lineage"
    if path.name.endswith(PREPROCESSING_RECORD_ENDING):
        return "stamp"
    if path.name == TRAINING_RECORD_NAME:
        return "receipt"
    if path.name == SETTINGS_NAME:
        return None
    return "plans" if "plans" in path.stem.casefold() else None


def discover(paths: Sequence[Path]) -> list[Dataset]:
    """One Dataset for every folder in or below ``paths`` that holds nnU-Net documents.

    A file stands for its whole folder: what lies beside it is judged with it. Raises UsageError when a path does
    not exist.
    """
    folders: dict[str, tuple[Path, set[str]]] = {}
    for path in paths:
        if not path.exists():
            raise UsageError(f"there is no {path}", hint="give a plans file, a dataset folder or a folder above them")
        found = _walk(path) if path.is_dir() else [path.parent]
        for folder in found:
            named = folders.setdefault(os.path.realpath(folder), (folder, set()))[1]
            if not path.is_dir():
                named.add(path.name)
    datasets = (_judgeable(folder, named) for folder, named in folders.values())
    return [dataset for dataset in datasets if dataset.documents or dataset.unreadable]


def dataset_in(folder: Path, named: Iterable[str] = (), workspace: Workspace | None = None) -> Dataset:
    """The documents of one folder, in this workspace, or else in the one around it.

    A file in ``named`` counts already for one of nnU-Net's names, or if it cannot be read. What neither looks nor is
    called like nnU-Net's is passed over, named or not.

    UnreadableDocument when the folder cannot be listed.
    """
    documents: list[JsonDocument] = []
    strays: list[JsonDocument] = []
    unreadable: list[UnreadableDocument] = []
    named = set(named)
    for path in sorted(entry for entry in _json_files(folder) | {folder / name for name in named}):
        wanted = path.name in named
        try:
            document = _read(path)
        except UnreadableDocument as error:
            if wanted or expected_kind(path):
                unreadable.append(error)
            continue
        if document is None:
            continue
        if recognise(document.value) or (wanted and expected_kind(path)):
            documents.append(document)
        elif expected_kind(path):
            strays.append(document)
    # A file that only bears one of nnU-Net's names counts where nnU-Net's documents are; elsewhere it is a stranger's.
    if documents:
        documents += strays
    elif not DATASET_NAME.fullmatch(folder.absolute().name):
        unreadable = [error for error in unreadable if Path(error.path).name in named or _certain(Path(error.path))]
    return Dataset(folder, tuple(documents), tuple(unreadable), workspace or Workspace.around(folder))


def dataset_of(workspace: Workspace, id_or_name: str) -> Dataset:
    """The preprocessed folder of a dataset; UsageError when it is not there."""
    name = workspace.dataset_name(id_or_name)
    folder = workspace.preprocessed_folder(name)
    if not folder.is_dir():
        raise UsageError(f"{name} has no folder in {workspace.preprocessed}", hint=_what_then(workspace, name))
    return dataset_in(folder, workspace=workspace)


def plans_of(dataset: Dataset, identifier: str) -> Plans:
    """The plans that ``-p`` names; UsageError when the dataset has none of that name, UnreadableDocument if damaged."""
    present = {plans.identifier: plans for plans in dataset.plans}
    if identifier in present:
        return present[identifier]
    for error in dataset.unreadable:
        if Path(error.path).name == f"{identifier}.json":
            raise error
    raise UsageError(f"{dataset.name} has no plans {identifier}", hint=_meant(identifier, present, "plans here:"))


def configuration_of(plans: Plans, name: str) -> Configuration:
    """The configuration of that name; UsageError when the plans have none."""
    present = {configuration.name: configuration for configuration in plans.configurations}
    if name in present:
        return present[name]
    raise UsageError(
        f"there is no configuration {name} in {plans.path}", hint=_meant(name, present, f"{plans.identifier} has")
    )


def _meant(name: str, present: Iterable[str], here: str) -> str:
    near = nearest(name, present)
    all_of_them = f"{here} {', '.join(present) or 'none'}"
    return f"did you mean {near}? {all_of_them}" if near else all_of_them


def _what_then(workspace: Workspace, name: str) -> str:
    """What to type in place of a dataset without a folder: its whole name, or the command that plans it."""
    names = workspace.dataset_names()
    if name not in names:
        longer = next((one for one in names if one.startswith(name)), None)
        return f"did you mean {longer}?" if longer else f"datasets here: {', '.join(names) or 'none'}"
    return f"plan it first: nnUNetv2_plan_and_preprocess -d {dataset_id(name) or name}"


def _judgeable(folder: Path, named: Iterable[str]) -> Dataset:
    """As ``dataset_in``, but a folder that cannot be listed is one finding and does not end the whole check."""
    try:
        return dataset_in(folder, named)
    except UnreadableDocument as error:
        return Dataset(folder, (), (error,))


def narrowed(dataset: Dataset, request: Request) -> Dataset:
    """The same dataset, judged only where ``request`` asks."""
    return replace(dataset, request=request)


def _walk(root: Path) -> Iterator[Path]:
    """Every folder at or below ``root`` that can hold documents; links are followed, each folder is seen once.

    Folders that cannot be listed come last: nothing is passed over in silence.
    """
    seen: set[str] = set()
    unlisted: list[OSError] = []
    for folder, subfolders, _ in os.walk(root, onerror=unlisted.append, followlinks=True):
        real = os.path.realpath(folder)
        if real in seen:
            subfolders.clear()
            continue
        seen.add(real)
        yield Path(folder)
        if _holds_arrays(Path(folder)):
            subfolders.clear()
        subfolders[:] = sorted(
            name for name in subfolders if name not in _PRUNED and not name.startswith((".", "fold_"))
        )
    yield from (Path(error.filename) for error in unlisted)


def _holds_arrays(folder: Path) -> bool:
    """Whether this is a preprocessed dataset: its subfolders hold thousands of arrays and nothing to read."""
    return bool(DATASET_NAME.fullmatch(folder.name)) and (folder / CANONICAL_NAMES["fingerprint"]).is_file()


def _json_files(folder: Path) -> set[Path]:
    try:
        names = [entry.name for entry in os.scandir(folder) if entry.name.endswith(".json")]
    except OSError as error:
        reason = f"the folder cannot be listed: {error.strerror}"
        raise UnreadableDocument(str(folder), reason, hint="check its permissions") from error
    return {folder / name for name in names if not name.startswith(".")}


def _read(path: Path) -> JsonDocument | None:
    """The parsed file, or None when nothing about it looks like nnU-Net's."""
    raw = json_document.read_bytes(path)
    if expected_kind(path) or may_be_document(raw):
        return size_limits.parse(raw, str(path))
    return None


def _certain(path: Path) -> bool:
    """Whether a file's name alone says that it is nnU-Net's; ``plans.json`` and ``dataset.json`` are anybody's."""
    return path.name not in (MODEL_PLANS, CANONICAL_NAMES["dataset.json"])
