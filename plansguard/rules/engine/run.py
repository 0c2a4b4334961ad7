"""Run rules on everything that is checked, apply the settings to their findings, and make the report."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timezone
from functools import partial
from itertools import chain
from operator import itemgetter
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any, NamedTuple

from plansguard.core import errors
from plansguard.core.errors import Absent, NotWrittenYet, UnreadableDocument, UnreadableFolder, UsageError
from plansguard.core.report import Finding, Judged, Location, Related, Report, SkippedRules
from plansguard.core.text import quoted
from plansguard.core.unusable_packages import unusable_package
from plansguard.nnunet.workspace import DATASET_NAME
from plansguard.rules.engine.corrections import permitted
from plansguard.rules.engine.declare import Found, Rule
from plansguard.rules.engine.helpers import number, preprocess_command
from plansguard.rules.engine.needs import DATASETS, NEEDS, Crash, Level, Scope
from plansguard.rules.engine.settings import ActiveSettings
from plansguard.subjects.dataset import NOTHING_PREPROCESSED, Dataset
from plansguard.subjects.pair import DatasetPair, Pair
from plansguard.subjects.plans import Configuration
from plansguard.subjects.setup import Setup

if TYPE_CHECKING:
    from plansguard.rules.engine.settings import SettingsDocument
    from plansguard.subjects.planning import Planning
    from plansguard.subjects.prediction import Prediction
    from plansguard.subjects.training_run import TrainingRun


def run_rules(
    command: str,
    inputs: Sequence[str],
    datasets: Iterable[Dataset],
    *,
    pair: DatasetPair | None = None,
    training: TrainingRun | None = None,
    planning: Planning | None = None,
    prediction: Prediction | None = None,
    setup: Setup | None = None,
    settings: ActiveSettings | None = None,
    rules: Sequence[Rule],
) -> Report:
    """Run ``rules`` on ``datasets``, on a pair of them, on the command that is about to start, or on the machine.

    Datasets may come from a generator. They are not kept, because thousands of them do not fit in memory.
    """
    settings = settings or ActiveSettings()
    results = _Results(_configured(rules, settings), settings.document)
    requested: dict[str, Dataset] = {}
    everything = True
    for dataset in datasets:
        results.add_dataset(dataset)
        everything = everything and dataset.request.everything
        if dataset.request.weights is not None:
            requested[dataset.request.weights.path] = dataset
    for dataset in requested.values():
        results.add(Level.CHECKPOINT, Scope(dataset, checkpoint=dataset.request.weights))
    if training is not None:
        place = Scope(training.dataset, plans=training.plans, configuration=training.configuration, run=training)
        results.add(Level.RUN, place)
        results.add(Level.INSTALLATION, place._replace(setup=Setup(os.environ, training.at)))
    if planning is not None:
        results.add(Level.PLANNING, Scope(planning.dataset, planning=planning))
    if prediction is not None:
        results.add(Level.PREDICTION, Scope(prediction.model, prediction=prediction))
    if setup is not None:
        for level in (Level.INSTALLATION, Level.SETUP):
            results.add(level, Scope(Dataset(Path(), ()), setup=setup))
    if pair is not None:
        result = pair.result if isinstance(pair, Pair) else None
        results.add(Level.PAIR, Scope(pair.receiving, plans=result, pair=pair))
    findings, idle = settings.apply(results.findings)
    # In a check of one dataset, entries for other datasets match nothing, which is no fault.
    complete = everything and settings.all_in(inputs)
    idle = tuple(ignore for ignore in idle if ignore.expired or complete)
    crashes = tuple(dict.fromkeys(results.crashes))  # the same crash in several configurations is one finding
    results.findings, results.crashes = [], []
    unreadable = results.unreadable(None if training is None else training.needs_folder)
    end = Scope(Dataset(Path(), ()), unreadable=unreadable, crashes=crashes, idle_ignores=idle)
    results.add(Level.RUN_END, end)
    for lost in results.crashes:  # PG000 itself may be among them
        raise errors.PlansguardError(f"the rule {lost.rule} failed with {lost.error}", hint="please report this")
    findings += settings.apply(results.findings)[0]
    return results.report(command, inputs, sorted(findings, key=_order))


def _configured(rules: Iterable[Rule], settings: ActiveSettings) -> list[Rule]:
    """The selected rules, with their options."""
    selected = (rule for rule in rules if settings.selects(rule.info))
    options = settings.options
    return [
        replace(rule, check=partial(rule.check, **options[rule.info.code])) if rule.info.code in options else rule
        for rule in selected
    ]


class _Group(NamedTuple):
    """Rules with the same needs: the needs' names, and how to take the arguments of these rules from all needs.

    ``called`` are the rules by code and name.
    """

    names: tuple[str, ...]
    arguments: Callable[[Mapping[str, Any]], Sequence[Any]]
    rules: tuple[Rule, ...]
    called: _Called

    @classmethod
    def of(cls, names: tuple[str, ...], rules: Sequence[Rule]) -> _Group:
        """Return the group of these rules."""
        if len(names) == 1:  # of one name, itemgetter gives no tuple
            return cls(names, lambda needs: (needs[names[0]],), tuple(rules), _called(rules))
        return cls(names, itemgetter(*names), tuple(rules), _called(rules))


#: Codes and names of rules.
_Called = dict[tuple[str, str], None]


def _called(rules: Iterable[Rule]) -> _Called:
    return {(rule.info.code, rule.info.name): None for rule in rules}


class _Applicable:
    """The rules of one level that apply to datasets of one role, by their needs, and the needs of all of them."""

    def __init__(self, rules: Iterable[Rule]) -> None:
        groups: dict[tuple[str, ...], list[Rule]] = {}
        for rule in rules:
            groups.setdefault(rule.needs, []).append(rule)
        self.groups = [_Group.of(*group) for group in groups.items()]
        self.identities = {id(group.rules) for group in self.groups}
        self.called = {one: None for group in self.groups for one in group.called}
        needs = self.needs = dict.fromkeys(name for names in groups for name in names)
        self.of_dataset = [name for name in needs if NEEDS[name].level is Level.DATASET]
        self.of_scope = [name for name in needs if NEEDS[name].level is not Level.DATASET]


class _ByRole(dict[str, list[_Applicable]]):
    """Role of the dataset -> what applies on each level. Few roles occur in one run."""

    def __init__(self, rules: Sequence[Rule]) -> None:
        super().__init__()
        self._rules = rules
        #: Role of the dataset -> the needs of rules that its scopes share.
        self.of_dataset: dict[str, list[str]] = {}

    def __missing__(self, role: str) -> list[_Applicable]:
        rules = [rule for rule in self._rules if role in rule.roles]
        levels = self[role] = [_Applicable(rule for rule in rules if rule.level is level) for level in Level]
        self.of_dataset[role] = [*dict.fromkeys(name for one in levels for name in one.of_dataset)]
        return levels


class _Results:
    """Findings, skipped checks and crashes of the rules, and what was checked."""

    def __init__(self, rules: Sequence[Rule], settings: SettingsDocument | None) -> None:
        self.started, self._clock = datetime.now(timezone.utc), monotonic()
        self.findings: list[Finding] = []
        #: Where rules did not run, and why -> these rules. Thousands of datasets share a few groups of rules.
        self._skipped: dict[tuple[str, str], list[_Called]] = {}
        self.crashes: list[Crash] = []
        #: Folder -> the rules that ran there, as identities of those that run together; the same set for all alike.
        self._ran: dict[str, frozenset[int]] = {}
        self._sets: dict[frozenset[int], frozenset[int]] = {}
        #: Paths of the documents, files that could not be read, and folders that a rule could not list, by path.
        self.paths: set[str] = set()
        self.damaged: list[UnreadableDocument] = []
        #: Names of the datasets that were checked, also those with raw data and preprocessed ones.
        self.datasets: set[str] = set()
        self._closed: dict[str, UnreadableFolder] = {}
        self._applicable = _ByRole(rules)
        #: The needs that are the same for all that is checked.
        self._of_run = _Known({}, {})
        #: Documents in which findings about the run itself may be: settings, and what a rule has crashed on.
        self._documents: list[SettingsDocument] = [] if settings is None else [settings]

    def add_dataset(self, dataset: Dataset) -> None:
        """Run the rules on a dataset and on everything in it."""
        self.paths.update(document.path for document in dataset.documents)
        self.damaged += dataset.unreadable
        if dataset.role in DATASETS or DATASET_NAME.fullmatch(dataset.name):  # loose plans belong to none
            self.datasets.add(dataset.name)
        self._closed.update((one.path, one) for one in dataset.checkpoints if isinstance(one, UnreadableFolder))
        applicable = self._applicable[dataset.role]
        of_dataset = self._known_of(Scope(dataset), self._applicable.of_dataset[dataset.role])
        ran: set[int] = set()
        for level, scope in _scopes_of(dataset):
            ran |= self._run(level, scope, of_dataset.copy())
        self._record(str(dataset.folder), ran)
        if not dataset.judged_plans and dataset.role != "raw":
            for level in (Level.PLANS, Level.CONFIGURATION):
                self._skip(applicable[level].called, str(dataset.folder), "a dataset has no plans that could be read")
        if dataset.role == "preprocessed" and not dataset.holds_data:
            for plans in dataset.judged_plans:
                self._skip(applicable[Level.DATA].called, plans.document.path, NOTHING_PREPROCESSED)

    def add(self, level: Level, scope: Scope) -> None:
        """Run the rules of one level on one scope."""
        needs = self._applicable[scope.dataset.role][level].of_dataset
        ran = self._run(level, scope, self._known_of(scope, needs))
        if level is not Level.RUN_END:
            self._record(str(scope.dataset.folder), ran)

    def _run(self, level: Level, scope: Scope, known: _Known) -> set[int]:
        """Run the rules of one level on one scope, and return what ran. ``known`` are the needs of the dataset."""
        applicable = self._applicable[scope.dataset.role][level]
        known.learn(applicable.of_scope, scope)
        all_present = known.absent.keys().isdisjoint(applicable.needs)
        skipped: set[int] = set()
        for names, arguments, rules, called in applicable.groups:
            if not all_present and not known.absent.keys().isdisjoint(names):
                skipped.add(id(rules))
                try:
                    reason = known.why_absent(names, scope)
                except Exception as error:  # noqa: BLE001 - see _not_judged
                    self._not_judged(rules, scope, error)
                    continue
                if reason is not None:
                    self._skip(called, scope.path, reason)
                continue
            needs = arguments(known.present)
            for rule in rules:
                try:
                    # A rule that stops half way has not checked anything: its findings count only once it has ended.
                    for first in (results := rule.check(*needs)):
                        self.findings += [self._finding(rule, found, scope) for found in (first, *results)]
                except Exception as error:  # noqa: BLE001 - see _not_judged
                    self._not_judged((rule,), scope, error)
        return applicable.identities - skipped

    def _record(self, folder: str, ran: set[int]) -> None:
        """Note what ran in a folder. Thousands of datasets share a few sets."""
        every = self._ran.get(folder, frozenset()) | ran
        self._ran[folder] = self._sets.setdefault(every, every)

    @property
    def judged(self) -> tuple[Judged, ...]:
        """The folders with the rules that ran there, by code."""
        levels = (level for levels in self._applicable.values() for level in levels)
        together = {id(group.rules): group.rules for level in levels for group in level.groups}
        names = {ran: tuple(sorted({rule.info[:2] for one in ran for rule in together[one]})) for ran in self._sets}
        return tuple(Judged(folder, names[ran]) for folder, ran in self._ran.items())

    def _known_of(self, scope: Scope, names: Sequence[str]) -> _Known:
        """Compute needs of a dataset, and those of the run."""
        self._of_run.learn([name for name in names if NEEDS[name].of_run], scope)
        known = self._of_run.copy()
        known.learn(names, scope)
        return known

    def _not_judged(self, rules: tuple[Rule, ...], scope: Scope, error: Exception) -> None:
        """Record why rules have judged nothing. A broken rule must not hide the findings of others."""
        if isinstance(error, UsageError) or errors.is_limit(error):
            raise error  # the request itself is impossible: a package, a cluster or memory is missing
        if isinstance(error, ImportError):
            raise unusable_package(error) from error
        if isinstance(error, UnreadableFolder):
            self._closed[error.path] = error
            self._skip(_called(rules), scope.path, f"{error.path}: {error.reason}")
            return
        if isinstance(error, (Absent, OverflowError)):
            reason = error.reason if isinstance(error, Absent) else "a number is too large to compute with"
            self._skip(_called(rules), scope.path, reason)
            return
        self.crashes += [Crash(rule.info.code, scope.path, f"{type(error).__name__}: {error}") for rule in rules]
        self._documents += scope.dataset.documents

    def unreadable(self, needed: Callable[[Path], bool] | None) -> tuple[UnreadableDocument, ...]:
        """What could not be read, each once: files, and the folders that are ``needed`` (None: all)."""
        reported = {error.path for error in self.damaged}
        closed = (one for path, one in self._closed.items() if path not in reported)
        return (*self.damaged, *(one for one in closed if needed is None or needed(Path(one.path))))

    def report(self, command: str, inputs: Sequence[str], findings: Iterable[Finding]) -> Report:
        """The report with these findings."""
        return Report(
            command=command,
            inputs=tuple(inputs),
            documents=len(self.paths) + len(self.damaged),
            datasets=len(self.datasets),
            findings=tuple(findings),
            skipped=self.skipped,
            judged=self.judged,
            started=self.started,
            seconds=monotonic() - self._clock,
        )

    def _skip(self, rules: _Called, path: str, reason: str) -> None:
        if rules:
            self._skipped.setdefault((path, reason), []).append(rules)

    @property
    def skipped(self) -> tuple[SkippedRules, ...]:
        """What did not run, by place and reason."""
        together: dict[tuple[int, ...], tuple[tuple[str, str], ...]] = {}
        for groups in self._skipped.values():
            key = tuple(map(id, groups))
            if key not in together:
                together[key] = tuple(dict.fromkeys(chain.from_iterable(groups)))
        return tuple(SkippedRules(*place, together[tuple(map(id, groups))]) for place, groups in self._skipped.items())

    def _finding(self, rule: Rule, found: Found, scope: Scope) -> Finding:
        """The finding with lines and columns."""
        finding = _finding(rule, found, scope)
        documents: dict[str, SettingsDocument] = {
            document.path: document for document in (*scope.dataset.documents, *self._documents)
        }
        related = tuple(Related(_with_line(place.location, documents), place.what) for place in finding.related)
        document = documents.get(finding.location.path)
        excerpt = None if document is None else document.excerpt(finding.location.pointer)
        return replace(finding, location=_with_line(finding.location, documents), related=related, excerpt=excerpt)


class _Known:
    """Needs that are there, and why others are not: absent, or an error when they were computed."""

    def __init__(self, present: dict[str, Any], absent: dict[str, Exception]) -> None:
        self.present = present
        self.absent = absent

    def copy(self) -> _Known:
        """Return a copy, to which more can be added."""
        return _Known(self.present.copy(), self.absent.copy())

    def learn(self, names: Iterable[str], scope: Scope) -> None:
        """Compute the needs that are not known, each once."""
        for name in names:
            if name in self.present or name in self.absent:
                continue
            try:
                self.present[name] = NEEDS[name].get(scope)
            except Exception as error:  # noqa: BLE001 - raised for the rules that need it
                self.absent[name] = error.with_traceback(None)

    def why_absent(self, names: tuple[str, ...], scope: Scope) -> str | None:
        """Return why the first absent need of these names is absent; raise the error if one could not be computed.

        None where one is absent as it should be: by the role, or until nnU-Net writes it.
        """
        reason = None
        for name in names:
            error = self.absent.get(name)
            if error is None:
                continue
            if not isinstance(error, Absent):
                del self.absent[name]
                self.learn((name,), scope)  # the next rules get what another attempt gives
                raise error
            if scope.dataset.role not in NEEDS[name].roles or isinstance(error, NotWrittenYet):
                return None
            reason = error.reason if reason is None else reason
        return reason


def _scopes_of(dataset: Dataset) -> Iterator[tuple[Level, Scope]]:
    """Yield the scopes of a dataset, of its plans and configurations, and of its checkpoints."""
    yield Level.DATASET, Scope(dataset)
    for plans in dataset.judged_plans:
        yield Level.PLANS, Scope(dataset, plans=plans)
        if dataset.has_record(plans):
            yield Level.MIGRATED_PLANS, Scope(dataset, plans=plans)
        requested = [one for one in plans.configurations if dataset.request.configuration in (None, one.name)]
        loading: tuple[Configuration, ...] = ()
        if dataset.request.weights is not None:
            from plansguard.subjects.weights import meant_for  # rarely needed

            loading = meant_for(dataset.request.weights, requested)
        for configuration in requested:
            scope = Scope(dataset, plans=plans, configuration=configuration)
            yield Level.CONFIGURATION, scope
            if dataset.holds_data:
                yield Level.DATA, scope
            if configuration in loading:
                yield Level.WEIGHTS, scope
            if dataset.request.processes is not None:
                yield Level.PREPROCESSING, scope
    for checkpoint in dataset.checkpoints:
        if not isinstance(checkpoint, UnreadableDocument):  # PG601 reports those
            yield Level.CHECKPOINT, Scope(dataset, checkpoint=checkpoint)


#: The name of a value in a format string.
_FIELD = re.compile(r"\{(\w+)")
#: Values that messages and fixes may use although the rule does not yield them.
_COMMON: dict[str, Callable[[Any], str]] = {
    "dataset": lambda scope: scope.dataset.name,
    "number": lambda scope: number(scope.dataset),
    "plans": lambda scope: scope.plans.identifier,
    "configuration": lambda scope: scope.configuration.name,
    "preprocess": lambda scope: preprocess_command(scope.dataset, scope.plans, scope.configuration.name),
    "trainer": lambda scope: scope.run.trainer,
}


def _finding(rule: Rule, found: Found, scope: Scope) -> Finding:
    info = rule.info
    fix = found.fix or info.fix
    used = info.message + info.mark + fix
    common = {name: get(scope) for name, get in _COMMON.items() if name not in found.values and f"{{{name}}}" in used}
    values = {**found.values, **common}
    words = {name: value if name == "preprocess" else quoted(value) for name, value in common.items()}  # of commands
    return Finding(
        code=info.code,
        name=info.name,
        severity=found.severity or info.severity,
        message=info.message.format(**values),
        fix=fix.format(**values | words),
        why=info.why,
        mark=info.mark.format(**values),
        location=found.at,
        configuration=scope.configuration.name if scope.configuration is not None else None,
        values=values,
        related=found.related,
        url=info.url,
        changed=found.changed,
        follows=rule.follows,
        incomplete=info.incomplete,
        remedial=frozenset(_named_in(fix) - _named_in(info.message + info.mark)),
        corrections=permitted(scope.dataset, found.corrections) if found.corrections else (),
    )


def _named_in(template: str) -> set[str]:
    """The names of the values in a format string."""
    return set(_FIELD.findall(template))


def _with_line(location: Location, documents: Mapping[str, SettingsDocument]) -> Location:
    document = documents.get(location.path)
    if document is None or location.line is not None:
        return location
    position = document.position(location.pointer)
    return location if position is None else location._replace(line=position.line, column=position.column)


def _order(finding: Finding) -> tuple[object, ...]:
    place = finding.location
    return (-finding.severity.rank, place.path, place.line or 0, place.column or 0, finding.code, finding.message)
