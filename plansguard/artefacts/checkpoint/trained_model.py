"""Read trained models, as folders and as zips, and find out what kind of artefact a path is.

A model folder is ``DatasetNNN_Name/trainer__plans__configuration`` in ``nnUNet_results``, with plans.json, dataset.json
and ``fold_*/checkpoint_*.pth``; TotalSegmentator publishes the same. ``nnUNetv2_export_model_to_zip`` packs several
such folders into one zip (nnunetv2/model_sharing/model_export.py), which is read in place.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any
from zlib import crc32

from plansguard.artefacts.checkpoint.checkpoint import Checkpoint, read_checkpoint
from plansguard.artefacts.checkpoint.safe_zip import SafeZip, is_zip, open_zip
from plansguard.core import disk
from plansguard.core.errors import UnreadableDocument
from plansguard.core.text import counted
from plansguard.documents import json_document, size_limits
from plansguard.documents.json_document import JsonDocument
from plansguard.documents.recognise import recognise
from plansguard.nnunet.workspace import by_completeness

PLANS, DATASET_JSON, FINGERPRINT = "plans.json", "dataset.json", "dataset_fingerprint.json"
MAX_MODELS = 100
MAX_PACKED = 8 * 1024**2
"""Bytes of a document in a zip. Plans have 20 KB; the fingerprint of 50,000 cases has 6 MB."""
MAX_ALL_PACKED = 16 * 1024**2
"""Bytes of all documents in a zip together: parsed, they need ten to twenty times as much memory."""
MAX_UNPACKED = 2 * 1024**3
"""Bytes of a checkpoint in a zip: to read its end, all of it is inflated, though not kept."""
#: Levels between the given path and a model folder: nnUNet_results/DatasetNNN_Name/model.
_DEEPEST = 2
_DEEPEST_IN_ZIP = 16
#: Bytes of a file that are read at once.
_CHUNK = 1024**2
_CHECKPOINT = re.compile(r"(fold_[^/]+)/(checkpoint_[^/]+\.pth)")
_DATASET = re.compile(r"Dataset\d{3,}_.+")
_NAME_THE_FOLDER = "name the folder that holds plans.json and fold_0, the folder above it, or a zip of them"

Artefact = Checkpoint | tuple["StoredModel", ...] | JsonDocument


@dataclass(frozen=True)
class StoredModel:
    """One trained model.

    ``path`` is its folder, or the zip that contains it (``zipped``). ``folder`` is its folder, also inside the zip as
    if that were a folder. ``checkpoints`` are relative to it (``fold_0/checkpoint_final.pth``), finished ones first.
    ``trainer`` and ``configuration`` come from the folder's name, and are empty if it has another form.
    """

    path: Path
    folder: Path
    name: str
    dataset_name: str
    trainer: str
    configuration: str
    plans: JsonDocument
    dataset_json: JsonDocument | None
    fingerprint: JsonDocument | None
    checkpoints: tuple[str, ...]
    zipped: bool = False

    def checkpoint(self, name: str) -> Checkpoint:
        """Read one of ``checkpoints``. UnreadableDocument when it cannot be read."""
        if not self.zipped:
            return read_checkpoint(self.folder / name)
        member = (self.folder / name).relative_to(self.path).as_posix()
        with open_zip(self.path, str(self.path)) as archive:
            if archive.size(member) > MAX_UNPACKED:
                reason = f"it has {archive.size(member):,} bytes, too many to read inside a zip"
                hint = "unpack the zip and name the model folder"
                raise UnreadableDocument(str(self.folder / name), reason, hint=hint)
            with archive.open(member) as stream:
                return read_checkpoint(self.folder / name, stream)


def read_artefact(path: Path) -> Artefact:
    """Read a checkpoint, the models in a folder or a zip, or the plans in a JSON file.

    UnreadableDocument when there is nothing at ``path``, or something else.
    """
    if disk.is_folder(path):
        return read_checkpoint(path) if _unpacked(path) else read_models(path)
    head = _head(path)
    if path.suffix == ".json" or head.lstrip()[:1] == b"{":
        return _plans(size_limits.read(path))
    if is_zip(head):
        with open_zip(path, str(path)) as archive:
            is_models = bool(_members(archive))
        if is_models:
            return read_models(path)
    return read_checkpoint(path)


def weights_in(path: Path) -> Checkpoint:
    """Read a checkpoint, or the finished one of the first fold of the only model in a folder or a zip.

    UnreadableDocument when there is none, or several models have one.
    """
    artefact = read_artefact(path)
    if isinstance(artefact, Checkpoint):
        return artefact
    if isinstance(artefact, JsonDocument):
        raise UnreadableDocument(str(path), "these are plans, no weights", hint="name a checkpoint or a trained model")
    trained = [model for model in artefact if model.checkpoints]
    if len(trained) != 1:
        names = ", ".join(model.name for model in trained) or "none"
        reason = f"it does not contain one trained model: {names}"
        raise UnreadableDocument(str(path), reason, hint="name the model's folder, or a checkpoint in it")
    return trained[0].checkpoint(trained[0].checkpoints[0])


def read_models(path: Path) -> tuple[StoredModel, ...]:
    """Read the models in a folder, in the folders below it, or in a zip; sorted by name, at least one.

    UnreadableDocument when there is none, when there are more than MAX_MODELS, when one has documents that cannot be
    read, or when those in a zip have more than MAX_ALL_PACKED bytes.
    """
    if disk.is_folder(path):
        places = _models_among(path, dict(_folders(path)))
        return tuple(_model(path, place, names, json_document.read_bytes) for place, names in places.items())
    with open_zip(path, str(path)) as archive:
        places = _models_among(path, _members(archive))
        _check_documents(archive, places)

        def read(file: Path) -> bytes:
            return archive.read(file.relative_to(path).as_posix(), MAX_PACKED)

        return tuple(_model(path, place, names, read, zipped=True) for place, names in places.items())


def is_unpacked(archive: Path, member: str, file: Path) -> bool:
    """Whether a file has the content of a member of a zip archive, by size and CRC-32."""
    with open_zip(archive, str(archive)) as opened:
        packed = {name: (size, checksum) for name, size, checksum in opened.directory}[member]
    if disk.size(file) != packed[0]:
        return False
    checksum = 0
    with disk.open_file(file) as stream:
        while chunk := stream.read(_CHUNK):
            checksum = crc32(chunk, checksum)
    return checksum == packed[1]


def embedded_plans(checkpoint: Checkpoint) -> JsonDocument:
    """Return the plans in a checkpoint, with the bytes that nnU-Net writes for them.

    UnreadableDocument when it has none that nnU-Net v2 can use.
    """
    if checkpoint.plans is None or checkpoint.kind in _NO_PLANS:
        reason, hint = _NO_PLANS.get(checkpoint.kind, ("it contains no plans", _LOOK_ELSEWHERE))
        raise UnreadableDocument(checkpoint.path, reason, hint=hint)
    return _plans(_document(checkpoint.plans, checkpoint.path))


def embedded_dataset_json(checkpoint: Checkpoint) -> JsonDocument | None:
    """Return the dataset.json in a checkpoint, if it has one."""
    return None if checkpoint.dataset_json is None else _document(checkpoint.dataset_json, checkpoint.path)


_LOOK_ELSEWHERE = (
    "ask for plans.json where the weights were published; `plansguard show` describes the network from the shapes"
)
#: Why checkpoints of some kinds have no plans of nnU-Net v2, and what to do.
_NO_PLANS = {
    "nnunet-v1": (
        "this checkpoint was written by nnU-Net v1: neither its plans nor its weights can be used with nnU-Net v2",
        "fine-tune with nnU-Net v1, or pretrain again with v2",
    ),
    "nnssl": (
        "this checkpoint was written by nnssl: it contains an adaptation plan, from which nnU-Net makes its own plans",
        "see nnU-Net's documentation/finetuning_from_nnssl_checkpoints.md",
    ),
}


def _document(value: dict[str, Any], path: str) -> JsonDocument:
    try:
        return size_limits.written(value, path)
    except (TypeError, ValueError, RecursionError) as error:
        reason = f"its contents cannot be written as JSON: {error}"
        raise UnreadableDocument(path, reason, hint="get the file from where it was published") from error


def _plans(document: JsonDocument) -> JsonDocument:
    """Return the document, if it contains plans."""
    kind = recognise(document.value)
    if kind != "plans":
        what = f"this is a {kind}, and no plans" if kind else "these are no nnU-Net plans"
        raise UnreadableDocument(document.path, what, hint="name a plans file, a model, or a checkpoint")
    return document


def _unpacked(folder: Path) -> bool:
    """Whether this is a checkpoint that was unpacked like a zip."""
    return disk.is_file(folder / "data.pkl") or bool(disk.matching(folder, "*/data.pkl"))


def _head(path: Path) -> bytes:
    try:
        with disk.open_file(path) as stream:
            return stream.read(64)
    except disk.NotAFile as error:
        raise UnreadableDocument(str(path), "this is neither a file nor a folder", hint="check the path") from error
    except OSError as error:
        raise json_document.unopened(path, error) from error


# --- Folders of models

_Places = dict[str, frozenset[str]]
"""Folders with plans.json, relative to the given path, and the relevant files in each, relative to the folder."""


def _folders(root: Path) -> Iterator[tuple[str, frozenset[str]]]:
    """Find folders with plans.json: ``root``, and those up to _DEEPEST levels below it but not below another."""
    level = [""]
    for depth in range(_DEEPEST + 1):
        without = []
        for place in level:
            if disk.is_file(root / place / PLANS):
                yield place, _files(root / place)
            else:
                without.append(place)
        if depth < _DEEPEST:
            level = [(f"{place}/" if place else "") + name for place in without for name in _subfolders(root / place)]


def _subfolders(folder: Path) -> list[str]:
    return sorted(name for name in disk.folder_names(folder) if not name.startswith("."))


def _files(folder: Path) -> frozenset[str]:
    documents = (name for name in (PLANS, DATASET_JSON, FINGERPRINT) if disk.is_file(folder / name))
    checkpoints = (path.relative_to(folder).as_posix() for path in disk.matching(folder, "fold_*/checkpoint_*.pth"))
    return frozenset((*documents, *checkpoints))


def _members(archive: SafeZip) -> _Places:
    """Find folders with plans.json in a zip, at any depth. The files that macOS adds are ignored."""
    folders: dict[str, set[str]] = {}
    for name in archive.names:
        is_plans = name.rpartition("/")[2] == PLANS and not name.startswith("__MACOSX/")
        if is_plans and name.count("/") <= _DEEPEST_IN_ZIP:
            folders[name.rpartition("/")[0]] = set()
    for name in archive.names:
        place, _, file = name.rpartition("/")
        above, _, fold = place.rpartition("/")
        for folder, inside in ((place, file), (above, f"{fold}/{file}")):
            if folder in folders:
                folders[folder].add(inside)
    return {place: frozenset(names) for place, names in folders.items()}


def _models_among(path: Path, places: _Places) -> _Places:
    """Select the folders of models, 1 to MAX_MODELS: nnU-Net also copies plans.json to folders of predictions.

    Such a folder is inside a model's, or has neither checkpoints nor a model's name; but where there is nothing else,
    it counts as a model.
    """
    outermost = {place: names for place, names in places.items() if not any(above in places for above in _above(place))}
    proper = {
        place: names
        for place, names in outermost.items()
        if _checkpoints(names) or place.rpartition("/")[2].count("__") == 2
    }
    models = dict(sorted((proper or outermost).items()))
    if not models:
        raise UnreadableDocument(str(path), "there is no model here: no plans.json", hint=_instead(path))
    if len(models) > MAX_MODELS:
        reason = f"there are {len(models)} models here, more than {MAX_MODELS}"
        raise UnreadableDocument(str(path), reason, hint="name the folder of one dataset or of one model")
    return models


def _instead(path: Path) -> str:
    """What to name instead of a path in which no model is: a fold's model, plans of a dataset, else in general."""
    if path.name.startswith("fold_") and disk.is_file(path.parent / PLANS):
        return f"this is a fold: name the model's folder, {path.parent}, or a checkpoint in it"
    plans = disk.matching(path, "*Plans.json") if disk.is_folder(path) else ()
    return f"name one of the plans in this folder, such as {sorted(plans)[0]}" if plans else _NAME_THE_FOLDER


