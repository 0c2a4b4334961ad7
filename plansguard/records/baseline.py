"""The baseline: the findings that a project knows, by place and fingerprint.

A finding is known as often as the baseline counts it. Its entry names the file from the folder of its dataset on, else
relative to the baseline, so that it means the same in every checkout.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import plansguard
from plansguard.core import disk
from plansguard.core.atomic_files import assert_writable, write_atomically
from plansguard.core.errors import UnreadableDocument
from plansguard.core.fingerprint import dataset_in, place
from plansguard.core.report import Finding, KnownFinding
from plansguard.documents import json_document, recognise
from plansguard.nnunet import printed_commands

if TYPE_CHECKING:
    from plansguard.documents.models.baseline import Baseline

SCHEMA = "plansguard/baseline/1"
#: How much of the data is read, from least to most.
DEPTHS = ("none", "headers", "sample", "all")
#: Bytes in which the first key is.
_START = 64


class Key(NamedTuple):
    """What identifies a known finding."""

    path: str
    fingerprint: str

    @classmethod
    def of(cls, entry: KnownFinding) -> Key:
        """The key of an entry."""
        return cls(entry.path, entry.fingerprint)


class BaselineFile(NamedTuple):
    """A baseline, the file that it is in, and how many findings of each key are known."""

    path: Path
    data: str
    entries: tuple[KnownFinding, ...]

    @property
    def counts(self) -> Counter[Key]:
        """How many findings of each key are known."""
        counts: Counter[Key] = Counter()
        for entry in self.entries:
            counts[Key.of(entry)] += entry.count
        return counts

    def key_of(self, finding: Finding) -> Key:
        """The key that the entry of a finding has."""
        return Key(path_in_baseline(finding.location.path, self.path), finding.fingerprint)


def path_in_baseline(path: str, baseline: Path) -> str:
    """Return a path from the folder of its dataset on, else relative to the baseline's folder, if it is in that."""
    folder, whole = baseline.absolute().parent, Path(path).absolute()
    if dataset_in(path) is None and whole.is_relative_to(folder):
        return _plain(whole.relative_to(folder).as_posix())
    return _plain(place(path))


def read_baseline(path: Path, never: Collection[str]) -> BaselineFile:
    """Return the baseline in a file. UnreadableDocument, with line and column, unless it is a valid one.

    ``never`` are the codes of rules whose findings can be in none: they mean that something was not judged.
    """
    from pydantic import ValidationError

    from plansguard.documents.models.baseline import Baseline

    if not disk.is_there(path):
        hint = f"write it first: {printed_commands.baseline('write', path)}"
        raise UnreadableDocument(str(path), "there is no baseline", hint=hint)
    document = json_document.read(path)
    duplicate = next((notice for notice in document.notices if notice.kind == "duplicate-key"), None)
    if duplicate is not None:
        raise _refused(document, duplicate.pointer, f"the key {duplicate.text!r} occurs twice")
    try:
        content = Baseline.model_validate_json(document.raw)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the document"
        raise _refused(
            document, json_document.pointer(*first["loc"]), f"this is no baseline: {where}: {first['msg']}"
        ) from error
    for index, entry in enumerate(content.findings):
        if entry.code in never:
            reason = f"{entry.code} cannot be in a baseline: it means that something was not judged"
            raise _refused(document, json_document.pointer("findings", index, "code"), reason, "remove the entry")
    entries = (KnownFinding(**entry.model_dump()) for entry in content.findings)
    return BaselineFile(path, content.data, tuple(entries))


def written(baseline: BaselineFile) -> Baseline:
    """Return the document of a baseline, its entries by place."""
    from plansguard.documents.models.baseline import Baseline, BaselineEntry

    ordered = sorted(baseline.entries, key=lambda one: (one.path, one.code, one.pointer, one.fingerprint))
    entries = [BaselineEntry(**asdict(entry)) for entry in ordered]
    values = {"schema": SCHEMA, "plansguard": plansguard.__version__, "data": baseline.data, "findings": entries}
    return Baseline.model_validate(values)


def write_baseline(baseline: BaselineFile) -> None:
    """Write the file in one step. WriteRefused where another file than a baseline is in its place."""
    text = json.dumps(written(baseline).model_dump(by_alias=True), indent=2)
    write_atomically(baseline.path, f"{text}\n".encode(), is_baseline)


def assert_free(path: Path) -> None:
    """Raise WriteRefused where another file than a baseline is in the place of one."""
    assert_writable(path, is_baseline)


def is_baseline(path: Path) -> bool:
    """Return whether a file is a baseline by its first key. OSError if it cannot be read."""
    with disk.open_file(path) as file:
        return recognise.is_baseline(file.read(_START))


def entries_of(findings: Iterable[Finding], path: Path) -> tuple[KnownFinding, ...]:
    """Return the entries of findings in a baseline at this path: one for those with the same key."""
    entries: dict[Key, KnownFinding] = {}
    for finding in findings:
        key = Key(path_in_baseline(finding.location.path, path), finding.fingerprint)
        entries[key] = KnownFinding(
            fingerprint=key.fingerprint,
            count=entries[key].count + 1 if key in entries else 1,
            code=finding.code,
            name=finding.name,
            path=key.path,
            pointer=_plain(finding.location.pointer),
            configuration=None if finding.configuration is None else _plain(finding.configuration),
            message=_plain(finding.message),
        )
    return tuple(entries.values())


def _plain(text: str) -> str:
    """A text as JSON can hold it: half a surrogate pair is spelled out."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def _refused(document: json_document.JsonDocument, pointer: str, reason: str, hint: str = "") -> UnreadableDocument:
    position = document.position(pointer)
    line, column = (None, None) if position is None else position
    hint = hint or "plansguard schema baseline describes this file"
    return UnreadableDocument(document.path, reason, hint=hint, line=line, column=column)
