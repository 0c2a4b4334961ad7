"""The road as a table of steps with their commands, and as JSON."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from plansguard.core.text import counted, in_bytes
from plansguard.documents.models.road_document import RoadDocument, RoadStepEntry
from plansguard.nnunet.workspace import displayed
from plansguard.render import Screen, json_text, printable
from plansguard.render.columns import padded, wrapped
from plansguard.render.json import document_of
from plansguard.subjects.road import Road, RoadStep, StepState

_COLORS = {StepState.DONE: "32", StepState.NEEDED: "1", StepState.STALE: "33;1", StepState.BLOCKED: "31;1"}
#: Blanks before the lines below a step.
_INDENT = "      "
_STATE_WIDTH = max(len(state.value) for state in StepState)


def text(road: Road, screen: Screen) -> str:
    """Render a line for each step, and below it, unless the step is done, its command and its files.

    Quiet text has the lines of the steps only.
    """
    width = max(len(step.title) for step in road.steps)
    place = f"{road.target}: {road.configuration} with {road.plans}, from {displayed(road.source)} ({road.workflow})"
    lines = [printable(place), ""]
    for step in road.steps:
        lines += _row(step, width, screen)
        if not screen.quiet and step.state is not StepState.DONE:
            lines += _details(step, screen)
    return "".join(f"{line}\n" for line in lines)


def counts(road: Road) -> str:
    """The numbers of steps by state and of findings by severity, in one line."""
    states = [(len(road.of_state(state)), state) for state in StepState]
    named = [f"{number} {state}" for number, state in states if number]
    summary = road.report.summary()
    found = [counted(summary[name], name) for name in ("error", "warning") if summary[name]]
    found += [f"{summary['info']} for information"] * bool(summary["info"])
    steps = f"{counted(len(road.steps), 'step')}: {', '.join(named)}"
    return f"{steps}; {', '.join(found) or 'no findings'}"


def as_json(road: Road) -> str:
    """Render the same as the JSON that schemas/road.schema.json describes."""
    return json_text(
        RoadDocument(
            schema_="plansguard/road/1",
            source=road.source,
            target=road.target,
            plans=road.plans,
            configuration=road.configuration,
            workflow=road.workflow,
            steps=[_entry(step) for step in road.steps],
            report=document_of(road.report),
        )
    )


def _row(step: RoadStep, width: int, screen: Screen) -> list[str]:
    """The line of a step: its name, its state and the reason for it."""
    reason = f"{step.because}; judged after {step.unjudged}" if step.unjudged and step.waits else step.because
    head = f"  {padded(step.title, width)}  {step.state.value:<{_STATE_WIDTH}}  "
    first, *more = wrapped(printable(f"{head}{reason}"), screen.width, hanging=" " * len(head))
    if screen.color:
        state = f"\x1b[{_COLORS[step.state]}m{step.state.value}\x1b[0m"
        first = first.replace(f"  {step.state.value}", f"  {state}", 1)
    return [first, *more]


def _details(step: RoadStep, screen: Screen) -> Iterator[str]:
    """The command, which is never wrapped, and what the step reads, writes and takes."""
    yield f"{_INDENT}{step.command}"
    facts = [f"{what} {', '.join(map(_shown, paths))}" for what, paths in _files(step) if paths]
    yield from wrapped("; ".join([*facts, *_sizes(step)]), screen.width, _INDENT) if facts or _sizes(step) else ()
    if step.hint:
        yield from wrapped(step.hint, screen.width, _INDENT)


def _files(step: RoadStep) -> Iterator[tuple[str, tuple[Path, ...]]]:
    yield "reads", step.reads
    yield "writes", step.writes


def _sizes(step: RoadStep) -> list[str]:
    disk = [] if step.disk is None else [f"up to {in_bytes(step.disk)} of disk"]
    memory = [] if step.gpu_memory is None else [f"about {step.gpu_memory:.1f} GB of GPU memory"]
    return [*disk, *memory]


def _shown(path: Path) -> str:
    return displayed(str(path))


def _entry(step: RoadStep) -> RoadStepEntry:
    return RoadStepEntry(
        name=step.name,
        fold=step.subject.removeprefix("fold ") or None,
        state=step.state.value,
        because=step.because,
        hint=step.hint,
        judged_after=step.unjudged or None,
        command=str(step.command),
        reads=list(map(str, step.reads)),
        writes=list(map(str, step.writes)),
        disk_bytes=step.disk,
        gpu_memory_gb=step.gpu_memory,
    )
