"""Compute migrated plans. Pure functions of plans; the results are those of nnU-Net's own command.

Source: nnunetv2/experiment_planning/plans_for_pretraining/move_plans_between_datasets.py (2.8.1).
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from typing import Any

from plansguard.core.errors import UsageError
from plansguard.nnunet import constants
from plansguard.nnunet.inheritance import modern_architecture, resolve_configuration

#: Fields of a configuration that a graft takes from the receiving dataset, or that name another configuration.
_NOT_OF_A_VARIANT = frozenset(
    {
        "data_identifier",
        "median_image_size_in_voxels",
        "previous_stage",
        "next_stage",
        *constants.OLD_CONFIGURATION_KEYS,
        *(field for field, facet in constants.FACET_OF_FIELD.items() if facet == "input"),
    }
)


def moved(plans: dict[str, Any], *, source: str, target: str, dataset_name: str, reader: str) -> dict[str, Any]:
    """``plans`` under the identifier ``target`` for ``dataset_name``.

    A new identifier replaces the old one at the start of every ``data_identifier`` (even of a longer word, as in
    nnU-Net), and is prefixed to other data identifiers. Configurations that inherit theirs are not changed.
    """
    result = deepcopy(plans)
    result["dataset_name"] = dataset_name
    if target != source:
        for configuration in result["configurations"].values():
            if "data_identifier" in configuration:
                old = configuration["data_identifier"]
                new = target + old[len(source) :] if old.startswith(source) else f"{target}_{old}"
                configuration["data_identifier"] = new
    result["image_reader_writer"] = reader
    result["plans_name"] = target
    return result


def grafted(plans: dict[str, Any], *, onto: dict[str, Any], target: str) -> dict[str, Any]:
    """The plans ``onto`` with the architecture and the patch size of ``plans``, under the identifier ``target``.

    Spacing, normalization, intensity properties and data identifiers stay those of ``onto``, so data that were
    preprocessed with it stay valid. The result has only the configurations of both: other networks would not be those
    of the weights. Configurations of ``plans`` that inherit from one of them and do not change its input are kept as
    well. Raises UsageError when no configuration is in both.
    """
    result = deepcopy(onto)
    result["plans_name"] = target
    theirs, own = plans["configurations"], result["configurations"]
    common = [name for name in own if name in theirs]
    if not common:
        raise UsageError(
            f"no configuration is in both plans: {', '.join(theirs)} and {', '.join(own)}",
            hint="a graft needs a configuration of the same name in both",
        )
    for name in [name for name in own if name not in common]:
        del own[name]
    for name in common:
        if own[name].get("inherits_from", name) not in own:
            own[name] = resolve_configuration(onto["configurations"], name)
            own[name].pop("inherits_from", None)
    for name in common:
        _graft_configuration(resolve_configuration(theirs, name), own, name)
    while added := [name for name, configuration in theirs.items() if name not in own and _varies(configuration, own)]:
        own.update({name: deepcopy(theirs[name]) for name in added})
    return result


def _varies(configuration: Any, own: Mapping[str, Any]) -> bool:
    """Whether a configuration inherits from one of ``own`` and its own fields decide neither input nor stages."""
    return (
        isinstance(configuration, dict)
        and isinstance(parent := configuration.get("inherits_from"), str)
        and parent in own
        and not _NOT_OF_A_VARIANT & configuration.keys()
    )


def _graft_configuration(theirs: dict[str, Any], own: dict[str, Any], name: str) -> None:
    """Write network and patch size of ``theirs`` into one configuration, unless it inherits the same."""
    inherited = resolve_configuration(own, name)
    try:
        network = modern_architecture(theirs)
    except (KeyError, ValueError, TypeError, ArithmeticError) as error:
        raise UsageError(
            f"configuration {name} of the source plans has no network that can be grafted: {error}",
            hint="only networks that nnU-Net itself can build from plans can be grafted",
        ) from error
    for key, value in (("patch_size", theirs.get("patch_size")), ("architecture", network)):
        if inherited.get(key) != value:
            own[name][key] = deepcopy(value)
    for key in constants.OLD_CONFIGURATION_KEYS:
        own[name].pop(key, None)
