"""The documents that a training record describes: how each is digested, and how a difference is worded.

A digest contains SHA-256 sums, and as much of the content as is needed to name a change later. The same table serves
those who write a record and those who verify it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

from plansguard.artefacts.data.listing import listing
from plansguard.core.digest import digest_of, sha256
from plansguard.core.errors import UsageError
from plansguard.core.text import both, both_or, counted, listed
from plansguard.nnunet.inheritance import InheritanceError, resolve_configuration
from plansguard.nnunet.plans_diff import digests, edited
from plansguard.nnunet.workspace import ALL

if TYPE_CHECKING:
    from plansguard.artefacts.data.audit import Audit
    from plansguard.documents.json_document import JsonDocument

#: Of weights that are no zip archive, this many bytes are read.
MOST_WEIGHTS = 64 * 1024**2
#: Cases that are named.
_NAMED_CASES = 5
#: The fields of dataset.json that nnU-Net trains and predicts with. Source: utilities/label_handling/label_handling.py,
#: and determine_reader_writer_from_dataset_json in imageio/reader_writer_registry.py.
_DATASET_KEYS = (
    *("channel_names", "modality", "labels", "regions_class_order"),
    *("file_ending", "overwrite_image_reader_writer"),
)
_MISSING = object()

Digest = dict[str, Any]
#: ``training`` of a start: dataset, plans, configuration, fold and so on.
Training = Mapping[str, Any]


class RecordedDocument(NamedTuple):
    """One kind of document.

    ``key`` is its key in a start, ``name`` what messages call it. ``digest`` takes the document, None where it lacks
    what this training uses. Two digests are the same where the fields in ``identity`` are; ``differences`` words
    what differs between a recorded digest and the present one. ``alike`` words what differs where nothing that counts
    does; empty where that is not worth words.
    ``unrecorded`` is why a start may lack the document. ``unused`` takes the training and words why it does not read
    the document; empty where it does.
    """

    key: str
    name: str
    digest: Callable[[Any, Training], Digest | None]
    differences: Callable[[Digest, Digest, Training], Iterator[str]]
    identity: tuple[str, ...] = ("sha256",)
    alike: str = ""
    unrecorded: str = ""
    unused: Callable[[Training], str] = lambda _: ""


# --- Plans ---


def _plans_digest(document: JsonDocument, training: Training) -> Digest | None:
    """Digests of the file and of its facets, and what training this configuration uses."""
    used = _used(document.value, training["configuration"])
    return None if used is None else {"sha256": sha256(document.raw), "facets": digests(used), "used": used}


def _plans_differences(recorded: Digest, present: Digest, training: Training) -> Iterator[str]:
    used = _used(recorded["used"], training["configuration"])
    if used is None:
        yield f"the training record itself has no {training['configuration']}"
        return
    for change in edited(used, present["used"]):
        values = (_MISSING if value is None else value for value in (change.before, change.after))
        for clause in _clauses(str(change.field), *values):
            yield f"{clause} ({change.field.facet})"


def _used(plans: Any, configuration: str) -> dict[str, Any] | None:
    """The plans with this configuration alone, after ``inherits_from``; None if they have none of that name."""
    written = plans.get("configurations") if isinstance(plans, dict) else None
    if not isinstance(written, dict):
        return None
    entries = {name: entry for name, entry in written.items() if isinstance(entry, dict)}
    try:
        resolved = resolve_configuration(entries, configuration)
    except InheritanceError:
        return None
    resolved.pop("inherits_from", None)
    return {**plans, "configurations": {configuration: resolved}}


# --- dataset.json ---


def _dataset_json_digest(document: JsonDocument, _: Training) -> Digest:
    """Digest of the file, and the fields that nnU-Net trains and predicts with."""
    fields = {key: document.value[key] for key in _DATASET_KEYS if key in document.value}
    return {"sha256": sha256(document.raw), "fields": fields}


def _dataset_json_differences(recorded: Digest, present: Digest, _: Training) -> Iterator[str]:
    """Order counts too: channels are numbered by their position, regions by that of their labels."""
    for key, before, after in _changed(recorded["fields"], present["fields"]):
        yield from _clauses(key, before, after)
    for key, before in recorded["fields"].items():
        after = present["fields"].get(key)
        if isinstance(before, dict) and before == after and [*before] != [*after]:
            old, new = both([*before], [*after])
            yield f"{key} were in the order {old} and are in the order {new}"


# --- The fingerprint ---


def _fingerprint_digest(document: JsonDocument, _: Training) -> Digest:
    """Digests of the file and of each field."""
    fields = {key: digest_of(value) for key, value in document.value.items()}
    return {"sha256": sha256(document.raw), "fields": fields}


def _fingerprint_differences(recorded: Digest, present: Digest, _: Training) -> Iterator[str]:
    for key, before, after in _changed(recorded["fields"], present["fields"]):
        verb = "was added" if before is _MISSING else "was removed" if after is _MISSING else "has changed"
        yield f"{key} {verb}"


# --- Splits ---


def _splits_digest(document: JsonDocument, training: Training) -> Digest:
    """Digest of the file, and of the cases of this fold in any order; None for a fold that it does not define."""
    cases, fold = _cases(document.value, training["fold"]), None
    if cases is not None:
        fold = {"training": len(cases[0]), "validation": len(cases[1]), "sha256": digest_of(cases)}
    return {"sha256": sha256(document.raw), "fold": fold}


def _splits_differences(recorded: Digest, present: Digest, _: Training) -> Iterator[str]:
    before, after = recorded["fold"], present["fold"]
    if before == after:
        return
    old, new = (
        f"{fold['training']} training and {fold['validation']} validation cases" if fold else "no cases of this fold"
        for fold in (before, after)
    )
    yield f"{old}, but other ones" if old == new else f"it had {old}, and has {new}"


def _cases(folds: Any, fold: str) -> list[list[str]] | None:
    """Sorted names of the training and of the validation cases; None where they are not defined."""
    if fold == ALL or not int(fold) < len(folds) or not isinstance(folds[int(fold)], dict):
        return None
    cases = [folds[int(fold)].get(key) for key in ("train", "val")]
    lists = [sorted(map(str, names)) for names in cases if isinstance(names, list)]
    return lists if len(lists) == len(cases) else None


# --- Weights ---


def _weights_digest(path: Path, _: Training) -> Digest:
    """Size and digest of a checkpoint, without reading gigabytes; UnreadableDocument if it cannot be opened.

    torch writes zip archives, whose directory contains a checksum of every tensor.
    """
    from plansguard.artefacts.checkpoint.safe_zip import open_file

    with open_file(path, "name a checkpoint of nnU-Net v2") as stream:
        return _digest_of_stream(stream, str(path))


def is_packed(recorded: Mapping[str, Any], path: Path, member: str) -> bool:
    """Whether a member of a zip archive is the checkpoint that is recorded; UnreadableDocument if it cannot be read."""
    from plansguard.artefacts.checkpoint.safe_zip import open_zip

    with open_zip(path, str(path)) as archive, archive.open(member) as stream:
        present = _digest_of_stream(stream, str(path / member))
    return all(recorded[key] == present[key] for key in WEIGHTS.identity)


def _digest_of_stream(stream: BinaryIO, path: str) -> Digest:
    import hashlib

    from plansguard.artefacts.checkpoint.safe_zip import is_zip, open_zip

    head = stream.read(64)
    size = stream.seek(0, 2)
    if is_zip(head):
        with open_zip(stream, path) as archive:
            of, digest = "directory", digest_of(archive.directory)
    else:
        stream.seek(0)
        content = hashlib.sha256()
        for _number in range(MOST_WEIGHTS // 2**20):
            content.update(stream.read(2**20))
        of, digest = "file" if size <= MOST_WEIGHTS else "beginning", content.hexdigest()
    return {"path": path, "bytes": size, "of": of, "sha256": digest}


def _weights_differences(recorded: Digest, present: Digest, _: Training) -> Iterator[str]:
    path, before, after = present["path"], recorded["bytes"], present["bytes"]
    if before != after:
        yield f"{path} had {before:,} bytes and has {after:,}"
    else:
        yield f"{path} is another file of the same size"


# --- Preprocessed data ---


def _data_digest(audit: Audit, _: Training) -> Digest:
    """Digests of all headers, and of the files' names and sizes."""
    folder = audit.folder.path
    try:
        files = listing(folder)
    except OSError as error:
        raise UsageError(
            f"the data folder {folder} was removed while it was read",
            hint="wait until nothing preprocesses this dataset, then try again",
        ) from error
    headers = audit.headers
    return {"folder": folder.name, "cases": len(headers), "headers": digest_of(headers), "files": files.sha256}


