"""Places in plans of what keeps weights from loading, and of fields that decide the input of a network."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from plansguard.core.errors import known
from plansguard.core.report import Location
from plansguard.subjects.plans import Configuration

if TYPE_CHECKING:
    from plansguard.nnunet.network.mismatch import Obstacle


def place_of_obstacle(configuration: Configuration, obstacle: Obstacle) -> Location:
    """Return the argument of the network that differs, at its stage, or the place of the network."""
    kwargs = known(lambda: configuration.architecture) or {}
    for setting in obstacle.settings[:1]:
        value = kwargs.get("arch_kwargs", {}).get(setting)
        stage = obstacle.stage if isinstance(value, list) else None
        if value is not None:
            return configuration.at_kwarg(setting, *([] if stage is None else [stage]))
    return configuration.at("architecture" if "architecture" in configuration.resolved else "patch_size")


def place_of_field(field: str, configuration: Configuration) -> Location:
    """Return the place of a field of an input comparison; that of the configuration where it is in another file."""
    key, plans = re.split(r"[.\[ ]", field)[0], configuration.plans
    if key == "channel_names":
        return configuration.at()
    if key == "intensities":
        return plans.at(plans.intensity_key)
    if key in configuration.resolved:
        return configuration.at(key)
    return plans.at(key) if key in plans.value else configuration.at_kwarg(key)
