"""PG9xx: the settings."""

from __future__ import annotations

from collections.abc import Iterator

from plansguard.core.report import Severity
from plansguard.rules.engine.declare import Found, found, rule
from plansguard.rules.engine.settings import IdleIgnore


@rule(
    "PG901",
    Severity.WARNING,
    message="the entry that ignores {rule} matches no finding",
    fix="delete the entry, or correct its path and pointer",
)
def unused_ignore(idle_ignores: tuple[IdleIgnore, ...]) -> Iterator[Found]:
    """An entry under `ignore` matches no finding.

    What it checks: every entry under `ignore` in `plansguard.json` matches at least one finding. Only a check of the
    settings' whole folder, without `-p` and `-c`, reports this.

    Why it matters: an entry without a finding would hide the next one, which may be a real fault.

    How to fix: delete the entry. If the finding is still reported, correct the entry's `path` or `pointer`.

    Example: `{"rule": "PG307", "reason": "thick slices on purpose", "path": "old/*"}` after the folder was renamed.

    Evidence: users of linters ask for it (ruff RUF100).
    """
    for idle in idle_ignores:
        if not idle.expired:
            yield found(idle.location, rule=idle.entry.rule, reason=idle.entry.reason)


@rule(
    "PG902",
    Severity.WARNING,
    message="the entry that ignores {rule} ended on {until} ({reason})",
    fix="correct the cause of the finding, or give the entry a later day",
)
def expired_ignore(idle_ignores: tuple[IdleIgnore, ...]) -> Iterator[Found]:
    """An entry under `ignore` is past its last day.

    What it checks: no entry under `ignore` in `plansguard.json` has an `until` before today.

    Why it matters: the entry was meant to be temporary: from the day after `until` it hides nothing.

    How to fix: correct the cause of the finding, or give the entry a later day and a reason that is still valid.

    Example: `{"rule": "PG307", "reason": "until the rescan", "until": "2026-01-31"}` in March.

    Evidence: baselines without an end are never cleaned up.
    """
    for idle in idle_ignores:
        if idle.expired:
            yield found(idle.location, rule=idle.entry.rule, reason=idle.entry.reason, until=str(idle.entry.until))
