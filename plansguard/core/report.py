"""The result of a command: value types that rules produce and renderers read."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from functools import cached_property
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from datetime import datetime

#: Why a finding of a rule that is declared ``incomplete`` can be neither ignored nor accepted.
NOT_JUDGED = "it means that something was not judged, so its result is not known"
_FIRST_SENTENCE = re.compile(r"(?<=[\w`'\")\]])\. (?=[A-Z`0-9]|nnU-Net)")


class Severity(str, Enum):
    """How bad a finding is.

    error: nnU-Net will fail, or will run something other than the files declare, without a message. warning: the files
    do not contain enough to decide, or it is legal and nearly always a mistake. info: worth knowing.
    """

    ERROR = "error"
    WARNING = "warning"
    INFO = "info"

    @property
    def rank(self) -> int:
        """0 for info, 1 for warning, 2 for error."""
        return ("info", "warning", "error").index(self.value)

    def __str__(self) -> str:
        return self.value


class Location(NamedTuple):
    """A place in a file: ``pointer`` is a JSON pointer, ``line`` and ``column`` are 1-based and filled in late."""

    path: str
    pointer: str = ""
    line: int | None = None
    column: int | None = None


class Related(NamedTuple):
    """Another place that a finding refers to, and what is there."""

    location: Location
    what: str


class Excerpt(NamedTuple):
    """The line of a file that contains a value, which is ``length`` characters long and begins at ``start``, from 0.

    ``line`` is the line of the value, from 1. A short list that is written over several lines is joined to one.
    """

    line: int
    text: str
    start: int
    length: int


class Correction(NamedTuple):
    """An edit that certainly corrects a finding: the value that belongs at a place. Its last key may be new there."""

    location: Location
    value: Any


class RuleInfo(NamedTuple):
    """The declaration of a rule.

    A finding of a rule that is ``incomplete`` means that something was not judged. It makes the exit code 2, and can be
    neither ignored nor accepted, nor does its severity change. ``overruled_by`` is the option of one command that lets
    a finding through, where settings, which apply to every command, must not do so. ``options`` are its thresholds that
    settings may change, with their defaults. ``mark`` is what stands beside the value in an excerpt of the file.
    """

    code: str
    name: str
    severity: Severity
    message: str
    fix: str
    docstring: str
    incomplete: bool = False
    overruled_by: str = ""
    options: Mapping[str, float] = MappingProxyType({})
    mark: str = ""

    @property
    def doc(self) -> str:
        """The rule's page: its docstring without indentation."""
        from inspect import cleandoc

        return cleandoc(self.docstring)

    @property
    def modes(self) -> tuple[str, ...]:
        """The failure modes of docs/coverage.md that the rule covers: ``Evidence`` begins with them."""
        evidence = self.docstring.partition("Evidence:")[2].partition(";")[0]
        return tuple(re.findall(r"\b[A-Z][A-Z0-9]{1,2}-\d\d\b", evidence))

    @property
    def summary(self) -> str:
        """The first line of the rule's page."""
        return self.doc.partition("\n")[0]

    @property
    def why(self) -> str:
        """Why a finding matters, in one sentence: the first after ``Why it matters:`` in the rule's page."""
        paragraph = self.docstring.partition("Why it matters:")[2].partition("\n\n")[0]
        return _FIRST_SENTENCE.split(" ".join(paragraph.split()), maxsplit=1)[0].rstrip(".")

    @property
    def url(self) -> str:
        """The address of the rule's page."""
        return f"https://github.com/plansguard/plansguard/blob/main/docs/rules/{self.code}-{self.name}.md"


@dataclass(frozen=True)
class Finding:
    """The verdict of one rule at one place. ``ignored`` is the reason given in the settings, or None.

    ``changed`` are the fields that it reports as changed; ``follows`` are the codes of the rules that may report the
    same change as its cause. ``incomplete`` is that of its rule. ``corrections`` are the edits that correct it, made
    together; empty where what is right is not certain. ``why`` is one sentence about what nnU-Net does then; ``mark``
    stands beside the value in the ``excerpt`` of the file, which is None where there is no line. ``remedial`` are the
    names of the values that only the fix uses. ``known`` is whether it is in the baseline, or was there before.
    """

    code: str
    name: str
    severity: Severity
    message: str
    fix: str
    location: Location
    configuration: str | None = None
    values: dict[str, Any] = field(default_factory=dict)
    related: tuple[Related, ...] = ()
    url: str = ""
    ignored: str | None = None
    incomplete: bool = False
    changed: tuple[Location, ...] = ()
    follows: tuple[str, ...] = ()
    corrections: tuple[Correction, ...] = ()
    why: str = ""
    mark: str = ""
    excerpt: Excerpt | None = None
    remedial: frozenset[str] = frozenset()
    known: bool = False

    @property
    def message_with_mark(self) -> str:
        """The message, with the mark in brackets for formats without an excerpt."""
        return f"{self.message} ({self.mark})" if self.mark else self.message

    @property
    def fingerprint(self) -> str:
        """Sixteen hexadecimal digits that stay the same while the same values are wrong at the same place.

        Lines, wording, values of the fix and the folders above the dataset are left out, so moving a checkout changes
        nothing.
        """
        from plansguard.core.fingerprint import fingerprint

        values = {name: value for name, value in self.values.items() if name not in self.remedial}
        return fingerprint(self.code, self.location.path, self.location.pointer, self.configuration, values)


