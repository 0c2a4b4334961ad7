"""The state of a workspace, as ``plansguard report`` shows it."""

from __future__ import annotations

from dataclasses import dataclass

from plansguard.core.report import Report
from plansguard.nnunet.workspace import Workspace
from plansguard.subjects.figures.collect import Figures
from plansguard.subjects.fit_result import FitResult


@dataclass(frozen=True)
class ConfigurationState:
    """A configuration, and how many preprocessed cases it has; None where its folder is not there."""

    name: str
    cases: int | None


@dataclass(frozen=True)
class PlansState:
    """Plans and their configurations. ``giving`` is the dataset that they were migrated from, if they were."""

    identifier: str
    giving: str | None
    configurations: tuple[ConfigurationState, ...]


@dataclass(frozen=True)
class DatasetState:
    """A dataset of the overview.

    ``models`` are the names of the folders of its trained models. ``report`` is that of its check; None where only
    results are there.
    """

    name: str
    models: tuple[str, ...]
    report: Report | None = None
    plans: tuple[PlansState, ...] = ()
    figures: Figures | None = None


@dataclass(frozen=True)
class WeightsState:
    """Trained weights and the results for each dataset; ``unread`` is why they cannot be read."""

    model: str
    results: tuple[FitResult, ...] = ()
    unread: str = ""


@dataclass(frozen=True)
class Overview:
    """A workspace."""

    workspace: Workspace
    datasets: tuple[DatasetState, ...]
    weights: tuple[WeightsState, ...]
