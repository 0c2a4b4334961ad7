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
#: The options of plansguard that replace these variables.
_OPTIONS = {
    SAVE_EVERY: "--save-every",
    MAX_TIME: "--max-time",
    PORTABLE: "--portable",
    SAVE_LIMIT: "--save-total-limit",
}
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


def read_options(environment: Mapping[str, str], typed: Mapping[str, str] | None = None) -> Options:
    """Read the options from the environment; UsageError for an invalid value.

    ``typed`` has the values of options that were typed, by the names of the variables that they replace.
    """
    typed = typed or {}
    values = {**environment, **typed}
    shown = {name: f"{option} " if name in typed else f"{name}=" for name, option in _OPTIONS.items()}
    save_every, max_time, portable, limit = (values.get(name, "").strip() for name in _OPTIONS)
    if not re.fullmatch(r"[0-9]{0,12}", save_every):
        start = shown[SAVE_EVERY]
        raise UsageError(f"{start}{save_every} is no number of steps", hint=f"for example {start}1000")
    if not re.fullmatch(r"[0-9]{0,6}", limit):
        start = shown[SAVE_LIMIT]
        raise UsageError(f"{start}{limit} is no number of checkpoints", hint=f"for example {start}3")
    if max_time and not seconds(max_time):
        start = shown[MAX_TIME]
        raise UsageError(f"{start}{max_time} is no length of time", hint=f"for example {start}23h30m")
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