def distinct(findings: Iterable[Finding]) -> list[Finding]:
    """The findings without repetition, in their order: several configurations may have the same."""
    result: list[Finding] = []
    alike: dict[tuple[str, Location, str], list[Finding]] = {}  # findings cannot be hashed, and may be thousands
    for finding in findings:
        known = alike.setdefault((finding.code, finding.location, finding.message), [])
        if finding not in known:
            known.append(finding)
            result.append(finding)
    return result


class Cause(NamedTuple):
    """A finding that is printed, with the severity of the worst of its consequences, which are not."""

    finding: Finding
    consequences: tuple[Finding, ...] = ()

    @property
    def severity(self) -> Severity:
        """The worst severity of the finding and its consequences."""
        return max((each.severity for each in (self.finding, *self.consequences)), key=lambda each: each.rank)

    def with_consequence(self, finding: Finding) -> Cause:
        """The cause with one more consequence."""
        return Cause(self.finding, (*self.consequences, finding))


class NotChecked(NamedTuple):
    """A rule that could not run at a place, and why. No rule is skipped without one."""

    code: str
    name: str
    path: str
    reason: str


class SkippedRules(NamedTuple):
    """The rules that could not run at a place for one reason, by code and name."""

    path: str
    reason: str
    rules: tuple[tuple[str, str], ...]

    @staticmethod
    def merged(records: Iterable[SkippedRules]) -> tuple[SkippedRules, ...]:
        """One record for each place and reason, with every rule once."""
        rules: dict[tuple[str, str], dict[tuple[str, str], None]] = {}
        for one in records:
            rules.setdefault((one.path, one.reason), {}).update(dict.fromkeys(one.rules))
        return tuple(SkippedRules(*place, tuple(known)) for place, known in rules.items())


@dataclass(frozen=True)
class KnownFinding:
    """A finding of a baseline or of an earlier revision: what identifies it, how often it was there, and its text."""

    fingerprint: str
    count: int
    code: str
    name: str
    path: str
    pointer: str
    configuration: str | None
    message: str


class Comparison(NamedTuple):
    """What the findings of a report are compared with: the file of a baseline, or a git ``revision``.

    ``absent`` are its findings that no longer occur.
    """

    source: str
    is_revision: bool
    absent: tuple[KnownFinding, ...] = ()


