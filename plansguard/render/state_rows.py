"""The line of a step or of a piece of work: its title, its state in colour, and the reason for the state."""

from __future__ import annotations

from plansguard.render import Screen
from plansguard.render.columns import padded, wrapped
from plansguard.subjects.road import StepState
from plansguard.subjects.workspace_state import WorkState

_COLORS = {
    "done": "32",
    "needed": "1",
    "running": "36;1",
    "stopped": "33",
    "stale": "33;1",
    "blocked": "31;1",
    "damaged": "31;1",
}


def state_row(
    title: str, width: int, state: StepState | WorkState, reason: str, screen: Screen, hanging: int | None = None
) -> list[str]:
    """Render the title in ``width`` columns, the state in as many as any state of its kind takes, and the reason.

    Further lines begin after ``hanging`` blanks, by default below the reason.
    """
    columns = max(len(each.value) for each in type(state))
    head = f"  {padded(title, width)}  {state.value:<{columns}}  "
    first, *more = wrapped(f"{head}{reason}", screen.width, hanging=" " * (len(head) if hanging is None else hanging))
    if screen.color:
        colored = f"\x1b[{_COLORS[state.value]}m{state.value}\x1b[0m"
        first = first.replace(f"  {state.value}", f"  {colored}", 1)
    return [first, *more]
