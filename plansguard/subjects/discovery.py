"""Find the documents of nnU-Net in files and folders, and the datasets they belong to."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from plansguard.core import disk
from plansguard.core.errors import UnreadableDocument, UsageError
from plansguard.core.text import nearest
from plansguard.documents import file_names, json_document, size_limits
from plansguard.documents.json_document import JsonDocument
from plansguard.documents.recognise import may_be_document, recognise, resembles_document
from plansguard.nnunet.workspace import DATASET_NAME, GROUND_TRUTH, Workspace, dataset_id
from plansguard.subjects.dataset import Dataset
from plansguard.subjects.plans import Configuration, Plans

#: Folders that are searched below one path: a whole disk has more, and takes minutes.
MAX_FOLDERS = 50_000

#: Folders with images, arrays or files of other programs, and without documents of nnU-Net.
_PRUNED = {
    *("imagesTr", "imagesTs", "labelsTr", "labelsTs", GROUND_TRUTH, "node_modules", "__pycache__"),
    *("lost+found", "$RECYCLE.BIN", "System Volume Information"),  # on every disk, and not readable
}


def expected_kind(path: Path) -> str | None:
    """The kind of document that nnU-Net expects under this file name, or None."""
    for kind, name in file_names.CANONICAL_NAMES.items():
        if path.name == name:
            return kind
        if path.name.endswith(name):
            return None  # such as model__plans__dataset.json, which may be of any kind
    if path.name.endswith(file_names.MIGRATION_RECORD_ENDING):
        return "lineage"
    if path.name.endswith(file_names.PREPROCESSING_RECORD_ENDING):
        return "stamp"
    if path.name == file_names.TRAINING_RECORD_NAME:
        return "receipt"
    if path.name == file_names.SETTINGS_NAME:
        return None
    return "plans" if "plans" in path.stem.casefold() else None


def discover(paths: Sequence[Path]) -> list[Dataset]:
    """One Dataset for every folder in or below ``paths`` that contains nnU-Net documents.

    For a file, its whole folder is checked. Raises UsageError when a path does not exist, or has more than MAX_FOLDERS
    folders below it.
    """
    folders: dict[Path, tuple[Path, set[str]]] = {}
    for path in paths:
        if not disk.is_there(path):
            raise UsageError(disk.absence(path), hint="give a plans file, a dataset folder or a folder above them")
        for folder in _walk(path) if disk.is_folder(path) else [path.parent]:
            named = folders.setdefault(disk.real(folder), (folder, set()))[1]
            if not disk.is_folder(path):
                named.add(path.name)
    datasets = (_listed(folder, named) for folder, named in folders.values())
    return [dataset for dataset in datasets if dataset.documents or dataset.unreadable]


def dataset_in(folder: Path, named: Iterable[str] = (), workspace: Workspace | None = None) -> Dataset:
    """The documents of one folder, in this workspace or else the one around the folder.

    A file in ``named`` is included if its name is one of nnU-Net's, or if it cannot be read. Files without a name and
    the fields of nnU-Net's documents are skipped, named or not; so are damaged files, unless what is left of them shows
    what they are. UnreadableDocument when the folder cannot be listed.
    """
    documents: list[JsonDocument] = []
    by_name_only: list[JsonDocument] = []
    unreadable: list[UnreadableDocument] = []
    named = set(named)
    for path in sorted(entry for entry in _json_files(folder) | {folder / name for name in named}):
        wanted = path.name in named
        try:
            document = _read(path)
        except UnreadableDocument as error:
            if wanted or expected_kind(path) or _is_damaged_document(path):
                unreadable.append(error)
            continue
        if document is None:
            continue
        if recognise(document.value) or (wanted and expected_kind(path)):
            documents.append(document)
        elif expected_kind(path):
            by_name_only.append(document)
    # A file that only has a name of nnU-Net's is included beside documents of nnU-Net; elsewhere it is unrelated.
    if documents:
        documents += by_name_only
    elif not DATASET_NAME.fullmatch(folder.absolute().name):
        # Other programs use the names plans.json and dataset.json too.
        doubtful = {file_names.MODEL_PLANS, file_names.CANONICAL_NAMES["dataset.json"]} - named
        unreadable = [error for error in unreadable if Path(error.path).name not in doubtful]
    return Dataset(folder, tuple(documents), tuple(unreadable), workspace or Workspace.around(folder))


def dataset_of(workspace: Workspace, id_or_name: str) -> Dataset:
    """The preprocessed folder of a dataset; UsageError when it does not exist."""
    name = workspace.dataset_name(id_or_name)
    folder = workspace.preprocessed_folder(name)
    if not disk.is_folder(folder):
        raise UsageError(f"{name} has no folder in {workspace.preprocessed}", hint=_dataset_hint(workspace, name))
    return dataset_in(folder, workspace=workspace)


def plans_of(dataset: Dataset, identifier: str) -> Plans:
    """The plans that ``-p`` names; UsageError when the dataset has none of that name, UnreadableDocument if damaged."""
    present = {plans.identifier: plans for plans in dataset.plans}
    if identifier in present:
        return present[identifier]
    for error in dataset.unreadable:
        if Path(error.path).name == f"{identifier}.json":
            raise error
    raise UsageError(
        f"{dataset.name} has no plans named {identifier}", hint=_name_hint(identifier, present, "plans here:")
    )


def configuration_of(plans: Plans, name: str) -> Configuration:
    """The configuration of that name; UsageError when the plans have none."""
    present = {configuration.name: configuration for configuration in plans.configurations}
    if name in present:
        return present[name]
    raise UsageError(
        f"there is no configuration {name} in {plans.path}", hint=_name_hint(name, present, f"{plans.identifier} has")
    )


def _name_hint(name: str, present: Iterable[str], here: str) -> str:
    near = nearest(name, present)
    all_of_them = f"{here} {', '.join(present) or 'none'}"
    return f"did you mean {near}? {all_of_them}" if near else all_of_them


def _dataset_hint(workspace: Workspace, name: str) -> str:
    """For a dataset without a folder: its complete name, or the command that plans it."""
    names = workspace.dataset_names()
    if name not in names:
        longer = next((known for known in names if known.startswith(name)), None)
        return f"did you mean {longer}?" if longer else f"datasets here: {', '.join(names) or 'none'}"
    return f"plan it first: nnUNetv2_plan_and_preprocess -d {dataset_id(name) or name}"


def _listed(folder: Path, named: Iterable[str]) -> Dataset:
    """As ``dataset_in``, but a folder that cannot be listed is one finding instead of an exception."""
    try:
        return dataset_in(folder, named)
    except UnreadableDocument as error:
        return Dataset(folder, (), (error,))


def _walk(root: Path) -> Iterator[Path]:
    """Every folder at or below ``root`` that can contain documents, once each; links are followed.

    Folders that cannot be listed come last, so that they are reported. UsageError beyond MAX_FOLDERS.
    """
    seen: set[Path] = set()
    unlisted: list[OSError] = []
    for folder, subfolders, _ in os.walk(root, onerror=unlisted.append, followlinks=True):
        real = disk.real(folder)
        if real in seen:
            subfolders.clear()
            continue
        seen.add(real)
        if len(seen) > MAX_FOLDERS:
            reason = f"there are more than {MAX_FOLDERS:,} folders below {root}"
            raise UsageError(reason, hint="name the folders of datasets, or datasets with -d")
        yield (path := Path(folder))
        if DATASET_NAME.fullmatch(path.name) and disk.is_file(path / file_names.CANONICAL_NAMES["fingerprint"]):
            subfolders.clear()  # those of a preprocessed dataset contain thousands of arrays and no documents
        subfolders[:] = sorted(
            name for name in subfolders if name not in _PRUNED and not name.startswith((".", "fold_"))
        )
    yield from (Path(error.filename) for error in unlisted)


def _json_files(folder: Path) -> set[Path]:
    try:
        names = [name for name in disk.entry_names(folder) if name.endswith(".json")]
    except OSError as error:
        reason = f"the folder cannot be listed: {error.strerror}"
        raise UnreadableDocument(str(folder), reason, hint="check its permissions") from error
    return {folder / name for name in names if not name.startswith(".")}


def _is_damaged_document(path: Path) -> bool:
    """Whether a file that cannot be read is one of nnU-Net's by its content, or plans by the record beside it."""
    try:
        return _has_record(path) or resembles_document(json_document.read_bytes(path))
    except UnreadableDocument:
        return False


def _has_record(path: Path) -> bool:
    """Whether a migration record is beside a file."""
    return disk.is_file(path.with_name(path.stem + file_names.MIGRATION_RECORD_ENDING))


def _read(path: Path) -> JsonDocument | None:
    """The parsed file; None when neither its name nor its content is of nnU-Net."""
    raw = json_document.read_bytes(path)
    if expected_kind(path) or may_be_document(raw) or _has_record(path):
        return size_limits.parse(raw, str(path))
    return None
