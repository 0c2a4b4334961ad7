"""How a rule is declared: one small generator whose parameters are its needs and whose docstring is its page."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from plansguard.core.report import Location, Related, RuleInfo, Severity
from plansguard.rules.engine.needs import NEEDS, Level


@dataclass(frozen=True)
class Found:
    """What a rule yields: the place and the values that its message names.

    ``severity`` softens (or hardens) the declared one where the same fault has grades; ``fix`` replaces the declared
    one where the way out depends on the values.
    """

    at: Location
    values: dict[str, Any] = field(default_factory=dict)
    severity: Severity | None = None
    related: tuple[Related, ...] = ()
    fix: str | None = None


def found(
    at: Location,
    *,
    severity: Severity | None = None,
    related: Iterable[tuple[Location, str]] = (),
    fix: str | None = None,
    **values: Any,
) -> Found:
    """Shorthand for a Found; ``values`` fill the rule's message and fix, and go into the machine formats."""
    return Found(at, values, severity, tuple(Related(*place) for place in related), fix)


Check = Callable[..., Iterator[Found]]


@dataclass(frozen=True)
class Rule:
    """A declared rule. ``needs`` are the names of its parameters; ``level`` says how often it runs."""

    info: RuleInfo
    check: Check
    needs: tuple[str, ...]
    level: Level


def rule(
    code: str, name: str, severity: Severity, *, message: str, fix: str, modes: tuple[str, ...] = ()
) -> Callable[[Check], Rule]:
    """Declare a rule.

    ``message`` and ``fix`` are format strings over the values that the rule yields. ``modes`` are the failure modes
    of docs/coverage.md that the rule covers. The docstring is the rule's page: its first line says the fault.
    """

    def declare(check: Check) -> Rule:
        needs = check.__code__.co_varnames[: check.__code__.co_argcount]
        info = RuleInfo(code, name, severity, message, fix, modes, check.__doc__ or "")
        return Rule(info, check, needs, max(NEEDS[need].level for need in needs))

    return declare
