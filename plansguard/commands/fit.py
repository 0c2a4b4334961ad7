"""One checkpoint against many datasets: which plans can be fine-tuned from it, and what the others need first."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from plansguard.commands.check import nearest_settings
from plansguard.core import disk
from plansguard.core.errors import Absent, PlansguardError, UnreadableDocument, UsageError, known
from plansguard.core.report import Report, Severity
from plansguard.core.text import both, listed, nearest
from plansguard.documents.file_names import CANONICAL_NAMES
from plansguard.migration.plan import LOSES_SPACING, MigrationRequest
from plansguard.migration.plan import plan as plan_migration
from plansguard.nnunet import printed_commands
from plansguard.nnunet.printed_commands import Word
from plansguard.nnunet.workspace import Workspace
from plansguard.rules import RULES
from plansguard.rules.engine.helpers import free_name, migration_of
from plansguard.rules.engine.run import run_rules
from plansguard.rules.pg6_weights.checkpoint import foreign_to_nnunet
from plansguard.subjects.adaptation_command import UNNAMED_CHANNELS, adapting_command, lacks_common_channel
from plansguard.subjects.dataset import Dataset
from plansguard.subjects.discovery import dataset_of
from plansguard.subjects.fit_result import ADAPT, IMPOSSIBLE, LOADS, MIGRATE, PREPROCESS, UNKNOWN, FitResult
from plansguard.subjects.input_comparison import differences, is_regained_by_migration, permuted_channels
from plansguard.subjects.plans import Configuration, Plans
from plansguard.subjects.pretraining import Pretraining, data_first, loading_into, usual_fold
from plansguard.subjects.request import Progress, Request, tracked
from plansguard.subjects.weights import Weights, axes_of, meant_for, names_for, plans_in

if TYPE_CHECKING:
    from plansguard.artefacts.checkpoint.checkpoint import Checkpoint
from plansguard.artefacts.checkpoint.trained_model import weights_in

#: Obstacles that no migration of plans removes.
_BEYOND_PLANS = ("channels", "dimensions")
#: Rules whose errors mean that the data do not belong to the plans and have to be preprocessed again, and the one that
#: reports data which cannot be listed.
STALE_DATA = """
    cases-missing incomplete-case data-from-other-plans array-channels-differ class-locations-differ mixed-data-formats
    values-outside-normalization stamp-disagrees preprocessing-unfinished unreadable-document
