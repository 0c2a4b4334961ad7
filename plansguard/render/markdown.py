"""A report as Markdown, for job summaries of GitHub Actions and notes on merge requests.

Text from files is escaped: it is no link, no mention of a user, no markup. A comment on GitHub has at most 65,536
characters, so what is beyond a limit is only counted.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from plansguard.core.report import Finding, Location, Report
from plansguard.core.text import counted
from plansguard.render import Screen, printable
from plansguard.render.findings import PLACES, Fault, counts, faults, known_lines, known_text, reasons
from plansguard.render.source_root import shown_below, source_root

#: Characters of each part of a report, and of one text.
_MOST, _LONGEST = 15_000, 1_000
_VERDICTS = {0: "passed", 1: "failed", 2: "incomplete: something was not judged", 3: "nothing to check"}
#: Characters that are markup, or begin what GitHub and GitLab turn into a link to a user, an issue or a page.
_MARKUP = re.compile(r"[&<>|`*_~\[\]\\]|(?P<linking>[@#!$]|(?<=\w):(?=//)|(?<=www)\.)", re.IGNORECASE)
#: What begins a list or a heading at the start of a line.
_START = re.compile(r"^(\d*)([-+=.)])")
_HEAD = ["| | finding | place | message |", "|---|---|---|---|"]
_BEGIN, _END = "<!-- report of plansguard -->", "<!-- end of the report of plansguard -->"
#: The first and the last line of a report, by which `is_report` recognises it.
BEGINS = re.compile(f"{_BEGIN}\n".encode())
ENDS = re.compile(f"\n{_END}\n\\Z".encode())


def render(report: Report, screen: Screen) -> str:  # noqa: ARG001 - every format takes the same arguments
    """Render the verdict, a table of the findings, their details, and what is ignored or was not checked."""
    root, every = source_root(), faults(report)
    lines = [f"### plansguard {plain(report.command)}: {_VERDICTS[report.exit_code()]}", "", plain(str(counts(report)))]
    if every:
        lines += ["", *_HEAD, *_limited([_row(fault, root) for fault in every], "| | {} | | |")]
        lines += ["", *_limited([_details(fault, root) for fault in every], "{}")]
    ignored = [_ignored(finding, root) for finding in report.findings if finding.ignored is not None]
    lines += _folded("ignored", ignored)
    for line in known_lines(report):
        lines += ["", plain(line)]
    lines += _folded("known", [plain(known_text(cause.finding)) for cause in report.known])
    lines += _folded("not checked", [plain(one.text.partition(": ")[2]) for one in reasons(report)])
    return "\n".join([_BEGIN, *lines, "", _END, ""])


def plain(text: str) -> str:
    """Return a text on one line that Markdown shows as it is: every character of markup is an entity.

    GitHub and GitLab look for mentions and links after that, in one piece of text at a time; a tag divides them.
    """
    shown = printable(text)
    if len(shown) > _LONGEST:
        shown = f"{shown[:_LONGEST]}..."
    return _START.sub(lambda match: f"{match[1]}&#{ord(match[2])};", _MARKUP.sub(_entity, shown))


def _entity(match: re.Match[str]) -> str:
    entity = f"&#{ord(match[0])};"
    return f"<span>{entity}</span>" if match["linking"] else entity


def _row(fault: Fault, root: Path) -> str:
    """A row of the table: severity, the rule with its page, the first place, and what is wrong."""
    first, others = fault.findings[0], len(fault.findings) - 1
    place = _code(_shown(first.location, root)) + (f" and {counted(others, 'more place')}" if others else "")
    return f"| {fault.severity} | [{fault.code}]({first.url}) | {place} | {plain(first.message_with_mark)} |"


def _details(fault: Fault, root: Path) -> str:
    """All about a finding, folded below its rule."""
    first = fault.findings[0]
    lines = [f"- {_code(_place_of(finding, root))}" for finding in fault.findings[:PLACES]]
    if len(fault.findings) > PLACES:
        lines.append(f"- ... and {counted(len(fault.findings) - PLACES, 'more place')}")
    lines += [f"- see {_code(_shown(one.location, root))}: {plain(one.what)}" for one in first.related]
    lines += [f"- {plain(text)}" for text in ([fault.why] if fault.why else []) + fault.also]
    lines.append(f"- fix: {plain(first.fix)}")
    summary = f"{fault.severity} {fault.code} {plain(first.name)}"
    return "\n".join([f"<details><summary>{summary}</summary>", "", *_excerpt(first), *lines, "", "</details>"])


def _excerpt(finding: Finding) -> Iterator[str]:
    """The line of the file with a mark under the value."""
    excerpt = finding.excerpt
    if excerpt is None or len(excerpt.text) > _LONGEST:
        return
    start = len(printable(excerpt.text[: excerpt.start]))
    value = printable(excerpt.text[excerpt.start : excerpt.start + excerpt.length])
    number = str(excerpt.line)
    yield f"<pre>{number} | {plain(excerpt.text)}"
    yield f"{' ' * len(number)} | {' ' * start}{'^' * max(1, len(value))}</pre>"
    yield ""


def _ignored(finding: Finding, root: Path) -> str:
    where = _code(_place_of(finding, root))
    return f"{finding.code} {plain(finding.name)} at {where}: {plain(finding.ignored or '')}"


def _folded(title: str, items: Sequence[str]) -> list[str]:
    """A list that is folded below its title; nothing where there are no items."""
    if not items:
        return []
    lines = _limited([f"- {item}" for item in items], "- {}")
    return ["", f"<details><summary>{title}: {len(items)}</summary>", "", *lines, "", "</details>"]


def _limited(items: Sequence[str], rest: str) -> list[str]:
    """The first items, up to the limit; ``rest`` is a pattern for the number of the others."""
    used = 0
    shown: list[str] = []
    for item in items:
        used += len(item) + 1
        if used > _MOST:
            return [*shown, rest.format(f"... and {len(items) - len(shown)} more")]
        shown.append(item)
    return shown


def _place_of(finding: Finding, root: Path) -> str:
    where = _shown(finding.location, root)
    return f"{where} ({finding.configuration})" if finding.configuration else where


def _shown(location: Location, root: Path) -> str:
    position = "".join(f":{number}" for number in (location.line, location.column) if number is not None)
    return f"{shown_below(location.path, root)}{position}"


def _code(text: str) -> str:
    return f"<code>{plain(text)}</code>"
