"""Which datasets weights fit: a table, the reasons with what to type below it, and the same as JSON."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from plansguard.core.text import listed
from plansguard.documents.models.command_documents import FitDocument, FitEntry
from plansguard.nnunet.workspace import displayed
from plansguard.render import Screen, json_text, printable
from plansguard.render.columns import aligned, display_width, wrapped
from plansguard.render.html.section import Section
from plansguard.subjects.fit_result import ADAPT, IMPOSSIBLE, LOADS, MIGRATE, PREPROCESS, FitResult

_HEAD = ("weights", "dataset", "plans", "configuration", "needs")
_COLORS = {LOADS: "32", PREPROCESS: "33", MIGRATE: "33", ADAPT: "33", IMPOSSIBLE: "31"}


def text(results: Sequence[FitResult], screen: Screen) -> str:
    """Render one row for each weights and plans, and below the table each reason with its command once.

    Where the names of several weights have no room on the screen, each has a table of its own below its name.
    """
    weights = list(dict.fromkeys(result.weights for result in results))
    several = len(weights) > 1
    lines = _table(results, screen, first=0 if several else 1)
    if several and screen.width is not None and _width(results) > screen.width:
        lines = []
        for path in weights:
            own = [result for result in results if result.weights == path]
            lines += [printable(displayed(path)), *_table(own, screen, first=1), ""]
        del lines[-1]
    lines += _reasons(results, screen, several=several)
    return "".join(f"{line}\n" for line in lines)


def _width(results: Sequence[FitResult]) -> int:
    """The columns that one table of all results takes."""
    return max(map(display_width, _table(results, Screen(), first=0)))


def _table(results: Sequence[FitResult], screen: Screen, *, first: int) -> list[str]:
    """The table from a column on."""
    rows = [tuple(map(printable, _cells(result)))[first:] for result in results]
    lines = aligned([_HEAD[first:], *rows])
    for number, result in enumerate(results, 1):
        if screen.color and result.outcome in _COLORS:
            start = lines[number].removesuffix(result.needs)
            lines[number] = f"{start}\x1b[{_COLORS[result.outcome]}m{result.needs}\x1b[0m"
    return lines


def sections(results: Sequence[FitResult]) -> list[Section]:
    """Return the table and the commands of a page."""
    several = len({result.weights for result in results}) > 1
    first = 0 if several else 1
    rows = [_cells(result)[first:] for result in results]
    lines = [line for block in _blocks(results, several=several) for line in block]
    return [Section("Weights and plans", head=_HEAD[first:], rows=rows), Section("What to type", lines)]


def _cells(result: FitResult) -> tuple[str, ...]:
    return displayed(result.weights), result.dataset, result.plans or "-", result.configuration or "-", result.needs


def _reasons(results: Sequence[FitResult], screen: Screen, *, several: bool) -> Iterator[str]:
    for start, command in _blocks(results, several=several):
        yield ""
        yield from wrapped(printable(start), screen.width, "", hanging="  ")
        yield f"  {printable(command)}"  # not wrapped, so that it can be copied


def what_to_type(result: FitResult) -> str:
    """The command of a result; where nothing helps, the one that shows why, and only judges."""
    if result.outcome != IMPOSSIBLE:
        return result.command
    only_judge = " --dry-run" if result.command.startswith("plansguard migrate") else ""
    return f"to see why: {result.command}{only_judge}"


def _blocks(results: Sequence[FitResult], *, several: bool) -> Iterator[tuple[str, str]]:
    """Why, and the next command: one for each command, because one migration serves all plans of a dataset.

    Where a dataset has several, each names its plans, and where these have several, its configuration.
    """
    served: dict[tuple[str, str, str], list[FitResult]] = {}
    for result in results:
        served.setdefault((result.weights, result.dataset, result.command), []).append(result)
    counts = Counter((weights, dataset) for weights, dataset, _ in served)
    of_plans = Counter((weights, dataset, group[0].plans) for (weights, dataset, _), group in served.items())
    for (weights, dataset, _), group in served.items():
        result, others = group[0], list(dict.fromkeys(one.plans for one in group[1:] if one.reason != group[0].reason))
        plans = f"{result.plans} of " if result.plans and (others or counts[weights, dataset] > 1) else ""
        if result.configuration and of_plans[weights, dataset, result.plans] > 1:
            plans = f"{result.configuration} of {plans}"
        with_weights = f" with {displayed(weights)}" if several else ""
        also = f"; the same command serves {listed(others)}" if others else ""
        yield f"{plans}{dataset}{with_weights}: {result.reason}{also}", what_to_type(result)


def as_json(results: Sequence[FitResult]) -> str:
    """Render the same as the JSON that schemas/fit.schema.json describes."""
    fields = FitEntry.model_fields
    entries = [FitEntry.model_validate({name: getattr(result, name) for name in fields}) for result in results]
    return json_text(FitDocument(schema_="plansguard/fit/1", results=entries))
