"""The page that ``--output html`` writes: when it was made, by which versions, and with which figures."""

from __future__ import annotations

import platform
from datetime import datetime
from typing import TYPE_CHECKING

from plansguard import __version__
from plansguard.core.report import Report
from plansguard.nnunet import plans_diff
from plansguard.nnunet.install.packages import version
from plansguard.render.html.page import Heading, report_page
from plansguard.subjects.figures import collect

if TYPE_CHECKING:
    from plansguard.migration.plan import Migration
    from plansguard.subjects.training_run import TrainingRun

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


def of_check(report: Report, visited: collect.Visited) -> str:
    """Return the page of a check, with figures of the datasets that it visited."""
    return report_page(report, visited.figures(report), heading())


def of_run(report: Report, run: TrainingRun) -> str:
    """Return the page of a training that is about to start."""
    return report_page(report, collect.of_run(run), heading())


def of_migration(migration: Migration) -> str:
    """Return the page of a migration, with both fingerprints and what it changes in the plans."""
    from plansguard.migration.messages import opening
    from plansguard.render.diff import sections
    from plansguard.render.html.section import Section

    pair = migration.pair
    changes = plans_diff.compare(pair.plans.value, pair.result.value)
    before, after = pair.plans.document.path, pair.result.document.path
    first = Section("Migration", lines=[line for line in opening(pair) if line])
    folded = sections((before, pair.plans.value), (after, pair.result.value), changes, folded=True)
    return report_page(migration.report, collect.of_pair(pair), heading(), [first, *folded])
