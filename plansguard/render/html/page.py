"""Fill the templates of a page. Every text from a file passes through ``printable``, and the templates escape it."""

from __future__ import annotations

import re
from collections.abc import Container, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from plansguard import __version__
from plansguard.core.errors import UsageError
from plansguard.core.report import Report, Severity
from plansguard.core.text import brief, counted, shortest, times
from plansguard.nnunet.workspace import ROOTS
from plansguard.render import printable
from plansguard.render.columns import COMMAND
from plansguard.render.findings import PLACES, counts, faults, reasons, shown_place
from plansguard.render.fit import what_to_type
from plansguard.render.html import drawing
from plansguard.render.html.section import Section
from plansguard.subjects.figures.collect import Figures
from plansguard.subjects.figures.network import NetworkFigure
from plansguard.subjects.fit_result import ADAPT, IMPOSSIBLE, LOADS, MIGRATE, PREPROCESS, UNKNOWN, FitResult
from plansguard.subjects.overview import Overview

if TYPE_CHECKING:
    from jinja2 import Environment

_TEMPLATES = Path(__file__).with_name("templates")
#: A command, or a name in backticks.
_MARKED = re.compile(f"(?P<typed>{COMMAND})|`(?P<name>[^`]+)`")


@dataclass(frozen=True)
class Heading:
    """What stands at the top of a page: when it was made, and the versions of what made it."""

    when: str = ""
    versions: Sequence[str] = (f"plansguard {__version__}",)


def assert_possible() -> None:
    """Raise UsageError where a package is missing that every page needs."""
    for module in ("jinja2", "PIL"):
        try:
            __import__(module)
        except ModuleNotFoundError as error:
            raise UsageError(
                "--output html needs the packages jinja2 and Pillow", hint="pip install 'plansguard[report]'"
            ) from error


def report_page(
    report: Report,
    figures: Figures | None = None,
    heading: Heading | None = None,
    sections: Sequence[Section] = (),
) -> str:
    """Return the page of a report: the verdict, findings, sections, figures, what was not checked or accepted."""
    total = counts(report)
    return _filled(
        "report.html.jinja",
        command=report.command,
        inputs=report.inputs,
        verdict=str(total),
        severity=total.severity or "clean",
        heading=heading or Heading(),
        numbers=report.summary(),
        faults=faults(report),
        sections=sections,
        ignored=[finding for finding in report.findings if finding.ignored is not None],
        reasons=reasons(report),
        figures=figures or Figures(),
    )


def tables_page(
    command: str,
    inputs: Sequence[str],
    verdict: str,
    sections: Sequence[Section],
    heading: Heading | None = None,
    *,
    severity: str = "",
    figures: Figures | None = None,
    networks: Sequence[NetworkFigure] = (),
) -> str:
    """Return the page of a command that makes no report: tables, figures of plans, networks of weights."""
    return _filled(
        "tables.html.jinja",
        command=command,
        inputs=inputs,
        verdict=verdict,
        severity=severity,
        heading=heading or Heading(),
        sections=sections,
        figures=figures or Figures(),
        networks=networks,
    )


def overview_page(overview: Overview, pages: Container[str], heading: Heading) -> str:
    """Return the page of a workspace; ``pages`` are the names of the files of datasets that it links to."""
    failing = [one for one in overview.datasets if one.report is not None and one.report.fails(Severity.ERROR)]
    every = counted(len(overview.datasets), "dataset")
    verdict = f"errors in {len(failing)} of {every}" if failing else f"no errors in {every}"
    roots = zip(
        ROOTS, (overview.workspace.raw, overview.workspace.preprocessed, overview.workspace.results), strict=True
    )
    return _filled(
        "overview.html.jinja",
        command="report",
        inputs=[f"{name}={folder}" for name, folder in roots if folder is not None],
        verdict=verdict,
        severity="error" if failing else "clean",
        heading=heading,
        overview=overview,
        pages=pages,
        verdicts={one.name: counts(one.report) for one in overview.datasets if one.report is not None},
        outcomes={
            weights.model: {one.name: _best(weights.results, one.name) for one in overview.datasets}
            for weights in overview.weights
        },
    )


def _best(results: Iterable[FitResult], dataset: str) -> FitResult | None:
    """The result of a dataset that needs the least; None without any."""
    found = {result.outcome: result for result in results if result.dataset == dataset}
    by_need = (LOADS, PREPROCESS, MIGRATE, ADAPT, UNKNOWN, IMPOSSIBLE)
    return next((found[outcome] for outcome in by_need if outcome in found), None)


def _filled(template: str, **values: Any) -> str:
    return _environment().get_template(template).render(**values)


@cache
def _environment() -> Environment:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    from plansguard.render.html.images import COLORS, png

    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters.update(
        plain=printable,
        number=_number,
        brief=_value,
        times=times,
        place=shown_place,
        parts=_parts,
        counted=counted,
        what_to_type=what_to_type,
    )
    environment.globals.update(
        scale=drawing.scale,
        log_scale=drawing.log_scale,
        ticks=drawing.ticks,
        bars=drawing.bars,
        line=drawing.line,
        planes=drawing.planes,
        png=png,
        label_colors=COLORS,
        shown_places=PLACES,
    )
    return environment


def _number(value: float) -> str:
    """A number in short: at most four digits, and all digits of a whole number."""
    return f"{value:,.0f}" if float(value).is_integer() and abs(value) < 1e9 else f"{shortest(value):.4g}"


def _value(value: Any) -> str:
    return "nothing" if value is None else str(brief(value)).strip('"')


def _parts(text: str) -> Iterator[tuple[str, str]]:
    """A text in parts, each with its class: ``typed`` for a command, which can be copied, ``name``, or none."""
    text, end = printable(text), 0
    for match in _MARKED.finditer(text):
        yield "", text[end : match.start()]
        kind = str(match.lastgroup)
        yield kind, match[kind]
        end = match.end()
    yield "", text[end:]