def _data_differences(recorded: Digest, present: Digest, _: Training) -> Iterator[str]:
    """Verifying adds ``by_case``, the digest of each case; the recorded ones are empty where they are not known."""
    if recorded["headers"] == present["headers"]:
        return
    if recorded["cases"] != present["cases"]:
        yield f"there were {counted(recorded['cases'], 'case')}, and there are {present['cases']}"
    before, after = recorded["by_case"], present["by_case"]
    groups = {
        "removed": [name for name in before if name not in after],
        "added": [name for name in after if name not in before] if before else [],
        "of other shapes or properties": [name for name in after if name in before and before[name] != after[name]],
    }
    for change, names in groups.items():
        if names:
            yield f"{change}: {listed(names, _NAMED_CASES)}"
    if not any(groups.values()) and recorded["cases"] == present["cases"]:
        yield "other cases, shapes or properties"


# --- JSON objects ---


def _changed(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[tuple[str, Any, Any]]:
    """The keys whose values differ, with both values."""
    for key in dict.fromkeys([*before, *after]):
        old, new = before.get(key, _MISSING), after.get(key, _MISSING)
        if old != new:
            yield key, old, new


def _clauses(place: str, before: Any, after: Any) -> Iterator[str]:
    """Where two values differ: in objects by key, lists as a whole."""
    if isinstance(before, dict) and isinstance(after, dict):
        for key, old, new in _changed(before, after):
            yield from _clauses(f"{place}.{key}", old, new)
    else:
        old, new = both_or(before, after, _MISSING, "absent")
        yield f"{place} was {old} and is {new}"


# --- Layout ---


def is_layout_of(document: JsonDocument, sha256_then: str) -> bool:
    """Whether the content of a document is provably that of a file with this digest, in another layout.

    The layouts are those of Python's json, with which nnU-Net and most programs write. False where it is unknown.
    """
    import json

    return any(
        sha256(json.dumps(document.value, indent=indent, sort_keys=in_order).encode() + end) == sha256_then
        for indent in (4, 2, None)
        for in_order in (False, True)
        for end in (b"", b"\n")
    )


# --- The table ---

_NOT_THERE = "did not exist when the training started"
PLANS = RecordedDocument("plans", "plans", _plans_digest, _plans_differences)
DATASET_JSON = RecordedDocument(
    "dataset_json", "dataset.json", _dataset_json_digest, _dataset_json_differences, unrecorded=_NOT_THERE
)
FINGERPRINT = RecordedDocument(
    "fingerprint", "fingerprint", _fingerprint_digest, _fingerprint_differences, unrecorded=_NOT_THERE
)
SPLITS = RecordedDocument(
    *("splits", "splits", _splits_digest, _splits_differences),
    unrecorded=f"{_NOT_THERE}: nnU-Net writes it then",
    unused=lambda training: f"the fold {ALL} takes every case" if training["fold"] == ALL else "",
)
WEIGHTS = RecordedDocument(
    "weights", "weights", _weights_digest, _weights_differences, identity=("bytes", "of", "sha256")
)
DATA = RecordedDocument(
    *("data", "data", _data_digest, _data_differences),
    identity=("headers", "files"),
    alike="the files were written again, with the same cases, shapes and properties",
    unrecorded="not read when the training started",
)
DOCUMENTS = (PLANS, DATASET_JSON, FINGERPRINT, SPLITS, WEIGHTS, DATA)
