"""``plansguard rules`` and ``plansguard explain``."""

from __future__ import annotations

from functools import partial
from typing import Annotated

from typer import Argument

from plansguard.cli.common_options import TextOrJson, emit_text_or_json, text_or_json
from plansguard.core.errors import UsageError
from plansguard.core.text import nearest


def rules(output: TextOrJson = []) -> None:  # noqa: B006 - typer copies it
    """List every rule: code, severity, name, and what it finds.

    Examples:
        plansguard rules
        plansguard rules --output json=rules.json
    """
    from plansguard.render import rules as rendering
    from plansguard.rules import RULES

    emit_text_or_json(text_or_json(output), partial(rendering.text, RULES), partial(rendering.as_json, RULES))


def explain(
    rule: Annotated[str, Argument(help="A rule's code or name, such as PG101.")],
    output: TextOrJson = [],  # noqa: B006 - typer copies it
) -> None:
    """Show a rule's page: what it checks, why, and how to fix it.

    Examples:
        plansguard explain PG101
        plansguard explain patch-not-divisible
    """
    from plansguard.render import rules as rendering
    from plansguard.rules import RULES, find

    outputs = text_or_json(output)
    found = find(rule)
    if found is None:
        known = {word.casefold(): word for one in RULES for word in (one.info.code, one.info.name)}
        near = nearest(rule.casefold(), known)
        hint = f"did you mean {known[near]}?" if near else "plansguard rules lists them all"
        raise UsageError(f"there is no rule {rule!r}", hint=hint)
    emit_text_or_json(outputs, partial(rendering.page_as_text, found), partial(rendering.page_as_json, found))