class Judged(NamedTuple):
    """The folder of a dataset, and codes and names of the rules that ran on it or on something in it."""

    path: str
    rules: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Report:
    """The result of one command.

    ``documents`` is the number of files that were checked, or of checks that were made (`unit`), ``datasets`` that of
    the datasets they belong to; ``lacks_plans`` whether a check found none that are plans. Findings at or above
    ``fail_on`` make the exit code 1; with ``allow_empty``, nothing to check is no fault. The rules ``started`` then,
    and took so many ``seconds``. ``compared`` is what its findings are compared with.
    """

    command: str
    inputs: tuple[str, ...]
    documents: int
    findings: tuple[Finding, ...] = ()
    skipped: tuple[SkippedRules, ...] = ()
    lacks_plans: bool = False
    datasets: int = 0
    judged: tuple[Judged, ...] = ()
    fail_on: Severity = Severity.ERROR
    allow_empty: bool = False
    started: datetime | None = field(default=None, compare=False)
    seconds: float = field(default=0.0, compare=False)
    compared: Comparison | None = None

    @property
    def unit(self) -> str:
        """What ``documents`` counts."""
        return "check" if self.command == "doctor" else "file"

    @property
    def not_checked(self) -> tuple[NotChecked, ...]:
        """Each rule that did not run at a place, once for each reason."""
        return tuple([NotChecked(*rule, one.path, one.reason) for one in self.skipped for rule in one.rules])

    @property
    def active(self) -> tuple[Finding, ...]:
        """The findings that no setting ignores, and that are not known."""
        return tuple(finding for finding in self.findings if finding.ignored is None and not finding.known)

    @cached_property
    def known(self) -> tuple[Cause, ...]:
        """The known findings, each with its consequences, the most severe first."""
        return _causes([finding for finding in self.findings if finding.known])

    @cached_property
    def causes(self) -> tuple[Cause, ...]:
        """The active findings, each with its consequences, the most severe first.

        A finding is a consequence of another if every field that it reports as changed is reported as changed by active
        findings of the rules that it follows, which are not consequences themselves. So it is one no longer as soon as
        its cause is ignored or accepted.
        """
        return _causes(self.active)

    def summary(self) -> dict[str, int]:
        """Numbers of causes by severity, of ignored findings, of rules not checked, of documents and datasets."""
        severities = [cause.severity for cause in self.causes]
        return {
            **{str(severity): severities.count(severity) for severity in Severity},
            "ignored": sum(finding.ignored is not None for finding in self.findings),
            "baseline": len(self.known),
            "not_checked": sum([len(one.rules) for one in self.skipped]),
            "documents": self.documents,
            "datasets": self.datasets,
        }

    def _repr_html_(self) -> str | None:
        """The report as a page in a notebook; None, for its text, without the extra ``report``."""
        from importlib import import_module

        page: str | None = import_module("plansguard").in_notebook(self)  # by name: pages are made above this room
        return page

    def fails(self, fail_on: Severity) -> bool:
        """Whether an active finding is at or above ``fail_on``."""
        return any(finding.severity.rank >= fail_on.rank for finding in self.active)

    def exit_code(self) -> int:
        """0: clean; 1: findings at or above ``fail_on``; 2: the verdict is incomplete; 3: no documents, or no plans."""
        empty = 0 if self.allow_empty else 3
        if any(finding.incomplete for finding in self.findings):
            return 2
        if not self.documents:
            return empty
        if self.fails(self.fail_on):
            return 1
        return empty if self.lacks_plans else 0


def merged(reports: Sequence[Report]) -> Report:
    """Several reports, at least one, as one; identical findings are reported once."""
    findings = distinct(finding for report in reports for finding in report.findings)
    return replace(
        reports[0],
        inputs=tuple(dict.fromkeys(path for report in reports for path in report.inputs)),
        documents=sum(report.documents for report in reports),
        datasets=sum(report.datasets for report in reports),
        findings=tuple(sorted(findings, key=lambda finding: -finding.severity.rank)),
        skipped=SkippedRules.merged(one for report in reports for one in report.skipped),
    )


def _causes(findings: Sequence[Finding]) -> tuple[Cause, ...]:
    """Return the causes among findings, as `Report.causes` describes them."""
    causes: list[Cause] = []
    for finding in _causes_first(findings):
        index = _cause_of(finding, causes)
        if index is None:
            causes.append(Cause(finding))
        else:
            causes[index] = causes[index].with_consequence(finding)
    order = {id(finding): place for place, finding in enumerate(findings)}
    causes.sort(key=lambda cause: (-cause.severity.rank, order[id(cause.finding)]))
    return tuple(causes)


def _causes_first(findings: Sequence[Finding]) -> list[Finding]:
    """Return the findings in an order in which every one comes after those that it may follow."""
    codes: dict[str, None] = {}
    follows = {finding.code: finding.follows for finding in findings}

    def visit(code: str) -> None:
        for other in follows[code]:
            if other != code and other in follows and other not in codes:
                visit(other)
        codes[code] = None

    for code in follows:
        if code not in codes:
            visit(code)
    places = {code: place for place, code in enumerate(codes)}
    return sorted(findings, key=lambda finding: places[finding.code])


def _cause_of(finding: Finding, causes: Sequence[Cause]) -> int | None:
    """Return the index of the first cause that reports a change of ``finding``; None unless all are reported."""
    first: list[int] = []
    for place in finding.changed:
        reported = (
            index
            for index, cause in enumerate(causes)
            if cause.finding.code in finding.follows and any(_includes(one, place) for one in cause.finding.changed)
        )
        index = next(reported, None)
        if index is None:
            return None
        first.append(index)
    return min(first, default=None)


def _includes(field: Location, place: Location) -> bool:
    inside = f"{place.pointer}/".startswith(f"{field.pointer}/")
    return field.path == place.path and inside
