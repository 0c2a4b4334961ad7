"""PG62x: weights that are to be fine-tuned, against the configuration that would load them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from plansguard.core import disk
from plansguard.core.errors import known
from plansguard.core.report import Severity
from plansguard.core.text import brief, counted, listed
from plansguard.nnunet import constants, plans_diff
from plansguard.rules.engine.declare import Found, found, rule
from plansguard.rules.pg6_weights.places import place_of_field, place_of_obstacle
from plansguard.rules.pg6_weights.remedies import (
    adapted_head,
    fine_tuning,
    migration,
    other_channels,
    without_migration,
    without_mirroring,
)
from plansguard.subjects.dataset import Dataset
from plansguard.subjects.plans import Plans
from plansguard.training.trainer_name import keeps_head

if TYPE_CHECKING:
    from plansguard.subjects.weights import Weights

#: Names of structures that have a mirror image, which only a network trained without mirroring distinguishes.
_SIDES = re.compile(r"(^|[\W_])(left|right|links|rechts|l|r)([\W_]|$)", re.IGNORECASE)


@rule(
    "PG620",
    Severity.ERROR,
    message="the weights do not load into {configuration}: {cause}",
    fix="use plans with the network of the weights: {migrate}; or pretrain again with these plans",
    follows=("PG624",),
)
def other_network(dataset: Dataset, weights: Weights) -> Iterator[Found]:
    """The weights belong to another kind of network.

    What it checks: the network that the parameters' names show (plain U-Net, residual encoder) against that of the
    configuration. Networks whose parameters are unknown are compared by the plans in the checkpoint.

    Why it matters: nnU-Net stops: `Key encoder.stages.0.blocks.0.conv1... is missing in the pretrained model weights`.
    The parameters of the two networks have different names.

    How to fix: migrate the weights' plans to this dataset, or use weights of the same kind of network.

    Example: weights of `nnUNetPlans` for a run with `nnUNetResEncUNetLPlans`.

    Evidence: AR-02; nnU-Net issues 2010, 2860, MultiTalent issue 15.
    """
    yield from _misfit(dataset, weights, "network")


@rule(
    "PG621",
    Severity.ERROR,
    message="the weights do not load into {configuration}: {cause}",
    fix="{remedy}",
    follows=("PG414",),
)
def input_channels_differ(dataset: Dataset, weights: Weights) -> Iterator[Found]:
    """The weights take another number of input channels.

    What it checks: the input channels of the first convolution against `channel_names` of dataset.json; for the second
    stage of a cascade one more per foreground label, because its input includes the first stage's segmentation.

    Why it matters: nnU-Net does not adapt the first layer. Neither does `-pretrained_weights`. A cascade stage loads
    only weights for as many labels.

    How to fix: let `plansguard adapt` match the channels by name, or choose weights with these channels. nnU-Net trains
    the second stage of a cascade without weights; `adapt` gives zeros to labels that weights of another stage lack.

    Example: weights of a CT model for PET and CT.

    Evidence: AR-03, CA-04; nnU-Net issue 2252, where a maintainer says that this is not supported.
    """
    yield from _misfit(dataset, weights, "channels", remedy=other_channels(dataset, weights))


@rule(
    "PG622",
    Severity.ERROR,
    message="the weights do not load into {configuration}: {cause}",
    fix="{remedy}",
)
def weights_of_other_dimension(dataset: Dataset, weights: Weights) -> Iterator[Found]:
    """Weights of a 2D network are named for a 3D configuration, or the reverse.

    What it checks: the axes of the convolutions in the checkpoint against those of the configuration's patch.

    Why it matters: nnU-Net stops: convolutions in 2D and 3D have weights of different shapes.

    How to fix: train the configuration that the weights were trained as, if this dataset has it.

    Example: weights of `2d` given to a `3d_fullres` run.

    Evidence: AR-04; nnU-Net issue 2152.
    """
    from plansguard.subjects.weights import axes_of, with_axes

    configuration, axes = weights.configuration, axes_of(weights.checkpoint)
    same = [other.name for other in with_axes(configuration.plans.configurations, axes)]
    remedy = f"use weights of {len(configuration.require('patch_size'))}D images"
    remedy = f"train {' or '.join(same)} with these weights" if same else remedy
    yield from _misfit(dataset, weights, "dimensions", remedy=remedy)


@rule(
    "PG623",
    Severity.ERROR,
    message="the weights do not load into {configuration}: {cause}",
    fix="migrate the weights' plans to this dataset: {migrate}, then preprocess; or pretrain again with these plans",
    follows=("PG624",),
)
def other_topology(dataset: Dataset, weights: Weights) -> Iterator[Found]:
    """The network of the weights differs in stages, poolings, kernels, features or blocks.

    What it checks: names and shapes of all parameters that the configuration's network has, derived from its plans,
    against those in the checkpoint. Segmentation layers do not count, and more layers in the checkpoint do no harm,
    because nnU-Net ignores both. The causes are named by stage and axis; stages count from 0, as in `strides`.

    Why it matters: nnU-Net stops, and its message prints the weights themselves and hides the cause. The planner makes
    a network for each dataset, so a checkpoint fits one dataset by chance and not the next.

    How to fix: migrate the weights' plans and preprocess. `plansguard fit` lists what a checkpoint needs, per dataset.

    Example: stage 4 pools [1, 2, 2] here and [2, 2, 2] in the weights.

    Evidence: AR-01, AR-05, MV-11; nnU-Net issues 1854, 2089, 2152, 2609, 2760, 2775.
    """
    yield from _misfit(dataset, weights, "topology", "features", "blocks", "layers", "parameters")


@rule(
    "PG624",
    Severity.ERROR,
    message="the weights {belong} {other}, and {plans} {trouble}",
    fix="add -p {other}{example}",
)
def weights_fit_other_plans(dataset: Dataset, weights: Weights) -> Iterator[Found]:
    """Other plans of this dataset are those of the weights.

    What it checks: whether these plans differ from the weights' own in network or input (spacing, normalization, ...)
    while other plans in the folder agree with them in both; or, where the weights do not load, whether other plans have
    at least their network, as grafted ones do. Without `-p`, nnU-Net takes `nnUNetPlans`, and so does this comparison.
    A warning where the weights load and PG625 has only differences for information.

    Why it matters: other plans train than those of the weights: they do not load, or spacing and normalization are
    silently wrong. Every version of nnU-Net's instructions leaves `-p` out of the last command, and the default plans
    train.

    How to fix: name the right plans with `-p`.

    Example: `PretrainPlans.json` was migrated, and the training is about to be started without `-p PretrainPlans`.

    Evidence: MV-13; nnU-Net issues 2089, 2195, 2760, 2828.
    """
    from plansguard.subjects.weights import plans_in

    plans, name = weights.configuration.plans, weights.checkpoint.configuration
    if dataset.migrated_with(plans) == "graft":
        return  # they differ on purpose; PG625 reports in which fields
    theirs = plans_in(weights.checkpoint)
    differing = _differing_fields(theirs, plans, name)
    if name is None or not differing or any(obstacle.kind == "channels" for obstacle in weights.obstacles):
        return
    for other in _fitting_plans(dataset, weights)[:1]:
        same = not _differing_fields(theirs, other, name)
        yield found(
            weights.configuration.at(),
            severity=Severity.WARNING if _serve_as_they_are(dataset, weights) else None,
            related=[(other.at(), "the plans of the weights" if same else "plans with their network")],
            changed=[plans.at()],  # all that is wrong with them has this cause
            example="" if dataset.request.trainer else fine_tuning(dataset, weights, other),
            belong="were trained with" if same else "load with",
            other=other.identifier,
            trouble=f"has another {listed(differing, shown=1)}" if weights.load else "cannot load them",
        )


@rule(
    "PG625",
    Severity.WARNING,
    message="the weights load into {configuration}, but were trained on other input: {fields}",
    fix="for the same input: {migrate}, then preprocess; if the difference is meant, accept it in plansguard.json",
    follows=("PG401", "PG402", "PG403", "PG624"),
)
def weights_saw_other_input(dataset: Dataset, weights: Weights) -> Iterator[Found]:
    """The weights load, but the input of this run differs from that of their training.

    What it checks: where the weights would load, each field that decides the input of a network, in the plans inside
    the checkpoint and in these plans: spacing, normalization, clip values and statistics of CT channels, masks,
    transpose, reader, resampling, patch, channel names; and settings of the network that no missing parameter shows,
    such as its nonlinearity, or layers of the weights that it does not have. An error where the normalization differs
    or CT ranges overlap by less than 30 %; a warning for a spacing that differs by more than a quarter along an axis,
    CT ranges that overlap by less than 80 %, another transpose, preprocessor, reader, mask or network, a patch of less
    than half or more than twice the volume; otherwise for information. For plans that were migrated for fine-tuning a
    warning becomes an error, except for the patch, and for the reader, which a migration chooses by the dataset's
    files. For information: spacing, normalization and reader of grafted plans; the reader for files that the weights'
    own reader is not for, such as PNG; spacing and patch of weights of a cascade's first stage, adapted to its second.
    Plans without their migration record are not known as migrated: PG311 reports them.

    Why it matters: the training runs to its end, and may be worse than the weights themselves, without a warning.
    nnU-Net compares names and shapes of parameters and nothing else. It is the most expensive mistake.

    How to fix: use the weights' plans, preprocess with them, train with `-p`. Where the patch alone differs, that of
    the weights is enough. To the second stage of a cascade, adapt weights of the configuration that it inherits from.

    Example: MR data, z-scored, for weights that were trained on CT, clipped.

    Evidence: AR-06, NO-01, IO-01; nnU-Net issues 1383, 1400, 1659, 1951, 2775, TotalSegmentator issue 358.
    """
    from plansguard.subjects.input_comparison import differences  # only needed where weights are named

    configuration = weights.configuration
    rows = differences(weights, dataset.promised_input(configuration.plans)) if weights.load else []
    if rows:
        worst = max((row.severity for row in rows), key=lambda severity: severity.rank)
        gravest = [row for row in rows if row.severity is worst]
        table = [["", "their training", "this run"]]
        table += [[row.field, _cell(row.saw), _cell(row.feeds), str(row.severity)] for row in rows]
        graver = (row for row in rows if row.severity is not Severity.INFO)
        reader = next((str(row.saw) for row in graver if row.field == "image_reader_writer"), None)
        yield found(
            configuration.at(),
            severity=worst,
            changed=[place_of_field(row.field, configuration) for row in gravest],
            fields=listed([row.field for row in gravest]),
            fix=without_migration(weights, rows, worst),
            migrate=migration(dataset, weights, reader),
            table=table,
        )


@rule(
    "PG626",
    Severity.ERROR,
    message="the weights were trained on the channels {saw}, this dataset has {feeds}",
    fix="bring the channels into the order of the weights: file names _0000, _0001, ... and channel_names; "
    "then plan and preprocess again",
)
def channels_permuted(weights: Weights) -> Iterator[Found]:
    """The dataset has the weights' channels in another order.

    What it checks: the channel names of both dataset.json, in file order and without regard to case.

    Why it matters: the weights load, and what they learned on one channel is applied to another. The order of the files
    decides: what was learned on CT is applied to PET.

    How to fix: rename the image files so that the order is that of the weights.

    Example: `{"0": "CT", "1": "PET"}` in the weights, `{"0": "PET", "1": "CT"}` here.

    Evidence: AR-07; nnU-Net issues 1872, 2916.
    """
    from plansguard.subjects.input_comparison import permuted_channels

    if names := permuted_channels(weights):
        at = weights.dataset_json.at(weights.dataset_json.channels_key)
        yield found(at, saw=brief(names[0]), feeds=brief(names[1]))


@rule(
    "PG627",
    Severity.WARNING,
    message="the weights were trained {habit}, and {planned} mirrors{extent} ({labels})",
    fix="fine-tune with the same trainer, or one that does not mirror{training}",
)
def weights_were_not_mirrored(dataset: Dataset, weights: Weights) -> Iterator[Found]:
    """The weights were trained without mirroring, and the trainer that fine-tunes them mirrors.

    What it checks: whether the checkpoint allows no mirroring at inference, or not along every axis, or its trainer's
    name contains NoMirroring, while this dataset has labels with a side in their names. The trainer that will train is
    the one named at the gate, judged by its source, and otherwise nnU-Net's default.

    Why it matters: with mirroring, left and right look the same in half of the samples: the weights unlearn the sides.

    How to fix: use `-tr nnUNetTrainerNoMirroring`.

    Example: TotalSegmentator's weights, fine-tuned for `kidney_left` and `kidney_right`.

    Evidence: AR-11; nnU-Net issue 2089.
    """
    from plansguard.nnunet.install.trainer_search import find_trainer

    checkpoint, axes = weights.checkpoint, len(weights.configuration.require("patch_size"))
    mirrored = () if "NoMirroring" in (checkpoint.trainer or "") else checkpoint.mirroring_axes
    labels = [name for name in weights.dataset_json.require("labels") if _SIDES.search(name)]
    if mirrored is None or len(mirrored) >= axes or not labels:
        return
    planned = dataset.request.base_trainer or constants.DEFAULT_TRAINER
    planned_class = find_trainer(planned)
    everywhere = planned_class.mirrors_every_axis if planned_class else planned == constants.DEFAULT_TRAINER
    only = " and ".join(map(str, mirrored))
    habit = f"with mirroring of axis {only} only" if mirrored else "without mirroring"
    if everywhere or (planned_class and planned_class.mirrors and not mirrored):
        yield found(
            weights.dataset_json.at("labels", labels[0]),
            trainer=checkpoint.trainer or "an unknown trainer",
            habit=habit,
            labels=listed(labels, shown=1),
            planned=planned,
            extent=" every axis" if everywhere else "",
            training=without_mirroring(dataset, weights),
        )


@rule(
    "PG628",
    Severity.INFO,
    message="nnU-Net does not load the segmentation layers, {belonging}",
    fix="nothing: they are learned again within a few epochs; a training in steps with --keep-head begins with them",
)
def head_starts_anew(dataset: Dataset, weights: Weights) -> Iterator[Found]:
    """Weights with the same labels lose their segmentation layers.

    What it checks: whether the labels in the checkpoint's dataset.json are this dataset's, in the same order.

    Why it matters: a low first Dice is no failure: `-pretrained_weights` skips every `.seg_layers.`, even fitting ones.

    How to fix: nothing is wrong. A trainer of a number of steps with `keephead` in its name loads them as well. To
    predict without training, use the weights as they are. Of weights that `plansguard adapt` wrote only the classes
    that it kept have layers of the weights; all others have nnU-Net's initial values there.

    Example: a second hospital's scans with the labels of the first.

    Evidence: AR-12, LB-05; nnU-Net issues 774, 2252.
    """
    if weights.load and not keeps_head(dataset.request.trainer):
        theirs, ours = (side.require("labels") for side in (weights.their_dataset_json, weights.dataset_json))
        if list(theirs.items()) == list(ours.items()):
            yield found(weights.dataset_json.at("labels"), **adapted_head(weights))


@rule(
    "PG629",
    Severity.INFO,
    message="{configuration} was trained with these plans before: {folds}{themselves}",
    fix="nothing, for another fold or trainer; the gate refuses the same ones (PG721)",
)
def training_already_there(dataset: Dataset, weights: Weights) -> Iterator[Found]:
    """A training with these plans is already in the results folder.

    What it checks: for weights that are to be fine-tuned, whether `nnUNet_results` holds checkpoints of this dataset,
    plans and configuration, of any trainer and fold, or of that of `check -tr`. A check does not know the fold of the
    training that follows, so this is for information. With `check --resume auto` a training that is there is
    continued. For a training that is about to start PG721 checks its own folder.

    Why it matters: without `--c`, nnU-Net's trainers overwrite checkpoints of the same fold; those in steps refuse to
    begin. `--c` with `-pretrained_weights` is refused, and `--c` where no checkpoint
    is found only warns and starts from random weights.

    How to fix: another fold and another trainer, also with another number of steps, have folders of their own. For the
    same fold and trainer, give the plans another name, or move the old results.

    Example: the second attempt at a fine-tuning.

    Evidence: AR-13; run/run_training.py, maybe_load_checkpoint.
    """
    configuration = weights.configuration
    same = configuration.plans.identifier, configuration.name
    request = dataset.request
    models = () if request.starts or request.resumes else dataset.trained
    models = tuple(model for model in models if request.trainer in (None, model.trainer))
    paths = [path for model in models if (model.plans_name, model.configuration) == same for path in model.checkpoints]
    if paths:
        own = disk.real(weights.checkpoint.path) in map(disk.real, paths)
        folds = dict.fromkeys(f"{path.parent.parent.name}/{path.parent.name}" for path in paths)
        themselves = ", with these weights among the results" if own else ""
        yield found(configuration.at(), folds=listed(list(folds), shown=1), themselves=themselves)


def _misfit(dataset: Dataset, weights: Weights, *kinds: str, remedy: str = "") -> Iterator[Found]:
    """Yield one finding for the obstacles of these kinds, unless an obstacle of another kind explains them.

    Input channels are always reported: they differ even when all other obstacles are removed.
    """
    obstacles, configuration = weights.obstacles, weights.configuration
    causes = [obstacle for obstacle in obstacles if obstacle.kind in kinds]
    if causes and (obstacles[0].kind in kinds or "channels" in kinds):
        more = f" and {counted(len(causes) - 1, 'more difference')}" if len(causes) > 1 else ""
        of_channels = any(obstacle.kind == "channels" for obstacle in obstacles)
        fix = "use the plans that fit, see PG624" if not of_channels and _fitting_plans(dataset, weights) else None
        yield found(
            place_of_obstacle(configuration, causes[0]),
            changed=[configuration.at()],
            cause=f"{causes[0].clause}{more}",
            causes=[obstacle.what for obstacle in causes],
            fix="the channels differ as well: begin with PG621" if of_channels and "channels" not in kinds else fix,
            migrate=migration(dataset, weights),
            remedy=remedy,
            key=next((obstacle.key for obstacle in obstacles if obstacle.key), None),
        )


def _fitting_plans(dataset: Dataset, weights: Weights) -> list[Plans]:
    """Return other plans of this dataset that agree with the weights' in network and input, or else in the network.

    None are needed where these plans do, or are grafted.
    """
    from plansguard.subjects.weights import names_for, plans_in

    theirs, name = known(lambda: plans_in(weights.checkpoint)), weights.checkpoint.configuration
    ours = weights.configuration.plans
    if theirs is None or name is None or dataset.migrated_with(ours) == "graft":
        return []
    if not _differing_fields(theirs, ours, name):
        return []
    needed, every = names_for(weights.checkpoint)[0], dataset.plans
    others = [plans for plans in every if plans.path != ours.path and not plans.problems and needed in plans.written]
    same = [plans for plans in others if not _differing_fields(theirs, plans, name)]
    if same or weights.load:
        return same
    return [plans for plans in others if not _differing_fields(theirs, plans, name, ("weights",))]


def _serve_as_they_are(dataset: Dataset, weights: Weights) -> bool:
    """Whether the weights load, and what they saw differs only a little from the input of this run."""
    from plansguard.subjects.input_comparison import differences  # only needed where weights are named

    rows = differences(weights, dataset.promised_input(weights.configuration.plans)) if weights.load else None
    return rows is not None and all(row.severity is Severity.INFO for row in rows)


def _cell(value: object) -> str:
    return value if isinstance(value, str) else brief(value)


def _differing_fields(
    theirs: Plans, ours: Plans, configuration: str | None, facets: tuple[str, ...] = ("weights", "input")
) -> list[str]:
    """Return the fields of these facets in which plans differ from the weights' own, except the reader.

    A migration chooses the reader by the dataset's files.
    """
    if configuration not in ours.written:
        return [f"configuration {configuration}"]
    fields = plans_diff.edited_fields(theirs.value, ours.value, facets, configuration)
    return [field for field in fields if field != "image_reader_writer"]
