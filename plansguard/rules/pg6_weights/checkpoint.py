"""PG60x, PG61x: checkpoints by themselves, independent of the configuration that would load them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from plansguard.core import disk
from plansguard.core.errors import UnreadableDocument, UnreadableFolder
from plansguard.core.report import Location, Severity
from plansguard.core.text import differ, listed, nearest, quoted
from plansguard.nnunet import constants, plans_diff, printed_commands
from plansguard.nnunet.install import gpus
from plansguard.rules.engine.declare import Found, found, rule
from plansguard.rules.engine.helpers import yielded
from plansguard.subjects.dataset import Dataset
from plansguard.training.trainer_name import planned_steps

if TYPE_CHECKING:
    from plansguard.artefacts.checkpoint.checkpoint import Checkpoint


@rule("PG601", Severity.ERROR, message="{name} cannot be read: {reason}", fix="{hint}", incomplete=True)
def unreadable_checkpoint(dataset: Dataset) -> Iterator[Found]:
    """A checkpoint in a model folder cannot be read.

    What it checks: every `fold_*/checkpoint_*.pth` of a model folder is a file of torch, complete to its zip directory.

    Why it matters: nnU-Net writes checkpoints in place: a training killed while it saves leaves a file that nothing can
    load. So does a download that breaks off. `nnUNetv2_train --c` then ends with `PytorchStreamReader failed reading
    zip archive`, although `checkpoint_best.pth` beside it may be fine.

    How to fix: download the file again, or continue from another checkpoint of the same fold.

    Example: a `checkpoint_latest.pth` of 40 MB where the others have 132 MB.

    Evidence: AR-08, AR-10; nnU-Net discussion 1880.
    """
    for checkpoint in dataset.checkpoints:
        if isinstance(checkpoint, UnreadableDocument) and not isinstance(checkpoint, UnreadableFolder):  # PG001
            path = Path(checkpoint.path)
            hint = checkpoint.hint or "download it again, or use another checkpoint of this fold"
            if disk.is_there(path) and not disk.is_file(path):
                hint = f"move it away: mv {quoted(path)} {quoted(path.with_name(f'old_{path.name}'))}; then copy the "
                hint += "checkpoint there, or use another one of this fold"
            yield found(Location(checkpoint.path), name=path.name, reason=checkpoint.reason, hint=hint)


@rule(
    "PG602",
    Severity.ERROR,
    message="the file is incomplete: {damage}",
    fix="download or copy it again; after a crash of its training, use another checkpoint of that fold",
)
def damaged_checkpoint(checkpoint: Checkpoint) -> Iterator[Found]:
    """Parts of a checkpoint are missing.

    What it checks: every tensor of the checkpoint has as many bytes in the file as its shape needs; they are not read.

    Why it matters: torch notices it only when it loads the file, on the GPU node.

    How to fix: download or copy the file again.

    Example: a zip that some tool repaired after a broken download.

    Evidence: AR-10.
    """
    if checkpoint.damage:
        yield found(Location(checkpoint.path), damage=listed(checkpoint.damage, shown=1))


@rule("PG603", Severity.ERROR, message="{sentence}", fix="{remedy}")
def not_an_nnunet_v2_checkpoint(checkpoint: Checkpoint) -> Iterator[Found]:
    """The file is a checkpoint, but none that nnU-Net v2 can load.

    What it checks: it has `network_weights`, `init_args` and `trainer_name`, and its parameters have the names of
    nnU-Net's own networks: without a leading `module.` or `_orig_mod.`, as wrappers of torch leave them.

    Why it matters: `-pretrained_weights` compares names, and stops: `Key ... is missing in the pretrained model
    weights`. It reads `network_weights`: a bare state dict ends in `KeyError: 'network_weights'`. `--c` removes
    `module.`, `-pretrained_weights` does not.

    How to fix: depends on the file. `plansguard adapt` writes a checkpoint of nnU-Net v2 from a state dict and from a
    model of v1, where plans of the dataset have their network. Other toolkits' networks do not fit at all.
    A prefix is removed with two lines of torch: `weights = checkpoint["network_weights"]` and
    `checkpoint["network_weights"] = {name.removeprefix("module."): value for name, value in weights.items()}`.

    Example: `model_final_checkpoint.model` of v1; `model.pt` of MONAI; a state dict under `torch.nn.DataParallel`.

    Evidence: AR-08, VR-08; nnU-Net issues 1239, 1891, 2121, 2577, TotalSegmentator issue 578, STU-Net issue 20.
    """
    foreign = foreign_to_nnunet(checkpoint)
    if foreign is not None:
        sentence, remedy = foreign
        yield found(Location(checkpoint.path), sentence=sentence, remedy=remedy)


def foreign_to_nnunet(checkpoint: Checkpoint) -> tuple[str, str] | None:
    """Return why nnU-Net v2 cannot load weights from this file, and what to do; None where it can."""
    if checkpoint.kind not in ("nnunet-v2", "nnssl"):
        clause = checkpoint.sentence[:1].lower() + checkpoint.sentence[1:].rstrip(".")
        return clause, _REMEDIES.get(checkpoint.kind, "use a checkpoint that nnU-Net v2 wrote")
    if checkpoint.prefix:
        return (
            f'the names of all parameters begin with "{checkpoint.prefix}", which a wrapper of torch added',
            f'save it again with the names without "{checkpoint.prefix}"',
        )
    return None


_REMEDIES = {
    "nnunet-v1": "plansguard adapt can write weights of v2 from it, where -p names plans with its network",
    "state-dict": "plansguard adapt can write a checkpoint of nnU-Net from it, where its names are those of nnU-Net",
    "monai": "use the nnU-Net v2 model that the bundle was made from, if there is one",
}


@rule(
    "PG604",
    Severity.ERROR,
    message="loading this file would run {names}, which no checkpoint needs",
    fix="do not load it; use a copy from its author",
)
def suspicious_checkpoint(checkpoint: Checkpoint) -> Iterator[Found]:
    """A checkpoint would run a command when it is loaded.

    What it checks: the classes and functions that the file's pickle names. plansguard runs none of them; names from
    modules that start processes, evaluate code or open files and sockets are reported here.

    Why it matters: nnU-Net loads checkpoints with `weights_only=False`, which executes any code in the file.

    How to fix: do not load the file. Use a copy from its author.

    Example: a pickle that names `posix.system`.

    Evidence: Python's documentation of pickle; torch.load warns of it.
    """
    if checkpoint.suspicious:
        yield found(Location(checkpoint.path), names=listed([str(name) for name in checkpoint.suspicious]))


@rule(
    "PG605",
    Severity.WARNING,
    message="the weights were saved on a GPU, and this machine has none",
    fix='train where there is a GPU, or save them again from the CPU: python -c "import torch; '
    "torch.save(torch.load({weights}, map_location='cpu', weights_only=False), {copy})\"",
)
def cuda_weights_without_gpu(dataset: Dataset, checkpoint: Checkpoint) -> Iterator[Found]:
    """The weights were saved on a GPU and this machine has none.

    What it checks: the device of the tensors, those of the optimizer included, when weights that are to be fine-tuned
    were saved, and whether a driver for GPUs (NVIDIA, or AMD with ROCm) is loaded here. With an empty
    `CUDA_VISIBLE_DEVICES` there is no GPU either.

    Why it matters: `-pretrained_weights` stops: `Attempting to deserialize object on a CUDA device`, also with `-device
    cpu`. It loads without `map_location`.

    How to fix: nothing, if the training runs elsewhere.

    Example: a checkpoint of the cluster, tried on a laptop.

    Evidence: AR-09; run/load_pretrained_weights.py of nnU-Net 2.8.1.
    """
    if dataset.request.weights is checkpoint and checkpoint.on_cuda and not gpus.has_gpu():
        path = Path(checkpoint.path)
        copy = path.with_name(f"{path.stem}_cpu{path.suffix}")
        yield found(Location(checkpoint.path), weights=repr(str(path)), copy=repr(str(copy)))


@rule("PG606", Severity.WARNING, message="{trouble}", fix="{remedy}")
def unfinished_weights(dataset: Dataset, checkpoint: Checkpoint) -> Iterator[Found]:
    """Weights that are to be fine-tuned come from a training that was not finished.

    What it checks: whether the fold of the named checkpoint has another one named `checkpoint_final.pth`, and whether
    as many epochs or steps are done as its trainer plans (1000 epochs, or the number in its name).

    Why it matters: `checkpoint_best.pth` is the best on few validation patches, and may be a few epochs old. Both load
    without a warning.

    How to fix: use `checkpoint_final.pth`, or accept this finding.

    Example: `-pretrained_weights .../fold_0/checkpoint_best.pth` while the final one is there.

    Evidence: AR-10; nnU-Net issue 2195.
    """
    if dataset.request.weights is not checkpoint:
        return
    final = Path(checkpoint.path).with_name(constants.CHECKPOINT_FINAL)
    unit, done, planned = "epochs", checkpoint.current_epoch, constants.planned_epochs(checkpoint.trainer)
    if checkpoint.trainer_of_steps is not None:
        unit, done, planned = "steps", checkpoint.step, planned_steps(checkpoint.trainer_of_steps)
    beside = Path(checkpoint.path).name != final.name and disk.is_file(final)
    if beside and checkpoint.adapted_from is None:  # adapted weights lie anywhere
        trouble = f"the same folder contains {final.name}, from the end of the same training"
        yield found(Location(checkpoint.path), trouble=trouble, remedy=f"use {quoted(final)}")
    elif done is not None and planned is not None and done < planned:
        trouble = f"the training that made these weights had done {done} of {planned} {unit}"
        remedy = "use weights of the finished training, or accept this"
        yield found(Location(checkpoint.path), trouble=trouble, remedy=remedy)


@rule(
    "PG607",
    Severity.INFO,
    message="the file contains no plans",
    fix="ask for the plans.json of these weights and migrate it; what the shapes determine: "
    + printed_commands.show(yielded("path")),
)
def weights_without_plans(checkpoint: Checkpoint) -> Iterator[Found]:
    """The plans of these weights are missing.

    What it checks: the checkpoint contains the plans of its training, as every checkpoint of nnU-Net v2 does. Those of
    nnssl contain an adaptation plan instead, from which nnU-Net makes plans.

    Why it matters: the spacing and normalization of the weights are unknown; the shapes of parameters determine only
    the network.

    How to fix: ask for `plans.json`; it is in the model folder above the fold.

    Example: a bare state dict on a download page.

    Evidence: MV-12; nnU-Net issues 2089, 2665, 2952, MAMA-MIA issue 3, STU-Net issue 20.
    """
    if checkpoint.kind not in ("foreign", "nnssl") and checkpoint.parameters and checkpoint.plans is None:
        yield found(Location(checkpoint.path), path=quoted(checkpoint.path))


@rule(
    "PG608",
    Severity.WARNING,
    message="nnU-Net {version} and nnUNet_extTrainer lack {trainer}, the trainer of the weights{guess}",
    fix="get the file with that class, and name its folder in nnUNet_extTrainer; nnU-Net 2.8 and later search it",
)
def trainer_of_weights_unknown(checkpoint: Checkpoint) -> Iterator[Found]:
    """The trainer that made the weights is not installed.

    What it checks: the trainer's name in the checkpoint is one of nnU-Net's own, or a class of that name is defined in
    a file of the installed nnU-Net's `training/nnUNetTrainer` or of the folders in `nnUNet_extTrainer`.

    Why it matters: prediction needs the trainer class, which may also build another network than the plans name.

    How to fix: get the class from the weights' authors.

    Example: `nnUNetTrainer_autopet3`, whose file was not published.

    Evidence: TR-05; nnU-Net issues 2856, 3025, autopet-3-submission issue 1.
    """
    from plansguard.nnunet.install.trainer_search import all_names

    name = None if checkpoint.trainer is None else constants.base_trainer(checkpoint.trainer)
    if name is None or name in constants.STOCK_TRAINERS or name in all_names():
        return
    near = nearest(name, constants.STOCK_TRAINERS)
    guess = f"; the nearest is {near}" if near else ""
    yield found(Location(checkpoint.path), trainer=name, version=constants.NNUNET_VERSION, guess=guess)


@rule(
    "PG609",
    Severity.WARNING,
    message="the weights are of {trainer}, which builds a network of its own",
    fix="fine-tune with the same trainer: -tr {trainer}",
)
def trainer_changes_network(dataset: Dataset, checkpoint: Checkpoint) -> Iterator[Found]:
    """Weights to be fine-tuned are of a trainer that does not build the network of the plans.

    What it checks: the trainer in the checkpoint is one of nnU-Net's that override `build_network_architecture` (batch
    normalization, Primus), and not the one named at the gate. Plans of nnssl, which name their network, are exempt.

    Why it matters: other trainers build another network: parameters are missing, or running means are silently dropped.
    Equal plans do not mean equal networks here. Missing parameters are reported by PG620 to PG623. Weights with batch
    normalization load into nnU-Net's own network without a warning, because that has parameters of the same names: it
    normalizes each image by itself and drops the running means.

    How to fix: train with the same trainer.

    Example: weights of `nnUNetTrainerBN`, fine-tuned with `nnUNetTrainer`.

    Evidence: TR-06.
    """
    name = constants.base_trainer(checkpoint.trainer or "")
    own_network = constants.TRAINERS_WITH_OWN_NETWORK - {dataset.request.base_trainer}
    if dataset.request.weights is checkpoint and name in own_network:
        yield found(Location(checkpoint.path), trainer=name)


@rule(
    "PG610",
    Severity.WARNING,
    message="the checkpoint contains other plans than the model folder: {difference}",
    fix="compare both, and predict with those that made the data it was trained on: "
    + printed_commands.chain(
        printed_commands.extract(yielded("path"), "then.json"), printed_commands.diff("then.json", yielded("plans"))
    ),
)
def checkpoint_from_other_plans(dataset: Dataset, checkpoint: Checkpoint) -> Iterator[Found]:
    """A checkpoint in a model folder contains other plans than the folder's plans.json.

    What it checks: network, input and training fields of the checkpoint's plans against the `plans.json` of its model
    folder, for the configuration that was trained.

    Why it matters: prediction uses the folder's plans; the checkpoint keeps those that its training was begun with. The
    folder's file is written again whenever a training is begun or continued. After a resume with edited plans, or a
    second training into the same folder (another fold, a remaining checkpoint), the two differ, without a warning.

    How to fix: find out which plans made the preprocessed data, and put those into the folder. For all folds of a model
    they should be the same.

    Example: `nnUNetv2_train --c` after the patch size had been edited: 16 in the folder, 24 in the checkpoint.

    Evidence: MV-14; nnU-Net issue 2822.
    """
    if checkpoint is dataset.request.weights or checkpoint.plans is None:
        return
    for plans in dataset.plans:
        facets, configuration = ("weights", "input", "training"), checkpoint.configuration
        fields = plans_diff.edited_fields(checkpoint.plans, plans.value, facets, configuration)
        if fields:
            paths = {"path": quoted(checkpoint.path), "plans": quoted(plans.path)}
            yield Found(Location(checkpoint.path), {"difference": differ(fields), **paths})


@rule(
    "PG611",
    Severity.ERROR,
    message="{count} of {total} parameters contain NaN or infinity, such as {name}",
    fix="use an earlier checkpoint of that training; a loss that became NaN there is the cause",
)
def weights_are_no_numbers(checkpoint: Checkpoint) -> Iterator[Found]:
    """The weights of a checkpoint contain NaN or infinity.

    What it checks: the first 1024 bytes of every parameter are finite numbers. A training that diverged leaves no
    number in any of them. Checkpoints in archives, and files of torch before 1.6, are not read.

    Why it matters: every output is NaN: fine-tuning has a loss of NaN from its first step, and every prediction is
    background. nnU-Net saves and loads such weights without a message.

    How to fix: take `checkpoint_best.pth`, or train again with a lower learning rate.

    Example: a training in half precision whose loss became NaN in epoch 300; `checkpoint_final.pth` was still written.

    Evidence: AR-10; measured with nnU-Net 2.8.1.
    """
    from plansguard.artefacts.checkpoint.weight_values import not_finite

    names = not_finite(checkpoint)
    if names:
        total = len(checkpoint.parameters)
        yield found(Location(checkpoint.path), count=len(names), total=total, name=names[0])
