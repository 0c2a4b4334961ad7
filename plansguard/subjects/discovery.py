"""Find the documents of nnU-Net in files and folders, and the datasets they belong to."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path

from plansguard.core import disk
from plansguard.core.errors import UnreadableDocument, UnreadableFolder, UsageError
from plansguard.core.text import nearest, quoted
from plansguard.documents import file_names, json_document, size_limits
from plansguard.documents.json_document import JsonDocument
from plansguard.documents.recognise import is_baseline, may_be_document, resembles_document
from plansguard.nnunet import printed_commands
from plansguard.nnunet.constants import USUAL_CONFIGURATION
from plansguard.nnunet.workspace import DATASET_NAME, GROUND_TRUTH, Workspace
from plansguard.subjects.dataset import Dataset
from plansguard.subjects.plans import Configuration, Plans
from plansguard.subjects.request import Progress, tracked

#: Folders that are searched below one path: a whole disk has more, and takes minutes.
MAX_FOLDERS = 50_000

#: Errors of opening a file that exists: it may be any document.
_CLOSED = (errno.EACCES, errno.EPERM, errno.EIO)

#: Folders with images, arrays or files of other programs, and without documents of nnU-Net.
_PRUNED = {
    *("imagesTr", "imagesTs", "labelsTr", "labelsTs", GROUND_TRUTH, "node_modules", "__pycache__"),
    *("lost+found", "$RECYCLE.BIN", "System Volume Information"),  # on every disk, and not readable
}


@lru_cache(maxsize=1024)  # the files of thousands of datasets have the same names
def expected_kind(file: str) -> str | None:
    """The kind of document that nnU-Net expects under this file name, or None."""
    for kind, name in file_names.CANONICAL_NAMES.items():
        if file == name:
            return kind
        if file.endswith(name):
            return None  # such as model__plans__dataset.json, which may be of any kind
    if file.endswith(file_names.MIGRATION_RECORD_ENDING):
        return "lineage"
    if file.endswith(file_names.PREPROCESSING_RECORD_ENDING):
        return "stamp"
    if file == file_names.TRAINING_RECORD_NAME:
        return "receipt"
    if file in (file_names.SETTINGS_NAME, file_names.BASELINE_NAME):
        return None
    return "plans" if "plans" in _stem(file).casefold() else None


def discover(paths: Sequence[Path], progress: Progress | None = None) -> Iterator[Dataset]:
    """One Dataset for every folder in or below ``paths`` that contains nnU-Net documents, each read when it is taken.

    For a file, its whole folder is checked. Raises UsageError, before anything is read, when a path does not exist, or
    has more than MAX_FOLDERS folders below it, and when all paths are weights.
    """
    if paths and all(map(_are_weights, paths)):
        show, fit = printed_commands.show(paths[0]), printed_commands.fit_everywhere(paths[0])
        raise UsageError(f"{paths[0]} is no plans file", hint=f"{show} describes it, and {fit} lists what it fits")
    folders: dict[str, tuple[Path, disk.Entries | None, set[str]]] = {}
    for path in paths:
        if not disk.is_there(path):
            raise UsageError(disk.absence(path), hint="give a plans file, a dataset folder or a folder above them")
        is_folder = disk.is_folder(path)
        for real, folder, entries in _walk(path) if is_folder else [(str(disk.real(path.parent)), path.parent, None)]:
            named = folders.setdefault(real, (folder, entries, set()))[2]
            if not is_folder:
                named.add(path.name)
    around: dict[Path, Workspace] = {}  # by the folder above: thousands of datasets are in one workspace
    every = tracked(list(folders.values()), "checking folders", progress)
    datasets = (_listed(folder, named, around, entries) for folder, entries, named in every)
    return (dataset for dataset in datasets if dataset.documents or dataset.unreadable)


def dataset_in(
    folder: Path,
    named: Iterable[str] = (),
    workspace: Workspace | None = None,
    entries: disk.Entries | None = None,
    contents: Mapping[str, bytes] | None = None,
) -> Dataset:
    """The documents of one folder, in this workspace or else the one around the folder.

    ``entries`` are those of the folder where it has been listed already; ``contents`` are those of files that are not
    read from disk, by name.

    A file in ``named`` is included if its name is one of nnU-Net's, or if it cannot be read; for plans, a name such as
    pricing_plans.json is not enough. Files without a name and
    the fields of nnU-Net's documents are skipped, named or not; so are damaged files, unless what is left of them shows
    what they are. A JSON file without permission to open it is included beside documents of nnU-Net. UnreadableDocument
    when the folder cannot be listed.
    """
    documents: list[JsonDocument] = []
    by_name_only: list[JsonDocument] = []
    unreadable: list[UnreadableDocument] = []
    closed: list[UnreadableDocument] = []
    named = set(named)
    entries = entries or _entries(folder)
    place = "" if str(folder) == os.curdir else str(folder)
    contents = contents or {}
    for name in sorted({*named, *_json_names(entries)}):
        expected = expected_kind(name)
        # Plans are known by the record beside them, too.
        certain = expected is not None or _stem(name) + file_names.MIGRATION_RECORD_ENDING in entries.files
        try:
            document = _read(disk.joined(place, name), certain, contents.get(name))
        except UnreadableDocument as error:
            if name in named or certain or _resembles_document(folder / name, contents.get(name)):
                unreadable.append(error)
            elif isinstance(error.__cause__, OSError) and error.__cause__.errno in _CLOSED:
                closed.append(error)
            continue
        if document is None:
            continue
        if document.kind or (name in named and expected and (expected != "plans" or _names_plans(name))):
            documents.append(document)
        elif expected:
            by_name_only.append(document)
    # A file that only has a name of nnU-Net's is included beside documents of nnU-Net; elsewhere it is unrelated.
    if documents:
        documents += by_name_only
    if documents or DATASET_NAME.fullmatch(folder.absolute().name):
        unreadable += closed
    else:
        # Other programs use the names plans.json and dataset.json too.
        doubtful = {file_names.MODEL_PLANS, file_names.CANONICAL_NAMES["dataset.json"]} - named
        unreadable = [error for error in unreadable if Path(error.path).name not in doubtful]
    dataset = Dataset(folder, tuple(documents), tuple(unreadable), workspace or Workspace.around(folder))
    dataset.entries = entries
    return dataset


def dataset_of(workspace: Workspace, id_or_name: str) -> Dataset:
    """The preprocessed folder of a dataset; UsageError when it does not exist."""
    name = workspace.dataset_name(id_or_name)
    folder = workspace.preprocessed_folder(name)
    if not disk.is_folder(folder):
        raise UsageError(f"{name} has no folder in {workspace.preprocessed}", hint=_dataset_hint(workspace, name))
    return dataset_in(folder, workspace=workspace)


def assert_no_weights(file: str | Path) -> None:
    """Raise UsageError for a checkpoint, or an archive of trained models, in place of a plans file."""
    if _are_weights(file):
        write = printed_commands.extract(file, file_names.MODEL_PLANS)
        hint = f"if it contains weights, {write} writes their plans to one"
        if Path(file).suffix == ".safetensors":
            hint = "a safetensors file has no plans; name those with which its weights were trained"
        raise UsageError(f"{file} is no plans file", hint=hint)


def _are_weights(file: str | Path) -> bool:
    return Path(file).suffix in file_names.WEIGHTS_ENDINGS and disk.is_file(file)


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


def some_configuration(plans: Plans) -> str:
    """What to add to a command that names no configuration, as a hint."""
    present = [configuration.name for configuration in plans.configurations]
    example = USUAL_CONFIGURATION if USUAL_CONFIGURATION in present else next(iter(present), None)
    such_as = "" if example is None else f", such as -c {quoted(example)}"
    return f"add -c{such_as}: {plans.identifier} has {', '.join(present) or 'none'}"


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
    return f"plan it first: {printed_commands.plan_and_preprocess(name)}"


def _listed(folder: Path, named: Iterable[str], around: dict[Path, Workspace], entries: disk.Entries | None) -> Dataset:
    """As ``dataset_in``, but a folder that cannot be listed is one finding instead of an exception."""
    above = folder.absolute().parent
    try:
        if above not in around:
            around[above] = Workspace.around(folder)
        return dataset_in(folder, named, around[above], entries)
    except UnreadableDocument as error:
        return Dataset(folder, (), (error,))


def _walk(root: Path) -> Iterator[tuple[str, Path, disk.Entries | None]]:
    """Every folder at or below ``root`` with JSON files: its real path, its path, and what is in it; once each.

    Links are followed, except to a folder above ``root``, which contains more than what was named. Folders that cannot
    be listed come last, without entries, so that they are reported. UsageError beyond MAX_FOLDERS.
    """
    above = set(map(str, disk.real(root).parents))
    seen: set[str] = set()
    unlisted: list[tuple[str, Path, None]] = []
    waiting = [(str(disk.real(root)), root)]
    while waiting:
        real, folder = waiting.pop()
        if real in seen or real in above:
            continue
        try:
            entries = disk.entries(folder)
        except OSError:
            unlisted.append((real, folder, None))
            continue
        seen.add(real)
        if len(seen) > MAX_FOLDERS:
            reason = f"there are more than {MAX_FOLDERS:,} folders below {root}"
            raise UsageError(reason, hint="name the folders of datasets, or datasets with -d")
        if any(_json_names(entries)):
            yield real, folder, entries
        if DATASET_NAME.fullmatch(folder.name) and file_names.CANONICAL_NAMES["fingerprint"] in entries.files:
            continue  # the folders of a preprocessed dataset contain thousands of arrays and no documents
        for name in sorted(entries.folders - _PRUNED, reverse=True):
            if not name.startswith((".", "fold_")):
                inside = folder / name
                waiting.append((str(disk.real(inside)) if name in entries.links else disk.joined(real, name), inside))
    yield from unlisted


def _entries(folder: Path) -> disk.Entries:
    try:
        with disk.reading(folder):
            return disk.entries(folder)
    except OSError as error:
        reason = f"the folder cannot be listed: {error.strerror}"
        raise UnreadableFolder(str(folder), reason, hint="check its permissions") from error


def _json_names(entries: disk.Entries) -> Iterator[str]:
    """Names that end in ``.json``, without hidden ones: of files, and of what may be meant to be one."""
    for names in (entries.files, entries.folders, entries.others):
        yield from filter(file_names.is_json_name, names)


def _names_plans(file: str) -> bool:
    """Whether a file is called as nnU-Net's planners call plans: plans.json, or a name that ends in Plans or has it."""
    return file == file_names.MODEL_PLANS or "Plans" in _stem(file)


def _stem(file: str) -> str:
    return file.rpartition(".")[0] or file


def _resembles_document(path: Path, raw: bytes | None) -> bool:
    """Whether a file that cannot be read is one of nnU-Net's by its content, which may be given."""
    try:
        return resembles_document(json_document.read_bytes(path) if raw is None else raw)
    except UnreadableDocument:
        return False


def _read(path: str, certain: bool, raw: bytes | None) -> JsonDocument | None:
    """The parsed file; None if it is not ``certain`` to be of nnU-Net, and its content (``raw``, or on disk) is not."""
    raw = json_document.read_bytes(path) if raw is None else raw
    if is_baseline(raw):
        return None  # its name may be like that of plans
    return size_limits.parse(raw, path) if certain or may_be_document(raw) else None
