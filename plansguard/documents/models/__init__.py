"""What each document says, as pydantic models: types, units and axis orders; no input or output, no judgement.

Which keys must be present depends on what a document is used for and is left to the rules, so nearly every field may be
absent. Keys that nnU-Net does not know are kept.

The names below are imported on first use: a command builds only the models it needs.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from plansguard.documents.models.dataset_json import DatasetJson as DatasetJson
    from plansguard.documents.models.document import Document as Document
    from plansguard.documents.models.fingerprint import Fingerprint as Fingerprint
    from plansguard.documents.models.intensity import IntensityProperties as IntensityProperties
    from plansguard.documents.models.migration_record import MigrationRecord as MigrationRecord
    from plansguard.documents.models.plans import Architecture as Architecture
    from plansguard.documents.models.plans import ArchKwargs as ArchKwargs
    from plansguard.documents.models.plans import Configuration as Configuration
    from plansguard.documents.models.plans import Plans as Plans
    from plansguard.documents.models.preprocessing_record import PreprocessingRecord as PreprocessingRecord
    from plansguard.documents.models.settings import Settings as Settings
    from plansguard.documents.models.splits import Splits as Splits
    from plansguard.documents.models.training_record import TrainingRecord as TrainingRecord
else:
    _HOMES = {
        "ArchKwargs": "plans",
        "Architecture": "plans",
        "Configuration": "plans",
        "DatasetJson": "dataset_json",
        "Document": "document",
        "Fingerprint": "fingerprint",
        "IntensityProperties": "intensity",
        "MigrationRecord": "migration_record",
        "Plans": "plans",
        "TrainingRecord": "training_record",
        "Settings": "settings",
        "Splits": "splits",
        "PreprocessingRecord": "preprocessing_record",
    }

    def __getattr__(name: str) -> Any:
        if name not in _HOMES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
