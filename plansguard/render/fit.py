"""Which datasets weights fit: a table, the reasons with what to type below it, and the same as JSON."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from plansguard.documents.models.command_documents import FitDocument, FitEntry
from plansguard.nnunet.workspace import displayed
from plansguard.render import Screen, json_text, printable
from plansguard.render.columns import aligned, wrapped
from plansguard.subjects.fit_result import IMPOSSIBLE, LOADS, MIGRATE, PREPROCESS, FitResult

_COLORS = {LOADS: "32", PREPROCESS: "33", MIGRATE: "33", IMPOSSIBLE: "31"}


def text(results: Sequence[FitResult], screen: Screen) -> str:
    """Render one row for each weights and plans, and below the table each reason with its command once."""
    several = len({result.weights for result in results}) > 1
    head = ("weights", "dataset", "plans", "configuration", "needs")[0 if several else 1 :]
    rows = [tuple(map(printable, _cells(result)))[0 if several else 1 :] for result in results]
    lines = aligned([head, *rows])
    for number, result in enumerate(results, 1):
        if screen.color and result.outcome in _COLORS:
            start = lines[number].removesuffix(result.outcome)
            lines[number] = f"{start}\x1b[{_COLORS[result.outcome]}m{result.outcome}\x1b[0m"
    lines += _reasons(results, screen, several=several)
    return "".join(f"{line}\n" for line in lines)


def _cells(result: FitResult) -> tuple[str, ...]:
    return displayed(result.weights), result.dataset, result.plans or "-", result.configuration or "-", result.outcome


def _reasons(results: Sequence[FitResult], screen: Screen, *, several: bool) -> Iterator[str]:
    """Why, and the next command: one block for each command, because one migration serves all plans of a dataset."""
    printed: set[tuple[str, str, str]] = set()
    for result in results:
        key = (result.weights, result.dataset, result.command)
        if key in printed:
            continue
        printed.add(key)
        with_weights = f" with {displayed(result.weights)}" if several else ""
        yield ""
        start = f"{result.dataset}{with_weights}: {result.reason}"
        yield from wrapped(printable(start), screen.width, "", hanging="  ")
        purpose = "to see why: " if result.outcome == IMPOSSIBLE else ""
        only_judge = " --dry-run" if purpose and result.command.startswith("plansguard migrate") else ""
        yield f"  {purpose}{printable(result.command)}{only_judge}"  # not wrapped, so that it can be copied


def as_json(results: Sequence[FitResult]) -> str:
    """Render the same as the JSON that schemas/fit.schema.json describes."""
    entries = [FitEntry.model_validate(result._asdict()) for result in results]
    return json_text(FitDocument(schema_="plansguard/fit/1", results=entries))
