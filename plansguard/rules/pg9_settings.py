"""PG9xx: the settings themselves."""

from __future__ import annotations

from collections.abc import Iterator

from plansguard.core.report import Severity
from plansguard.rules.engine.declare import Found, found, rule
from plansguard.rules.engine.settings import IdleIgnore


@rule(
    "PG901",
    "unused-ignore",
    Severity.WARNING,
    message="the entry that ignores {rule} matches no finding",
    fix="delete the entry, or correct its path and pointer",
)
def unused_ignore(idle_ignores: tuple[IdleIgnore, ...]) -> Iterator[Found]:
    """An entry under `ignore` matches no finding.

    What it checks: every entry under `ignore` in `plansguard.json` has set aside at least one finding. Only a check of
    all that the settings are for can tell: the settings' whole folder, without `-p` and `-c`.

    Why it matters: an entry that outlives its finding waits to hide the next one, which may be a real one.

    How to fix: delete the entry. If the finding is still there, the entry's `path` or `pointer` no longer fits it.

    Example: `{"rule": "PG307", "reason": "thick slices on purpose", "path": "old/*"}` after the folder was renamed.

    Evidence: users of linters ask for it (ruff RUF100).
    """
    for idle in idle_ignores:
        if not idle.expired:
            yield found(idle.location, rule=idle.entry.rule, reason=idle.entry.reason)


@rule(
    "PG902",
    "expired-ignore",
    Severity.WARNING,
    message="the entry that ignores {rule} ended on {until} ({reason})",
    fix="mend the finding, or give the entry a later day",
)
def expired_ignore(idle_ignores: tuple[IdleIgnore, ...]) -> Iterator[Found]:
    """An entry under `ignore` is past its last day.

    What it checks: no entry under `ignore` in `plansguard.json` has an `until` before today.

    Why it matters: the entry was meant for a while. From the day after `until` it hides nothing any more.

    How to fix: mend what it hid, or give it a later day and a reason that still holds.

    Example: `{"rule": "PG307", "reason": "until the rescan", "until": "2026-01-31"}` in March.

    Evidence: baselines without an end are never cleaned.
    """
    for idle in idle_ignores:
        if idle.expired:
            yield found(idle.location, rule=idle.entry.rule, reason=idle.entry.reason, until=str(idle.entry.until))
