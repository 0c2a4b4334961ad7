"""The steps that come before plans can be moved: fingerprint, planning, data, and weights in a zip archive."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from plansguard.commands import preprocess
from plansguard.commands.data_state import data_state
from plansguard.commands.finetune.datasets import Context, Side
from plansguard.core.errors import known
from plansguard.core.text import listed
from plansguard.documents.file_names import CANONICAL_NAMES
from plansguard.nnunet import printed_commands, runtime
from plansguard.nnunet.constants import DA_PROCESSES, FINGERPRINT, PLAN, PLAN_AND_PREPROCESS, PREPROCESS
from plansguard.rules.engine.acceptance import accept
from plansguard.subjects.dataset import Dataset
from plansguard.subjects.discovery import configuration_of, plans_of
from plansguard.subjects.expected_data import expected_bytes
from plansguard.subjects.planning import has_no_threads
from plansguard.subjects.plans import Configuration
from plansguard.subjects.pretraining import Pretraining
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
        printed_commands.gate(words, context.judging),
        reads=_raw(dataset),
        writes=(file,),
    )


def planning(context: Context, side: Side, name: str = "plan") -> RoadStep:
    """Plan the dataset with nnU-Net's planner; plans that are there are not made again."""
    dataset, number = side.dataset, printed_commands.number(side.dataset.name)
    file = dataset.folder / f"{side.plans}.json"
    words = [PLAN, "-d", number, "-pl", context.request.planner]
    # It is set for the trainings of the road, which plan nothing.
    unset = [DA_PROCESSES] if has_no_threads(os.environ) else []
    present = side.plans in {plans.identifier for plans in dataset.plans}
    if not present:
        # Before there is a fingerprint, only the command that extracts it first can be judged.
        extracts = known(lambda: dataset.fingerprint) is None
        judged = [PLAN_AND_PREPROCESS, *words[1:], "--no_pp"] if extracts else words
        context.judge(judged, {name: value for name, value in os.environ.items() if name not in unset})
        side.unplanned = name
    return RoadStep(
        name,
        StepState.DONE if present else StepState.NEEDED,
        f"{file.name} is there" if present else f"{dataset.name} has no plans {side.plans}",
        printed_commands.gate(words, context.judging, [word for name in unset for word in ("env", "-u", name)]),
        reads=(dataset.folder / CANONICAL_NAMES["fingerprint"],),
        writes=(file,),
        result=file,
    )


def unpacking(pretraining: Pretraining) -> RoadStep:
    """Take the weights out of a zip archive, as nnU-Net does with what it has exported."""
    return RoadStep(
        "unpack",
        StepState.NEEDED,
        "the weights are in a zip archive",
        printed_commands.chain(pretraining.unpack),
        writes=(Path(pretraining.path),),
        result=Path(pretraining.path),
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
    states = {each.name: data_state(dataset, each, request.headers) for each in wanted}
    names = [each for each, (state, _) in states.items() if state is not StepState.DONE]
    if not names:
        ((_, because), *_) = states.values()
        command = _command(context, side, [request.configuration], replaces=False)
        return RoadStep(name, StepState.DONE, because, command)
    settings = request.settings(dataset.folder)
    job = preprocess.prepare(
        *(context.workspace, dataset.name, names, settings),
        identifier=side.plans,
        processes=None if request.processes is None else dict.fromkeys(names, request.processes),
        elsewhere=request.elsewhere or request.dask is not None,
        program=runtime.command(PREPROCESS) or PREPROCESS,  # a road can be judged where nnU-Net is not installed
        dataset=dataset,
    )
    side.lacks_data = True
    context.add(accept(side.without_made(job.report), request.accepted))
    stale = [because for state, because in states.values() if state is StepState.STALE]
    reasons = stale or [states[each][1] for each in names]
    return RoadStep(
        name,
        StepState.STALE if stale else StepState.NEEDED,
        listed(list(dict.fromkeys(reasons))),
        _command(context, side, names, replaces=bool(stale)),
        reads=_raw(dataset),
        writes=tuple(target.folder for target in job.targets),
        disk=known(lambda: sum(_bytes(dataset, each) for each in wanted if each.name in names)),
    )


def _command(context: Context, side: Side, names: Sequence[str], *, replaces: bool) -> printed_commands.ShellText:
    return printed_commands.preprocess(
        side.dataset.name,
        side.plans,
        *names,
        processes=context.request.processes,
        dask=context.request.dask,
        replaces=replaces,
        resumes=True,
        options=context.judging,
    )


def _bytes(dataset: Dataset, configuration: Configuration) -> int:
    return expected_bytes(configuration, dataset.dataset_json.valid, dataset.fingerprint)


def _raw(dataset: Dataset) -> tuple[Path, ...]:
    root = dataset.workspace.raw
    return () if root is None else (root / dataset.name,)
