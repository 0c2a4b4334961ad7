"""How the real nnU-Net divides few cases, and cases with splits that have no fold."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

pytestmark = pytest.mark.nnunet


def divided(folder: Path, cases: int, fold: int | str, splits: list[Any] | None) -> tuple[int, int]:
    """The numbers of training and of validation cases that nnUNetTrainer.do_split gives a fold."""
    module = pytest.importorskip("nnunetv2.training.nnUNetTrainer.nnUNetTrainer", reason="runs the real nnunetv2")
    if splits is not None:
        (folder / "splits_final.json").write_text(json.dumps(splits))
    names = [f"case_{number}" for number in range(cases)]

    class Cases:
        identifiers = names

        def __init__(self, *_: object, **__: object) -> None: ...

        @staticmethod
        def get_identifiers(_: str) -> list[str]:
            return names

    trainer = SimpleNamespace(
        dataset_class=Cases,
        fold=fold,
        preprocessed_dataset_folder=str(folder),
        preprocessed_dataset_folder_base=str(folder),
        folder_with_segs_from_previous_stage=None,
        print_to_log_file=lambda *_: None,
    )
    training, validation = module.nnUNetTrainer.do_split(trainer)
    return len(training), len(validation)


@pytest.mark.parametrize("cases", [1, 4])
def test_fewer_cases_than_folds_cannot_be_divided(tmp_path: Path, cases: int) -> None:
    """PG527, and why it is silent for the fold all, for five cases, and where there is a file."""
    with pytest.raises(ValueError, match="Cannot have number of splits n_splits=5 greater than the number of samples"):
        divided(tmp_path, cases, 0, None)
    assert divided(tmp_path, cases, "all", None) == (cases, cases)
    assert divided(tmp_path, cases, 0, [{"train": ["case_0"], "val": ["case_0"]}]) == (1, 1)


def test_five_cases_can_be_divided(tmp_path: Path) -> None:
    assert divided(tmp_path, 5, 4, None) == (4, 1)


def test_splits_without_a_fold(tmp_path: Path) -> None:
    """The fold all does not read them; a numbered one becomes a random division (PG732)."""
    assert divided(tmp_path, 10, "all", []) == (10, 10)
    assert divided(tmp_path, 10, 0, []) == (8, 2)