""".split()
#: How many differences a reason names.
_NAMED = 2


def _planning_hint(workspace: Workspace) -> str:
    """What to do where nothing is planned: plan the first dataset that has images."""
    for name in workspace.dataset_names():
        if workspace.raw is not None and disk.is_folder(workspace.raw / name):
            return f"plan one first: {printed_commands.plan_and_preprocess(name)}"
    return "check nnUNet_preprocessed"


def datasets_to_fit(
    workspace: Workspace,
    ids: Sequence[str] | None,
    plans: str | None,
    configuration: str | None,
    checkpoint: Checkpoint,
    progress: Progress | None = None,
) -> list[Dataset]:
    """Return the datasets named by ``ids`` (None: all preprocessed ones), narrowed to ``plans``.

    Raises UsageError for unknown datasets and plans, and for a configuration that no plans have and that is spelt like
    one of theirs.
    """
    if ids is None:
        ids = [name for name in workspace.dataset_names() if disk.is_folder(workspace.preprocessed_folder(name))]
        if not ids:
            raise UsageError(f"there is no dataset in {workspace.preprocessed}", hint=_planning_hint(workspace))
    named = tracked(ids, "reading datasets", progress)
    datasets = [replace(dataset_of(workspace, id_or_name), request=Request(plans=plans)) for id_or_name in named]
    if len(datasets) == 1 and plans is not None and not datasets[0].judged_plans and not _unreadable(datasets[0]):
        present = ", ".join(each.identifier for each in datasets[0].plans) or "none"
        raise UsageError(f"{datasets[0].name} has no plans called {plans}", hint=f"its plans: {present}")
    names = {each.name for dataset in datasets for plans_ in dataset.judged_plans for each in plans_.configurations}
    names |= {*names_for(checkpoint)}
    near = None if configuration is None or configuration in names else nearest(configuration, sorted(names))
    if near:
        raise UsageError(f"no plans here have a configuration {configuration}", hint=f"did you mean {near}?")
    return datasets


def fit(
    weights: str | Path,
    datasets: Sequence[str] | None = None,
    *,
    plans: str | None = None,
    configuration: str | None = None,
    progress: Progress | None = None,
) -> list[FitResult]:
    """Compare weights with the plans of datasets: which of them they fit, and what others need.

    ``weights`` is a .pth file of nnU-Net v2, or the folder or zip of a model. ``datasets`` are ids or names below
    ``$nnUNet_preprocessed`` (None: all). ``plans`` and ``configuration`` narrow the comparison as nnU-Net's ``-p`` and
    ``-c`` do; ``configuration`` defaults to the one that the weights were trained as, with those that inherit its
    network. ``progress`` is called with what is counted, how many are done, and of how many. Nothing in the file is
    executed, and nothing is written.

    Raises UnreadableDocument when nnU-Net could not load the file into any network, and UsageError for unknown
    datasets, plans and configurations.
    """
    checkpoint, workspace = weights_in(Path(weights)), Workspace.from_environment()
    subjects = datasets_to_fit(workspace, datasets, plans, configuration, checkpoint, progress)
    zipped = disk.is_file(weights) and checkpoint.path != str(weights)
    return compare(checkpoint, subjects, configuration, Path(weights) if zipped else None, progress)


def compare(
    checkpoint: Checkpoint,
    datasets: Sequence[Dataset],
    configuration: str | None = None,
    archive: Path | None = None,
    progress: Progress | None = None,
) -> list[FitResult]:
    """Return a result for every plans file of every dataset, in the order given; where some fit, only for those.

    ``configuration`` defaults to the one that the weights were trained as, with those that inherit its network. Headers
    of preprocessed data are read where there are any. Nothing is written: whether a migration would be refused is found
    out in memory. ``archive`` is the zip that contains the checkpoint, if one does.

    Raises UnreadableDocument when nnU-Net could not load the file into any network.
    """
    _assert_usable(checkpoint)
    return [
        result
        for dataset in tracked(datasets, "comparing datasets", progress)
        for result in _Fitting(checkpoint, dataset, configuration, archive).results()
    ]


def _assert_usable(checkpoint: Checkpoint) -> None:
    problem = foreign_to_nnunet(checkpoint)
    if checkpoint.suspicious:
        names = listed([str(name) for name in checkpoint.suspicious])
        problem = f"loading it would run code: it names {names}", "do not load it; use another copy"
    elif checkpoint.damage:
        problem = f"it is not whole: {'; '.join(checkpoint.damage)}", "download or copy it again"
    if problem is not None:
        reason, hint = problem
        raise UnreadableDocument(checkpoint.path, reason, hint=hint)


class _Fitting:
    """One checkpoint against one dataset."""

    def __init__(
        self, checkpoint: Checkpoint, dataset: Dataset, configuration: str | None, archive: Path | None
    ) -> None:
        self.checkpoint = checkpoint
        self.dataset = dataset
        self.wanted = configuration
        self.artefact = checkpoint.path if archive is None else str(archive)
        self.weights_path: Word = checkpoint.path
        #: nnU-Net does not read zips.
        self.unpack = ""
        if archive is not None:
            member = Path(checkpoint.path).relative_to(archive)
            self.unpack = printed_commands.install_zip(archive)
            self.weights_path = printed_commands.below("nnUNet_results", member)

    def results(self) -> list[FitResult]:
        """The results of all plans; where some load, or would with new data, only theirs."""
        every = list(self._results())
        outcomes = {result.outcome for result in every}
        best = next((outcome for outcome in (LOADS, PREPROCESS) if outcome in outcomes), None)
        return [result for result in every if best in (None, result.outcome)]

    def _results(self) -> Iterator[FitResult]:
        unreadable = _unreadable(self.dataset)
        for error in unreadable:
            path, command = Path(error.path), printed_commands.check(self.dataset.name)
            place = self.artefact, self.dataset.name, path.stem, self.wanted or ""
            yield FitResult(*place, UNKNOWN, f"{path.name} cannot be read: {error.reason}", command)
        if not self.dataset.judged_plans and not unreadable:
            yield self._by_migration("", self.wanted or "", "the dataset has no plans")
        for plans in self.dataset.judged_plans:
            chosen, name = self._chosen(plans)
            if not chosen:
                yield self._by_migration(plans.identifier, name, f"the plans have no {name}")
            for configuration in chosen:
                try:
                    yield self._judged(plans, Weights(self.checkpoint, configuration, self.dataset.dataset_json))
                except Absent as absent:
                    command = printed_commands.check(self.dataset.name, plans=plans.identifier)
                    place = self.artefact, self.dataset.name, plans.identifier, configuration.name
                    yield FitResult(*place, UNKNOWN, absent.reason, command)

    def _chosen(self, plans: Plans) -> tuple[list[Configuration], str]:
        """The configurations to be judged, and the name that was looked for."""
        names = [self.wanted] if self.wanted is not None else names_for(self.checkpoint)
        if not names:
            return list(meant_for(self.checkpoint, plans.configurations)), f"{axes_of(self.checkpoint)}D configuration"
        for name in names:
            chosen = [each for each in plans.configurations if each.name == name or self._inherits(plans, each, name)]
            if chosen:
                return chosen, name
        return [], names[0]

    def _inherits(self, plans: Plans, configuration: Configuration, name: str) -> bool:
        """Whether this one was added to the plans: it inherits the network of the configuration of that name."""
        return self.wanted is None and configuration.is_usable and name in loading_into(plans, configuration.name)

    def _judged(self, plans: Plans, weights: Weights) -> FitResult:
        name = weights.configuration.name
        place = self.artefact, self.dataset.name, plans.identifier, name
        if weights.obstacles:
            reason = "; ".join(obstacle.what for obstacle in weights.obstacles[:_NAMED])
            if adapt := self._adapt(weights):
                return FitResult(*place, ADAPT, reason, adapt)
            if any(obstacle.kind in _BEYOND_PLANS for obstacle in weights.obstacles):
                reason += f"; {UNNAMED_CHANNELS}" if lacks_common_channel(weights, self.dataset) else ""
                return FitResult(*place, IMPOSSIBLE, reason, self._check(plans, name))
            return self._by_migration(plans.identifier, name, reason)
        if known(lambda: permuted_channels(weights)):
            reason = "the dataset has the channels of the weights in another order"
            if adapt := self._adapt(weights):
                return FitResult(*place, ADAPT, reason, adapt)
            return FitResult(*place, IMPOSSIBLE, reason, self._check(plans, name))
        if known(lambda: weights.theirs) is None:
            reason = "they load, but the file does not contain their plans: what the weights saw is unknown"
            return FitResult(*place, UNKNOWN, reason, self._check(plans, name))
        rows = differences(weights, self.dataset.promised_input(plans))
        grave = [row for row in rows if row.severity is not Severity.INFO]
        reason = "network, input and data agree"
        if rows:  # a graft keeps its own spacing, for example
            fields = ", ".join(dict.fromkeys(row.field for row in rows))
            reason = f"network and data agree; what the weights saw differs, where it may, in {fields}"
        if grave:
            sides = ["{} {}, here {}".format(row.field, *both(row.saw, row.feeds)) for row in grave]
            reason = f"they load, but saw {'; '.join(sides[:_NAMED])}"
            if is_regained_by_migration(weights):
                return self._by_migration(plans.identifier, name, reason)
            reason += f"; no migration gives {name} that input"
            if any(row.severity is Severity.ERROR for row in grave):
                return FitResult(*place, IMPOSSIBLE, reason, self._check(plans, name))
        stale = self._stale(plans, weights.configuration)
        if stale:
            stale += f"; {reason}" if grave else ""
            has_data = known(lambda: self.dataset.data_folder(weights.configuration)) is not None
            return FitResult(*place, PREPROCESS, stale, printed_commands.preprocess(*place[1:]), has_data)
        pretraining = Pretraining(self.weights_path, self.checkpoint.trainer)
        fold = usual_fold(self.dataset)
        trainer = pretraining.trainer_for(self.dataset, weights.configuration)
        if trainer is None:
            stage = str(weights.configuration.previous_stage)
            before = data_first(self.dataset, plans.identifier, stage)
            training = pretraining.first_stage(self.dataset, weights.configuration, fold)
            reason += f"; {stage} is to be trained first, by the same trainer"
            return FitResult(*place, LOADS, reason, printed_commands.chain(*before, training))
        (training,) = pretraining.commands(self.dataset.name, name, plans.identifier, fold, trainer=trainer)
        command = printed_commands.chain(self.unpack, training)
        return FitResult(*place, LOADS, reason, command)

    def _adapt(self, weights: Weights) -> str:
        command = adapting_command(weights, self.dataset, self.weights_path)
        return command and printed_commands.chain(self.unpack, command)

    def _by_migration(self, plans: str, configuration: str, reason: str) -> FitResult:
        """Plans of the weights would help, if they are known and can be migrated to this dataset."""
        place = self.artefact, self.dataset.name, plans, configuration
        try:
            plans_in(self.checkpoint)
        except Absent as absent:
            missing = "the file holds no plans that could be migrated"
            reason = f"{reason}; {missing if self.checkpoint.plans is None else absent.reason}"
            return FitResult(*place, IMPOSSIBLE, reason, printed_commands.show(self.artefact))
        outcome, why, reader = self._migration
        command = migration_of(self.artefact, self.dataset, reader)
        return FitResult(*place, outcome, f"{reason}; {why}" if why else reason, command)

    @cached_property
    def _migration(self) -> tuple[str, str, str | None]:
        """The outcome of a migration to this dataset, why, and the reader to name: the same for all of its plans."""
        reader = None
        try:
            report = self._migration_report(reader)
            reader = _better_reader(report)
            if reader is not None:
                report = self._migration_report(reader)
        except PlansguardError as error:
            return UNKNOWN, f"{error.reason} ({error.hint})" if error.hint else error.reason, reader
        unread = next((finding for finding in report.active if finding.incomplete), None)
        if unread is not None:
            return UNKNOWN, f"a migration cannot be judged: {unread.location.path}: {unread.message}", reader
        errors = _errors(report)
        if errors:
            return IMPOSSIBLE, f"the plans of the weights cannot come here: {errors[0]}", reader
        return MIGRATE, "", reader

    def _migration_report(self, reader: str | None) -> Report:
        """The findings of a migration with this reader, or with the one that nnU-Net chooses."""
        request = MigrationRequest(self.artefact, self.dataset.name, free_name(self.dataset), reader=reader)
        settings = nearest_settings([self.dataset.folder])
        receiving = replace(self.dataset, request=Request())
        return plan_migration(self.dataset.workspace, request, settings, receiving).report

    def _stale(self, plans: Plans, configuration: Configuration) -> str:
        """Why the data on disk have to be preprocessed (again); empty when they are those of these plans."""
        try:
            self.dataset.data_folder(configuration)
        except Absent as absent:
            return absent.reason
        request = Request(plans.identifier, configuration.name)
        rules = [rule for rule in RULES if rule.info.name in STALE_DATA]
        report = run_rules("fit", [], [replace(self.dataset, unreadable=(), request=request)], rules=rules)
        unread = next((finding for finding in report.active if finding.incomplete), None)
        if unread is not None:
            raise Absent(f"{unread.location.path}: {unread.message}")
        errors = _errors(report)
        return errors[0] if errors else ""

    def _check(self, plans: Plans, configuration: str) -> str:
        name, weights = self.dataset.name, self.weights_path
        command = printed_commands.check(name, plans=plans.identifier, configuration=configuration, weights=weights)
        return printed_commands.chain(self.unpack, command)


def _unreadable(dataset: Dataset) -> list[UnreadableDocument]:
    """The files that cannot be read and that may be plans which the request asks for."""
    wanted = dataset.request.plans
    files = [(Path(error.path), error) for error in dataset.unreadable]
    return [
        error
        for path, error in files
        if path.name not in CANONICAL_NAMES.values() and "." not in path.stem and wanted in (None, path.stem)
    ]


def _better_reader(report: Report) -> str | None:
    """The reader that a migration has to name, where the one that nnU-Net chooses does not suit the images."""
    findings = (finding for finding in report.active if finding.name == LOSES_SPACING)
    return next((finding.values["better"] for finding in findings), None)


def _errors(report: Report) -> list[str]:
    return [finding.message for finding in report.active if finding.severity is Severity.ERROR]
