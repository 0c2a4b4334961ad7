"""Rules as a list and as pages, as text and as JSON."""

from __future__ import annotations

from collections.abc import Sequence

from plansguard.documents.models.command_documents import ExplainDocument, RuleEntry, RulesDocument
from plansguard.render import Screen, json_text
from plansguard.render.columns import wrapped
from plansguard.rules.engine.declare import Rule
from plansguard.rules.engine.page import SAMPLE, page


def text(rules: Sequence[Rule], screen: Screen) -> str:
    """Render one line a rule; on a terminal that is too narrow, the summaries are below the names."""
    width = max(len(rule.info.name) for rule in rules)
    lines: list[str] = []
    longest = max(len(rule.info.summary) for rule in rules)
    for info in (rule.info for rule in rules):
        start = f"{info.code}  {info.severity.value:<7}  {info.name:<{width}}  "
        if screen.width is None or len(start) + longest <= screen.width:
            lines.append(start + info.summary)
        else:
            lines += [start.rstrip(), *wrapped(info.summary, screen.width, "       ")]
    return "".join(f"{line}\n" for line in lines)


def as_json(rules: Sequence[Rule]) -> str:
    """Render the same as the JSON that schemas/rules.schema.json describes."""
    return json_text(RulesDocument(schema_="plansguard/rules/1", rules=[_entry(rule) for rule in rules]))


def page_as_text(rule: Rule, screen: Screen) -> str:
    """Render a rule's page: in Markdown, or typeset where the output is a terminal."""
    source = page(rule)
    if screen.width is None:
        return source
    from io import StringIO

    from rich.console import Console
    from rich.markdown import Markdown
    from rich.theme import Theme

    body, heading, finding = source.partition(f"## {SAMPLE}\n")
    # Code has no background of its own, which would be a block on a terminal of another colour.
    console = Console(
        file=StringIO(),
        width=screen.width,
        force_terminal=True,
        color_system="standard" if screen.color else None,
        legacy_windows=False,
        theme=Theme({"markdown.code": "bold", "markdown.h2": "bold underline"}),
    )
    with console.capture() as captured:
        console.print(Markdown(body + heading, code_theme="ansi_dark"))
    lines = [line.rstrip() for line in captured.get().splitlines()]
    for line in finding.strip().splitlines()[1:-1]:  # without the fence; wrapped as a check does it
        lines += wrapped(f"  {line}", screen.width, hanging="      ")
    return "".join(f"{line}\n" for line in lines)


def page_as_json(rule: Rule) -> str:
    """Render the same as the JSON that schemas/explain.schema.json describes."""
    return json_text(ExplainDocument(schema_="plansguard/explain/1", rule=_entry(rule), page=page(rule)))


def _entry(rule: Rule) -> RuleEntry:
    info = rule.info
    return RuleEntry(
        code=info.code,
        name=info.name,
        severity=info.severity.value,
        summary=info.summary,
        why=info.why,
        message=info.message,
        fix=info.fix,
        needs=list(rule.needs),
        modes=list(info.modes),
        options=dict(info.options),
        url=info.url,
    )
