"""PG41x: plans that would be moved from one dataset to another."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from plansguard.artefacts.checkpoint.checkpoint import Checkpoint, read_checkpoint
from plansguard.core.errors import UnreadableDocument, UnreadableFolder, known
from plansguard.core.report import Severity
from plansguard.core.text import differ, listed
from plansguard.documents import size_limits
from plansguard.nnunet import constants, plans_diff, printed_commands
from plansguard.nnunet.workspace import dataset_id, trained_models
from plansguard.records.migration import DERIVE
from plansguard.rules.engine.declare import Found, found, rule
from plansguard.rules.engine.helpers import trained_otherwise
from plansguard.subjects.pair import DatasetPair, Pair, dataset_json_of
from plansguard.subjects.pretraining import as_file, pretraining_among
from plansguard.subjects.trained_models import differing_fields, trained_with


@rule(
    "PG410",
    Severity.ERROR,
    message="these plans move the wrong way for --workflow {workflow}: {because}",
    fix="{instead}",
)
def reversed_direction(pair: Pair) -> Iterator[Found]:
    """The plans move the wrong way.

    What it checks: files on disk against the declared workflow. To fine-tune, plans go from the dataset with the
    trained weights to the other; to pretrain, from the fine-tuning dataset to the one to be pretrained. Evidence
    against a direction is a migration record or medians by which the plans came from the receiving dataset, or a model
    of that dataset that was trained with these very plans. Other models of it, such as a baseline, are no evidence.

    Why it matters: the pretraining dataset keeps its own network, and the mismatch appears when fine-tuning starts, or
    never. A whole pretraining runs before. nnU-Net's own instructions printed the reversed command for years.

    How to fix: run the command that is named, or declare the other workflow.

    Example: `plansguard migrate -s 2 -t 1 -sp PretrainPlans -tp X` for plans that came from Dataset001.

    Evidence: MV-01, MV-02; nnU-Net issues 1464, 1477, 1684, 1970, 2229, 2368, 2440.
    """
    from plansguard.subjects.direction import judge_direction  # only for a migration

    direction = judge_direction(pair)
    if direction.against:
        because = "; ".join(direction.against)
        yield found(pair.result.at(), workflow=pair.workflow, because=because, instead=direction.instead)


@rule(
    "PG411",
    Severity.WARNING,
    message="nothing shows that this direction is right: {open_question}",
    fix="{settle}",
    follows=("PG414",),  # between other channels no direction is possible
)
def direction_unproven(pair: Pair) -> Iterator[Found]:
    """Nothing shows that the direction is right.

    What it checks: at least one file on disk supports the declared workflow: a trained model of the pretraining dataset
    with these plans (finetune, graft), plans that were made for the fine-tuning dataset (pretrain), or the record of an
    earlier migration in the same direction.

    Why it matters: a reversed move costs a pretraining (see PG410), and without evidence it looks like a right one.

    How to fix: read the sentence that `plansguard migrate` prints first, and go on if it is what you mean. `-s` with
    the path of the weights (a checkpoint, a model folder, a zip) instead of the dataset provides the evidence.

    Example: the weights were downloaded to a folder outside `nnUNet_results`.

    Evidence: MV-01; "How the direction is judged" in docs/workflows.md.
    """
    from plansguard.subjects.direction import judge_direction  # only for a migration

    direction = judge_direction(pair)
    if not direction.against and direction.open_question:
        yield found(pair.at, changed=[pair.at], open_question=direction.open_question, settle=direction.settle)


@rule(
    "PG412",
    Severity.ERROR,
    message="{dataset} already has other plans named {identifier}: {difference}",
    fix="choose another name with -tp; {command} --force replaces the plans and keeps a backup",
    overruled_by="--force replaces the plans and keeps a backup",
)
def would_overwrite(pair: Pair) -> Iterator[Found]:
    """Other plans of that name would be overwritten.

    What it checks: the receiving folder has no plans of the new name, or has exactly these.

    Why it matters: results of that name would belong to plans that no longer exist. The next preprocessing deletes the
    data folder they shared. nnU-Net's own move overwrites the dataset's own plans without asking.

    How to fix: choose a name that is free. `--force` replaces the plans and keeps a backup beside them. plansguard.json
    can neither ignore this finding nor change its severity.

    Example: `-tp nnUNetPlans` into a dataset that has been planned.

    Evidence: MV-03; nnU-Net issues 1464, 1650.
    """
    if pair.existing is None or pair.existing == pair.result.document.raw:
        return
    try:
        changes = list(plans_diff.edited(size_limits.parse(pair.existing, "existing").value, pair.result.value))
    except (UnreadableDocument, AttributeError, TypeError):
        changes = []
    made, fix = pair.replaced, None
    origin = made.value["from"]["plans"] if made is not None and made.giving == pair.giving.name else None
    if origin not in (None, pair.plans.identifier):
        fix = f"they were migrated from {origin}: name these with -sp, or choose another name with -tp"
    yield found(
        pair.result.at(),
        severity=Severity.WARNING if pair.force else None,
        fix="--force was given: the old plans are kept as a backup beside the new ones" if pair.force else fix,
        identifier=pair.result.identifier,
        difference=differ([str(one.field) for one in changes if one.field.facet != "bookkeeping"] or ["their format"]),
        command="derive" if pair.workflow == DERIVE else "migrate",
    )


@rule(
    "PG413",
    Severity.WARNING,
    message="nnU-Net's planner uses the name {identifier} itself",
    fix="choose a name of its own with -tp, such as {better}",
)
def default_name_for_migrated_plans(pair: Pair) -> Iterator[Found]:
    """Migrated plans would have the default name of a planner.

    What it checks: the new identifier is none that nnU-Net's planners use themselves.

    Why it matters: planning this dataset, as with `nnUNetv2_plan_and_preprocess`, overwrites the file. The name does
    not show that the plans are another dataset's, and their data folder is the one that default plans use.

    How to fix: choose a name that states the origin of the plans.

    Example: `-tp nnUNetResEncUNetMPlans`.

    Evidence: MV-03; the help text of `nnUNetv2_move_plans_between_datasets` advises against it.
    """
    identifier = pair.result.identifier
    if identifier in constants.PLANNER_OF_IDENTIFIER:
        number = dataset_id(pair.giving.name)
        better = f"{pair.plans.identifier}_from{number.zfill(3) if number else 'Pretraining'}"
        better = f"{pair.plans.identifier}_derived" if pair.workflow == DERIVE else better
        yield found(pair.result.at(), identifier=identifier, better=better)


@rule(
    "PG414",
    Severity.ERROR,
    message="{difference}: {theirs} in {giving}, {ours} in {receiving}",
    fix="{advice}",
)
def channels_differ(datasets: DatasetPair) -> Iterator[Found]:
    """The two datasets do not have the same channels.

    What it checks: number, names and order of the channels in both dataset.json. nnU-Net ignores the keys of
    `channel_names`: the order in the file counts, and letter case does not.

    Why it matters: another number does not fit the first convolution; in another order every weight is applied to the
    wrong image. The number of normalization schemes does not fit either. With another order everything loads.

    How to fix: bring the receiving dataset's channels into the order of the other (file suffixes `_0000`, `_0001`, ...
    and `channel_names` together). Plans for another number of channels cannot be moved: plan the dataset, or let
    `plansguard adapt` give the weights its channels.

    Example: `T1, T2` here and `T2, T1` there.

    Evidence: MV-15; AR-03, AR-07; nnU-Net issues 2252, 2442, 2916.
    """
    dataset_json = dataset_json_of(datasets.receiving)
    theirs, ours = dataset_json_of(datasets.giving).channels, dataset_json.channels
    if difference := _compare_channels([name.casefold() for name in theirs], [name.casefold() for name in ours]):
        severity, what, advice = difference
        fits = len(theirs) == len(ours)
        adapt = "" if fits else _adapting(datasets)
        yield found(
            dataset_json.at(dataset_json.channels_key),
            severity=severity,
            changed=[] if fits else [datasets.at],
            giving=datasets.giving.name,
            theirs=listed(theirs),
            receiving=datasets.receiving.name,
            ours=listed(ours),
            difference=what,
            advice=f"adapt the weights, and move the plans of the new file: {adapt}" if adapt else advice,
        )


def _adapting(pair: DatasetPair) -> str:
    """Return the command that gives weights the receiving dataset's channels; empty without such weights."""
    if not isinstance(pair, Pair):
        return ""
    from plansguard.subjects.adaptation_command import own_network_command  # only where the channels differ
    from plansguard.subjects.weights import Weights

    receiving = pair.receiving
    for configuration in pair.result.usable_configurations:
        checkpoint = receiving.request.weights or _trained_weights(pair, configuration.name)
        if checkpoint is not None and configuration.name == checkpoint.configuration:
            weights = Weights(checkpoint, configuration, receiving.dataset_json)
            file = as_file(Path(checkpoint.path), receiving.workspace.results)
            if command := own_network_command(weights, receiving, file.path):
                return printed_commands.chain(*file.before, command)
    return ""


