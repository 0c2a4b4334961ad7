"""The state of all work in a workspace as a table, and as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from plansguard.documents.models.status_document import StatusDocument, WorkEntry
from plansguard.render import Screen, json_text, printable
from plansguard.render.state_rows import state_row
from plansguard.subjects.workspace_state import WorkRow, WorkState

#: Blanks before the further lines of a row.
_INDENT = 6


def text(rows: Sequence[WorkRow], screen: Screen) -> str:
    """Render a paragraph for each dataset, a line for each piece of work, and the numbers by state."""
    lines: list[str] = []
    width = max((len(_name(row)) for row in rows), default=0)
    for dataset, of_dataset in groupby(rows, key=lambda row: row.dataset):
        lines += [printable(dataset), *(line for row in of_dataset for line in _lines(row, width, screen)), ""]
    return "".join(f"{line}\n" for line in [*lines, _counts(rows)])


def as_json(rows: Sequence[WorkRow]) -> str:
    """Render the same as the JSON that schemas/status.schema.json describes."""
    entries = [
        WorkEntry(
            dataset=row.dataset,
            plans=row.plans,
            configuration=row.configuration or None,
            what=row.what,
            trainer=row.trainer or None,
            state=row.state.value,
            because=row.because,
        )
        for row in rows
    ]
    return json_text(StatusDocument(schema_="plansguard/status/1", rows=entries))


def _name(row: WorkRow) -> str:
    """Plans, configuration and what it is; the trainer where it is a training."""
    what = row.what if row.what != "plans" else ""
    return printable(" ".join(filter(None, (row.plans, row.configuration, row.trainer, what))))


def _lines(row: WorkRow, width: int, screen: Screen) -> list[str]:
    return state_row(_name(row), width, row.state, printable(row.because), screen, _INDENT)


def _counts(rows: Sequence[WorkRow]) -> str:
    numbers = [(sum(row.state is state for row in rows), state) for state in WorkState]
    counts = ", ".join(f"{number} {state}" for number, state in numbers if number)
    return counts or "no plans, data or trainings are there yet"
