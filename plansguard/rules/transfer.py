"""PG4xx: plans that moved, or are about to."""

from __future__ import annotations

from collections.abc import Iterator

from plansguard import changes, facts, jsondoc
from plansguard.direction import judge_direction, own_plans_like
from plansguard.errors import UnreadableDocument
from plansguard.record import Record
from plansguard.report import Location, Severity
from plansguard.rules.common import brief, listed
from plansguard.rules.declare import Found, found, rule
from plansguard.subject import SIDECAR_ENDING, Absent, Pair, Plans
from plansguard.workspace import TrainedModel

_EDITED = "{field} was {then} when the plans were migrated from {origin}, and is {now} now"


@rule(
    "PG401",
    "migrated-weights-field-edited",
    Severity.ERROR,
    message=_EDITED + ": the weights they were migrated for will not load",
    fix="set {field} back to {then}, or keep the edit under another plans name and without these weights",
    modes=("MV-01",),
)
def migrated_weights_field_edited(plans: Plans, lineage: Record) -> Iterator[Found]:
    """A field that decides whether weights load was edited after the migration.

    What it checks: topology, features, kernels, strides and every other argument of the network are those that
    `plansguard migrate` wrote; the record beside the plans (`<identifier>.plansguard.json`) holds them.

    Why it matters: the plans were moved so that the weights fit. nnU-Net compares parameter shapes when it loads
    them and stops at the first that differs; where shapes happen to agree, it trains another network, silently.

    How to fix: undo the edit. If another network is wanted, copy the plans under a new name, plan a training without
    these weights, and leave the migrated plans alone.

    Example: `strides` of the last stage changed from `[2, 2, 2]` to `[1, 2, 2]` to allow a flatter patch.

    Evidence: MV-01; AR-01; nnU-Net issues 2760, 2775.
    """
    yield from _edits(plans, lineage, "weights")


@rule(
    "PG402",
    "migrated-input-field-edited",
    Severity.ERROR,
    message=_EDITED + ": data preprocessed with it are not what the weights saw, and nnU-Net does not notice",
    fix="set {field} back to {then}; if the edit is meant, give the plans another name and preprocess again",
    modes=("MV-01",),
)
def migrated_input_field_edited(plans: Plans, lineage: Record) -> Iterator[Found]:
    """A field that decides what preprocessing writes was edited after the migration.

    What it checks: spacing, normalisation schemes, intensity properties, transposes, resampling and reader are those
    that `plansguard migrate` wrote.

    Why it matters: pretrained weights expect images at the spacing and with the normalisation they were trained on.
    Nothing in nnU-Net compares either. Data that were preprocessed before the edit stay as they were, and prediction
    preprocesses with the new values: three silent mismatches from one edit.

    How to fix: undo the edit. If the change is meant, copy the plans under a new name with data identifiers of their
    own, and run `nnUNetv2_preprocess` for them.

    Example: `spacing` changed from `[2.5, 0.8, 0.8]` to `[1.0, 1.0, 1.0]` a week after the move.

    Evidence: PP-02, AR-06; nnU-Net issues 1707, 2592, 2878.
    """
    yield from _edits(plans, lineage, "input")


@rule(
    "PG403",
    "migrated-training-field-edited",
    Severity.WARNING,
    message=_EDITED + ": the run will not be the one that was migrated",
    fix="set {field} back to {then}, or accept the edit with a reason in plansguard.json",
    modes=("MV-01",),
)
def migrated_training_field_edited(plans: Plans, lineage: Record) -> Iterator[Found]:
    """A field that decides how training samples was edited after the migration.

    What it checks: patch size, batch size and batch dice are those that `plansguard migrate` wrote.

    Why it matters: the weights load and the data stay valid, so nothing complains; yet the network now sees patches
    of another size than in pretraining, and the run cannot be compared with others that use these plans.

    How to fix: undo the edit, or copy the plans under a new name (nnU-Net's own advice), or accept it with a reason.

    Example: `patch_size` halved to fit a smaller GPU.

    Evidence: PL-11, PP-12; nnU-Net issues 2339, 2878.
    """
    yield from _edits(plans, lineage, "training")


def _edits(plans: Plans, lineage: Record, facet: str) -> Iterator[Found]:
    record = str(plans.path.with_name(plans.identifier + SIDECAR_ENDING))
    configurations = {one.name: one for one in plans.configurations}
    for change in changes.edited(lineage.migrated, plans.value):
        if change.field.facet != facet:
            continue
        configuration = configurations.get(change.field.configuration or "")
        tokens = change.field.key.split(".")
        at = plans.at(*tokens)
        if change.field.configuration is not None:
            at = configuration.at(*tokens) if configuration else plans.at("configurations")
            if configuration and configuration.origin(tokens[0]) != configuration.name:
                continue  # told once, at the configuration that wrote it
        yield found(
            at,
            related=[(Location(record, f"/migrated{at.pointer}"), "what was migrated")],
            field=str(change.field),
            then=brief(change.before, exact=True),
            now=brief(change.after, exact=True),
            origin=lineage.giving,
        )