def _trained_weights(pair: Pair, configuration: str) -> Checkpoint | None:
    """The weights of the giving dataset that its plans were trained to, where they exist already."""
    results = pair.giving.workspace.results
    if pair.workflow == "pretrain" or results is None:
        return None
    try:
        models = [one for one in trained_models(results, pair.giving.name) if one.plans_name == pair.plans.identifier]
        found = pretraining_among(models, pair.giving.name, configuration)
        return read_checkpoint(found.path) if found is not None and found.is_there else None
    except (UnreadableDocument, UnreadableFolder):
        return None


def _compare_channels(theirs: list[str], ours: list[str]) -> tuple[Severity, str, str] | None:
    """Return the severity of a difference, its name and the advice; None where there is no difference."""
    if len(theirs) != len(ours):
        return (
            Severity.ERROR,
            "another number of channels",
            "plans cannot move between them; plan the receiving dataset by itself",
        )
    if theirs == ours:
        return None
    if sorted(theirs) == sorted(ours):
        return (
            Severity.ERROR,
            "the same channels in another order",
            "reorder the channels of one dataset: its image suffixes and channel_names together",
        )
    return (
        Severity.WARNING,
        "other names of channels, perhaps other images",
        "if they show the same kind of image, give them the same names; else do not move the plans",
    )


