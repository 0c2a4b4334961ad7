"""PG62x: weights that are to be fine-tuned, against the configuration that would load them."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from plansguard.core.errors import known
from plansguard.core.report import Location, Severity
from plansguard.core.text import brief, listed, quoted
from plansguard.nnunet import constants, plans_diff
from plansguard.rules.engine.declare import Found, found, rule
from plansguard.rules.engine.helpers import migration_of, number
from plansguard.subjects.dataset import Dataset
from plansguard.subjects.plans import Configuration, Plans

if TYPE_CHECKING:
    from plansguard.subjects.weights import Weights

#: Names of structures that have a mirror image: what a network that was never mirrored can tell apart.
_SIDES = re.compile(r"(^|[\W_])(left|right|links|rechts|l|r)([\W_]|$)", re.IGNORECASE)


@rule(
    "PG620",
    "other-network",
    Severity.ERROR,
    message="the weights do not load into {configuration}: {causes}",
    fix="use plans with the network of the weights: {migrate}; or pretrain anew with these plans",
    modes=("AR-02",),
)
def other_network(dataset: Dataset, configuration: Configuration, weights: Weights) -> Iterator[Found]:
    """The weights belong to another kind of network.

    What it checks: the network that the parameters' names show (plain U-Net, residual encoder) against that of the
    configuration. Networks whose parameters cannot be known are compared by the plans in the checkpoint.

    Why it matters: no parameter of one has its counterpart in the other; nnU-Net stops with `Key
    encoder.stages.0.blocks.0.conv1... is missing in the pretrained model weights`.

    How to fix: bring the weights' plans to this dataset, or use weights of the same kind of network.

    Example: weights of `nnUNetPlans` for a run with `nnUNetResEncUNetLPlans`.

    Evidence: AR-02; nnU-Net issues 2010, 2860, MultiTalent issue 15.
    """
    yield from _told(dataset, configuration, weights, "network")


@rule(
    "PG621",
    "input-channels-differ",
    Severity.ERROR,
    message="the weights do not load into {configuration}: {causes}",
    fix="weights and data must have the same channels in the same order: choose other weights, or leave channels out "
    "of the dataset; -pretrained_weights cannot adapt them",
    modes=("AR-03", "CA-04"),
)
def input_channels_differ(dataset: Dataset, configuration: Configuration, weights: Weights) -> Iterator[Found]:
    """The weights take another number of input channels.

    What it checks: the input channels of the first convolution against `channel_names` of dataset.json; for the second
    stage of a cascade one more per foreground label, because it also sees the first stage's segmentation.

    Why it matters: nnU-Net does not adapt the first layer; it stops. A cascade stage loads only weights that were
    trained with the same number of labels.

    How to fix: choose weights with these channels.

    Example: weights of a CT model for PET and CT.

    Evidence: AR-03, CA-04; nnU-Net issue 2252, where a maintainer says that this is not supported.
    """
    yield from _told(dataset, configuration, weights, "channels")


@rule(
    "PG622",
    "weights-of-other-dimension",
    Severity.ERROR,
    message="the weights do not load into {configuration}: {causes}",
    fix="{remedy}",
    modes=("AR-04",),
)
def weights_of_other_dimension(dataset: Dataset, configuration: Configuration, weights: Weights) -> Iterator[Found]:
    """Weights of a 2D network are meant for a 3D configuration, or the reverse.

    What it checks: the axes of the convolutions in the checkpoint against those of the configuration's patch.

    Why it matters: they cannot load.

    How to fix: train the configuration that the weights were trained as, if this dataset has it.

    Example: weights of `2d` given to a `3d_fullres` run.

    Evidence: AR-04; nnU-Net issue 2152.
    """
    from plansguard.subjects.weights import axes_of, with_axes

    axes = axes_of(weights.checkpoint)
    same = [one.name for one in with_axes(configuration.plans.configurations, axes)]
    remedy = f"use weights of {len(configuration.require('patch_size'))}D images"
    remedy = f"train {' or '.join(same)} with these weights" if same else remedy
    yield from _told(dataset, configuration, weights, "dimensions", remedy=remedy)


@rule(
    "PG623",
    "other-topology",
    Severity.ERROR,
    message="the weights do not load into {configuration}: {causes}",
    fix="bring the weights' plans to this dataset: {migrate}, then preprocess; or pretrain anew with these plans",
    modes=("AR-01", "AR-05", "MV-11"),
)
def other_topology(dataset: Dataset, configuration: Configuration, weights: Weights) -> Iterator[Found]:
    """The network of the weights is built otherwise: stages, poolings, kernels, features or blocks differ.

    What it checks: names and shapes of all parameters that the configuration's network has, derived from its plans,
    against those in the checkpoint. Segmentation layers do not count, and more layers in the checkpoint do no harm,
    because nnU-Net ignores both. The causes are named by stage and axis; stages count from 0, as in `strides`.

    Why it matters: each dataset gets a network of its own from the planner, so one checkpoint fits one dataset by luck
    and not the next. nnU-Net's message prints the weights themselves and hides the cause.

    How to fix: let the weights' plans come to this dataset (`plansguard migrate`), then preprocess. `plansguard fit`
    shows for many datasets at once what a checkpoint needs.

    Example: stage 4 pools [1, 2, 2] here and [2, 2, 2] in the weights.

    Evidence: AR-01, AR-05, MV-11; nnU-Net issues 1854, 2089, 2152, 2609, 2760, 2775.
    """
    yield from _told(dataset, configuration, weights, "topology", "features", "blocks", "layers", "parameters")


@rule(
    "PG624",
    "weights-fit-other-plans",
    Severity.ERROR,
    message="the weights {belong} {other}, and {plans} {trouble}",
    fix="add -p {other}{example}",
    modes=("MV-13",),
)
def weights_fit_other_plans(
    dataset: Dataset, plans: Plans, configuration: Configuration, weights: Weights
) -> Iterator[Found]:
    """Other plans of this dataset are the ones that belong to the weights.

    What it checks: whether these plans differ from the weights' own in network or input (spacing, normalisation, ...)
    while other plans in the folder agree with them in both; or, where the weights do not load, whether other plans have
    at least their network, as grafted ones do. Without `-p`, nnU-Net takes `nnUNetPlans`, and so does this comparison.

    Why it matters: every version of nnU-Net's instructions leaves `-p` out of the last command. Then the default plans
    train: with another network the weights are refused, with the same one the run silently uses the wrong spacing
    and normalisation.

    How to fix: name the right plans with `-p`.

    Example: `PretrainPlans.json` was migrated, and the training is about to be started without `-p PretrainPlans`.

    Evidence: MV-13; nnU-Net issues 2089, 2195, 2760, 2828.
    """
    from plansguard.subjects.weights import plans_in

    migration_record = known(lambda: dataset.migration_record(plans))
    if migration_record is not None and migration_record.workflow == "graft":
        return  # they differ on purpose, and PG625 tells in what
    theirs = plans_in(weights.checkpoint)
    name = weights.checkpoint.configuration
    differing = _unlike(theirs, plans, name)
    if name is None or not differing or any(obstacle.kind == "channels" for obstacle in weights.obstacles):
        return
    load = weights.load
    for other in _fitting(dataset, configuration, weights)[:1]:
        same = not _unlike(theirs, other, name)
        yield found(
            configuration.at(),
            related=[(other.at(), "the plans of the weights" if same else "plans with their network")],
            example="" if dataset.request.trainer else f": {_training(dataset, other, name, weights)}",
            belong="were trained with what stands in" if same else "load with",
            other=other.identifier,
            plans=plans.identifier,
            trouble=f"would feed them something else: {listed(differing)}" if load else "cannot load them",
        )


def _training(dataset: Dataset, plans: Plans, configuration: str, weights: Weights) -> str:
    words = f"nnUNetv2_train {number(dataset)} {configuration} 0 -p {plans.identifier}"
    return f"{words} -pretrained_weights {quoted(weights.checkpoint.path)}"


@rule(
    "PG625",
    "weights-saw-other-input",
    Severity.WARNING,
    message="the weights load into {configuration}, but in their training they saw something else than this run would "
    "feed them: {fields}",
    fix="to feed them what they saw: {migrate}, then preprocess; if the difference is meant, accept it in "
    "plansguard.json",
    modes=("AR-06", "NO-01", "IO-01"),
)
def weights_saw_other_input(
    dataset: Dataset, plans: Plans, configuration: Configuration, weights: Weights
) -> Iterator[Found]:
    """The weights load, and everything else differs.

    What it checks: where the weights would load, each field that decides what a network sees, in the plans inside the
    checkpoint and in these plans: spacing, normalisation, clip values and statistics of CT channels, masks, transpose,
    reader, resampling, patch, channel names; and settings of the network that no missing parameter shows, such as its
    nonlinearity, or layers of the weights for which it has no place. The table names both sides. An error where the
    normalisation differs or CT ranges overlap by less than 30 %; a warning for a spacing that differs by more than a
    quarter along an axis, CT ranges that overlap by less than 80 %, another transpose, preprocessor, reader, mask or
    network, a patch of less than half or more than twice the volume; otherwise for information. Plans that were
    migrated for fine-tuning are held to it: there a warning is an error, but for the patch, and for the reader, which a
    migration chooses by the dataset's files. Grafted plans keep their own spacing, normalisation and reader on purpose,
    so these are for information.

    Why it matters: nnU-Net compares names and shapes of parameters and nothing else. The training runs to its end, and
    its result may be worse than that of the weights themselves, without a hint. It is the most expensive mistake.

    How to fix: use the weights' plans, preprocess with them, train with `-p`.

    Example: MR data, z-scored, for weights that saw CT, clipped.

    Evidence: AR-06, NO-01, IO-01; nnU-Net issues 1383, 1400, 1659, 1951, 2775, TotalSegmentator issue 358.
    """
    from plansguard.subjects.input_comparison import (
        differences,  # like all of this module, only where weights are named
    )

    if not weights.load:
        return
    migration_record = known(lambda: dataset.migration_record(plans))
    rows = differences(weights, migration_record.workflow if migration_record is not None else None)
    if rows:
        worst = max((row.severity for row in rows), key=lambda severity: severity.rank)
        table = [["", "the weights saw", "this run feeds"]]
        table += [[row.field, _cell(row.saw), _cell(row.feeds), str(row.severity)] for row in rows]
        yield found(
            configuration.at(),
            severity=worst,
            related=[(Location(weights.checkpoint.path), "the weights")],
            configuration=configuration.name,
            fields=listed([row.field for row in rows if row.severity is worst]),
            fix=None if worst is not Severity.INFO else "nothing, if the difference is meant",
            migrate=migration_of(weights.checkpoint.path, dataset),
            table=table,
        )


@rule(
    "PG626",
    "channels-permuted",
    Severity.ERROR,
    message="the weights saw the channels {saw}, this dataset has them in the order {feeds}",
    fix="bring the channels into the order of the weights: rename the files _0000, _0001, ..., change channel_names, "
    "plan and preprocess again",
    modes=("AR-07",),
)
def channels_permuted(weights: Weights) -> Iterator[Found]:
    """The dataset has the weights' channels in another order.

    What it checks: the names of the channels in the checkpoint's dataset.json against this dataset's, in file order
    and without regard to case. The same names in another order are an error.

    Why it matters: the order of the files decides, not the names. The weights load, and see PET where they learned CT.

    How to fix: rename the image files so that the order is that of the weights.

    Example: `{"0": "CT", "1": "PET"}` in the weights, `{"0": "PET", "1": "CT"}` here.

    Evidence: AR-07; nnU-Net issues 1872, 2916.
    """
    from plansguard.subjects.input_comparison import permuted_channels

    names = permuted_channels(weights)
    if names is not None:
        saw, feeds = names
        at = weights.dataset_json.at(weights.dataset_json.channels_key)
        yield found(at, saw=brief(saw), feeds=brief(feeds))


@rule(
    "PG627",
    "weights-were-not-mirrored",
    Severity.WARNING,
    message="the weights were trained by {trainer}, which {habit}; this dataset tells left from right ({labels}), and "
    "{planned} mirrors{extent}",
    fix="fine-tune with the same trainer, or one that does not mirror: nnUNetv2_train ... -tr nnUNetTrainerNoMirroring",
    modes=("AR-11",),
)
def weights_were_not_mirrored(dataset: Dataset, weights: Weights) -> Iterator[Found]:
    """The weights were trained without mirroring, and the trainer that goes on with them mirrors.

    What it checks: whether the checkpoint allows no mirroring at inference, or not along every axis, or its trainer's
    name says NoMirroring, while this dataset has labels with a side in their names. The trainer that will train is the
    one that is named at the gate, as its source tells, and otherwise nnU-Net's default.

    Why it matters: with mirroring, left and right organs look the same in half of the samples: what the weights know
    about sides is unlearned.

    How to fix: use `-tr nnUNetTrainerNoMirroring`.

    Example: TotalSegmentator's weights, fine-tuned for `kidney_left` and `kidney_right`.

    Evidence: AR-11; nnU-Net issue 2089.
    """
    checkpoint, axes = weights.checkpoint, len(weights.configuration.require("patch_size"))
    mirrored = () if "NoMirroring" in (checkpoint.trainer or "") else checkpoint.mirroring_axes
    labels = [name for name in weights.dataset_json.require("labels") if _SIDES.search(name)]
    if mirrored is None or len(mirrored) >= axes or not labels:
        return
    planned = dataset.request.base_trainer or constants.DEFAULT_TRAINER
    from plansguard.nnunet.install.trainer_search import find_trainer

    found_class = find_trainer(planned)
    everywhere = planned == constants.DEFAULT_TRAINER if found_class is None else found_class.mirrors_every_axis
    if not everywhere and (mirrored or found_class is None or not found_class.mirrors):
        return
    habit = f"mirrors only along {listed([f'axis {axis}' for axis in mirrored])}" if mirrored else "does not mirror"
    trainer = checkpoint.trainer or "an unknown trainer"
    extent = " along every axis" if everywhere else ""
    at = weights.dataset_json.at("labels")
    yield found(at, trainer=trainer, habit=habit, labels=listed(labels), planned=planned, extent=extent)


@rule(
    "PG628",
    "head-starts-anew",
    Severity.INFO,
    message="the labels are those of the weights, but nnU-Net never loads segmentation layers: the first Dice will not "
    "be that of the weights",
    fix="nothing: the layers are learned again within a few epochs; to predict without training, use the weights as "
    "they are",
    modes=("AR-12", "LB-05"),
)
def head_starts_anew(weights: Weights) -> Iterator[Found]:
    """Weights with the very same labels lose their segmentation layers.

    What it checks: whether the labels in the checkpoint's dataset.json are this dataset's, in the same order.

    Why it matters: `-pretrained_weights` skips every `.seg_layers.`, also where they would fit. Who expects to start
    from the old Dice takes the low first values for a failure.

    How to fix: nothing is wrong.

    Example: a second hospital's scans with the labels of the first.

    Evidence: AR-12, LB-05; nnU-Net issues 774, 2252.
    """
    if weights.load and list(weights.their_dataset_json.require("labels").items()) == list(
        weights.dataset_json.require("labels").items()
    ):
        yield found(weights.dataset_json.at("labels"))


@rule(
    "PG629",
    "training-already-there",
    Severity.WARNING,
    message="{model} already holds {checkpoints} of a training with these plans{themselves}: starting again "
    "overwrites, and --c goes on without these weights",
    fix="give the new training plans of another name, or move {model} away",
    modes=("AR-13",),
)
def training_already_there(
    dataset: Dataset, plans: Plans, configuration: Configuration, weights: Weights
) -> Iterator[Found]:
    """A training with these plans is already in the results folder.

    What it checks: for weights that are to be fine-tuned, whether `nnUNet_results` holds checkpoints of this dataset,
    plans and configuration, of any trainer and fold. Of a training that is about to start PG721 says it exactly.

    Why it matters: without `--c` the earlier checkpoints are overwritten. `--c` with `-pretrained_weights` is refused,
    and `--c` where no checkpoint is found only warns and starts from random weights.

    How to fix: use another plans name for another experiment, or move the old results.

    Example: the second attempt at a fine-tuning.

    Evidence: AR-13; run/run_training.py, maybe_load_checkpoint.
    """
    for model in dataset.trained if dataset.request.trainer is None else ():
        if (model.plans_name, model.configuration) != (plans.identifier, configuration.name) or not model.checkpoints:
            continue
        own = os.path.realpath(weights.checkpoint.path) in map(os.path.realpath, model.checkpoints)
        yield found(
            configuration.at(),
            model=quoted(model.folder),
            checkpoints=listed([str(path.relative_to(model.folder)) for path in model.checkpoints]),
            themselves=", among them these very weights" if own else "",
        )


def _told(
    dataset: Dataset, configuration: Configuration, weights: Weights, *kinds: str, remedy: str = ""
) -> Iterator[Found]:
    """One finding for the obstacles of these kinds, unless one that explains them stands before them.

    Channels explain themselves: whatever else is mended, they stay.
    """
    all_kinds = [obstacle.kind for obstacle in weights.obstacles]
    if set(all_kinds[:1]) & set(kinds) or ("channels" in kinds and "channels" in all_kinds):
        causes = [obstacle.what for obstacle in weights.obstacles if obstacle.kind in kinds]
        yield found(
            configuration.at("architecture" if "architecture" in configuration.resolved else "patch_size"),
            related=[(Location(weights.checkpoint.path), "the weights")],
            configuration=configuration.name,
            causes="; ".join(causes),
            fix="take the plans that fit, see PG624" if _fitting(dataset, configuration, weights) else None,
            migrate=migration_of(weights.checkpoint.path, dataset),
            remedy=remedy,
            key=next((one.key for one in weights.obstacles if one.key), None),
        )


def _fitting(dataset: Dataset, configuration: Configuration, weights: Weights) -> list[Plans]:
    """Other plans of this dataset that agree with the weights' own in network and input, or at least in the network."""
    from plansguard.subjects.weights import plans_in

    theirs, name = known(lambda: plans_in(weights.checkpoint)), weights.checkpoint.configuration
    if theirs is None or name is None:
        return []
    others = [one for one in dataset.plans if one.path != configuration.plans.path and not one.problems]
    same = [one for one in others if not _unlike(theirs, one, name)]
    return same or [one for one in others if not weights.load and not _unlike(theirs, one, name, ("weights",))]


def _cell(value: object) -> str:
    return value if isinstance(value, str) else brief(value)


def _unlike(
    theirs: Plans, ours: Plans, configuration: str | None, facets: tuple[str, ...] = ("weights", "input")
) -> list[str]:
    """Fields of these facets in which these plans differ from the weights' own, without what a move rewrites."""
    if configuration not in ours.written:
        return [f"configuration {configuration}"]
    return [
        str(change.field)
        for change in plans_diff.edited(theirs.value, ours.value)
        if change.field.facet in facets
        and change.field.configuration in (None, configuration)
        and change.field.key != "image_reader_writer"
    ]