@rule(
    "PG404",
    "results-from-other-plans",
    Severity.WARNING,
    message="{model} was trained with other plans of this name: {fields} differ",
    fix="to go on with that training restore its plans ({model}/plans.json); for a new one rename the plans",
    modes=("MV-04", "MV-14"),
)
def results_from_other_plans(plans: Plans, trained: tuple[TrainedModel, ...]) -> Iterator[Found]:
    """Results under this plans name were trained with other plans.

    What it checks: for every model in `nnUNet_results` whose folder carries these plans' name, nnU-Net's own copy of
    the plans in it agrees with the plans now: network, input and training fields of the model's configuration.

    Why it matters: planning again, a move or an edit changed the plans, but the folder name is the same. A new
    training overwrites the old results; `--c` goes on with the new plans and stores the old ones; a prediction with
    the old model and the new data is wrong. nnU-Net says nothing in all three cases. Planning again also keeps
    configurations that one added by hand, so that one file can mix two fingerprints: the comparison shows that too.

    How to fix: give the changed plans a new name (file, `plans_name` and data identifiers), or put the old ones back.

    Example: `nnUNetv2_plan_experiment` was run again after ten cases were added.

    Evidence: MV-14, MV-04; nnU-Net issues 1650, 2822.
    """
    for model in trained:
        if model.plans_name != plans.value.get("plans_name"):
            continue
        try:
            theirs = jsondoc.read(model.folder / "plans.json").value
        except UnreadableDocument:
            continue
        differing = [
            str(change.field)
            for change in changes.edited(theirs, plans.value)
            if change.field.facet != "bookkeeping" and change.field.configuration in (None, model.configuration)
        ]
        if differing:
            yield found(
                plans.at(),
                related=[(Location(str(model.folder / "plans.json")), "the plans it was trained with")],
                model=str(model.folder),
                fields=listed(differing),
            )


@rule(
    "PG405",
    "trained-without-migrated-plans",
    Severity.WARNING,
    message="{model} was started with plans {used} after {plans} had been migrated for fine-tuning",
    fix="if it was meant to use the pretrained weights, start it again with -p {plans}",
    modes=("MV-13",),
)
def trained_without_migrated_plans(plans: Plans, lineage: Record, trained: tuple[TrainedModel, ...]) -> Iterator[Found]:
    """A training was started without `-p` after plans had been migrated.

    What it checks: where plans were migrated for fine-tuning and no model was trained with them, no other model of
    the dataset was started since.

    Why it matters: every version of nnU-Net's own instructions leaves `-p` out of the last command. Then the default
    plans train: with another network the weights are refused, with the same one the run silently uses the wrong
    spacing and normalisation.

    How to fix: start the training again with `-p` and the migrated plans' name.

    Example: `nnUNetv2_train 2 3d_fullres 0 -pretrained_weights ...` after `plansguard migrate ... -tp PretrainPlans`.

    Evidence: MV-13; nnU-Net issues 2089, 2195, 2760.
    """
    from datetime import datetime

    if lineage.workflow == "pretrain" or any(model.plans_name == plans.identifier for model in trained):
        return
    since = datetime.fromisoformat(lineage.created).timestamp()
    for model in trained:
        if model.started is not None and model.started > since:
            yield found(plans.at(), model=model.folder.name, used=model.plans_name, plans=plans.identifier)


@rule(
    "PG410",
    "reversed-direction",
    Severity.ERROR,
    message="these plans move the wrong way for --workflow {workflow}: {because}",
    fix="{instead}",
    modes=("MV-01", "MV-02"),
)
def reversed_direction(pair: Pair) -> Iterator[Found]:
    """The plans move the wrong way.

    What it checks: what lies on the disk against the declared workflow. To fine-tune, plans go from the dataset that
    has the trained weights to the other; to pretrain, from the fine-tuning dataset to the one that will be
    pretrained. Trained models, the medians in the plans against both fingerprints, and records of earlier moves are
    the witnesses; names are not.

    Why it matters: the pretraining dataset keeps its own network, a whole pretraining runs, and the mismatch shows
    only when fine-tuning starts, or never. nnU-Net's own instructions printed the reversed command for years.

    How to fix: type the command named, or say which workflow is meant.

    Example: `plansguard migrate -s 2 -t 1 -tp X` although only Dataset001 has been trained.

    Evidence: MV-01; nnU-Net issues 1464, 1477, 1684, 1970, 2229, 2368, 2440.
    """
    verdict = judge_direction(pair)
    if verdict.against:
        because = "; ".join(verdict.against)
        yield found(pair.result.at(), workflow=pair.workflow, because=because, instead=verdict.instead)