@rule(
    "PG415",
    Severity.WARNING,
    message="{giving} holds {theirs} images, {receiving} holds {ours} images",
    fix="if training slice by slice is meant, nothing; else plan {receiving} by itself",
)
def dimensions_of_datasets_differ(datasets: DatasetPair) -> Iterator[Found]:
    """One dataset holds 2D images, the other 3D images.

    What it checks: the median shape on both sides. nnU-Net reads a 2D image as a volume of one slice. It is an error
    where a configuration whose name begins with 3d was named: 2D images have none.

    Why it matters: a 2D network sees volumes slice by slice, and for a 3D one a single slice is repeated hundreds of
    times. Preprocessing and training run without a word in both cases.

    How to fix: move a 2d configuration only (`-c 2d`), or plan the receiving dataset by itself.

    Example: plans of a CT dataset for a dataset of PNG images.

    Evidence: MV-15, D2-01; nnU-Net issues 2013, 2251.
    """
    giving, receiving = datasets.giving, datasets.receiving
    flat = {"theirs": datasets.gives_flat_images(), "ours": receiving.fingerprint.valid.is_flat}
    if flat["theirs"] != flat["ours"]:
        sides = {side: "2D" if is_flat else "3D" for side, is_flat in flat.items()}
        values = {"giving": giving.name, "receiving": receiving.name, **sides}
        named = datasets.configurations
        severity = Severity.ERROR if any(name.startswith("3d") for name in named) else None
        fix = None
        if severity or (flat["ours"] and not named):
            fix = "name a 2d configuration (-c 2d), or plan {receiving} by itself"
        elif flat["ours"]:
            fix = "if a 2d configuration of volumes is meant, nothing; else plan {receiving} by itself"
        yield Found(datasets.at, values, severity, fix=fix)


