"""What each document says, as pydantic models: types, units and axis orders; no input or output, no judgement.

Which keys must be present depends on what a document is used for and is left to the rules, so nearly every field may be
absent. Keys that nnU-Net does not know are kept.

The names below are imported on first use: a command builds only the models it needs.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from plansguard.models.dataset_json import DatasetJson as DatasetJson
    from plansguard.models.document import Document as Document
    from plansguard.models.fingerprint import Fingerprint as Fingerprint
    from plansguard.models.intensity import IntensityProperties as IntensityProperties
    from plansguard.models.lineage import Lineage as Lineage
    from plansguard.models.plans import Architecture as Architecture
    from plansguard.models.plans import ArchKwargs as ArchKwargs
    from plansguard.models.plans import Configuration as Configuration
    from plansguard.models.plans import Plans as Plans
    from plansguard.models.receipt import Receipt as Receipt
    from plansguard.models.settings import Settings as Settings
    from plansguard.models.splits import Splits as Splits
    from plansguard.models.stamp import Stamp as Stamp
else:
    _HOMES = {
        "ArchKwargs": "plans",
        "Architecture": "plans",
        "Configuration": "plans",
        "DatasetJson": "dataset_json",
        "Document": "document",
        "Fingerprint": "fingerprint",
        "IntensityProperties": "intensity",
        "Lineage": "lineage",
        "Plans": "plans",
        "Receipt": "receipt",
        "Settings": "settings",
        "Splits": "splits",
        "Stamp": "stamp",
    }

    def __getattr__(name: str) -> Any:
        if name not in _HOMES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
