"""Documentation pages of rules, made from declaration and docstring: for docs/rules/ and ``plansguard rules``."""

from __future__ import annotations

import json
import re
from functools import cache
from pathlib import Path

from plansguard.core import disk
from plansguard.core.report import Severity
from plansguard.rules.engine.declare import Rule

#: Paragraphs that begin with one of these and a colon become sections.
SECTIONS = ("What it checks", "Why it matters", "How to fix", "Example", "Evidence")
#: The heading of a finding as it is printed.
SAMPLE = "A finding"
_SECTION = re.compile(rf"^({'|'.join(SECTIONS)}):\s+(nnU-Net|.)", re.MULTILINE)


def page(rule: Rule) -> str:
    """Return the page of a rule in Markdown."""
    info = rule.info
    title, _, body = info.doc.partition("\n")
    modes = ", ".join(info.modes) or "none"
    needs = ", ".join(f"`{need}`" for need in rule.needs)
    options = "".join(f" · option `{name}`: {value:g}" for name, value in info.options.items())
    sections = _SECTION.sub(_heading, body.strip())
    sample = samples().get(info.code)
    if sample is not None:
        sections += f"\n\n## {SAMPLE}\n\n```text\n{sample}```"
    return (
        f"# {info.code} {info.name}\n\n{title}\n\n"
        f"Severity: {info.severity} · failure modes: {modes} · needs: {needs}{options}\n\n"
        f"{_settings(rule)}\n\n{sections}\n"
    )


def _settings(rule: Rule) -> str:
    """What settings may do with the rule, and where they are."""
    info = rule.info
    if info.incomplete:
        return "Settings cannot ignore it or change its severity: a finding means that something was not judged."
    if info.overruled_by:
        return f"Settings cannot ignore it: {info.overruled_by}."
    other = "warning" if info.severity is Severity.ERROR else "info"
    severity = json.dumps({"severity": {info.name: other}})
    return (
        f"Settings: `{severity}` in `plansguard.json`, or the same in `[tool.plansguard]` of `pyproject.toml`, changes "
        "its severity; `ignore` lets a finding through, with a reason."
    )


@cache
def samples() -> dict[str, str]:
    """Return a finding of each rule as text, by code; tools/samples.py writes them."""
    place = Path(__file__).parents[1] / "samples.json"
    texts: dict[str, str] = json.loads(disk.content(place))
    return texts


def _heading(start: re.Match[str]) -> str:
    first = start[2] if start[2] == "nnU-Net" else start[2].upper()
    return f"## {start[1]}\n\n{first}"
