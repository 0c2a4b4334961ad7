"""Documentation pages of rules, made from declaration and docstring: for docs/rules/ and ``plansguard rules``."""

from __future__ import annotations

import re

from plansguard.rules.engine.declare import Rule

#: Paragraphs that begin with one of these and a colon become sections.
SECTIONS = ("What it checks", "Why it matters", "How to fix", "Example", "Evidence")
_SECTION = re.compile(rf"^({'|'.join(SECTIONS)}):\s+(nnU-Net|.)", re.MULTILINE)


def page(rule: Rule) -> str:
    """Return the page of a rule in Markdown."""
    info = rule.info
    title, _, body = info.doc.partition("\n")
    modes = ", ".join(info.modes) or "none"
    needs = ", ".join(f"`{need}`" for need in rule.needs)
    options = "".join(f" · option `{name}`: {value:g}" for name, value in info.options.items())
    sections = _SECTION.sub(_heading, body.strip())
    return (
        f"# {info.code} {info.name}\n\n{title}\n\n"
        f"Severity: {info.severity} · failure modes: {modes} · needs: {needs}{options}\n\n{sections}\n"
    )


def _heading(start: re.Match[str]) -> str:
    first = start[2] if start[2] == "nnU-Net" else start[2].upper()
    return f"## {start[1]}\n\n{first}"
