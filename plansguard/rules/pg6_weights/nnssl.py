"""PG63x: plans and weights of nnssl, nnU-Net's self-supervised pretraining."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

from plansguard.core import disk
from plansguard.core.errors import Absent, UnreadableDocument, known
from plansguard.core.report import Severity
from plansguard.core.text import brief, counted, quoted
from plansguard.nnunet import printed_commands
from plansguard.nnunet.printed_commands import FOLD
from plansguard.nnunet.workspace import TrainedModel
from plansguard.rules.engine.declare import Found, found, rule
from plansguard.rules.engine.helpers import CONFIGURATION, NUMBER, PLANS, migration_of, yielded
from plansguard.subjects.dataset import Dataset
from plansguard.subjects.documents import DatasetJson
from plansguard.subjects.plans import Configuration, Plans

if TYPE_CHECKING:
    from plansguard.artefacts.checkpoint.checkpoint import Checkpoint

_INFO = "pretrain_info"
_PATH = "checkpoint_path"
#: Primus cuts a patch into tokens of 8 x 8 x 8 voxels.
_TOKEN = 8
_TRAINER = "PretrainedTrainer"


@rule(
    "PG630",
    Severity.ERROR,
    message="pretrain_info.checkpoint_path names no file here: {path}",
    fix="name the file on this machine: -overwrite_ckpt_path CHECKPOINT",
)
def nnssl_weights_not_found(dataset: Dataset, plans: Plans) -> Iterator[Found]:
    """Plans of nnssl name a checkpoint that is not on this machine.

    What it checks: `pretrain_info.checkpoint_path` is a file. A warning without data: the plans may be in a repository.

    Why it matters: the training stops with `Pretrained weights path ... does not exist!` after the data are prepared.
    The path is absolute, from the machine that made the plans.

    How to fix: `-overwrite_ckpt_path`.

    Example: `/home/somebody/checkpoint_final.pth`.

    Evidence: SSL-02; nnU-Net's code for nnssl checkpoints.
    """
    path = _info(plans).get(_PATH)
    if isinstance(path, str) and not _is_file(path):
        severity = None if dataset.holds_data else Severity.WARNING
        yield found(plans.at(_INFO, _PATH), severity=severity, path=quoted(path))


@rule(
    "PG631",
    Severity.ERROR,
    message="{name} is no checkpoint of nnssl: {trouble}",
    fix="name weights of nnssl, or take the plans of these: {migration}",
)
def nnssl_weights_without_adaptation_plan(dataset: Dataset, plans: Plans) -> Iterator[Found]:
    """Plans of nnssl name an ordinary checkpoint.

    What it checks: the file at `pretrain_info.checkpoint_path` can be read and has the key `nnssl_adaptation_plan`.

    Why it matters: nnssl's trainers read `nnssl_adaptation_plan` before anything else and stop with a `KeyError`.
    Ordinary checkpoints also fail there because they are loaded with `weights_only=True`.

    How to fix: use an nnssl checkpoint, or migrate the plans of an ordinary one and load it with `-pretrained_weights`.

    Example: a TotalSegmentator checkpoint given to nnssl's planner.

    Evidence: SSL-01; Large-Scale-Medical issue 15.
    """
    path = _info(plans).get(_PATH)
    if not isinstance(path, str) or not _is_file(path):
        return  # reported by PG630
    fix, trouble = None, ""
    try:
        checkpoint = _read(path)
        if checkpoint.adaptation_plan is None:
            trouble = "it has no nnssl_adaptation_plan"
        fix = None if checkpoint.plans is not None else "name weights of nnssl"
    except Absent as absent:
        fix, trouble = "fetch the file again", absent.reason
    if trouble:
        migration = migration_of(path, dataset)
        yield found(plans.at(_INFO, _PATH), fix=fix, name=Path(path).name, trouble=trouble, migration=migration)


@rule(
    "PG632",
    Severity.ERROR,
    message="{what}, but these plans start from weights of nnssl",
    fix=printed_commands.train_pretrained(NUMBER, CONFIGURATION, FOLD, plans=PLANS, trainer=yielded("trainer")),
)
def nnssl_plans_with_plain_trainer(
    dataset: Dataset, plans: Plans, trained: tuple[TrainedModel, ...]
) -> Iterator[Found]:
    """Plans of nnssl were trained, or are to be trained, with an ordinary trainer.

    What it checks: models of plans with `pretrain_info` have a `PretrainedTrainer`; `-pretrained_weights` is not used.

    Why it matters: `nnUNetv2_train` with `nnUNetTrainer` silently ignores `pretrain_info`: the weights are random. Only
    nnssl's trainers load them.

    How to fix: use nnssl's own command and trainer.

    Example: `nnUNetv2_train 2 3d_fullres 0 -p ptPlans__Spacing__1.00_1.00_1.00`.

    Evidence: SSL-03; nnU-Net's code for nnssl checkpoints.
    """
    if not _info(plans):
        return
    troubles = [
        (f"{model.folder.name} was trained by {model.trainer}", model.configuration)
        for model in trained
        if model.plans_name == plans.identifier and _TRAINER not in model.trainer
    ]
    if dataset.request.weights is not None:
        name = dataset.request.configuration or plans.configurations[0].name
        troubles.append(("-pretrained_weights is an option of nnUNetv2_train", name))
    trainer = f"{_TRAINER}_Primus" if any(map(_is_primus, plans.configurations)) else _TRAINER
    identifier = quoted(plans.identifier)
    for trouble, name in troubles:
        yield found(plans.at(_INFO), what=trouble, trainer=trainer, plans=identifier, configuration=quoted(name))


@rule(
    "PG633",
    Severity.ERROR,
    message="the weights were pretrained with {theirs} input channels, dataset.json names {ours}",
    fix="use weights that were pretrained with {fitting}",
)
def nnssl_channels(plans: Plans, dataset_json: DatasetJson) -> Iterator[Found]:
    """Weights of nnssl take another number of channels than the dataset has.

    What it checks: `pretrain_info.pt_num_in_channels` against the channels of dataset.json.

    Why it matters: nnssl's trainers repeat a first layer for one channel; the size of another one does not fit, and the
    training stops. One for several channels is repeated just as often, or not at all.

    How to fix: use other weights.

    Example: weights of two channels for CT.

    Evidence: SSL-04; nnU-Net's code for nnssl checkpoints.
    """
    theirs, ours = _info(plans).get("pt_num_in_channels"), len(dataset_json.channels)
    if isinstance(theirs, int) and theirs not in (1, ours):
        fitting = counted(ours, "input channel") + (" or with 1" if ours > 1 else "")
        yield found(plans.at(_INFO, "pt_num_in_channels"), theirs=theirs, ours=ours, fitting=fitting)


@rule("PG634", Severity.ERROR, message="patch_size {patch} {trouble}", fix="{remedy}")
def nnssl_patch(plans: Plans, configuration: Configuration) -> Iterator[Found]:
    """The patch does not fit the tokens of a pretrained Primus.

    What it checks: for Primus networks, that every axis of the patch is a multiple of 8; and that the positional
    embedding in the checkpoint has as many tokens as the patch of the pretraining. That is `pretrain_patch_size` in the
    checkpoint's adaptation plan, else `pt_used_patchsize` in the plans; where neither names it, this patch.

    Why it matters: other sizes crash in the first forward pass, and the embedding is interpolated from the named patch.

    How to fix: choose a patch of multiples of 8, and set `pt_used_patchsize` to the patch of the pretraining.

    Example: 8000 tokens in the checkpoint, and a patch of the pretraining of 64 x 64 x 64, which has 512.

    Evidence: SSL-05; SSL3D_classification issue 2.
    """
    info, patch = _info(plans), configuration.require("patch_size")
    if not info or not _is_primus(configuration):
        return
    path, trouble, remedy = info.get(_PATH), "", ""
    if any(size % _TOKEN for size in patch):
        trouble, remedy = f"is not cut into whole tokens of {_TOKEN}", f"make every axis a multiple of {_TOKEN}"
    elif isinstance(path, str) and _is_file(path):
        checkpoint = _read(path)
        named = (checkpoint.adaptation_plan or {}).get("pretrain_patch_size") or info.get("pt_used_patchsize")
        tokens = _tokens(named or patch)
        learned = {
            tensor.shape[1]
            for name, tensor in checkpoint.parameters.items()
            if name.endswith("pos_embed") and len(tensor.shape) == 3
        }
        if learned and tokens not in learned:
            patch_of = f"the pretraining's patch {brief(named)} has" if named else "this patch has"
            trouble = f"does not fit: the weights have {min(learned)} tokens, {patch_of} {tokens}"
            remedy = "set pretrain_info.pt_used_patchsize to the patch of the pretraining"
    if trouble:
        yield found(configuration.at("patch_size"), patch=brief(patch), trouble=trouble, remedy=remedy)


def _info(plans: Plans) -> dict[str, Any]:
    """Return what nnssl wrote into the plans; empty where they are no plans of nnssl."""
    info = plans.value.get(_INFO)
    return info if isinstance(info, dict) else {}


def _is_primus(configuration: Configuration) -> bool:
    architecture = known(lambda: configuration.architecture) or {}
    return "primus" in str(architecture.get("network_class_name")).casefold()


def _tokens(patch: Any) -> int | None:
    """Return the number of tokens that a patch is cut into; None if it is no list of integers."""
    sizes = patch if isinstance(patch, list) else []
    return prod(size // _TOKEN for size in sizes) if sizes and all(isinstance(size, int) for size in sizes) else None


def _is_file(path: str) -> bool:
    """Tell whether a path that a document names is a file; False for a name that no file can have."""
    with suppress(OSError, ValueError):
        return disk.is_file(path)
    return False


def _read(path: str) -> Checkpoint:
    from plansguard.artefacts.checkpoint.checkpoint import read_checkpoint  # only for plans of nnssl

    try:
        return read_checkpoint(Path(path))
    except UnreadableDocument as error:
        raise Absent(error.reason) from error
