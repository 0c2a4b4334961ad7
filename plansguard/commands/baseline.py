"""Write, prune and apply a baseline: the findings that a project knows."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from plansguard.commands.comparison import comparable, with_known
from plansguard.core import disk
from plansguard.core.atomic_files import locked
from plansguard.core.fingerprint import dataset_in
from plansguard.core.report import Comparison, KnownFinding, Report
from plansguard.records.baseline import (
    DEPTHS,
    BaselineFile,
    Key,
    entries_of,
    path_in_baseline,
    read_baseline,
    write_baseline,
)
from plansguard.rules import RULES

#: Codes of rules about preprocessed data, which see more the more is read.
_DATA = "PG5"
#: Codes of rules about the settings.
_SETTINGS = "PG9"


class BaselineChange(NamedTuple):
    """A baseline as it is now, and what changed: findings added, removed, and kept as they could not be judged now."""

    baseline: BaselineFile
    added: int
    removed: int
    kept: int

    @property
    def total(self) -> int:
        """The number of findings in it."""
        return sum(entry.count for entry in self.baseline.entries)


def read(path: Path) -> BaselineFile:
    """Return the baseline in a file; UnreadableDocument unless it is one."""
    return read_baseline(path, [rule.info.code for rule in RULES if rule.info.incomplete])


def compared(report: Report, path: Path, depth: str, *, everything: bool) -> Report:
    """Return the report of a check with the findings of a baseline known.

    ``depth`` is how much of the data was read; ``everything`` is whether all plans and configurations were meant: only
    then an entry may be said to occur no longer.
    """
    baseline = read(path)
    absent = _absent(baseline, report, depth) if everything else ()
    known = with_known(report, baseline.counts, baseline.key_of)
    return replace(known, compared=Comparison(str(path), is_revision=False, absent=tuple(absent)))


def write(report: Report, path: Path, depth: str) -> BaselineChange:
    """Write the findings of a check as the baseline. Entries of what was not judged now stay."""
    now = entries_of((cause.finding for cause in comparable(report)), path)
    keys = {Key.of(entry) for entry in now}
    with locked(path.parent):
        before = read(path) if disk.is_file(path) else BaselineFile(path, depth, ())
        gone = {Key.of(entry) for entry in _absent(before, report, depth)}
        old = [entry for entry in before.entries if Key.of(entry) not in keys]
        kept = [entry for entry in old if Key.of(entry) not in gone]
        deeper = max(depth, before.data if kept else depth, key=DEPTHS.index)
        after = BaselineFile(path, deeper, (*now, *kept))
        write_baseline(after)
    counts = before.counts
    added = (after.counts - counts).total()
    return BaselineChange(after, added, (counts - after.counts).total(), sum(entry.count for entry in kept))


def prune(report: Report, path: Path, depth: str) -> BaselineChange:
    """Remove the entries that no longer occur."""
    before = read(path)
    if not _absent(before, report, depth):
        return BaselineChange(before, 0, 0, 0)
    with locked(path.parent):
        before = read(path)
        gone = Counter({Key.of(entry): entry.count for entry in _absent(before, report, depth)})
        entries = []
        for entry in before.entries:
            left = entry.count - gone[Key.of(entry)]
            if left > 0:
                entries.append(replace(entry, count=left))
        after = before._replace(entries=tuple(entries))
        write_baseline(after)
    return BaselineChange(after, 0, gone.total(), 0)


def _absent(baseline: BaselineFile, report: Report, depth: str) -> list[KnownFinding]:
    """The entries that do not occur in a report although their rules ran where they were, as often as they do not."""
    occurring = Counter(map(baseline.key_of, report.findings))
    judged = _Judged(baseline, report, shallow=DEPTHS.index(depth) < DEPTHS.index(baseline.data))
    absent = []
    for entry in baseline.entries:
        missing = entry.count - occurring[Key.of(entry)]
        if missing > 0 and judged.covers(entry):
            absent.append(replace(entry, count=missing))
    return absent


class _Judged:
    """What a report has judged, in terms of a baseline."""

    def __init__(self, baseline: BaselineFile, report: Report, *, shallow: bool) -> None:
        self._path = baseline.path
        self._inputs = [Path(path).absolute() for path in report.inputs]
        self._shallow = shallow
        #: Folder in the baseline -> the same on disk, and the codes of the rules that ran there.
        self._folders: dict[str, list[Path]] = {}
        self._ran: dict[str, set[str]] = {}
        for judged in report.judged:
            folder = self._named(judged.path)
            self._folders.setdefault(folder, []).append(Path(judged.path))
            self._ran.setdefault(folder, set()).update(code for code, _ in judged.rules)
        paths = {judged.path for judged in report.judged}
        self._skipped = {
            (self._named(one.path if one.path in paths else str(Path(one.path).parent)), one.code)
            for one in report.not_checked
        }

    def covers(self, entry: KnownFinding) -> bool:
        """Whether the finding of an entry would have been found again."""
        if entry.code.startswith(_SETTINGS):
            path = self._path.absolute().parent / entry.path
            return any(path.is_relative_to(folder) for folder in self._inputs)
        folder = self._folder_of(entry.path)
        if folder is None or (self._shallow and entry.code.startswith(_DATA)):
            return False
        above, _, name = entry.path.rpartition("/")
        if (above or ".") == folder and not any(disk.is_there(each / name) for each in self._folders[folder]):
            return True  # the file is gone
        return entry.code in self._ran[folder] and (folder, entry.code) not in self._skipped

    def _named(self, folder: str) -> str:
        """A folder as the paths of a baseline begin."""
        return path_in_baseline(str(Path(folder) / "x"), self._path).rpartition("/")[0] or "."

    def _folder_of(self, path: str) -> str | None:
        """The judged folder that a path in a baseline belongs to; of a dataset, the nearest one above it."""
        parts = path.split("/")
        if dataset_in(f"/{path}") is None:
            parts = ["/".join(parts[:-1]) or "."]
        folders = ("/".join(parts[:length]) for length in range(len(parts), 0, -1))
        return next((folder for folder in folders if folder in self._ran), None)