@rule(
    "PG416",
    Severity.INFO,
    message="the reader {reader} was chosen without the raw images of {dataset}, which are not here",
    fix="nothing, unless another reader opens these images: then name it with --reader",
)
def raw_images_absent(pair: Pair) -> Iterator[Found]:
    """The receiving dataset's raw images are not here.

    What it checks: `nnUNet_raw/<dataset>/imagesTr` of the receiving dataset exists.

    Why it matters: preprocessing still needs the images, and nnU-Net's own move opens one to choose the reader. It
    stops without it; plansguard decides by dataset.json, the file ending or existing plans.

    How to fix: nothing, if preprocessing runs where the images are.

    Example: a cluster that only holds `nnUNet_preprocessed`.

    Evidence: MV-16; TotalSegmentator issue 298.
    """
    if pair.workflow != DERIVE and known(lambda: pair.receiving.raw_images) is None:
        reader = pair.result.value.get("image_reader_writer")
        yield found(pair.result.at("image_reader_writer"), reader=reader)


@rule(
    "PG417",
    Severity.WARNING,
    message="{dataset} already has these plans, as {identifiers}",
    fix="no new ones are needed: a training takes these with {option}",
)
def plans_already_there(pair: Pair) -> Iterator[Found]:
    """The receiving dataset already has the same plans under another name.

    What it checks: no plans in the receiving folder have the same network, input and training fields. Plans that are
    there under the very name, as after nnU-Net's own move, are no second name: the migration adds their record. Plans
    that were migrated for weights do not serve a pretraining: without weights it is refused (PG737).

    Why it matters: two names for the same plans are a chance to take the wrong one. Migrated plans have data of their
    own, which are preprocessed a second time. After `--workflow pretrain` the fine-tuning dataset already has the plans
    that its pretraining used.

    How to fix: train with the existing plans.

    Example: Dataset002's plans were moved to Dataset001 for a pretraining, and are now moved back.

    Evidence: MV-01; MV-13; nnU-Net issue 2440.
    """
    from plansguard.subjects.direction import judge_direction, own_plans_like, use_one_of  # only for a migration

    twins = own_plans_like(pair) if pair.existing != pair.result.document.raw else []
    if pair.workflow == "pretrain":
        records = {plans.identifier: pair.receiving.brought_by(plans) for plans in pair.receiving.plans}
        twins = [name for name in twins if (record := records.get(name)) is None or record.workflow == "pretrain"]
    if twins and not judge_direction(pair).against:
        yield found(pair.result.at(), identifiers=listed(twins), option=use_one_of(twins))


@rule(
    "PG418",
    Severity.ERROR,
    message="{model} was trained with other plans: {difference}",
    fix="to use its weights, move the plans it was trained with: {command}",
)
def weights_from_other_plans(pair: Pair) -> Iterator[Found]:
    """The weights were trained with other plans than those that would be moved.

    What it checks: for `finetune` and `graft`, the plans that move against nnU-Net's copy beside each trained model of
    that name: the network, and for `finetune` also spacing, normalization and the other input fields. A warning where
    another model was trained with the plans as they are. With `-c`, only models of these configurations count.

    Why it matters: the weights would not load into these plans, or would be trained on images unlike those of their
    pretraining. The plans were edited or planned again after the training: the moved plans would describe weights that
    do not exist.

    How to fix: put the model's own copy back under the plans' name in `nnUNet_preprocessed`, or move that copy.

    Example: `nnUNetv2_plan_experiment` was run again after the pretraining.

    Evidence: MV-01, MV-14; AR-06.
    """
    if pair.workflow in ("pretrain", DERIVE):
        return
    from plansguard.subjects.direction import command_from  # only for a migration

    facets = ("weights",) if pair.workflow == "graft" else ("weights", "input")
    models = [model for model in trained_with(pair.giving, pair.plans.identifier) if pair.asks_for(model.configuration)]
    some_fit = any(differing_fields(model, pair.plans, facets) == [] for model in models)
    for one in trained_otherwise(pair.result.at(), models, pair.plans, facets):
        folder = Path(one.related[0].location.path).parent
        one.values["command"] = command_from(pair, str(folder))
        yield replace(one, severity=Severity.WARNING if some_fit else None)
