"""``plansguard rules`` and ``plansguard explain``."""

from __future__ import annotations

from typing import Annotated

import typer
from typer import Argument

from plansguard.core.errors import UsageError
from plansguard.core.text import nearest


def rules() -> None:
    """List every rule: code, severity, name, and what it finds.

    Examples:
        plansguard rules
    """
    from plansguard.rules import RULES

    width = max(len(rule.info.name) for rule in RULES)
    for info in (rule.info for rule in RULES):
        typer.echo(f"{info.code}  {info.severity.value:<7}  {info.name:<{width}}  {info.summary}")


def explain(rule: Annotated[str, Argument(help="A rule's code or name, such as PG101.")]) -> None:
    """Show a rule's page: what it checks, why, and how to fix it.

    Examples:
        plansguard explain PG101
        plansguard explain patch-not-divisible
    """
    from plansguard.rules import RULES, find
    from plansguard.rules.engine.page import page

    found = find(rule)
    if found is None:
        known = {word.casefold(): word for one in RULES for word in (one.info.code, one.info.name)}
        near = nearest(rule.casefold(), known)
        hint = f"did you mean {known[near]}?" if near else "plansguard rules lists them all"
        raise UsageError(f"there is no rule {rule!r}", hint=hint)
    typer.echo(page(found), nl=False)
