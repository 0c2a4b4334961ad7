"""Set-up of the variants of PG7xx: a dataset that is ready to be trained, and the training."""

from __future__ import annotations

from tests.support.data_folders import DATA, FLAT, preprocessed
from tests.support.variants import Edit, Variant

CT = "Dataset002_FinetuneCT"
FULLRES = "/configurations/3d_fullres"
PLANS = "preprocessed/nnUNetPlans.json"
TRAIN = ("3d_fullres", "0", "-device", "cpu")
CONTINUE = (*TRAIN, "--c")
#: Edits after which the dataset is ready to be trained, without a finding.
READY: tuple[Edit, ...] = (preprocessed(DATA, FLAT),)


def training_variant(
    name: str,
    code: str,
    *edits: Edit,
    training: tuple[str, ...] = CONTINUE,
    twin: tuple[Edit, ...] = (),
    at: tuple[str, str] = (PLANS, FULLRES),
    more: tuple[tuple[str, str, str], ...] = (),
    twin_training: tuple[str, ...] = (),
) -> Variant:
    """A variant with one finding about a training of Dataset002, by default of 3d_fullres and at the configuration."""
    expected = frozenset({(code, *at), *more})
    return Variant(name, CT, (*READY, *edits), expected, (*READY, *twin), (), "", training, twin_training)
