"""Names and endings of the documents that nnU-Net and plansguard write."""

from __future__ import annotations

#: nnU-Net's copy of the plans in a model folder; their identifier is in ``plans_name``.
MODEL_PLANS = "plans.json"
#: kind of document -> the name under which nnU-Net reads it
CANONICAL_NAMES = {
    "dataset.json": "dataset.json",
    "fingerprint": "dataset_fingerprint.json",
    "splits": "splits_final.json",
}
#: The record of a migration, ``<identifier>.plansguard.json``, beside the plans.
MIGRATION_RECORD_ENDING = ".plansguard.json"
#: The record of a preprocessing, ``<data_identifier>.stamp.json``, beside the plans.
PREPROCESSING_RECORD_ENDING = ".stamp.json"
#: The record of a training, in the folder of results.
TRAINING_RECORD_NAME = "plansguard_receipt.json"
SETTINGS_NAME = "plansguard.json"
