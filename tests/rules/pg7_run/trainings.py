"""PG7xx: trainings that are about to start, from data as nnU-Net leaves them."""

from __future__ import annotations

from tests.support.data_folders import DATA, FLAT, preprocessed
from tests.support.variants import Edit, Variant

CT = "Dataset002_FinetuneCT"
FULLRES = "/configurations/3d_fullres"
PLANS = "preprocessed/nnUNetPlans.json"
TRAIN = ("3d_fullres", "0", "-device", "cpu")
#: A dataset that nothing is wrong with, ready to be trained.
READY: tuple[Edit, ...] = (preprocessed(DATA, FLAT),)

VARIANTS: tuple[Variant, ...] = ()
