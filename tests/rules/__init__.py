"""Broken fixtures for every rule, by family."""

from __future__ import annotations

from tests.rules import (
    data_variants,
    dataset_json_variants,
    fit_variants,
    gpus_variants,
    inputs_variants,
    migrated_variants,
    output_folder_variants,
    plans_variants,
    reading_variants,
    run_variants,
    schedules_variants,
    shared_data_variants,
    stamped_variants,
    weights_variants,
)
from tests.variants import Variant

ALL_VARIANTS: tuple[Variant, ...] = (
    *reading_variants.VARIANTS,
    *plans_variants.VARIANTS,
    *dataset_json_variants.VARIANTS,
    *fit_variants.VARIANTS,
    *migrated_variants.VARIANTS,
    *shared_data_variants.VARIANTS,
    *data_variants.VARIANTS,
    *stamped_variants.VARIANTS,
    *weights_variants.VARIANTS,
    *run_variants.VARIANTS,
    *gpus_variants.VARIANTS,
    *output_folder_variants.VARIANTS,
    *schedules_variants.VARIANTS,
    *inputs_variants.VARIANTS,
)
