"""``splits_final.json``: the training and validation cases of each fold."""

from pydantic import ConfigDict, Field, RootModel

from plansguard.documents.models.document import Document


class Fold(Document):
    """One fold of a cross-validation. The name of a case is that of its files without channel and ending."""

    train: list[str] = Field(description="Cases to train on.")
    val: list[str] = Field(description="Cases to validate on.")


class Splits(RootModel[list[Fold]]):
    """All folds: ``nnUNetv2_train ... 0`` takes the first. Source: nnUNetTrainer.do_split."""

    model_config = ConfigDict(strict=True, frozen=True)
