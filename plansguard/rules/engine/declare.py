"""Declaration of a rule: a generator whose parameters are its needs and whose docstring is its page."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from plansguard.core.report import Correction, Location, Related, RuleInfo, Severity
from plansguard.rules.engine.needs import NEEDS, ROLES, Level


@dataclass(frozen=True)
class Found:
    """What a rule yields: a place, and the values for its message.

    ``severity`` and ``fix`` replace the declared ones where they depend on the values. ``changed`` are the fields that
    the finding reports as changed. ``corrections`` are edits that certainly correct it, made together.
    """

    at: Location
    values: dict[str, Any] = field(default_factory=dict)
    severity: Severity | None = None
    related: tuple[Related, ...] = ()
    fix: str | None = None
    changed: tuple[Location, ...] = ()
    corrections: tuple[Correction, ...] = ()


def found(
    at: Location,
    *,
    severity: Severity | None = None,
    related: Iterable[tuple[Location, str]] = (),
    fix: str | None = None,
    changed: Iterable[Location] = (),
    corrections: Iterable[tuple[Location, Any]] = (),
    **values: Any,
) -> Found:
    """Return a Found. ``values`` fill the rule's message and fix, and are part of the JSON report.

    The engine adds ``dataset``, its ``number``, ``plans``, ``configuration``, ``trainer`` and ``preprocess`` (the
    command that preprocesses the configuration again) where message or fix use them.
    """
    places, edits = tuple(Related(*place) for place in related), tuple(Correction(*edit) for edit in corrections)
    return Found(at, values, severity, places, fix, tuple(changed), edits)


Check = Callable[..., Iterator[Found]]


@dataclass(frozen=True, eq=False)
class Rule:
    """A declared rule.

    ``needs`` are the names of its parameters, ``level`` is how often it runs, ``roles`` are those of the datasets that
    it can apply to. On others it does not run, and is not *not checked* either. ``follows`` are the codes of the rules
    whose findings may be the causes of its own (`Report.causes`).
    """

    info: RuleInfo
    check: Check
    needs: tuple[str, ...]
    level: Level
    roles: frozenset[str] = ROLES
    follows: tuple[str, ...] = ()


def rule(
    code: str,
    severity: Severity,
    *,
    message: str,
    fix: str,
    name: str = "",
    roles: frozenset[str] = ROLES,
    follows: tuple[str, ...] = (),
    incomplete: bool = False,
    overruled_by: str = "",
    mark: str = "",
) -> Callable[[Check], Rule]:
    """Declare a rule.

    Its name is that of the function, with hyphens, unless ``name`` is given. ``message`` and ``fix`` are format strings
    over the values that the rule yields, and those of ``_COMMON`` in run.py; so is ``mark``, which the text report
    shows beside the value: what it should be, or was. The docstring is the page: its first line names the fault; the
    first sentence of ``Why it matters`` is part of every finding; ``Evidence`` begins with the failure modes of
    docs/coverage.md that the rule covers, up to ``;``.

    ``roles`` are given where the needs do not show which datasets the rule can apply to; ``follows`` where other rules
    may report the change that this one finds; ``incomplete`` where a finding means that something was not judged;
    ``overruled_by`` where only an option of the command lets a finding through, and settings do not. Keyword-only
    parameters with a number as default are thresholds that settings may change (``options``).
    """

    def declare(check: Check) -> Rule:
        needs = check.__code__.co_varnames[: check.__code__.co_argcount]
        called = name or check.__name__.replace("_", "-")
        options = MappingProxyType(dict(check.__kwdefaults__ or {}))
        page = check.__doc__ or ""
        info = RuleInfo(code, called, severity, message, fix, page, incomplete, overruled_by, options, mark)
        return Rule(info, check, needs, max(NEEDS[need].level for need in needs), roles, follows)

    return declare
