"""The page that ``--output html`` writes: when it was made, by which versions, and with which figures."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from plansguard import __version__
from plansguard.artefacts.description import OMITTED, CheckpointDescription, Description, PlansDescription
from plansguard.core.errors import UsageError
from plansguard.core.report import Report, Severity
from plansguard.core.text import counted
from plansguard.nnunet import plans_diff
from plansguard.nnunet.install.packages import version
from plansguard.nnunet.workspace import Workspace
from plansguard.render import Screen
from plansguard.render.html.page import Heading, assert_possible, overview_page, report_page, tables_page
from plansguard.render.html.section import Section
from plansguard.subjects.discovery import dataset_in, dataset_of
from plansguard.subjects.figures import collect
from plansguard.subjects.figures.network import of_stages
from plansguard.subjects.fit_result import LOADS, PREPROCESS, FitResult
from plansguard.subjects.request import Request

if TYPE_CHECKING:
    from plansguard.migration.derive import Derivation
    from plansguard.migration.plan import Migration
    from plansguard.nnunet.plans_diff import Change
    from plansguard.records.verify import Verification
    from plansguard.subjects.overview import Overview
    from plansguard.subjects.training_run import TrainingRun

#: The path of plans, and their value.
Compared = tuple[str, dict[str, Any]]
#: In a notebook.
_FRAME = "width: 100%; height: 32em; border: 0"
#: Packages whose versions decide what nnU-Net does.
_PACKAGES = ("nnunetv2", "torch")


def heading() -> Heading:
    """Return the time and the versions."""
    packages = {"plansguard": __version__, "Python": platform.python_version()}
    packages |= {name: found for name in _PACKAGES if (found := version(name)) is not None}
    when = datetime.now().astimezone().strftime("%Y-%m-%d %H:%M %Z")
    return Heading(when, tuple(f"{name} {found}" for name, found in packages.items()))


def of_report(report: Report) -> str:
    """Return a page without figures."""
    return report_page(report, heading=heading())


def in_notebook(report: Report) -> str | None:
    """Return a frame with the page of a report, whose styles do not reach the notebook; None without its packages."""
    try:
        assert_possible()
    except UsageError:
        return None
    return f'<iframe srcdoc="{escape(of_report(report))}" sandbox="allow-scripts" style="{_FRAME}"></iframe>'


def of_check(report: Report, visited: collect.Visited) -> str:
    """Return the page of a check, with figures of the datasets that it visited."""
    return report_page(report, visited.figures(report), heading())


def of_run(report: Report, run: TrainingRun, would_run: str) -> str:
    """Return the page of a training that is about to start; ``would_run`` is the line of a dry run."""
    sections = [Section("Dry run", lines=[would_run])] if would_run else []
    return report_page(report, collect.of_run(run), heading(), sections)


def of_migration(migration: Migration, *, dry_run: bool) -> str:
    """Return the page of a migration, with both fingerprints and what it changes in the plans."""
    from plansguard.migration.messages import left_out, next_commands, next_title, opening
    from plansguard.render.diff import sections

    pair = migration.pair
    changes = plans_diff.compare(pair.plans.value, pair.result.value)
    before, after = pair.plans.document.path, pair.result.document.path
    first = Section("Migration", lines=[*opening(pair), *left_out(pair)])
    folded = sections((before, pair.plans.value), (after, pair.result.value), changes, folded=True)
    refused = migration.report.fails(Severity.ERROR)
    title = next_title(migration, dry_run=dry_run)
    last = [] if refused else [Section(title, lines=list(next_commands(migration)))]
    return report_page(migration.report, collect.of_pair(pair), heading(), [first, *folded, *last])


def of_derivation(derivation: Derivation, *, dry_run: bool) -> str:
    """Return the page of derived plans: what was set and what follows, with the fingerprint."""
    from plansguard.migration.derive_messages import next_commands, opening
    from plansguard.migration.messages import next_title
    from plansguard.render.diff import sections

    pair = derivation.pair
    changes = plans_diff.compare(pair.plans.value, pair.result.value)
    before, after = pair.plans.document.path, pair.result.document.path
    first = Section("Derivation", lines=[*opening(derivation)])
    folded = sections((before, pair.plans.value), (after, pair.result.value), changes, folded=True)
    refused = derivation.report.fails(Severity.ERROR)
    title = next_title(derivation, dry_run=dry_run)
    last = [] if refused else [Section(title, lines=list(next_commands(derivation)))]
    figures = collect.of_datasets([pair.receiving])
    return report_page(derivation.report, figures, heading(), [first, *folded, *last])


def of_difference(before: Compared, after: Compared, changes: Sequence[Change], channels: Sequence[str]) -> str:
    """Return the page of a comparison of two plans, given as path and value."""
    from plansguard.render.diff import sections, summary

    verdict = summary(before[1], after[1], changes)
    names = {change.field.configuration for change in changes if change.facet == "weights"}
    networks = collect.networks_between(before[1], after[1], names)
    parts = sections(before, after, changes, channels)
    return tables_page("diff", [before[0], after[0]], verdict, parts, heading(), networks=networks)


def of_fit(results: Sequence[FitResult]) -> str:
    """Return the page of weights and the plans that they fit, with figures of what was compared."""
    from plansguard.artefacts.checkpoint.trained_model import weights_in
    from plansguard.render.fit import sections

    weights, datasets = ({getattr(one, key) for one in results} for key in ("weights", "dataset"))
    fitting = {one.dataset for one in results if one.outcome in (LOADS, PREPROCESS)}
    verdict = f"plans of {len(fitting)} of {counted(len(datasets), 'dataset')} can load the weights as they are"
    checkpoints = {path: weights_in(Path(path)) for path in weights}
    workspace = Workspace.from_environment()
    compared = (
        replace(
            dataset_of(workspace, one.dataset),
            request=Request(one.plans, one.configuration, checkpoints[one.weights]),
        )
        for one in results
        if one.plans
    )
    figures = collect.of_datasets(compared)
    return tables_page("fit", sorted(weights), verdict, sections(results), heading(), figures=figures)


def of_description(description: Description) -> str:
    """Return the page of a checkpoint, a model or plans: the text of the terminal, and the networks."""
    from plansguard.render.show import text

    content = description.content
    figures, plans = None, []
    if isinstance(content, PlansDescription):
        path = Path(description.path)
        dataset = dataset_in(path.parent, [path.name])
        dataset.request = Request(plans=next((one.identifier for one in dataset.plans if one.path == path), None))
        figures = collect.of_datasets([dataset])
    elif isinstance(content, CheckpointDescription):
        plans = [content.plans] if content.plans is not None else []
    else:
        plans = [model.plans for model in content]
    described = [configuration.network for one in plans for configuration in one.configurations]
    if isinstance(content, CheckpointDescription) and content.network is not None:
        described.append(content.network)
    networks = [
        of_stages(str(one.class_).rpartition(".")[2], one.stages)
        for one in described
        if one is not OMITTED and one.stages
    ]
    first, *lines = text(description, Screen()).splitlines()
    section = Section("Contents", text="\n".join(lines))
    return tables_page("show", [description.path], first, [section], heading(), figures=figures, networks=networks)


def of_overview(overview: Overview) -> dict[str, str]:
    """Return pages by file name: ``index.html``, and one for each dataset that was checked."""
    pages, top = {}, heading()
    for state in overview.datasets:
        if state.report is not None:
            pages[f"{state.name}.html"] = report_page(state.report, state.figures, top)
    return {"index.html": overview_page(overview, pages, top), **pages}


def of_verifications(verifications: Sequence[Verification]) -> str:
    """Return the page of training records, compared with the documents of today."""
    from plansguard.render.verify_receipt import sections

    changed, all_of_them = sum(not one.holds for one in verifications), counted(len(verifications), "training")
    severity = "error" if changed else "clean"
    verdict = f"what {changed} of {all_of_them} started with has changed" if changed else "nothing has changed"
    folders = [str(one.receipt.parent) for one in verifications]
    return tables_page("verify-receipt", folders, verdict, sections(verifications), heading(), severity=severity)
