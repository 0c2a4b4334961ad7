"""The receipt: what a training was started with, left beside its results as ``plansguard_receipt.json``.

Its fields are described in models/receipt.py. nnU-Net takes no notice of it. Every start adds to it, so that what was
accepted at the first one is still told after the tenth.

What is kept of a document is its digest, and as much of its content as it takes to say later what has changed; the same
functions look at the documents of then and of now (verifying.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import plansguard
from plansguard.artefacts.data.listing import listing
from plansguard.core.digest import canonical, digest_of, sha256
from plansguard.core.errors import UnreadableDocument, UsageError
from plansguard.core.text import brief
from plansguard.documents import json_document
from plansguard.documents.recognise import recognise
from plansguard.documents.validation import problems
from plansguard.nnunet.inheritance import InheritanceError, resolve_configuration
from plansguard.nnunet.plans_diff import digests
from plansguard.nnunet.workspace import ALL

if TYPE_CHECKING:
    from plansguard.artefacts.data.audit import Audit
    from plansguard.documents.json_document import JsonDocument


SCHEMA = "plansguard/receipt/1"
#: How many starts are listed. The first one of the training that goes on is always among them.
MOST_STARTS = 100
#: Of weights that are no zip archive, so many bytes are read.
MOST_WEIGHTS = 64 * 1024**2

#: What of dataset.json nnU-Net trains and predicts with. Source: utilities/label_handling/label_handling.py, and
#: determine_reader_writer_from_dataset_json in imageio/reader_writer_registry.py.
_DATASET_KEYS = (
    *("channel_names", "modality", "labels", "regions_class_order"),
    *("file_ending", "overwrite_image_reader_writer"),
)
#: What a start has of its own, however much it is like the one before.
_WHEN = ("started", "last", "times")
Start = dict[str, Any]


def read(path: Path) -> dict[str, Any]:
    """A receipt whose fields have the right types; UnreadableDocument for anything else."""
    document = json_document.read(path)
    value = document.value
    if recognise(value) != "receipt":
        raise UnreadableDocument(
            str(path), "this is no receipt of a training", hint="move it away: plansguard train writes one"
        )
    if value["schema"] != SCHEMA:
        raise UnreadableDocument(
            str(path),
            f"this training record is a {brief(value['schema'], exact=True)}, "
            f"and this plansguard {plansguard.__version__} reads {SCHEMA}",
            hint="pip install --upgrade plansguard",
        )
    for problem in problems("TrainingRecord", value)[:1]:
        field = ".".join(map(str, problem.tokens)) or "the document"
        place = document.position(json_document.pointer(*problem.tokens))
        line, column = (None, None) if place is None else (place.line, place.column)
        shown = "nothing" if problem.missing else brief(problem.value, exact=True)
        reason = f"{field}: {problem.expected}, but here stands {shown}"
        raise UnreadableDocument(str(path), reason, hint="it was edited or damaged", line=line, column=column)
    if not value["starts"]:
        raise UnreadableDocument(str(path), "this receipt tells of no start", hint="it was edited or damaged")
    return value  # type: ignore[no-any-return]


def added(earlier: Mapping[str, Any], later: Mapping[str, Any]) -> dict[str, Any]:
    """Both receipts in one. A start that is like the last one in all but its time is only counted."""
    starts, left_out = [*earlier["starts"]], int(earlier["left_out"])
    for start in later["starts"]:
        before = starts[-1]
        if all(before[key] == start[key] for key in start if key not in _WHEN):
            starts[-1] = {**before, "last": start["last"], "times": before["times"] + start["times"]}
            continue
        starts.append(start)
        if len(starts) > MOST_STARTS:
            del starts[0 if beginning(starts) else 1]
            left_out += 1
    return {**later, "starts": starts, "left_out": left_out, "cases": later["cases"] or earlier["cases"]}


def beginning(starts: Sequence[Start]) -> int:
    """Where in the list the training begins that went on last: at the last start that did not continue another."""
    return max((number for number, start in enumerate(starts) if not start["training"]["continues"]), default=0)


# ---------------------------------------------------------------------------------------------------------------------
# What is kept of each document
# ---------------------------------------------------------------------------------------------------------------------


def of_plans(document: JsonDocument, configuration: str) -> dict[str, Any] | None:
    """Digests of the file and of its facets, and what training this configuration uses; None if it is not there."""
    used = used_of(document.value, configuration)
    return None if used is None else {"sha256": sha256(document.raw), "facets": digests(used), "used": used}


def used_of(plans: Any, configuration: str) -> dict[str, Any] | None:
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


def of_dataset_json(document: JsonDocument) -> dict[str, Any]:
    """Digest of the file, and the fields that nnU-Net trains and predicts with."""
    return {
        "sha256": sha256(document.raw),
        "fields": {key: document.value[key] for key in _DATASET_KEYS if key in document.value},
    }


def of_fingerprint(document: JsonDocument) -> dict[str, Any]:
    """Digests of the file and of each field."""
    fields = {key: sha256(canonical(value)) for key, value in document.value.items()}
    return {"sha256": sha256(document.raw), "fields": fields}


def of_splits(document: JsonDocument, fold: str) -> dict[str, Any]:
    """Digest of the file, and of the cases of this fold, in any order; None for a fold that it does not define."""
    names = _cases_of(document.value, fold)
    cases = None
    if names is not None:
        cases = {"training": len(names[0]), "validation": len(names[1]), "sha256": sha256(canonical(names))}
    return {"sha256": sha256(document.raw), "fold": cases}


def _cases_of(folds: Any, fold: str) -> list[list[str]] | None:
    """Sorted names of the training and of the validation cases; None where they are not defined."""
    if fold == ALL or not int(fold) < len(folds) or not isinstance(folds[int(fold)], dict):
        return None
    cases = [folds[int(fold)].get(key) for key in ("train", "val")]
    lists = [sorted(map(str, names)) for names in cases if isinstance(names, list)]
    return lists if len(lists) == len(cases) else None


def of_weights(path: Path) -> dict[str, Any]:
    """Size and digest of a checkpoint, without reading gigabytes; UnreadableDocument if it cannot be opened.

    torch writes zip archives, whose directory tells a checksum of every tensor.
    """
    import hashlib

    from plansguard.artefacts.checkpoint.safe_zip import is_zip, open_file, open_zip

    with open_file(path, "name a checkpoint of nnU-Net v2") as stream:
        head = stream.read(64)
        size = stream.seek(0, 2)
        if is_zip(head):
            with open_zip(stream, str(path)) as archive:
                of, digest = "directory", sha256(canonical(archive.directory))
        else:
            stream.seek(0)
            whole = hashlib.sha256()
            for _ in range(MOST_WEIGHTS // 2**20):
                whole.update(stream.read(2**20))
            of, digest = "file" if size <= MOST_WEIGHTS else "beginning", whole.hexdigest()
    return {"path": str(path), "bytes": size, "of": of, "sha256": digest}


def of_data(audit: Audit) -> dict[str, Any]:
    """Digests of all headers, and of the files' names and sizes."""
    try:
        files = listing(audit.folder.path)
    except OSError as error:
        raise UsageError(f"the data folder {audit.folder.path} went away while it was read") from error
    headers = audit.headers
    return {
        "folder": audit.folder.path.name,
        "cases": len(headers),
        "headers": digest_of(headers),
        "files": files.sha256,
    }


# ---------------------------------------------------------------------------------------------------------------------
# The rest of a start
# ---------------------------------------------------------------------------------------------------------------------


def accepted_in(starts: Iterable[Start]) -> list[tuple[str, str]]:
    """Code and name of every finding that was accepted, and the reason; each once, in the order of the starts."""
    findings = (finding for start in starts for finding in start["findings"] if finding["accepted"] is not None)
    return [*dict.fromkeys((f"{finding['code']} {finding['name']}", finding["accepted"]) for finding in findings)]
