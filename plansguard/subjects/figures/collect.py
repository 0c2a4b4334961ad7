"""Collect the figures of what a command judged: a dataset, a migration or a training."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, is_dataclass
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

from plansguard.core import disk
from plansguard.core.errors import AT_A_LIMIT, Absent, PlansguardError, UnreadableDocument, is_limit, known
from plansguard.core.report import Report
from plansguard.core.unusable_packages import unusable_package
from plansguard.documents import size_limits
from plansguard.nnunet.workspace import is_folder_name
from plansguard.subjects.dataset import Dataset
from plansguard.subjects.discovery import dataset_in
from plansguard.subjects.documents import Fingerprint
from plansguard.subjects.figures import comparison, geometry, intensities, network, schedule, slices
from plansguard.subjects.pair import Pair
from plansguard.subjects.plans import Configuration, Plans
from plansguard.subjects.training_run import TrainingRun
from plansguard.subjects.weights import Weights, meant_for

Shown = TypeVar("Shown")
#: Configurations that have figures; more would not be looked at.
MOST_CONFIGURATIONS = 12
#: No size, spacing or intensity is larger; coordinates are computed from them without loss.
_LARGEST = 1e15


@dataclass(frozen=True)
class ConfigurationFigures:
    """The figures of one configuration. What could not be shown is in ``missing``, each reason once."""

    dataset: str
    plans: str
    configuration: str
    comparison: comparison.ComparisonFigure | None
    spacing: tuple[geometry.AxisFigure, ...]
    size: tuple[geometry.AxisFigure, ...]
    patch: geometry.PatchFigure | None
    channels: tuple[intensities.ChannelFigure, ...]
    network: network.NetworkFigure | None
    slices: tuple[slices.SliceFigure, ...]
    missing: tuple[str, ...] = ()


@dataclass(frozen=True)
class Figures:
    """All figures of a report. ``left_out`` counts the configurations without figures, as there are too many."""

    configurations: tuple[ConfigurationFigures, ...] = ()
    rate: schedule.RateFigure | None = None
    left_out: int = 0


class Visited:
    """The datasets of a check, to be read again for their figures: thousands of them do not fit in memory."""

    def __init__(self) -> None:
        self._reading: dict[str, Callable[[], Dataset]] = {}

    def __call__(self, dataset: Dataset) -> None:
        """Note a dataset that is checked."""
        folder, request, workspace = dataset.folder, dataset.request, dataset.workspace
        named = [document.name for document in dataset.documents]

        def read() -> Dataset:
            again = dataset_in(folder, named, workspace)
            again.request = request
            return again

        self._reading[str(folder)] = read

    def figures(self, report: Report) -> Figures:
        """The figures of the datasets, those with the worst findings first."""
        places = dict.fromkeys(str(Path(cause.finding.location.path).parent) for cause in report.causes)
        folders = [*(place for place in places if place in self._reading), *self._reading]
        return of_datasets(self._reading[folder]() for folder in dict.fromkeys(folders))


def of_datasets(datasets: Iterable[Dataset]) -> Figures:
    """The figures of the configurations that the requests of the datasets ask for."""
    found: list[ConfigurationFigures] = []
    left_out = 0
    for dataset in islice(datasets, MOST_CONFIGURATIONS):
        for plans in dataset.judged_plans:
            for configuration in _asked(dataset, plans):
                if len(found) < MOST_CONFIGURATIONS:
                    found.append(_of_configuration(dataset, configuration))
                else:
                    left_out += 1
    return Figures(tuple(found), left_out=left_out)


def of_pair(pair: Pair) -> Figures:
    """The figures of migrated plans, with the fingerprints of both datasets."""
    plans = [one for one in pair.result.configurations if one.is_usable and pair.asks_for(one.name)]
    shown = plans[:MOST_CONFIGURATIONS]
    figures = tuple(_of_configuration(pair.receiving, one, (pair.giving, pair.receiving)) for one in shown)
    return Figures(figures, left_out=len(plans) - len(shown))


def of_run(run: TrainingRun) -> Figures:
    """The figures of a training: its configuration, and its learning rate where it counts steps."""
    planned = known(lambda: run.schedule)
    rate = None if planned is None else schedule.rate_figure(planned, run.initial_rate)
    usable = [run.configuration] if run.configuration.is_usable else []
    return Figures(tuple(_of_configuration(run.dataset, one) for one in usable), rate)


def networks_between(
    first: dict[str, Any], second: dict[str, Any], names: Iterable[str | None]
) -> list[network.NetworkFigure]:
    """The networks of configurations that two plans have, compared with each other; none that is unknown."""
    try:
        plans = [Plans(size_limits.written(value, "")) for value in (first, second)]
    except UnreadableDocument:  # larger than any plans that are judged
        return []
    sides = [{one.name: one for one in each.configurations} for each in plans]
    pairs = [(sides[0][name], sides[1][name]) for name in sides[1] if name in sides[0] and name in names]
    usable = [pair for pair in pairs if all(one.is_usable for one in pair)]
    figures = [known(lambda pair=pair: _drawable(network.between(*pair))) for pair in usable]  # type: ignore[misc]
    return [figure for figure in figures if figure is not None]


def _asked(dataset: Dataset, plans: Plans) -> list[Configuration]:
    wanted = dataset.request.configuration
    return [one for one in plans.configurations if one.is_usable and wanted in (None, one.name)]


def _reason(error: Exception) -> str:
    """Why a figure is missing. An error that means that the machine is at a limit is raised."""
    fault = unusable_package(error) if isinstance(error, ImportError) else error
    if is_limit(error) or (isinstance(fault, PlansguardError) and fault.hint == AT_A_LIMIT):
        raise fault
    return fault.reason if isinstance(fault, PlansguardError) else f"{type(error).__name__}: {error}"


def _of_configuration(
    dataset: Dataset, configuration: Configuration, datasets: Sequence[Dataset] = ()
) -> ConfigurationFigures:
    """The figures of a configuration; ``datasets`` are those whose fingerprints are shown, its own last."""
    missing: dict[str, None] = {}

    def shown(get: Callable[[], Shown], otherwise: Shown) -> Shown:
        try:
            return _drawable(get())
        except Absent as absent:
            missing[absent.reason] = None
        except Exception as error:  # noqa: BLE001 - values that no rule refuses must not cost the whole page
            missing[_reason(error)] = None
        return otherwise

    weights = _weights(dataset, configuration)
    related = datasets or _related(dataset, configuration.plans, weights)
    fingerprints, names = _fingerprints(related), {one.name: _channels(one) for one in related}
    own = next((pair for pair in reversed(fingerprints) if pair[0] == dataset.name), None)
    if not fingerprints:
        missing["there is no fingerprint to compare with"] = None
    return ConfigurationFigures(
        dataset=dataset.name,
        plans=configuration.plans.identifier,
        configuration=configuration.name,
        comparison=shown(lambda: _comparison(dataset, configuration, weights), None),
        spacing=shown(lambda: geometry.spacing_figures(configuration, fingerprints), ()) if fingerprints else (),
        size=shown(lambda: geometry.size_figures(configuration, fingerprints), ()) if fingerprints else (),
        patch=shown(lambda: geometry.patch_figure(configuration, *own), None) if own is not None else None,
        channels=shown(lambda: intensities.channel_figures(configuration, dataset.name, fingerprints, names), ()),
        network=shown(lambda: network.network_figure(configuration, weights), None),
        slices=shown(lambda: slices.slice_figures(dataset, configuration), ()),
        missing=tuple(missing),
    )


def _drawable(figure: Shown) -> Shown:
    """The figure; Absent if a number in it is too large for coordinates, or none."""
    if not all(-_LARGEST < number < _LARGEST for number in _numbers(figure)):
        raise Absent("a number is too large to be shown in a picture")
    return figure


def _numbers(part: Any) -> Iterator[float]:
    if isinstance(part, (int, float)):
        yield part
    elif is_dataclass(part):
        yield from _numbers([*vars(part).values()])
    elif isinstance(part, (tuple, list)):
        for item in part:
            yield from _numbers(item)


def _weights(dataset: Dataset, configuration: Configuration) -> Weights | None:
    """The requested weights, if this configuration is one of those that would load them."""
    checkpoint = dataset.request.weights
    if checkpoint is None or configuration not in meant_for(checkpoint, _asked(dataset, configuration.plans)):
        return None
    return known(lambda: dataset.weights(configuration))


def _comparison(
    dataset: Dataset, configuration: Configuration, weights: Weights | None
) -> comparison.ComparisonFigure | None:
    """The weights' own configuration where they are named and contain it, else the one that was migrated."""
    figure = None if weights is None else known(lambda: comparison.with_weights(weights))
    if figure is None and dataset.has_record(configuration.plans):
        figure = known(lambda: comparison.with_migrated(dataset.migration_record(configuration.plans), configuration))
    return figure


