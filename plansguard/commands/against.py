"""What a branch brings: the findings of now without those of the same documents at a git revision.

Data, weights, results and settings are those on disk both times. A document that git ignores is the same as now.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from plansguard.commands.comparison import with_known
from plansguard.core import disk
from plansguard.core.errors import PlansguardError, UnreadableDocument, known
from plansguard.core.report import Comparison, Finding, KnownFinding, Report
from plansguard.documents import git_revisions, json_document, size_limits
from plansguard.documents.file_names import is_json_name
from plansguard.subjects.dataset import Dataset
from plansguard.subjects.discovery import dataset_in
from plansguard.subjects.documents import DatasetJson

#: What identifies a finding: its file and its fingerprint.
Key = tuple[str, str]
#: How the codes of findings about the settings begin.
_OF_SETTINGS = "PG9"
#: Part of the lines that two files share, from which on one is the other under a new name.
_SIMILAR = 0.5


def compared(report: Report, revision: str, judge: Callable[[Callable[[Dataset], Dataset]], Report]) -> Report:
    """Return the report of a check with the findings known that were there at a revision.

    ``judge`` checks the same again, with each dataset replaced by what it is given. UsageError outside of a repository,
    and for a revision that git does not know.
    """
    earlier = Earlier(revision)
    before = judge(earlier.dataset)
    counts = Counter(earlier.key_of(finding) for finding in before.findings if earlier.had(finding))
    left = counts - Counter(map(_key, report.findings))
    gone = [cause.finding for cause in before.causes if left[earlier.key_of(cause.finding)] > 0]
    absent = tuple(_entry(finding) for finding in gone if earlier.had(finding))
    return replace(with_known(report, counts, _key), compared=Comparison(revision, is_revision=True, absent=absent))


class Earlier:
    """The documents of datasets at a revision."""

    def __init__(self, revision: str) -> None:
        self.revision = revision
        #: Path of a file then -> its path now.
        self._renamed: dict[str, str] = {}

    def dataset(self, dataset: Dataset) -> Dataset:
        """Return the dataset as it was: its documents then, beside all else as it is now."""
        folder, entries = dataset.folder, dataset.entries
        contents, renamed = self._contents(folder, entries)
        self._renamed.update({str(folder / old): str(folder / new) for old, new in renamed.items()})
        others = frozenset(name for name in entries.files if not is_json_name(name))
        then = entries._replace(files=others | contents.keys(), links=entries.links - contents.keys())
        before = dataset_in(folder, (), dataset.workspace, then, contents)
        raw = self._raw_dataset_json(dataset)
        if raw is not None:
            before.raw_dataset_json = DatasetJson(raw)
        return before

    def key_of(self, finding: Finding) -> Key:
        """The key that a finding of then has now: that of a renamed file is in the new one."""
        path = finding.location.path
        at = finding.location._replace(path=self._renamed.get(path, path))
        return _key(replace(finding, location=at))

    def had(self, finding: Finding) -> bool:
        """Whether what the rules found in the documents of then was a finding then.

        The settings are those of now: that one of their entries matches nothing then is a finding of then only if they
        are the same.
        """
        if finding.incomplete:
            return False
        return not finding.code.startswith(_OF_SETTINGS) or self._is_unchanged(Path(finding.location.path))

    def _is_unchanged(self, path: Path) -> bool:
        """Whether a file had the same content; also one that is in no repository, or that git ignores."""
        try:
            digest = self._files(path.parent).get(path.name)
        except PlansguardError:
            return True
        if digest is None:
            return path.name in git_revisions.ignored_in(path.parent, [path.name])
        raw = _content(path)
        return raw is not None and git_revisions.has_digest(raw, digest)

    def _contents(self, folder: Path, entries: disk.Entries) -> tuple[dict[str, bytes], dict[str, str]]:
        """The JSON files of a folder then, by the names of then, and the names that some of them have now."""
        digests = {name: digest for name, digest in self._files(folder).items() if is_json_name(name)}
        names = [name for name in entries.files if is_json_name(name)]
        now = {name: raw for name in names if (raw := _content(folder / name)) is not None}
        added = now.keys() - digests.keys()
        same = git_revisions.ignored_in(folder, added) | (added & entries.links)
        then = {name: now[name] for name in same}
        for name, digest in digests.items():
            is_same = name in now and git_revisions.has_digest(now[name], digest)
            then[name] = now[name] if is_same else git_revisions.content_of(digest, folder, name)
        return then, _renamed({name: then[name] for name in digests.keys() - now.keys()}, _chosen(now, added - same))

    def _files(self, folder: Path) -> dict[str, str]:
        return git_revisions.files_at(self.revision, folder)

    def _raw_dataset_json(self, dataset: Dataset) -> json_document.JsonDocument | None:
        """The dataset.json in nnUNet_raw, where it was another one in its repository; None where it is that of now."""
        folder = known(lambda: dataset.raw_folder) if dataset.role == "preprocessed" else None
        if folder is None:
            return None
        name = DatasetJson.file_name
        with suppress(PlansguardError):  # the raw data need not be in a repository
            digest = self._files(folder).get(name)
            raw = _content(folder / name)
            if digest is not None and raw is not None and not git_revisions.has_digest(raw, digest):
                return size_limits.parse(git_revisions.content_of(digest, folder, name), str(folder / name))
        return None


def _renamed(gone: dict[str, bytes], added: dict[str, bytes]) -> dict[str, str]:
    """Old names of files with their new ones: of those with the same or similar lines, the most similar first."""
    pairs = [(_similarity(before, after), old, new) for old, before in gone.items() for new, after in added.items()]
    renamed: dict[str, str] = {}
    for similarity, old, new in sorted(pairs, reverse=True):
        if similarity >= _SIMILAR and old not in renamed and new not in renamed.values():
            renamed[old] = new
    return renamed


def _similarity(one: bytes, other: bytes) -> float:
    """The part of the lines of the longer file that the other one has as well."""
    lines, others = Counter(one.splitlines()), Counter(other.splitlines())
    return (lines & others).total() / max(lines.total(), others.total(), 1)


def _chosen(contents: dict[str, bytes], names: Iterable[str]) -> dict[str, bytes]:
    return {name: contents[name] for name in names}


def _content(path: Path) -> bytes | None:
    """The content of a file; None where it cannot be read."""
    try:
        return json_document.read_bytes(path)
    except UnreadableDocument:
        return None


def _key(finding: Finding) -> Key:
    return finding.location.path, finding.fingerprint


def _entry(finding: Finding) -> KnownFinding:
    place = finding.location
    about = finding.fingerprint, 1, finding.code, finding.name
    return KnownFinding(*about, place.path, place.pointer, finding.configuration, finding.message)