@rule(
    "PG411",
    "direction-unproven",
    Severity.WARNING,
    message="nothing on the disk shows that this direction is right: {open_question}",
    fix="{settle}",
    modes=("MV-01",),
)
def direction_unproven(pair: Pair) -> Iterator[Found]:
    """Nothing shows that the direction is right.

    What it checks: at least one witness speaks for the declared workflow: a trained model of the pretraining dataset
    with these plans (finetune, graft), or plans that were made for the fine-tuning dataset (pretrain).

    Why it matters: a reversed move costs a pretraining (see PG410). Without a witness it cannot be told from a
    right one.

    How to fix: read the sentence that `plansguard migrate` prints first. If it says what you mean, go on. Setting
    `nnUNet_results` to where the weights are settles it.

    Example: the weights were downloaded and lie outside `nnUNet_results`.

    Evidence: MV-01; section "Which direction is right?" of docs/workflows.md.
    """
    verdict = judge_direction(pair)
    if not verdict.against and verdict.open_question:
        yield found(pair.result.at(), open_question=verdict.open_question, settle=verdict.settle)


@rule(
    "PG412",
    "would-overwrite",
    Severity.ERROR,
    message="{dataset} already has plans named {identifier}, and they are not these: {fields} differ",
    fix="choose another name with -tp, or keep a backup of the old plans with --force",
    modes=("MV-03",),
)
def would_overwrite(pair: Pair) -> Iterator[Found]:
    """Other plans of that name would be overwritten.

    What it checks: the receiving folder has no plans of the new name, or has exactly these.

    Why it matters: nnU-Net's move overwrites without a question. The dataset's own plans are gone, results of that
    name belong to plans that no longer exist, and the next preprocessing deletes the data folder they shared.

    How to fix: choose a name that is free. `--force` replaces the plans and keeps a backup beside them.

    Example: `-tp nnUNetPlans` into a dataset that has been planned.

    Evidence: MV-03; nnU-Net issues 1464, 1650.
    """
    if pair.existing is None or pair.existing == pair.result.document.raw:
        return
    try:
        theirs = jsondoc.parse(pair.existing, "existing").value
        differing = [
            str(change.field)
            for change in changes.edited(theirs, pair.result.value)
            if change.field.facet != "bookkeeping"
        ]
    except (UnreadableDocument, AttributeError, TypeError):
        differing = []
    yield found(
        pair.result.at(),
        severity=Severity.WARNING if pair.force else None,
        fix="--force was given: the old plans are kept as a backup beside the new ones" if pair.force else None,
        dataset=pair.receiving.name,
        identifier=pair.result.identifier,
        fields=listed(differing) or "bytes",
    )


@rule(
    "PG413",
    "default-name-for-migrated-plans",
    Severity.WARNING,
    message="nnU-Net's planner writes under the name {identifier}: planning {dataset} would replace these plans",
    fix="choose a name of its own with -tp, such as {better}",
    modes=("MV-03",),
)
def default_name_for_migrated_plans(pair: Pair) -> Iterator[Found]:
    """Migrated plans would bear a planner's default name.

    What it checks: the new identifier is none that nnU-Net's planners use themselves.

    Why it matters: `nnUNetv2_plan_and_preprocess` for this dataset overwrites the file. Nobody can see from the name
    that the plans are another dataset's, and their data folder is the one that default plans use.

    How to fix: choose a name that says where the plans come from.

    Example: `-tp nnUNetResEncUNetMPlans`.

    Evidence: MV-03; the help text of `nnUNetv2_move_plans_between_datasets` advises against it.
    """
    identifier = pair.result.identifier
    if identifier in facts.DEFAULT_PLANS:
        better = f"{pair.plans.identifier}_from{pair.giving.name[7:10]}"
        yield found(pair.result.at(), identifier=identifier, dataset=pair.receiving.name, better=better)


@rule(
    "PG414",
    "channels-differ",
    Severity.ERROR,
    message="{giving} has channels {theirs}, {receiving} has {ours}: {consequence}",
    fix="{advice}",
    modes=("MV-15",),
)
def channels_differ(pair: Pair) -> Iterator[Found]:
    """The two datasets do not have the same channels.

    What it checks: number, names and order of the channels in both datasets' dataset.json. nnU-Net ignores the keys
    of `channel_names`: the order in the file counts, and letter case does not.

    Why it matters: with another number of channels the first convolution does not fit and the normalisation schemes
    are too few or too many. With the same channels in another order everything loads, and every weight sees the
    wrong image.

    How to fix: bring the receiving dataset's channels into the order of the other (file suffixes `_0000`, `_0001`,
    ... and `channel_names` together). Another number of channels cannot be moved.

    Example: `T1, T2` here and `T2, T1` there.

    Evidence: MV-15; AR-03, AR-07; nnU-Net issues 2252, 2442, 2916.
    """
    theirs, ours = pair.giving.dataset_json.channels, pair.receiving.dataset_json.channels
    severity, consequence, advice = _compare_channels(
        [name.casefold() for name in theirs], [name.casefold() for name in ours]
    )
    if consequence:
        yield found(
            pair.receiving.dataset_json.at(pair.receiving.dataset_json.channels_key),
            severity=severity,
            giving=pair.giving.name,
            theirs=theirs,
            receiving=pair.receiving.name,
            ours=ours,
            consequence=consequence,
            advice=advice,
        )


