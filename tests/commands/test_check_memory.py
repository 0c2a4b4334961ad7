"""The memory of checked datasets: it is freed when the next one is read."""

from __future__ import annotations

import gc

from plansguard.commands.check import check
from plansguard.subjects.dataset import Dataset
from tests.support.variants import FIXTURES, ROOTS


def test_a_checked_dataset_needs_no_collection_of_garbage() -> None:
    folder = FIXTURES / "workspace" / ROOTS["preprocessed"]
    check([folder])  # loads modules, whose garbage is not that of datasets
    gc.collect()
    gc.disable()
    try:
        report = check([folder])
        assert report.datasets > 1
        assert gc.collect() == 0
    finally:
        gc.enable()


def test_a_dataset_can_be_asked_again_after_its_check() -> None:
    folder, checked = FIXTURES / "workspace" / ROOTS["preprocessed"] / "Dataset001_PretrainCT", list[Dataset]()
    check([folder], visit=checked.append)
    (dataset,) = checked
    for plans in dataset.plans:
        assert [one.name for one in plans.usable_configurations] == list(plans.written)
        assert all(one.plans is plans for one in plans.configurations)
