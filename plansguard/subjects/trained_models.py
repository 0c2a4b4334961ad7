"""Trained models of a dataset, and the plans that they were trained with."""

from __future__ import annotations

from collections.abc import Sequence

from plansguard.core import disk
from plansguard.core.errors import UnreadableDocument
from plansguard.documents import size_limits
from plansguard.documents.file_names import MODEL_PLANS
from plansguard.documents.recognise import recognise
from plansguard.nnunet import plans_diff
from plansguard.nnunet.workspace import TrainedModel
from plansguard.subjects.dataset import Dataset
from plansguard.subjects.plans import Plans


def trained_with(dataset: Dataset, plans_name: str | None = None) -> list[TrainedModel]:
    """Models of a dataset that have a checkpoint, of one plans name or of any; Absent when results are not known."""
    models = [model for model in dataset.trained if model.checkpoints]
    return [model for model in models if plans_name in (None, model.plans_name)]


def differing_fields(model: TrainedModel, plans: Plans, facets: Sequence[str]) -> list[str] | None:
    """The fields of these facets in which the model's copy of its plans differs from ``plans``.

    Only fields that apply to the model's configuration count. None for a copy that cannot be read, UnreadableFolder
    where permissions hide whether there is one.
    """
    disk.assert_not_hidden(model.folder / MODEL_PLANS)
    try:
        theirs = size_limits.read(model.folder / MODEL_PLANS).value
    except UnreadableDocument:
        return None
    if recognise(theirs) != "plans":
        return None
    return plans_diff.edited_fields(theirs, plans.value, facets, model.configuration)


def trained_with_equal(dataset: Dataset, plans: Plans) -> list[TrainedModel]:
    """Models of a dataset whose network and input are those of ``plans``, under any name; Absent as above.

    The image reader is not compared: a migration chooses that of the receiving dataset.
    """
    return [
        model
        for model in trained_with(dataset)
        if model.configuration in plans.written
        and (fields := differing_fields(model, plans, ("weights", "input"))) is not None
        and set(fields) <= {"image_reader_writer"}
    ]
