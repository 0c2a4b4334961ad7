"""JSON Schemas (2020-12) of every document, generated from the models."""

from __future__ import annotations

import json
from importlib import import_module
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from pydantic import BaseModel


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
    "lineage": Schema(
        "migration_record", "MigrationRecord", "The record of a migration: <identifier>.plansguard.json."
    ),
    "stamp": Schema(
        "preprocessing_record",
        "PreprocessingRecord",
        "What preprocessed data were made with: <data_identifier>.stamp.json.",
    ),
    "receipt": Schema(
        "training_record", "TrainingRecord", "What a training was started with: plansguard_receipt.json."
    ),
    "settings": Schema("settings", "Settings", "plansguard.json."),
    "report": Schema("report_document", "ReportDocument", "The report of --output json."),
    "diff": Schema("diff_document", "DiffDocument", "The differences of diff --output json."),
}


#: Where the schemas are published.
_HOME = "https://raw.githubusercontent.com/plansguard/plansguard/main/schemas"


def schema_text(name: str) -> str:
    """The schema as it stands in ``schemas/<name>.schema.json``; KeyError for an unknown name."""
    return json.dumps(schema(name), indent=2) + "\n"


def schema(name: str) -> dict[str, Any]:
    """The schema as a value."""
    from pydantic.json_schema import GenerateJsonSchema

    entry = SCHEMAS[name]
    body = _model(entry.module, entry.model).model_json_schema()
    if name == "plans":
        _describe_configurations(body)
    return {
        "$schema": GenerateJsonSchema.schema_dialect,
        "$id": f"{_HOME}/{name}.schema.json",
        "title": body["title"],
        **body,
        "description": entry.description,
    }


def _describe_configurations(plans: dict[str, Any]) -> None:
    """Say what the keys of a configuration mean: to the model of plans it is any object, to be resolved first."""
    for name in ("Configuration", "ArchKwargs"):
        body = _model("plans", name).model_json_schema()
        plans["$defs"] |= {**body.pop("$defs", {}), name: body}
    plans["properties"]["configurations"]["additionalProperties"] = {"$ref": "#/$defs/Configuration"}
    # Networks besides nnU-Net's own have arguments of their own.
    plans["$defs"]["Architecture"] |= {
        "if": {
            "properties": {
                "network_class_name": {"pattern": r"(^|\.)(PlainConvUNet|ResidualEncoderUNet|ResidualUNet)$"}
            },
            "required": ["network_class_name"],
        },
        "then": {"properties": {"arch_kwargs": {"$ref": "#/$defs/ArchKwargs"}}},
    }


def _model(module: str, name: str) -> type[BaseModel]:
    model: type[BaseModel] = getattr(import_module(f"plansguard.documents.models.{module}"), name)
    return model