def _above(place: str) -> Iterator[str]:
    """Yield the folders above one, nearest first; the given path itself is ``""``."""
    while place:
        place = place.rpartition("/")[0]
        yield place


def _checkpoints(names: Iterable[str]) -> tuple[str, ...]:
    checkpoints = [name for name in names if _CHECKPOINT.fullmatch(name)]
    return tuple(sorted(checkpoints, key=by_completeness))


def _is_model_name(place: str) -> bool:
    return place.rpartition("/")[2].count("__") == 2


def _check_documents(archive: SafeZip, places: _Places) -> None:
    total = sum(
        archive.size(f"{place}/{name}" if place else name)
        for place, names in places.items()
        for name in names & {PLANS, DATASET_JSON, FINGERPRINT}
    )
    if total > MAX_ALL_PACKED:
        reason = f"the documents of the {counted(len(places), 'model')} in it have {total:,} bytes, too many for a zip"
        raise UnreadableDocument(archive.path, reason, hint="unpack the zip and name one model folder")


# --- One model


def _model(
    path: Path, place: str, names: frozenset[str], read: Callable[[Path], bytes], *, zipped: bool = False
) -> StoredModel:
    folder = path / place
    named = PurePosixPath(place or path.stem) if zipped else folder.absolute()
    parts = named.name.split("__")
    trainer, _, configuration = parts if len(parts) == 3 else ("", "", "")

    def document(name: str) -> JsonDocument:
        return size_limits.parse(read(folder / name), str(folder / name))

    def optional(name: str, kind: str) -> JsonDocument | None:
        read = document(name) if name in names else None
        return read if read is not None and recognise(read.value) == kind else None

    plans = _plans(document(PLANS))
    return StoredModel(
        path=path if zipped else folder,
        folder=folder,
        name=named.name,
        dataset_name=_dataset_name(named.parent.name, plans),
        trainer=trainer,
        configuration=configuration,
        plans=plans,
        dataset_json=optional(DATASET_JSON, "dataset.json"),
        fingerprint=optional(FINGERPRINT, "fingerprint"),
        checkpoints=_checkpoints(names),
        zipped=zipped,
    )


def _dataset_name(parent: str, plans: JsonDocument) -> str:
    """Return the name of the folder above if it is a dataset's, else the one in the plans."""
    if _DATASET.fullmatch(parent):
        return parent
    name = plans.value.get("dataset_name")
    return name if isinstance(name, str) and name else parent
