"""Adapt weights to the input channels and classes of a dataset, and record where each parameter comes from."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from plansguard.artefacts.checkpoint.checkpoint import Checkpoint
from plansguard.artefacts.checkpoint.contents import ADAPTATION, STEPS
from plansguard.artefacts.checkpoint.storage_bytes import storage_bytes
from plansguard.artefacts.checkpoint.trained_model import weights_in
from plansguard.artefacts.checkpoint.weight_values import not_finite
from plansguard.core import disk
from plansguard.core.atomic_files import Replaces, after, assert_writable, holding, write_atomically
from plansguard.core.errors import Absent, UnreadableDocument, UsageError, WriteRefused, known
from plansguard.core.text import counted, quoted
from plansguard.documents import json_document
from plansguard.migration.files import keep_copy
from plansguard.nnunet import printed_commands, runtime
from plansguard.nnunet.network.parameters import Shapes
from plansguard.nnunet.workspace import Workspace
from plansguard.records.adaptation import record_path
from plansguard.rules.engine.helpers import migration_of
from plansguard.subjects.adaptation import (
    Adaptation,
    AdaptationChoices,
    AdaptedDocuments,
    adaptation_of,
    assert_suitable,
    documents_of,
)
from plansguard.subjects.adaptation_command import contains, is_adapted, is_record
from plansguard.subjects.dataset import Dataset
from plansguard.subjects.discovery import configuration_of, dataset_in, dataset_of, plans_of
from plansguard.subjects.plans import Configuration, Plans
from plansguard.subjects.pretraining import Pretraining, as_file, data_first, trainers_of_first_stage, usual_fold
from plansguard.subjects.weights import Weights, plans_in
from plansguard.training.trainer_name import keeping_head

#: Kinds of checkpoints whose parameters can be those of a U-Net.
_KINDS = ("nnunet-v2", "nnunet-v1", "nnssl", "state-dict")
#: Before the migration of plans for 2D images to 3D images, or the reverse.
_OF_OTHER_IMAGES = "# the plans of the weights are for 2D images and the dataset has 3D images, or the reverse (PG415)"


class AdaptationTask(NamedTuple):
    """The weights, and the network that they are adapted to.

    ``documents`` are stored with the adapted weights. ``plans`` is the identifier of the dataset's plans; None where
    the network is that of the weights' own plans.
    """

    checkpoint: Checkpoint
    dataset: Dataset
    weights: Weights
    adaptation: Adaptation
    documents: AdaptedDocuments
    plans: str | None


def task_of(
    path: Path, dataset: str, plans: str | None, configuration: str | None, choices: AdaptationChoices
) -> AdaptationTask:
    """Plan an adaptation. Nothing is written, and no torch is needed.

    The network is that of ``plans``; of the weights' own plans if that is None, which are then still to be migrated.
    Raises UsageError where a choice is missing, or the network differs in more than channels and classes, and
    UnreadableDocument for a file without weights of a U-Net.
    """
    checkpoint = weights_in(path)
    _assert_usable(checkpoint)
    subject = _receiving(Workspace.from_environment(), dataset)
    own = _plans_of(checkpoint, subject, plans)
    name = configuration or checkpoint.configuration
    if name is None:
        raise UsageError("the weights do not name their configuration", hint="name one of the plans: -c CONFIGURATION")
    try:
        named = known(lambda: subject.dataset_json) or subject.raw_dataset_json  # planning copies it from there
        weights = Weights(checkpoint, configuration_of(own, name), named)
        assert_suitable(weights, subject)
        adaptation = adaptation_of(weights, choices)
    except Absent as absent:
        raise UsageError(absent.reason, hint=f"see {printed_commands.check(subject.name, plans=plans)}") from absent
    if adaptation.misfits:
        _refuse(checkpoint, weights, adaptation, "-p" if plans else "-c" if name != checkpoint.configuration else None)
    documents = documents_of(weights, adaptation, subject)
    return AdaptationTask(checkpoint, subject, weights, adaptation, documents, plans)


def _receiving(workspace: Workspace, id_or_name: str) -> Dataset:
    """The preprocessed folder of a dataset, else that of its raw images: channels and labels are named in both."""
    name = workspace.dataset_name(id_or_name)
    raw = None if workspace.raw is None else workspace.raw / name
    if raw is not None and disk.is_folder(raw) and not disk.is_folder(workspace.preprocessed_folder(name)):
        return dataset_in(raw, workspace=workspace)
    return dataset_of(workspace, id_or_name)


def _plans_of(checkpoint: Checkpoint, dataset: Dataset, identifier: str | None) -> Plans:
    if identifier is not None:
        return plans_of(dataset, identifier)
    try:
        return plans_in(checkpoint)
    except Absent as absent:
        present = ", ".join(plans.identifier for plans in dataset.plans) or "none"
        raise UsageError(
            f"the network of the weights is not known: {absent.reason}",
            hint=f"name plans of the dataset that have it, with -p; its plans: {present}",
        ) from absent


def _assert_usable(checkpoint: Checkpoint) -> None:
    if checkpoint.danger:
        raise UnreadableDocument(checkpoint.path, checkpoint.danger, hint="do not load it; use another copy")
    if checkpoint.damage:
        reason = f"it is not whole: {'; '.join(checkpoint.damage)}"
        raise UnreadableDocument(checkpoint.path, reason, hint="download or copy it again")
    if checkpoint.kind not in _KINDS or not checkpoint.parameters:
        raise UnreadableDocument(checkpoint.path, checkpoint.sentence, hint="name weights of a U-Net of nnU-Net")
    if not disk.is_file(checkpoint.path):
        file = as_file(Path(checkpoint.path), Workspace.from_environment().results)
        hint = f"name {printed_commands.shell(file.path)}"
        raise UsageError(
            f"{checkpoint.path} is in an archive", hint=f"{file.unpack}, then {hint}" if file.unpack else hint
        )
    _assert_finite(checkpoint, not_finite(checkpoint))


def _assert_finite(checkpoint: Checkpoint, names: Sequence[str]) -> None:
    if names:
        reason = f"{len(names)} of {len(checkpoint.parameters)} parameters contain NaN or infinity, such as {names[0]}"
        raise UnreadableDocument(checkpoint.path, reason, hint="use an earlier checkpoint of that training")


def _refuse(checkpoint: Checkpoint, weights: Weights, adaptation: Adaptation, typed: str | None) -> None:
    """Raise UsageError: more than channels and classes differ. ``typed`` is the option that chose the network."""
    causes = [one.what for one in known(lambda: weights.obstacles) or () if one.kind not in ("channels", "parameters")]
    first, more = adaptation.misfits[0], len(adaptation.misfits) - 1
    others = f"; {counted(more, 'more parameter')} differ" if more else ""
    reason = causes[0] if causes else f"{first}{others}"
    hint = "adapt changes input channels and classes"
    if typed and known(lambda: plans_in(checkpoint)) is not None:
        hint += f"; leave {typed} out, and the network is that of the weights' own plans"
    raise UsageError(f"the networks differ: {reason}", hint=hint)


def _assert_free(output: Path, source: str | Path) -> None:
    """Raise WriteRefused unless the two files may be written, and UsageError for the file of the weights itself."""
    if output.suffix != ".pth":
        named = output.with_suffix(".pth") if output.name.strip(".") else output / printed_commands.ADAPTED
        raise UsageError(f"{output} is no name of a checkpoint", hint=f"write -o {quoted(named)}")
    if disk.are_same(output, source):
        raise UsageError(f"{output} is the file that is adapted", hint="give the adapted weights another name")
    assert_writable(output, is_adapted)
    assert_writable(record_path(output), is_record)


def write(task: AdaptationTask, record: dict[str, Any], output: Path, *, force: bool = False) -> list[str]:
    """Write the adapted weights and the record beside them; return a line for each.

    With ``force`` weights of another adaptation are replaced, and a backup of them is kept.

    Raises UsageError where nnU-Net is not installed, UnreadableDocument where the values of the weights cannot be read
    or are no numbers, and WriteRefused.
    """
    checkpoint, adaptation = task.checkpoint, task.adaptation
    _assert_free(output, checkpoint.path)
    is_another = disk.is_file(output) and not contains(output, record)
    if is_another and not force:
        raise WriteRefused(
            f"{output} exists already and contains weights of another adaptation",
            hint="give another name, or --force, which keeps a backup of it",
        )
    runtime.assert_installed("the values of weights are read and written by torch, which comes with nnU-Net")
    from plansguard.nnunet import adapted_weights

    sizes = len(adaptation.channels), len(adaptation.classes)
    architecture = task.weights.configuration.architecture
    with storage_bytes(checkpoint) as storages:

        def stored(name: str) -> adapted_weights.StoredTensor:
            one = checkpoint.parameters[name]
            place = one.shape, one.offset, one.stride
            return adapted_weights.StoredTensor(one.dtype, *place, storages.whole(one.key))

        try:
            network = adapted_weights.adapted(stored, adaptation.rows, architecture, *sizes)
        except ValueError as error:
            raise UnreadableDocument(checkpoint.path, f"it contains {error}", hint="use another copy of it") from error
    _assert_finite(checkpoint, adapted_weights.not_finite(network))
    messages: list[str] = []
    with after(messages):
        replaces: Replaces = partial(contains, record=record)
        if is_another:
            before = disk.content(output)
            replaces = holding(before)
            messages.append(keep_copy(output, before))
        adapted_weights.save(output, _content(checkpoint, network, task.documents, record), replaces)
        messages.append(f"wrote {output}")
        write_atomically(record_path(output), json_document.dumps(record), is_record)
    return [*messages, f"wrote {record_path(output)}"]


def next_commands(task: AdaptationTask, output: Path) -> list[str]:
    """The command that trains with the adapted weights; before that, their plans have to come to the dataset.

    Where classes were kept, also the one that begins with their segmentation layers. Lines with # are comments.
    """
    receiving = task.weights.configuration if task.plans is not None else None
    if receiving is None:
        if not _are_of_other_images(task):
            return [migration_of(str(output), task.dataset)]
        receiving = _same_network(task)
        if receiving is None:
            return [_OF_OTHER_IMAGES, migration_of(str(output), task.dataset)]
    pretraining = Pretraining(output, task.checkpoint.trainer)
    place, fold = (task.dataset, receiving), usual_fold(task.dataset)
    commands = data_first(task.dataset, receiving.plans.identifier, receiving.name)
    commands += pretraining.commands_for(*place, fold)
    keeping = keeping_head(pretraining.fine_tuning_trainer)
    may_keep = receiving.previous_stage is None or keeping in trainers_of_first_stage(*place)
    if task.adaptation.keeps_classes and may_keep:
        commands.append("# or with the segmentation layers of the classes that were kept:")
        named = task.dataset.name, receiving.name, receiving.plans.identifier, fold
        commands += pretraining.commands(*named, trainer=keeping)
    return commands


def _are_of_other_images(task: AdaptationTask) -> bool:
    """Whether the plans of the weights are for 2D images and the dataset has 3D images, or the reverse."""
    theirs = known(lambda: task.weights.configuration.plans.are_for_flat_images())
    ours = known(lambda: task.dataset.fingerprint.valid.is_flat)
    return None not in (theirs, ours) and theirs != ours


def _same_network(task: AdaptationTask) -> Configuration | None:
    """The first configuration of the dataset's own plans that loads the adapted weights."""
    every = (one for plans in task.dataset.plans for one in plans.usable_configurations)
    return next((one for one in every if _parameters(task, one) == task.weights.expected), None)


def _parameters(task: AdaptationTask, configuration: Configuration) -> Shapes | None:
    return known(lambda: Weights(task.checkpoint, configuration, task.weights.dataset_json).expected)


def _content(
    checkpoint: Checkpoint, network: OrderedDict[str, Any], documents: AdaptedDocuments, record: dict[str, Any]
) -> dict[str, Any]:
    """What nnU-Net and plansguard read in a checkpoint, and the record. What the file does not tell is left out."""
    arguments = {
        "plans": documents.plans,
        "configuration": checkpoint.configuration,
        "fold": checkpoint.fold,
        "dataset_json": documents.dataset_json,
        STEPS: checkpoint.steps,
    }
    content: dict[str, Any] = {
        "network_weights": network,
        "init_args": {key: value for key, value in arguments.items() if value is not None},
        "trainer_name": checkpoint.trainer,
        "current_epoch": checkpoint.current_epoch,
        ADAPTATION: record,
    }
    content = {key: value for key, value in content.items() if value is not None}
    if checkpoint.mirroring_axes is not None:
        content["inference_allowed_mirroring_axes"] = checkpoint.mirroring_axes or None
    return content
