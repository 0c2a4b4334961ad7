"""The weights that migrated plans are for, and the command that fine-tunes them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from plansguard.core import disk
from plansguard.core.errors import Absent, NotWrittenYet, UnreadableDocument, UnreadableFolder, UsageError, known
from plansguard.documents.file_names import MODEL_PLANS
from plansguard.nnunet import plans_diff, printed_commands
from plansguard.nnunet.constants import CHECKPOINT_FINAL, TRAINERS_WITH_OWN_NETWORK, base_trainer
from plansguard.nnunet.printed_commands import CHECKPOINT, DEFAULT_DEVICE, Word, shell
from plansguard.nnunet.workspace import ALL, DATASET_NAME, FOLDS, TrainedModel, trained_models
from plansguard.records.migration import DERIVE, MigrationRecord
from plansguard.subjects.dataset import Dataset
from plansguard.subjects.discovery import configuration_of, dataset_of, plans_of
from plansguard.subjects.external_plans import ExternalPlans
from plansguard.subjects.plans import Configuration, Plans
from plansguard.subjects.trained_models import trained_with
from plansguard.subjects.weights import names_for
from plansguard.training.trainer_name import extension_of, gentle_trainer, known_step_name

_NO_MIRRORING = "NoMirroring"


class Pretraining(NamedTuple):
    """A checkpoint to fine-tune from.

    ``trainer`` is the one that trained it, if that is known. ``finish`` is the command that finishes its training,
    ``unpack`` the one that takes it out of a zip archive; both are empty where the checkpoint exists, or where nothing
    is known about it.
    """

    path: Word
    trainer: str | None = None
    finish: str = ""
    unpack: str = ""

    @property
    def is_there(self) -> bool:
        """Whether the checkpoint is known and exists."""
        return self.path != CHECKPOINT and not self.before

    @property
    def before(self) -> tuple[str, ...]:
        """The commands after which the checkpoint exists."""
        return tuple(filter(None, (self.finish, self.unpack)))

    @property
    def fine_tuning_trainer(self) -> str:
        """The trainer that fine-tunes the weights at a low rate; it mirrors and builds the network as theirs does."""
        base = base_trainer(self.trainer or "")
        return gentle_trainer(base) if _NO_MIRRORING in base or base in TRAINERS_WITH_OWN_NETWORK else gentle_trainer()

    def commands_for(
        self, dataset: Dataset, configuration: Configuration, fold: str, device: str = DEFAULT_DEVICE
    ) -> Iterator[str]:
        """The commands that fine-tune a configuration; before the second stage of a cascade also the first one.

        The second stage reads the predictions of its own trainer.
        """
        stage, trainer = configuration.previous_stage, self.trainer_for(dataset, configuration)
        if trainer is None:
            yield f"# first every fold of {stage}, by the same trainer:"
            yield from data_first(dataset, configuration.plans.identifier, str(stage))
            yield self.first_stage(dataset, configuration, fold, device)
            yield "# and then:"
        elif trainer != self.fine_tuning_trainer:
            yield f"# by the trainer of {stage}, whose predictions it reads:"
        place = dataset.name, configuration.name, configuration.plans.identifier
        yield from self.commands(*place, fold, device, trainer=trainer)

    def in_one_line(
        self, dataset: Dataset, plans: Plans, configuration: str, fold: str, device: str = DEFAULT_DEVICE
    ) -> str:
        """The end of a sentence that names the training with ``plans``, from the punctuation before it.

        For the second stage of a cascade without a trained first one, the training of the first.
        """
        named = next((one for one in plans.usable_configurations if one.name == configuration), None)
        trainer = self.fine_tuning_trainer if named is None else self.trainer_for(dataset, named)
        if named is not None and trainer is None:
            stage = str(named.previous_stage)
            training = self.first_stage(dataset, named, fold, device)
            commands = printed_commands.chain(*data_first(dataset, plans.identifier, stage), training)
            return f", first every fold of {stage} by the same trainer: {commands}"
        *_, training = self.commands(dataset.name, configuration, plans.identifier, fold, device, trainer=trainer)
        return f": {printed_commands.chain(*self.before, training)}"

    def trainer_for(self, dataset: Dataset, configuration: Configuration) -> str | None:
        """The trainer that fine-tunes a configuration: of a second stage, that of the first; None without a first."""
        if configuration.previous_stage is None:
            return self.fine_tuning_trainer
        trainers = trainers_of_first_stage(dataset, configuration)
        return self.fine_tuning_trainer if self.fine_tuning_trainer in trainers else next(iter(trainers), None)

    def first_stage(
        self, dataset: Dataset, configuration: Configuration, fold: str, device: str = DEFAULT_DEVICE
    ) -> str:
        """The training of the first stage by the same trainer, from the weights that the plans were migrated for."""
        stage, plans = str(configuration.previous_stage), configuration.plans
        first = pretraining_of(dataset, plans, stage)
        weights = None if first is None else first.path
        place, trainer = (dataset.name, stage, fold), self.fine_tuning_trainer
        return printed_commands.train(*place, plans=plans.identifier, trainer=trainer, device=device, weights=weights)

    def commands(
        self,
        dataset: str,
        configuration: str,
        plans: str,
        fold: str,
        device: str = DEFAULT_DEVICE,
        *,
        trainer: str | None = None,
    ) -> Iterator[str]:
        """The commands that fine-tune: those after which the checkpoint exists, and the training itself.

        ``trainer`` is another one than that for fine-tuning.
        """
        if self.finish:
            yield f"# {CHECKPOINT_FINAL} is still to be written: wait for that training, or continue it:"
        yield from self.before
        place, trainer = (dataset, configuration, fold), trainer or self.fine_tuning_trainer
        yield printed_commands.train(*place, plans=plans, trainer=trainer, device=device, weights=self.path)


def trainers_of_first_stage(dataset: Dataset, configuration: Configuration) -> list[str]:
    """The trainers by which the first stage of a cascade was trained with the plans of this second one."""
    models = known(lambda: trained_with(dataset, configuration.plans.identifier)) or []
    return [model.trainer for model in models if model.configuration == configuration.previous_stage]


def usual_fold(dataset: Dataset) -> str:
    """The fold to train first: 0, or ``all`` for a dataset without splits whose cases nnU-Net cannot divide."""
    try:
        dataset.splits  # noqa: B018 - raises NotWrittenYet where nnU-Net will divide the cases
    except NotWrittenYet:
        cases = known(lambda: len(dataset.fingerprint.require("spacings")))
        cases = known(lambda: dataset.dataset_json.require("numTraining")) if cases is None else cases
        return ALL if cases in range(1, FOLDS) else "0"
    except Absent:
        pass  # it cannot be read, and may have this fold
    return "0"


def pretraining_of(dataset: Dataset, plans: Plans, configuration: str) -> Pretraining | None:
    """The weights that ``plans`` were migrated for; None for plans that are for no weights.

    They are for none either where they were derived with another network, or where the weights are of the other stage
    of a cascade. The path is a placeholder where no training of this configuration with these plans is found.
    """
    record = dataset.brought_by(plans)
    if record is None or record.workflow == "pretrain" or not _has_network_of(dataset, plans, configuration, record):
        return None
    path = Path(record.value["from"]["path"])
    if path.suffix == ".pth" and _archive(path) is None and ".zip" not in (folder.suffix for folder in path.parents):
        return _in_file(path, plans, configuration)
    found = (_weights_of(dataset, record, name) for name in loading_into(plans, configuration))
    return next(filter(None, found), None) or Pretraining(CHECKPOINT)


def loading_into(plans: Plans, configuration: str) -> list[str]:
    """The configuration and its ancestors of the same network, nearest first: their weights load into it."""
    networks = plans_diff.networks(plans.value)
    chain: list[str] = []
    name: object = configuration
    while isinstance(name, str) and name in networks and name not in chain:
        chain.append(name)
        name = plans.written[name].get("inherits_from")
    return [name for name in chain if networks[name] == networks[configuration]] or [configuration]


def _weights_of(dataset: Dataset, record: MigrationRecord, configuration: str) -> Pretraining | None:
    """The weights of a configuration of the plans that a record says were migrated; None where there are none."""
    path, name, results = Path(record.value["from"]["path"]), record.value["from"]["plans"], dataset.workspace.results
    models = [] if results is None else [*trained_models(results, record.giving)]
    parts = path.parent.name.split("__")
    if path.name == MODEL_PLANS and len(parts) == 3:
        models.insert(0, TrainedModel(path.parent, *parts))
    elif path.name == MODEL_PLANS and (weights := _in_renamed_model(path.parent, configuration)):
        return weights
    with_plans = [model for model in models if model.plans_name == name]
    named = pretraining_among(with_plans, record.giving, configuration, dataset.request.device)
    archive = _archive(path)
    return _in_archive(archive, name, configuration, results) if named is None and archive is not None else named


def _archive(path: Path) -> Path | None:
    """The zip archive that the path continues; None where there is none."""
    return next((folder for folder in path.parents if disk.is_file(folder)), None)


def _has_network_of(dataset: Dataset, plans: Plans, configuration: str, migration: MigrationRecord) -> bool:
    """Whether the network of a configuration is one of those that were migrated. A derivation may have replaced it."""
    record = dataset.migration_record(plans)
    if record.workflow != DERIVE:
        return True
    networks = plans_diff.networks(migration.migrated)
    return plans_diff.networks(record.migrated).get(configuration) in networks.values()


def as_file(checkpoint: Path, results: Path | None) -> Pretraining:
    """A checkpoint as a file that commands open; out of a zip archive where its path continues that of one."""
    archive = _archive(checkpoint)
    return Pretraining(checkpoint) if archive is None else packed(archive, checkpoint, None, results)


def packed(archive: Path, checkpoint: Path, trainer: str | None, results: Path | None) -> Pretraining:
    """A checkpoint in a zip archive, whose path continues that of the archive.

    nnU-Net unpacks what it has exported into its folder of results, unless another model has the name there.
    """
    member = checkpoint.relative_to(archive)
    model = member.parent.parent
    if results is not None and _is_unpacked(archive, member, results / member):
        return Pretraining(results / member, trainer)
    if DATASET_NAME.fullmatch(member.parts[0]) and not (results and disk.is_there(results / model)):
        path = printed_commands.below("nnUNet_results", member) if results is None else results / member
        return Pretraining(path, trainer, unpack=printed_commands.install_zip(archive))
    place = Path(archive.stem) / member
    if disk.is_file(place):
        return Pretraining(place, trainer)
    return Pretraining(place, trainer, unpack=shell("unzip", archive, member.as_posix(), "-d", archive.stem))


def _is_unpacked(archive: Path, member: Path, file: Path) -> bool:
    """Whether a checkpoint of a zip archive is the file."""
    from plansguard.artefacts.checkpoint.trained_model import is_unpacked  # rarely needed

    return disk.is_file(file) and is_unpacked(archive, member.as_posix(), file)


def _in_archive(archive: Path, plans: str, configuration: str, results: Path | None) -> Pretraining | None:
    """The first model in a zip archive with these plans and this configuration; None where there is none."""
    from plansguard.artefacts.checkpoint.trained_model import read_models  # rarely needed

    with suppress(UnreadableDocument):
        for model in read_models(archive):
            may_fit = model.configuration in (configuration, "") and ExternalPlans(model.plans).identifier == plans
            if model.checkpoints and may_fit:
                checkpoint = model.checkpoint(model.checkpoints[0])
                if (model.configuration or checkpoint.configuration) == configuration:
                    path = model.folder / model.checkpoints[0]
                    return packed(archive, path, model.trainer or checkpoint.trainer, results)
    return None


def _in_file(path: Path, plans: Plans, configuration: str) -> Pretraining | None:
    """A checkpoint; None where it is of the other stage of a cascade. Nothing is known of one that cannot be read."""
    from plansguard.artefacts.checkpoint.checkpoint import read_checkpoint  # rarely needed

    try:
        checkpoint = read_checkpoint(path)
    except UnreadableDocument:
        return Pretraining(path)
    names = (configuration, *names_for(checkpoint)[:1])
    stages = [one.previous_stage for one in plans.usable_configurations if one.name in names]
    return None if len(stages) == len(names) and stages.count(None) == 1 else Pretraining(path, checkpoint.trainer)


def _in_renamed_model(folder: Path, configuration: str) -> Pretraining | None:
    """The weights in a model folder that nnU-Net did not name; the checkpoint contains the configuration."""
    from plansguard.artefacts.checkpoint.checkpoint import read_checkpoint  # rarely needed

    for path in TrainedModel(folder, "", "", configuration).checkpoints[:1]:
        with suppress(UnreadableDocument):
            checkpoint = read_checkpoint(path)
            return Pretraining(path, checkpoint.trainer) if checkpoint.configuration == configuration else None
    return None


def data_first(dataset: Dataset, plans: str, configuration: str) -> list[str]:
    """The command that preprocesses for a configuration without data; empty where there are data, or no such plans."""
    named = (one for own in dataset.plans if own.identifier == plans for one in own.configurations)
    found = next((one for one in named if one.name == configuration), None)
    if found is None or known(lambda: dataset.data_folder(found)) is not None:
        return []
    return [printed_commands.preprocess(dataset.name, plans, configuration)]


def after_pretraining(
    dataset: Dataset, plans: Plans, configuration: str, model: str, fold: str, device: str = DEFAULT_DEVICE
) -> list[str]:
    """The commands that fine-tune the weights of a training with plans that were migrated for a pretraining.

    ``model`` is the name of its folder. The plans of the fine-tuning are those that were given. Empty for other plans,
    and where the folder of results is not known.
    """
    record, results = dataset.brought_by(plans), dataset.workspace.results
    if record is None or record.workflow != "pretrain" or results is None:
        return []
    weights = results / dataset.name / model / f"fold_{fold}" / CHECKPOINT_FINAL
    own = record.value["from"]["plans"]
    pretraining = Pretraining(weights, model.partition("__")[0])
    with suppress(UsageError, UnreadableFolder):  # no longer there, or closed
        giving = dataset_of(dataset.workspace, record.giving)
        fine_tuned = configuration_of(plans_of(giving, own), configuration)
        before = data_first(giving, own, configuration)
        return [*before, *pretraining.commands_for(giving, fine_tuned, usual_fold(giving), device)]
    return [*pretraining.commands(record.giving, configuration, own, "0", device)]


def pretraining_among(
    models: Iterable[TrainedModel], dataset: str, configuration: str, device: str = DEFAULT_DEVICE
) -> Pretraining | None:
    """The first finished training of the configuration, else an unfinished one; None where there is neither.

    A training that another one extends comes after it. Models whose folder cannot be listed are passed over.
    """
    named = [model for model in models if model.configuration == configuration and _has_checkpoints(model)]
    finished = [model for model in named if model.checkpoints[0].name == CHECKPOINT_FINAL]
    extensions = (known_step_name(model.trainer) for model in finished)
    extended = {extension_of(name) for name in extensions if name is not None}
    for model in sorted(finished, key=lambda model: model.trainer in extended):
        return Pretraining(model.checkpoints[0], model.trainer)
    for model in named:
        fold = model.checkpoints[0].parent
        return Pretraining(fold / CHECKPOINT_FINAL, model.trainer, _finish(model, dataset, fold, device))
    return None


def _has_checkpoints(model: TrainedModel) -> bool:
    try:
        return bool(model.checkpoints)
    except UnreadableFolder:
        return False


def _finish(model: TrainedModel, dataset: str, fold: Path, device: str) -> str:
    place = dataset, model.configuration, fold.name.removeprefix("fold_")
    return printed_commands.train(*place, plans=model.plans_name, trainer=model.trainer, device=device, flags=["--c"])