def _compare_channels(theirs: list[str], ours: list[str]) -> tuple[Severity, str, str]:
    """How bad a difference is, what it does and what to do; an empty consequence where there is none."""
    if len(theirs) != len(ours):
        return (
            Severity.ERROR,
            "the network and the normalisation of these plans are for another number of channels",
            "plans cannot move between them; plan the receiving dataset by itself",
        )
    if theirs == ours:
        return Severity.INFO, "", ""
    if sorted(theirs) == sorted(ours):
        return (
            Severity.ERROR,
            "the same channels in another order, so every weight would see the wrong image",
            "reorder the channels of one dataset: its image suffixes and channel_names together",
        )
    return (
        Severity.WARNING,
        "the names differ, which may mean other images",
        "if they show the same kind of image, give them the same names; else do not move the plans",
    )


@rule(
    "PG415",
    "dimensions-of-datasets-differ",
    Severity.ERROR,
    message="{giving} holds {theirs} images, {receiving} holds {ours} images",
    fix="plans cannot move between 2D and 3D images; plan {receiving} by itself",
    modes=("MV-15", "D2-01"),
)
def dimensions_of_datasets_differ(pair: Pair) -> Iterator[Found]:
    """One dataset holds 2D images, the other 3D images.

    What it checks: the median shape on both sides. nnU-Net reads a 2D image as a volume of one slice.

    Why it matters: the move itself succeeds. Preprocessing then fails, or skips the 3D configurations with a line
    that is easily missed.

    How to fix: plan the receiving dataset by itself.

    Example: plans of a CT dataset for a dataset of PNG images.

    Evidence: MV-15, D2-01; nnU-Net issues 2013, 2251.
    """
    theirs, ours = pair.plans.are_for_flat_images(), pair.receiving.fingerprint.is_flat()
    if theirs != ours:
        words = {True: "2D", False: "3D"}
        sides = {"theirs": words[theirs], "ours": words[ours]}
        yield Found(pair.result.at(), {"giving": pair.giving.name, "receiving": pair.receiving.name, **sides})


@rule(
    "PG416",
    "raw-images-absent",
    Severity.INFO,
    message="the raw images of {dataset} are not here; the image reader {reader} was chosen without them",
    fix="nothing, unless the images are of a kind that another reader opens: then say it with --reader",
    modes=("MV-16",),
)
def raw_images_absent(pair: Pair) -> Iterator[Found]:
    """The receiving dataset's raw images are not here.

    What it checks: `nnUNet_raw/<dataset>/imagesTr` of the receiving dataset exists.

    Why it matters: nnU-Net's own move opens one raw image to choose the reader, and stops without it. plansguard
    decides by dataset.json, the file ending or existing plans; preprocessing will need the images all the same.

    How to fix: nothing, if preprocessing runs where the images are.

    Example: a cluster that only holds `nnUNet_preprocessed`.

    Evidence: MV-16; TotalSegmentator issue 298.
    """
    try:
        pair.receiving.raw_images  # noqa: B018 - raises Absent where they are not
    except Absent:
        reader = pair.result.value.get("image_reader_writer")
        yield found(pair.result.at("image_reader_writer"), dataset=pair.receiving.name, reader=reader)


@rule(
    "PG417",
    "plans-already-there",
    Severity.WARNING,
    message="{dataset} already has these plans, as {identifier}: the move adds nothing",
    fix="use -p {identifier} with {dataset}",
    modes=("MV-01",),
)
def plans_already_there(pair: Pair) -> Iterator[Found]:
    """The receiving dataset already has the same plans under another name.

    What it checks: no plans in the receiving folder do the same (network, input and training fields) as those that
    would be written.

    Why it matters: after `--workflow pretrain` the fine-tuning dataset already has the plans that its pretraining
    used. Moving them back makes a second name, a second preprocessing and a chance to take the wrong one.

    How to fix: train with the plans that are there.

    Example: Dataset002's plans were moved to Dataset001 for a pretraining, and are now moved back.

    Evidence: MV-01, MV-13; nnU-Net issue 2440.
    """
    twin = own_plans_like(pair)
    if twin is not None:
        yield found(pair.result.at(), dataset=pair.receiving.name, identifier=twin)
