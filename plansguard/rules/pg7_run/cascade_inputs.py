"""PG741, PG742: inputs of a training that a check of the dataset does not require."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from plansguard.core.errors import known
from plansguard.core.report import Severity
from plansguard.core.text import brief, listed, quoted
from plansguard.nnunet.workspace import GROUND_TRUTH, is_folder_name, is_there, names_in
from plansguard.rules.engine.declare import Found, found, rule

if TYPE_CHECKING:
    from plansguard.subjects.training_run import TrainingRun


@rule(
    "PG741",
    Severity.ERROR,
    message="{configuration} has nothing to train on: {identifier} {trouble}",
    fix="plansguard preprocess -d {number} -p {plans} -c {configuration}",
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
    dataset, configuration = run.dataset, run.configuration
    identifier = configuration.require("data_identifier")
    if not is_folder_name(identifier):
        return  # PG526 reports it
    folder, truth = dataset.folder / identifier, dataset.folder / GROUND_TRUTH
    counted = names_in(truth) or known(lambda: dataset.raw_images) is not None
    if is_there(folder):
        lacking = not names_in(folder) and not counted
    else:
        lacking = not dataset.holds_data and not is_there(truth)
    if lacking:
        yield found(
            configuration.at("data_identifier"),
            identifier=brief(identifier),
            trouble="is empty" if is_there(folder) else "is missing",
        )


@rule(
    "PG742",
    Severity.ERROR,
    message="{configuration} needs predictions of {stage} by {trainer}, and there are only those by {others}",
    fix="train {stage} with the same trainer: plansguard gate -- nnUNetv2_train {number} {stage} FOLD -p {plans} "
    "-tr {trainer}; or train this configuration with {first}",
)
def previous_stage_of_another_trainer(run: TrainingRun) -> Iterator[Found]:
    """The first stage of a cascade was trained by another trainer.

    What it checks: for a configuration with a `previous_stage`, that a trained model of that stage has the name of this
    very trainer. PG518 checks whether its predictions are complete, and whether there are any.

    Why it matters: the second stage reads `<trainer>__<plans>__<previous stage>/predicted_next_stage`, with its own
    trainer's name. The loader fails when the first case is drawn.

    How to fix: train both stages with one trainer. A number of steps is part of its name.

    Example: `3d_lowres` by nnUNetTrainer, `3d_cascade_fullres` with `-tr nnUNetTrainer_50000steps`.

    Evidence: CA-01; nnU-Net issues 1959, 2371; nnUNetTrainer.__init__.
    """
    stage = run.configuration.get("previous_stage")
    models = [model for model in run.dataset.trained if model.checkpoints] if stage else []
    plans = run.plans.identifier
    names = [model.trainer for model in models if model.plans_name == plans and model.configuration == stage]
    folder = run.model_folder.with_name(f"{run.trainer}__{plans}__{stage}")
    if names and run.trainer not in names and not is_there(folder / "predicted_next_stage"):
        yield found(run.configuration.at("previous_stage"), stage=stage, others=listed(names), first=quoted(names[0]))
