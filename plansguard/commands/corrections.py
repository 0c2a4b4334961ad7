"""Correct findings whose correction is certain: ``plansguard check --fix`` and ``--diff``.

A rule declares the correction with its finding. It is made only if the rules, run again on the corrected documents, no
longer report the finding and report nothing new.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from plansguard.core import disk
from plansguard.core.atomic_files import after, holding, write_atomically
from plansguard.core.errors import PlansguardError, WriteRefused
from plansguard.core.report import Correction, Finding, Report
from plansguard.core.text import listed
from plansguard.documents import json_edit, size_limits
from plansguard.documents.json_document import JsonDocument
from plansguard.rules import RULES_OF_DATASETS
from plansguard.rules.engine.run import run_rules
from plansguard.subjects.dataset import Dataset
from plansguard.subjects.discovery import dataset_in
from plansguard.subjects.documents import DatasetJson
from plansguard.subjects.request import Reading, Request


@dataclass
class CorrectedFile:
    """A file with its content before and after, and the findings that are corrected in it."""

    path: Path
    before: bytes
    after: bytes
    findings: list[Finding] = field(default_factory=list)


class Corrections(NamedTuple):
    """What can be corrected, and the findings whose correction was not made, with the reason."""

    files: tuple[CorrectedFile, ...]
    refused: tuple[tuple[Finding, str], ...]


def corrections_of(report: Report) -> Corrections:
    """Compute the corrections of the active findings of a check. Nothing is written."""
    files: dict[Path, CorrectedFile] = {}
    refused: list[tuple[Finding, str]] = []
    for folder, findings in _by_folder(report).items():
        documents = _Documents(folder, [Path(finding.location.path).name for finding in findings])
        for finding in findings:
            try:
                changed = documents.correct(finding)
            except (PlansguardError, KeyError, ValueError) as error:
                refused.append((finding, str(error)))
                continue
            for old, new in changed:
                file = files.setdefault(Path(new.path), CorrectedFile(Path(new.path), old.raw, new.raw))
                file.after = new.raw
                file.findings.append(finding)
    return Corrections(tuple(files.values()), tuple(refused))


def write(corrections: Corrections) -> None:
    """Write the corrected files, each in one step.

    Raises WriteRefused for a file that was changed since it was read, or that cannot be written.
    """
    done: list[str] = []
    with after(done):
        for file in corrections.files:
            if disk.content(file.path) != file.before:
                raise WriteRefused(f"{file.path} was changed while it was checked", hint="run the same command again")
            write_atomically(file.path, file.after, holding(file.before))
            done.append(f"wrote {file.path}")


def _by_folder(report: Report) -> dict[Path, list[Finding]]:
    folders: dict[Path, list[Finding]] = {}
    for finding in report.active:
        if finding.corrections:
            folders.setdefault(Path(finding.location.path).parent, []).append(finding)
    return folders


class _Documents:
    """The documents of one folder, with the corrections made so far."""

    def __init__(self, folder: Path, named: Sequence[str]) -> None:
        self.dataset = dataset_in(folder, named)
        self.dataset.request = Request(reading=Reading("none"))  # no correction changes what data must be
        self.raw: dict[str, JsonDocument] = {}
        self.found = self._judged(self.dataset)

    def correct(self, finding: Finding) -> list[tuple[JsonDocument, JsonDocument]]:
        """Make the corrections of a finding: the documents before and after.

        Raises ValueError if the finding would remain, or others come.
        """
        changed = [pair for pair in map(self._edited, finding.corrections) if pair[0].raw != pair[1].raw]
        documents = [new for _, new in changed]
        candidate = self.dataset.with_documents(
            [new for new in documents if Path(new.path).parent == self.dataset.folder], self.dataset.request
        )
        raw = {**self.raw, **{new.path: new for new in documents if Path(new.path).parent != self.dataset.folder}}
        for document in raw.values():
            candidate.raw_dataset_json = DatasetJson(document)
        now = self._judged(candidate)
        if _key(finding) in now:
            raise ValueError("the finding would remain")
        if new_ones := now - self.found:
            raise ValueError(f"it would cause {listed(sorted({code for code, *_ in new_ones}))}")
        self.dataset, self.raw, self.found = candidate, raw, now
        return changed

    def _edited(self, correction: Correction) -> tuple[JsonDocument, JsonDocument]:
        """The document of a correction, before and after it."""
        path = correction.location.path
        present = (*self.dataset.documents, *self.raw.values())
        old = next((one for one in present if one.path == path), None) or size_limits.read(Path(path))
        raw = json_edit.with_value(old.raw, correction.location.pointer, correction.value)
        return old, size_limits.parse(raw, path)

    def _judged(self, dataset: Dataset) -> Counter[tuple[str, ...]]:
        report = run_rules("check", [str(dataset.folder)], [dataset], rules=RULES_OF_DATASETS)
        return Counter(map(_key, report.findings))


def _key(finding: Finding) -> tuple[str, ...]:
    """The code and place of a finding, without lines: they move."""
    return finding.code, finding.location.path, finding.location.pointer, finding.configuration or ""


def reasons(corrections: Corrections) -> Iterator[str]:
    """Say which findings are not corrected, and why."""
    for finding, reason in corrections.refused:
        yield f"not corrected: {finding.code} in {finding.location.path}: {reason}"
