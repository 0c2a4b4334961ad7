"""``splits_final.json``: which cases train and which validate in each fold."""

from pydantic import ConfigDict, Field, RootModel

from plansguard.documents.models.document import Document


class Fold(Document):
    """One fold of a cross-validation. A case is named by its files' name without channel and ending."""

    train: list[str] = Field(description="Cases to train on.")
    val: list[str] = Field(description="Cases to validate on.")


class Splits(RootModel[list[Fold]]):
    """All folds: ``nnUNetv2_train ... 0`` takes the first. Source: nnUNetTrainer.do_split."""

    model_config = ConfigDict(strict=True, frozen=True)
