"""Runs the rules over subjects: select, order, run, catch, suppress, sort -> Report."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from plansguard.core.errors import Absent, UnreadableDocument, UsageError
from plansguard.core.report import Finding, Location, NotChecked, Related, Report
from plansguard.documents.json_document import JsonDocument
from plansguard.rules.engine.declare import Found, Rule
from plansguard.rules.engine.needs import NEEDS, Crash, Level, Scope
from plansguard.rules.engine.settings import ActiveSettings
from plansguard.subjects.dataset import Dataset
from plansguard.subjects.pair import Pair
from plansguard.subjects.plans import Configuration, Plans
from plansguard.subjects.request import Request

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
    """Judge ``datasets``, the pair if plans are on their way, and what is to start, by every rule."""
    judge = _Judge(rules)
    for dataset in datasets:
        judge.dataset(dataset)
    named = {dataset.request.weights.path: dataset for dataset in datasets if dataset.request.weights is not None}
    for dataset in named.values():
        judge.scope(Level.CHECKPOINT, Scope(dataset, checkpoint=dataset.request.weights))
    if training is not None:
        place = Scope(training.dataset, plans=training.plans, configuration=training.configuration, run=training)
        judge.scope(Level.RUN, place)
    if planning is not None:
        judge.scope(Level.PLANNING, Scope(planning.dataset, planning=planning))
    if prediction is not None:
        judge.scope(Level.PREDICTION, Scope(prediction.model, prediction=prediction))
    if pair is not None:
        judge.scope(Level.PAIR, Scope(pair.receiving, plans=pair.result, pair=pair))
    settings = settings or ActiveSettings()
    findings, idle = settings.apply(judge.findings)
    # In a check of one dataset, entries for the others match nothing, and that is no fault of theirs.
    whole = settings.all_in(inputs) and all(dataset.request.everything for dataset in datasets)
    idle = tuple(one for one in idle if one.expired or whole)
    judge.findings = []
    crashes = tuple(dict.fromkeys(judge.crashes))  # one that befalls every configuration is told once
    judge.scope(Level.RUN_END, Scope(Dataset(Path(), ()), crashes=crashes, idle_ignores=idle))
    findings += settings.apply(judge.findings)[0]
    documents = {document.path: document for dataset in datasets for document in dataset.documents}
    unreadable = sum(len(dataset.unreadable) for dataset in datasets)
    places = documents if settings.document is None else {**documents, settings.document.path: settings.document}
    return Report(
        command=command,
        inputs=tuple(inputs),
        documents=len(documents) + unreadable,
        findings=tuple(sorted((_with_lines(finding, places) for finding in findings), key=_order)),
        not_checked=tuple(dict.fromkeys(judge.not_checked)),
    )


class _Judge:
    """Collects what the rules say."""

    def __init__(self, rules: Sequence[Rule]) -> None:
        self.rules = rules
        self.findings: list[Finding] = []
        self.not_checked: list[NotChecked] = []
        self.crashes: list[Crash] = []

    def dataset(self, dataset: Dataset) -> None:
        self.scope(Level.DATASET, Scope(dataset))
        for document in dataset.documents:
            self.scope(Level.DOCUMENT, Scope(dataset, document=document))
        for plans in dataset.judged_plans:
            loading = _loading(plans, dataset.request)
            self.scope(Level.PLANS, Scope(dataset, plans=plans))
            if dataset.has_record(plans):
                self.scope(Level.MIGRATED_PLANS, Scope(dataset, plans=plans))
            for configuration in _judged_configurations(plans, dataset.request.configuration):
                scope = Scope(dataset, plans=plans, configuration=configuration)
                self.scope(Level.CONFIGURATION, scope)
                if dataset.role == "preprocessed":
                    self.scope(Level.DATA, scope)
                if configuration in loading:
                    self.scope(Level.WEIGHTS, scope)
        for checkpoint in dataset.checkpoints:
            if not isinstance(checkpoint, UnreadableDocument):  # PG601 tells of those
                self.scope(Level.CHECKPOINT, Scope(dataset, checkpoint=checkpoint))
        if not dataset.judged_plans and dataset.role != "raw":
            self._nothing_to_run_on(dataset)

    def scope(self, level: Level, scope: Scope) -> None:
        """Run every rule of a level at one place."""
        for rule in self.rules:
            if rule.level is not level:
                continue
            try:
                needs = {need: NEEDS[need].get(scope) for need in rule.needs}
                # A rule is drained before it counts: one that gives up half way has not checked anything.
                self.findings += [_finding(rule, one, scope) for one in rule.check(**needs)]
            except Absent as absent:
                self.not_checked.append(NotChecked(rule.info.code, rule.info.name, scope.path, absent.reason))
            except UsageError:
                raise  # what was asked for cannot be done: no package for it, no cluster at the address
            except OverflowError:
                reason = "a number is too large to compute with"
                self.not_checked.append(NotChecked(rule.info.code, rule.info.name, scope.path, reason))
            except Exception as error:  # noqa: BLE001 - a broken rule must not hide what the others found
                self.crashes.append(Crash(rule.info.code, scope.path, f"{type(error).__name__}: {error}"))

    def _nothing_to_run_on(self, dataset: Dataset) -> None:
        for rule in self.rules:
            if rule.level in (Level.PLANS, Level.CONFIGURATION):
                reason = "there are no plans here that could be read"
                self.not_checked.append(NotChecked(rule.info.code, rule.info.name, str(dataset.folder), reason))


def _judged_configurations(plans: Plans, wanted: str | None) -> Iterator[Configuration]:
    return (one for one in plans.configurations if wanted in (None, one.name))


def _loading(plans: Plans, request: Request) -> tuple[Configuration, ...]:
    """The configurations that would load the weights."""
    if request.weights is None:
        return ()
    from plansguard.subjects.weights import meant_for  # rarely needed

    return meant_for(request.weights, _judged_configurations(plans, request.configuration))


def _finding(rule: Rule, found: Found, scope: Scope) -> Finding:
    info = rule.info
    return Finding(
        code=info.code,
        name=info.name,
        severity=found.severity or info.severity,
        message=info.message.format(**found.values),
        fix=(found.fix or info.fix).format(**found.values),
        location=found.at,
        configuration=scope.configuration.name if scope.configuration is not None else None,
        values=found.values,
        related=found.related,
        url=info.url,
    )


def _with_lines(finding: Finding, documents: dict[str, JsonDocument]) -> Finding:
    related = tuple(Related(_with_line(place.location, documents), place.what) for place in finding.related)
    return replace(finding, location=_with_line(finding.location, documents), related=related)


def _with_line(location: Location, documents: dict[str, JsonDocument]) -> Location:
    document = documents.get(location.path)
    if document is None or location.line is not None:
        return location
    position = document.position(location.pointer)
    return location if position is None else replace(location, line=position.line, column=position.column)


def _order(finding: Finding) -> tuple[object, ...]:
    place = finding.location
    return (-finding.severity.rank, place.path, place.line or 0, place.column or 0, finding.code, finding.message)
