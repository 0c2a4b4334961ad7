"""What may be set from outside because it does not change the result: environment variables.

============================  ==========================================================================================
``PLANSGUARD_SAVE_EVERY``     steps between two checkpoints (default 2500; 0: only at the end, or when told to stop)
``PLANSGUARD_MAX_TIME``       stop in time, with a checkpoint: ``23h30m``, ``90m``, ``45s``, or seconds
``PLANSGUARD_PORTABLE``       1: checkpoints name the base trainer, so that others predict without plansguard
============================  ==========================================================================================
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from plansguard.core.errors import UsageError

SAVE_EVERY, MAX_TIME, PORTABLE = "PLANSGUARD_SAVE_EVERY", "PLANSGUARD_MAX_TIME", "PLANSGUARD_PORTABLE"
DEFAULT_SAVE_EVERY = 2500

_DURATION = re.compile(r"(?:(\d{1,6})d)?(?:(\d{1,6})h)?(?:(\d{1,6})m)?(?:(\d{1,9})s?)?")
_UNITS = (86400, 3600, 60, 1)
_YES, _NO = ("1", "true", "yes"), ("", "0", "false", "no")


@dataclass(frozen=True)
class Options:
    """``save_every`` in steps, 0 for never; ``max_time`` in seconds, counted from the trainer's beginning."""

    save_every: int = DEFAULT_SAVE_EVERY
    max_time: int | None = None
    portable: bool = False


def read_options(environment: Mapping[str, str]) -> Options:
    """The options that the environment names; UsageError for a value that cannot be read."""
    return Options(_save_every(environment), _max_time(environment), _portable(environment))


def as_environment(options: Options) -> dict[str, str]:
    """The variables that say these options: what ``read_options`` reads."""
    return {
        SAVE_EVERY: str(options.save_every),
        MAX_TIME: "" if options.max_time is None else str(options.max_time),
        PORTABLE: "1" if options.portable else "",
    }


def seconds(duration: str) -> int | None:
    """``23h30m`` in seconds; None where it is no duration."""
    match = _DURATION.fullmatch(duration.strip())
    if match is None or not any(match.groups()):
        return None
    return sum(int(number or 0) * unit for number, unit in zip(match.groups(), _UNITS, strict=True))


def _save_every(environment: Mapping[str, str]) -> int:
    value = environment.get(SAVE_EVERY, "").strip()
    if not value:
        return DEFAULT_SAVE_EVERY
    if not re.fullmatch(r"[0-9]{1,12}", value):
        raise UsageError(f"{SAVE_EVERY}={value} is no number of steps", hint=f"for example {SAVE_EVERY}=1000")
    return int(value)


def _max_time(environment: Mapping[str, str]) -> int | None:
    value = environment.get(MAX_TIME, "").strip()
    if not value:
        return None
    found = seconds(value)
    if not found:
        raise UsageError(f"{MAX_TIME}={value} is no length of time", hint=f"for example {MAX_TIME}=23h30m")
    return found


def _portable(environment: Mapping[str, str]) -> bool:
    value = environment.get(PORTABLE, "").strip().lower()
    if value not in (*_YES, *_NO):
        raise UsageError(f"{PORTABLE}={value} is neither yes nor no", hint=f"write {PORTABLE}=1, or leave it out")
    return value in _YES
