"""Environment variables that do not change the result of a training.

===============================  =======================================================================================
``PLANSGUARD_SAVE_EVERY``        steps between two checkpoints (default 2500; 0: only at the end, or when stopped)
``PLANSGUARD_SAVE_TOTAL_LIMIT``  how many of these checkpoints are kept, the newest (default 0: each replaces the last)
``PLANSGUARD_MAX_TIME``          stop in time, with a checkpoint: ``23h30m``, ``90m``, ``45s``, or seconds
``PLANSGUARD_PORTABLE``          1: checkpoints name the base trainer, so that others predict without plansguard
===============================  =======================================================================================
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from plansguard.core.errors import UsageError

SAVE_EVERY, MAX_TIME, PORTABLE = "PLANSGUARD_SAVE_EVERY", "PLANSGUARD_MAX_TIME", "PLANSGUARD_PORTABLE"
SAVE_LIMIT = "PLANSGUARD_SAVE_TOTAL_LIMIT"
DEFAULT_SAVE_EVERY = 2500

_DURATION = re.compile(r"(?:(\d{1,6})d)?(?:(\d{1,6})h)?(?:(\d{1,6})m)?(?:(\d{1,9})s?)?")
_UNITS = (86400, 3600, 60, 1)
_YES, _NO = ("1", "true", "yes"), ("", "0", "false", "no")


@dataclass(frozen=True)
class Options:
    """``save_every`` in steps, 0 for never; ``max_time`` in seconds from the start of the trainer.

    ``save_limit`` is the number of checkpoints that are kept under names with their step.
    """

    save_every: int = DEFAULT_SAVE_EVERY
    max_time: int | None = None
    portable: bool = False
    save_limit: int = 0


def read_options(environment: Mapping[str, str]) -> Options:
    """Read the options from the environment; UsageError for an invalid value."""
    names = SAVE_EVERY, MAX_TIME, PORTABLE, SAVE_LIMIT
    save_every, max_time, portable, limit = (environment.get(name, "").strip() for name in names)
    if not re.fullmatch(r"[0-9]{0,12}", save_every):
        raise UsageError(f"{SAVE_EVERY}={save_every} is no number of steps", hint=f"for example {SAVE_EVERY}=1000")
    if not re.fullmatch(r"[0-9]{0,6}", limit):
        raise UsageError(f"{SAVE_LIMIT}={limit} is no number of checkpoints", hint=f"for example {SAVE_LIMIT}=3")
    if max_time and not seconds(max_time):
        raise UsageError(f"{MAX_TIME}={max_time} is no length of time", hint=f"for example {MAX_TIME}=23h30m")
    if portable.lower() not in (*_YES, *_NO):
        raise UsageError(f"{PORTABLE}={portable} is neither yes nor no", hint=f"write {PORTABLE}=1, or leave it out")
    return Options(
        int(save_every or DEFAULT_SAVE_EVERY),
        seconds(max_time) if max_time else None,
        portable.lower() in _YES,
        int(limit or 0),
    )


def as_environment(options: Options) -> dict[str, str]:
    """The variables from which ``read_options`` reads these options."""
    return {
        SAVE_EVERY: str(options.save_every),
        MAX_TIME: "" if options.max_time is None else str(options.max_time),
        PORTABLE: "1" if options.portable else "",
        SAVE_LIMIT: str(options.save_limit),
    }


def seconds(duration: str) -> int | None:
    """``23h30m`` in seconds; None for an invalid duration."""
    match = _DURATION.fullmatch(duration.strip())
    if match is None or not any(match.groups()):
        return None
    return sum(int(number or 0) * unit for number, unit in zip(match.groups(), _UNITS, strict=True))
