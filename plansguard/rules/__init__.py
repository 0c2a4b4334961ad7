"""All rules, collected from the modules of their families."""

from __future__ import annotations

from plansguard.rules import pg0_reading, pg2_dataset_json, pg8_environment, pg9_settings
from plansguard.rules.engine.declare import Rule
from plansguard.rules.pg1_plans import architecture, dimensions, fields, stages
from plansguard.rules.pg3_fingerprint import channels, fingerprint, geometry, origin
from plansguard.rules.pg4_migration import after_move, before_move
from plansguard.rules.pg5_data import cascades, folders, preprocessing_record, raw_files, shared_folders, splits, values
from plansguard.rules.pg6_weights import checkpoint, compatibility, nnssl
from plansguard.rules.pg7_run import (
    cascade_inputs,
    hardware,
    planning,
    prediction,
    results_folder,
    resume,
    schedule,
    trainers,
)

MODULES = (
    pg0_reading,
    *(architecture, dimensions, fields, stages),
    pg2_dataset_json,
    *(channels, fingerprint, geometry, origin),
    *(after_move, before_move),
    *(cascades, folders, preprocessing_record, raw_files, shared_folders, splits, values),
    *(checkpoint, compatibility, nnssl),
    *(cascade_inputs, hardware, planning, prediction, results_folder, resume, schedule, trainers),
    pg8_environment,
    pg9_settings,
)

_DECLARED = (value for module in MODULES for value in vars(module).values() if isinstance(value, Rule))
RULES: tuple[Rule, ...] = tuple(sorted(_DECLARED, key=lambda rule: rule.info.code))


def find(word: str) -> Rule | None:
    """Return the rule with this code or name, in any case."""
    return next((rule for rule in RULES if word.casefold() in (rule.info.code.casefold(), rule.info.name)), None)
