"""All rules, collected from the modules of their families.

``RULES_OF_DATASETS`` are those that a check runs; ``RULES`` are all. Modules of rules about a migration, a planning, a
training or a prediction are loaded when ``RULES`` is first used, so that a check starts fast.
"""

from __future__ import annotations

from collections.abc import Iterable
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

from plansguard.rules import pg0_reading, pg9_settings
from plansguard.rules.engine.declare import Rule
from plansguard.rules.pg1_plans import architecture, dimensions, fields, links, old_keys, operations, stages
from plansguard.rules.pg2_dataset_json import copies, entries
from plansguard.rules.pg3_fingerprint import axes, channels, contents, fingerprint, geometry, origin, statistics
from plansguard.rules.pg4_migration import after_move
from plansguard.rules.pg5_data import cascades, folders, preprocessing_record, raw_files, shared_folders, splits, values
from plansguard.rules.pg6_weights import checkpoint, compatibility, nnssl
from plansguard.rules.pg8_environment import installed

if TYPE_CHECKING:
    MODULES: tuple[ModuleType, ...]
    RULES: tuple[Rule, ...]

_OF_DATASETS = (
    pg0_reading,
    *(architecture, dimensions, fields, links, old_keys, operations, stages),
    *(copies, entries),
    *(axes, channels, contents, fingerprint, geometry, origin, statistics),
    after_move,
    *(cascades, folders, preprocessing_record, raw_files, shared_folders, splits, values),
    *(checkpoint, compatibility, nnssl),
    installed,
    pg9_settings,
)
_OF_COMMANDS = (
    "pg4_migration.before_move",
    "pg7_run.cascade_inputs",
    "pg7_run.hardware",
    "pg7_run.kept_head",
    "pg7_run.planning",
    "pg7_run.prediction",
    "pg7_run.results_folder",
    "pg7_run.resume",
    "pg7_run.schedule",
    "pg7_run.trainers",
    "pg8_environment.installation",
    "pg8_environment.machine",
    "pg8_environment.variables",
)


def _declared(modules: Iterable[ModuleType]) -> tuple[Rule, ...]:
    rules = (value for module in modules for value in vars(module).values() if isinstance(value, Rule))
    return tuple(sorted(rules, key=lambda rule: rule.info.code))


RULES_OF_DATASETS = _declared(_OF_DATASETS)


def __getattr__(name: str) -> Any:
    if name not in ("MODULES", "RULES"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    modules = (*_OF_DATASETS, *(import_module(f"{__name__}.{module}") for module in _OF_COMMANDS))
    globals().update(MODULES=modules, RULES=_declared(modules))
    return globals()[name]


def find(word: str) -> Rule | None:
    """Return the rule with this code or name, in any case."""
    from plansguard.rules import RULES

    return next((rule for rule in RULES if word.casefold() in (rule.info.code.casefold(), rule.info.name)), None)
