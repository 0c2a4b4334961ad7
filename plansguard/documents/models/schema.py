"""JSON Schemas (2020-12) of every document, generated from the models."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

from plansguard.documents.validation import model_class


class Source(NamedTuple):
    """The source of a schema: a model, and a description of the document."""

    model: str
    description: str


SCHEMAS = {
    "plans": Source("Plans", "nnU-Net plans: <identifier>.json, or plans.json in a model folder."),
    "dataset": Source("DatasetJson", "dataset.json of nnU-Net v2."),
    "fingerprint": Source("Fingerprint", "dataset_fingerprint.json."),
    "splits": Source("Splits", "splits_final.json."),
    "lineage": Source("MigrationRecord", "Migration record: <identifier>.plansguard.json."),
    "stamp": Source("PreprocessingRecord", "Preprocessing record: <data_identifier>.stamp.json."),
    "receipt": Source("TrainingRecord", "Training record: plansguard_receipt.json."),
    "adaptation": Source("AdaptationRecord", "Adaptation record: <name>.adaptation.json, and adapt --output json."),
    "settings": Source("Settings", "plansguard.json, or [tool.plansguard] of pyproject.toml."),
    "baseline": Source("Baseline", "plansguard-baseline.json."),
    "report": Source("ReportDocument", "check, migrate, gate, train and doctor --output json."),
    "diff": Source("DiffDocument", "diff --output json."),
    "fit": Source("FitDocument", "fit --output json."),
    "show": Source("ShowDocument", "show --output json."),
    "steps": Source("StepsDocument", "steps --output json."),
    "rules": Source("RulesDocument", "rules --output json."),
    "explain": Source("ExplainDocument", "explain --output json."),
    "env": Source("EnvDocument", "env --output json."),
    "verification": Source("VerificationDocument", "verify-receipt --output json."),
    "preprocessing": Source("PreprocessingDocument", "preprocess --output json."),
    "status": Source("StatusDocument", "status --output json."),
    "road": Source("RoadDocument", "finetune --output json."),
}
_ADDRESS = "https://raw.githubusercontent.com/plansguard/plansguard/main/schemas"


def schema_text(name: str) -> str:
    """The content of ``schemas/<name>.schema.json``. KeyError for an unknown name."""
    return json.dumps(schema(name), indent=2) + "\n"


def schema(name: str) -> dict[str, Any]:
    """The schema as a JSON value. KeyError for an unknown name."""
    from pydantic.json_schema import GenerateJsonSchema

    source = SCHEMAS[name]
    body = model_class(source.model).model_json_schema()
    if name == "plans":
        _describe_configurations(body)
    return {
        "$schema": GenerateJsonSchema.schema_dialect,
        "$id": f"{_ADDRESS}/{name}.schema.json",
        "title": body["title"],
        **body,
        "description": source.description,
    }


def _describe_configurations(plans: dict[str, Any]) -> None:
    """Add the keys of a configuration, which in the model of plans is any object until inheritance is resolved."""
    for name in ("Configuration", "ArchKwargs"):
        body = model_class(name).model_json_schema()
        plans["$defs"] |= {**body.pop("$defs", {}), name: body}
    plans["properties"]["configurations"]["additionalProperties"] = {"$ref": "#/$defs/Configuration"}
    # Networks other than nnU-Net's have arguments of their own.
    name_of_unet = {"pattern": r"(^|\.)(PlainConvUNet|ResidualEncoderUNet|ResidualUNet)$"}
    plans["$defs"]["Architecture"] |= {
        "if": {"properties": {"network_class_name": name_of_unet}, "required": ["network_class_name"]},
        "then": {"properties": {"arch_kwargs": {"$ref": "#/$defs/ArchKwargs"}}},
    }
