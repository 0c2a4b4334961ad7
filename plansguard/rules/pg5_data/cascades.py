"""PG517, PG518: the files that the stages of a cascade need of each other."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from plansguard.core import disk
from plansguard.core.errors import known
from plansguard.core.report import Location, Severity
from plansguard.core.text import brief, listed
from plansguard.nnunet import printed_commands
from plansguard.nnunet.constants import CHECKPOINT_FINAL, DEFAULT_TRAINER
from plansguard.nnunet.printed_commands import FOLD
from plansguard.nnunet.workspace import ALL, TrainedModel
from plansguard.rules.engine.declare import Found, found, rule
from plansguard.rules.engine.helpers import preprocess_command
from plansguard.rules.pg5_data.helpers import cases_of, requested_folds
from plansguard.subjects.dataset import Dataset
from plansguard.subjects.documents import Splits
from plansguard.subjects.plans import Configuration

if TYPE_CHECKING:
    from plansguard.artefacts.data.audit import Audit


@rule(
    "PG517",
    Severity.ERROR,
    message="{configuration} predicts for the cases of {stage} at its end, but {identifier} {trouble}",
    fix="{next_stage}",
)
def next_stage_data_missing(dataset: Dataset, configuration: Configuration, data: Audit) -> Iterator[Found]:
    """The second stage of a cascade has no data to predict for.

    What it checks: where a configuration has a `next_stage`, the data folder of that stage holds the same cases. For
    information in a check without `-c` if there is no such folder yet.

    Why it matters: the cascade fails after days of training the first stage, which only logs every missing case. When
    the first stage has been trained, it writes its predictions case by case for the next one, and one line for each
    missing case.

    How to fix: preprocess the next stage before training the first.

    Example: only `3d_lowres` was preprocessed.

    Evidence: CA-02; nnU-Net issue 2186.
    """
    for stage in configuration.next_stages:  # PG106 and PG107 report the others
        folder = dataset.folder / str(stage.get("data_identifier"))
        missing = sorted(set(data.folder.names) - {path.removesuffix(".pkl") for path in disk.file_names(folder)})
        if missing:
            begun = disk.is_there(folder) or dataset.request.asks_for(configuration)
            yield found(
                configuration.at("next_stage"),
                severity=None if begun else Severity.INFO,
                stage=stage.name,
                next_stage=preprocess_command(dataset, stage.plans, stage.name),
                identifier=brief(stage.get("data_identifier")),
                trouble=f"lacks {listed(missing)}" if disk.is_there(folder) else "does not exist",
            )


@rule(
    "PG518",
    Severity.ERROR,
    message="{configuration} needs the predictions of {stage}: {trouble}",
    fix="{what} {stage}: {commands}",
)
def previous_stage_predictions_missing(dataset: Dataset, configuration: Configuration, data: Audit) -> Iterator[Found]:
    """The predictions of the first stage, which a cascade starts from, are missing.

    What it checks: for a configuration with a `previous_stage`, the file of every case of the folds in
    `predicted_next_stage/<configuration>` of a model of that stage, in `nnUNet_results`. Judged where such a model was
    trained or has predicted, or with `-c`; before a training only for its own trainer and fold. For information in a
    check without `-c` while the folds that predict these cases are still to be trained or validated.

    Why it matters: the loader fails when such a case is drawn.

    How to fix: train the first stage on every fold, or repeat its validation.

    Example: `predicted_next_stage` was deleted to save space.

    Evidence: CA-01; nnU-Net issues 1959, 2371.
    """
    stage, trainer = configuration.get("previous_stage"), dataset.request.trainer
    if not stage:
        return
    splits = known(lambda: dataset.splits.valid)
    drawn = cases_of(requested_folds(dataset, splits).values()) if splits is not None else set()
    needed = drawn or set(data.folder.names)  # without splits, the loader draws every case
    begun = _begun(dataset, configuration, stage)
    at = configuration.at("previous_stage")
    if not begun and dataset.request.asks_for(configuration):
        trouble = "no model of it was trained with these plans"
        command = _first_stage(dataset, configuration, trainer, dataset.request.fold or FOLD)
        yield found(at, trouble=trouble, stage=stage, what="train", commands=command)
    for model, folder in begun.items():
        missing = sorted(needed - {name.rpartition(".")[0] for name in disk.file_names(folder)})
        if missing and trainer in (None, model.trainer):
            folds = [*_validating(splits, missing)]
            what, commands = _remedy(dataset, configuration, model, folds)
            trouble = f"{model.folder.name} lacks {listed(missing)}"
            related = [(Location(str(folder)), "the predictions")]
            awaited = not dataset.request.asks_for(configuration) and _validated(model).isdisjoint(folds or [ALL])
            severity = Severity.INFO if awaited else None
            yield found(
                at, severity=severity, related=related, trouble=trouble, stage=stage, what=what, commands=commands
            )


def _begun(dataset: Dataset, configuration: Configuration, stage: str) -> dict[TrainedModel, Path]:
    """Return the models of the first stage that were trained or have predicted, and their folders of predictions."""
    folders = {
        model: model.folder / "predicted_next_stage" / configuration.name
        for model in dataset.trained
        if (model.plans_name, model.configuration) == (configuration.plans.identifier, stage)
    }
    return {model: folder for model, folder in folders.items() if model.checkpoints or disk.is_there(folder)}


def _validating(splits: Splits | None, cases: Iterable[str]) -> Iterator[str]:
    """Yield the folds that validate these cases."""
    for index, fold in enumerate([] if splits is None else splits.value):
        if not set(cases).isdisjoint(fold["val"]):
            yield str(index)


def _remedy(
    dataset: Dataset, configuration: Configuration, model: TrainedModel, folds: Sequence[str]
) -> tuple[str, str]:
    """Return what is to be done with the first stage, and the command for each fold.

    A fold that is trained repeats its validation, which predicts its cases. That of all cases serves where no other
    fold is trained, unless a numbered fold of the second stage is to be trained.
    """
    finished = _finished(model)
    only_all = dataset.request.fold in (None, ALL) and ALL in finished and finished.isdisjoint(folds)
    wanted = [ALL] if only_all else folds or sorted(finished) or [FOLD]
    commands = [
        _first_stage(dataset, configuration, model.trainer, fold, validates=fold in finished) for fold in wanted
    ]
    what = "repeat the validation of" if finished.issuperset(wanted) else "train"
    return what, printed_commands.chain(*commands)


def _finished(model: TrainedModel) -> set[str]:
    """Return the folds that are trained."""
    return {path.parent.name.removeprefix("fold_") for path in model.checkpoints if path.name == CHECKPOINT_FINAL}


def _validated(model: TrainedModel) -> set[str]:
    """Return the folds whose final validation, which predicts for the next stage, has ended."""
    from plansguard.training.resume import is_validated  # only where predictions are missing

    return {fold for fold in _finished(model) if is_validated(model.folder / f"fold_{fold}")}


def _first_stage(
    dataset: Dataset, configuration: Configuration, trainer: str | None, fold: str, *, validates: bool = False
) -> str:
    """Return the training of a fold of the first stage, from the weights that the plans were migrated for.

    Without a trainer, it is by the one that suits these weights.
    """
    from plansguard.subjects.pretraining import pretraining_of  # rarely needed

    request = replace(dataset.request, typed=dataset.request.typed.of_another_training)
    stage, plans = configuration.get("previous_stage"), configuration.plans
    pretraining = None if validates else pretraining_of(dataset, plans, stage)
    weights = None if pretraining is None else pretraining.path
    trainer = trainer or (DEFAULT_TRAINER if pretraining is None else pretraining.fine_tuning_trainer)
    place = (dataset.name, stage, fold)
    return request.training(*place, plans=plans.identifier, trainer=trainer, validates=validates, weights=weights)
