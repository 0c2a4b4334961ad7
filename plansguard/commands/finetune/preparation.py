"""The steps that come before plans can be moved: fingerprint, planning, data, and weights in a zip archive."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from plansguard.commands import preprocess
from plansguard.commands.finetune.datasets import Context, Side
from plansguard.commands.fit import STALE_DATA
from plansguard.core.errors import Absent, known
from plansguard.core.report import Report, Severity
from plansguard.core.text import listed
from plansguard.documents.file_names import CANONICAL_NAMES
from plansguard.nnunet import printed_commands, runtime
from plansguard.nnunet.constants import FINGERPRINT, PLAN, PLAN_AND_PREPROCESS, PREPROCESS
from plansguard.records.preprocessing import DataState
from plansguard.rules import RULES
from plansguard.rules.engine.run import run_rules
from plansguard.subjects.dataset import Dataset
from plansguard.subjects.discovery import configuration_of, plans_of
from plansguard.subjects.expected_data import expected_bytes
from plansguard.subjects.plans import Configuration
from plansguard.subjects.pretraining import Pretraining
from plansguard.subjects.request import Reading, Request
from plansguard.subjects.road import RoadStep, StepState


def fingerprint(context: Context, side: Side, name: str = "fingerprint", *, verifies: bool = False) -> RoadStep:
    """Extract the fingerprint; with ``verifies``, nnU-Net reads every image and label first."""
    dataset, number = side.dataset, printed_commands.number(side.dataset.name)
    file = dataset.folder / CANONICAL_NAMES["fingerprint"]
    words = [FINGERPRINT, "-d", number, *context.option(context.request.processes, "-np")]
    words += ["--verify_dataset_integrity"] * verifies
    present = known(lambda: dataset.fingerprint) is not None
    if not present or verifies:
        context.judge(words)
    because = f"there is no {file.name}" if not present else "the raw data are to be verified"
    return RoadStep(
        name,
        StepState.DONE if present and not verifies else StepState.NEEDED,
        because if not present or verifies else f"{file.name} is there",
        printed_commands.gate(words),
        reads=_raw(dataset),
        writes=(file,),
    )


def planning(context: Context, side: Side, name: str = "plan") -> RoadStep:
    """Plan the dataset with nnU-Net's planner; plans that are there are not made again."""
    dataset, number = side.dataset, printed_commands.number(side.dataset.name)
    words = [PLAN, "-d", number, "-pl", context.request.planner]
    present = side.plans in {plans.identifier for plans in dataset.plans}
    if not present:
        # Before there is a fingerprint, only the command that extracts it first can be judged.
        extracts = known(lambda: dataset.fingerprint) is None
        context.judge([PLAN_AND_PREPROCESS, *words[1:], "--no_pp"] if extracts else words)
        side.unplanned = name
    return RoadStep(
        name,
        StepState.DONE if present else StepState.NEEDED,
        f"{side.plans}.json is there" if present else f"{dataset.name} has no plans {side.plans}",
        printed_commands.gate(words),
        reads=(dataset.folder / CANONICAL_NAMES["fingerprint"],),
        writes=(dataset.folder / f"{side.plans}.json",),
    )


def unpacking(pretraining: Pretraining) -> RoadStep:
    """Take the weights out of a zip archive, as nnU-Net does with what it has exported."""
    return RoadStep(
        "unpack",
        StepState.NEEDED,
        "the weights are in a zip archive",
        printed_commands.chain(pretraining.unpack),
        writes=(Path(pretraining.path),),
    )


# --- Data


def data(context: Context, side: Side, name: str = "preprocess") -> RoadStep:
    """Preprocess for the configuration, and for the stages of a cascade that follow it."""
    request, dataset = context.request, side.dataset
    if side.unplanned:
        side.lacks_data = True
        command = _command(context, side, [request.configuration], replaces=False)
        because = f"{dataset.name} has no plans {side.plans} yet"
        return RoadStep(name, StepState.NEEDED, because, command, unjudged=side.unplanned, reads=_raw(dataset))
    configuration = configuration_of(plans_of(dataset, side.plans), request.configuration)
    wanted = [configuration, *configuration.next_stages]
    states = {each.name: data_state(dataset, each) for each in wanted}
    names = [each for each, (state, _) in states.items() if state is not StepState.DONE]
    if not names:
        ((_, because), *_) = states.values()
        command = _command(context, side, [request.configuration], replaces=False)
        return RoadStep(name, StepState.DONE, because, command)
    settings = request.settings(dataset.folder)
    job = preprocess.prepare(
        *(context.workspace, dataset.name, names, settings),
        identifier=side.plans,
        processes=request.processes,
        program=runtime.command(PREPROCESS) or PREPROCESS,  # a road can be judged where nnU-Net is not installed
        dataset=dataset,
    )
    side.lacks_data = True
    context.add(side.without_made(job.report))
    stale = [because for state, because in states.values() if state is StepState.STALE]
    reasons = stale or [states[each][1] for each in names]
    return RoadStep(
        name,
        StepState.STALE if stale else StepState.NEEDED,
        listed(list(dict.fromkeys(reasons))),
        _command(context, side, names, replaces=any(target.present is not None for target in job.targets)),
        reads=_raw(dataset),
        writes=tuple(target.folder for target in job.targets),
        disk=known(lambda: sum(_bytes(dataset, each) for each in wanted if each.name in names)),
    )


def _command(context: Context, side: Side, names: Sequence[str], *, replaces: bool) -> printed_commands.ShellText:
    return printed_commands.preprocess(
        side.dataset.name, side.plans, *names, processes=context.request.processes, replaces=replaces
    )


def _bytes(dataset: Dataset, configuration: Configuration) -> int:
    return expected_bytes(configuration, dataset.dataset_json, dataset.fingerprint)


def data_state(dataset: Dataset, configuration: Configuration) -> tuple[StepState, str]:
    """The state of the data of a configuration, and why: by the preprocessing record, else by the arrays' headers."""
    try:
        folder = dataset.data_folder(configuration)
    except Absent:
        return StepState.NEEDED, f"{configuration.get('data_identifier')} is not there"
    recorded = {each.record_file.identifier: each for each in known(lambda: dataset.preprocessing_records) or ()}
    record = recorded.get(folder.name)
    if record is not None and record.state is DataState.UNFINISHED:
        return StepState.NEEDED, f"a preprocessing of {folder.name} did not end"
    report = _faults(dataset, configuration)
    named = {finding.name: finding for finding in report.active if finding.severity is Severity.ERROR}
    fault = next((named[name] for name in STALE_DATA if name in named), None)
    if fault is not None:
        return StepState.STALE, f"{fault.code}: {fault.message}"
    if record is None:
        return StepState.DONE, f"{folder.name} fits the plans"
    return StepState.DONE, f"{folder.name} is unchanged since {record.record_file.document.name}"


def _faults(dataset: Dataset, configuration: Configuration) -> Report:
    """What the rules about preprocessed data find, by the headers of all cases."""
    request = Request(configuration.plans.identifier, configuration.name, reading=Reading("headers"), starts=True)
    rules = [rule for rule in RULES if rule.info.name in STALE_DATA]
    return run_rules("finetune", [str(dataset.folder)], [replace(dataset, request=request)], rules=rules)


def _raw(dataset: Dataset) -> tuple[Path, ...]:
    root = dataset.workspace.raw
    return () if root is None else (root / dataset.name,)
