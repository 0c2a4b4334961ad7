"""A rule's documentation page, made from its declaration and docstring. docs/rules/ and `explain` show the same."""

from __future__ import annotations

from plansguard.rules.engine.declare import Rule


def page(rule: Rule) -> str:
    """The page in Markdown."""
    info = rule.info
    title, _, body = info.doc.partition("\n")
    modes = ", ".join(info.modes) or "none"
    needs = ", ".join(f"`{need}`" for need in rule.needs)
    return (
        f"# {info.code} {info.name}\n\n{title}\n\n"
        f"Severity: {info.severity} · failure modes: {modes} · needs: {needs}\n\n{_sections(body.strip())}\n"
    )


def _sections(body: str) -> str:
    """Paragraphs that begin with ``What it checks:`` and the like become sections."""
    return "\n\n".join(_section(paragraph) for paragraph in body.split("\n\n"))


def _section(paragraph: str) -> str:
    head, colon, text = paragraph.partition(":")
    if colon and head in SECTIONS:
        body = text.strip()
        return f"## {head}\n\n{body[:1].upper()}{body[1:]}"
    return paragraph


SECTIONS = ("What it checks", "Why it matters", "How to fix", "Example", "Evidence")
