"""The road as a table of steps with their commands, and as JSON."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

from plansguard.core.text import counted, in_bytes
from plansguard.documents.models.road_document import RoadDocument, RoadStepEntry
from plansguard.nnunet.workspace import displayed
from plansguard.render import Screen, json_text, printable
from plansguard.render.columns import wrapped
from plansguard.render.json import document_of
from plansguard.render.state_rows import state_row
from plansguard.subjects.road import Road, RoadStep, StepState

#: Blanks before the lines below a step.
_INDENT = "      "


def text(road: Road, screen: Screen) -> str:
    """Render a line for each step, and below it, unless the step is done, its command and its files.

    Folds in the same state share a line, and the command of the first of them. Quiet text has the lines only.
    """
    alike = [_Alike(tuple(steps)) for _, steps in groupby(road.steps, key=_shared)]
    width = max(len(steps.title) for steps in alike)
    place = f"{road.target}: {road.configuration} with {road.plans}, from {displayed(road.source)} ({road.workflow})"
    lines = [printable(place), ""]
    for steps in alike:
        lines += _row(steps, width, screen)
        if not screen.quiet and steps.first.state is not StepState.DONE:
            lines += _details(steps, screen)
    return "".join(f"{line}\n" for line in lines)


class _Alike(NamedTuple):
    """Steps that differ in the fold only, at least one."""

    steps: tuple[RoadStep, ...]

    @property
    def first(self) -> RoadStep:
        return self.steps[0]

    @property
    def title(self) -> str:
        """The name, with the folds of trainings."""
        return " ".join(filter(None, (self.first.name, *(step.fold for step in self.steps))))


def _shared(step: RoadStep) -> tuple[object, ...]:
    """All of a step that is shown and does not name the fold."""
    return step.name, step.state, step.because, step.hint, step.unjudged, step.disk, step.gpu_memory


def counts(road: Road) -> str:
    """The numbers of steps by state and of findings by severity, in one line."""
    states = [(len(road.of_state(state)), state) for state in StepState]
    named = [f"{number} {state}" for number, state in states if number]
    summary = road.report.summary()
    found = [counted(summary[name], name) for name in ("error", "warning") if summary[name]]
    found += [f"{summary['info']} for information"] * bool(summary["info"])
    ignored = f", {summary['ignored']} ignored" if summary["ignored"] else ""
    steps = f"{counted(len(road.steps), 'step')}: {', '.join(named)}"
    return f"{steps}; {', '.join(found) or 'no findings'}{ignored}"


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


def _row(steps: _Alike, width: int, screen: Screen) -> list[str]:
    """The line of steps: their name, their state and the reason for it."""
    step = steps.first
    reason = f"{step.because}; judged after {step.unjudged}" if step.unjudged and step.waits else step.because
    return state_row(printable(steps.title), width, step.state, printable(reason), screen)


def _details(steps: _Alike, screen: Screen) -> Iterator[str]:
    """The command, which is never wrapped, and what the step reads, writes and takes."""
    step = steps.first
    yield f"{_INDENT}{step.command}"
    if others := [other.fold for other in steps.steps[1:]]:
        yield f"{_INDENT}and the same for {'fold' if len(others) == 1 else 'folds'} {' '.join(others)}"
    facts = [f"{what} {', '.join(map(_shown, paths))}" for what, paths in _files(step) if paths]
    each = " each" if others else ""
    sizes = [f"{size}{each}" for size in _sizes(step)]
    yield from wrapped("; ".join([*facts, *sizes]), screen.width, _INDENT) if facts or sizes else ()
    if step.hint:
        yield from wrapped(step.hint, screen.width, _INDENT)


def _files(step: RoadStep) -> Iterator[tuple[str, tuple[Path, ...]]]:
    """The files by what is done with them, without those that the command names."""
    for what, paths in (("reads", step.reads), ("writes", step.writes)):
        yield what, tuple(path for path in paths if str(path) not in step.command)


def _sizes(step: RoadStep) -> list[str]:
    disk = [] if step.disk is None else [f"up to {in_bytes(step.disk)} of disk"]
    memory = [] if step.gpu_memory is None else [f"about {step.gpu_memory:.1f} GB of GPU memory"]
    return [*disk, *memory]


def _shown(path: Path) -> str:
    return displayed(str(path))


def _entry(step: RoadStep) -> RoadStepEntry:
    return RoadStepEntry(
        name=step.name,
        fold=step.fold or None,
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
