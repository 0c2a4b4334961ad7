"""Names and endings of the documents that nnU-Net and plansguard write."""

from __future__ import annotations

#: nnU-Net's copy of the plans in a model folder; ``plans_name`` in it is their identifier.
MODEL_PLANS = "plans.json"
#: Kind of document -> the file name that nnU-Net reads.
CANONICAL_NAMES = {
    "dataset.json": "dataset.json",
    "fingerprint": "dataset_fingerprint.json",
    "splits": "splits_final.json",
}
#: Endings of weights and of archives of trained models. All but safetensors can contain plans.
WEIGHTS_ENDINGS = frozenset({".zip", ".pth", ".pt", ".model", ".safetensors"})
#: A migration record is ``<identifier>.plansguard.json``, beside the plans.
MIGRATION_RECORD_ENDING = ".plansguard.json"
#: A preprocessing record is ``<data_identifier>.stamp.json``, beside the plans.
PREPROCESSING_RECORD_ENDING = ".stamp.json"
#: The training record, in the results folder of a fold.
TRAINING_RECORD_NAME = "plansguard_receipt.json"
SETTINGS_NAME = "plansguard.json"
#: The default name of a baseline.
BASELINE_NAME = "plansguard-baseline.json"
#: A project's own settings may be in the table ``tool.plansguard`` of this file.
PROJECT_NAME = "pyproject.toml"


def is_json_name(name: str) -> bool:
    """Whether a file of this name is read as a document: it ends in ``.json``, and is not hidden."""
    return name.endswith(".json") and not name.startswith(".")
