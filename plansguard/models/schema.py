"""JSON Schemas (2020-12) of every document, generated from the models."""

from __future__ import annotations

import json
from importlib import import_module
from typing import Any, NamedTuple


class Schema(NamedTuple):
    """Where a schema comes from: a model's module and class, and what the document is."""

    module: str
    model: str
    description: str


SCHEMAS: dict[str, Schema] = {
    "plans": Schema("plans", "Plans", "nnU-Net plans: <identifier>.json, or plans.json in a model folder."),
    "dataset": Schema("dataset_json", "DatasetJson", "dataset.json of nnU-Net v2."),
    "fingerprint": Schema("fingerprint", "Fingerprint", "dataset_fingerprint.json."),
    "splits": Schema("splits", "Splits", "splits_final.json."),
    "lineage": Schema("lineage", "Lineage", "The record of a migration: <identifier>.plansguard.json."),
    "settings": Schema("settings", "Settings", "plansguard.json."),
    "report": Schema("report_document", "ReportDocument", "The report of --output json."),
    "diff": Schema("diff_document", "DiffDocument", "The differences of diff --output json."),
}


def schema_text(name: str) -> str:
    """The schema as it stands in ``schemas/<name>.schema.json``; KeyError for an unknown name."""
    return json.dumps(schema(name), indent=2) + "\n"


def schema(name: str) -> dict[str, Any]:
    """The schema as a value."""
    from pydantic.json_schema import GenerateJsonSchema

    entry = SCHEMAS[name]
    model = getattr(import_module(f"plansguard.models.{entry.module}"), entry.model)
    body = model.model_json_schema(by_alias=True, mode="validation", schema_generator=GenerateJsonSchema)
    return {
        "$schema": GenerateJsonSchema.schema_dialect,
        "title": entry.model,
        **body,
        "description": entry.description,
    }