def _related(dataset: Dataset, plans: Plans, weights: Weights | None) -> list[Dataset]:
    """The dataset that the weights or the migrated plans come from, where its folder is known, and this one."""
    name = _origin(dataset, plans, weights)
    if name in (None, dataset.name) or dataset.workspace.preprocessed is None or not is_folder_name(name):
        return [dataset]
    try:
        folder = dataset.workspace.preprocessed_folder(name)
        return [dataset_in(folder, workspace=dataset.workspace), dataset] if disk.is_folder(folder) else [dataset]
    except PlansguardError:
        return [dataset]


def _origin(dataset: Dataset, plans: Plans, weights: Weights | None) -> str | None:
    """The name of the other dataset: that of the weights, or of the migration that wrote the plans."""
    theirs = None if weights is None else known(lambda: weights.theirs.plans.require("dataset_name"))
    if theirs is not None:
        return str(theirs)
    record = dataset.brought_by(plans)
    if record is None:
        return None
    return record.giving if record.receiving == dataset.name else record.receiving


def _channels(dataset: Dataset) -> list[str]:
    return known(lambda: dataset.dataset_json.valid.channels) or []


def _fingerprints(datasets: Iterable[Dataset]) -> list[tuple[str, Fingerprint]]:
    found = [(one.name, known(lambda one=one: one.fingerprint.valid)) for one in datasets]  # type: ignore[misc]
    return [(name, fingerprint) for name, fingerprint in found if fingerprint is not None]
