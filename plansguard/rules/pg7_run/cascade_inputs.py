"""PG741 to PG743, PG745: inputs of a training that a check of the dataset does not require."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from plansguard.core import disk
from plansguard.core.errors import known
from plansguard.core.report import Severity
from plansguard.core.text import brief, listed
from plansguard.nnunet import printed_commands
from plansguard.nnunet.constants import CHECKPOINT_FINAL
from plansguard.nnunet.printed_commands import CHECKPOINT
from plansguard.nnunet.workspace import ALL, GROUND_TRUTH, is_folder_name
from plansguard.rules.engine.declare import Found, found, rule
from plansguard.rules.engine.helpers import CONFIGURATION, NUMBER, PLANS
from plansguard.rules.pg7_run.same_images import same_file, validation_cases
from plansguard.subjects.discovery import configuration_of
from plansguard.subjects.pretraining import trainers_of_first_stage
from plansguard.training.trainer_name import keeps_head

if TYPE_CHECKING:
    from plansguard.subjects.training_run import TrainingRun


@rule(
    "PG741",
    Severity.ERROR,
    message="{configuration} has nothing to train on: {identifier} {trouble}",
    fix=printed_commands.preprocess(NUMBER, PLANS, CONFIGURATION),
)
def nothing_to_train_on(run: TrainingRun) -> Iterator[Found]:
    """The data to be trained on were never preprocessed.

    What it checks: the folder of preprocessed data of the configuration exists and is not empty. A check reports
    nothing if no data of the dataset are preprocessed; before a training this is an error. If other data of the dataset
    are preprocessed, PG504 and PG505 report it.

    Why it matters: nnU-Net stops with `FileNotFoundError`, or with an assertion that does not name the cause.

    How to fix: preprocess.

    Example: the plans were copied to the cluster, the data were not.

    Evidence: PP-01; nnU-Net issues 1541, 1970, 2013.
    """
    dataset, configuration = run.dataset, run.configuration.usable
    identifier = configuration.require("data_identifier")
    if not is_folder_name(identifier):
        return  # PG526 reports it
    folder, truth = dataset.folder / identifier, dataset.folder / GROUND_TRUTH
    counted = disk.file_names(truth) or known(lambda: dataset.raw_images) is not None
    if disk.is_there(folder):
        lacking = not disk.file_names(folder) and not counted
    else:
        lacking = not dataset.holds_data and not disk.is_there(truth)
    if lacking:
        yield found(
            configuration.at("data_identifier"),
            identifier=brief(identifier),
            trouble="is empty" if disk.is_there(folder) else "is missing",
        )


@rule(
    "PG742",
    Severity.ERROR,
    message="{configuration} needs predictions of {stage} by {trainer}, there are only those by {others}",
    fix="train {stage} with the same trainer: {first}; or this configuration with that of {stage}: {second}",
)
def previous_stage_of_another_trainer(run: TrainingRun) -> Iterator[Found]:
    """The first stage of a cascade was trained by another trainer.

    What it checks: for a configuration with a `previous_stage`, that a trained model of that stage has the name of this
    very trainer. PG518 checks whether its predictions are complete, and whether there are any.

    Why it matters: the loader fails when the first case is drawn: the second stage reads predictions of its own
    trainer. They are in `<trainer>__<plans>__<previous stage>/predicted_next_stage`.

    How to fix: train both stages with one trainer. A number of steps is part of its name.

    Example: `3d_lowres` by nnUNetTrainer, `3d_cascade_fullres` with `-tr nnUNetTrainer_50000steps`.

    Evidence: CA-01; nnU-Net issues 1959, 2371; nnUNetTrainer.__init__.
    """
    stage = _previous_stage(run)
    if stage is None:
        return
    names = trainers_of_first_stage(run.dataset, run.configuration)
    folder = run.model_folder.with_name(f"{run.trainer}__{run.plans.identifier}__{stage}")
    if names and run.trainer not in names and not disk.is_there(folder / "predicted_next_stage"):
        at, first = run.configuration.at("previous_stage"), training_of_stage(run, stage)
        yield found(at, stage=stage, others=listed(names, shown=1), first=first, second=run.command(names[0]))


@rule(
    "PG745",
    Severity.WARNING,
    message="the weights saw {count} of {total} validation cases of fold {fold}: {case} is {other} of {giving}",
    fix="validate on other cases, or do not report this validation",
)
def weights_saw_validation_cases(run: TrainingRun) -> Iterator[Found]:
    """Validation cases of a fine-tuning are training cases of its weights.

    What it checks: whether images of the validation cases of this fold are, byte for byte, images in `nnUNet_raw` of
    the dataset that the weights were trained on. The names do not count. Without both raw datasets nothing is checked.

    Why it matters: the Dice of the validation is that of cases which the network knows, and nothing shows it. The
    weights have seen these images and labels.

    How to fix: take these cases out of the pretraining, or out of the validation.

    Example: a public dataset that is part of a larger collection, on which a released model was trained.

    Evidence: SL-05.
    """
    plans = None if run.weights is None else run.weights.plans
    giving, raw = str((plans or {}).get("dataset_name")), run.dataset.workspace.raw
    cases = validation_cases(run.dataset, run.fold)
    is_other = giving != run.dataset.name and is_folder_name(giving)
    if raw is None or run.continues or not is_other or not disk.is_folder(raw / giving):
        return
    ending = run.dataset.dataset_json.valid.require("file_ending")
    images = run.dataset.raw_images.cases(ending)
    seen = {}
    for case in (case for case in cases if case in images):
        image = run.dataset.raw_folder / "imagesTr" / f"{case}_{images[case][0]}{ending}"
        if (other := same_file(image, raw / giving / "imagesTr")) is not None:
            seen[case] = other
    for case, other in [*seen.items()][:1]:
        total = len(cases)
        yield found(run.at, count=len(seen), total=total, fold=run.fold, giving=giving, case=case, other=other)


@rule(
    "PG743",
    Severity.WARNING,
    message="the predictions of {stage} for the validation cases of fold {fold} come from fold_all, trained on them",
    fix="{command}",
)
def previous_stage_saw_validation_cases(run: TrainingRun) -> Iterator[Found]:
    """The first stage of a cascade was trained on the validation cases of the second.

    What it checks: for a numbered fold of a configuration with a `previous_stage`, that the same fold of that stage was
    trained, if its fold `all` was. A second stage that is trained with fold `all` has no validation cases.

    Why it matters: the validation begins with predictions that new cases do not have, and its Dice is too high. A
    training with fold `all` predicts all cases, which it was trained on, for the next stage.

    How to fix: train the same fold of the first stage, which replaces the predictions of its validation cases.

    Example: `nnUNetv2_train 2 3d_lowres all`, and then `nnUNetv2_train 2 3d_cascade_fullres 0`.

    Evidence: CA-01; perform_actual_validation and do_split in nnUNetTrainer.py of nnU-Net 2.8.1.
    """
    stage = _previous_stage(run)
    if stage is None or run.fold == ALL:
        return
    model = run.model_folder.with_name(f"{run.trainer}__{run.plans.identifier}__{stage}")
    folds = {path.parent.name for path in disk.matching(model, f"fold_*/{CHECKPOINT_FINAL}")}
    if f"fold_{ALL}" in folds and run.output_folder.name not in folds:
        at, command = run.configuration.at("previous_stage"), training_of_stage(run, stage)
        yield found(at, stage=stage, fold=run.fold, command=command)


def _previous_stage(run: TrainingRun) -> str | None:
    """The previous stage of a cascade, if the plans have it; PG119 reports another."""
    stage = run.configuration.usable.previous_stage
    return next((one.name for one in run.plans.configurations if one.name == stage), None)


def other_first_stage(run: TrainingRun, trainer: str) -> str | None:
    """The first stage of a cascade, where it was trained, but not by the trainer that a fix would name; else None."""
    trainers = trainers_of_first_stage(run.dataset, run.configuration)
    return run.configuration.previous_stage if trainers and trainer not in trainers else None


def training_of_stage(run: TrainingRun, stage: str, trainer: str | None = None) -> str:
    """The command of the same training of another configuration, without weights unless its trainer needs some."""
    request = replace(run.dataset.request, weights=None, typed=run.typed.of_another_training)
    dataset = replace(run.dataset, request=request)
    configuration = configuration_of(run.plans, stage)
    other = replace(run, dataset=dataset, configuration=configuration, continues=False, validates=False)
    return other.command(trainer, weights=CHECKPOINT if keeps_head(trainer or run.trainer) else None)
