"""PG901, PG902: entries in the settings."""

from __future__ import annotations

import json

from tests.support.variants import Edit, Variant, finding, written

CT = "Dataset002_FinetuneCT"
SETTINGS = "preprocessed/plansguard.json"


def ignoring(rule: str, **entry: str) -> Edit:
    """Write settings with one entry under ``ignore``."""
    settings = {"ignore": [{"rule": rule, "reason": "on purpose", **entry}]}
    return written(f"nnUNet_preprocessed/{CT}/plansguard.json", json.dumps(settings))


VARIANTS: tuple[Variant, ...] = (
    Variant(
        "ignored-and-not-found",
        CT,
        (ignoring("PG101"),),
        finding("PG901", SETTINGS, "/ignore/0"),
        model="preprocessed",
    ),
    Variant(
        "ignored-for-too-long",
        CT,
        (ignoring("PG101", until="2001-01-31"),),
        finding("PG902", SETTINGS, "/ignore/0"),
        twin=(ignoring("PG101", until="9999-12-31"),),
    ),
)
