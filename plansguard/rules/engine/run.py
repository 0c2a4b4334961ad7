"""Run rules on everything that is checked, apply the settings to their findings, and make the report."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from plansguard.core.errors import Absent, NotWrittenYet, UnreadableDocument, UsageError
from plansguard.core.report import Finding, Location, NotChecked, Related, Report
from plansguard.core.text import quoted
from plansguard.documents.json_document import JsonDocument
from plansguard.rules.engine.declare import Found, Rule
from plansguard.rules.engine.helpers import number, preprocess_command
from plansguard.rules.engine.needs import NEEDS, Crash, Level, Scope
from plansguard.rules.engine.settings import ActiveSettings
from plansguard.subjects.dataset import Dataset
from plansguard.subjects.pair import Pair
from plansguard.subjects.plans import Configuration

if TYPE_CHECKING:
    from plansguard.subjects.planning import Planning
    from plansguard.subjects.prediction import Prediction
    from plansguard.subjects.training_run import TrainingRun


def run_rules(
    command: str,
    inputs: Sequence[str],
    datasets: Sequence[Dataset],
    *,
    pair: Pair | None = None,
    training: TrainingRun | None = None,
    planning: Planning | None = None,
    prediction: Prediction | None = None,
    settings: ActiveSettings | None = None,
    rules: Sequence[Rule],
) -> Report:
    """Run ``rules`` on ``datasets``, on the pair of a migration, and on the command that is about to start."""
    settings = settings or ActiveSettings()
    results = _Results(rules)
    for dataset in datasets:
        results.add_dataset(dataset)
    requested = {dataset.request.weights.path: dataset for dataset in datasets if dataset.request.weights is not None}
    for dataset in requested.values():
        results.add(Level.CHECKPOINT, Scope(dataset, checkpoint=dataset.request.weights))
    if training is not None:
        place = Scope(training.dataset, plans=training.plans, configuration=training.configuration, run=training)
        results.add(Level.RUN, place)
    if planning is not None:
        results.add(Level.PLANNING, Scope(planning.dataset, planning=planning))
    if prediction is not None:
        results.add(Level.PREDICTION, Scope(prediction.model, prediction=prediction))
    if pair is not None:
        results.add(Level.PAIR, Scope(pair.receiving, plans=pair.result, pair=pair))
    findings, idle = settings.apply(results.findings)
    # In a check of one dataset, entries for other datasets match nothing, which is no fault.
    complete = settings.all_in(inputs) and all(dataset.request.everything for dataset in datasets)
    idle = tuple(ignore for ignore in idle if ignore.expired or complete)
    crashes = tuple(dict.fromkeys(results.crashes))  # the same crash in several configurations is one finding
    results.findings = []
    results.add(Level.RUN_END, Scope(Dataset(Path(), ()), crashes=crashes, idle_ignores=idle))
    findings += settings.apply(results.findings)[0]
    documents = {document.path: document for dataset in datasets for document in dataset.documents}
    unreadable = sum(len(dataset.unreadable) for dataset in datasets)
    readable = documents if settings.document is None else {**documents, settings.document.path: settings.document}
    return Report(
        command=command,
        inputs=tuple(inputs),
        documents=len(documents) + unreadable,
        findings=tuple(sorted((_with_lines(finding, readable) for finding in findings), key=_order)),
        not_checked=tuple(dict.fromkeys(results.not_checked)),
    )


class _Results:
    """Findings, skipped checks and crashes of the rules."""

    def __init__(self, rules: Sequence[Rule]) -> None:
        self.rules = rules
        self.findings: list[Finding] = []
        self.not_checked: list[NotChecked] = []
        self.crashes: list[Crash] = []

    def add_dataset(self, dataset: Dataset) -> None:
        """Run the rules on a dataset and on everything in it."""
        for level, scope in _scopes_of(dataset):
            self.add(level, scope)
        if not dataset.judged_plans and dataset.role != "raw":
            for rule in self.rules:
                if rule.level in (Level.PLANS, Level.CONFIGURATION) and dataset.role in rule.roles:
                    self._skip(rule, str(dataset.folder), "there are no plans here that could be read")

    def add(self, level: Level, scope: Scope) -> None:
        """Run the rules of one level on one scope."""
        for rule in self.rules:
            if rule.level is not level or scope.dataset.role not in rule.roles:
                continue
            try:
                needs = _needs(rule, scope)
                if needs is not None:
                    # A rule that stops half way has not checked anything: its findings count only once it has ended.
                    self.findings += [_finding(rule, found, scope) for found in rule.check(**needs)]
            except Absent as absent:
                self._skip(rule, scope.path, absent.reason)
            except UsageError:
                raise  # the request itself is impossible: a package or a cluster is missing
            except OverflowError:
                self._skip(rule, scope.path, "a number is too large to compute with")
            except Exception as error:  # noqa: BLE001 - a broken rule must not hide the findings of others
                self.crashes.append(Crash(rule.info.code, scope.path, f"{type(error).__name__}: {error}"))

    def _skip(self, rule: Rule, path: str, reason: str) -> None:
        self.not_checked.append(NotChecked(rule.info.code, rule.info.name, path, reason))


def _needs(rule: Rule, scope: Scope) -> dict[str, Any] | None:
    """Return the needs of a rule; None where one is absent as it should be: by the role, or until nnU-Net writes it.

    Absent for others.
    """
    needs: dict[str, Any] = {}
    absent: Absent | None = None
    for name in rule.needs:
        try:
            needs[name] = NEEDS[name].get(scope)
        except Absent as error:
            if scope.dataset.role not in NEEDS[name].roles or isinstance(error, NotWrittenYet):
                return None
            absent = absent or error
    if absent is not None:
        raise absent
    return needs


def _scopes_of(dataset: Dataset) -> Iterator[tuple[Level, Scope]]:
    """Yield the scopes of a dataset, of its documents, plans and configurations, and of its checkpoints."""
    yield Level.DATASET, Scope(dataset)
    for document in dataset.documents:
        yield Level.DOCUMENT, Scope(dataset, document=document)
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
            if dataset.role == "preprocessed":
                yield Level.DATA, scope
            if configuration in loading:
                yield Level.WEIGHTS, scope
    for checkpoint in dataset.checkpoints:
        if not isinstance(checkpoint, UnreadableDocument):  # PG601 reports those
            yield Level.CHECKPOINT, Scope(dataset, checkpoint=checkpoint)


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
    used = info.message + fix
    common = {name: get(scope) for name, get in _COMMON.items() if name not in found.values and f"{{{name}}}" in used}
    values = {**found.values, **common}
    words = {name: value if name == "preprocess" else quoted(value) for name, value in common.items()}  # of commands
    return Finding(
        code=info.code,
        name=info.name,
        severity=found.severity or info.severity,
        message=info.message.format(**values),
        fix=fix.format(**values | words),
        location=found.at,
        configuration=scope.configuration.name if scope.configuration is not None else None,
        values=values,
        related=found.related,
        url=info.url,
        changed=found.changed,
        follows=rule.follows,
        incomplete=info.incomplete,
    )


def _with_lines(finding: Finding, documents: dict[str, JsonDocument]) -> Finding:
    related = tuple(Related(_with_line(place.location, documents), place.what) for place in finding.related)
    return replace(finding, location=_with_line(finding.location, documents), related=related)


def _with_line(location: Location, documents: dict[str, JsonDocument]) -> Location:
    document = documents.get(location.path)
    if document is None or location.line is not None:
        return location
    position = document.position(location.pointer)
    return location if position is None else location._replace(line=position.line, column=position.column)


def _order(finding: Finding) -> tuple[object, ...]:
    place = finding.location
    return (-finding.severity.rank, place.path, place.line or 0, place.column or 0, finding.code, finding.message)
