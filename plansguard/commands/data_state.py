"""Whether the preprocessed data of a configuration are complete, and are those of its plans."""

from __future__ import annotations

from dataclasses import replace

from plansguard.commands.fit import STALE_DATA
from plansguard.core.errors import Absent, known
from plansguard.core.report import Report, Severity
from plansguard.records.preprocessing import DataState
from plansguard.rules import RULES
from plansguard.rules.engine.run import run_rules
from plansguard.subjects.dataset import Dataset
from plansguard.subjects.plans import Configuration
from plansguard.subjects.request import Reading, Request
from plansguard.subjects.road import StepState

_HEADERS = Reading("headers")


def data_state(dataset: Dataset, configuration: Configuration, reading: Reading = _HEADERS) -> tuple[StepState, str]:
    """The state of the data of a configuration, and why: by the preprocessing record, else by the arrays' headers.

    Data that an interrupted preprocessing left are needed, and not stale.
    """
    try:
        folder = dataset.data_folder(configuration)
    except Absent:
        return StepState.NEEDED, f"{configuration.get('data_identifier')} is not there"
    recorded = {each.record_file.identifier: each for each in known(lambda: dataset.preprocessing_records) or ()}
    record = recorded.get(folder.name)
    if record is not None and record.state is DataState.UNFINISHED:
        return StepState.NEEDED, f"a preprocessing of {folder.name} did not end"
    report = _faults(dataset, configuration, reading)
    named = {finding.name: finding for finding in report.active if finding.severity is Severity.ERROR}
    fault = next((named[name] for name in STALE_DATA if name in named), None)
    if fault is not None:
        return StepState.STALE, f"{fault.code}: {fault.message}"
    if record is None:
        return StepState.DONE, f"{folder.name} fits the plans"
    return StepState.DONE, f"{folder.name} is unchanged since {record.record_file.document.name}"


def _faults(dataset: Dataset, configuration: Configuration, reading: Reading) -> Report:
    """What the rules about preprocessed data find, by the headers of all cases."""
    request = Request(configuration.plans.identifier, configuration.name, reading=reading, starts=True)
    rules = [rule for rule in RULES if rule.info.name in STALE_DATA]
    return run_rules("finetune", [str(dataset.folder)], [replace(dataset, request=request)], rules=rules)
